"""Time passes in no time, for every test that waits."""

from typing import Any

import pytest

from gateway.settings import Chats
from gateway.turns.people.agents import KnownAgent
from gateway.turns.runs.means import Means, means_of
from gateway.turns.runs.registry import Runs
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import Store
from tests.turns.turns import SILENCE, TUTOR, runs_for
from tests.turns.virtual_time import VirtualTimeLoop


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
def letta() -> MemoryLetta:
    return MemoryLetta()


@pytest.fixture
def means(letta: MemoryLetta) -> Means:
    return means_of(letta, settle_seconds=0.5, silence_seconds=SILENCE, chats=Chats())


@pytest.fixture
def runs(letta: MemoryLetta) -> Runs:
    return runs_for(letta)


@pytest.fixture
def agent() -> KnownAgent:
    """The agent of `either`."""
    return KnownAgent("agent-1", TUTOR)


@pytest.fixture(params=[False, True], ids=["v1", "app-server"])
def either(request: pytest.FixtureRequest) -> MemoryLetta:
    """A Letta of each kind in turn, with two agents and no conversation."""
    letta = MemoryLetta(Store(forks=request.param))
    for id in ("agent-1", "agent-2"):
        letta.store.add_agent((), id)
    return letta
