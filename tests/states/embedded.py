"""The state of an embedded Letta that an earlier version kept."""

import tarfile
from pathlib import Path

HERE = Path(__file__).parent


def unpack(name: str, folder: Path) -> Path:
    """The state directory in `folder`, with what the archive has."""
    state = folder / "state"
    with tarfile.open(HERE / name) as kept:
        kept.extractall(state, filter="data")
    return state


def in_it(state: Path) -> tuple[int, int]:
    """How many agents there are, and conversations."""
    backend = state / "backend"
    return len([*backend.glob("agents/*.json")]), len([*backend.glob("conversations/*")])
