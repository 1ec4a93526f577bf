"""`response_format`: an answer that is to be JSON. The only module that knows jsonschema-rs. Performs no I/O.

https://developers.openai.com/api/docs/guides/structured-outputs
"""

import re
from typing import Any

import jsonschema_rs
import msgspec
from msgspec import Struct

from gateway.halves import mend
from gateway.openai_wire.errors import InvalidRequest

PARAM = "response_format"
# What models put around JSON, for people to read it.
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL | re.IGNORECASE)


class JsonFormat(Struct, frozen=True):
    """An answer that is one JSON object, and nothing else."""

    schema: dict[str, Any] | None = None
    """What it must match; None for any object."""

    def find(self, answer: str) -> str | None:
        """The JSON that an answer is, without a fence around it; None if it is no such JSON."""
        fenced = _FENCED.fullmatch(answer)
        text = mend((fenced[1] if fenced else answer).strip())
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return None
        if self.schema is None:
            return text if isinstance(value, dict) else None
        return text if _validator(self.schema).is_valid(value) else None


def to_json_format(value: Any) -> JsonFormat | None:
    """The format that a request's `response_format` asks for; None for text. Raises InvalidRequest."""
    match value:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return JsonFormat()
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict(schema)}}:
            _validator(schema)
            # `strict` or not: what is told matches it.
            return JsonFormat(schema)
        case {"type": "json_schema", "json_schema": {"name": str(), **more}} if "schema" not in more:
            return JsonFormat()
    raise InvalidRequest(
        "`response_format`: expected `text`, `json_object`, or `json_schema` with a `name` and a `schema`.", PARAM
    )


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """Raises InvalidRequest for what is no JSON Schema, or not all of one: nothing is fetched for it."""
    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        raise InvalidRequest("`response_format.json_schema.schema` is not a JSON Schema.", PARAM) from None


def _refuse(uri: str) -> Any:
    raise ValueError("a schema that stands elsewhere")
