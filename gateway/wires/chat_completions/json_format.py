"""`response_format`: an answer that is to be JSON. Performs no I/O.

https://developers.openai.com/api/docs/guides/structured-outputs
"""

from typing import Any

from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.wires.chat_completions.limits import check_depth
from gateway.wires.schemas import check_expansions

PARAM = "response_format"


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
