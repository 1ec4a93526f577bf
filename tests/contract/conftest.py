"""The sides of the contract, one after the other; the quick tier has those without a real server."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gateway.letta.upstream import Upstream
from tests.contract.app_server import app_server_side
from tests.contract.memory import MemorySide
from tests.contract.rest import rest_side
from tests.contract.sides import RealSide, Side
from tests.contract.table import can_show
from tests.contract.talk import started
from tests.servers.scripted_model import ScriptedModel
from tests.workers import asks

REAL = {"v1": "letta_v1", "app-server": "app_server", "embedded": "embedded_letta"}
SCRIPTED = ("memory-v1", "memory-app-server", "scripted-rest", "scripted-app-server")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not can_show(item)]
    if left_out:
        items[:] = [item for item in items if can_show(item)]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session", params=[*SCRIPTED, *(asks(server, id=id) for id, server in REAL.items())])
def kind(request: pytest.FixtureRequest) -> str:
    """The name of a stand-in, or of the fixture that has a real server."""
    name: str = request.param
    return name


@pytest.fixture
def mark() -> str:
    """Words that nobody else says."""
    return uuid.uuid4().hex


@pytest.fixture
def real(kind: str, request: pytest.FixtureRequest, model: ScriptedModel) -> RealSide:
    """The side, where it must be a real one."""
    return RealSide(request.getfixturevalue(kind), model)


@asynccontextmanager
async def _memory(forks: bool) -> AsyncIterator[Side]:
    yield MemorySide(forks)


@asynccontextmanager
async def _rest() -> AsyncIterator[Side]:
    with rest_side() as side:
        yield side


@asynccontextmanager
async def _scripted_app_server() -> AsyncIterator[Side]:
    async with app_server_side() as side:
        yield side


def _stand_in(kind: str) -> AbstractAsyncContextManager[Side]:
    match kind:
        case "scripted-rest":
            return _rest()
        case "scripted-app-server":
            return _scripted_app_server()
    return _memory(forks=kind == "memory-app-server")


@pytest.fixture
def served(kind: str, request: pytest.FixtureRequest) -> RealSide | None:
    """A real side, whose server is started before any loop runs."""
    if kind in SCRIPTED:
        return None
    return RealSide(request.getfixturevalue(kind), request.getfixturevalue("model"))


@pytest.fixture
async def side(kind: str, served: RealSide | None) -> AsyncIterator[Side]:
    if served:
        yield served
        return
    async with _stand_in(kind) as stand_in:
        yield stand_in


@pytest.fixture
async def upstream(side: Side) -> AsyncIterator[Upstream]:
    async with started(side) as upstream:
        yield upstream
