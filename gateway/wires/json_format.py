"""An answer that is to be JSON, as a request asks for it. Performs no I/O.

https://developers.openai.com/api/docs/guides/structured-outputs
"""

from typing import Any

from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.wires.limits import check_depth
from gateway.wires.schemas import check_expansions


def to_json_format(
    value: Any, place: str = "response_format", schema_place: str = "response_format.json_schema.schema"
) -> JsonFormat | None:
    """The format that `value`, a `response_format`, asks for; None for text. Raises InvalidRequest.

    `place` and `schema_place` are where it stands, and where its schema does. What a schema says is not looked at, but
    for what would take long.
    """
    match value:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return JsonFormat(None, place, schema_place)
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict(schema)}}:
            check_depth(value, place)
            check_expansions(schema, place)
            # `strict` or not: what is told matches it.
            return JsonFormat(schema, place, schema_place)
        case {"type": "json_schema", "json_schema": {"name": str(), **more}} if "schema" not in more:
            return JsonFormat(None, place, schema_place)
    raise InvalidRequest(
        f"`{place}`: expected `text`, `json_object`, or `json_schema` with a `name` and a `schema`.", place
    )
