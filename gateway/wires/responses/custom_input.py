"""The text that a custom tool is called with, out of the JSON that its function is called with. Performs no I/O."""

import json
import re

from gateway.wires.responses.tools import INPUT

_BEGINNING = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"')
# What cannot be told yet: a beginning that is longer than this is none.
_LONGEST_BEGINNING = 100
# A string up to its end, or to the end of what has come; an escape that is not complete comes with the next piece.
_STRING = re.compile(r'[^"\\]*+(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*+)*+', re.DOTALL)
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")


class CustomInput:
    """Decodes `{"input": "…"}` as it comes: JSON in pieces in, text in pieces out; `flush` gives the rest.

    Where a model wrote anything else, the text is the string it called `input`, or all that it wrote.
    """

    def __init__(self) -> None:
        self._written: list[str] = []
        """All that has come, as long as the string has not begun."""
        self._held = ""
        self._begun = self._ended = False

    def feed(self, arguments: str) -> str:
        if self._ended:
            return ""
        if self._begun:
            return self._decode(self._held + arguments)
        self._written.append(arguments)
        if len(self._held) > _LONGEST_BEGINNING:
            return ""
        self._held += arguments
        found = _BEGINNING.match(self._held)
        if not found:
            return ""
        self._begun = True
        self._written.clear()
        return self._decode(self._held[found.end() :])

    def flush(self) -> str:
        if self._begun:
            # A string without an end: half an escape is nothing.
            return ""
        written = "".join(self._written)
        try:
            value = json.loads(written)
        except (ValueError, RecursionError):
            return written
        found = value.get(INPUT) if isinstance(value, dict) else None
        return found if isinstance(found, str) else written

    def _decode(self, text: str) -> str:
        end = _end_of_string(text, 0)
        # What is no escape at all is a part of the text.
        while text.startswith("\\", end) and not _HALF_ESCAPE.match(text, end):
            end = _end_of_string(text, end + 1)
        self._ended = text.startswith('"', end)
        self._held = text[end:]
        try:
            # As strings stand in JSON, but with the line breaks that a careless model writes.
            return str(json.loads(f'"{text[:end]}"', strict=False))
        except ValueError:
            return text[:end]


def _end_of_string(text: str, start: int) -> int:
    found = _STRING.match(text, start)
    return found.end() if found else start
