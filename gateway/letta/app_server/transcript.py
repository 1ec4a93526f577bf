"""Messages for an App Server: what it is sent, what it lists, and how a past is put into its files. Performs no I/O.

It takes users' messages only. What was answered before goes into the files of a conversation in which nobody has a
turn yet: a format of its own, of which nothing is written unless the version is the one known here.
"""

import re
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.halves import decode
from gateway.domain.messages import Image, Message, Role, message_of
from gateway.letta.app_server import memory
from gateway.letta.notes import (
    CLIENT_REMINDER,
    EARLIER_REMINDER,
    SAID,
    WITHDRAWN,
    looks_like_a_note,
    note,
    told_in,
)
from gateway.letta.parts import Part, exchanged, flattened, from_parts, text_part, to_parts
from gateway.letta.rest.listing import add, joined
from gateway.letta.stream_messages import UNREADABLE, StreamedCall
from gateway.letta.upstream import Instructions, Past, Sending

FORMAT = {"schema_version": 2, "message_format": "pi-session-entry-jsonl", "provider_stack": "pi-ai"}
_MEMORY_FOLDER = re.compile(r"(?P<backend>/.*)/memfs/[^/]+/memory/?")
_EPOCH_MS = 1000

Input = dict[str, Any]


class Listed(Struct, frozen=True):
    """A message of a conversation's listing, or a part of one."""

    id: str
    message_type: str = ""
    otid: str | None = None
    content: str | list[dict[str, Any]] = ""
    # approval_request_message
    tool_call: StreamedCall | None = None
    # tool_return_message
    tool_call_id: str | None = None

    @property
    def texts(self) -> list[str]:
        return [piece for piece in from_parts(self.content) if isinstance(piece, str)]


class _Told(Struct, frozen=True, omit_defaults=True):
    """What was said earlier, a line each."""

    role: Role
    content: str
    pictures: tuple[Image, ...] = ()
    """What was shown, in words."""


def to_input(sending: Sending) -> list[Input]:
    """What is sent, as the App Server takes it, each message with an id that was never used.

    Should there be answers, the conversation could not be given its past: then that is told in words.
    """
    messages = sending.messages
    last_answer = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    notes = _told(messages[: last_answer + 1]) + _instructed(sending.instructions)
    sent = []
    for message in messages[last_answer + 1 :]:
        sent.append(_input(notes, message))
        notes = []
    return sent


def _input(notes: list[str], message: Message) -> Input:
    content = [*map(text_part, notes), *_said(message)]
    return {"role": "user", "content": content, "client_message_id": message.client_id or new_client_id()}


def _said(message: Message) -> list[Part]:
    """A message, and before it what was called to answer it, and what tells that its own words are no note."""
    notes, said = exchanged(message), to_parts(message)
    if message.images and any(looks_like_a_note(part.get("text", "")) for part in said):
        notes = [*notes, SAID]
    return [*map(text_part, notes), *said]


def new_client_id() -> str:
    """Of a message that has none."""
    return f"gw-{uuid.uuid4().hex}"


def _told(messages: list[Message]) -> list[str]:
    if not messages:
        return []
    told = [_Told(message.role, message.content, message.light.images) for message in messages]
    lines = [msgspec.json.encode(one).decode() for one in told]
    return [note(EARLIER_REMINDER, "\n".join(lines))]


def _instructed(instructions: Instructions) -> list[str]:
    """The client's text, where it is not what the conversation was told last."""
    if instructions.text == instructions.sent_before:
        return []
    return [note(CLIENT_REMINDER, instructions.text or WITHDRAWN)]


def to_past(listed: list[Listed]) -> Past:
    """Of a listing, the oldest message first."""
    messages: list[Message] = []
    told = ""
    for one in listed:
        if one.message_type == "assistant_message":
            add(messages, Message("assistant", "".join(one.texts), id=one.id))
        elif one.message_type == "user_message":
            notes, said = _told_apart(one)
            for one_note in notes:
                instructed, lines = told_in(one_note, CLIENT_REMINDER), told_in(one_note, EARLIER_REMINDER)
                told = told if instructed is None else instructed
                messages += _earlier(lines or "")
            add(messages, message_of("user", said, one.otid or "", one.id))
    return Past(joined(messages), "" if told == WITHDRAWN else told)


def _told_apart(message: Listed) -> tuple[list[str], list[str | Image]]:
    """What was put before a user's message, and the message; one that is nothing but a note is the App Server's own.

    The last part is the person's, whatever it looks like, where the message came from a gateway; so is what follows
    SAID.
    """
    pieces = list(from_parts(message.content))
    said = len(pieces) - 1 if (message.otid or "").startswith("gw") else len(pieces)
    if SAID in pieces[:said]:
        said = pieces.index(SAID) + 1
    before = pieces[:said]
    notes = [piece for piece in before if isinstance(piece, str) and looks_like_a_note(piece)]
    return notes, [piece for piece in before if piece not in notes] + pieces[said:]


