"""The snippets of `deploy/clients.md`, and a gateway for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.clients.documents import LETTA, blocks, settings_of
from tests.gateways import gateway
from tests.servers.app_server import AppServer

PAGE = "clients.md"
ADDRESS = "http://127.0.0.1:8000"
SECRETS = {"PROGRAMS_KEY": "sk-programs", "WEB_APP_KEY": "sk-web-app"}
SNIPPETS = {name: text for _, name, text in blocks(PAGE)}


@contextmanager
def serving(app_server: AppServer, directory: Path, scope: str) -> Iterator[str]:
    """A gateway with the page's keys; their users are those of this test alone."""
    keys = [msgspec.structs.replace(key, scope=scope) for key in settings_of(PAGE, directory, **SECRETS).keys]
    with gateway(app_server, types=(LETTA,), keys=tuple(keys)) as url:
        yield url
