"""The unit of systemd, read by systemd's own programs."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import Server
from tests.deployment.bare_root import BareRoot, debian, room, skip_without_tools
from tests.deployment.booted import PACKAGES, Booted, booted
from tests.gateways import KEY, chat, said
from tests.printed import blocks
from tests.readme import ROOT

UNIT = (ROOT / "deploy/systemd/letta-gateway.service").read_text(encoding="utf-8")
NAME = "letta-gateway"
INSTALLED, CHECK = [block.text for block in blocks("deploy/guide/service.md") if block.language == "sh"]
# The lines of the guide: the first needs a network, the last starts it.
INSTALL = INSTALLED.splitlines()
SUITE = "trixie"
CONFIG = '[[agent_types]]\nid = "tutor"\n[[keys]]\nname = "programs"\nkey = "${PROGRAMS_KEY}"\n'
SECOND = '[[keys]]\\nname = "second"\\nkey = "sk-second"\\n'
# Of ten, times ten: https://www.freedesktop.org/software/systemd/man/latest/systemd-analyze.html
MOST_EXPOSED = 15
# The longest that answers, and then the App Server, may take to end.
DRAIN_SECONDS, SPARE_SECONDS = Server().drain_seconds, 20


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


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Booted]:
    """A machine with systemd, on which the gateway is installed as the guide says."""
    skip_without_tools()
    with room() as directory:
        root = BareRoot(directory / "root", debian(SUITE))
        root.run(f"apt-get update && apt-get install -y --no-install-recommends {PACKAGES} && pip install uv")
        clone = root.root / "src"
        clone.mkdir()
        for name in ("gateway", "deploy/systemd"):
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(ROOT / name, clone / name)
        (clone / "gateway.toml").write_text(CONFIG)
        root.run(f"cd /src && {INSTALL[0]}")
        with booted(root, tmp_path) as one:
            yield one


def asking(text: str, **more: Any) -> str:
    """The line of a shell that asks the gateway."""
    body = shlex.quote(json.dumps(chat(text, **more)))
    headers = f"-H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json'"
    return f"curl -sN --max-time 60 http://127.0.0.1:8000/v1/chat/completions {headers} -d {body}"


@pytest.mark.e2e
def test_a_whole_systemd_runs_it_with_all_that_it_gives_up(machine: Booted) -> None:
    *lines, start = INSTALL[1:]
    machine.run("\n".join(["cd /src", *lines, f"echo PROGRAMS_KEY={KEY} > /etc/letta-gateway/environment", start]))
    machine.await_journal(NAME, "Serving at")
    first = machine.run(asking("My name is Ada."))
    status = machine.run(f"cat /proc/$(systemctl show --property MainPID --value {NAME})/status")
    machine.run(f"printf '{SECOND}' >> /etc/letta-gateway/gateway.toml && systemctl reload {NAME}")
    machine.await_journal(NAME, "keys: second added")
    slow = asking("!slow 200\n!say one two three four five six seven", stream=True)
    until = "until grep -q two /src/answer; do sleep 0.1; done"
    answer = machine.run(f"{slow} > /src/answer &\n{until}\nsystemctl stop {NAME}\nwait\ncat /src/answer")
    stopped = machine.run(f"systemctl show --property Result --property ExecMainStatus {NAME}")
    checked = machine.run(CHECK)
    machine.run(f"systemctl start {NAME}")
    machine.run(f"until {asking('hello')} | grep -q said; do sleep 0.2; done")
    last = machine.run(asking("What is my name?"))

    assert said(first)["content"].endswith("I will remember that.")
    assert re.search(r"^NoNewPrivs:\t1\nSeccomp:\t2$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
    assert said(answer)["content"].endswith("seven")
    assert answer.endswith("data: [DONE]\n\n")
    assert {*stopped.split()} == {"Result=success", "ExecMainStatus=0"}
    assert "Everything is in order." in checked
    assert said(last)["content"].endswith("Your name is Ada.")


def test_node_may_compile_what_it_runs() -> None:
    assert "MemoryDenyWriteExecute" not in UNIT
