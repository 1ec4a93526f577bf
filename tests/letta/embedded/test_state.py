"""Which of an App Server's files are garbled, and whose agents they are of."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.letta.embedded.state import AgentFiles, garbled_conversations
from gateway.letta.upstream import Template

ID = "agent-local-1"
USER = "0123456789ab" + "c" * 20
TAGS = ("gateway", "tutor", f"gw-user:{USER}")
AGENT = {"id": ID, "name": "tutor-0123456789ab", "tags": [*TAGS, "origin:letta-code"], "model": "m/one"}
TEXT = json.dumps(AGENT, indent=2)
REFLOG = f"{'0' * 40} {'a' * 40} tutor-0123456789ab <{ID}@letta.com> 1795903307 +0000\tcommit (initial): memory\n"
LATER = f"{'a' * 40} {'b' * 40} Letta Agent <{ID}@letta.com> 1795903308 +0000\tcommit: memory\n"


def template(type_id: str = "tutor", user: str = USER) -> Template:
    tags = ("gateway", type_id, f"gw-user:{user}")
    return Template("m/one", tags, f"{type_id}-{user[:12]}", None, (), {}, None, {})


HERS, ANOTHER_TYPE, ANOTHER_PERSON = template(), template("coach"), template(user="f" * 32)


def segment(id: str) -> str:
    return urlsafe_b64encode(id.encode()).decode().rstrip("=")


def backend(folder: Path, text: bytes, reflog: str = "") -> Path:
    """Where an agent's file holds `text`."""
    path = folder / "agents" / f"{segment(ID)}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    log = folder / "memfs" / ID / "memory" / ".git" / "logs" / "HEAD"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(reflog)
    return folder


def changed(**fields: Any) -> bytes:
    return json.dumps(AGENT | fields).encode()


GARBLED = {
    "empty": b"",
    "zeros": b"\0" * 300,
    "cut": TEXT.encode()[:60],
    "cut within a character": TEXT.replace("one", "ö").encode().partition("ö".encode())[0] + b"\xc3",
    "two in one": (TEXT + TEXT[40:]).encode(),
    "not a number": TEXT.replace('"m/one"', "NaN").encode(),
    "with a mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "a list": b"[1]",
    "null": b"null",
    "nested without end": b"[" * 100_000,
    "another's": changed(id="agent-local-2"),
    "an id of another type": changed(id=7),
    "tags of another type": changed(tags="gateway"),
    "a tag of another type": changed(tags=["gateway", 3]),
}


@pytest.mark.parametrize("text", GARBLED.values(), ids=GARBLED)
def test_a_garbled_file_is_its_person_s_of_its_type_and_nobody_else_s(tmp_path: Path, text: bytes) -> None:
    (file,) = AgentFiles(backend(tmp_path, text, REFLOG + LATER)).read()

    assert not file.whole
    assert [file.is_of(one) for one in (HERS, ANOTHER_TYPE, ANOTHER_PERSON)] == [True, False, False]


@pytest.mark.parametrize("end", [TEXT.index('"tags"'), TEXT.index(USER) + 20], ids=["its name", "its tags"])
def test_what_is_left_of_a_file_tells_whose_it_is_where_its_memory_does_not(tmp_path: Path, end: int) -> None:
    text = TEXT if end < TEXT.index(USER) else TEXT.replace("tutor-0123456789ab", "renamed")
    (file,) = AgentFiles(backend(tmp_path, text[:end].encode(), LATER)).read()

    assert [file.is_of(one) for one in (HERS, ANOTHER_TYPE, ANOTHER_PERSON)] == [True, False, False]


def test_a_file_of_which_nothing_tells_whose_it_is_is_nobody_s(tmp_path: Path) -> None:
    (file,) = AgentFiles(backend(tmp_path, b"", LATER)).read()

    assert [file.is_of(one) for one in (HERS, ANOTHER_TYPE, ANOTHER_PERSON)] == [False] * 3


def test_a_file_that_is_mended_is_whole(tmp_path: Path) -> None:
    files = AgentFiles(backend(tmp_path, b"", REFLOG))
    assert [file.whole for file in files.read()] == [False]
    backend(tmp_path, TEXT.encode(), REFLOG)
    (file,) = files.read()

    assert file.whole
    assert [file.is_of(one) for one in (HERS, ANOTHER_TYPE, ANOTHER_PERSON)] == [True, False, False]


def test_what_is_no_file_of_an_agent_is_left_alone(tmp_path: Path) -> None:
    files = AgentFiles(backend(tmp_path, TEXT.encode()))
    for name in ("._x.json", "notes.txt", ".json.new"):
        (tmp_path / "agents" / name).write_text("?")

    assert [file.whole for file in files.read()] == [True]
    assert AgentFiles(tmp_path / "nowhere").read() == []


# Conversations

KEPT = {"id": "local-conv-1", "agent_id": ID, "in_context_message_ids": ["ui-msg-1"]}
SAID = '{"type":"session"}\n{"type":"message"}\n'
MANIFEST = '{"schema_version":2}'
Damage = Callable[[Path], object]
DAMAGED: dict[str, tuple[Damage, list[str]]] = {
    "nothing": (lambda folder: None, []),
    "an empty record": (lambda folder: (folder / "conversation.json").write_text(""), ["conversation.json"]),
    "no record": (lambda folder: (folder / "conversation.json").unlink(), ["conversation.json"]),
    "a record of another type": (lambda folder: (folder / "conversation.json").write_text("[]"), ["conversation.json"]),
    "an empty manifest": (lambda folder: (folder / "manifest.json").write_text(""), ["manifest.json"]),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), ["manifest.json"]),
    "empty messages": (lambda folder: (folder / "messages.jsonl").write_text(""), ["messages.jsonl"]),
    "no messages": (lambda folder: (folder / "messages.jsonl").unlink(), ["messages.jsonl"]),
    "a message that is cut": (lambda folder: (folder / "messages.jsonl").write_text(SAID[:-5]), ["messages.jsonl"]),
    "zeros between messages": (
        lambda folder: (folder / "messages.jsonl").write_text(SAID + "\0\0\n" + SAID),
        ["messages.jsonl"],
    ),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGED.values(), ids=DAMAGED)
def test_the_garbled_files_of_a_conversation_are_told(tmp_path: Path, damage: Damage, told: list[str]) -> None:
    for number in (1, 2):
        folder = tmp_path / "conversations" / segment(f"conversation:local-conv-{number}")
        folder.mkdir(parents=True)
        (folder / "conversation.json").write_text(json.dumps(KEPT))
        (folder / "manifest.json").write_text(MANIFEST)
        (folder / "messages.jsonl").write_text(SAID)
    damage(folder)

    assert list(garbled_conversations(tmp_path, with_messages=True)) == [folder / name for name in told]


def test_a_conversation_in_which_nothing_was_said_needs_no_messages(tmp_path: Path) -> None:
    folder = tmp_path / "conversations" / "empty"
    folder.mkdir(parents=True)
    (folder / "conversation.json").write_text(json.dumps(KEPT | {"in_context_message_ids": []}))

    assert list(garbled_conversations(tmp_path, with_messages=True)) == []
