"""The body of a chat completion: what is refused and how, and all that is accepted."""

import json
import re
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidRequest
from gateway.wires.chat_completions.request import (
    ChatCompletionRequest,
    ChatMessage,
    ContentPart,
    ImageUrl,
    decode_request,
)
from gateway.wires.chat_completions.tools import CalledFunction, ToolCall
from gateway.wires.envelope import to_json

Json = dict[str, Any]
MODEL = {"model": "tutor"}
MESSAGES = {"messages": [{"role": "user", "content": "Hello"}]}


def encode(*fields: Json) -> bytes:
    return msgspec.json.encode({name: value for each in fields for name, value in each.items()})


def body(**fields: Any) -> bytes:
    return encode(MODEL, MESSAGES, fields)


def message(**fields: Any) -> bytes:
    return encode(MODEL, {"messages": [fields]})


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


class Refusal(NamedTuple):
    body: bytes
    words: str
    param: str | None
    code: str | None = None


GOOD = body()
REFUSALS = {
    "empty": Refusal(b"", "no body", None),
    "blank": Refusal(b" \r\n", "no body", None),
    "a list": Refusal(b"[]", "Expected `object`, got `array`", None),
    "null": Refusal(b"null", "Expected `object`, got `null`", None),
    "a text": Refusal(b'"Hello"', "Expected `object`, got `str`", None),
    "a number": Refusal(b"42", "Expected `object`, got `int`", None),
    "half an object": Refusal(GOOD[:-1], "not valid JSON", None),
    "more than an object": Refusal(GOOD + b"}", "not valid JSON", None),
    "two objects": Refusal(GOOD + GOOD, "not valid JSON", None),
    "a web form": Refusal(b"model=tutor", "not valid JSON", None),
    "single quotes": Refusal(b"{'model': 'tutor'}", "not valid JSON", None),
    "NaN": Refusal(GOOD[:-1] + b',"temperature":NaN}', "not valid JSON", None),
    "a bare line end in a text": Refusal(GOOD.replace(b"Hello", b"He\nllo"), "not valid JSON", None),
    "no UTF-8 in a text": Refusal(GOOD.replace(b"Hello", b"Hell\xf6"), "UTF-8", None),
    "half a character in a text": Refusal(GOOD.replace(b"Hello", b"Hello\xc3"), "UTF-8", None),
    "no UTF-8 in a name": Refusal(GOOD[:-1] + b',"metadata":{"\xff":"x"}}', "UTF-8", None),
    "no UTF-8 in a field that is ignored": Refusal(GOOD[:-1] + b',"prompt_cache_key":"\xff"}', "UTF-8", None),
    "no UTF-8 before the object": Refusal(b"\xff" + GOOD, "UTF-8", None),
    "no UTF-8 after the object": Refusal(GOOD + b"\xff", "UTF-8", None),
    "UTF-16": Refusal(GOOD.decode().encode("utf-16"), "UTF-8", None),
    "half a surrogate pair in UTF-8": Refusal(GOOD.replace(b"Hello", b"\xed\xa0\xbd"), "not valid JSON", None),
    "nested without end in metadata": Refusal(
        GOOD[:-1] + b',"metadata":{"a":' + nested(100_000) + b"}}", "The body", None
    ),
    "nested without end in a field that is ignored": Refusal(
        GOOD[:-1] + b',"prediction":' + nested(100_000) + b"}", "The body", None
    ),
    "an empty object": Refusal(b"{}", "`model` is missing", "model"),
    "no model": Refusal(encode(MESSAGES), "`model` is missing", "model"),
    "null model": Refusal(body(model=None), "Expected `str`, got `null`", "model"),
    "model of a wrong type": Refusal(body(model=["tutor"]), "Expected `str`, got `array`", "model"),
    "no messages": Refusal(encode(MODEL), "`messages` is missing", "messages"),
    "null messages": Refusal(body(messages=None), "Expected `array`, got `null`", "messages"),
    "messages of a wrong type": Refusal(body(messages="Hello"), "Expected `array`, got `str`", "messages"),
    "empty messages": Refusal(body(messages=[]), "`messages` is empty", "messages"),
    "a message of a wrong type": Refusal(body(messages=["Hello"]), "Expected `object`, got `str`", "messages[0]"),
    "no role": Refusal(message(content="Hello"), "`messages[0].role` is missing", "messages[0].role"),
    "null role": Refusal(message(role=None, content="Hello"), "Expected `str`, got `null`", "messages[0].role"),
    "role of a wrong type": Refusal(message(role=7, content="Hello"), "Expected `str`, got `int`", "messages[0].role"),
    "unknown role": Refusal(
        message(role="wizard", content="Hello"),
        "Expected one of system, developer, user, assistant, tool, function",
        "messages[0].role",
    ),
    "unknown role of a later message": Refusal(
        body(messages=[*MESSAGES["messages"], {"role": "wizard"}]), "Expected one of", "messages[1].role"
    ),
    "content of a wrong type": Refusal(message(role="user", content=7), "got `int`", "messages[0].content"),
    "content as an object": Refusal(message(role="user", content={}), "got `object`", "messages[0].content"),
    "a part of a wrong type": Refusal(
        message(role="user", content=["Hello"]), "Expected `object`, got `str`", "messages[0].content[0]"
    ),
    "a part without type": Refusal(
        message(role="user", content=[{"text": "Hello"}]), "is missing", "messages[0].content[0].type"
    ),
    "a part with a type of a wrong type": Refusal(
        message(role="user", content=[{"type": 7}]), "Expected `str`, got `int`", "messages[0].content[0].type"
    ),
    "a part with a text of a wrong type": Refusal(
        message(role="user", content=[{"type": "text", "text": 7}]), "got `int`", "messages[0].content[0].text"
    ),
    "stream in words": Refusal(body(stream="true"), "got `str`", "stream"),
    "stream as a number": Refusal(body(stream=1), "got `int`", "stream"),
    "stream_options of a wrong type": Refusal(body(stream_options=True), "got `bool`", "stream_options"),
    "include_usage of a wrong type": Refusal(
        body(stream_options={"include_usage": "yes"}), "got `str`", "stream_options.include_usage"
    ),
    "user of a wrong type": Refusal(body(user=7), "got `int`", "user"),
    "safety_identifier of a wrong type": Refusal(body(safety_identifier={}), "got `object`", "safety_identifier"),
    "metadata of a wrong type": Refusal(body(metadata=["chat"]), "got `array`", "metadata"),
    "n of a wrong type": Refusal(body(n="1"), "got `str`", "n"),
    "n as a yes": Refusal(body(n=True), "got `bool`", "n"),
    "n above one": Refusal(body(n=2), "`n` must be 1", "n", "unsupported_parameter"),
    "n of nothing": Refusal(body(n=0), "`n` must be 1", "n", "unsupported_parameter"),
    "n beyond all integers": Refusal(
        GOOD[:-1] + b',"n":1' + b"0" * 30 + b"}", "`n` must be 1", "n", "unsupported_parameter"
    ),
    "functions": Refusal(
        body(functions=[{"name": "f"}]), "replaced it by `tools`", "functions", "unsupported_parameter"
    ),
    "log probabilities": Refusal(body(logprobs=True), "several", "logprobs", "unsupported_parameter"),
    "log probabilities of others": Refusal(body(top_logprobs=2), "several", "top_logprobs", "unsupported_parameter"),
    "speech": Refusal(body(modalities=["text", "audio"]), "do not speak", "modalities", "unsupported_parameter"),
    "a voice": Refusal(
        body(audio={"voice": "alloy", "format": "wav"}), "do not speak", "audio", "unsupported_parameter"
    ),
}


