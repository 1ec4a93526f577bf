"""Chats that an earlier version had in an embedded Letta: each goes on, and its model hears what is on screen."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from gateway.app import create_app
from gateway.settings import AgentType, Letta, Provider, Settings
from tests.frontend import Frontend, Message, Said
from tests.gateways import FRONTEND, sdk
from tests.integration.words import unheard
from tests.pictures.drawn import GIF, Picture
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served
from tests.states.embedded import in_it, unpack

STATES = Path(__file__).parents[1] / "states"
CHATS: dict[str, dict[str, Any]] = json.loads((STATES / "earlier-chats.json").read_text(encoding="utf-8"))
TUTOR = AgentType(id="tutor", system="You are a tutor.")
SHOWN = Picture(GIF, "image/gif")
# What was seen of their answers is less than what Letta has: a branch tells it, as that version made one.
STOPPED = {"stopped", "stopped, without message ids"}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("earlier-chats.tar.xz", tmp_path_factory.mktemp("earlier"))


@pytest.fixture(scope="module")
def client(state: Path, model: ScriptedModel) -> Iterator[OpenAI]:
    """A gateway's, with that Letta, and the scripted model behind it."""
    settings = Settings(
        letta=Letta(upstream="embedded", state=str(state), settle_seconds=0.05),
        agent_types=(TUTOR,),
        keys=(FRONTEND,),
        provider=Provider(id="openai-compatible", base_url=model.base_url),
    )
    with served(create_app(settings)) as url, sdk(url, "sk-front") as client:
        yield client


def on_screen(client: OpenAI, kept: dict[str, Any]) -> Frontend:
    chat = Frontend(client, kept["user"], ids=kept["ids"])
    chat.chat = kept["chat"]
    for one in kept["messages"]:
        chat.last = Message(one["role"], one["shown"], chat.last, (SHOWN,) if one["pictured"] else ())
        chat.last.id = one["id"]
    return chat


def named_alike(said: list[Said]) -> list[Said]:
    """With one name for every picture: an App Server makes another of a GIF."""
    return [(role, re.sub(r"\[image/\w+ \w+\]", "[picture]", text)) for role, text in said]


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_goes_on_where_it_was(client: OpenAI, state: Path, model: ScriptedModel, name: str) -> None:
    (agents, conversations), words = in_it(state), unheard("next")
    chat = on_screen(client, CHATS[name])
    path = named_alike(chat.said())
    chat.say(words)

    heard = named_alike(model.said_once(words))
    if name == "continued":
        # The wish to continue is in between, and the answer in two.
        answers = [text for role, text in heard if role == "assistant"]
        assert (heard[0], "".join(answers)) == (path[0], path[1][1])
    else:
        assert heard == [*path, ("user", words)]
    assert in_it(state) == (agents, conversations + (name in STOPPED))
