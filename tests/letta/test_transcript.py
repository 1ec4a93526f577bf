"""Messages for an App Server: what it is sent, and a conversation's past as the files that it keeps."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.letta.transcript import (
    CLIENT_REMINDER,
    EARLIER_REMINDER,
    FORMAT,
    REMINDER_END,
    Listed,
    backend_of,
    folder_of,
    is_known_format,
    to_input,
    unfinished,
    with_history,
)
from gateway.letta.upstream import Message

NOW = datetime(2026, 11, 21, 12, 0, 0, 123_000, tzinfo=UTC)
T = "2026-11-21T12:00:00.123Z"
HI, HELLO, MORE = Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "More")
KIND = Message("system", "Be kind")


def client_note(text: str) -> str:
    return CLIENT_REMINDER + text + REMINDER_END


def earlier(text: str) -> str:
    return EARLIER_REMINDER + text + REMINDER_END


def texts(message: dict[str, Any]) -> list[str]:
    assert {part["type"] for part in message["content"]} == {"text"}
    return [part["text"] for part in message["content"]]


# messages -> the text parts of each user message that is sent
INPUTS: dict[str, tuple[list[Message], list[list[str]]]] = {
    "a question": ([HI], [["Hi"]]),
    "two questions": ([HI, MORE], [["Hi"], ["More"]]),
    "a client's system text": ([KIND, HI], [[client_note("Be kind"), "Hi"]]),
    "two of them": ([KIND, KIND, HI], [[client_note("Be kind"), client_note("Be kind"), "Hi"]]),
    "one between": ([HI, KIND, MORE], [["Hi"], [client_note("Be kind"), "More"]]),
    "one after the question": ([HI, KIND], [["Hi"], [client_note("Be kind")]]),
    "what was said earlier": ([HI, HELLO, MORE], [[earlier("user: Hi\n\nassistant: Hello"), "More"]]),
    "what was said earlier, and a system text": (
        [KIND, HI, HELLO, KIND, MORE],
        [[earlier("system: Be kind\n\nuser: Hi\n\nassistant: Hello"), client_note("Be kind"), "More"]],
    ),
    "nothing after the answer": ([HI, HELLO], [[earlier("user: Hi\n\nassistant: Hello")]]),
    "nothing": ([], []),
}


@pytest.mark.parametrize(("messages", "sent"), INPUTS.values(), ids=INPUTS)
def test_messages_are_sent_as_the_users(messages: list[Message], sent: list[list[str]]) -> None:
    inputs = to_input(messages)

    assert [texts(message) for message in inputs] == sent
    assert {message["role"] for message in inputs} <= {"user"}


def test_every_message_has_an_id_that_was_never_used() -> None:
    ids = [message["client_message_id"] for _ in range(100) for message in to_input([HI, MORE])]

    assert len(set(ids)) == len(ids) == 200


ROLES = st.sampled_from(["system", "user", "assistant"])
HISTORIES = st.lists(st.builds(Message, ROLES, st.text(min_size=1)))


@given(HISTORIES)
def test_every_message_is_told_once_and_in_order(messages: list[Message]) -> None:
    sent = "".join(text for message in to_input(messages) for text in texts(message))
    for message in messages:
        _, found, sent = sent.partition(message.content)
        assert found == message.content


# Files

PLACES: dict[str, tuple[str | None, str | None]] = {
    "an agent's memory": ("/srv/letta/backend/memfs/agent-local-1/memory", "/srv/letta/backend"),
    "with a slash at its end": ("/srv/letta/backend/memfs/agent-local-1/memory/", "/srv/letta/backend"),
    "a folder of that name before": ("/memfs/x/memory/memfs/agent-1/memory", "/memfs/x/memory"),
    "another layout": ("/srv/letta/memory/agent-1", None),
    "a deeper one": ("/srv/memfs/agent-1/memory/human", None),
    "no absolute path": ("backend/memfs/agent-1/memory", None),
    "nothing": ("", None),
    "not told": (None, None),
}


@pytest.mark.parametrize(("memory", "backend"), PLACES.values(), ids=PLACES)
def test_the_state_is_found_by_the_memory_of_an_agent(memory: str | None, backend: str | None) -> None:
    assert backend_of(memory) == backend


def test_a_conversation_s_folder_is_named_by_its_id() -> None:
    folder = folder_of("/srv/backend", "local-conv-5")

    assert str(folder) == "/srv/backend/conversations/Y29udmVyc2F0aW9uOmxvY2FsLWNvbnYtNQ"


@given(st.text())
def test_any_id_names_a_folder_of_its_own_within_the_conversations(id: str) -> None:
    folder = folder_of("/srv/backend", id)
    name = folder.name

    assert str(folder.parent) == "/srv/backend/conversations"
    assert urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode() == f"conversation:{id}"


MANIFESTS: dict[str, tuple[str, bool]] = {
    "the known one": (json.dumps(FORMAT), True),
    "with more fields": (json.dumps({**FORMAT, "created_at": T}), True),
    "a later version": (json.dumps({**FORMAT, "schema_version": 3}), False),
    "an earlier version": (json.dumps({**FORMAT, "schema_version": 1}), False),
    "another format": (json.dumps({**FORMAT, "message_format": "sqlite"}), False),
    "another stack": (json.dumps({**FORMAT, "provider_stack": "ai-sdk"}), False),
    "a field less": (json.dumps({"schema_version": 2}), False),
    "a list": (json.dumps([FORMAT]), False),
    "null": ("null", False),
    "no JSON": ("schema_version: 2", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("manifest", "known"), MANIFESTS.values(), ids=MANIFESTS)
def test_only_the_known_format_is_written(manifest: str, known: bool) -> None:
    assert is_known_format(manifest) is known


KEPT = {
    "id": "local-conv-5",
    "agent_id": "agent-1",
    "archived": False,
    "summary": "Grüße gw1:0123",
    "last_message_at": None,
    "in_context_message_ids": [],
    "a_new_field": {"x": [1]},
}


def write(history: list[Message]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The conversation and the entries of its messages, without the session's own line."""
    conversation, messages = with_history(json.dumps(KEPT), history, NOW)
    lines = messages.split("\n")
    assert lines.pop() == ""
    session, *entries = [json.loads(line) for line in lines]
    assert session == {"type": "session", "version": 3, "id": "local-conv-5", "timestamp": T, "cwd": "/"}
    return json.loads(conversation), entries


