"""The content of a chat that the gateway gave its id, beside its turns: as a text in a summary. Performs no I/O."""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import msgspec
from msgspec import Struct

AddedItem = dict[str, Any]
"""An item in the words of its wire."""
# The most characters of the text.
ABOUT_CHARACTERS = 100_000
# The most bytes that are read of one.
_MOST_BYTES = 8_000_000
_LEVEL = 6


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
    """The text: words of base64."""
    return urlsafe_b64encode(zlib.compress(_encode(about), _LEVEL)).decode().rstrip("=")


def from_about(text: str) -> About:
    """All that a text says; nothing if it is empty, or cannot be read."""
    if not text:
        return About()
    try:
        packed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return _decode(zlib.decompressobj().decompress(packed, _MOST_BYTES))
    except (ValueError, zlib.error, msgspec.MsgspecError):
        return About()
