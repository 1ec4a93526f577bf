"""Sayings in, events of a response out: by example."""

import json
from typing import Any

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.errors import GatewayError, InvalidModelOutput, InvalidRequest, PicturesUnseen
from gateway.domain.events import (
    CallPiece,
    CallRefused,
    CallWaits,
    Event,
    Failure,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.look import Look
from gateway.domain.request import ClientTool, ClientTools
from gateway.wires.envelope import UPSTREAM, UpstreamFailure
from gateway.wires.responses.echo import Echo
from gateway.wires.responses.encoder import NOT_RETURNED
from gateway.wires.responses.failures import to_failure
from gateway.wires.responses.read import OWN_CALL
from gateway.wires.responses.response import encode_json, text_frame
from gateway.wires.sayings import BrokenOff
from tests.wires.responses.oracle import (
    CREATED,
    DONE,
    ECHO,
    IDS,
    ResponseStream,
    check_event,
    check_frames,
    check_response,
    encoder_for,
    events_of,
    play_response,
    played_frames,
    whole_response,
)

MCP = Look("think_tags", "mcp_calls")
RICH = Look("think_tags", "rich")
ASKING = Look("think_tags", "thoughts", "items")
END, LIMIT, WAITS = (Stop(why) for why in (StopReason.END, StopReason.LIMIT, StopReason.WAITING))
USED = TokensCounted(11, 7, 18, 4, 2)
TOOLS = ClientTools((ClientTool("weather"), ClientTool("patch")))
CUSTOM = Echo("tutor", custom_tools=("patch",))
BEGIN, ENDED = ["created", "in_progress"], ["output_item.done", "completed"]
SEARCH = ToolCalled(CallPiece("c1", "search", '{"query":'), "s1")
MORE = ToolCalled(CallPiece("c1", "", ' "Oslo"}'), "s1")
FOUND = ToolReturned("c1", "12 degrees")


def item(stream: ResponseStream, index: int, **fields: Any) -> bool:
    """True if the item at a place of the output has these fields."""
    return fields.items() <= stream.output[index].items()


def test_thoughts_are_said_to_be_not_encrypted_where_that_is_asked_for() -> None:
    stream = check_frames(played_frames([Thought("Hm."), Text("Yes."), END, USED], echo=Echo("tutor", encrypted=True)))

    assert item(stream, 0, encrypted_content=None)


def test_an_answer_that_thinks_and_speaks_in_the_order_of_the_specification() -> None:
    stream = check_frames(played_frames([Thought("Hm."), Text("Good "), Text("morning."), END, USED]))

    assert stream.types == [
        *BEGIN,
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        "completed",
    ]
    assert (stream.thoughts, stream.texts) == (["Hm."], ["Good morning."])
    assert item(stream, 0, id=IDS.item("rs", 0))
    assert "encrypted_content" not in stream.output[0]
    assert item(stream, 1, id=IDS.item("msg", 1), status="completed", phase="final_answer")
    assert (stream.end["id"], stream.end["created_at"], stream.end["completed_at"]) == (IDS.response, CREATED, DONE)
    assert stream.end["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }


def test_a_joined_delta_has_the_number_of_its_last_piece() -> None:
    stream = check_frames(played_frames([Text("Good morning.", None, 3), END]), contiguous=False)

    assert [event["sequence_number"] for event in stream.events] == [0, 1, 2, 3, 6, 7, 8, 9, 10]


# events -> the texts with their phases
PHASES: dict[str, tuple[list[Event], list[tuple[str, str | None]]]] = {
    "the last words": ([Text("a"), END], [("a", "final_answer")]),
    "words before thoughts": ([Text("a"), Thought("b"), Text("c"), END], [("a", None), ("c", "final_answer")]),
    "words before a call": (
        [Text("a"), CallWaits(CallPiece("c1", "weather", "{}")), WAITS],
        [("a", "commentary")],
    ),
    "words that were cut": ([Text("a"), LIMIT], [("a", None)]),
    "words before an error": ([Text("a"), Failure(errors.RateLimited())], [("a", None)]),
}


@pytest.mark.parametrize(("events", "phases"), PHASES.values(), ids=PHASES)
def test_a_text_says_its_phase_where_it_can_be_told(events: list[Event], phases: list[tuple[str, str | None]]) -> None:
    messages = [one for one in play_response(events, clients=TOOLS).output if one["type"] == "message"]

    assert [(one["content"][0]["text"], one.get("phase")) for one in messages] == phases


def test_two_calls_at_once_close_when_all_of_them_is_there() -> None:
    first, second = CallPiece("c1", "weather", '{"a":'), CallPiece("c2", "weather")
    events: list[Event] = [CallWaits(first), CallWaits(second), CallWaits(CallPiece("c1", "", "1}")), WAITS, USED]
    stream = check_frames(played_frames(events, clients=TOOLS))

    assert stream.types == [
        *BEGIN,
        *("output_item.added", "function_call_arguments.delta", "output_item.added", "function_call_arguments.delta"),
        "function_call_arguments.delta",
        *("function_call_arguments.done", "output_item.done", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    assert item(stream, 0, id=IDS.item("fc", 0), call_id="c1", name="weather", arguments='{"a":1}', status="completed")
    assert item(stream, 1, call_id="c2", arguments="{}")


# The arguments of a function of one string, in pieces -> deltas
CUSTOM_INPUTS: dict[str, tuple[list[str], list[str]]] = {
    "at once": (['{"input": "a b"}'], ["a b"]),
    "in pieces": (["{", '"inp', 'ut":"a', " b", '"}'], ["a", " b"]),
    "escapes, cut": (['{"input":"a\\', "n\\u00", 'e9\\"', '"}'], ["a", "\n", 'é"']),
    "a line break as it is": (['{"input":"a\nb"}'], ["a\nb"]),
    "more arguments": (['{"input":"a","more":"b"}'], ["a"]),
    "others before": (['{"more":"b","input":"a"}'], ["a"]),
    "another name": (['{"text":"a"}'], ['{"text":"a"}']),
    "no JSON": (["*** Begin"], ["*** Begin"]),
    "a number": (['{"input":1}'], ['{"input":1}']),
    "nothing": ([], ["{}"]),
    "no end": (['{"input":"a', "b\\"], ["a", "b"]),
    "what is no escape": (['{"input":"a\\u12zz'], ["a\\u12zz"]),
}


@pytest.mark.parametrize(("pieces", "deltas"), CUSTOM_INPUTS.values(), ids=CUSTOM_INPUTS)
def test_a_custom_tool_is_told_its_one_string_as_it_comes(pieces: list[str], deltas: list[str]) -> None:
    begun = CallWaits(CallPiece("c1", "patch"))
    rest: list[Event] = [CallWaits(CallPiece("c1", "", piece)) for piece in pieces]
    stream = play_response([begun, *rest, WAITS], clients=TOOLS, echo=CUSTOM)

    told = [event["delta"] for event in stream.events if event["type"].endswith("input.delta")]
    assert told == deltas
    assert stream.types[-4:] == ["custom_tool_call_input.delta", "custom_tool_call_input.done", *ENDED]
    assert item(stream, 0, id=IDS.item("ctc", 0), type="custom_tool_call", call_id="c1", input="".join(deltas))


def test_a_tool_of_letta_s_own_is_a_line_in_the_thoughts() -> None:
    stream = play_response([SEARCH, MORE, FOUND, Text("12."), END])

    assert (stream.thoughts, stream.texts) == (["Using search…\n"], ["12."])


def test_a_tool_of_letta_s_own_is_a_call_of_a_server_s() -> None:
    stream = check_frames(played_frames([Text("Let me see."), SEARCH, MORE, FOUND, Text("12."), END], MCP))

    assert stream.types[6:] == [
        *("content_part.done", "output_item.done", "output_item.added", "mcp_call.in_progress"),
        *("mcp_call_arguments.delta", "mcp_call_arguments.delta", "mcp_call_arguments.done"),
        *("mcp_call.completed", "output_item.done", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", *ENDED),
    ]
    call = dict(id=IDS.item("mcp", 1), server_label="letta", name="search", arguments='{"query": "Oslo"}')
    assert item(stream, 1, **call, output="12 degrees", error=None, status="completed")


# events -> the call's status, its output and the text of its error
CALLS_OF_LETTA: dict[str, tuple[list[Event], str, str | None, str | None]] = {
    "no arguments": ([ToolCalled(CallPiece("c1", "search")), FOUND, END], "completed", "12 degrees", None),
    "failed": ([SEARCH, MORE, ToolReturned("c1", "no net", True), END], "failed", None, "no net"),
    "not allowed": (
        [CallRefused(CallPiece("c1", "Bash", "{}"), "Bash is not allowed here."), END],
        "failed",
        None,
        "Bash is not allowed here.",
    ),
    "not allowed, and told so": (
        [CallRefused(CallPiece("c1", "Bash", "{}"), "Not here."), ToolReturned("c1", "It is not."), END],
        "failed",
        None,
        "It is not.",
    ),
    "not returned": ([SEARCH, MORE, END], "incomplete", None, None),
    "cut by an error": ([SEARCH, MORE, Failure(errors.RateLimited())], "incomplete", None, None),
}


@pytest.mark.parametrize(("events", "status", "output", "error"), CALLS_OF_LETTA.values(), ids=CALLS_OF_LETTA)
def test_a_call_of_a_server_s_says_how_it_went(
    events: list[Event], status: str, output: str | None, error: str | None
) -> None:
    stream = play_response(events, MCP)

    told = error and {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": error}]}
    assert item(stream, 0, status=status, output=output, error=told)
    assert json.loads(stream.output[0]["arguments"]) is not None
    assert ("mcp_call.completed" in stream.types) == (status == "completed")


# events -> status, output
SHOWN_TO_OPEN_WEBUI: dict[str, tuple[list[Event], str, str]] = {
    "returned": ([SEARCH, MORE, FOUND, END], "completed", "12 degrees"),
    "not returned": ([SEARCH, MORE, END], "incomplete", NOT_RETURNED),
    "not allowed": ([CallRefused(CallPiece("c1", "Bash", "{}"), "Not here."), END], "incomplete", "Not here."),
}


@pytest.mark.parametrize(("events", "status", "output"), SHOWN_TO_OPEN_WEBUI.values(), ids=SHOWN_TO_OPEN_WEBUI)
def test_open_webui_is_shown_a_function_with_its_output(events: list[Event], status: str, output: str) -> None:
    stream = play_response(events, RICH)

    assert item(stream, 0, type="function_call", call_id=f"{OWN_CALL}c1", status=status)
    parts = [{"type": "input_text", "text": output}]
    assert item(stream, 1, type="function_call_output", call_id=f"{OWN_CALL}c1", status=status, output=parts)
    assert item(stream, 1, id=IDS.item("fco", 1))


def test_a_call_that_waits_for_an_approval_is_an_item_and_completes_the_response() -> None:
    bash, clock = CallPiece("c1", "Bash", '{"command": "ls"}'), CallPiece("c2", "clock")
    stream = check_frames(played_frames([Text("May I?"), CallWaits(bash), CallWaits(clock), WAITS], ASKING))

    assert item(stream, 0, phase="commentary")
    assert item(stream, 1, type="mcp_approval_request", id=IDS.approval(1, "c1"), name="Bash", server_label="letta")
    assert item(stream, 2, id=IDS.approval(2, "c2"), arguments="{}")
    assert stream.end["status"] == "completed"


def test_an_answer_at_its_limit_is_incomplete() -> None:
    stream = check_frames(played_frames([Text("a"), LIMIT, USED]))

    assert stream.end["incomplete_details"] == {"reason": "max_output_tokens"}
    assert item(stream, 0, status="incomplete")
    assert stream.end["usage"]["total_tokens"] == 18


def test_an_answer_that_fails_closes_what_is_open() -> None:
    stream = check_frames(played_frames([Thought("a"), Text("b"), Failure(errors.RateLimited())]))

    assert item(stream, 1, status="incomplete")
    assert stream.end["error"]["code"] == "rate_limit_exceeded"
    assert stream.types[-2:] == ["output_item.done", "failed"]


def test_an_error_before_a_response_is_an_event_of_its_own() -> None:
    encoder = encoder_for()
    [event] = events_of(encoder.fail(PicturesUnseen()))

    assert (event["type"], event["code"], event["param"]) == ("error", "pictures_unseen", "messages")
    assert event["error"] == {key: event[key] for key in ("message", "code", "param")} | {
        "type": "invalid_request_error"
    }
    assert encoder.number == 1


ERRORS: dict[str, tuple[GatewayError, str]] = {
    "too many": (UpstreamFailure(errors.RateLimited()), "rate_limit_exceeded"),
    "no credits": (UpstreamFailure(errors.OutOfCredits()), "rate_limit_exceeded"),
    "a bad picture": (UpstreamFailure(errors.PictureRefused()), "invalid_image"),
    "too long": (UpstreamFailure(errors.ContextOverflow()), "invalid_prompt"),
    "a wrong request": (InvalidRequest("No."), "invalid_prompt"),
    "a model that does not obey": (InvalidModelOutput(), "server_error"),
    "stopped": (UpstreamFailure(errors.Stopped()), "server_error"),
}


@pytest.mark.parametrize(("error", "code"), ERRORS.values(), ids=ERRORS)
def test_a_response_fails_with_a_code_that_openai_s_clients_know(error: GatewayError, code: str) -> None:
    failure = to_failure(error)

    assert (failure.code, failure.message) == (code, str(error))
    assert check_frames(encoder_for().begin() + failed(error))


def failed(error: GatewayError) -> bytes:
    """The frames of a response that fails once it has begun."""
    encoder = encoder_for()
    encoder.begin()
    return encoder.encode([BrokenOff()]) + encoder.fail(error)


def test_every_error_of_letta_s_has_such_a_code() -> None:
    assert len(UPSTREAM) > 20
    for kind in UPSTREAM:
        check_frames(encoder_for().begin() + failed(UpstreamFailure(kind())))


def test_a_response_in_the_background_is_queued_first() -> None:
    echo = Echo("tutor", background=True)
    encoder = encoder_for(echo=echo)
    before: str = encoder.response.status

    created, queued, begun = events_of(encoder.begin())
    assert (before, created["response"]["status"], queued["response"]["status"]) == ("queued", "queued", "queued")
    assert begun["response"]["status"] == encoder.response.status == "in_progress"
    assert check_frames(played_frames([Text("a"), END], echo=echo)).types[:3] == ["created", "queued", "in_progress"]


def test_a_response_under_way_can_be_looked_at() -> None:
    encoder = encoder_for(MCP)
    encoder.encode([Text("Let me "), Text("see."), SEARCH])
    check_response(json.loads(encode_json(encoder.response)))

    message, call = encoder.response.output
    assert msgspec.to_builtins(message)["content"][0]["text"] == "Let me see."
    assert msgspec.to_builtins(call)["status"] == "in_progress"
    assert encoder.response.status == "in_progress"


def test_a_whole_response_has_its_end() -> None:
    whole = whole_response([Text("a"), LIMIT, USED])

    assert (whole.status, whole.completed_at) == ("incomplete", None)
    assert whole_response([Text("a"), END]).usage is None


def test_a_message_of_a_websocket_is_a_line() -> None:
    encoder = encoder_for(framing=text_frame)
    lines = (encoder.begin() + encoder.encode([Text("a\n")])).splitlines()

    assert [check_event(line.decode())["type"] for line in lines][:2] == ["response.created", "response.in_progress"]


def test_a_response_is_the_same_however_often_it_is_told() -> None:
    assert play_response([Text("a"), END], echo=ECHO) == play_response([Text("a"), END], echo=ECHO)


NAMESPACES = Echo("tutor", custom_tools=("crm__b",), namespaces={"crm__a": ("crm", "a"), "crm__b": ("crm", "b")})


def test_calls_of_tools_in_a_namespace_are_told_with_it() -> None:
    calls = [CallWaits(CallPiece("1", "crm__a", "{}")), CallWaits(CallPiece("2", "crm__b", '{"input": "x"}'))]
    tools = ClientTools((ClientTool("crm__a"), ClientTool("crm__b")))
    stream = check_frames(played_frames([*calls, END, USED], clients=tools, echo=NAMESPACES))

    assert item(stream, 0, type="function_call", namespace="crm", name="a")
    assert item(stream, 1, type="custom_tool_call", namespace="crm", name="b")
