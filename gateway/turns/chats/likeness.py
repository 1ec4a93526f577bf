"""How texts and paths are compared: texts by a form in which those are equal that look alike. Performs no I/O.

Programs change texts on their way: their spaces, forms of characters, escapes for HTML. The form is only for
comparing; messages are sent as they were typed. `Matched` is the beginning of a path that need not be compared again.
"""

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence

from gateway.domain.messages import Message, Role
from gateway.turns.chats.markers import pictures_of

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


class Matched:
    """The beginning of the path that was last compared with a conversation, up to a question of the person's.

    Clients send all of a chat with every request. What stands before a question is compared without a look at what
    follows it, on both sides: so this stays true while the conversation grows, and for every path that begins so.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.weight = 0
        """About the number of characters that it holds beside those of the conversation."""
        self._kept = 0
        self._texts: list[str] = []
        self._roles: list[Role] = []
        self._pictures: dict[int, str] = {}

    def skip(self, kept: Sequence[Message], path: Sequence[Message]) -> tuple[int, int]:
        """The numbers of messages of the conversation and of the path that need not be compared: the same ones."""
        count = len(self._texts)
        begun = path[:count]
        if (
            0 < self._kept <= len(kept)
            and [message.content for message in begun] == self._texts
            and [message.role for message in begun] == self._roles
            and _pictures(begun) == self._pictures
        ):
            return self._kept, count
        return 0, 0

    def note(self, kept: Sequence[Message], path: Sequence[Message], since: int, now: tuple[int, int]) -> None:
        """Note that after the `since` messages that were skipped `now` so many were found to be the same."""
        if not since:
            self._forget()
        between, count = self._kept - since, now[1]
        for i in range(since, count):
            text, there = path[i].content, kept[i + between].content if i + between < len(kept) else ""
            # Of two equal texts only that of the conversation is held.
            self._texts.append(there if there == text else text)
            self.weight += 0 if there == text else len(text)
        self._roles += [message.role for message in path[since:count]]
        self._pictures |= _pictures(path[since:count], since)
        self._kept = now[0]


def _pictures(messages: Sequence[Message], first: int = 0) -> dict[int, str]:
    """The pictures of messages by their places, of which the first is number `first`."""
    return {i: pictures_of(message) for i, message in enumerate(messages, first) if message.images}
