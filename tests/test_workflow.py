"""The workflow of a public repository runs what `.ci/run` does, on every Python that the package names."""

import re
import shlex
import tomllib

from tests.readme import ROOT
from tests.tiers import FOLDERS

WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_every_action_is_pinned_by_its_hash_and_tells_its_version() -> None:
    used = re.findall(r"uses: (.*)", WORKFLOW)

    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_it_may_read_and_nothing_else() -> None:
    assert re.findall(r"^ *permissions:\n(.*)$", WORKFLOW, re.MULTILINE) == ["  contents: read"]
    assert "secrets." not in WORKFLOW


def test_it_runs_on_every_python_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = [found[1] for name in project["classifiers"] if (found := re.search(r" :: (3\.\d+)$", name))]
    lines = re.findall(r"python: (.*)", WORKFLOW)

    assert promised == sorted(re.findall(r'"(3\.\d+)"', " ".join(lines)))
    assert project["requires-python"] == f">={promised[0]}"


def test_its_parts_are_all_tests_once() -> None:
    *parts, rest = [shlex.split(part) for part in re.findall(r"^ +tests: (.+)$", WORKFLOW, re.MULTILINE)]
    folders = [folder for part in parts for folder in part]

    assert sorted(f"{folder}/" for folder in folders) == sorted(FOLDERS)
    assert sorted(rest) == sorted(f"--ignore={folder}" for folder in folders)
