"""Whether two texts say the same to who reads them, whatever programs made of one on its way. Performs no I/O.

Only for comparing: what is sent stays as it was typed.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

# https://www.unicode.org/charts/PDF/UFE00.pdf, https://www.unicode.org/charts/PDF/UE0100.pdf: how a character looks.
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Marks that follow each other are put in order one by one: of a longer row that takes too long, and no script has one.
PIECE = 64
_SPACES = bytes(code for code in range(128) if chr(code).isspace())


def seen(text: str) -> str:
    """What of a text is compared: its characters in one form, without spaces."""
    if not text.isascii():
        text = _SELECTORS.sub("", "".join(unicodedata.normalize("NFKD", piece) for piece in _pieces(text)))
    return _without_spaces(text)


def _without_spaces(text: str) -> str:
    # Those of ASCII are taken out at once: a text of short words would become a list of millions.
    bare = text.encode("utf-8", "surrogatepass").translate(None, _SPACES).decode("utf-8", "surrogatepass")
    return bare if bare.isascii() else "".join(bare.split())


def readings(text: str) -> Iterator[str]:
    """What a text may have been that a client tells: the same, or what it has escaped for HTML."""
    yield text
    if "&" in text:
        try:
            yield html.unescape(text)
        except ValueError:
            # A number of more digits than Python reads is nobody's escape.
            return


def _pieces(text: str) -> Iterator[str]:
    """Pieces that come into a form each by itself: a mark stays with the character before it."""
    start = 0
    while start < len(text):
        end, most = start + PIECE, min(start + 2 * PIECE, len(text))
        while end < most and unicodedata.combining(text[end]):
            end += 1
        yield text[start:end]
        start = end
