"""Messages for an App Server: what it is sent, and how a conversation's past is put into its files. Performs no I/O.

It takes users' messages only. What was said before goes into the files of a conversation that nobody has begun:
a format of its own, of which nothing is written unless the version is the one known here.
"""

import re
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from gateway.letta.upstream import Message

# Of what the App Server itself puts before a message; its own begin otherwise.
CLIENT_REMINDER = "<system-reminder>\nInstructions of the client for this chat:\n"
EARLIER_REMINDER = "<system-reminder>\nWhat was said earlier in this chat:\n"
REMINDER_END = "\n</system-reminder>"
FORMAT = {"schema_version": 2, "message_format": "pi-session-entry-jsonl", "provider_stack": "pi-ai"}
_MEMORY_FOLDER = re.compile(r"(?P<backend>/.*)/memfs/[^/]+/memory/?")
_EPOCH_MS = 1000

Input = dict[str, Any]


class Listed(Struct, frozen=True):
    """A message of a conversation's listing, or a part of one."""

    id: str
    message_type: str = ""
    otid: str | None = None


def to_input(messages: list[Message]) -> list[Input]:
    """`messages` as the App Server takes them, each with an id that was never used.

    A client's system text goes before the next user message. Should there be answers among them, the conversation
    could not be given its past: then that is told in words.
    """
    last_answer = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    notes = _told(messages[: last_answer + 1])
    sent = []
    for message in messages[last_answer + 1 :]:
        if message.role == "system":
            notes.append(CLIENT_REMINDER + message.content + REMINDER_END)
            continue
        sent.append(_input([*notes, message.content]))
        notes = []
    return sent if not notes else [*sent, _input(notes)]


def _input(texts: list[str]) -> Input:
    content = [{"type": "text", "text": text} for text in texts]
    return {"role": "user", "content": content, "client_message_id": f"gw-{uuid.uuid4().hex}"}


def _told(messages: list[Message]) -> list[str]:
    if not messages:
        return []
    lines = [f"{message.role}: {message.content}" for message in messages]
    return [EARLIER_REMINDER + "\n\n".join(lines) + REMINDER_END]


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
        found = msgspec.json.decode(manifest)
    except msgspec.DecodeError:
        return False
    return isinstance(found, dict) and FORMAT.items() <= found.items()


def with_history(conversation: str, history: list[Message], now: datetime) -> tuple[str, str]:
    """The `conversation.json` and `messages.jsonl` of a conversation in which `history` was said."""
    kept: dict[str, Any] = msgspec.json.decode(conversation)
    entries = [*_entries(kept["id"], kept["agent_id"], history, now)]
    kept["in_context_message_ids"] = [entry["message"]["id"] for entry in entries]
    session = {"type": "session", "version": 3, "id": kept["id"], "timestamp": _iso(now), "cwd": "/"}
    lines = [msgspec.json.encode(line).decode() for line in [session, *entries]]
    return msgspec.json.encode(kept).decode(), "".join(f"{line}\n" for line in lines)


def _entries(conversation_id: str, agent_id: str, history: list[Message], now: datetime) -> Iterator[dict[str, Any]]:
    at = _iso(now)
    about = {"created_at": at, "updated_at": at, "agent_id": agent_id, "conversation_id": conversation_id}
    parent = None
    for i, (role, texts) in enumerate(_turns(history)):
        content = [{"type": "text", "text": text} for text in texts]
        message: dict[str, Any] = {"id": f"ui-imp-{i}", "role": role, "content": content, "metadata": about}
        message["timestamp"] = int(now.timestamp() * _EPOCH_MS) + i
        message |= _ANSWERED if role == "assistant" else {}
        yield {"type": "message", "id": f"{i:08x}", "parentId": parent, "timestamp": at, "message": message}
        parent = f"{i:08x}"


def _turns(history: list[Message]) -> Iterator[tuple[str, list[str]]]:
    """Roles and texts in turn; a client's system text counts as the user's side."""
    for is_answer, messages in groupby(history, lambda message: message.role == "assistant"):
        if is_answer:
            yield from (("assistant", [message.content]) for message in messages)
        else:
            yield from (("user", [part["text"] for part in sent["content"]]) for sent in to_input(list(messages)))


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
