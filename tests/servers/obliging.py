"""What a language model would do that does as it is asked: by rules, as scripts for the offline model.

It calls a tool that is demanded, or that the question speaks of, and answers in JSON where it is told to. Its arguments
and its JSON have the form of their schema, with what the question quotes and counts in them, and no sense beyond that.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]
_DEMAND = re.compile(r"You must answer with a call of the tool ((?:`[\w-]+`(?: or )?)+)")
_JSON = re.compile(r"as a JSON with (.*) keys", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']+)'")


def to_script(request: Body) -> str | None:
    """The script of an answer; None where words will do, and after a tool's result."""
    *_, last = request["messages"]
    if last["role"] != "user":
        return None
    question = "".join(_texts(last)[-1:])
    told = "\n".join(text for message in request["messages"] for text in _texts(message))
    tool = next(_wanted(request.get("tools") or [], told, question), None)
    if tool:
        return f"!tool {tool['name']} {json.dumps(_value(tool['parameters'], question))}"
    schema = _schema(request.get("response_format") or {}, question)
    return f"!say {json.dumps(_value(schema, question))}" if schema else None


def _wanted(tools: list[Body], told: str, question: str) -> Iterator[Body]:
    """The tools to be called: those that are demanded, then those with a word of their name in the question."""
    functions = [tool["function"] for tool in tools]
    if demand := _DEMAND.search(told):
        yield from (function for function in functions if f"`{function['name']}`" in demand[1])
    words = set(re.findall(r"\w+", question.lower()))
    for function in functions:
        if words & {function["name"], *function["name"].split("_")}:
            yield function


def _schema(form: Body, question: str) -> Body | None:
    """What the answer must match, if it is to be JSON: as its provider is told, or as the question says."""
    if "json_schema" in form:
        return dict(form["json_schema"]["schema"])
    if asked := _JSON.search(question):
        return {"type": "object", "properties": {name: {"type": "string"} for name in _QUOTED.findall(asked[1])}}
    return None


def _value(schema: Body, question: str) -> Any:
    """The simplest value of a schema that knows of the question; what may be several things is a string."""
    kind = schema.get("type")
    if kind == "object":
        return {name: _value(one, question) for name, one in schema.get("properties", {}).items()}
    if kind in ("integer", "number"):
        return int([*re.findall(r"\d+", question), "0"][0])
    return [*_QUOTED.findall(question), "a word"][0]


def _texts(message: Body) -> list[str]:
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return [part for part in parts if part]
