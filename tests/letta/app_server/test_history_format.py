"""A conversation's past as the files that an App Server keeps."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Message, image_of, message_of
from gateway.letta.app_server.frames import KeptMessage
from gateway.letta.app_server.history_format import (
    FORMAT,
    backend_of,
    emptied,
    folder_of,
    is_known_format,
    with_history,
)
from gateway.letta.app_server.listing import to_past
from gateway.letta.notes import EXCHANGED, SAID, note
from tests.letta.words import HELLO, HI, MORE, NOTES, PASTS, texts

NOW = datetime(2026, 11, 21, 12, 0, 0, 123_000, tzinfo=UTC)
T = "2026-11-21T12:00:00.123Z"
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
SESSION = {"type": "session", "version": 3, "id": "local-conv-5", "timestamp": T, "cwd": "/"}
Entry = dict[str, Any]


def lines(messages: str) -> list[Entry]:
    """The entries of a `messages.jsonl`."""
    *written, end = messages.split("\n")
    assert end == ""
    return [json.loads(line) for line in written]


def write(history: list[Message], before: str = "", kept: dict[str, Any] | None = None) -> tuple[Entry, list[Entry]]:
    """The conversation and the entries of its messages, without the session's own line."""
    conversation, messages = with_history(json.dumps(kept or KEPT), before, history, NOW)
    session, *entries = lines(messages)
    assert session == SESSION
    return json.loads(conversation), entries


def test_a_picture_is_written_as_the_app_server_writes_it() -> None:
    _, (asked, _) = write([message_of("user", ["Look", image_of("image/png", "cmVk", "low")]), HELLO])

    assert asked["message"]["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image", "mimeType": "image/png", "data": "cmVk"},
    ]


def test_a_picture_that_is_not_kept_is_told_of() -> None:
    _, (asked, _) = write([message_of("user", [image_of("image/png", "cmVk")]).light, HELLO])

    assert asked["message"]["content"] == [{"type": "text", "text": "[Here was a picture, image/png.]"}]


@pytest.mark.parametrize("words", [*NOTES, note(EXCHANGED, "{}"), SAID])
def test_a_person_s_words_before_a_picture_come_back_whatever_they_look_like(words: str) -> None:
    asked = message_of("user", [words, image_of("image/png", "cmVk")], "gw1-a-b-c-d")
    _, (written, _) = write([asked, HELLO])
    content = [part for part in written["message"]["content"] if part["type"] == "text"]
    shown = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cmVk"}}
    past = to_past([KeptMessage("1", "user_message", written["message"]["otid"], [*content, shown])])

    assert past.messages == [msgspec.structs.replace(asked, id="1")]


def test_a_past_is_written_as_the_app_server_writes_it() -> None:
    conversation, (asked, said) = write([Message("user", "Hi", "gw1-a-b-c-d"), HELLO])
    about = {"created_at": T, "updated_at": T, "agent_id": "agent-1", "conversation_id": "local-conv-5"}

    assert conversation == {**KEPT, "in_context_message_ids": ["ui-imp-0", "ui-imp-1"]}
    assert asked == {
        "type": "message",
        "id": asked["id"],
        "parentId": None,
        "timestamp": T,
        "message": {
            "id": "ui-imp-0",
            "role": "user",
            "otid": "gw1-a-b-c-d",
            "content": [{"type": "text", "text": "Hi"}],
            "metadata": about,
            "timestamp": 1795262400123,
        },
    }
    assert said["parentId"] == asked["id"]
    assert (
        said["message"].items()
        >= {
            "role": "assistant",
            "content": [{"type": "text", "text": "Hello"}],
            "timestamp": 1795262400124,
            "api": "openai-completions",
            "provider": "openai-compatible",
            "stopReason": "stop",
        }.items()
    )
    assert said["message"]["usage"]["cost"]["total"] == said["message"]["usage"]["totalTokens"] == 0


def test_a_question_of_the_past_is_the_gateway_s_own_and_an_answer_nobody_s() -> None:
    _, entries = write([HI, HELLO, MORE, HELLO])
    ids = [entry["message"].get("otid") for entry in entries]

    assert ids[1] is ids[3] is None
    assert ids[0] != ids[2]
    assert all(id.startswith("gw-") for id in ids[::2])


def kept_before() -> tuple[dict[str, Any], str, list[Entry]]:
    """The files of a conversation in which something was said, as the App Server leaves them after a fork."""
    about = {"created_at": T, "updated_at": T, "agent_id": "agent-1", "conversation_id": "local-conv-5"}
    said = [("user", "one\u2028line \x85 of \x0b text"), ("assistant", "\x1cIndeed\u2029")]
    entries: list[Entry] = [
        {
            "type": "message",
            "id": f"{i:08}",
            "parentId": f"{i - 1:08}" if i else None,
            "timestamp": T,
            "message": {
                "id": f"ui-msg-{i}",
                "role": role,
                "content": [{"type": "text", "text": text}],
                "metadata": about,
            },
        }
        for i, (role, text) in enumerate(said)
    ]
    messages = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in [SESSION, *entries])
    return {**KEPT, "in_context_message_ids": ["ui-msg-0", "ui-msg-1"]}, messages, entries


def test_a_past_is_added_to_what_was_said_before() -> None:
    kept, before, already = kept_before()
    conversation, entries = write([MORE, HELLO], before, kept)

    assert entries[:2] == already
    assert [texts(entry["message"]) for entry in entries[2:]] == [["More"], ["Hello"]]
    assert [entry["parentId"] for entry in entries] == [None, *(entry["id"] for entry in entries[:-1])]
    assert conversation["in_context_message_ids"] == ["ui-msg-0", "ui-msg-1", "ui-imp-0", "ui-imp-1"]


def test_a_past_is_added_to_a_file_with_nothing_but_its_session() -> None:
    conversation, entries = write([HI, HELLO], json.dumps(SESSION) + "\n")

    assert entries[0]["parentId"] is None
    assert conversation["in_context_message_ids"] == ["ui-imp-0", "ui-imp-1"]


def test_of_an_emptied_conversation_nothing_is_left_but_its_names() -> None:
    kept, before, _ = kept_before()
    conversation, messages = emptied(json.dumps(kept), NOW)

    assert json.loads(conversation) == KEPT
    assert lines(messages) == [SESSION]
    assert before not in messages


@given(PASTS)
def test_a_past_comes_back_as_it_was(history: list[Message]) -> None:
    conversation, entries = write(history)
    messages = [entry["message"] for entry in entries]
    listed = [
        KeptMessage(message["id"], f"{message['role']}_message", message.get("otid"), message["content"])
        for message in messages
    ]
    found = to_past(listed)

    assert [(m.role, m.content) for m in found.messages] == [(m.role, m.content) for m in history]
    assert (found.instructions_sent, found.pending, found.appendable) == ("", (), True)
    assert conversation["in_context_message_ids"] == [message["id"] for message in messages]
    assert {**conversation, "in_context_message_ids": []} == KEPT


@given(PASTS)
def test_the_entries_of_a_past_form_a_chain(history: list[Message]) -> None:
    _, entries = write(history)
    ids = [entry["id"] for entry in entries]

    assert [entry["parentId"] for entry in entries] == [None, *ids][: len(ids)]
    assert len(set(ids)) == len(ids)
    moments = [entry["message"]["timestamp"] for entry in entries]
    assert moments == sorted(set(moments))
