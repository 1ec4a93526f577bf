"""What the tests against real servers share."""

import uuid
from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.frontend import Frontend
from tests.gateways import gateway, sdk
from tests.integration.sides import SIDES, Side
from tests.integration.words import someone
from tests.servers.real_letta import RealLetta
from tests.workers import asks


@pytest.fixture
def mark() -> str:
    """Words that nobody else says."""
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def url(letta: RealLetta) -> Iterator[str]:
    """A gateway in front of the real Letta, for tests that do not restart it."""
    with gateway(letta) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with sdk(url) as openai_client:
        yield openai_client


@pytest.fixture(scope="module", params=[asks(*side, id=id) for id, side in SIDES.items()])
def side(request: pytest.FixtureRequest) -> Side:
    name, ids = request.param
    return Side(request.getfixturevalue(name), ids)


@pytest.fixture(scope="module")
def side_url(side: Side) -> Iterator[str]:
    """A gateway whose agents see pictures."""
    with gateway(side.letta, model=side.letta.seeing) as base_url:
        yield base_url


@pytest.fixture
def side_client(side_url: str) -> Iterator[OpenAI]:
    with sdk(side_url, "sk-front") as client:
        yield client


@pytest.fixture(scope="module")
def person(side: Side) -> str:
    """Somebody nobody has heard of: an agent is made in twice the time of a turn."""
    return someone()


@pytest.fixture
def chat(side: Side, side_client: OpenAI, person: str) -> Frontend:
    """Another chat of the same person."""
    return Frontend(side_client, person, ids=side.ids)
