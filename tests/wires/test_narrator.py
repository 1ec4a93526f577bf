"""Events in, sayings out: the rules of showing a run, by example and for any events whatever."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import errors
from gateway.domain.errors import UpstreamError
from gateway.domain.events import (
    CallPiece,
    CallRefused,
    CallWaits,
    Event,
    Failure,
    Remark,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.look import Look
from gateway.domain.request import NO_TOOLS, ClientTool, ClientTools
from gateway.wires.narrator import Narrator
from gateway.wires.sayings import (
    ApprovalAsked,
    BrokenOff,
    ClientCallBegun,
    ClientCallContinued,
    Finished,
    Saying,
    TextPaused,
    ThoughtsClosed,
    ThoughtsOpened,
    ToolsOver,
)
from tests import events as e
from tests.wires.strategies import ANY

TAGS = Look("think_tags", "thoughts")
FIELDS = Look("reasoning_content", "thoughts")
NO_THOUGHTS = Look("hidden", "thoughts")
RICH = Look("think_tags", "rich")
MCP = Look("think_tags", "mcp_calls")
ASKING = Look("think_tags", "thoughts", "items")
QUIET = Look("think_tags", "hidden")
OPENED, CLOSED, PAUSED, OVER, BROKEN = ThoughtsOpened(), ThoughtsClosed(), TextPaused(), ToolsOver(), BrokenOff()
WELL, AT_THE_LIMIT, WAITING = (Finished(why) for why in (StopReason.END, StopReason.LIMIT, StopReason.WAITING))
END, LIMIT, WAITS = (Stop(why) for why in (StopReason.END, StopReason.LIMIT, StopReason.WAITING))
TOOLS = ClientTools((ClientTool("weather"), ClientTool("clock")))
ONE_AT_A_TIME = ClientTools(TOOLS.tools, parallel=False)
SEARCH = ToolCalled(CallPiece("c1", "search", "{}"), "s1")
FOUND = ToolReturned("c1", "found")
DENIED = CallRefused(CallPiece("c2", "Bash", "{}"), "Bash is not allowed here.", "s1")


def weather(arguments: str, id: str = "c1") -> CallWaits:
    return CallWaits(CallPiece(id, "weather", arguments))


def more(arguments: str) -> CallWaits:
    return CallWaits(CallPiece("c1", "", arguments))


def sayings(events: Iterable[Event], look: Look = TAGS, tools: ClientTools = NO_TOOLS) -> list[Saying]:
    """All that is said of a run, whose error breaks it off."""
    narrator = Narrator(look, tools)
    said: list[Saying] = []
    try:
        for event in events:
            said += narrator.receive(event)
        said += narrator.receive_eof()
    except UpstreamError:
        said += narrator.receive_error()
    return said


# look, events -> sayings
SAID: dict[str, tuple[Look, list[Event], list[Saying]]] = {
    "thoughts, then text": (
        TAGS,
        [Thought("Hm", "s1"), Thought("m.", "s1"), Text("Yes.", "s1"), END],
        [OPENED, Thought("Hm", "s1"), Thought("m.", "s1"), CLOSED, Text("Yes.", "s1"), WELL],
    ),
    "two steps think in two blocks": (
        FIELDS,
        [Thought("a", "s1"), Thought("b", "s2"), END],
        [OPENED, Thought("a", "s1"), CLOSED, OPENED, Thought("b", "s2"), CLOSED, WELL],
    ),
    "pieces without a word": (TAGS, [Thought(""), Text(""), Remark(""), END], [WELL]),
    "hidden thoughts, with the lines in them": (
        NO_THOUGHTS,
        [Thought("a"), SEARCH, Remark("b"), Text("c"), END],
        [Text("c"), WELL],
    ),
    "a line after a line that has no end": (
        TAGS,
        [Thought("Hm.", "s1"), SEARCH, FOUND, END],
        [OPENED, Thought("Hm.", "s1"), Thought("\nUsing search…\n", "s1"), CLOSED, WELL],
    ),
    "a line after one that has": (
        TAGS,
        [Thought("Hm.\n", "s1"), SEARCH, END],
        [OPENED, Thought("Hm.\n", "s1"), Thought("Using search…\n", "s1"), CLOSED, WELL],
    ),
    "a line in a block of its own": (
        TAGS,
        [Thought("Hm.", "s0"), SEARCH, END],
        [OPENED, Thought("Hm.", "s0"), CLOSED, OPENED, Thought("Using search…\n", "s1"), CLOSED, WELL],
    ),
    "a line in a block that is joined to the one before": (
        FIELDS,
        [Thought("Hm.", "s0"), SEARCH, END],
        [OPENED, Thought("Hm.", "s0"), CLOSED, OPENED, Thought("\nUsing search…\n", "s1"), CLOSED, WELL],
    ),
    "a call that is not allowed": (
        TAGS,
        [DENIED, CallRefused(CallPiece("c2", "", "more"), "", "s1"), END],
        [OPENED, Thought("Bash is not allowed here.\n", "s1"), CLOSED, WELL],
    ),
    "hidden tools, whose return interrupts the text": (
        QUIET,
        [Text("a"), SEARCH, DENIED, FOUND, Text("b"), END],
        [Text("a"), PAUSED, Text("b"), WELL],
    ),
    "tools with all they take and give": (
        RICH,
        [Thought("Hm.", "s1"), SEARCH, FOUND, DENIED, Text("a"), END],
        [OPENED, Thought("Hm.", "s1"), SEARCH, CLOSED, FOUND, DENIED, Text("a"), OVER, WELL],
    ),
    "tools as calls of a server's": (
        MCP,
        [Thought("Hm.", "s1"), SEARCH, FOUND, DENIED, Text("a"), END],
        [OPENED, Thought("Hm.", "s1"), SEARCH, CLOSED, FOUND, DENIED, Text("a"), OVER, WELL],
    ),
    "a limit": (TAGS, [Text("a"), LIMIT], [Text("a"), AT_THE_LIMIT]),
    "an end within thoughts": (TAGS, [Thought("a"), LIMIT], [OPENED, Thought("a"), CLOSED, AT_THE_LIMIT]),
    "usage, added up": (
        TAGS,
        [TokensCounted(1, 2, 3, 4, 5), END, TokensCounted(10, 20, 30, 40, 50)],
        [WELL, TokensCounted(11, 22, 33, 44, 55)],
    ),
    "an error within thoughts": (
        TAGS,
        [Thought("a"), Failure(errors.RateLimited())],
        [OPENED, Thought("a"), CLOSED, BROKEN],
    ),
    "an error within a tool that is shown": (
        RICH,
        [Thought("a", "s1"), SEARCH, Failure(errors.RateLimited())],
        [OPENED, Thought("a", "s1"), SEARCH, CLOSED, OVER, BROKEN],
    ),
    "no end": (TAGS, [Text("a")], [Text("a"), BROKEN]),
}


@pytest.mark.parametrize(("look", "events", "said"), SAID.values(), ids=SAID)
def test_events_become_sayings(look: Look, events: list[Event], said: list[Saying]) -> None:
    assert sayings(events, look) == said


# the client's tools, events -> sayings
CALLS: dict[str, tuple[ClientTools, list[Event], list[Saying]]] = {
    "a call in pieces, within thoughts": (
        TOOLS,
        [
            Thought("a"),
            weather(""),
            CallWaits(CallPiece("c1", "", '{"a"')),
            CallWaits(CallPiece("c1", "", ":1}")),
            WAITS,
        ],
        [
            *(OPENED, Thought("a"), CLOSED, ClientCallBegun(0, "c1", "weather")),
            *(ClientCallContinued(0, '{"a"'), ClientCallContinued(0, ":1}"), WAITING),
        ],
    ),
    "a call without arguments": (
        TOOLS,
        [weather(""), WAITS],
        [ClientCallBegun(0, "c1", "weather"), ClientCallContinued(0, "{}"), WAITING],
    ),
    "two calls": (
        TOOLS,
        [weather("{}"), weather("[]", "c2"), WAITS],
        [
            *(ClientCallBegun(0, "c1", "weather"), ClientCallContinued(0, "{}")),
            *(ClientCallBegun(1, "c2", "weather"), ClientCallContinued(1, "[]"), WAITING),
        ],
    ),
    "one call of two, for who wants one at a time": (
        ONE_AT_A_TIME,
        [weather("{}"), Thought("a"), weather("[]", "c2"), WAITS],
        [
            *(ClientCallBegun(0, "c1", "weather"), ClientCallContinued(0, "{}")),
            *(OPENED, Thought("a"), CLOSED, WAITING),
        ],
    ),
    "half an escape, which is mended at the end": (
        TOOLS,
        [weather('"\\ud83d'), weather('"'), WAITS],
        [
            *(ClientCallBegun(0, "c1", "weather"), ClientCallContinued(0, '"')),
            *(ClientCallContinued(0, '\\ufffd"'), WAITING),
        ],
    ),
}


@pytest.mark.parametrize(("tools", "events", "said"), CALLS.values(), ids=CALLS)
def test_calls_of_the_client_s_tools_are_said_as_they_come(
    tools: ClientTools, events: list[Event], said: list[Saying]
) -> None:
    assert sayings(events, tools=tools) == said


@pytest.mark.parametrize("before", [[], [Text("Let me see.")]], ids=["alone", "after text"])
def test_a_call_that_nobody_else_carries_out_becomes_a_question(before: list[Event]) -> None:
    *said, paused, question, finished = sayings([*before, CallWaits(CallPiece("c1", "Bash", "{}")), WAITS])

    assert (said, paused, finished) == (before, PAUSED, WELL)
    assert isinstance(question, Text)
    assert question.text.startswith("\n\n**May I do this?**" if before else "**May I do this?**")


def test_calls_that_need_an_approval_are_told_whole_where_they_are_items() -> None:
    bash, clock = CallWaits(CallPiece("c1", "Bash", '{"command"')), CallWaits(CallPiece("c2", "clock"))
    more = CallWaits(CallPiece("c1", "", ':"\\ud83d"}'))

    assert sayings([Text("a"), bash, clock, more, WAITS], ASKING) == [
        Text("a"),
        ApprovalAsked(CallPiece("c1", "Bash", '{"command":"\\ufffd"}')),
        ApprovalAsked(CallPiece("c2", "clock", "{}")),
        WELL,
    ]


# the states, and how they are reached

USAGE = TokensCounted(11, 7, 18)


def after(*events: Event, awaits_usage: bool = False) -> Narrator:
    narrator = Narrator(TAGS, awaits_usage=awaits_usage)
    for event in events:
        narrator.receive(event)
    return narrator


def test_an_answer_is_finished_with_its_reason_and_complete_with_its_usage() -> None:
    narrator = after(awaits_usage=True)
    seen = []
    for event in (Text("a"), END, USAGE):
        narrator.receive(event)
        seen.append((narrator.stopped, narrator.finished, narrator.complete))

    assert seen == [(False, False, False), (True, True, False), (True, True, True)]


def test_an_answer_nobody_wants_the_usage_of_is_complete_with_its_reason() -> None:
    assert after(END).complete


def test_a_failed_answer_is_never_complete() -> None:
    narrator = after(e.stop("cancelled"))
    assert (narrator.stopped, narrator.finished, narrator.complete) == (True, False, False)

    narrator.receive_error()
    assert (narrator.stopped, narrator.finished, narrator.complete) == (True, True, False)


def _ended_well() -> Narrator:
    narrator = after(Text("a"), END, USAGE, awaits_usage=True)
    narrator.receive_eof()
    return narrator


def _ended_badly() -> Narrator:
    narrator = after(Thought("a"))
    narrator.receive_error()
    return narrator


@pytest.mark.parametrize("make", [_ended_well, _ended_badly])
def test_nothing_follows_the_end(make: Callable[[], Narrator]) -> None:
    narrator = make()
    counted = narrator.tokens

    assert narrator.receive(Text("late")) == []
    assert narrator.receive(Thought("late")) == []
    assert narrator.receive(Failure(errors.RateLimited())) == []
    assert narrator.receive(USAGE) == []
    assert narrator.tokens == counted
    assert narrator.receive_eof() == []
    assert narrator.receive_error() == []


# events, after which the end of events raises this
FAILED: dict[str, tuple[list[Event], UpstreamError]] = {
    "no stop": ([Text("a")], errors.BrokenStream("no stop_reason")),
    "a stop that failed": ([e.stop("cancelled")], errors.Stopped("stop_reason cancelled")),
    "two stops that failed": ([e.stop("cancelled"), e.stop("error")], errors.Stopped("stop_reason cancelled")),
    "usage after it": ([e.stop("cancelled"), USAGE], errors.Stopped("stop_reason cancelled")),
}


@pytest.mark.parametrize(("events", "error"), FAILED.values(), ids=FAILED)
def test_the_end_of_a_run_without_an_answer_is_an_error(events: list[Event], error: UpstreamError) -> None:
    narrator = after(*events)

    for _ in range(2):
        with pytest.raises(type(error)) as raised:
            narrator.receive_eof()
        assert raised.value == error


def test_an_error_is_raised_as_a_copy_of_the_event_s() -> None:
    event = Failure(errors.RateLimited("error_type llm_rate_limit", taken=False))

    with pytest.raises(errors.RateLimited) as raised:
        after(e.stop("error"), event)
    assert raised.value == event.error
    assert event.error.__traceback__ is None


# what any events become

LOOKS = st.builds(
    Look,
    st.sampled_from(["think_tags", "reasoning_content", "hidden"]),
    st.sampled_from(["thoughts", "rich", "mcp_calls", "hidden"]),
    st.sampled_from(["chat", "items"]),
)


@given(ANY, LOOKS, st.sampled_from([NO_TOOLS, TOOLS, ClientTools((ClientTool("web_search"),))]))
def test_any_events_become_sayings_in_order(events: list[Event], look: Look, tools: ClientTools) -> None:
    said = sayings(events, look, tools)

    thinking, begun, ended = False, 0, False
    for one in said:
        assert not ended or isinstance(one, TokensCounted), "only the usage follows the end"
        assert not thinking or isinstance(one, Thought | ThoughtsClosed | ToolCalled | CallRefused)
        assert not isinstance(one, Thought | Text) or one.text
        assert look.approvals == "items" or not isinstance(one, ApprovalAsked)
        assert look.shows_tools or not isinstance(one, ToolCalled | CallRefused | ToolReturned | ToolsOver)
        match one:
            case Thought() | ThoughtsClosed():
                assert thinking
                thinking = isinstance(one, Thought)
            case ThoughtsOpened():
                assert look.reasoning != "hidden"
                thinking = True
            case ClientCallBegun(index):
                assert index == begun
                begun += 1
            case ClientCallContinued(index, arguments):
                assert index < begun
                assert arguments
            case Finished() | BrokenOff():
                ended = True
    assert ended
