"""A fake Letta for each test of HTTP behaviour."""

from collections.abc import Iterator

import pytest

from tests.servers.fake_letta import FakeLetta
from tests.servers.trio import AddressInThrees


@pytest.fixture
def letta(request: pytest.FixtureRequest) -> Iterator[FakeLetta]:
    """With the mark `by_three_too` once more, with three gateways in front of it."""
    with FakeLetta() as fake:
        if getattr(request, "param", "") == "in threes":
            fake.base_url = AddressInThrees.of(fake.base_url, request.getfixturevalue("redis_server"))
        yield fake
