"""The headers that say who asks, and where: once each, in UTF-8; and what an earlier version made of them."""

import json
from typing import Any

import httpx
import pytest

from gateway.settings import AgentType, Key, Secret, UserSource
from gateway.turns.chats.markers import agent_tags, conversation_marker
from tests.gateways import MODEL_HANDLE, chat, gateway
from tests.servers.fake_letta import FakeLetta

URL = "/v1/chat/completions"
Pairs = list[tuple[str, bytes]]
SOURCES = tuple(map(UserSource, ("header:X-User", "header:X-Other-User", "body:user")))
PEOPLE = Key(name="people", key=Secret("sk-people"), user_from=SOURCES)
SIGNED = Key(
    name="signed", key=Secret("sk-signed"), user_from=(UserSource("jwt:X-Token"),), jwt_secret=Secret("s" * 32)
)
RENAMED = Key(
    name="renamed",
    key=Secret("sk-renamed"),
    task_header="X-What",
    message_id_header="X-Answer",
    user_message_id_header="X-Question",
    parent_id_header="X-Before",
)
KEYS = (PEOPLE, SIGNED, RENAMED)
TYPES = (AgentType(id="tutor", model=MODEL_HANDLE),)


def ask(url: str, key: str, named: Pairs, body: bytes | None = None) -> httpx.Response:
    """A request with these headers, in their order."""
    first: Pairs = [("content-type", b"application/json"), ("authorization", f"Bearer {key}".encode())]
    headers = [(name.encode(), value) for name, value in [*first, *named]]
    return httpx.post(
        f"{url}{URL}", content=json.dumps(chat()).encode() if body is None else body, headers=headers, timeout=60
    )


def in_front_of(letta: FakeLetta, **changes: Any) -> Any:
    return gateway(letta.base_url, **{"keys": KEYS, "types": TYPES, **changes})


# key -> headers that its requests may say something in
READ: dict[str, tuple[str, ...]] = {
    "sk-people": (
        *("x-user", "x-other-user", "x-openwebui-user-name", "x-openwebui-user-email"),
        *("x-openwebui-chat-id", "x-chat-id", "x-temporary-chat", "x-message-id", "x-user-message-id", "x-parent-id"),
        *("x-task", "idempotency-key", "x-stainless-retry-count"),
    ),
    "sk-signed": ("x-token",),
    "sk-renamed": ("x-what", "x-answer", "x-question", "x-before"),
}
TWICE = [(key, name) for key, names in READ.items() for name in names]


@pytest.mark.parametrize(("key", "name"), TWICE)
@pytest.mark.parametrize("values", [(b"mine", b"theirs"), (b"same", b"same"), (b"", b"theirs")], ids=str)
def test_a_header_that_comes_twice_is_refused_and_no_value_of_it_repeated(
    letta: FakeLetta, key: str, name: str, values: tuple[bytes, bytes]
) -> None:
    with in_front_of(letta) as url:
        response = ask(url, key, [(name, values[0]), (name.title(), values[1])], b"{")

    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "ambiguous_header", name)
    assert not any(value.decode() in error["message"] for value in values if value)
    assert letta.requests == []


def test_who_has_no_key_is_not_told_of_headers(letta: FakeLetta) -> None:
    with in_front_of(letta) as url:
        wrong = ask(url, "sk-guess", [("x-user", b"one"), ("x-user", b"two")])
        twice = ask(url, "sk-guess", [("authorization", b"Bearer sk-hope")])

    assert [response.json()["error"]["code"] for response in (wrong, twice)] == ["invalid_api_key"] * 2


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tutor", URL])
@pytest.mark.parametrize("others", [("Bearer sk-guess",), ("Basic c2VjcmV0",), ("Bearer sk-people",)])
def test_a_key_that_a_proxy_adds_another_to_is_ambiguous_everywhere(
    letta: FakeLetta, path: str, others: tuple[str, ...]
) -> None:
    headers = [("authorization", value) for value in (*others, "Bearer sk-people")]
    with in_front_of(letta) as url:
        method = "POST" if path == URL else "GET"
        response = httpx.request(method, f"{url}{path}", headers=headers, timeout=60)

    assert (response.status_code, response.json()["error"]["code"]) == (400, "ambiguous_header")


def test_headers_that_say_nothing_here_may_come_as_often_as_they_like(letta: FakeLetta) -> None:
    named = [("via", b"1.1 one"), ("via", b"1.1 two"), ("x-what", b"1"), ("x-what", b"2"), ("x-user", b"ada")]
    with in_front_of(letta) as url:
        assert ask(url, "sk-people", named).status_code == 200


# headers -> who is asking
ORDERED: dict[str, tuple[Pairs, str]] = {
    "the first source": ([("x-other-user", b"bob"), ("x-user", b"ada")], "ada"),
    "the second": ([("x-other-user", b"bob")], "bob"),
    "the last": ([], "ada"),
    "in UTF-8": ([("x-user", "Đorđe 😀".encode())], "Đorđe 😀"),
    "in latin-1": ([("x-user", b"J\xfcrgen")], "Jürgen"),
}


@pytest.mark.parametrize(("named", "user"), ORDERED.values(), ids=ORDERED)
def test_the_first_source_that_is_there_names_the_user(letta: FakeLetta, named: Pairs, user: str) -> None:
    with in_front_of(letta) as url:
        assert ask(url, "sk-people", named).status_code == 200

    assert [tuple(agent["tags"]) for agent in letta.agents] == [agent_tags("tutor", "people", user)]


def test_whoever_an_earlier_version_met_keeps_agent_and_chat(letta: FakeLetta) -> None:
    user, here = "AdÃ©l", "tÃ¤glich"
    letta.agents = [
        {"id": "agent-before", "created_at": "2026-01-01T00:00:00Z", "tags": agent_tags("tutor", "people", user)}
    ]
    summary = f"Letta Gateway {conversation_marker('tutor', 'people', user, here)}"
    letta.conversations = [{"id": "conv-before", "agent_id": "agent-before", "summary": summary}]
    named = [("x-user", "Adél".encode()), ("x-chat-id", "täglich".encode())]
    with in_front_of(letta) as url:
        assert ask(url, "sk-people", named).status_code == 200

    assert [agent["id"] for agent in letta.agents] == ["agent-before"]
    assert [conversation["id"] for conversation in letta.conversations] == ["conv-before"]
    assert letta.count("POST", "/conversations/conv-before/messages") == 1


@pytest.mark.parametrize("length", [300, 30_000])
def test_a_long_name_and_email_are_cut(letta: FakeLetta, length: int) -> None:
    types = (
        AgentType(id="tutor", model=MODEL_HANDLE, system="{user_name}|{user_email}", memory={"human": "{user_name}"}),
    )
    named = [("x-user", b"1"), ("x-openwebui-user-name", b"A" * length), ("x-openwebui-user-email", b"e" * length)]
    with in_front_of(letta, types=types) as url:
        assert ask(url, "sk-people", named).status_code == 200

    (agent,) = letta.agents
    assert agent["system"] == "A" * 256 + "|" + "e" * 256
    assert [block["value"] for block in agent["memory_blocks"]] == ["A" * 256]
