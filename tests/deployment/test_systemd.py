"""The unit of systemd, read by systemd's own programs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.readme import ROOT

UNIT = (ROOT / "deploy/systemd/letta-gateway.service").read_text(encoding="utf-8")
# Of ten, times ten: https://www.freedesktop.org/software/systemd/man/latest/systemd-analyze.html
MOST_EXPOSED = 15
# The longest that answers, and then the App Server, may take to end.
DRAIN_SECONDS, SPARE_SECONDS = 300, 20


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program in the place of the one that is not installed here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    file = tmp_path / "letta-gateway.service"
    file.write_text(UNIT.replace("/opt/letta-gateway/bin/letta-gateway", "/bin/true"))
    return file


def analyze(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_systemd_finds_nothing_wrong_with_it(unit: Path) -> None:
    assert analyze("verify", "--man=no", str(unit)) == (0, "")


def test_a_line_that_systemd_does_not_know_is_found(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("NoNewPrivileges", "NoMorePrivileges"))

    assert "NoMorePrivileges" in analyze("verify", "--man=no", str(unit))[1]


def test_it_gives_up_what_it_does_not_need(unit: Path) -> None:
    code, told = analyze("security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", str(unit))

    assert code == 0, told


def test_a_stop_waits_for_answers_under_way() -> None:
    waits = re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)

    assert waits
    assert int(waits[1]) >= DRAIN_SECONDS + SPARE_SECONDS
    assert "\nKillMode=mixed\n" in UNIT


def test_node_may_compile_what_it_runs() -> None:
    assert "MemoryDenyWriteExecute" not in UNIT
