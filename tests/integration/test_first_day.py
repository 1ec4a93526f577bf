"""A person's first day: the demo, then `serve`, then keys. The agent stays, by what its model receives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from tests.gateways import GatewayProcess, sdk
from tests.servers.scripted_model import ScriptedModel

KEY = "sk-first"
FIRST_KEY = f'[[keys]]\nname = "frontend"\nkey = "{KEY}"\ndefault_user = "me"\n'
# What a person likes, and how their requests name them
PEOPLE: dict[str, dict[str, str]] = {"green tea": {}, "black coffee": {"user": "Ada"}}


@pytest.fixture
def state(tmp_path: Path, model: ScriptedModel) -> Path:
    """The state of a demo to which each has said what they like."""
    state = tmp_path / "state"
    command = [sys.executable, "-m", "gateway", "demo", "--port", "0", "--state", str(state)]
    environ = os.environ | {"OPENAI_BASE_URL": model.base_url}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        told: dict[str, str] = {}
        while "Try it:" not in told:
            name, _, value = demo.stdout.readline().strip().partition(": ")
            told[name] = value
        with OpenAI(base_url=told["address"], api_key=told["key"], max_retries=0, timeout=60) as client:
            for liked in PEOPLE:
                say(client, f"Remember that I like {liked}.", liked)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
    assert demo.returncode == 0
    assert told["Model"].startswith("openai-compatible/offline, the first")
    return state


def say(client: OpenAI, text: str, liked: str) -> None:
    client.chat.completions.create(
        model="letta", messages=[{"role": "user", "content": text}], user=PEOPLE[liked].get("user") or "me"
    )


def known(client: OpenAI, model: ScriptedModel, text: str) -> list[bool]:
    """For each person: does the model receive what they like, and nothing that another does, in a new chat?"""
    found = []
    for liked in PEOPLE:
        say(client, f"{text} {liked.split()[0]}", liked)
        (request,) = model.received(f"{text} {liked.split()[0]}")
        everything = "\n".join(said for _, said in request)
        found.append([other for other in PEOPLE if f"like {other}" in everything] == [liked])
    return found


def test_a_person_of_the_demo_keeps_the_agent_under_serve_and_behind_keys(
    state: Path, model: ScriptedModel, tmp_path: Path
) -> None:
    provider, options = {"OPENAI_BASE_URL": model.base_url}, ("--state", str(state))
    with GatewayProcess(None, *options, **provider) as without_keys, sdk(without_keys.base_url) as client:
        assert known(client, model, "This is serve:") == [True, True]

    of_environment = {**provider, "GATEWAY_API_KEY": KEY}
    with GatewayProcess(None, *options, **of_environment) as with_a_key, sdk(with_a_key.base_url, KEY) as client:
        assert known(client, model, "This is a key of the environment:") == [True, True]

    config = tmp_path / "gateway.toml"
    config.write_text(FIRST_KEY)
    with GatewayProcess(config, *options, **provider) as strange, sdk(strange.base_url, KEY) as client:
        assert known(client, model, "This is a first key:") == [False, False]
    (warning,) = [line for line in strange.log if "strangers" in line]
    assert "WARNING" in warning
    assert 'add `scope = "default"` to the key whose people they are.' in warning

    config.write_text(f'{FIRST_KEY}scope = "default"\n')
    with GatewayProcess(config, *options, **provider) as kept, sdk(kept.base_url, KEY) as client:
        assert known(client, model, "This is a first key with that scope:") == [True, True]
    # Those who came by the first key are there as well.
    assert [line for line in kept.log if "scope `frontend`" in line]
