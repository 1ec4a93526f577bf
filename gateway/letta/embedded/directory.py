"""The state directory of a Letta of the gateway's own, and the App Server's part of it.

The only module that knows platformdirs.
"""

from pathlib import Path

import platformdirs


def default_state() -> Path:
    """The state directory where none is configured: below the user's data directory."""
    return platformdirs.user_data_path("letta-gateway")


def state_of(configured: str | None) -> Path:
    """The state directory, of agents, memory and log: the configured one, or the default."""
    return Path(configured).expanduser() if configured else default_state()


def state_backend(state: Path) -> Path:
    """The folder of the App Server's agents, conversations and memory."""
    return state / "backend"
