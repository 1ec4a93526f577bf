"""One turn's events out of an App Server's frames: recorded turns, what is not theirs, and the words of errors."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from gateway.domain import errors
from gateway.domain.events import (
    PROGRESS,
    CallPiece,
    CallRefused,
    CallWaits,
    Event,
    Remark,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.letta.app_server.frames import Frame, HalvedFrame, Runtime
from gateway.letta.app_server.turn_machine import TRANSITIONS, IllegalTurnChange, TurnChange, TurnMachine, TurnState
from gateway.letta.error_words import from_loop_error, from_provider
from tests import events as e
from tests.frontends.open_webui.cards import part
from tests.wires.oracle import check_stream, play, played

RUNS = Path(__file__).parents[2] / "runs" / "app-server"
THOUGHT = "Let me think about it .  "
DENIED = "Bash is not allowed here: nothing was done."
GREETING = (
    'Hello! You said: \'ith available tools: None\\n</system-reminder>use get_weather args:{"city":"Oslo"}\'. '
    "I have 2 messages in context. Tools: . "
)
WORDS = "word0 word1 word2 word3 word4 word5 "

# file -> client id of the message sent, visible text, blocks of thoughts, finish reason or the error's code
RECORDED: dict[str, tuple[str, str, list[str], str]] = {
    "plain-answer": ("c1795226140.3979738", GREETING, [THOUGHT], "stop"),
    "tool-denied-then-answer": (
        "c1795226176.5978673",
        "Tool said: Bash tool missing required parameter: description. Received parameters: command ",
        [f"{THOUGHT}\n{DENIED}\n", THOUGHT],
        "stop",
    ),
    "approval-denied-then-answer": ("approval", WORDS, [f"{DENIED}\n"], "stop"),
    "external-tool-then-answer": ("ext", WORDS, ["Using client_tool…\n"], "stop"),
    "aborted-in-the-answer": ("zz", "Hello! ", [THOUGHT], "run_cancelled"),
    "provider-500-with-retries": ("c1795226140.9800162", "", [], "model_error"),
}


def recorded(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RUNS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


class Reading(Struct):
    """What became of the frames of a turn."""

    reader: TurnMachine
    events: list[Event]
    sizes: list[int]

    @property
    def failure(self) -> type[errors.UpstreamError] | None:
        return type(self.reader.failure) if self.reader.failure else None


def reader_of(message: str) -> TurnMachine:
    return TurnMachine(Runtime(), [message], own=["client_tool"])


def read(frames: list[dict[str, Any]], message: str = "m-1") -> Reading:
    reader = reader_of(message)
    batches = [reader.receive(msgspec.convert(frame, Frame)) for frame in frames]
    return Reading(reader, sum(batches, []), [len(batch) for batch in batches])


# Recorded turns


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_turn_becomes_an_answer(name: str) -> None:
    message, visible, thoughts, end = RECORDED[name]
    reading = read(recorded(name), message)
    stream = played(reading.events)

    assert (stream.visible, stream.thoughts) == (visible, thoughts)
    if reading.reader.failure:
        assert (reading.failure, end) == (errors.ModelFailed, "model_error")
    else:
        assert (stream.error["code"] if stream.error else stream.finish_reason) == end


# file -> what was called, with which arguments; whether it failed, and what came of it
RETURNED: dict[str, tuple[str, str, bool, str]] = {
    "external-tool-then-answer": ("client_tool", '{"x":"1"}', False, "42"),
    "approval-denied-then-answer": ("Bash", '{"command":"rm -f /tmp/never-there","description":"x"}', True, "no"),
    "tool-denied-then-answer": (
        "Bash",
        '{"command":"id"}',
        True,
        "Bash tool missing required parameter: description. Received parameters: command",
    ),
}


@pytest.mark.parametrize("name", RETURNED)
def test_a_call_comes_with_its_arguments_and_its_return(name: str) -> None:
    events = read(recorded(name), RECORDED[name][0]).events
    (call,) = e.calls_of(events)
    (returned,) = [event for event in events if isinstance(event, ToolReturned)]

    assert (call.name, call.arguments, returned.failed, returned.text) == RETURNED[name]
    assert call.id == returned.call_id


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_turn_has_cards_for_its_tools_and_says_the_same_beside_them(name: str) -> None:
    message, visible, thoughts, _ = RECORDED[name]
    parted = part(play(read(recorded(name), message).events, tools="rich"))
    check_stream(parted.frames)

    assert [(card.name, card.arguments, card.failed, card.output) for card in parted.cards] == [
        *([RETURNED[name]] if name in RETURNED else [])
    ]
    assert "".join(parted.texts) == visible
    assert parted.thoughts == [thought for thought in map(_without_lines, thoughts) if thought]


def _without_lines(thought: str) -> str:
    return "".join(line for line in thought.splitlines() if line not in (DENIED, "Using client_tool…"))


def test_every_recorded_turn_is_read() -> None:
    assert {path.stem for path in RUNS.glob("*.jsonl")} == set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_turn_is_nothing_to_whoever_sent_another_message(name: str) -> None:
    reading = read(recorded(name), "another")

    assert reading.events == []
    assert (reading.reader.state, reading.reader.failure) == (TurnState.SENT, None)


@pytest.mark.parametrize("name", [name for name in RECORDED if name != "provider-500-with-retries"])
def test_a_recorded_turn_begins_and_ends_once_and_nothing_follows(name: str) -> None:
    message, _, _, end = RECORDED[name]
    reading = read(recorded(name) * 2, message)
    reader = reading.reader

    assert reader.state is (TurnState.ENDED if end == "stop" else TurnState.CUT_OFF)
    assert [event for event in reading.events if isinstance(event, Stop)] == [
        e.stop("cancelled" if end == "run_cancelled" else "end_turn")
    ]
    assert reading.events == read(recorded(name), message).events


def test_a_failing_provider_fails_the_turn_at_the_first_retry_and_nothing_is_read_after() -> None:
    name = "provider-500-with-retries"
    frames = recorded(name)
    first = next(i for i, frame in enumerate(frames) if frame.get("delta", {}).get("event_type") == "retry")

    before, at = (read(frames[:end], RECORDED[name][0]).reader for end in (first, first + 1))
    assert (before.failure, type(at.failure)) == (None, errors.ModelFailed)
    assert read(frames, RECORDED[name][0]).events == []
    assert read(frames, RECORDED[name][0]).reader.state is TurnState.FAILED


STEPS: dict[str, list[str]] = {
    "plain-answer": ["local-run-3"],
    "tool-denied-then-answer": ["local-run-8", "local-run-9"],
    "approval-denied-then-answer": ["local-run-12", "local-run-13"],
    "external-tool-then-answer": ["local-run-16", "local-run-17"],
}


@pytest.mark.parametrize("name", STEPS)
def test_every_run_is_a_step_and_has_a_usage_of_its_own(name: str) -> None:
    events = read(recorded(name), RECORDED[name][0]).events
    steps = [step_of(event) for event in events]
    usages = [
        (next(step for step in reversed(steps[:at]) if step), event)
        for at, event in enumerate(events)
        if isinstance(event, TokensCounted)
    ]

    assert list(dict.fromkeys(step for step in steps if step)) == STEPS[name]
    assert usages == [(run, e.usage(11, 7, 18)) for run in STEPS[name]]


def step_of(event: Event) -> str | None:
    match event:
        case Text() | Thought() | ToolCalled() | CallWaits() | CallRefused() | Remark():
            return event.step
        case _:
            return None


# Frames made by hand


def loop(status: str = "PROCESSING_API_RESPONSE", **runs: str) -> dict[str, Any]:
    """A status of the loop, with the runs and the message that each of them took."""
    by_run = {run.replace("_", "-"): [message] for run, message in runs.items()}
    return {"type": "update_loop_status", "loop_status": {"status": status, "client_message_ids_by_run_id": by_run}}


def delta(message_type: str, run_id: str | None = "run-1", **fields: Any) -> dict[str, Any]:
    return {"type": "stream_delta", "delta": {"message_type": message_type, "run_id": run_id, **fields}}


def word(text: str = "Hello", run_id: str = "run-1") -> dict[str, Any]:
    return delta("assistant_message", run_id, content=[{"type": "text", "text": text}])


def retry(message: str, **fields: Any) -> dict[str, Any]:
    return delta("event_message", event_type="retry", event_data={"attempt": 1, "message": message}, **fields)


def finished(stop_reason: str | None = "end_turn", run_id: str | None = "run-1", error: Any = None) -> dict[str, Any]:
    return {"type": "turn_finished", "stop_reason": stop_reason, "run_id": run_id, "error": error}


def wrapped(message: str) -> str:
    """An error as it is told at the end of a turn: JSON within JSON."""
    inner = {"type": "llm_error", "message": message, "detail": "secret"}
    return json.dumps({"error": {"error": inner, "run_id": "run-1"}}, indent=2)


BEGIN = loop(run_1="m-1")
CALLED = {"tool_call_id": "call-1", "arguments": "{}"}
RUN = "run-1"
HELLO = e.answer("Hello", RUN)

# frames -> the events
READ: dict[str, tuple[list[dict[str, Any]], list[Event]]] = {
    "a word before its run is known": ([word(), BEGIN, word("you")], [e.answer("you", RUN)]),
    "a text that is no list": ([BEGIN, delta("assistant_message", content="Hi")], [e.answer("Hi", RUN)]),
    "a second run": ([BEGIN, loop(run_1="m-1", run_2="m-1"), word("B", "run-2")], [e.answer("B", "run-2")]),
    "a word of a sub-agent": ([BEGIN, word() | {"subagent_id": "sub-1"}], []),
    "a tool that is allowed": (
        [BEGIN, delta("approval_request_message", tool_call={"name": "client_tool", **CALLED})],
        [e.tool_call("client_tool", "call-1", RUN, "{}")],
    ),
    "a tool that is not": (
        [BEGIN, delta("tool_call_message", tool_call={"name": "Bash", **CALLED})],
        [CallRefused(CallPiece("call-1", "Bash", "{}"), DENIED, RUN)],
    ),
    "a tool's return": (
        [BEGIN, delta("tool_return_message", tool_returns=[{"tool_call_id": "call-1", "tool_return": "42"}])],
        [ToolReturned("call-1", "42")],
    ),
    "an id that is none": (
        [BEGIN, delta("tool_return_message", id=None, tool_returns=[{"tool_call_id": "call-1", "tool_return": "42"}])],
        [ToolReturned("call-1", "42")],
    ),
    "several tools": (
        [BEGIN, delta("approval_request_message", tool_calls=[{"name": "Bash"}, {"name": "client_tool"}])],
        [CallRefused(CallPiece(name="Bash"), DENIED, RUN), ToolCalled(CallPiece(name="client_tool"), RUN)],
    ),
    "an event that is no retry": (
        [BEGIN, delta("event_message", event_type="compaction"), word()],
        [HELLO],
    ),
    "a reason to stop after which it goes on": ([BEGIN, delta("stop_reason", stop_reason="requires_approval")], []),
    "types nobody knows": (
        [BEGIN, {"type": "new_thing", "x": [1]}, delta("hidden_thing_message", content="unseen"), word()],
        [HELLO],
    ),
    "fields nobody knows": ([{**BEGIN, "x": 1}, {**word(), "y": {"z": []}}], [HELLO]),
    "a frame of nothing": ([BEGIN, {}, {"type": "stream_delta"}, {"type": "update_loop_status"}], []),
    "an end": ([BEGIN, word(), finished()], [HELLO, e.stop("end_turn")]),
    "what follows the end": ([BEGIN, finished(), word(), finished("error")], [e.stop("end_turn")]),
    "a retry before anything was shown": ([BEGIN, retry("500: boom"), word()], []),
    "a retry after a word": (
        [BEGIN, word(), retry("500: boom"), word()],
        [HELLO, Remark("The model's provider failed.", RUN)],
    ),
}


@pytest.mark.parametrize(("frames", "told"), READ.values(), ids=READ)
def test_frames_become_events(frames: list[dict[str, Any]], told: list[Event]) -> None:
    assert read(frames).events == told


def test_what_a_tool_prints_is_not_what_came_of_it() -> None:
    """A real one says "success" of what a command prints, whatever its end will be."""
    printed = {"tool_call_id": "call-1", "status": "success", "tool_return": "one"}
    failed = {"tool_call_id": "call-1", "status": "error", "tool_return": "Exit code: 1\none"}
    events = read(
        [
            BEGIN,
            delta("tool_return_message", id="synthetic-tool-return-stream-call-1", tool_returns=[printed]),
            delta("tool_return_message", id="synthetic-tool-return-1", tool_returns=[failed]),
        ]
    ).events

    assert events == [PROGRESS, ToolReturned("call-1", "Exit code: 1\none", failed=True)]


# frames -> the failure
FAILURES: dict[str, tuple[list[dict[str, Any]], type[errors.UpstreamError]]] = {
    "a retry of the provider's": ([retry("429: {}")], errors.RateLimited),
    "a retry of the loop's": ([delta("retry", message="Unexpected downstream LLM API error")], errors.ModelFailed),
    "a retry without a word": ([delta("event_message", event_type="retry")], errors.ModelFailed),
    "an error of the loop": ([delta("loop_error", message=wrapped("401: {}"))], errors.ModelRefused),
    "an error message": ([delta("error_message", message="503: busy")], errors.ModelFailed),
    "an error without a word": ([delta("error_message")], errors.RunFailed),
    "an error of our message before a run": (
        [delta("loop_error", None, message="Agent agent-1 not found", client_message_ids=["m-1"])],
        errors.NotFound,
    ),
    "an end with an error": ([finished("error", error=wrapped("500: {}"))], errors.ModelFailed),
    "an end with a text": ([finished("error", error="fetch failed")], errors.ModelFailed),
    "an end with an error without a run": ([finished("error", None, "Agent agent-1 not found")], errors.NotFound),
    "an end behind a turn without one": (
        [finished("error", error=wrapped("Conversation local-conv-1 already has an active run (local-run-2)"))],
        errors.Stuck,
    ),
}


@pytest.mark.parametrize(("frames", "kind"), FAILURES.values(), ids=FAILURES)
def test_what_ends_a_turn_badly_is_its_failure(frames: list[dict[str, Any]], kind: type[errors.UpstreamError]) -> None:
    reading = read([BEGIN, *frames, word()])

    assert (reading.failure, reading.events) == (kind, [])
    assert reading.reader.state in (TurnState.CUT_OFF, TurnState.FAILED)


CANCELLED = Stop(StopReason.FAILED, errors.Stopped("stop_reason cancelled"))
# reason to stop of the turn's end, its error -> the event, whether it ended well
ENDS: dict[str, tuple[str | None, str | None, Stop, bool]] = {
    "it was answered": ("end_turn", None, Stop(StopReason.END), True),
    "it took too many steps": ("max_steps", None, Stop(StopReason.LIMIT), True),
    "it was long enough": ("max_tokens_exceeded", None, Stop(StopReason.LIMIT), True),
    "it was cancelled": ("cancelled", None, CANCELLED, False),
    "it was cancelled with a word": ("cancelled", "interrupted", CANCELLED, False),
    "it failed without a word": (
        "llm_api_error",
        None,
        Stop(StopReason.FAILED, errors.ModelFailed("stop_reason llm_api_error")),
        False,
    ),
    "it has no reason": (None, None, Stop(StopReason.FAILED, errors.RunFailed("stop_reason error")), False),
    "a reason nobody knows": ("tired", None, Stop(StopReason.UNKNOWN, errors.UnknownStopReason("tired")), False),
    "a warning of a good one": ("end_turn", "a warning", Stop(StopReason.END), True),
}


@pytest.mark.parametrize(("reason", "error", "told", "well"), ENDS.values(), ids=ENDS)
def test_an_end_is_told_by_its_reason(reason: str | None, error: str | None, told: Stop, well: bool) -> None:
    reading = read([BEGIN, finished(reason, error=error)])

    assert reading.events == [told]
    ended = TurnState.ENDED if well else TurnState.CUT_OFF
    assert (reading.reader.state, reading.reader.failure) == (ended, None)


def test_a_turn_begins_when_a_run_has_taken_its_message() -> None:
    reader = reader_of("m-1")
    began = []
    for frame in (loop("WAITING_ON_INPUT"), loop("SENDING", run_1="m-0"), loop("SENDING", run_2="m-1"), loop("IDLE")):
        reader.receive(msgspec.convert(frame, Frame))
        began.append((reader.state, reader.loop_idles))

    sent, running = TurnState.SENT, TurnState.RUNNING
    assert began == [(sent, True), (sent, False), (running, False), (running, False)]


# statuses of the loop, in order -> whether the model has been asked
ASKED: dict[str, tuple[list[str], bool]] = {
    "nothing is known": ([], False),
    "it waits for input": (["WAITING_ON_INPUT"], False),
    "it is being asked": (["SENDING_API_REQUEST"], False),
    "it has been asked": (["SENDING_API_REQUEST", "WAITING_FOR_API_RESPONSE"], True),
    "it answers": (["PROCESSING_API_RESPONSE"], True),
    "it has answered": (["PROCESSING_API_RESPONSE", "WAITING_ON_INPUT"], True),
}


@pytest.mark.parametrize(("statuses", "asked"), ASKED.values(), ids=ASKED)
def test_a_loop_tells_whether_it_has_asked_the_model(statuses: list[str], asked: bool) -> None:
    assert read([loop(status) for status in statuses]).reader.model_asked is asked


# prompt, completion and total tokens as the App Server tells them -> the event, with all of the prompt
PROMPTS: dict[str, tuple[int | None, int | None, int | None, TokensCounted]] = {
    "nothing was in the cache": (11, 7, 18, TokensCounted(11, 7, 18)),
    "a part was": (1, 7, 18, TokensCounted(11, 7, 18)),
    "nothing was answered": (1, None, 11, TokensCounted(11, 0, 11)),
    "no total": (11, 7, None, TokensCounted(11, 7, 18)),
    "nothing is told": (None, None, None, TokensCounted()),
}


@pytest.mark.parametrize(("prompt", "completion", "total", "told"), PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_counts_with_what_the_provider_had_of_it(
    prompt: int | None, completion: int | None, total: int | None, told: TokensCounted
) -> None:
    usage = delta("usage_statistics", prompt_tokens=prompt, completion_tokens=completion, total_tokens=total)

    assert read([BEGIN, usage]).events == [told]


def test_a_turn_may_have_several_messages() -> None:
    reader = TurnMachine(Runtime(), ["m-1", "m-2"], [])
    frames = [loop(run_1="m-2"), word()]

    assert [len(reader.receive(msgspec.convert(frame, Frame))) for frame in frames] == [0, 1]


# States


@pytest.mark.parametrize("state", TurnState)
@pytest.mark.parametrize("change", TurnChange)
def test_a_change_that_the_state_does_not_allow_is_loud(state: TurnState, change: TurnChange) -> None:
    machine = reader_of("m-1")
    machine.state = state
    with nullcontext() if change in TRANSITIONS[state] else pytest.raises(IllegalTurnChange, match=state.name):
        machine._change(change)

    assert machine.state is TRANSITIONS[state].get(change, state)


def test_every_state_can_be_reached_and_left_or_is_an_end() -> None:
    reached = {TurnState.SENT} | {state for changes in TRANSITIONS.values() for state in changes.values()}
    ends = {state for state, changes in TRANSITIONS.items() if not changes}

    assert reached == set(TurnState) == set(TRANSITIONS)
    assert ends == {TurnState.ENDED, TurnState.CUT_OFF, TurnState.FAILED, TurnState.LOST}


def test_a_connection_that_breaks_ends_a_turn_once() -> None:
    broken, later = errors.BrokenStream("broke"), errors.BrokenStream("broke again")
    machine = reader_of("m-1")
    events = [event for arrival in (broken, later) for event in machine.receive(arrival)]

    assert (events, machine.state, machine.failure) == ([], TurnState.LOST, broken)


# What does not belong to a turn

FOREIGN = st.sampled_from(
    [
        word("foreign", "run-foreign"),
        delta("reasoning_message", "run-foreign", reasoning="foreign"),
        delta("usage_statistics", "run-foreign", total_tokens=99),
        delta("tool_call_message", "run-foreign", tool_call={"name": "Bash"}),
        delta("event_message", "run-foreign", event_type="retry", event_data={"message": "429"}),
        delta("loop_error", "run-foreign", message="Agent agent-1 not found"),
        delta("loop_error", None, message="boom", client_message_ids=["m-foreign"]),
        delta("error_message", None, message="boom"),
        word("a sub-agent's", "local-run-3") | {"subagent_id": "sub-1"},
        finished("error", "run-foreign", "boom"),
        finished("end_turn", "run-foreign"),
        loop("PROCESSING_API_RESPONSE", run_foreign="m-foreign"),
        {"type": "update_queue", "queue": [{"client_message_id": "m-foreign"}]},
        {"type": "update_device_status", "device_status": {}},
        {"type": "new_thing", "delta": None, "runtime": {"agent_id": None}},
    ]
)


@pytest.mark.parametrize("name", RECORDED)
@given(data=st.data())
def test_what_is_not_of_the_turn_changes_nothing_wherever_it_comes(name: str, data: st.DataObject) -> None:
    frames, message = recorded(name), RECORDED[name][0]
    mixed = list(frames)
    for frame in data.draw(st.lists(FOREIGN, max_size=10)):
        mixed.insert(data.draw(st.integers(0, len(mixed))), frame)

    alone, among = read(frames, message), read(mixed, message)
    assert among.events == alone.events
    assert among.failure is alone.failure
    assert among.reader.state is alone.reader.state


@pytest.mark.parametrize("name", RECORDED)
@given(data=st.data())
def test_a_turn_cut_anywhere_has_told_the_beginning_of_it(name: str, data: st.DataObject) -> None:
    frames, message = recorded(name), RECORDED[name][0]
    begun = read(frames[: data.draw(st.integers(0, len(frames)))], message).events

    assert begun == read(frames, message).events[: len(begun)]


# Words of errors -> what a loop's error of these words is, and a provider's
CLASSES: dict[str, tuple[type[errors.UpstreamError], type[errors.UpstreamError]]] = {
    '429: {"message":"slow down","type":"rate_limit_error"}': (errors.RateLimited, errors.RateLimited),
    "Rate limit reached for gpt-4o": (errors.RateLimited, errors.RateLimited),
    "402: insufficient credits": (errors.OutOfCredits, errors.OutOfCredits),
    "You exceeded your current quota: insufficient_quota": (errors.OutOfCredits, errors.OutOfCredits),
    '401: {"message":"no"}': (errors.ModelRefused, errors.ModelRefused),
    "403: forbidden": (errors.ModelRefused, errors.ModelRefused),
    "Incorrect API key provided: sk-secret": (errors.ModelRefused, errors.ModelRefused),
    "No api_key": (errors.ModelRefused, errors.ModelRefused),
    '500: {"message":"mock boom","type":"server_error"}': (errors.ModelFailed, errors.ModelFailed),
    "404: no such model": (errors.ModelFailed, errors.ModelFailed),
    "Connection error.": (errors.ModelFailed, errors.ModelFailed),
    "TypeError: fetch failed": (errors.ModelFailed, errors.ModelFailed),
    "The stream ended early": (errors.ModelFailed, errors.ModelFailed),
    "408: request": (errors.ModelTimedOut, errors.ModelTimedOut),
    "504: gateway": (errors.ModelTimedOut, errors.ModelTimedOut),
    "Request timed out.": (errors.ModelTimedOut, errors.ModelTimedOut),
    "Connection timeout": (errors.ModelTimedOut, errors.ModelTimedOut),
    "400: This model's maximum context length is 8192 tokens": (errors.ContextOverflow, errors.ContextOverflow),
    "400: input exceeds the context window": (errors.ContextOverflow, errors.ContextOverflow),
    "prompt is too long: too many tokens": (errors.ContextOverflow, errors.ContextOverflow),
    "Unknown model openai/gpt-9": (errors.NotFound, errors.NotFound),
    "Unknown bundled client tool: web_search": (errors.Refused, errors.Refused),
    "Agent agent-x not found": (errors.NotFound, errors.NotFound),
    "Conversation local-conv-1 not found": (errors.NotFound, errors.NotFound),
    "Conversation local-conv-1 already has an active run (local-run-2)": (errors.Stuck, errors.Stuck),
    "something else": (errors.RunFailed, errors.ModelFailed),
    "": (errors.RunFailed, errors.ModelFailed),
    "5000 things": (errors.RunFailed, errors.ModelFailed),
}


@pytest.mark.parametrize("text", CLASSES)
def test_the_words_of_an_error_tell_its_kind(text: str) -> None:
    assert (type(from_loop_error(text)), type(from_provider(text))) == CLASSES[text]


@pytest.mark.parametrize("text", CLASSES)
@pytest.mark.parametrize("told", [wrapped, str], ids=["JSON within JSON", "plain"])
def test_the_end_of_a_turn_tells_its_kind_too(text: str, told: Any) -> None:
    reading = read([BEGIN, finished("error", error=told(text) or "-")])

    assert reading.failure is CLASSES[text][0]


def test_half_a_surrogate_pair_in_an_error_hides_nothing_of_it() -> None:
    text = wrapped("429: too many requests for a\ud83d")

    assert r"\ud83d" in text
    assert read([BEGIN, finished("error", error=text)]).failure is errors.RateLimited


def halved(text: str) -> HalvedFrame:
    """A piece of the answer in a frame that was read with its halves."""
    return msgspec.convert(word(text), HalvedFrame)


OF_HALVES: dict[str, dict[str, Any]] = {
    "well": finished("end_turn"),
    "with a failure": finished("error", error="500: no"),
    "with a retry": retry("500: no"),
}


@pytest.mark.parametrize("end", OF_HALVES.values(), ids=OF_HALVES)
def test_halves_are_put_together_over_frames_and_told_at_the_end_of_the_turn(end: dict[str, Any]) -> None:
    frames = [BEGIN, halved("a\ud83d"), loop(), halved("\ude00"), word("b"), halved("c\ud83d"), end]
    reader = reader_of("m-1")
    read_frames = [one if isinstance(one, Frame) else msgspec.convert(one, Frame) for one in frames]
    events = [event for frame in read_frames for event in reader.receive(frame)]

    assert e.text_in(events) == "a😀bc\ufffd"


@given(st.text(alphabet=st.characters(exclude_characters="0123456789"), min_size=20))
def test_an_error_does_not_repeat_what_it_was_told(secret: str) -> None:
    for text in (secret, f"500: {secret}", f"Agent {secret} not found"):
        assert secret not in str(from_loop_error(text)) + str(from_provider(text))


LEAF = st.none() | st.text() | st.integers() | st.lists(st.text())
BRANCH = st.dictionaries(st.sampled_from(["error", "message", "x"]), LEAF)


@given(LEAF | BRANCH | st.dictionaries(st.sampled_from(["error", "message", "x"]), LEAF | BRANCH))
def test_any_json_may_be_the_error_of_an_end(error: Any) -> None:
    for text in (json.dumps(error), json.dumps({"error": error})):
        assert read([BEGIN, finished("error", error=text)]).reader.failure is not None
