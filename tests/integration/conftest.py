"""What the tests against real servers share."""

import uuid
from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.gateways import gateway, sdk
from tests.servers.real_letta import RealLetta


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
