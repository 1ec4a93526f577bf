"""The pages of `deploy/`, and the fenced blocks on them."""

import re
from pathlib import Path
from textwrap import dedent

from gateway.configuration import load
from gateway.settings import AgentType, Settings

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
_FENCED = re.compile(r"^( *)```(\w+) ?(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LETTA = AgentType(id="letta", model="any", system="You are the agent of {user_name}.")
"""What the pages call it."""


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Language, name (may be empty) and text of each fenced block."""
    text = (DEPLOY / page).read_text(encoding="utf-8")
    return [(language, name, dedent(block)) for _, language, name, block in _FENCED.findall(text)]


def settings_of(page: str, directory: Path, **environ: str) -> Settings:
    """What a page's configuration says, read as the gateway does."""
    (toml,) = (text for language, _, text in blocks(page) if language == "toml")
    config = directory / "gateway.toml"
    config.write_text(f'[[agent_types]]\nid = "{LETTA.id}"\n\n{toml}', encoding="utf-8")
    return load(config, environ)
