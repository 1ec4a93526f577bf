"""A suite for the Open Responses specification, `llm-comply`, passes in front of each kind of a real Letta, whole.

https://www.openresponses.org/specification
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.settings import Key, Secret
from tests.clients.documents import LETTA
from tests.environments import uv_environment
from tests.gateways import gateway
from tests.integration.words import someone
from tests.servers.real_letta import RealLetta

PROJECT = Path(__file__).with_name("comply.toml")
SECRET = "sk-comply"
# The suite asks only those for thoughts whose names say that they have some.
THINKER = msgspec.structs.replace(LETTA, id="like-gpt-5")
# It knows these events by other names than the specification that it brings along: `response.reasoning_summary.…`.
MISNAMED = "unknown SSE event type: response.reasoning_summary_text."


@pytest.fixture
def url(letta: RealLetta) -> Iterator[str]:
    """A gateway for a program that does not say who asks."""
    key = Key(name="comply", key=Secret(SECRET), scope=someone(), default_user="ada")
    with gateway(letta, types=(THINKER,), keys=(key,), model=letta.seeing) as base_url:
        yield base_url


def test_it_complies_with_open_responses(url: str) -> None:
    command: list[str | Path] = [
        uv_environment("comply", PROJECT) / "bin" / "llm-comply",
        "--json",
        "--ignore",
        MISNAMED,
    ]
    asking = ["--base-url", f"{url}/v1", "--api-key", SECRET, "--model", THINKER.id]
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run([*command, *asking], env=environ, capture_output=True, text=True, timeout=300, check=False)

    results = json.loads(done.stdout)["results"]
    assert [one for one in results if one["status"] != "passed"] == []
    assert len(results) == 13
