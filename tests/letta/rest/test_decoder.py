"""The decoder of Letta's event stream: bytes in, events out, wherever the bytes are split."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import BrokenStream, ModelFailed, Stopped, UnknownStopReason
from gateway.domain.events import (
    MAX_SHOWN,
    CallPiece,
    CallWaits,
    Event,
    Failure,
    Stop,
    StopReason,
    Text,
    ToolCalled,
    ToolReturned,
)
from gateway.letta.rest.decoder import EventDecoder
from gateway.letta.stream_messages import StreamedCall, StreamedReturn, StreamMessage, to_events, to_returned
from tests import events as e

# the bytes of a stream -> its events
STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "nothing": (b"", []),
    "an event": (
        b'data: {"message_type":"assistant_message","content":"Hi","step_id":"step-1"}\n\n',
        [e.answer("Hi")],
    ),
    "no space after the colon": (b'data:{"message_type":"ping","run_id":"run-1"}\n\n', [e.ping()]),
    "no empty line between": (
        b'data: {"message_type":"ping","run_id":"run-1"}\ndata: {"message_type":"ping","run_id":"run-1"}\n',
        [e.ping(), e.ping()],
    ),
    "lines that end as on Windows": (
        b'data: {"message_type":"ping","run_id":"run-1"}\r\n\r\ndata: [DONE]\r\n\r\n',
        [e.ping()],
    ),
    "comments, event lines and ids": (
        b': ping\n\nevent: error\nid: 1\nretry: 5\ndata: {"message_type":"ping","run_id":"run-1"}\n\n',
        [e.ping()],
    ),
    "fields that nobody knows": (
        b'data: {"message_type":"ping","run_id":"run-1","new":{"a":[1]},"seq_id":null,"otid":7}\n\n',
        [e.ping()],
    ),
    "letters beyond ASCII": (
        'data: {"message_type":"assistant_message","content":"ü \\u00fc 🦊","step_id":null}\n\n'.encode(),
        [e.answer("ü ü 🦊", None)],
    ),
    "an event without a type": (b'data: {"step_id":"step-1"}\n\n', [e.unknown()]),
    "a type that nobody knows": (
        b'data: {"message_type":"hidden_thing_message","step_id":"step-1"}\n\n',
        [e.unknown()],
    ),
    "a type that nobody knows, of odd fields": (
        b'data: {"message_type":"new_message","reasoning":{"a":1},"tool_calls":"x","prompt_tokens":"many"}\n\n',
        [],
    ),
    "bytes that are no UTF-8": (
        b'data: {"message_type":"assistant_message","content":"a\xff","step_id":"step-1"}\n\n',
        [e.answer("a\ufffd")],
    ),
    "a type that nobody knows, of odd fields and bytes that are no UTF-8": (
        b'data: {"message_type":"new_message","reasoning":["\xff"]}\n\n',
        [],
    ),
    "a tool's return of odd fields": (b'data: {"message_type":"tool_return_message","message":[1]}\n\n', []),
    "a tool's return of an odd shape": (b'data: {"message_type":"tool_return_message","tool_returns":"x"}\n\n', []),
    "a tool's return": (
        b'data: {"message_type":"tool_return_message","tool_return":"found","status":"success","tool_call_id":"call-1",'
        b'"tool_returns":[{"type":"tool","tool_return":"found","status":"success","tool_call_id":"call-1","stderr":null}]}\n\n',
        [ToolReturned("call-1", "found")],
    ),
    "a tool's return in parts": (
        b'data: {"message_type":"tool_return_message","tool_returns":[{"tool_return":[{"type":"text","text":"a"},'
        b'{"type":"image"},{"type":"text","text":"b"}],"status":"error","tool_call_id":"call-1"}]}\n\n',
        [ToolReturned("call-1", "ab", failed=True)],
    ),
    "a piece of a tool call": (
        b'data: {"message_type":"tool_call_message","tool_call":{"arguments":"{","tool_call_id":"call-1"},'
        b'"tool_calls":{"arguments":"{","tool_call_id":"call-1"}}\n\n',
        [e.tool_call(None, step=None, arguments="{")],
    ),
    "tool calls in a list": (
        b'data: {"message_type":"tool_call_message","tool_call":{"name":"a","arguments":"{}","tool_call_id":"call-0"},'
        b'"tool_calls":[{"name":"a","arguments":"{}","tool_call_id":"call-0"},'
        b'{"name":"b","arguments":"{}","tool_call_id":"call-1"}]}\n\n',
        e.tool_calls("a", "b", step=None),
    ),
    "an error": (
        b'event: error\ndata: {"message_type":"error_message","error_type":"llm_error","message":"m","detail":{}}\n\n',
        [Failure(ModelFailed("error_type llm_error"))],
    ),
    "usage": (
        b'data: {"message_type":"usage_statistics","completion_tokens":7,"prompt_tokens":11,"total_tokens":18,'
        b'"cached_input_tokens":null,"reasoning_tokens":3}\n\n',
        [e.usage(11, 7, 18, None, 3)],
    ),
    "the end": (b"data: [DONE]\n\n", []),
}


def _decoded(pieces: Iterable[bytes]) -> list[Event]:
    decoder = EventDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    decoder.feed_eof()
    return events


@pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS)
def test_a_stream_is_decoded(stream: bytes, events: list[Event]) -> None:
    assert _decoded([stream]) == events


@pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS)
def test_a_stream_may_come_byte_by_byte(stream: bytes, events: list[Event]) -> None:
    assert _decoded(bytes([byte]) for byte in stream) == events


WHOLE = b"".join(stream for stream, _ in STREAMS.values())
EVENTS = [event for _, events in STREAMS.values() for event in events]


@given(st.lists(st.integers(0, len(WHOLE))))
def test_a_stream_may_be_split_anywhere(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(WHOLE)]

    assert _decoded(WHOLE[a:b] for a, b in zip(bounds, bounds[1:], strict=False)) == EVENTS


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_any_text_comes_as_it_was_said(text: str, escaped: bool) -> None:
    line = json.dumps({"message_type": "assistant_message", "content": text}, ensure_ascii=escaped)

    assert _decoded([f"data: {line}\n\n".encode()]) == [e.answer(text, None)]


GARBAGE: dict[str, bytes] = {
    "no JSON": b"garbage",
    "nothing": b"",
    "half a JSON": b'{"message_type":"assistant_message","content":"H',
    "two JSONs": b'{"message_type":"ping"}{"message_type":"ping"}',
    "a list": b"[]",
    "a string": b'"ping"',
    "a number": b"7",
    "null": b"null",
    "a page": b"<html>502 Bad Gateway</html>",
    "a type that is no string": b'{"message_type":7}',
    "no UTF-8 where no text can be": b'{"message_type":"assistant_message","step_id":["\xff"]}',
    "half a surrogate pair where no text can be": rb'{"message_type":"assistant_message","step_id":["\ud83d"]}',
    "half a surrogate pair in what is cut off": rb'{"message_type":"assistant_message","content":"\ud83d',
    "brackets without end": b'{"message_type":"assistant_message","content":' + b"[" * 100_000,
}


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE)
def test_a_data_line_that_is_no_event_breaks_the_stream(payload: bytes) -> None:
    assert _broken(b"data: " + payload + b"\n\n")


def _broken(data: bytes) -> str:
    """What a decoder finds wrong with `data`; empty if nothing."""
    decoder = EventDecoder()
    decoder.feed(data)
    return str(decoder.broken or "")


def test_what_came_before_the_garbage_is_kept_and_nothing_after_it() -> None:
    decoder = EventDecoder()
    ping = b'data: {"message_type":"ping"}\n\n'

    assert decoder.feed(ping + b"data: garbage\n\n" + ping) == [e.ping()]
    assert isinstance(decoder.broken, BrokenStream)


# types that are read, with a field of another shape
MISSHAPEN: dict[str, bytes] = {
    "an answer": b'{"message_type":"assistant_message","step_id":7}',
    "a thought": b'{"message_type":"reasoning_message","reasoning":["a"]}',
    "a tool call": b'{"message_type":"tool_call_message","tool_call":"web_search"}',
    "tool calls": b'{"message_type":"tool_call_message","tool_calls":["web_search"]}',
    "an approval request": b'{"message_type":"approval_request_message","tool_call":{"name":7}}',
    "a reason to stop": b'{"message_type":"stop_reason","stop_reason":{"type":"end_turn"}}',
    "an error": b'{"message_type":"error_message","error_type":500}',
    "usage": b'{"message_type":"usage_statistics","prompt_tokens":"many"}',
}


@pytest.mark.parametrize("payload", MISSHAPEN.values(), ids=MISSHAPEN)
def test_a_type_that_is_read_must_have_its_shape(payload: bytes) -> None:
    assert "of an unknown shape" in _broken(b"data: " + payload + b"\n\n")


def test_the_text_of_a_broken_stream_holds_nothing_of_it() -> None:
    assert "secret" not in _broken(b"data: a secret\n\n")


@pytest.mark.parametrize("rest", [b"d", b"data: {", b'data: {"message_type":"ping"}', b"data: [DONE]", b": pi"])
def test_half_a_line_at_the_end_breaks_the_stream(rest: bytes) -> None:
    decoder = EventDecoder()
    decoder.feed(b'data: {"message_type":"ping"}\n\n' + rest)

    with pytest.raises(BrokenStream, match="half a line"):
        decoder.feed_eof()


@pytest.mark.parametrize("rest", [b"", b"\n", b" ", b"\r"])
def test_an_empty_line_at_the_end_breaks_nothing(rest: bytes) -> None:
    decoder = EventDecoder()
    decoder.feed(b"data: [DONE]\n" + rest)

    decoder.feed_eof()


# content -> its text
CONTENTS: dict[str, tuple[object, str]] = {
    "a text": ("Hi", "Hi"),
    "parts": ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
    "parts of other types": ([{"type": "image"}, {"type": "text", "text": "b"}, "stray", 7, None], "b"),
    "a part of null": ([{"type": "text", "text": None}], ""),
    "a part of a number": ([{"type": "text", "text": 7}], ""),
    "null": (None, ""),
    "an object": ({"text": "a"}, ""),
}


@pytest.mark.parametrize(("content", "text"), CONTENTS.values(), ids=CONTENTS)
def test_content_has_a_text(content: object, text: str) -> None:
    assert [*to_events(StreamMessage("assistant_message", content=content))] == [Text(text)]


CALL, OTHER = StreamedCall("a", "call-1"), StreamedCall("b", "call-2")
# message -> its calls
CALLS: dict[str, tuple[StreamMessage, list[StreamedCall]]] = {
    "one, told twice": (StreamMessage(tool_call=CALL, tool_calls=CALL), [CALL]),
    "one": (StreamMessage(tool_call=CALL), [CALL]),
    "a list": (StreamMessage(tool_call=CALL, tool_calls=[CALL, OTHER]), [CALL, OTHER]),
    "one that is no list, and nothing else": (StreamMessage(tool_calls=CALL), [CALL]),
    "an empty list beside one": (StreamMessage(tool_call=CALL, tool_calls=[]), [CALL]),
    "none": (StreamMessage(), []),
}


@pytest.mark.parametrize(("said", "calls"), CALLS.values(), ids=CALLS)
def test_a_message_has_calls(said: StreamMessage, calls: list[StreamedCall]) -> None:
    assert said.calls == calls


@pytest.mark.parametrize(
    ("type", "event"), [("tool_call_message", ToolCalled), ("approval_request_message", CallWaits)]
)
def test_every_call_of_a_message_is_an_event(type: str, event: type[ToolCalled] | type[CallWaits]) -> None:
    said = StreamMessage(type, "step-1", tool_calls=[CALL, StreamedCall(None, None, "{")])

    assert [*to_events(said)] == [event(CallPiece("call-1", "a"), "step-1"), event(CallPiece("", "", "{"), "step-1")]


# Letta's reason to stop -> what it is
STOPS: dict[str, Stop] = {
    "end_turn": Stop(StopReason.END),
    "tool_rule": Stop(StopReason.END),
    "no_tool_call": Stop(StopReason.END),
    "max_steps": Stop(StopReason.LIMIT),
    "max_tokens_exceeded": Stop(StopReason.LIMIT),
    "requires_approval": Stop(StopReason.WAITING),
    "cancelled": Stop(StopReason.FAILED, Stopped("stop_reason cancelled")),
    "llm_api_error": Stop(StopReason.FAILED, ModelFailed("stop_reason llm_api_error")),
    "tired": Stop(StopReason.UNKNOWN, UnknownStopReason("tired")),
    "": Stop(StopReason.UNKNOWN, UnknownStopReason("")),
}


@pytest.mark.parametrize(("reason", "stop"), STOPS.items(), ids=STOPS)
def test_a_reason_to_stop_is_one_of_the_house_s(reason: str, stop: Stop) -> None:
    assert [*to_events(StreamMessage("stop_reason", stop_reason=reason))] == [stop]


def test_a_return_of_megabytes_is_kept_as_far_as_a_person_reads() -> None:
    returned = to_returned(StreamedReturn("call-1", "success", "x" * 5_000_000))

    assert returned.text == "x" * MAX_SHOWN + "… [shortened: 5000000 characters]"
    assert to_returned(StreamedReturn("call-1", "success", "x" * MAX_SHOWN)).text == "x" * MAX_SHOWN


@pytest.mark.parametrize(("status", "failed"), [("success", False), ("error", True), (None, False), ("new", False)])
def test_a_return_has_failed_if_letta_says_so(status: str | None, failed: bool) -> None:
    assert to_returned(StreamedReturn("call-1", status, "x")).failed == failed