def test_a_past_is_written_as_the_app_server_writes_it() -> None:
    conversation, (asked, answered) = write([HI, HELLO])
    about = {"created_at": T, "updated_at": T, "agent_id": "agent-1", "conversation_id": "local-conv-5"}

    assert conversation == {**KEPT, "in_context_message_ids": ["ui-imp-0", "ui-imp-1"]}
    assert asked == {
        "type": "message",
        "id": "00000000",
        "parentId": None,
        "timestamp": T,
        "message": {
            "id": "ui-imp-0",
            "role": "user",
            "content": [{"type": "text", "text": "Hi"}],
            "metadata": about,
            "timestamp": 1795262400123,
        },
    }
    assert (answered["id"], answered["parentId"]) == ("00000001", "00000000")
    assert (
        answered["message"].items()
        >= {
            "role": "assistant",
            "content": [{"type": "text", "text": "Hello"}],
            "timestamp": 1795262400124,
            "api": "openai-completions",
            "provider": "openai-compatible",
            "stopReason": "stop",
        }.items()
    )
    assert answered["message"]["usage"]["cost"]["total"] == answered["message"]["usage"]["totalTokens"] == 0


# history -> roles and texts of what is written
PASTS: dict[str, tuple[list[Message], list[tuple[str, list[str]]]]] = {
    "a turn": ([HI, HELLO], [("user", ["Hi"]), ("assistant", ["Hello"])]),
    "a system text before": ([KIND, HI, HELLO], [("user", [client_note("Be kind"), "Hi"]), ("assistant", ["Hello"])]),
    "a system text alone": ([KIND, HELLO], [("user", [client_note("Be kind")]), ("assistant", ["Hello"])]),
    "an answer first": ([HELLO, HI, HELLO], [("assistant", ["Hello"]), ("user", ["Hi"]), ("assistant", ["Hello"])]),
    "two answers": ([HI, HELLO, HELLO], [("user", ["Hi"]), ("assistant", ["Hello"]), ("assistant", ["Hello"])]),
    "two questions": ([HI, MORE, HELLO], [("user", ["Hi"]), ("user", ["More"]), ("assistant", ["Hello"])]),
}


@pytest.mark.parametrize(("history", "written"), PASTS.values(), ids=PASTS)
def test_a_past_is_written_in_turns(history: list[Message], written: list[tuple[str, list[str]]]) -> None:
    _, entries = write(history)

    assert [(entry["message"]["role"], texts(entry["message"])) for entry in entries] == written


