"""The files in which an App Server keeps a conversation, with messages put into them. Performs no I/O.

The format is its own: nothing of it is written unless the version is the one known here.
"""

import re
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import msgspec

from gateway.domain.messages import Message
from gateway.domain.texts.halves import UNREADABLE, decode
from gateway.letta.app_server.input import new_client_id, said_parts
from gateway.letta.parts import flattened

FORMAT = {"schema_version": 2, "message_format": "pi-session-entry-jsonl", "provider_stack": "pi-ai"}
_MEMORY_FOLDER = re.compile(r"(?P<backend>/.*)/memfs/[^/]+/memory/?")
_EPOCH_MS = 1000


def backend_of(memory_directory: str | None) -> str | None:
    """The folder of everything that the App Server keeps, told by an agent's memory folder; None for another layout.

    `backend_of("/srv/backend/memfs/agent-1/memory") == "/srv/backend"`
    """
    found = _MEMORY_FOLDER.fullmatch(memory_directory or "")
    return found["backend"] if found else None


def folder_of(backend: str, conversation_id: str) -> PurePosixPath:
    """The folder of a conversation's files."""
    name = urlsafe_b64encode(f"conversation:{conversation_id}".encode()).decode().rstrip("=")
    return PurePosixPath(backend) / "conversations" / name


def is_known_format(manifest: str) -> bool:
    """True if a conversation's `manifest.json` tells of the format that is written here."""
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
        message: dict[str, Any] = {"id": f"ui-imp-{i}", "role": said.role, "content": flattened(said_parts(said))}
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
