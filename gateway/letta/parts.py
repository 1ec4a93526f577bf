"""A message's content in parts, as every Letta takes and lists them. Performs no I/O.

https://docs.letta.com/guides/agents/multimodal
"""

from collections.abc import Iterator
from typing import Any

from gateway.domain.messages import Image, Message, image_of
from gateway.domain.request import ClientTool
from gateway.letta.notes import EXCHANGED, note

MessagePart = dict[str, Any]


def to_parts(message: Message) -> list[MessagePart]:
    if not message.images:
        return [text_part(message.content)]
    # A blank text beside a picture says nothing, and providers refuse it.
    return [_part(piece) for piece in message.pieces() if isinstance(piece, Image) or piece.strip()]


def flattened(parts: list[MessagePart]) -> list[MessagePart]:
    """Parts in the form in which App Servers keep messages and take the results of tools."""
    sources = [part.get("source") for part in parts]
    return [
        {"type": "image", "mimeType": source["media_type"], "data": source["data"]} if source else part
        for part, source in zip(parts, sources, strict=True)
    ]


def exchange_notes(message: Message) -> list[str]:
    """The note before a message that was answered before with tools of the client's; none before another."""
    return [note(EXCHANGED, message.exchanged)] if message.exchanged else []


def text_part(text: str) -> MessagePart:
    return {"type": "text", "text": text}


def _part(piece: str | Image) -> MessagePart:
    if isinstance(piece, str):
        return text_part(piece)
    if not piece.data:
        return text_part(in_words(piece))
    detail = {"detail": piece.detail} if piece.detail else {}
    source = {"type": "base64", "media_type": piece.media_type, "data": piece.data, **detail}
    return {"type": "image", "source": source}


def in_words(image: Image) -> str:
    """The words that stand for a picture that is not kept: `[Here was a picture, image/png.]`."""
    return f"[Here was a picture, {image.media_type}.]"


def from_parts(content: Any) -> Iterator[str | Image]:
    """The texts and pictures of a listed message, whether its content came whole or in parts."""
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict):
            yield from _from_part(part)


def _from_part(part: MessagePart) -> Iterator[str | Image]:
    text, source = part.get("text"), part.get("source")
    if isinstance(text, str):
        yield text
    elif part.get("type") == "image" and isinstance(source, dict):
        # What was sent as base64 a V1 server lists as its own file, with the data.
        yield image_of(source.get("media_type") or "image", source.get("data") or "", source.get("detail"))


def described(tool: ClientTool) -> dict[str, Any]:
    """A client's tool, as every Letta is told of it."""
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
