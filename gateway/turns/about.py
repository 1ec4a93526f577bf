"""The content of a chat that the gateway gave its id, beside its turns: as a text in a summary. Performs no I/O."""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest

AddedItem = dict[str, Any]
"""An item in the words of its wire."""
# The most characters of the text.
ABOUT_CHARACTERS = 100_000
# The most bytes that are read of one, and so the most that are written.
_MOST_BYTES = 8_000_000
_LEVEL = 6
TOO_LARGE = "conversation_too_large"


class TooMuchAdded(InvalidRequest):
    """More was to be added to a conversation than is kept of that."""

    def __init__(self) -> None:
        super().__init__("More than this is not kept of what is added to a conversation.", "items", TOO_LARGE)


class Added(Struct, array_like=True):
    """Items that were added together, without a run: `Added("c0ffee0123456789", 1_790_000_000, (), [{"type": …}])`."""

    turn: str
    """The id of the turn that they would be, 16 hex digits: their own ids are made of it."""
    made_at: int
    after: tuple[str, ...]
    """The ids of the turns that came before them: the last one, and the last that Letta had kept, empty for none."""
    items: list[AddedItem | None]
    """None stands for one that was deleted."""

    @property
    def left(self) -> list[AddedItem]:
        """Those that were not deleted."""
        return [item for item in self.items if item is not None]


class About(Struct, omit_defaults=True):
    """All that was said about a chat, and added to it: `About({"topic": "fractions"})`."""

    metadata: dict[str, str] | None = None
    """None: nobody has said anything."""
    added: list[Added] = []
    since: int = 0
    """The agent is told of the first so many of those `added`; of the others as far as a note has them."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(About).decode


def to_about(about: About) -> str:
    """The text: words of base64. Raises TooMuchAdded for what would be longer, or could not be read back."""
    plain = _encode(about)
    if len(plain) > _MOST_BYTES:
        raise TooMuchAdded
    text = urlsafe_b64encode(zlib.compress(plain, _LEVEL)).decode().rstrip("=")
    if len(text) > ABOUT_CHARACTERS:
        raise TooMuchAdded
    return text


def from_about(text: str) -> About:
    """All that a text says; nothing if it is empty, or cannot be read."""
    if not text:
        return About()
    try:
        packed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return _decode(zlib.decompressobj().decompress(packed, _MOST_BYTES))
    except (ValueError, zlib.error, msgspec.MsgspecError):
        return About()
