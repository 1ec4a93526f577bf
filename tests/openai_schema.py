"""OpenAI's own description of the chat completions API, as its reference shows it: `openai-chat.json`."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs

Schema = dict[str, Any]
_REFERENCE = "#/components/schemas/"


def _with_null(schema: Any) -> Any:
    """`nullable`, which JSON Schema does not know, in its words: the reference uses both."""
    if isinstance(schema, list):
        return [_with_null(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {name: _with_null(value) for name, value in schema.items() if name != "nullable"}
    return {"anyOf": [rest, {"type": "null"}]} if schema.get("nullable") is True else rest


COMPONENTS: dict[str, Any] = _with_null(
    json.loads((Path(__file__).parent / "openai-chat.json").read_text(encoding="utf-8"))["components"]
)


def named(reference: str) -> Schema:
    """The schema of this name, or of a reference to it."""
    found: Schema = COMPONENTS["schemas"][reference.removeprefix(_REFERENCE)]
    return found


def properties(schema: Schema) -> dict[str, Schema]:
    """All that an object of this schema may hold, with what it has from others."""
    if "$ref" in schema:
        return properties(named(schema["$ref"]))
    parts = [properties(part) for part in schema.get("allOf", ())]
    return {name: one for part in (*parts, schema.get("properties", {})) for name, one in part.items()}


def validator(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({"$ref": _REFERENCE + name, "components": COMPONENTS})


REQUEST = properties(named("CreateChatCompletionRequest"))
"""The parameters of a chat completion."""
