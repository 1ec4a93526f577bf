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

# What a program imports takes longer than all else: one Python runs it twice, and nothing of the first time is left.
BETWEEN = "---"
TWICE = f"""
import runpy, sys
for _ in range(2):
    runpy.run_path(sys.argv[1], run_name="__main__")
    for file in (sys.stdout, sys.stderr):
        print("\\n{BETWEEN}", file=file, flush=True)
"""


def of_each_time(said: str) -> tuple[str, str]:
    """What a program said that was run by TWICE, the first time and the second."""
    first, second, _ = said.split(f"\n{BETWEEN}\n")
    return first, second


@contextmanager
def serving(letta: RealLetta, directory: Path, scope: str, **more: Any) -> Iterator[str]:
    """A gateway with the page's keys; their users are those of this test alone."""
    keys = [msgspec.structs.replace(key, scope=scope) for key in settings_of(PAGE, directory, **SECRETS).keys]
    with gateway(letta, keys=tuple(keys), **{"types": (LETTA,), **more}) as url:
        yield url
