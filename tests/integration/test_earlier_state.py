"""Agents and chats that an earlier version kept in an embedded Letta: each is found, and none is made."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from gateway.app import create_app
from gateway.settings import AgentType, Key, Letta, Secret, Settings, UserSource
from tests.gateways import said
from tests.servers.threads import served
from tests.states.embedded import in_it, unpack

SHARED = "agent-local-fc13c6bc-53ed-4de3-b581-e7f660f470b3"
TYPES = (AgentType(id="tutor"), AgentType(id="one", conversations="single"), AgentType(id="shared", agent=SHARED))
KEYS = (
    Key(name="front", key=Secret("sk-front"), user_from=(UserSource("header:X-User"),)),
    Key(name="programs", key=Secret("sk-programs")),
    Key(name="house", key=Secret("sk-house"), user_from=(UserSource("header:X-Conv"),), user_means="conversation"),
)
ODD = 'a%20b; "q" <x> {y} \\ , ='
Json = dict[str, object]


class Kept(NamedTuple):
    """A chat, as its client names it, and the name that its person has told."""

    name: str
    headers: dict[str, bytes | str]
    body: Json = {}
    key: str = "sk-front"
    model: str = "tutor"


IDS: dict[str, bytes | str] = {
    "X-Message-Id": "änswer-3",
    "X-User-Message-Id": "qüestion-3",
    "X-Parent-Id": "änswer-2",
}
KEPT = {
    "user and chat in UTF-8": Kept("Namax", {"X-User": "Adél Ünïcode", "X-Chat-Id": "täglich"}),
    "a user in UTF-8": Kept("Nambx", {"X-User": "Đorđe 😀", "X-Chat-Id": "c-2"}),
    "a user in UTF-8, without a chat": Kept("Namcx", {"X-User": "Grüße"}),
    "a chat in UTF-8": Kept("Namdx", {"X-User": "plain", "X-Chat-Id": "日記"}),
    "message ids in UTF-8": Kept("Namex", {"X-User": "Zoë", "X-OpenWebUI-Chat-Id": "chât", **IDS}),
    "in latin-1": Kept("Namfx", {"X-User": b"J\xfcrgen", "X-Chat-Id": b"m\xe4r"}),
    "what looks misread": Kept("Namgx", {"X-User": "AdÃ©l Ã\x9cnÃ¯code", "X-Chat-Id": "täglich"}),
    "odd in ASCII": Kept("Namhx", {"X-User": ODD, "X-Chat-Id": ODD}),
    "long": Kept("Namix", {"X-User": "u" * 512, "X-Chat-Id": "c" * 512}),
    "one thread": Kept("Namkx", {"X-User": "Çelik"}, model="one"),
    "a shared agent": Kept("Namlx", {"X-User": "Søren", "X-Chat-Id": "ø"}, model="shared"),
    "a conversation in UTF-8": Kept("Nammx", {"X-Conv": "Küche"}, key="sk-house"),
    "a body in UTF-8": Kept(
        "Namnx", {}, {"user": "Adél Ünïcode", "metadata": {"chat_id": "täglich"}}, key="sk-programs"
    ),
    "a body with odd characters": Kept(
        "Nampx", {}, {"user": "a\n\x00\tb", "metadata": {"thread_id": "\u202e"}}, key="sk-programs"
    ),
}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack("earlier-state.tar.xz", tmp_path_factory.mktemp("earlier"))


@pytest.fixture(scope="module")
def url(state: Path) -> Iterator[str]:
    """A gateway with that Letta, and the offline model behind it."""
    letta = Letta(upstream="embedded", state=str(state), settle_seconds=0.05)
    with served(create_app(Settings(letta=letta, agent_types=TYPES, keys=KEYS))) as base_url:
        yield base_url


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_whoever_was_met_before_keeps_agent_and_chat(url: str, state: Path, kept: Kept) -> None:
    before = in_it(state)
    told = [f"Hello! My name is {kept.name}.", "I will remember that."]
    more = [f"first words of {kept.name}", f"You said: first words of {kept.name}", "What is my name?"]
    messages = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate([*told, *more])]
    headers: dict[str, bytes] = {
        name: value if isinstance(value, bytes) else value.encode()
        for name, value in {**kept.headers, "Authorization": f"Bearer {kept.key}"}.items()
    }
    body = {"model": kept.model, "messages": messages, "reasoning_effort": "none", **kept.body}
    response = httpx.post(
        f"{url}/v1/chat/completions", json=body, headers=[(name.encode(), v) for name, v in headers.items()], timeout=60
    )

    assert said(response.text) == {"role": "assistant", "content": f"Your name is {kept.name}."}
    assert in_it(state) == before == (14, 30)
