"""Messages of a chat, and the calls of tools that belong to them: the same for every wire and every Letta.

Performs no I/O.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

Role = Literal["user", "assistant"]


class Image(Struct, frozen=True, omit_defaults=True):
    """A picture in a message, `Image("image/png", "9f86d0…", at=12, data="iVBORw0…")`."""

    media_type: str
    digest: str
    """Tells it from others."""
    at: int = 0
    """Before it come so many characters of the message's text."""
    data: str = ""
    """The picture itself, in base64; empty where it is not kept."""
    detail: str | None = None
    """How closely the model is to look at it: `low`, `high` or `auto`."""


def image_of(media_type: str, data: str, detail: str | None = None) -> Image:
    return Image(media_type, sha256(data.encode()).hexdigest()[:32], data=data, detail=detail)


class Message(Struct, frozen=True):
    """One message of a chat: what a person said and showed, or what the agent answered.

    `Message("user", "What is on it?", images=(Image("image/png", …, at=0),))`, `Message("assistant", "A cat.")`.
    """

    role: Role
    content: str
    """Its text; what stood in several parts is as many lines."""
    client_id: str = ""
    """Of a user message: the id that the gateway gave it, by which Letta's own listing names it; never used twice."""
    id: str = ""
    """Letta's id of it, or of its last part; empty where Letta has not told."""
    images: tuple[Image, ...] = ()
    """What a person showed, in order."""
    name: str = ""
    """Who says it, among several persons of one chat."""
    exchanged: str = ""
    """What tools of the client's gave when it was answered before, a line each: told where it is answered again."""

    def pieces(self) -> Iterator[str | Image]:
        """Its text and its pictures as they follow each other."""
        start = 0
        for image in self.images:
            yield from self._text(start, image.at)
            yield image
            start = image.at
        yield from self._text(start, len(self.content))

    def _text(self, start: int, end: int) -> Iterator[str]:
        # Behind other text it begins on a line of its own.
        text = self.content[start + bool(start) : end]
        if text:
            yield text

    @property
    def light(self) -> "Message":
        """The message without what is large: the pictures, of which is kept what tells them apart, and tools' words."""
        if not (self.images or self.exchanged):
            return self
        images = tuple(msgspec.structs.replace(image, data="") for image in self.images)
        return msgspec.structs.replace(self, images=images, exchanged="")

    @property
    def weight(self) -> int:
        """How many characters it holds, more or less."""
        shown = sum(100 + len(image.data) for image in self.images)
        return 100 + len(self.content) + len(self.exchanged) + shown


def message_of(role: Role, pieces: Iterable[str | Image], client_id: str = "", id: str = "") -> Message:
    """The message that says and shows `pieces`."""
    texts: list[str] = []
    images: list[Image] = []
    length = 0
    for piece in pieces:
        if isinstance(piece, Image):
            images.append(msgspec.structs.replace(piece, at=length))
        elif piece:
            length += len(piece) + bool(texts)
            texts.append(piece)
    return Message(role, "\n".join(texts), client_id, id, tuple(images))


NO_OUTPUT = "(no output)"


class ToolResult(Struct, frozen=True):
    """The result of a call of a client's tool, `ToolResult("call_1", "12 degrees")`."""

    tool_call_id: str
    text: str
    images: tuple[Image, ...] = ()
    """What it shows, each at its place in the text."""

    @property
    def said(self) -> Message:
        """The same as if a person had said and shown it. One without a word says so: no Letta can be told nothing."""
        return Message("user", self.text if self.text.strip() or self.images else NO_OUTPUT, images=self.images)


class PendingCall(Struct, frozen=True):
    """A call of a tool that waits, for the client's result or for an approval: `PendingCall("call_1", "weather")`."""

    tool_call_id: str
    name: str = ""


class HasRole(Protocol):
    """A message of any kind, as far as it tells who speaks."""

    @property
    def role(self) -> str: ...


def last_answer(messages: Sequence[HasRole]) -> int:
    """The index of the last message of the assistant's, -1 where there is none.

    `messages[last_answer(messages) + 1 :]` are those without an answer.
    """
    return next((i for i in range(len(messages) - 1, -1, -1) if messages[i].role == "assistant"), -1)
