"""A log that is copied to another process, in whatever portions: the same events under the same numbers."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import errors
from gateway.domain.errors import GatewayError, InvalidModelOutput, PicturesUnseen, UpstreamError, upstream
from gateway.domain.event_bytes import (
    events_from_bytes,
    events_to_bytes,
    failure_from_bytes,
    failure_to_bytes,
)
from gateway.domain.events import (
    PING,
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
from gateway.turns.runs.log import RunLog, is_silent

TEXTS = st.text(max_size=8)
STEPS = st.sampled_from([None, "step-1", "step-2"])
CALLS = st.builds(CallPiece, TEXTS, TEXTS, TEXTS)
KINDS = sorted({kind for kind in vars(upstream).values() if isinstance(kind, type)} - {UpstreamError}, key=str)
ERRORS = st.builds(
    lambda kind, text, taken, said: kind(text, taken=taken, said=said),
    st.sampled_from([kind for kind in KINDS if issubclass(kind, UpstreamError)]),
    TEXTS,
    st.booleans(),
    TEXTS,
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Text, TEXTS, STEPS),
    st.builds(Text, TEXTS, STEPS),
    st.builds(Thought, TEXTS, STEPS),
    st.builds(ToolCalled, CALLS, STEPS),
    st.builds(ToolReturned, TEXTS, TEXTS, st.booleans()),
    st.builds(CallWaits, CALLS, STEPS),
    st.builds(CallRefused, CALLS, TEXTS, STEPS),
    st.builds(Remark, TEXTS, STEPS),
    st.builds(Stop, st.sampled_from(StopReason), st.one_of(st.none(), ERRORS)),
    st.builds(Failure, ERRORS),
    st.builds(TokensCounted, *[st.integers(0, 2**40)] * 5),
)


@given(st.lists(st.lists(EVENTS, min_size=1, max_size=4), max_size=12), st.data())
def test_a_copy_has_the_same_events_under_the_same_numbers(told: Sequence[list[Event]], data: st.DataObject) -> None:
    log, copy, news = RunLog(lambda: None), RunLog(lambda: None), list[Event]()
    log.watch = news.extend
    for events in told:
        log.append([PING, *events])
        if data.draw(st.booleans()):
            copy.append(events_from_bytes(events_to_bytes(news)))
            news.clear()
    copy.append(events_from_bytes(events_to_bytes(news)))
    number = data.draw(st.integers(0, log.count))

    assert copy.count == log.count == sum(not is_silent(event) for events in told for event in events)
    assert copy.since(number) == log.since(number)
    assert taken(copy, number) == taken(log, number)


def taken(log: RunLog, after: int) -> list[tuple[Event, int]]:
    """All that a reader takes who follows from a number, joined, each with its number."""
    log.keep()
    told = log.follow(after).take()
    return [*zip(told.events, told.numbers, strict=True)] if told else []


@given(ERRORS)
def test_a_failure_of_letta_s_arrives_as_it_was(error: UpstreamError) -> None:
    arrived = failure_from_bytes(failure_to_bytes(error))

    assert arrived == error
    assert isinstance(arrived, UpstreamError)
    assert arrived.said == error.said


@pytest.mark.parametrize("error", [InvalidModelOutput(), PicturesUnseen(), errors.ToolNamesTaken({"weather"})])
def test_a_failure_that_clients_are_told_arrives_as_it_was(error: GatewayError) -> None:
    arrived = failure_from_bytes(failure_to_bytes(error))

    assert isinstance(arrived, GatewayError)
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.param, arrived.code) == (str(error), error.param, error.code)


def test_of_a_bug_nothing_is_told() -> None:
    arrived = failure_from_bytes(failure_to_bytes(ValueError("secret")))

    assert isinstance(arrived, errors.InternalError)
    assert "secret" not in str(arrived)


def test_an_error_that_is_not_known_here_is_a_failed_run() -> None:
    data = b"u" + msgspec.msgpack.encode(["OfALaterVersion", ["a"], False, ""])

    assert failure_from_bytes(data) == errors.RunFailed("a", taken=False)
