"""Decoders of JSON with halves of surrogate pairs in it, such as a lone `\\ud83d`. Performs no I/O.

JSON can spell half of a pair, and UTF-8 cannot. Programs that count text in UTF-16 units leave halves where they cut
it. msgspec refuses all of the JSON that a half stands in, as RFC 8259 allows; then the JSON is mended: halves that
follow each other are put together, and one that is alone becomes U+FFFD.
https://datatracker.ietf.org/doc/html/rfc8259#section-8.2
"""

import codecs
import json
import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
REPLACEMENT = "\ufffd"
# The exceptions that decoding raises for data that is not as expected.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = re.compile(rf"{_HIGH}(?:{_LOW})?|{_LOW}")
_ESCAPE_LENGTH, _PAIR_LENGTH = 6, 12
# The end of a piece of JSON that may be the beginning of an escape, or of a pair of them; the next piece decides.
_BEGINNING = re.compile(rf"(?<!\\)(?:\\\\)*((?:{_HIGH})?(?:\\(?:u(?:[dD][0-9a-fA-F]{{0,2}})?)?)?)\Z")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_HALF = re.compile("[\ud800-\udfff]")
# A text comes in pieces if all names under which it stands in its event are among these.
_PIECES = frozenset({"delta", "content", "text", "reasoning", "tool_call", "tool_calls", "arguments"})


def decode(data: bytes | str, type: type[T]) -> T:
    """JSON decoded by msgspec; halves in it are mended and spoil nothing else. Raises the exceptions of msgspec."""
    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(mended(data) if isinstance(data, bytes) else mend(data), type=type)


def decode_pieces(data: bytes, type: type[T]) -> T:
    """The same for an event that may hold a piece of a longer text: in that halves stay, for `Joiner`.

    Raises the exceptions of msgspec.
    """
    try:
        found = json.loads(_readable(data))
    except (ValueError, RecursionError):
        raise msgspec.DecodeError("the JSON is malformed, or too deep") from None
    return msgspec.convert(_mended(found, True), type)


def mended(data: bytes) -> bytes:
    """JSON without halves, escaped or not; bytes that are no UTF-8 at all become U+FFFD."""
    return mend(_readable(data)).encode()


def mend(text: str) -> str:
    """JSON in whose strings no half is escaped any more: an escaped half becomes an escaped U+FFFD."""
    return _ESCAPE.sub(_mended_escape, text)


def whole(text: str) -> str:
    """`text` with its halves put together, or replaced."""
    return text if text.isascii() else _HALF.sub(REPLACEMENT, joined(text))


def joined(text: str) -> str:
    """`text` with halves that follow each other put together, as one character; others stay."""
    return _PAIR.sub(lambda pair: chr(0x10000 + ((ord(pair[0][0]) - 0xD800) << 10) + ord(pair[0][1]) - 0xDC00), text)


class Mender:
    """Mends JSON that comes in pieces. An escape that may not be complete is held back; `flush` gives it."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._held and "\\" not in text:
            return text
        text = self._held + text
        beginning = _BEGINNING.search(text)
        self._held = beginning[1] if beginning else ""
        return mend(text.removesuffix(self._held))

    def flush(self) -> str:
        held, self._held = self._held, ""
        return mend(held)


def _mended_escape(found: re.Match[str]) -> str:
    escape, text, start = found[0], found.string, found.start()
    while start and text[start - 1] == "\\":
        start -= 1
    if (found.start() - start) % 2:
        # Its backslash is escaped itself, so the first half is plain text; only the second one is an escape.
        return escape[:_ESCAPE_LENGTH] + (r"\ufffd" if len(escape) == _PAIR_LENGTH else "")
    return escape if len(escape) == _PAIR_LENGTH else r"\ufffd"


def _readable(data: bytes) -> str:
    """Bytes as text: a half that was written as UTF-8 all the same becomes its escape, any other error U+FFFD."""
    return data.decode("utf-8", _ERRORS)


def _readable_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    half = error.object[error.start : error.start + 3]
    try:
        return rf"\u{ord(half.decode('utf-8', 'surrogatepass')):04x}", error.start + 3
    except (UnicodeDecodeError, TypeError):
        return REPLACEMENT, error.end


_ERRORS = "gateway.halves"
codecs.register_error(_ERRORS, _readable_error)


def _mended(value: Any, piece: bool) -> Any:
    match value:
        case str():
            return value if piece else whole(value)
        case list():
            return [_mended(one, piece) for one in value]
        case dict():
            return {whole(name): _mended(one, piece and name in _PIECES) for name, one in value.items()}
    return value
