"""The people of an earlier version's demo, who lived in a scope of their own: every command finds them again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from openai import OpenAI

from gateway.app import create_app
from gateway.configuration import Overrides, load, load_demo
from gateway.settings import Key, Secret, Settings, UserSource
from tests.gateways import sdk
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served
from tests.states.embedded import in_it, unpack

KEY = "sk-demo"
BY_HEADER = {
    "X-OpenWebUI-User-Id": "u-1",
    "X-OpenWebUI-Chat-Id": "chat-1",
    "X-Message-Id": "m-4",
    "X-User-Message-Id": "m-3",
    "X-Parent-Id": "m-2",
    "X-Task": "",
}
# What each had said, and how the request names the person and the chat.
PEOPLE: dict[str, tuple[str, dict[str, Any]]] = {
    "who names nobody": ("I am nobody.", {"extra_headers": {"X-Chat-Id": "kitchen"}}),
    "who is named in the body": ("I am Ada.", {"user": "Ada"}),
    "who is named by Open WebUI": ("I am Grace.", {"extra_headers": BY_HEADER}),
}
COMMANDS = {
    "demo": lambda environ, state: load_demo(environ, Overrides(port=0, state=state), Secret(KEY)),
    "serve": lambda environ, state: load(None, environ, Overrides(state=state)),
    "serve with a key of the environment": lambda environ, state: load(
        None, environ | {"GATEWAY_API_KEY": KEY}, Overrides(state=state)
    ),
}
FIRST_KEY = Key(
    name="frontend",
    key=Secret(KEY),
    scope="default",
    user_from=(UserSource("header:X-OpenWebUI-User-Id"), UserSource("body:user")),
    default_user="me",
)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    return unpack("earlier-demo.tar.xz", tmp_path)


@contextmanager
def started(settings: Settings) -> Iterator[OpenAI]:
    with served(create_app(settings)) as url, sdk(url, KEY) as client:
        yield client


def go_on(client: OpenAI, model: ScriptedModel, said: str, words: str, more: dict[str, Any]) -> list[str]:
    """What the model hears of a person when the chat goes on."""
    answered = f"I am the offline model: no language model is connected, so I can only repeat. You said: {said}"
    history = [("user", said), ("assistant", answered), ("user", words)]
    messages: Any = [{"role": role, "content": text} for role, text in history]
    client.chat.completions.create(model="letta", messages=messages, **more)
    return [text for role, text in model.said_once(words) if role == "user"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_people_of_an_earlier_demo_are_found_by_every_command(
    earlier: Path, model: ScriptedModel, command: str
) -> None:
    settings = COMMANDS[command]({"OPENAI_BASE_URL": model.base_url}, str(earlier))
    before = in_it(earlier)
    with started(settings) as client:
        for person in PEOPLE if command == "demo" else [name for name in PEOPLE if "Open WebUI" not in name]:
            said, more = PEOPLE[person]
            words = f"Here is {person}, by {command}."
            assert go_on(client, model, said, words, more)[0] == said

    assert in_it(earlier) == before


def test_who_chose_a_first_key_s_scope_finds_all_of_them_by_that_key(earlier: Path, model: ScriptedModel) -> None:
    settings = load(None, {"OPENAI_BASE_URL": model.base_url}, Overrides(state=str(earlier)))
    before = in_it(earlier)
    with started(structs.replace(settings, keys=(FIRST_KEY,))) as client:
        for person, (said, more) in PEOPLE.items():
            assert go_on(client, model, said, f"Here is {person}, by a first key.", more)[0] == said

    assert in_it(earlier) == before


def test_the_people_of_a_key_that_is_called_demo_are_its_own(earlier: Path, model: ScriptedModel) -> None:
    demo = Key(name="demo", key=Secret("sk-other"))
    settings = load(None, {"OPENAI_BASE_URL": model.base_url}, Overrides(state=str(earlier)))
    with started(structs.replace(settings, keys=(FIRST_KEY, demo))) as client:
        words = "Is this a stranger?"
        client.chat.completions.create(model="letta", messages=[{"role": "user", "content": words}], user="Ada")

    assert model.said_once(words) == [("user", words)]
    assert in_it(earlier)[0] == 4
