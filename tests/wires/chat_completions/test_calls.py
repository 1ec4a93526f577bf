"""Calls of the client's own tools: from the agent's pieces to OpenAI's, by example and for any pieces whatever."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from gateway.domain.events import Event, Stop
from gateway.domain.look import Reasoning
from gateway.domain.request import ClientTool, ClientTools
from gateway.wires.chat_completions.response import DONE_FRAME, frame, to_completion
from tests import events as e
from tests.wires.oracle import check_stream, check_tags, chunks_of, machine_for, pieces_of, play, played
from tests.wires.strategies import ANY, MODES, TEXTS, said

FUNCTIONS = (ClientTool("weather"), ClientTool("clock"))
TOOLS = ClientTools(FUNCTIONS)
ONE_AT_A_TIME = ClientTools(FUNCTIONS, parallel=False)
WAITS = e.stop("requires_approval")
ROLE = {"role": "assistant", "content": ""}


def piece(name: str | None, arguments: str | None = None, call_id: str = "c1") -> Event:
    return e.approval_request(name, call_id, arguments=arguments)


def several(*calls: tuple[str, str, str]) -> list[Event]:
    """Calls of these names, ids and arguments, whole."""
    return [e.approval_request(name, id, arguments=arguments) for name, id, arguments in calls]


def begin(index: int, id: str, name: str) -> dict[str, Any]:
    function = {"arguments": "", "name": name}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


def more(index: int, arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def text(content: str) -> dict[str, Any]:
    return {"content": content}


WEATHER, CLOCK = begin(0, "c1", "weather"), begin(1, "c2", "clock")
# events -> the deltas after the one with the role
DELTAS: dict[str, tuple[list[Event], list[dict[str, Any]]]] = {
    "a call in pieces": (
        [piece("weather"), piece(None, '{"city"'), piece(None, ': "Oslo"}')],
        [WEATHER, more(0, '{"city"'), more(0, ': "Oslo"}')],
    ),
    "a call whose pieces all name it": (
        [piece("weather", '{"city"'), piece("weather", ': "Oslo"}')],
        [WEATHER, more(0, '{"city"'), more(0, ': "Oslo"}')],
    ),
    "a call that comes whole": ([piece("weather", '{"city": "Oslo"}')], [WEATHER, more(0, '{"city": "Oslo"}')]),
    "a call without arguments": ([piece("weather")], [WEATHER, more(0, "{}")]),
    "a call with empty arguments": ([piece("weather", ""), piece(None, "")], [WEATHER, more(0, "{}")]),
    "a call of which no piece names its tool": (
        [piece(None, "{}"), piece("weather", "[]", "c2")],
        [begin(0, "c2", "weather"), more(0, "[]")],
    ),
    "two calls": (
        [piece("weather", "{}"), piece("clock", "[]", "c2")],
        [WEATHER, more(0, "{}"), CLOCK, more(1, "[]")],
    ),
    "two calls of one tool": (
        [piece("weather", "{}"), piece("weather", "[]", "c2")],
        [WEATHER, more(0, "{}"), begin(1, "c2", "weather"), more(1, "[]")],
    ),
    "two calls whose pieces come mixed": (
        [piece("weather", "{"), piece("clock", "[", "c2"), piece(None, "}"), piece(None, "]", "c2")],
        [WEATHER, more(0, "{"), CLOCK, more(1, "["), more(0, "}"), more(1, "]")],
    ),
    "two calls of which one has no arguments": (
        [piece("weather"), piece("clock", "[]", "c2")],
        [WEATHER, CLOCK, more(1, "[]"), more(0, "{}")],
    ),
    "several calls in one event": (
        several(("weather", "c1", "{}"), ("clock", "c2", "[]")),
        [WEATHER, more(0, "{}"), CLOCK, more(1, "[]")],
    ),
    "words before a call": (
        [e.answer("Let me see."), piece("weather", "{}")],
        [text("Let me see."), WEATHER, more(0, "{}")],
    ),
    "thoughts before a call": (
        [e.reasoning("Hm."), piece("weather", "{}")],
        [*map(text, ("<think>", "Hm.", "</think>")), WEATHER, more(0, "{}")],
    ),
    "thoughts and words before a call": (
        [e.reasoning("Hm."), e.answer("So"), e.answer(" <"), piece("weather", "{}")],
        [*map(text, ("<think>", "Hm.", "</think>", "So", " ", "<\u200b")), WEATHER, more(0, "{}")],
    ),
    "a tool of the agent's own before a call": (
        [e.tool_call("search"), e.tool_return(), piece("weather", "{}")],
        [*map(text, ("<think>", "Using search…\n", "</think>")), WEATHER, more(0, "{}")],
    ),
    "words between calls": (
        [piece("weather", "{}"), e.answer("And"), piece("clock", "[]", "c2")],
        [WEATHER, more(0, "{}"), text("And"), CLOCK, more(1, "[]")],
    ),
    "what needs an approval beside a call is not asked about": (
        [piece("weather", "{}"), piece("Bash", '{"command": "true"}', "c2")],
        [WEATHER, more(0, "{}")],
    ),
    "a ping and a usage between pieces": (
        [piece("weather", "{"), e.ping(), e.usage(), piece(None, "}")],
        [WEATHER, more(0, "{"), more(0, "}")],
    ),
}


@pytest.mark.parametrize(("events", "deltas"), DELTAS.values(), ids=DELTAS)
def test_calls_become_deltas(events: list[Event], deltas: list[dict[str, Any]]) -> None:
    stream = played([*events, WAITS], clients=TOOLS)

    assert stream.deltas == [ROLE, *deltas]
    assert stream.finish_reason == "tool_calls"
    check_tags(stream)


# events -> the calls of a client that wants one at a time
FIRST_ONLY: dict[str, list[Event]] = {
    "two calls": [piece("weather", "{}"), piece("clock", "[]", "c2")],
    "in pieces": [piece("weather"), piece("clock", None, "c2"), piece(None, "{}"), piece(None, "[]", "c2")],
    "whole": several(("weather", "c1", "{}"), ("clock", "c2", "[]")),
    "two calls of one tool": [piece("weather", "{}"), piece("weather", "[]", "c2")],
}


@pytest.mark.parametrize("events", FIRST_ONLY.values(), ids=FIRST_ONLY)
def test_who_wants_one_call_at_a_time_gets_the_first(events: list[Event]) -> None:
    stream = played([*events, WAITS], clients=ONE_AT_A_TIME)

    assert stream.calls == [("c1", "weather", "{}")]


def test_a_call_is_told_by_its_name_before_its_arguments_are_known() -> None:
    machine = machine_for(clients=TOOLS)
    machine.receive(piece("weather"))
    (chunk,) = machine.receive(piece(None, '{"ci'))

    assert b'"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"ci"}}]}' in frame(chunk)


def test_a_tool_that_the_client_did_not_bring_is_none_of_its_calls() -> None:
    stream = played([piece("calendar", "{}"), WAITS], clients=TOOLS)

    assert stream.calls == []
    assert "- run `calendar` with" in stream.content


# events, a mode -> what the answer says
MODES_OF_THOUGHTS: dict[Reasoning, tuple[str, str]] = {
    "think_tags": ("<think>Hm.</think>", ""),
    "reasoning_content": ("", "Hm."),
    "hidden": ("", ""),
}


@pytest.mark.parametrize("mode", MODES_OF_THOUGHTS)
def test_calls_are_told_alike_however_thoughts_are(mode: Reasoning) -> None:
    stream = played([e.reasoning("Hm."), piece("weather", "{}"), WAITS], mode, clients=TOOLS)

    assert (stream.content, stream.reasoning) == MODES_OF_THOUGHTS[mode]
    assert stream.calls == [("c1", "weather", "{}")]


@pytest.mark.parametrize("tools", ["thoughts", "rich", "hidden"])
def test_calls_are_told_alike_however_tools_are_shown(tools: Any) -> None:
    frames = play([piece("weather", "{}"), WAITS], tools=tools, clients=TOOLS)

    assert check_stream(frames).calls == [("c1", "weather", "{}")]


@pytest.mark.parametrize("before", [True, False], ids=["before the stop", "after the stop"])
def test_the_usage_of_an_answer_that_calls_is_told(before: bool) -> None:
    ending = [e.usage(), WAITS] if before else [WAITS, e.usage()]
    stream = played([piece("weather", "{}"), *ending], include_usage=True, clients=TOOLS)

    assert stream.usage
    assert stream.usage.total_tokens == 18


FAILURES = {"an error": [e.error()], "a cancel": [e.stop("cancelled")], "a break": []}


@pytest.mark.parametrize("ending", FAILURES.values(), ids=FAILURES)
def test_a_run_that_fails_within_a_call_is_an_error_after_what_came(ending: list[Event]) -> None:
    stream = played([piece("weather", '{"ci'), *ending], clients=TOOLS)

    assert stream.calls == [("c1", "weather", '{"ci')]
    assert stream.error


def whole(events: list[Event], tools: ClientTools = TOOLS, mode: Reasoning = "think_tags") -> ChatCompletion:
    """The whole answer, as the openai SDK reads it."""
    told = to_completion(chunks_of(machine_for(mode, include_usage=True, clients=tools), events))
    return ChatCompletion.model_validate_json(frame(told)[6:], strict=True)


# events -> content, finish reason
WHOLE: dict[str, tuple[list[Event], str | None, str]] = {
    "calls alone": ([piece("weather", "{}"), WAITS], None, "tool_calls"),
    "words and calls": ([e.answer("Let me see."), piece("weather", "{}"), WAITS], "Let me see.", "tool_calls"),
    "thoughts and calls": ([e.reasoning("Hm."), piece("weather", "{}"), WAITS], "<think>Hm.</think>", "tool_calls"),
    "nothing at all": ([e.stop()], "", "stop"),
}


@pytest.mark.parametrize(("events", "content", "finish_reason"), WHOLE.values(), ids=WHOLE)
def test_a_whole_answer_has_no_content_where_nothing_is_said_beside_its_calls(
    events: list[Event], content: str | None, finish_reason: str
) -> None:
    (choice,) = whole(events).choices

    assert (choice.message.content, choice.finish_reason) == (content, finish_reason)
    assert bool(choice.message.tool_calls) == (finish_reason == "tool_calls")


def test_an_answer_without_calls_has_no_such_field() -> None:
    assert b"tool_calls" not in frame(to_completion(chunks_of(machine_for(clients=TOOLS), [e.answer("a"), e.stop()])))


# For any pieces whatever

IDS = st.sampled_from(["c1", "c2", "c3"])
PIECES = st.builds(
    piece, st.sampled_from([None, "weather", "clock", "Bash"]), st.one_of(st.none(), TEXTS, st.just("{}")), IDS
)
RUNS = st.builds(
    lambda steps, pieces: [*steps, *pieces, WAITS, e.usage()],
    said(TEXTS),
    st.lists(st.one_of(PIECES, st.builds(e.answer, TEXTS)), max_size=8),
)
KINDS = st.sampled_from([TOOLS, ONE_AT_A_TIME])


@given(st.lists(st.one_of(PIECES, st.just(WAITS)), max_size=6), ANY, MODES, KINDS)
def test_any_calls_among_any_events_make_a_well_formed_stream(
    calls: list[Event], events: list[Event], mode: Reasoning, tools: ClientTools
) -> None:
    for mixed in ([*calls, WAITS, *events], [*events[: len(events) // 2], *calls, *events[len(events) // 2 :]]):
        unfinished = [event for event in mixed if not isinstance(event, Stop)]
        check_tags(played([*unfinished, WAITS], mode, clients=tools), mode)


@given(RUNS, MODES, KINDS)
def test_the_whole_answer_has_the_calls_that_the_stream_adds_up_to(
    events: list[Event], mode: Reasoning, tools: ClientTools
) -> None:
    chunks = chunks_of(machine_for(mode, include_usage=True, clients=tools), events)
    stream = check_stream(b"".join(map(frame, chunks)) + DONE_FRAME, include_usage=True)
    message = whole(events, tools, mode).choices[0].message
    calls: Any = message.tool_calls or []

    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == stream.calls
    assert (message.content or "") == stream.content
    assert (message.content is None) == (bool(calls) and not stream.content)


@given(st.lists(PIECES, min_size=1, max_size=10))
def test_every_piece_of_a_client_s_call_is_told_once_and_in_order(pieces: list[Event]) -> None:
    stream = played([*pieces, WAITS], clients=TOOLS)
    called = e.calls_of(pieces)
    for id, _, arguments in stream.calls:
        first = next(i for i, call in enumerate(called) if call.id == id and call.name in TOOLS.names)
        given = [call for call in called[first:] if call.id == id and call.name != "Bash"]
        assert arguments == ("".join(call.arguments or "" for call in given) or "{}")
    told = {call.id for call in called if call.name in TOOLS.names}
    assert {id for id, *_ in stream.calls} == told


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3), st.integers(1, 7))
def test_arguments_that_are_json_stay_so_however_they_come(arguments: dict[str, Any], size: int) -> None:
    told = json.dumps(arguments)
    pieces = [piece(None, told[start : start + size]) for start in range(0, len(told), size)]
    ((_, _, received),) = played([piece("weather"), *pieces, WAITS], clients=TOOLS).calls

    assert json.loads(received) == arguments
    # An escape that is not complete waits for the rest of it.
    whole = len(pieces) if "\\" not in told else 1
    assert whole < len(pieces_of(played([piece("weather"), *pieces, WAITS], clients=TOOLS).deltas)) <= len(pieces) + 1


ALONE: dict[str, tuple[list[str], str]] = {
    "the first half of a pair": ([r'{"city":"a\ud83d"}'], r'{"city":"a\ufffd"}'),
    "the second half of a pair": ([r'{"city":"\ude00a"}'], r'{"city":"\ufffda"}'),
    "a pair": ([r'{"city":"\ud83d\ude00"}'], r'{"city":"\ud83d\ude00"}'),
    "a pair in pieces": ([*r'{"city":"\ud83d\ude00"}'], r'{"city":"\ud83d\ude00"}'),
    "a half in pieces": ([*r'{"city":"\ud83d\n"}'], r'{"city":"\ufffd\n"}'),
    "a half that is cut off": ([r'{"city":"', r"\ud83d"], r'{"city":"\ufffd'),
    "an escape that is cut off": ([r'{"city":"', r"\ud8"], r'{"city":"\ud8'),
    "what looks like an escape": ([*r'{"city":"\\ud83d"}'], r'{"city":"\\ud83d"}'),
}


@pytest.mark.parametrize(("pieces", "told"), ALONE.values(), ids=ALONE)
def test_half_a_surrogate_pair_that_arguments_spell_alone_is_replaced(pieces: list[str], told: str) -> None:
    events = [piece("weather"), *(piece(None, text) for text in pieces), WAITS]

    assert [arguments for _, _, arguments in played(events, clients=TOOLS).calls] == [told]
