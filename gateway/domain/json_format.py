"""An answer that is to be JSON, and the JSON in an answer. Performs no I/O."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.texts.halves import mend

# What models put around JSON, for people to read it.
_FENCE = "```"
_LANGUAGE = "json"
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


class JsonFormat(Struct, frozen=True):
    """An answer that is one JSON object, and nothing else: `JsonFormat({"type": "object", "required": ["city"]})`."""

    schema: dict[str, Any] | None = None
    """The JSON Schema that it must match; None for any object."""
    place: str = "response_format"
    """The name of its place, in the wire's words."""
    schema_place: str = "response_format.json_schema.schema"

    def find(self, answer: str) -> str | None:
        """The JSON that an answer is, without a fence around it; None if it is none, or no object where any will do.

        It need not match the schema.
        """
        text = mend(_unfenced(answer.strip()))
        try:
            value = msgspec.json.decode(text)
        except _UNREADABLE:
            return None
        return text if self.schema is not None or isinstance(value, dict) else None


def _unfenced(text: str) -> str:
    """The text between the lines of a fence, if those are its first and its last; else the text itself."""
    if len(text) < 2 * len(_FENCE) or not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    inner = text[len(_FENCE) : -len(_FENCE)]
    if inner[: len(_LANGUAGE)].lower() == _LANGUAGE:
        inner = inner[len(_LANGUAGE) :]
    before, begins, rest = inner.partition("\n")
    found, ends, after = rest.rpartition("\n")
    return found.strip() if begins and ends and not (before.strip() or after.strip()) else text
