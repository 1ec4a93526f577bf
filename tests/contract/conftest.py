"""The sides of the contract, one after the other; the quick tier has those without a real server."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from openai import OpenAI

from gateway.letta.upstream import Upstream
from tests.contract.app_server import app_server_side
from tests.contract.memory import MemorySide
from tests.contract.rest import rest_side
from tests.contract.scene import Scene, scene_before
from tests.contract.sides import RealSide, Side
from tests.contract.table import can_show
from tests.contract.talk import started
from tests.frontend import Frontend
from tests.gateways import sdk
from tests.integration.words import someone
from tests.servers.scripted_model import ScriptedModel
from tests.workers import IN_THREES, ONE_GATEWAY

SCRIPTED = ("memory-v1", "memory-app-server", "scripted-rest", "scripted-app-server")
# Where frontends tell the ids of their messages: of each kind of a Letta, and of each stand-in's, one each way.
TELL_IDS = ("letta_v1", "embedded_letta", "memory-v1", "scripted-app-server", "app_server_in_threes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not can_show(item)]
    if left_out:
        items[:] = [item for item in items if can_show(item)]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session", params=[*SCRIPTED, *ONE_GATEWAY, *IN_THREES])
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


@contextmanager
def _side(kind: str, request: pytest.FixtureRequest) -> Iterator[Side]:
    match kind:
        case "memory-v1" | "memory-app-server":
            yield MemorySide(forks=kind == "memory-app-server")
        case "scripted-rest":
            with rest_side() as rest:
                yield rest
        case "scripted-app-server":
            with app_server_side() as scripted:
                yield scripted
        case _:
            yield RealSide(request.getfixturevalue(kind), request.getfixturevalue("model"))


@pytest.fixture
def side(kind: str, request: pytest.FixtureRequest) -> Iterator[Side]:
    with _side(kind, request) as side:
        yield side


@pytest.fixture(scope="module")
def scene(kind: str, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A gateway in front of the side, for tests that do not restart it."""
    with _side(kind, request) as side, scene_before(side, ids=kind in TELL_IDS) as scene:
        yield scene


@pytest.fixture
def client(scene: Scene) -> Iterator[OpenAI]:
    with sdk(scene.url, "sk-front") as client:
        yield client


@pytest.fixture(scope="module")
def person(scene: Scene) -> str:
    """Somebody nobody has heard of: an agent is made in twice the time of a turn."""
    return someone()


@pytest.fixture
def chat(scene: Scene, client: OpenAI, person: str) -> Frontend:
    """Another chat of the same person."""
    return Frontend(client, person, ids=scene.ids)


@pytest.fixture
async def upstream(side: Side) -> AsyncIterator[Upstream]:
    async with started(side) as upstream:
        yield upstream
