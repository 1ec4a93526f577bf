"""Keeps a literal `<think>` or `</think>` in a text from being taken for a tag. Performs no I/O."""

import re

THINK_TAGS = ("<think>", "</think>")
_TAG = re.compile(r"<(?=/?think>)")
# The end of a text that may be the beginning of a tag; what follows decides.
_BEGINNING = re.compile(r"<(?:/?(?:t(?:h(?:i(?:nk?)?)?)?)?)?\Z")
_THOUGHTS = re.compile(r"(?:\s*<think>.*?</think>)*", re.DOTALL)
ZERO_WIDTH_SPACE = "\u200b"


class Defuser:
    """Text in, text out with U+200B after the `<` of every literal tag, wherever the pieces are split.

    The last few characters are held back while they may be the beginning of a tag; `flush` gives them.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._held and "<" not in text:
            return text
        text = self._held + text
        beginning = _BEGINNING.search(text)
        self._held = beginning[0] if beginning else ""
        return _TAG.sub("<" + ZERO_WIDTH_SPACE, text.removesuffix(self._held))

    def flush(self) -> str:
        """Give the characters that are held back, at the end of the text."""
        held, self._held = self._held, ""
        return held

    def interrupt(self) -> str:
        """Give them defused: more of the text follows elsewhere, and may make a tag of them."""
        return self.flush().replace("<", "<" + ZERO_WIDTH_SPACE)


def restore(text: str) -> str:
    """Take out of `text` what defusing put in."""
    return text.replace("<" + ZERO_WIDTH_SPACE, "<")


def defuse_answer(text: str) -> str:
    """Defuse every tag of an answer but those of the thoughts that it begins with."""
    thoughts = _THOUGHTS.match(text)
    begins = thoughts.end() if thoughts else 0
    return text[:begins] + _TAG.sub("<" + ZERO_WIDTH_SPACE, text[begins:])