def _earlier(lines: str) -> list[Message]:
    try:
        told = [msgspec.json.decode(line, type=_Told) for line in lines.split("\n")]
    except UNREADABLE:
        return []
    return [Message(one.role, one.content, images=one.pictures) for one in told]


def backend_of(memory_directory: str | None) -> str | None:
    """Where the App Server keeps everything, of an agent's memory folder; None if that is laid out otherwise."""
    found = _MEMORY_FOLDER.fullmatch(memory_directory or "")
    return found["backend"] if found else None


def folder_of(backend: str, conversation_id: str) -> PurePosixPath:
    """Where a conversation's files are."""
    name = urlsafe_b64encode(f"conversation:{conversation_id}".encode()).decode().rstrip("=")
    return PurePosixPath(backend) / "conversations" / name


def is_known_format(manifest: str) -> bool:
    """Whether a conversation's `manifest.json` is of the format written here."""
    try:
        found: Any = decode(manifest, Any)
    except UNREADABLE:
        return False
    return isinstance(found, dict) and FORMAT.items() <= found.items()


def with_history(conversation: str, messages: str, history: list[Message], now: datetime) -> tuple[str, str]:
    """The `conversation.json` and `messages.jsonl` of a conversation in which `history` was said at last.

    `messages` is the file as it is; empty for a conversation in which nothing was said.
    """
    kept = decode(conversation, dict[str, Any])
    before = [line for line in messages.split("\n") if line] or [_session(kept["id"], now)]
    parent = decode(before[-1], dict[str, Any])["id"] if len(before) > 1 else None
    entries = [*_entries(kept["id"], kept["agent_id"], history, parent, now)]
    kept["in_context_message_ids"] = [*kept["in_context_message_ids"], *(entry["message"]["id"] for entry in entries)]
    lines = [*before, *(msgspec.json.encode(entry).decode() for entry in entries)]
    return msgspec.json.encode(kept).decode(), "".join(f"{line}\n" for line in lines)


def emptied(conversation: str, now: datetime) -> tuple[str, str]:
    """The files of a conversation in which nothing was said."""
    kept = decode(conversation, dict[str, Any])
    kept["in_context_message_ids"] = []
    return msgspec.json.encode(kept).decode(), f"{_session(kept['id'], now)}\n"


def _session(conversation_id: str, now: datetime) -> str:
    session = {"type": "session", "version": 3, "id": conversation_id, "timestamp": _iso(now), "cwd": "/"}
    return msgspec.json.encode(session).decode()


def _entries(
    conversation_id: str, agent_id: str, history: list[Message], parent: str | None, now: datetime
) -> Iterator[dict[str, Any]]:
    at = _iso(now)
    about = {"created_at": at, "updated_at": at, "agent_id": agent_id, "conversation_id": conversation_id}
    for i, said in enumerate(history):
        id = uuid.uuid4().hex[:8]
        message: dict[str, Any] = {"id": f"ui-imp-{i}", "role": said.role, "content": flattened(_said(said))}
        message |= {"metadata": about, "timestamp": int(now.timestamp() * _EPOCH_MS) + i}
        message |= _ANSWERED if said.role == "assistant" else {"otid": said.client_id or new_client_id()}
        yield {"type": "message", "id": id, "parentId": parent, "timestamp": at, "message": message}
        parent = id


# What the App Server itself keeps of an answer beside its text.
_NO_COST = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
_ANSWERED = {
    "api": "openai-completions",
    "provider": "openai-compatible",
    "model": "earlier",
    "usage": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 0, "cost": _NO_COST},
    "stopReason": "stop",
}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unfinished(newest_first: list[Listed], began_with: str | None, stuck: bool) -> int:
    """How many of the newest messages belong to a turn without an end.

    It began with the message of the client id `began_with`, where that is known and was stored. Else it is what the
    user said last, with all that came of it, if nothing did or if the conversation is known to be `stuck` in it.
    """
    ids = [message.otid for message in newest_first]
    if began_with in ids and began_with:
        return ids.index(began_with) + 1
    kinds = [message.message_type for message in newest_first]
    said = next((i for i, kind in enumerate(kinds) if kind == "user_message"), len(kinds))
    if not stuck and any(kind != "reasoning_message" for kind in kinds[:said]):
        return 0
    return next((i for i in range(said, len(kinds)) if kinds[i] != "user_message"), len(kinds))


def calls_wait(newest_first: list[Listed]) -> bool:
    """Whether the last turn has calls without a result, of tools that the gateway does not carry out itself.

    Only the gateway that has begun such a turn can answer them.
    """
    said = next((i for i, one in enumerate(newest_first) if one.message_type == "user_message"), len(newest_first))
    returned = {one.tool_call_id for one in newest_first[:said]}
    calls = [one.tool_call for one in newest_first[:said] if one.message_type == "approval_request_message"]
    return any(call and call.tool_call_id not in returned and call.name not in memory.NAMES for call in calls)
