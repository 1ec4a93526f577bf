"""Libraries that speak the Responses API by themselves do so with the gateway, as they come, but for its address."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node import run_node
from tests.clients.snippets import SECRETS, serving
from tests.integration.words import someone
from tests.servers.app_server import AppServer
from tests.servers.scripted_model import INTRODUCTION, THOUGHT

HERE = Path(__file__).parent
HELLO, NAMED = f"{INTRODUCTION}You said: Hello!", ["I will remember that.", "Your name is Ada."]
SUNNY, THANKS, NOW = "Tool said: sunny in Oslo", "You said: Thanks!", "You said: And now?"
COMPLETED = ["response.completed", "completed", HELLO]
# What each scenario comes to.
PYTHON: dict[str, Any] = {
    "openai_goes_on": NAMED,
    "openai_streams": [HELLO, HELLO],
    "openai_parses": "Oslo",
    "openai_comes_back": [*COMPLETED, "message"],
    "openai_cancels": ["cancelled", "cancelled"],
    "openai_deletes": "response_not_found",
    "openai_calls": SUNNY,
    "openai_agents": [SUNNY, NOW, THANKS, SUNNY, "Oslo"],
    "pydantic_ai": [SUNNY, THOUGHT, THANKS, NOW, "Oslo", "Oslo"],
    "langchain": [HELLO, "Oslo", NAMED[1], SUNNY, SUNNY],
}
NODE: dict[str, Any] = {
    "openai_goes_on": NAMED,
    "openai_streams": [HELLO, HELLO],
    "openai_parses": "Oslo",
    "openai_comes_back": [*COMPLETED, "response_not_found"],
    "openai_cancels": "cancelled",
    "ai_generates": [HELLO, THOUGHT, []],
    "ai_streams": HELLO,
    "ai_goes_on": NAMED[1],
    "ai_calls": [SUNNY, THANKS, True],
    "ai_calls_unkept": [SUNNY, THANKS],
    "ai_forms": "Oslo",
}


@pytest.fixture
def environ(app_server: AppServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables by which a program finds a gateway for it."""
    with serving(app_server, tmp_path, someone()) as url:
        yield {"GATEWAY_URL": url, "GATEWAY_KEY": SECRETS["PROGRAMS_KEY"]}


def told(printed: str) -> dict[str, Any]:
    ends: dict[str, Any] = {}
    for line in printed.splitlines():
        ends |= json.loads(line)
    return ends


def test_python_s_libraries(python: Path, environ: dict[str, str], tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [str(python), str(HERE / "scenarios.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=kept | environ, capture_output=True, text=True, timeout=180, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert told(done.stdout) == PYTHON


def test_node_s_libraries(node_modules: Path, environ: dict[str, str], tmp_path: Path) -> None:
    files = {"scenarios.mjs": (HERE / "scenarios.mjs").read_text(encoding="utf-8")}

    assert told(run_node(tmp_path, node_modules, files, **environ)) == NODE
