"""What the tests against real servers share."""

import uuid

import pytest


@pytest.fixture
def mark() -> str:
    """Words that nobody else says."""
    return uuid.uuid4().hex
