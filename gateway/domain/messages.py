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
    """The digest of its data, which tells it from other pictures."""
    at: int = 0
    """The number of characters of the message's text that come before it."""
    data: str = ""
    """The picture itself, in base64; empty if it is not kept."""
    detail: str | None = None
    """How closely the model is to look at it: `low`, `high` or `auto`."""


def image_of(media_type: str, data: str, detail: str | None = None) -> Image:
    return Image(media_type, sha256(data.encode()).hexdigest()[:32], data=data, detail=detail)


# A request may hold thousands of them: none refers to itself, so the collector need not look at them.
class Message(Struct, frozen=True, gc=False):
    """One message of a chat: the words and pictures of a person, or an answer of the agent.

    `Message("user", "What is on it?", images=(Image("image/png", …, at=0),))`, `Message("assistant", "A cat.")`.
    """

    role: Role
    content: str
    """Its text; several parts of a text are joined by line breaks."""
    client_id: str = ""
    """Of a user message: the id that the gateway gave it, which Letta's listing repeats; never used twice."""
    id: str = ""
    """Letta's id of it, or of its last part; empty if Letta has not told it."""
    images: tuple[Image, ...] = ()
    """The pictures that a person showed, in order."""
    name: str = ""
    """The name of the person who says it, among several of one chat."""
    exchanged: str = ""
    """The results of the client's tools when it was answered before, a line each: told if it is answered again."""

    def pieces(self) -> Iterator[str | Image]:
        """Its text and its pictures as they follow each other."""
        start = 0
        for image in self.images:
            yield from self._text(start, image.at)
            yield image
            start = image.at
        yield from self._text(start, len(self.content))

    def _text(self, start: int, end: int) -> Iterator[str]:
        # Text behind other text begins on a line of its own: the line break is no part of the piece.
        text = self.content[start + bool(start) : end]
        if text:
            yield text

    @property
    def light(self) -> "Message":
        """The message without its large parts: the data of pictures (their digests stay), and the tools' results."""
        if not (self.images or self.exchanged):
            return self
        images = tuple(msgspec.structs.replace(image, data="") for image in self.images)
        return msgspec.structs.replace(self, images=images, exchanged="")

    @property
    def weight(self) -> int:
        """About the number of characters that it holds."""
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
    """The pictures that it shows, each at its place in the text."""

    @property
    def said(self) -> Message:
        """The result as if a person had said it; an empty one says NO_OUTPUT, for no Letta takes an empty message."""
        return Message("user", self.text if self.text.strip() or self.images else NO_OUTPUT, images=self.images)


class PendingCall(Struct, frozen=True):
    """A call of a tool that waits for the client's result or for an approval: `PendingCall("call_1", "weather")`."""

    tool_call_id: str
    name: str = ""


class HasRole(Protocol):
    """A message of any kind that has the role of its speaker."""

    @property
    def role(self) -> str: ...


def last_answer(messages: Sequence[HasRole]) -> int:
    """The index of the last message of the assistant's, -1 if there is none.

    `messages[last_answer(messages) + 1 :]` are the messages that have no answer yet.
    """
    return next((i for i in range(len(messages) - 1, -1, -1) if messages[i].role == "assistant"), -1)
