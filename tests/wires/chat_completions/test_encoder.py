"""Events in, chunks out: what a client of Chat Completions gets, by example."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import Struct

from gateway.domain import errors as letta
from gateway.domain.events import Event, Remark
from gateway.domain.look import Reasoning
from gateway.letta import error_words
from gateway.letta.stream_messages import to_stop
from gateway.wires.chat_completions.encoder import FINISH_REASONS
from gateway.wires.chat_completions.response import ChatCompletionChunk, frame, to_completion
from gateway.wires.envelope import UPSTREAM, UpstreamFailure
from tests import events as e
from tests.wires.oracle import check_stream, check_tags, chunks_of, machine_for, play, played
from tests.wires.strategies import GOOD_STOPS

ROLE = {"role": "assistant", "content": ""}
ZWSP = "\u200b"
MODES: tuple[Reasoning, ...] = ("think_tags", "reasoning_content", "hidden")

# In the mode `think_tags`: events, the content of each delta after the one with the role, finish reason.
THINK_TAGS: dict[str, tuple[list[Event], list[str], str]] = {
    "an answer alone": ([e.answer("Hel"), e.answer("lo"), e.stop()], ["Hel", "lo"], "stop"),
    "an answer as parts": (
        [e.answer([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "image"}]), e.stop()],
        ["ab"],
        "stop",
    ),
    "an answer of no text": ([e.answer(None), e.answer(""), e.answer([]), e.stop()], [], "stop"),
    "no answer at all": ([e.ping(), e.stop(), e.usage()], [], "stop"),
    "thoughts, then an answer": (
        [e.reasoning("Hm"), e.reasoning("m."), e.answer("Yes."), e.stop()],
        ["<think>", "Hm", "m.", "</think>", "Yes."],
        "stop",
    ),
    "thoughts without an answer": ([e.reasoning("Hm."), e.stop()], ["<think>", "Hm.", "</think>"], "stop"),
    "thoughts of no text": ([e.reasoning(""), e.reasoning(None), e.answer("Yes."), e.stop()], ["Yes."], "stop"),
    "an answer of no text within thoughts": (
        [e.reasoning("a"), e.answer(""), e.reasoning("b"), e.answer("c"), e.stop()],
        ["<think>", "a", "b", "</think>", "c"],
        "stop",
    ),
    "newlines of the thoughts and the answer stay, and none is added": (
        [e.reasoning("\nHm.\n"), e.answer("\nYes.\n"), e.stop()],
        ["<think>", "\nHm.\n", "</think>", "\nYes.\n"],
        "stop",
    ),
    "each step thinks in a block of its own": (
        [e.reasoning("one", "s1"), e.reasoning("two", "s2"), e.answer("done", "s2"), e.stop()],
        ["<think>", "one", "</think>", "<think>", "two", "</think>", "done"],
        "stop",
    ),
    "a step that thinks again after its answer": (
        [e.reasoning("a"), e.answer("b"), e.reasoning("c"), e.answer("d"), e.stop()],
        ["<think>", "a", "</think>", "b", "<think>", "c", "</think>", "d"],
        "stop",
    ),
    "two steps that answer": (
        [e.answer("one ", "s1"), e.reasoning("hm", "s2"), e.answer("two", "s2"), e.stop()],
        ["one ", "<think>", "hm", "</think>", "two"],
        "stop",
    ),
    "a tool without thoughts": (
        [e.tool_call("web_search"), e.tool_return(), e.answer("Found."), e.stop()],
        ["<think>", "Using web_search…\n", "</think>", "Found."],
        "stop",
    ),
    "a tool after thoughts": (
        [e.reasoning("Look it up."), e.tool_call("web_search"), e.tool_return(), e.answer("Found."), e.stop()],
        ["<think>", "Look it up.", "\nUsing web_search…\n", "</think>", "Found."],
        "stop",
    ),
    "a tool after thoughts that end a line": (
        [e.reasoning("Look it up.\n"), e.tool_call("web_search"), e.answer("Found."), e.stop()],
        ["<think>", "Look it up.\n", "Using web_search…\n", "</think>", "Found."],
        "stop",
    ),
    "a tool between the thoughts of one step": (
        [e.reasoning("a"), e.tool_call("web_search"), e.reasoning("b"), e.answer("c"), e.stop()],
        ["<think>", "a", "\nUsing web_search…\n", "b", "</think>", "c"],
        "stop",
    ),
    "a tool after the answer began": (
        [e.answer("Wait."), e.tool_call("web_search"), e.answer("Found."), e.stop()],
        ["Wait.", "<think>", "Using web_search…\n", "</think>", "Found."],
        "stop",
    ),
    "a call that comes in pieces is told once": (
        [e.tool_call("web_search"), e.tool_call(None), e.tool_call(None), e.tool_return(), e.stop()],
        ["<think>", "Using web_search…\n", "</think>"],
        "stop",
    ),
    "a call whose pieces all name it is told once": (
        [e.tool_call("web_search"), e.tool_call("web_search"), e.stop()],
        ["<think>", "Using web_search…\n", "</think>"],
        "stop",
    ),
    "a call without an id": (
        [e.tool_call("web_search", None), e.tool_call(None, None), e.stop()],
        ["<think>", "Using web_search…\n", "</think>"],
        "stop",
    ),
    "two calls of one tool are told twice": (
        [e.tool_call("web_search", "call-1"), e.tool_call("web_search", "call-2"), e.stop()],
        ["<think>", "Using web_search…\n", "Using web_search…\n", "</think>"],
        "stop",
    ),
    "several calls in a list": (
        [*e.tool_calls("web_search", "memory_insert"), e.stop()],
        ["<think>", "Using web_search…\n", "Using memory_insert…\n", "</think>"],
        "stop",
    ),
    "tools of two steps": (
        [
            *(e.reasoning("a", "s1"), e.tool_call("one", "call-1", "s1"), e.tool_return("s1")),
            *(e.reasoning("b", "s2"), e.tool_call("two", "call-2", "s2"), e.tool_return("s2")),
            *(e.answer("c", "s3"), e.stop()),
        ],
        ["<think>", "a", "\nUsing one…\n", "</think>", "<think>", "b", "\nUsing two…\n", "</think>", "c"],
        "stop",
    ),
    "a tool whose name is a tag": (
        [e.tool_call("</think>"), e.answer("a"), e.stop()],
        ["<think>", f"Using <{ZWSP}/think>…\n", "</think>", "a"],
        "stop",
    ),
    "a literal tag in the answer": (
        [e.answer("Say <think> and </think>."), e.stop()],
        [f"Say <{ZWSP}think> and <{ZWSP}/think>."],
        "stop",
    ),
    "a literal tag in the thoughts": (
        [e.reasoning("a</think>b<think>c"), e.answer("d"), e.stop()],
        ["<think>", f"a<{ZWSP}/think>b<{ZWSP}think>c", "</think>", "d"],
        "stop",
    ),
    "a literal tag split over pieces of the answer": (
        [e.answer("a<"), e.answer("/th"), e.answer("ink"), e.answer(">b"), e.stop()],
        ["a", f"<{ZWSP}/think>b"],
        "stop",
    ),
    "a literal tag split over pieces of the thoughts": (
        [e.reasoning("a<th"), e.reasoning("ink>b"), e.answer("c"), e.stop()],
        ["<think>", "a", f"<{ZWSP}think>b", "</think>", "c"],
        "stop",
    ),
    "the beginning of a tag ends the answer": ([e.answer("a </th"), e.stop()], ["a ", "</th"], "stop"),
    "the beginning of a tag ends the thoughts": (
        [e.reasoning("a <thin"), e.answer("b"), e.stop()],
        ["<think>", "a ", "<thin", "</think>", "b"],
        "stop",
    ),
    "the beginning of a tag before a tool": (
        [e.reasoning("a <"), e.tool_call("web_search"), e.stop()],
        ["<think>", "a ", "<\nUsing web_search…\n", "</think>"],
        "stop",
    ),
    "pings, returns, compaction and unknown types say nothing": (
        [e.ping(), e.unknown(), e.tool_return(), e.answer("a"), e.ping(), e.unknown(), e.answer("b"), e.stop()],
        ["a", "b"],
        "stop",
    ),
    "system messages say nothing": (
        [e.unknown(), e.answer("a"), e.stop()],
        ["a"],
        "stop",
    ),
    "what comes after the reason to stop says nothing": (
        [e.answer("a"), e.stop(), e.answer("b"), e.reasoning("c"), e.tool_call("d"), e.stop("max_steps"), e.usage()],
        ["a"],
        "stop",
    ),
    "the limit of steps": ([e.answer("a"), e.stop("max_steps"), e.usage()], ["a"], "length"),
    "the limit of tokens": ([e.answer("a"), e.stop("max_tokens_exceeded")], ["a"], "length"),
    "a tool rule": ([e.answer("a"), e.stop("tool_rule")], ["a"], "stop"),
    "no tool call": ([e.answer("a"), e.stop("no_tool_call")], ["a"], "stop"),
}


@pytest.mark.parametrize(("events", "contents", "finish_reason"), THINK_TAGS.values(), ids=THINK_TAGS)
def test_events_become_deltas(events: list[Event], contents: list[str], finish_reason: str) -> None:
    stream = played(events)

    assert stream.deltas == [ROLE, *({"content": content} for content in contents)]
    assert stream.finish_reason == finish_reason
    check_tags(stream)


STEPS = [
    *(e.reasoning("Hm <think>.", "s1"), e.tool_call("web_search", step="s1"), e.tool_return("s1")),
    *(e.reasoning("So.", "s2"), e.answer("Found </think>.", "s2"), e.stop(), e.usage()),
]
# mode -> content, reasoning of STEPS
BY_MODE: dict[Reasoning, tuple[str, str]] = {
    "think_tags": (
        f"<think>Hm <{ZWSP}think>.\nUsing web_search…\n</think><think>So.</think>Found <{ZWSP}/think>.",
        "",
    ),
    "reasoning_content": (f"Found <{ZWSP}/think>.", f"Hm <{ZWSP}think>.\nUsing web_search…\nSo."),
    "hidden": (f"Found <{ZWSP}/think>.", ""),
}


@pytest.mark.parametrize("mode", MODES)
def test_thoughts_are_shown_in_one_way(mode: Reasoning) -> None:
    stream = played(STEPS, mode)

    assert (stream.content, stream.reasoning) == BY_MODE[mode]


def test_reasoning_content_has_deltas_of_its_own() -> None:
    stream = played([e.reasoning("a"), e.answer("b"), e.stop()], "reasoning_content")

    assert stream.deltas == [ROLE, {"reasoning_content": "a", "reasoning": "a"}, {"content": "b"}]


# The tool is told on a line of its own, whatever was thought before: events, reasoning.
TOOL_LINES: dict[str, tuple[list[Event], str]] = {
    "in the step that thought": ([e.reasoning("a"), e.tool_call("x")], "a\nUsing x…\n"),
    "after a line's end": ([e.reasoning("a\n"), e.tool_call("x")], "a\nUsing x…\n"),
    "before thoughts": ([e.tool_call("x"), e.reasoning("a")], "Using x…\na"),
    "in the next step": ([e.reasoning("a", "s1"), e.tool_call("x", step="s2")], "a\nUsing x…\n"),
    "after a part of the answer": ([e.reasoning("a"), e.answer("b"), e.tool_call("x")], "a\nUsing x…\n"),
}


@pytest.mark.parametrize(("events", "reasoning"), TOOL_LINES.values(), ids=TOOL_LINES)
def test_a_tool_has_a_line_of_its_own_in_reasoning_content(events: list[Event], reasoning: str) -> None:
    assert played([*events, e.stop()], "reasoning_content").reasoning == reasoning


def test_a_tag_around_thoughts_shown_elsewhere_is_defused() -> None:
    stream = played([e.answer("<"), e.reasoning("hm"), e.answer("think>"), e.stop()], "reasoning_content")

    assert "<think>" not in stream.content


SEARCH = [e.tool_call("web_search"), e.tool_call(None, arguments='{"q":'), e.tool_call(None, arguments=' "tea"}')]
# events -> the content where tools are hidden
HIDDEN: dict[str, tuple[list[Event], str]] = {
    "a tool": ([*SEARCH, e.tool_return(), e.answer("Tea."), e.stop()], "Tea."),
    "thoughts stay": (
        [e.reasoning("Hm."), *SEARCH, e.tool_return(), e.answer("Tea."), e.stop()],
        "<think>Hm.</think>Tea.",
    ),
    "a tool that is not allowed": ([e.refused("Bash"), e.answer("I may not."), e.stop()], "I may not."),
    "a line that is about no tool stays": (
        [Remark("The model's provider failed."), e.error()],
        "<think>The model's provider failed.\n</think>",
    ),
    "a tool without a return": ([*SEARCH, e.error()], ""),
}


@pytest.mark.parametrize(("events", "content"), HIDDEN.values(), ids=HIDDEN)
def test_hidden_tools_leave_no_word(events: list[Event], content: str) -> None:
    assert played(events, tools="hidden").content == content


def test_a_tool_that_is_not_allowed_is_a_line_in_the_thoughts() -> None:
    stream = played([e.reasoning("Hm."), e.refused("Bash"), e.tool_return(status="error"), e.answer("a"), e.stop()])

    assert stream.content == "<think>Hm.\nBash is not allowed here: nothing was done.\n</think>a"


@pytest.mark.parametrize("mode", MODES)
def test_letta_s_own_tools_are_never_tool_calls(mode: Reasoning) -> None:
    frames = play([e.tool_call("web_search"), *e.tool_calls("a", "b"), e.approval_request("c"), e.stop()], mode)

    assert b"tool_calls" not in frames
    assert b'"function' not in frames


def test_hidden_thoughts_and_tools_make_no_chunk() -> None:
    machine = machine_for("hidden")

    assert machine.receive(e.reasoning("Hm.")) == []
    assert machine.receive(e.tool_call("web_search")) == []


def test_the_finish_reasons_are_openai_s() -> None:
    told = {name: FINISH_REASONS.get(to_stop(name).reason) for name in (*GOOD_STOPS, *error_words.FAILED_STOPS)}

    assert {name for name, reason in told.items() if reason == "length"} == {"max_steps", "max_tokens_exceeded"}
    assert {name for name, reason in told.items() if reason == "tool_calls"} == {"requires_approval"}
    assert set(FINISH_REASONS.values()) == {"stop", "length", "tool_calls"}
    assert {name for name, reason in told.items() if reason is None} == error_words.FAILED_STOPS.keys()


# reason to stop without an answer -> status, code
FAILURES: dict[str, tuple[int, str]] = {
    "error": (502, "upstream_error"),
    "llm_api_error": (502, "model_error"),
    "invalid_llm_response": (502, "model_error"),
    "invalid_tool_call": (502, "model_error"),
    "insufficient_credits": (429, "insufficient_quota"),
    "context_window_overflow_in_system_prompt": (400, "context_length_exceeded"),
    "requires_approval": (502, "approval_required"),
    "cancelled": (502, "run_cancelled"),
}


@pytest.mark.parametrize("reason", error_words.FAILED_STOPS)
def test_a_reason_to_stop_without_an_answer_is_an_error(reason: str) -> None:
    machine = machine_for()
    machine.receive(e.stop(reason))

    with pytest.raises(UpstreamFailure) as raised:
        machine.receive_eof()
    assert (raised.value.status_code, raised.value.code) == FAILURES[reason]
    assert raised.value.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize("reason", error_words.FAILED_STOPS)
def test_an_error_in_a_stream_has_its_code_and_closes_the_thoughts(reason: str) -> None:
    stream = played([e.reasoning("Hm"), e.stop(reason), e.usage()], include_usage=True)

    assert stream.content == "<think>Hm</think>"
    assert stream.error
    assert stream.error["code"] == FAILURES[reason][1]
    assert stream.usage is None


@pytest.mark.parametrize("reason", ["tired", "END_TURN"])
def test_a_reason_nobody_knows_is_an_error_that_names_it(reason: str) -> None:
    machine = machine_for()
    machine.receive(e.answer("a"))

    with pytest.raises(UpstreamFailure, match=f"`{reason}`") as raised:
        machine.receive(e.stop(reason))
    assert raised.value.status_code == 502
    assert raised.value.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize("reason", ["", None])
def test_no_reason_to_stop_is_an_error_too(reason: str | None) -> None:
    with pytest.raises(UpstreamFailure):
        machine_for().receive(e.stop(reason))


# error_type, message -> status, code, whether an SDK is told not to resend
ERROR_MESSAGES: dict[str, tuple[Event, int, str, bool]] = {
    "the provider fails": (e.error("llm_error"), 502, "model_error", True),
    "the provider's rate limit": (e.error("llm_rate_limit"), 429, "rate_limit_exceeded", True),
    "the provider's key": (e.error("llm_authentication"), 502, "model_authentication", True),
    "the provider is silent": (e.error("llm_timeout"), 504, "model_timeout", True),
    "the provider says nothing": (e.error("llm_empty_response"), 502, "model_error", True),
    "a bug": (e.error("internal_error"), 502, "upstream_error", True),
    "a type nobody knows": (e.error("new_error"), 502, "upstream_error", True),
    "no type": (e.error(None, None), 502, "upstream_error", True),
    "a full context window": (
        e.error("internal_error", "CONTEXT_WINDOW_EXCEEDED: 9 > 8"),
        400,
        "context_length_exceeded",
        True,
    ),
    "a pending approval": (e.error("internal_error", "CONFLICT: Cannot send"), 429, "conversation_busy", False),
}


@pytest.mark.parametrize(("event", "status", "code", "final"), ERROR_MESSAGES.values(), ids=ERROR_MESSAGES)
def test_an_error_message_is_told_as_its_error(event: Event, status: int, code: str, final: bool) -> None:
    machine = machine_for()
    machine.receive(e.stop("llm_api_error"))

    with pytest.raises(UpstreamFailure) as raised:
        machine.receive(event)
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert ("x-should-retry" in raised.value.headers) == final


def test_letta_s_own_words_stay_out_of_every_error() -> None:
    told = [played([event]).error for event, *_ in ERROR_MESSAGES.values()]

    assert not any(word in str(told) for word in ("provider said", "An error occurred", "CONFLICT", "9 > 8"))


# Wherever the error comes, it is told, and what came before it stays.
ERROR_PLACES: dict[str, tuple[list[Event], str, str]] = {
    "before anything": ([e.error("llm_timeout")], "", "model_timeout"),
    "before a reason to stop": ([e.answer("a"), e.error("llm_timeout"), e.stop("error")], "a", "model_timeout"),
    "after a reason to stop": ([e.answer("a"), e.stop("error"), e.error("llm_timeout")], "a", "model_timeout"),
    "after two reasons to stop": (
        [e.answer("a"), e.stop("error"), e.stop("llm_api_error"), e.error("llm_timeout")],
        "a",
        "model_timeout",
    ),
    "two reasons to stop and no error": (
        [e.answer("a"), e.stop("cancelled"), e.stop("llm_api_error")],
        "a",
        "run_cancelled",
    ),
    "a token after the cancel": ([e.answer("a"), e.stop("cancelled"), e.answer("b")], "a", "run_cancelled"),
    "a thought after the cancel": ([e.answer("a"), e.stop("cancelled"), e.reasoning("b")], "a", "run_cancelled"),
    "within a thought": ([e.reasoning("a"), e.error()], "<think>a</think>", "model_error"),
    "within a tool": ([e.tool_call("x"), e.error()], "<think>Using x…\n</think>", "model_error"),
    "within what may be a tag": ([e.answer("a <thi"), e.error()], "a <thi", "model_error"),
    "within what may be a tag in a thought": (
        [e.reasoning("a <thi"), e.error()],
        "<think>a <thi</think>",
        "model_error",
    ),
    "no reason to stop": ([e.answer("a")], "a", "upstream_broken"),
    "no reason to stop within a thought": ([e.reasoning("a")], "<think>a</think>", "upstream_broken"),
    "nothing but pings": ([e.ping(), e.ping()], "", "upstream_broken"),
    "nothing": ([], "", "upstream_broken"),
}


@pytest.mark.parametrize(("events", "content", "code"), ERROR_PLACES.values(), ids=ERROR_PLACES)
def test_an_error_ends_the_stream_after_what_was_said(events: list[Event], content: str, code: str) -> None:
    stream = played(events)

    assert stream.content == content
    assert stream.error
    assert stream.error["code"] == code
    check_tags(stream)


def test_an_error_after_the_finish_reason_takes_nothing_from_the_answer() -> None:
    stream = played([e.answer("a"), e.stop("end_turn"), e.error("internal_error"), e.usage()], include_usage=True)

    assert (stream.content, stream.finish_reason, stream.error) == ("a", "stop", None)


def test_every_upstream_error_has_a_row() -> None:
    kinds = [
        *error_words.STREAM_ERRORS.values(),
        *error_words.FAILED_STOPS.values(),
        letta.BrokenStream,
        letta.TimedOut,
    ]

    assert set(kinds) <= UPSTREAM.keys()


# events -> the usage told at the end
USAGE: dict[str, tuple[list[Event], dict[str, Any]]] = {
    "of the whole run": ([e.usage(11, 7, 18, 5, 3)], {"p": 11, "c": 7, "t": 18, "cached": 5, "reasoning": 3}),
    "summed over the steps": (
        [e.usage(10, 1, 11, 2, 1), e.usage(20, 2, 22, 3, None), e.usage(30, 3, 33, None, 4)],
        {"p": 60, "c": 6, "t": 66, "cached": 5, "reasoning": 5},
    ),
    "without details": ([e.usage(11, 7, 18)], {"p": 11, "c": 7, "t": 18, "cached": 0, "reasoning": 0}),
    "without a total": ([e.usage(11, 7)], {"p": 11, "c": 7, "t": 18, "cached": 0, "reasoning": 0}),
    "of nulls": ([e.usage(None, None)], {"p": 0, "c": 0, "t": 0, "cached": 0, "reasoning": 0}),
}


@pytest.mark.parametrize("before", [True, False], ids=["before the stop", "after the stop"])
@pytest.mark.parametrize(("events", "expected"), USAGE.values(), ids=USAGE)
def test_usage_is_that_of_the_whole_run(events: list[Event], expected: dict[str, Any], before: bool) -> None:
    ending = [*events, e.stop()] if before else [e.stop(), *events]
    told = played([e.answer("a"), *ending], include_usage=True).usage

    assert told
    assert told.prompt_tokens_details
    assert told.completion_tokens_details
    assert expected == {
        "p": told.prompt_tokens,
        "c": told.completion_tokens,
        "t": told.total_tokens,
        "cached": told.prompt_tokens_details.cached_tokens,
        "reasoning": told.completion_tokens_details.reasoning_tokens,
    }


def test_usage_has_a_last_chunk_without_choices_when_asked_for() -> None:
    frames = play([e.answer("a"), e.stop(), e.usage()], include_usage=True)

    *others, last, done, _ = frames.split(b"\n\n")
    assert b'"choices":[],"usage":{"prompt_tokens":11' in last
    assert all(b'"usage":null' in other for other in others)
    assert done == b"data: [DONE]"


def test_usage_is_not_told_when_not_asked_for() -> None:
    frames = play([e.answer("a"), e.stop(), e.usage()], include_usage=False)

    assert b"usage" not in frames
    assert b'"choices":[]' not in frames


def test_usage_that_letta_does_not_tell_has_no_chunk() -> None:
    stream = played([e.answer("a"), e.stop()], include_usage=True)

    assert (stream.usage, stream.finish_reason) == (None, "stop")


def test_a_chunk_is_openai_s_to_the_byte() -> None:
    begin, piece = machine_for().receive(e.answer("Hi"))

    head = b'data: {"id":"chatcmpl-1","created":1790000000,"model":"tutor","choices":[{"delta":'
    tail = b',"finish_reason":null,"index":0,"logprobs":null}],"object":"chat.completion.chunk"}\n\n'
    assert frame(begin) == head + b'{"role":"assistant","content":""}' + tail
    assert frame(piece) == head + b'{"content":"Hi"}' + tail


def test_the_finish_reason_rides_on_an_empty_delta() -> None:
    machine = machine_for()
    machine.receive(e.answer("Hi"))
    (chunk,) = machine.receive(e.stop("max_steps"))

    assert b'"choices":[{"delta":{},"finish_reason":"length",' in frame(chunk)


def _deltas(told: Sequence[Struct]) -> list[str | None]:
    chunks = [one for one in told if isinstance(one, ChatCompletionChunk)]
    return [choice.delta.content for chunk in chunks for choice in chunk.choices]


# What is open, and the deltas that close it.
OPEN: dict[str, tuple[list[Event], list[str]]] = {
    "nothing": ([], []),
    "an answer": ([e.answer("a")], []),
    "an answer that holds text back": ([e.answer("a </")], ["</"]),
    "thoughts": ([e.reasoning("a")], ["</think>"]),
    "thoughts that hold text back": ([e.reasoning("a <t")], ["<t", "</think>"]),
    "a finished answer": ([e.answer("a"), e.stop()], []),
}


@pytest.mark.parametrize(("events", "closing"), OPEN.values(), ids=OPEN)
def test_an_error_closes_what_is_open_once(events: list[Event], closing: list[str]) -> None:
    machine = machine_for()
    for event in events:
        machine.receive(event)

    assert _deltas(machine.receive_error()) == closing
    assert machine.receive_error() == []


def _chunks(events: list[Event], mode: Reasoning) -> list[ChatCompletionChunk]:
    return chunks_of(machine_for(mode, include_usage=True), events)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("events", [case[0] for case in THINK_TAGS.values()], ids=THINK_TAGS)
def test_the_whole_answer_is_the_accumulation_of_the_stream(events: list[Event], mode: Reasoning) -> None:
    chunks = _chunks([*events, e.usage()], mode)
    stream = check_stream(b"".join(map(frame, chunks)) + b"data: [DONE]\n\n", include_usage=True)
    whole = to_completion(chunks)

    assert (whole.id, whole.created, whole.model) == (chunks[0].id, chunks[0].created, chunks[0].model)
    assert whole.choices[0].message.content == stream.content
    assert (whole.choices[0].message.reasoning_content or "") == stream.reasoning
    assert whole.choices[0].finish_reason == stream.finish_reason
    assert whole.usage == chunks[-1].usage


def test_a_whole_answer_without_usage_has_no_such_field() -> None:
    assert b"usage" not in frame(to_completion(_chunks([e.answer("a"), e.stop()], "hidden")))
