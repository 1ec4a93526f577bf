"""What the pages of `deploy/` say to configure, for the tests of the clients they are about."""

from pathlib import Path

from gateway.settings import AgentType, Settings
from tests.printed import on_page
from tests.readme import ROOT

DEPLOY = ROOT / "deploy"
LETTA = AgentType(id="letta", model="any", system="You are the agent of {user_name}.")
"""The agent type that the pages mean, with a prompt that shows who its person is."""


def settings_of(page: str, directory: Path, **environ: str) -> Settings:
    """What a page of `deploy/` says to the gateway, the part that comes last included."""
    return on_page(f"deploy/{page}")[-1].settings(directory, **environ)
