"""The snippets of `deploy/clients.md`, and a gateway for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.clients.documents import LETTA, settings_of
from tests.gateways import gateway
from tests.printed import blocks
from tests.servers.real_letta import RealLetta

PAGE = "clients.md"
ADDRESS = "http://127.0.0.1:8000"
SECRETS = {"PROGRAMS_KEY": "sk-programs", "WEB_APP_KEY": "sk-web-app", "ADA_TERMINAL_KEY": "sk-ada-terminal"}
SNIPPETS = {block.name: block.text for block in blocks(f"deploy/{PAGE}") if block.name}


@contextmanager
def serving(letta: RealLetta, directory: Path, scope: str, **more: Any) -> Iterator[str]:
    """A gateway with the page's keys; their users are those of this test alone."""
    keys = [msgspec.structs.replace(key, scope=scope) for key in settings_of(PAGE, directory, **SECRETS).keys]
    with gateway(letta, keys=tuple(keys), **{"types": (LETTA,), **more}) as url:
        yield url
