"""Time passes in no time, as for the tests of turns."""

from typing import Any

import pytest

from tests.turns.virtual_time import VirtualTimeLoop


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}
