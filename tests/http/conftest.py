"""A fake Letta for each test of HTTP behaviour."""

from collections.abc import Iterator

import pytest

from tests.servers.fake_letta import FakeLetta


@pytest.fixture
def letta() -> Iterator[FakeLetta]:
    with FakeLetta() as fake:
        yield fake