@given(HISTORIES)
def test_a_past_comes_back_as_it_was(history: list[Message]) -> None:
    conversation, entries = write(history)
    messages = [entry["message"] for entry in entries]
    read = []
    for message in messages:
        for text in texts(message):
            note = text.startswith(CLIENT_REMINDER) and text.endswith(REMINDER_END)
            plain = text.removeprefix(CLIENT_REMINDER).removesuffix(REMINDER_END) if note else text
            read.append(Message("system" if note else message["role"], plain))

    assert read == history
    assert conversation["in_context_message_ids"] == [message["id"] for message in messages]
    assert {**conversation, "in_context_message_ids": []} == KEPT


@given(HISTORIES)
def test_the_entries_of_a_past_form_a_chain(history: list[Message]) -> None:
    _, entries = write(history)
    ids = [entry["id"] for entry in entries]

    assert [entry["parentId"] for entry in entries] == [None, *ids][: len(ids)]
    assert len(set(ids)) == len(ids)
    moments = [entry["message"]["timestamp"] for entry in entries]
    assert moments == sorted(set(moments))


# A turn without an end


def listed(*kinds: str) -> list[Listed]:
    """A listing, the newest first; `user:x` is a user's message of the client id `x`."""
    told = [kind.partition(":") for kind in kinds]
    return [Listed(f"ui-{i}", f"{kind}_message", otid or None) for i, (kind, _, otid) in enumerate(told)]


# the newest first, how the turn began, whether the chat is stuck -> how many belong to a turn without an end
UNFINISHED: dict[str, tuple[list[Listed], str | None, bool, int]] = {
    "nothing was said": (listed(), None, False, 0),
    "nothing was said, and it is stuck": (listed(), None, True, 0),
    "it was answered": (listed("assistant", "user:a"), None, False, 0),
    "it was not answered": (listed("user:b", "assistant", "user:a"), None, False, 1),
    "two were not answered": (listed("user:c", "user:b", "assistant", "user:a"), None, False, 2),
    "it was only thought about": (listed("reasoning", "user:b", "assistant", "user:a"), None, False, 2),
    "it was thought about and answered": (listed("assistant", "reasoning", "user:a"), None, False, 0),
    "a tool was called": (listed("tool_return", "tool_call", "user:a"), None, False, 0),
    "a tool was called, and it is stuck": (
        listed("tool_return", "approval_request", "user:b", "assistant", "user:a"),
        None,
        True,
        3,
    ),
    "half an answer, and it is stuck": (listed("assistant", "user:b", "assistant", "user:a"), None, True, 2),
    "the first turn, and it is stuck": (listed("assistant", "user:a"), None, True, 2),
    "two messages of one turn, and it is stuck": (listed("assistant", "user:c", "user:b", "assistant"), None, True, 3),
    "its beginning is known": (listed("assistant", "user:b", "assistant", "user:a"), "b", False, 2),
    "its beginning is known and far": (listed("assistant", "tool_return", "user:c", "user:b", "user:a"), "b", False, 4),
    "its beginning was not stored": (listed("assistant", "user:a"), "b", False, 0),
    "its beginning was not stored, and nothing was answered": (listed("user:a"), "b", False, 1),
    "no user said anything": (listed("assistant", "reasoning"), None, False, 0),
    "no user said anything, and it is stuck": (listed("assistant", "reasoning"), None, True, 2),
    "a known beginning goes before being stuck": (listed("user:c", "assistant", "user:b"), "b", True, 3),
}


@pytest.mark.parametrize(("newest_first", "began_with", "stuck", "count"), UNFINISHED.values(), ids=UNFINISHED)
def test_the_messages_of_a_turn_without_an_end_are_told_from_the_others(
    newest_first: list[Listed], began_with: str | None, stuck: bool, count: int
) -> None:
    assert unfinished(newest_first, began_with, stuck) == count


KINDS = st.sampled_from(["user", "user:a", "user:b", "assistant", "reasoning", "tool_return"])


@given(st.lists(KINDS), st.sampled_from([None, "a", "b"]), st.booleans())
def test_what_is_left_ends_with_no_message_of_the_user_s(kinds: list[str], began_with: str | None, stuck: bool) -> None:
    messages = listed(*kinds)
    cut = unfinished(messages, began_with, stuck)
    rest = messages[cut:]

    assert 0 <= cut <= len(messages)
    if cut and began_with not in [message.otid for message in messages]:
        assert not rest or rest[0].message_type != "user_message"
