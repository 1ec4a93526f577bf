"""`response_format`: an answer that is to be JSON. Performs no I/O.

https://developers.openai.com/api/docs/guides/structured-outputs
"""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.halves import mend
from gateway.wires.chat_completions.limits import check_depth
from gateway.wires.schemas import check_expansions

PARAM = "response_format"
# What models put around JSON, for people to read it.
_FENCE = "```"
_LANGUAGE = "json"
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


class JsonFormat(Struct, frozen=True):
    """An answer that is one JSON object, and nothing else."""

    schema: dict[str, Any] | None = None
    """What it must match; None for any object."""

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
    """What stands between the lines of a fence, if those are its first and its last."""
    if len(text) < 2 * len(_FENCE) or not (text.startswith(_FENCE) and text.endswith(_FENCE)):
        return text
    inner = text[len(_FENCE) : -len(_FENCE)]
    if inner[: len(_LANGUAGE)].lower() == _LANGUAGE:
        inner = inner[len(_LANGUAGE) :]
    before, begins, rest = inner.partition("\n")
    found, ends, after = rest.rpartition("\n")
    return found.strip() if begins and ends and not (before.strip() or after.strip()) else text


def to_json_format(value: Any) -> JsonFormat | None:
    """The format that a request's `response_format` asks for; None for text. Raises InvalidRequest.

    What a schema says is not looked at, but for what would take long.
    """
    match value:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return JsonFormat()
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict(schema)}}:
            check_depth(value, PARAM)
            check_expansions(schema, PARAM)
            # `strict` or not: what is told matches it.
            return JsonFormat(schema)
        case {"type": "json_schema", "json_schema": {"name": str(), **more}} if "schema" not in more:
            return JsonFormat()
    raise InvalidRequest(
        "`response_format`: expected `text`, `json_object`, or `json_schema` with a `name` and a `schema`.", PARAM
    )