@pytest.mark.parametrize(("raw", "words", "param", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_says_what_was_expected_and_where(
    raw: bytes, words: str, param: str | None, code: str | None
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(raw)

    error = caught.value
    assert words in str(error)
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    assert (error.param, error.code) == (param, code)


@pytest.mark.parametrize(
    "refusal", [r for r in REFUSALS.values() if r.param], ids=[i for i, r in REFUSALS.items() if r.param]
)
def test_a_refusal_names_its_parameter_in_the_message_too(refusal: Refusal) -> None:
    with pytest.raises(InvalidRequest, match="^`") as caught:
        decode_request(refusal.body)

    assert f"`{refusal.param}`" in str(caught.value)


PRIVATE = "v3ry-private"
PRIVATE_VALUES = {
    "not JSON": PRIVATE.encode(),
    "a text": msgspec.json.encode(PRIVATE),
    "a list": msgspec.json.encode([PRIVATE]),
    "cut": body(user=PRIVATE)[:-1],
    "no UTF-8": body(user=PRIVATE).replace(b"private", b"private\xff"),
    "model": body(model=[PRIVATE]),
    "messages": body(messages=PRIVATE),
    "message": body(messages=[PRIVATE]),
    "role": message(role=PRIVATE, content="Hello"),
    "content": message(role="user", content={PRIVATE: PRIVATE}),
    "part": message(role="user", content=[PRIVATE]),
    "type": message(role="user", content=[{"type": [PRIVATE]}]),
    "stream": body(stream=PRIVATE),
    "include_usage": body(stream_options={"include_usage": PRIVATE}),
    "user": body(user=[PRIVATE]),
    "metadata": body(metadata=PRIVATE),
    "n": body(n=PRIVATE),
}


@pytest.mark.parametrize("raw", PRIVATE_VALUES.values(), ids=PRIVATE_VALUES.keys())
def test_a_refusal_never_repeats_the_value(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(raw)

    assert PRIVATE not in to_json(caught.value).decode()


def test_half_a_surrogate_pair_is_replaced_wherever_a_request_holds_one() -> None:
    call = {"id": "c\ud83d", "function": {"name": "f", "arguments": '{"a":"\ud83d"}'}}
    messages = [
        {"role": "system", "content": "\ud83d"},
        {"role": "user", "content": [{"type": "text", "text": "a\ud83d"}], "name": "\ude00"},
        {"role": "assistant", "content": "b\ud83d", "tool_calls": [call]},
        {"role": "tool", "content": "\ud83dc", "tool_call_id": "c\ud83d"},
    ]
    tools = [
        {"type": "function", "function": {"name": "f", "description": "\ud83d", "parameters": {"\ud83d": "\ud83d"}}}
    ]
    fields: Json = {"user": "u\ud83d", "metadata": {"\ud83d": "\ud83d"}, "tools": tools, "response_format": "\ud83d"}
    written = json.dumps({**MODEL, "messages": messages, **fields})

    assert decode_request(written.encode()) == decode_request(
        written.replace(r"\ud83d", "\ufffd").replace(r"\ude00", "\ufffd").encode()
    )


@given(st.binary())
def test_any_bytes_are_a_request_or_a_refusal(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_request(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)
FIELDS = [*ChatCompletionRequest.__struct_fields__, "temperature"]


def refused_field(raw: bytes) -> str | None:
    """The field of the body that is refused, if one is."""
    try:
        decode_request(raw)
    except InvalidRequest as error:
        return re.split(r"[.\[]", error.param or "the body")[0]
    return None


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_is_a_request_or_a_refusal_of_a_field(fields: Json) -> None:
    assert refused_field(body(**fields)) in {None, *fields}


def test_a_plain_request_leaves_everything_else_open() -> None:
    request = decode_request(GOOD)

    assert request == ChatCompletionRequest("tutor", [ChatMessage("user", "Hello")])
    assert not request.include_usage


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MADE = ToolCall("c1", function=CalledFunction("f", "{}"))
ACCEPTED = {
    "a field nobody knows": body(colour="red", shape={"of": ["a", None]}),
    "tools": body(tools=[TOOL], tool_choice="auto", parallel_tool_calls=False),
    "tools of no use": body(tools=None, tool_choice={"type": "function", "function": {"name": "f"}}),
    "no functions": body(functions=[], function_call="none"),
    "response_format": body(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}),
    "sampling": body(
        temperature=0.2, top_p=1, presence_penalty=0, frequency_penalty=-2.0, seed=7, logit_bias={"50256": -100}
    ),
    "limits": body(max_tokens=100, max_completion_tokens=100, stop=["\n"]),
    "no log probabilities": body(logprobs=False, top_logprobs=0),
    "the newer ones": body(
        reasoning_effort="low",
        verbosity="low",
        service_tier="auto",
        store=False,
        modalities=["text"],
        prediction=None,
        prompt_cache_key="k",
        web_search_options={},
    ),
    "null in every field that may be absent": body(
        stream=None, stream_options=None, user=None, safety_identifier=None, metadata=None, n=None
    ),
    "null in a field nobody knows": body(colour=None, temperature=None, tools=None),
    "null for include_usage": body(stream_options={"include_usage": None}),
    "stream options nobody knows": body(stream_options={"include_obfuscation": True}),
    "one answer": body(n=1),
    "spaces around": b"\n " + GOOD + b" \n",
}


# max_completion_tokens, max_tokens -> the limit
LIMITS: dict[str, tuple[int | None, int | None, int | None]] = {
    "none": (None, None, None),
    "the newer": (7, None, 7),
    "the older": (None, 9, 9),
    "the newer first": (7, 9, 7),
    "0 is no limit": (0, None, None),
    "-1 is no limit": (None, -1, None),
    "the newer is no limit": (-1, 9, 9),
    "both are no limit": (0, -1, None),
}


@pytest.mark.parametrize(("newer", "older", "most"), LIMITS.values(), ids=LIMITS)
def test_a_limit_of_tokens_may_be_none(newer: int | None, older: int | None, most: int | None) -> None:
    assert decode_request(body(max_completion_tokens=newer, max_tokens=older)).most_tokens == most


@pytest.mark.parametrize("param", ["max_tokens", "max_completion_tokens"])
def test_a_limit_below_that_is_refused(param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(body(**{param: -2}))

    assert caught.value.param == param


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_not_read_is_accepted(raw: bytes) -> None:
    request = decode_request(raw)

    assert (request.model, request.messages) == ("tutor", [ChatMessage("user", "Hello")])
    assert not request.stream
    assert not request.include_usage


TEXT, IMAGE = {"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": "http://a.org/"}}
MESSAGE_FORMS: dict[str, tuple[Json, ChatMessage]] = {
    "developer": ({"role": "developer", "content": "Hello"}, ChatMessage("developer", "Hello")),
    "system": ({"role": "system", "content": "Hello"}, ChatMessage("system", "Hello")),
    "a message with a name": ({"role": "user", "content": "Hello", "name": "ada"}, ChatMessage("user", "Hello", "ada")),
    "a message without content": ({"role": "user"}, ChatMessage("user")),
    "an answer of null": ({"role": "assistant", "content": None}, ChatMessage("assistant")),
    "an answer with calls": (
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ChatMessage("assistant", tool_calls=[MADE]),
    ),
    "an answer with nulls": (
        {"role": "assistant", "content": "Hello", "tool_calls": None, "refusal": None, "audio": None},
        ChatMessage("assistant", "Hello"),
    ),
    "an answer of parts": (
        {"role": "assistant", "content": [TEXT, {"type": "refusal", "refusal": "No."}]},
        ChatMessage("assistant", [ContentPart("text", "Hello"), ContentPart("refusal", None, "No.")]),
    ),
    "a tool's result": (
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ChatMessage("tool", "42", tool_call_id="c1"),
    ),
    "a tool's result of parts": (
        {"role": "tool", "tool_call_id": "c1", "content": [TEXT]},
        ChatMessage("tool", [ContentPart("text", "Hello")], tool_call_id="c1"),
    ),
    "a function's result": ({"role": "function", "name": "f", "content": "42"}, ChatMessage("function", "42", "f")),
    "text and image": (
        {"role": "user", "content": [TEXT, IMAGE]},
        ChatMessage(
            "user", [ContentPart("text", "Hello"), ContentPart("image_url", image_url=ImageUrl("http://a.org/"))]
        ),
    ),
    "a part of null": (
        {"role": "user", "content": [{"type": "text", "text": None}]},
        ChatMessage("user", [ContentPart("text")]),
    ),
    "no parts": ({"role": "user", "content": []}, ChatMessage("user", [])),
}


@pytest.mark.parametrize(("sent", "read"), MESSAGE_FORMS.values(), ids=MESSAGE_FORMS.keys())
def test_every_form_of_a_message_is_read(sent: Json, read: ChatMessage) -> None:
    assert decode_request(message(**sent)).messages == [read]


def test_what_is_read_is_read() -> None:
    request = decode_request(
        body(
            stream=True,
            stream_options={"include_usage": True},
            user="ada",
            safety_identifier="a1",
            metadata={"chat_id": "c1", "number": 7},
        )
    )

    assert request.stream
    assert request.include_usage
    assert (request.user, request.safety_identifier) == ("ada", "a1")
    assert request.metadata == {"chat_id": "c1", "number": 7}


HIDING: dict[str, tuple[Json, bool]] = {
    "no effort": ({"reasoning_effort": "none"}, True),
    "some effort": ({"reasoning_effort": "low"}, False),
    "OpenRouter's no effort": ({"reasoning": {"effort": "none"}}, True),
    "OpenRouter's exclude": ({"reasoning": {"effort": "high", "exclude": True}}, True),
    "nothing excluded": ({"reasoning": {"effort": "high", "exclude": False}}, False),
    "OpenRouter's older word": ({"include_reasoning": False}, True),
    "the older word for yes": ({"include_reasoning": True}, False),
    "words of a wrong type": ({"reasoning": "none", "include_reasoning": "no", "reasoning_effort": 0}, False),
}


@pytest.mark.parametrize(("fields", "hides"), HIDING.values(), ids=HIDING.keys())
def test_a_request_may_want_no_thoughts(fields: Json, hides: bool) -> None:
    assert decode_request(body(**fields)).hides_reasoning is hides


@pytest.mark.parametrize("kind", ["text", "json_object", "json_schema", "xml"])
def test_a_request_may_want_json(kind: str) -> None:
    assert decode_request(body(response_format={"type": kind})).wants_json is kind.startswith("json_")


@pytest.mark.parametrize("response_format", [None, "json_object", ["json_object"], 5])
def test_a_response_format_of_another_form_wants_nothing(response_format: Any) -> None:
    assert not decode_request(body(response_format=response_format)).wants_json
