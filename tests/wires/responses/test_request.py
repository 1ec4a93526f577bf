"""The body of a request for a response: what is refused and how, and all that is accepted."""

import re
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidRequest
from gateway.wires import limits
from gateway.wires.envelope import to_json
from gateway.wires.responses.request import ResponsesRequest, decode_request
from tests.wires.responses.bodies import Json, answered, body, called, decoded, referred, returned, said


class Refusal(NamedTuple):
    body: bytes
    words: str
    param: str | None
    code: str | None = None


def item(**fields: Any) -> bytes:
    return body([fields])


UNSUPPORTED = "unsupported_parameter"
GOOD = body()
REFUSALS = {
    "empty": Refusal(b"", "no body", None),
    "a list": Refusal(b"[]", "Expected `object`, got `array`", None),
    "half an object": Refusal(GOOD[:-1], "not valid JSON", None),
    "no UTF-8": Refusal(GOOD.replace(b"Hello", b"Hell\xf6"), "UTF-8", None),
    "no model": Refusal(b'{"input": "Hello"}', "`model` is missing", "model"),
    "no input": Refusal(b'{"model": "tutor"}', "`input` is missing", "input"),
    "null input": Refusal(body(None), "`input` is missing", "input"),
    "an empty text": Refusal(body(""), "`input` is empty", "input"),
    "no items": Refusal(body([]), "`input` is empty", "input"),
    "input of a wrong type": Refusal(body(7), "got `int`", "input"),
    "an item of a wrong type": Refusal(body(["Hello"]), "Expected `object`, got `str`", "input[0]"),
    "an item of no type": Refusal(body([{}]), "`input[0].type` is missing", "input[0].type"),
    "a message without a role": Refusal(item(type="message", content="Hi"), "is missing", "input[0].role"),
    "an unknown role": Refusal(
        item(role="wizard", content="Hi"), "Expected one of user, assistant, system, developer", "input[0].role"
    ),
    "the role of a result": Refusal(item(role="tool", content="Hi"), "Expected one of", "input[0].role"),
    "content of a wrong type": Refusal(item(role="user", content=7), "got `int`", "input[0].content"),
    "a part of a wrong type": Refusal(item(role="user", content=["Hi"]), "got `str`", "input[0].content[0]"),
    "a picture as an object": Refusal(
        item(role="user", content=[{"type": "input_image", "image_url": {"url": "x"}}]),
        "got `object`",
        "input[0].content[0].image_url",
    ),
    "a call without an id": Refusal(
        item(type="function_call", name="x", arguments="{}"), "is missing", "input[0].call_id"
    ),
    "a call without a name": Refusal(
        item(type="function_call", call_id="c", arguments="{}"), "is missing", "input[0].name"
    ),
    "a call without arguments": Refusal(
        item(type="function_call", call_id="c", name="x"), "is missing", "input[0].arguments"
    ),
    "a custom call without its input": Refusal(
        item(type="custom_tool_call", call_id="c", name="x"), "is missing", "input[0].input"
    ),
    "an output without a call": Refusal(item(type="function_call_output", output="x"), "missing", "input[0].call_id"),
    "an output without itself": Refusal(item(type="function_call_output", call_id="c"), "missing", "input[0].output"),
    "a reference to nothing": Refusal(item(type="item_reference"), "is missing", "input[0].id"),
    "an approval of nothing": Refusal(
        item(type="mcp_approval_response", approve=True), "is missing", "input[0].approval_request_id"
    ),
    "neither a yes nor a no": Refusal(
        item(type="mcp_approval_response", approval_request_id="mcpr_1"), "is missing", "input[0].approve"
    ),
    "what was compacted": Refusal(
        item(type="compaction", encrypted_content="x"), "no items of the type `compaction`", "input[0]", UNSUPPORTED
    ),
    "a screenshot": Refusal(
        item(type="computer_call_output", call_id="c"), "`computer_call_output`", "input[0]", UNSUPPORTED
    ),
    "an item of a type that is no name": Refusal(item(type="<b>", id="x"), "of the type.", "input[0]", UNSUPPORTED),
    "two places to go on": Refusal(
        body(previous_response_id="resp_1", conversation="conv_1"),
        "expected one of them",
        "conversation",
        "mutually_exclusive_parameters",
    ),
    "a conversation of a wrong type": Refusal(body(conversation=7), "got `int`", "conversation"),
    "a conversation without an id": Refusal(body(conversation={}), "is missing", "conversation.id"),
    "a prompt of OpenAI's": Refusal(body(prompt={"id": "pmpt_1"}), "keeps no prompts", "prompt", UNSUPPORTED),
    "log probabilities": Refusal(body(top_logprobs=2), "several", "top_logprobs", UNSUPPORTED),
    "what nobody can ask for": Refusal(body(background=True, store=False), "needs `store`", "background"),
    "stream in words": Refusal(body(stream="true"), "got `str`", "stream"),
    "too hot": Refusal(body(temperature=3), "<= 2", "temperature"),
    "too many": Refusal(body(top_p=1.5), "<= 1", "top_p"),
    "a limit of less than nothing": Refusal(body(max_output_tokens=-2), ">= -1", "max_output_tokens"),
    "metadata of a wrong type": Refusal(body(metadata=["chat"]), "got `array`", "metadata"),
    "metadata with a number": Refusal(body(metadata={"a": 7}), "got `int`", "metadata[...]"),
    "a verbosity that is none": Refusal(body(text={"verbosity": "chatty"}), "another value", "text.verbosity"),
    "a truncation that is none": Refusal(body(truncation="some"), "Expected another value", "truncation"),
    "text of a wrong type": Refusal(body(text="json"), "got `str`", "text"),
    "reasoning of a wrong type": Refusal(body(reasoning="low"), "got `str`", "reasoning"),
    "a tool of a wrong type": Refusal(body(tools=["web_search"]), "got `str`", "tools[0]"),
    "a tool without a type": Refusal(body(tools=[{"name": "x"}]), "is missing", "tools[0].type"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_names_what_is_wrong(refusal: Refusal) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(refusal.body)

    error = caught.value
    assert refusal.words in str(error)
    assert (error.param, error.code) == (refusal.param, refusal.code)
    assert to_json(error)


MANY: dict[str, tuple[list[Json], list[Json]]] = {
    "items": ([said("Hi")] * limits.MESSAGES, [said("Hi")]),
    "parts": (
        [said([{"type": "input_text", "text": "a"}] * limits.PARTS)],
        [said([{"type": "input_text", "text": "a"}])],
    ),
    "parts of outputs": (
        [called(), returned(output=[{"type": "input_text", "text": "a"}] * limits.PARTS)],
        [returned(output=[{"type": "input_text", "text": "a"}])],
    ),
}


@pytest.mark.parametrize(("most", "more"), MANY.values(), ids=MANY)
def test_a_request_may_tell_so_much_and_no_more(most: list[Json], more: list[Json]) -> None:
    assert decoded(most).input

    with pytest.raises(InvalidRequest, match="more than") as refused:
        decoded([*most, *more])
    assert refused.value.param == "input"


ACCEPTED: dict[str, Json] = {
    "a field nobody knows": {"colour": "red", "moderation": {"policy": {}}},
    "what is asked of OpenAI": {
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs", 7],
        "stream_options": {"include_obfuscation": False},
        "context_management": [{"type": "compaction"}],
        "prompt_cache_retention": "24h",
    },
    "an include that is none": {"include": "everything"},
    "no log probabilities": {"top_logprobs": 0},
    "null everywhere": dict.fromkeys(set(ResponsesRequest.__struct_fields__) - {"model", "input"} | {"stream_options"}),
    "limits that are none": {"max_output_tokens": -1, "max_tool_calls": 0},
}


@pytest.mark.parametrize("fields", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_not_read_is_accepted(fields: Json) -> None:
    request = decoded(**fields)

    assert (request.model, request.input) == ("tutor", "Hello")
    assert not request.stream
    assert (request.most_tokens, request.most_calls) == (None, None)


# Whatever clients send of earlier answers.
OF_ANSWERS: dict[str, Json] = {
    "a message": answered("Hello", phase="final_answer"),
    "a refusal": said([{"type": "refusal", "refusal": "No."}], "assistant"),
    "thoughts": {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
    "sealed thoughts": {
        "type": "reasoning",
        "summary": [],
        "encrypted_content": "x",
        "content": [{"type": "reasoning_text", "text": "Hm"}],
    },
    "a call of a server's tool": {"type": "mcp_call", "id": "mcp_1", "name": "x", "arguments": "{}", "output": "y"},
    "a server's tools": {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "x", "tools": []},
    "a question": {"type": "mcp_approval_request", "id": "mcpr_1", "name": "x", "arguments": "{}"},
    "a search": {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
    "a reference": referred("msg_1"),
    "a reference without a type": {"id": "msg_1"},
    "nulls": {**answered("Hello"), "phase": None, "status": None, "name": None, "call_id": None},
}


@pytest.mark.parametrize("item", OF_ANSWERS.values(), ids=OF_ANSWERS)
def test_every_item_of_an_earlier_answer_is_read(item: Json) -> None:
    assert decoded([item, said("Hi")]).input


@given(st.binary())
def test_any_bytes_are_a_request_or_a_refusal(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_request(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


def refused_field(raw: bytes) -> str | None:
    """The field of the body that is refused, if one is."""
    try:
        decode_request(raw)
    except InvalidRequest as error:
        return re.split(r"[.\[]", error.param or "the body")[0]
    return None


@given(st.dictionaries(st.sampled_from(ResponsesRequest.__struct_fields__), JSON))
def test_any_json_is_a_request_or_a_refusal_of_a_field(fields: Json) -> None:
    raw = msgspec.json.encode({"model": "tutor", "input": "Hello", **fields})

    assert refused_field(raw) in {None, *fields}
