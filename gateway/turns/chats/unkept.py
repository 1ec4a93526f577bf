"""What was said in a chat and is not in its conversation, as that one's summary notes it. Performs no I/O."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.messages import Image, Message, Role
from gateway.letta.upstream import Past

# What is longer is not noted.
NOTE_CHARACTERS = 100_000
# A message is noted in so many fields at least.
FIELDS = 4


class Unkept(Struct, frozen=True):
    """What a turn was sent and has said, where its client does not say it again."""

    messages: list[Message]
    begun: bool = False
    """Whether nothing is known of the turn but that it was to begin: its run may be under way, or have ended."""


class _Noted(Struct, array_like=True):
    role: Role
    content: str
    client_id: str = ""
    images: tuple[Image, ...] = ()
    exchanged: str = ""
    name: str = ""
    begun: bool = False
    """Of the last one, for all."""


def to_note(messages: list[Message], begun: bool = False) -> str:
    """Large pictures are left to be told of in words; of what is too long even so nothing is noted."""
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
    """Whether Letta has kept the turn that `messages` were sent with, for all that was seen of its end."""
    sent = [message.client_id for message in messages if message.client_id]
    return bool(sent) and sent[-1] in {message.client_id for message in past.messages}


def missing_in(past: Past, noted: list[Message]) -> list[Message]:
    """What a conversation lacks: what its summary notes, or what stands in it without an end.

    The note is what was seen of a turn; another one that has no end came after that, and was sent what was noted.
    """
    is_later = past.unfinished and not is_kept(noted, Past(past.unfinished))
    return past.unfinished if is_later or is_kept(noted, past) else noted
