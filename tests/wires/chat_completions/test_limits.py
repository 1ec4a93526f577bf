"""What a request may hold: far more than clients send, and no more than can be read at once."""

from typing import Any

import msgspec
import pytest

from gateway.domain.errors import InvalidRequest
from gateway.wires import limits
from gateway.wires.chat_completions.request import decode_request
from gateway.wires.chat_completions.tools import Function, Tool, to_client_tools
from gateway.wires.json_format import to_json_format
from gateway.wires.limits import check_depth, check_values
from gateway.wires.schemas import EXPANSIONS

HI = {"role": "user", "content": "Hi"}


def body(**more: Any) -> bytes:
    return msgspec.json.encode({"model": "tutor", "messages": [HI], **more})


def parts(count: int) -> list[Any]:
    return [{**HI, "content": [{"type": "text", "text": "a"}] * count}]


def calls(count: int) -> list[Any]:
    return [{"role": "assistant", "tool_calls": [{"id": "a"}] * count}, {"role": "tool", "tool_call_id": "a"}]


MESSAGES = {
    "messages": lambda count: [HI] * count,
    "parts": parts,
    "calls": calls,
}
MOST = {"messages": limits.MESSAGES, "parts": limits.PARTS, "calls": limits.PARTS}


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_request_may_tell_so_much_and_no_more(kind: str) -> None:
    made, most = MESSAGES[kind], MOST[kind]
    assert decode_request(body(messages=made(most))).messages

    with pytest.raises(InvalidRequest, match=f"more than {most:,}") as refused:
        decode_request(body(messages=made(most + 1)))
    assert refused.value.param == "messages"


def test_a_request_may_bring_a_thousand_tools() -> None:
    tools = [Tool(function=Function(f"tool-{i}")) for i in range(limits.TOOLS + 1)]
    assert len(to_client_tools(tools[1:], None, None).tools) == 1_000

    with pytest.raises(InvalidRequest, match="more than 1,000 tools") as refused:
        to_client_tools(tools, None, None)
    assert refused.value.param == "tools"


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_what_is_passed_on_is_a_hundred_deep_at_most() -> None:
    check_depth(nested(limits.DEPTH), "here")

    with pytest.raises(InvalidRequest) as refused:
        check_depth(nested(limits.DEPTH + 1), "here")
    assert refused.value.param == "here"


DEEP: dict[str, tuple[str, Any]] = {
    "a tool's parameters": (
        "tools[0].function.parameters",
        lambda: to_client_tools([Tool(function=Function("a", parameters=nested(500)))], None, None),
    ),
    "a schema": (
        "response_format",
        lambda: to_json_format({"type": "json_schema", "json_schema": {"name": "a", "schema": nested(500)}}),
    ),
}


@pytest.mark.parametrize(("param", "read"), DEEP.values(), ids=DEEP)
def test_what_is_too_deep_is_named(param: str, read: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read()

    assert refused.value.param == param


VALUES = {
    "lists": "[],",
    "objects": "{},",
    "numbers": "1,",
    "texts": '"a",',
    "texts that end with a backslash": '"\\\\",',
    "names": '"a": 1,',
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_body_of_values_without_number_is_refused_before_anything_is_made_of_it(value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_request(b'{"model": "m", "x": [%b' % (value * (limits.VALUES + 1)).encode())

    assert refused.value.code == "too_many_values"


TEXTS = {
    "commas": '"' + "," * 2 * limits.VALUES + '"',
    "quotes": '"' + '\\",' * 2 * limits.VALUES + '"',
    "backslashes": '"' + "\\\\" * 20 + ",[{" * limits.VALUES + '"',
    "no end": '"' + ",\\" * 2 * limits.VALUES,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    check_values(b'{"x": %b' % text.encode())


def schema(**parts: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": parts}}


def fan(steps: int, width: int, to: str = "#/$defs/d{}") -> dict[str, Any]:
    """Each part stands for `width` of the next."""
    parts = {f"d{i}": {"allOf": [{"$ref": to.format(i + 1)}] * width, "$id": f"d{i}"} for i in range(steps)}
    return {"$ref": to.format(0), "$defs": {**parts, f"d{steps}": {"type": "object", "$id": f"d{steps}"}}}


TOO_MANY = {
    "a fan": fan(9, 10),
    "a fan by names": fan(9, 10, "d{}"),
    "a fan of two": fan(20, 2),
    "a fan within a property": {"properties": {"$defs": fan(9, 10)["$defs"]["d0"]}, "$defs": fan(9, 10)["$defs"]},
    "a long list": {"allOf": [{"$ref": "#/$defs/a"}] * (EXPANSIONS + 1), "$defs": {"a": {}}},
    "anchors": {
        "$ref": "#d0",
        "$defs": {f"d{i}": {"$anchor": f"d{i}", "allOf": [{"$ref": f"#d{i + 1}"}] * 10} for i in range(9)},
    },
}


@pytest.mark.parametrize("parts", TOO_MANY.values(), ids=TOO_MANY)
def test_a_schema_that_nobody_can_write_out_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="more than 10,000") as refused:
        to_json_format(schema(**parts))

    assert refused.value.param == "response_format"


LET_IN = {
    "ten thousand": fan(3, 21),
    "many definitions that are used once": {
        "properties": {f"p{i}": {"$ref": f"#/$defs/p{i}"} for i in range(2_000)},
        "$defs": {f"p{i}": {"properties": {"a": {"$ref": "#/$defs/a"}}} for i in range(2_000)} | {"a": {}},
    },
    "twenty kinds that hold each other": {
        "$ref": "#/$defs/k0",
        "$defs": {f"k{i}": {"properties": {f"p{j}": {"$ref": f"#/$defs/k{j}"} for j in range(20)}} for i in range(20)},
    },
    "itself": {"properties": {"a": {"$ref": "#"}}},
    "words that look like references": {"const": {"$ref": "#/nowhere"}, "properties": {"$ref": {"type": "string"}}},
    "what is nowhere": {"$ref": "#/$defs/a/0/b"},
}


@pytest.mark.parametrize("parts", LET_IN.values(), ids=LET_IN)
def test_a_schema_that_can_be_written_out_is_let_in(parts: dict[str, Any]) -> None:
    assert to_json_format(schema(**parts)) is not None
