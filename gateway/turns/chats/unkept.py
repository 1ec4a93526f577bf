"""The messages of a chat that its conversation lacks, as a note in the conversation's summary. Performs no I/O."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.messages import Image, Message, Role
from gateway.letta.upstream import Past

# Longer notes are not written.
NOTE_CHARACTERS = 100_000
# The least number of fields in which a message is noted; empty ones behind them are left out.
FIELDS = 4


class Unkept(Struct, frozen=True):
    """The messages of a turn, and its answer, which its client does not send again."""

    messages: list[Message]
    begun: bool = False
    """True: nothing is known of the turn but that it was to begin. Its run may be under way, or have ended."""


class _Noted(Struct, array_like=True):
    """A message as a note holds it: `["user", "Hi"]`."""

    role: Role
    content: str
    client_id: str = ""
    images: tuple[Image, ...] = ()
    exchanged: str = ""
    name: str = ""
    begun: bool = False
    """`Unkept.begun` of the whole note; it stands with the last message."""


def to_note(messages: list[Message], begun: bool = False) -> str:
    """The note of the messages; without the data of pictures if it would be too long, and empty if it still is."""
    light = [msgspec.structs.replace(message.light, exchanged=message.exchanged) for message in messages]
    notes = (_encoded(noted, begun) for noted in (messages, light) if noted)
    return next((note for note in notes if len(note) <= NOTE_CHARACTERS), "")


def _encoded(messages: list[Message], begun: bool) -> str:
    lines = [_fields(message, begun and i == len(messages) - 1) for i, message in enumerate(messages)]
    return msgspec.json.encode(lines).decode()


def _fields(message: Message, begun: bool) -> list[Any]:
    fields = [message.role, message.content, message.client_id, message.images, message.exchanged, message.name, begun]
    while len(fields) > FIELDS and not fields[-1]:
        fields.pop()
    return fields


def from_note(note: str) -> Unkept:
    """The messages in a note; none if it is empty or cannot be read."""
    try:
        noted = msgspec.json.decode(note or "[]", type=list[_Noted])
    except msgspec.MsgspecError:
        return Unkept([])
    messages = [
        Message(one.role, one.content, one.client_id, images=one.images, name=one.name, exchanged=one.exchanged)
        for one in noted
    ]
    return Unkept(messages, bool(noted) and noted[-1].begun)


def is_kept(messages: list[Message], past: Past) -> bool:
    """True if Letta has kept the turn that `messages` were sent with, whatever was seen of its end here."""
    sent = [message.client_id for message in messages if message.client_id]
    return bool(sent) and sent[-1] in {message.client_id for message in past.messages}


def missing_in(past: Past, noted: list[Message]) -> list[Message]:
    """The messages that a conversation lacks: those noted in its summary, or those of its turn without an end.

    The note tells of a turn that was seen. If the turn without an end is another, it came later, and was sent the
    noted messages with its own.
    """
    is_later = past.unfinished and not is_kept(noted, Past(past.unfinished))
    return past.unfinished if is_later or is_kept(noted, past) else noted
