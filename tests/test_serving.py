"""The server process: how many connections it takes, by its settings and by what the system lets it open."""

import subprocess
import sys

import pytest

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
