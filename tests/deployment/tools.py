"""Programs that read what other programs are told, without those: linters, and the clients of engines and clusters."""

from pathlib import Path

from tests.environments import uv_environment

PROJECT = Path(__file__).with_name("tools.toml")


def tools() -> Path:
    """The folder of their commands, fetched on first use."""
    return uv_environment("deployment-tools", PROJECT) / "bin"
