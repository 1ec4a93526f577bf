"""The server process: how many connections it takes, and what becomes of an answer that has not ended at its end."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.gateways import KEY, GatewayProcess, chat
from tests.held import told_error
from tests.servers.fake_letta import FakeLetta
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served

pytest.importorskip("resource", reason="only where the system limits what a process may open")

ASKED = """
import logging, resource
from gateway.listening import connections_for
from gateway.settings import AgentType, Server, Settings

logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
settings = Settings(server=Server(max_connections={wanted}), agent_types=(AgentType(id="a"),))
print(connections_for(settings), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""
# soft and hard limit of files, connections wanted -> connections, soft limit afterwards
ROOMS: dict[str, tuple[int, int, int, int, int]] = {
    "enough": (700, 800, 200, 200, 700),
    "enough when asked for": (300, 800, 200, 200, 500),
    "less than is wanted": (300, 800, 5000, 350, 800),
    "next to nothing": (90, 90, 5000, 1, 90),
}


@pytest.mark.parametrize(("soft", "hard", "wanted", "room", "opened"), ROOMS.values(), ids=ROOMS)
def test_the_process_takes_the_connections_that_it_can_open(
    soft: int, hard: int, wanted: int, room: int, opened: int
) -> None:
    code = ASKED.format(soft=soft, hard=hard, wanted=wanted)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout.split() == [str(room), str(opened), str(hard)]
    assert ("max_connections is" in ran.stderr) == (room < wanted)


TASKS = """
[letta]
base_url = "{letta}"

[tasks]
answer = "model"
base_url = "{model}/v1"
model = "offline"

[[agent_types]]
id = "tutor"
model = "m/one"

[[keys]]
name = "programs"
key = "{key}"
"""


def test_a_task_that_a_model_still_answers_when_the_gateway_is_told_twice_to_end_ends_with_an_error(
    tmp_path: Path,
) -> None:
    config = tmp_path / "gateway.toml"
    asked = chat("!hang-after one two", stream=True)
    headers = {"authorization": f"Bearer {KEY}", "x-task": "title_generation"}
    with FakeLetta() as letta, served(ScriptedModel().app) as model:
        config.write_text(TASKS.format(letta=letta.base_url, model=model, key=KEY))
        with (
            GatewayProcess(config) as process,
            httpx.stream("POST", f"{process.base_url}/v1/chat/completions", json=asked, headers=headers) as stream,
        ):
            lines = stream.iter_lines()
            read = [next(lines)]
            process.process.send_signal(signal.SIGTERM)
            process.wait_for("Ending: nothing new is taken.")
            process.process.send_signal(signal.SIGTERM)
            read += lines
            code = process.process.wait(60)

    assert told_error(("\n".join(read), "")) == "run_cancelled"
    assert code == 0


def test_a_gateway_that_is_told_to_end_once_more_as_it_exits_says_nothing_of_that(tmp_path: Path) -> None:
    # Python's own way to have something run in a process that is started, here at its very end.
    (tmp_path / "sitecustomize.py").write_text("import atexit, os\natexit.register(os.kill, os.getpid(), 15)\n")
    config = tmp_path / "gateway.toml"
    config.write_text(TASKS.format(letta="http://127.0.0.1:1", model="http://127.0.0.1:1", key=KEY))
    with GatewayProcess(config, PYTHONPATH=str(tmp_path)) as process:
        assert process.stop() == 0

    assert "Traceback" not in "".join(process.log)
