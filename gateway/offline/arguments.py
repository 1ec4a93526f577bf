"""Arguments for the calls of the offline model: as a tool's schema has them, with what a message says. No I/O."""

import json
import re
from typing import Any

_QUOTED = re.compile(r"\"([^\"]{1,200})\"|“([^”]{1,200})”|(?<!\w)'([^']{1,200})'(?!\w)")
_BEHIND_A_PREPOSITION = re.compile(r"\b(?:in|for|of|about|at|on)\s+(?:the\s+)?([^?!.,;:\n]+)", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# Schemas may name themselves.
_DEEPEST = 8

Schema = dict[str, Any]


def to_arguments(schema: Schema, asked: str) -> str:
    """The JSON of an object: the one in the message `asked`, else the simplest that has something of it."""
    if written := _written(asked):
        return written
    value = _Values(schema, asked).of(schema) if schema else {}
    return json.dumps(value if isinstance(value, dict) else {}, ensure_ascii=False)


def _written(asked: str) -> str | None:
    written = asked[asked.find("{") : asked.rfind("}") + 1]
    try:
        return written if isinstance(json.loads(written), dict) else None
    except (ValueError, RecursionError):
        return None


class _Values:
    """The values that are made of one message, by schemas below `root`."""

    def __init__(self, root: Schema, asked: str) -> None:
        self._root, self._asked = root, asked
        number = _NUMBER.search(asked)
        self._number: float = json.loads(number[0].lstrip("0") or "0") if number else 0

    def of(self, schema: Any, depth: int = 0) -> Any:
        """The value of a schema that holds anything."""
        schema = self._resolved(schema)
        if depth > _DEEPEST:
            return None
        for several in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(several), list) and schema[several]:
                return self.of(schema[several][0], depth + 1)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self._one_of(schema["enum"])
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return [self.of(schema.get("items"), depth + 1)]
            case kind:
                return self._plain(kind)

    def _object(self, schema: Schema, depth: int) -> Schema:
        properties = schema.get("properties") or {}
        names = properties if schema.get("required") is None else schema["required"]
        return {name: self.of(properties.get(name), depth + 1) for name in names}

    def _plain(self, kind: Any) -> Any:
        plain = {"integer": int(self._number), "number": self._number, "boolean": True, "null": None}
        return plain[kind] if kind in plain else _words(self._asked)

    def _one_of(self, values: list[Any]) -> Any:
        return next((value for value in values if str(value).lower() in self._asked.lower()), values[0])

    def _resolved(self, schema: Any) -> Schema:
        """The schema, or the one that it points to in the root: `{"$ref": "#/$defs/Place"}`."""
        if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
            found: Any = self._root
            for name in filter(None, schema["$ref"].removeprefix("#").split("/")):
                found = found.get(name) if isinstance(found, dict) else None
            schema = found
        return schema if isinstance(schema, dict) else {}


def _kind(schema: Schema) -> Any:
    kind: Any = schema.get("type")
    if isinstance(kind, list):
        return next((one for one in kind if one != "null"), "null")
    return kind or ("object" if "properties" in schema else "string")


def _words(asked: str) -> str:
    """The words that a message is about: its quotation, or what is behind its last preposition; else all of it."""
    if quoted := _QUOTED.search(asked):
        return quoted[quoted.lastindex or 0]
    behind = _BEHIND_A_PREPOSITION.findall(asked)
    return str(behind[-1]).strip() if behind else asked
