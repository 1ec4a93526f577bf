"""The comparable form of a text: texts that look alike to a reader are equal in it. Performs no I/O.

Programs change texts on their way: their spaces, forms of characters, escapes for HTML. The form is only for
comparing; messages are sent as they were typed.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

# Variation selectors, which only say how a character looks:
# https://www.unicode.org/charts/PDF/UFE00.pdf, https://www.unicode.org/charts/PDF/UE0100.pdf
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# In characters. Unicode's marks that follow each other are put in order one by one: a row that is longer than this
# would take too long, and no script has one.
PIECE = 64
_SPACES = bytes(code for code in range(128) if chr(code).isspace())


def seen(text: str) -> str:
    """The part of a text that is compared: its characters in one form (NFKD), without spaces."""
    if not text.isascii():
        text = _SELECTORS.sub("", "".join(unicodedata.normalize("NFKD", piece) for piece in _pieces(text)))
    return _without_spaces(text)


def _without_spaces(text: str) -> str:
    # ASCII spaces are taken out by `translate`: `split` would make a list of millions of a text of short words.
    bare = text.encode("utf-8", "surrogatepass").translate(None, _SPACES).decode("utf-8", "surrogatepass")
    return bare if bare.isascii() else "".join(bare.split())


def readings(text: str) -> Iterator[str]:
    """The texts that a client's text may stand for: itself, and if it was escaped for HTML (`&lt;`) the original."""
    yield text
    if "&" in text:
        try:
            yield html.unescape(text)
        except ValueError:
            # No program escapes a character as a number of more digits than Python reads.
            return


def _pieces(text: str) -> Iterator[str]:
    """The pieces of a text that can be normalized one by one: a mark stays with the character before it."""
    start = 0
    while start < len(text):
        end, most = start + PIECE, min(start + 2 * PIECE, len(text))
        while end < most and unicodedata.combining(text[end]):
            end += 1
        yield text[start:end]
        start = end
