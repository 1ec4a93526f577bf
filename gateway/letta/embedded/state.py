"""The files that an App Server keeps in its state directory, as far as they may be garbled.

They are those of agents and conversations.

A disk that was full, or lost its power, leaves files that are empty, cut or hold what was there before.
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from gateway.letta.upstream import Template

# In the text of an agent's file: its name, and the tags of one of the gateway's (gateway/turns/chats/markers.py).
_NAME = re.compile(r'"name":\s*("(?:[^"\\]|\\.)*")')
_TAGS = re.compile(r'"gateway",\s*("(?:[^"\\]|\\.)*"),\s*"gw-user:([0-9a-f]{12})')
# https://git-scm.com/docs/gitrepository-layout: in a line of a reflog, who made the commit. An agent's memory begins
# with one in the agent's name.
_AUTHOR = re.compile(r"^[0-9a-f]{40,64} [0-9a-f]{40,64} (.*?) <", re.MULTILINE)
# What git leaves out of a name.
_NO_NAME = re.compile(r"[\s.,:;<>\"\\']")


# Who made all the other commits, without its space.
MEMORY_AUTHOR = "LettaAgent"


class AgentFile(Struct, frozen=True):
    """The file of an agent. One that is garbled still tells what its agent is called, or else its memory does."""

    path: Path
    whole: bool
    tags: frozenset[str] = frozenset()
    """Of a whole one."""
    names: frozenset[str] = frozenset()
    """Of a garbled one; none where that cannot be told."""

    def is_of(self, template: Template) -> bool:
        """True if its agent is the one that this template is for."""
        return any(
            self.tags >= set(each.tags) if self.whole else _plain(each.name) in self.names for each in template.known_as
        )


class AgentFiles:
    """The files of all agents, of which those that did not change are not read again."""

    def __init__(self, backend: Path) -> None:
        self._backend = backend
        self._known: dict[Path, tuple[tuple[int, int], AgentFile]] = {}

    def read(self) -> list[AgentFile]:
        known = {}
        for path in _listed(self._backend / "agents"):
            if path.suffix != ".json" or path.name.startswith("._"):
                continue
            state = path.stat()
            mark = state.st_mtime_ns, state.st_size
            before = self._known.get(path)
            # Whose agent a garbled one is its memory may tell later.
            keeps = before and before[0] == mark and before[1].whole
            known[path] = before if before and keeps else (mark, self._read(path))
        self._known = known
        return [file for _, file in known.values()]

    def _read(self, path: Path) -> AgentFile:
        id = _decoded(path.stem)
        text = _text(path)
        agent = _parsed(text)
        tags = agent.get("tags") if isinstance(agent, dict) and agent.get("id") == id else None
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
            return AgentFile(path, whole=True, tags=frozenset(tags))
        log = _text(self._backend / "memfs" / id / "memory" / ".git" / "logs" / "HEAD") if id else ""
        return AgentFile(path, whole=False, names=frozenset([*_names(text), *map(_plain, _AUTHOR.findall(log))]))


def garbled_conversations(backend: Path, with_messages: bool) -> Iterator[Path]:
    """The files of conversations that an App Server cannot read; to read all messages may take long."""
    for folder in _listed(backend / "conversations"):
        if not folder.is_dir():
            continue
        kept = _parsed(_text(folder / "conversation.json"))
        if not (isinstance(kept, dict) and isinstance(kept.get("id"), str) and "agent_id" in kept):
            yield folder / "conversation.json"
            continue
        messages = folder / "messages.jsonl"
        if not messages.exists():
            # It is made with the first message.
            if kept.get("in_context_message_ids"):
                yield messages
            continue
        if not isinstance(_parsed(_text(folder / "manifest.json")), dict):
            yield folder / "manifest.json"
        if with_messages and not _is_jsonl(messages):
            yield messages


def _is_jsonl(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            said = [_parsed(line) is not None for line in lines if line.strip()]
            return bool(said) and all(said)
    except OSError:
        return False


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _text(path: Path) -> str:
    """A file's text as Node.js reads it; empty where there is none to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _parsed(text: str) -> Any:
    """The value that JSON.parse gives for a text; None for one that is no JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _decoded(segment: str) -> str:
    """The id that a file is named after."""
    try:
        return urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode()
    except ValueError:
        return ""


def _names(text: str) -> Iterator[str]:
    for name in _NAME.findall(text):
        yield _plain(_parsed(name) or "")
    for type_id, user in _TAGS.findall(text):
        yield _plain(f"{_parsed(type_id) or ''}-{user}")


def _plain(name: str) -> str:
    return _NO_NAME.sub("", name)
