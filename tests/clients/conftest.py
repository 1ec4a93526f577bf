"""The environments that clients run in, one each per session."""

from pathlib import Path

import pytest

from tests.environments import npm_environment, uv_environment

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter that has the client libraries; they bring too much along for the project's own environment."""
    return uv_environment("python-clients", HERE / "python.toml") / "bin" / "python"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """What the clients of Node.js need."""
    return npm_environment("node-clients", HERE / "package.json") / "node_modules"
