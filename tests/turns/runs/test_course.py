"""The course of a run, without any I/O: what is heard at which stage, and what is to be done about it."""

from collections.abc import Callable

import pytest

from gateway.domain import errors
from gateway.domain.events import CallRefused, Event
from gateway.turns.runs.course import STAGES, Course, Heard, Stage, Step
from tests.events import answer, approval_request, error, ping, stop, tool_call, usage

WAITS = [approval_request("weather", "c1"), stop("requires_approval")]


def course(*clients: str, denies_approvals: bool = False) -> Course:
    """A course whose message is on its way."""
    sent = Course(denies_approvals, clients)
    sent.send()
    return sent


def running(*clients: str, denies_approvals: bool = False) -> Course:
    begun = course(*clients, denies_approvals=denies_approvals)
    begun.hear([ping()])
    return begun


def left(one: Course) -> Course:
    one.leave()
    return one


def stopped(one: Course, *events: Event) -> Course:
    one.hear([*events, stop()])
    return one


def test_every_stage_is_reached_and_left_by_steps_of_the_table() -> None:
    reached = {to for steps in STAGES.values() for to in steps.values()}

    assert set(STAGES) == reached == set(Stage)
    assert {step for steps in STAGES.values() for step in steps} == set(Step)


def test_a_step_that_the_table_does_not_have_is_a_bug() -> None:
    with pytest.raises(KeyError):
        running().send()


# what happens -> the stage afterwards
STEPS: dict[str, tuple[Callable[[], Course], Stage]] = {
    "nothing yet": (lambda: Course(False, ()), Stage.PREPARING),
    "left while it prepares": (lambda: left(Course(False, ())), Stage.STOPPED),
    "sent": (course, Stage.SENDING),
    "left while it is sent": (lambda: left(course()), Stage.SENDING),
    "a ping": (running, Stage.RUNNING),
    "left while it runs": (lambda: left(running()), Stage.CANCELLING),
    "its reason to stop": (lambda: stopped(running()), Stage.STOPPED),
    "its reason to stop after it was left": (lambda: stopped(left(running())), Stage.STOPPED),
    "left after it has stopped": (lambda: left(stopped(running())), Stage.STOPPED),
}


@pytest.mark.parametrize(("made", "stage"), STEPS.values(), ids=STEPS)
def test_a_run_goes_from_stage_to_stage(made: Callable[[], Course], stage: Stage) -> None:
    assert made().stage is stage


# events of a run that has begun -> what is to be done about them
HEARD: dict[str, tuple[list[Event], Heard]] = {
    "a piece of the answer": ([answer("Hi")], Heard([answer("Hi")])),
    "a ping": ([ping()], Heard([ping()])),
    "the end": ([answer("Hi"), stop(), usage()], Heard([answer("Hi"), stop(), usage()], stopped=True)),
    "a failure after a word": (
        [answer("Hi"), stop("error"), error()],
        Heard([answer("Hi"), stop("error"), error()], stopped=True),
    ),
    "a failure before any word": ([stop("error")], Heard(refusing=True)),
    "a failure before any word, and its reason": ([stop("error"), error()], Heard([stop("error"), error()], True)),
}


@pytest.mark.parametrize(("events", "heard"), HEARD.values(), ids=HEARD)
def test_what_is_heard_is_told_and_says_what_follows(events: list[Event], heard: Heard) -> None:
    assert running().hear(events) == heard


def test_a_failure_before_any_word_is_told_with_the_reason_that_follows_it() -> None:
    run = running()

    assert run.hear([stop("error")]) == Heard(refusing=True)
    assert run.hear([error()]) == Heard([stop("error"), error()], stopped=True)


def test_a_conversation_that_is_busy_has_not_taken_the_message() -> None:
    run = running()
    busy = error("internal_error", "CONFLICT: Cannot send a new message")
    with pytest.raises(errors.Busy) as caught:
        run.hear([stop("error"), busy])

    assert (run.stage, run.is_not_begun(caught.value)) == (Stage.SENDING, True)


def test_a_run_that_is_left_while_it_is_sent_is_cancelled_as_soon_as_there_is_one() -> None:
    run = left(course())

    assert run.hear([ping()]) == Heard([ping()], cancels=True)
    assert run.hear([answer("He")]) == Heard([answer("He")])


# (where it fails, with what) -> whether Letta may go on with it
FAILURES: dict[str, tuple[Callable[[], Course], BaseException, bool]] = {
    "it never arrived": (course, errors.Unreachable(), False),
    "it may have arrived": (course, errors.BrokenStream(), True),
    "it runs": (running, errors.BrokenStream(), True),
    "it runs, and the gateway has a bug": (running, ZeroDivisionError(), True),
    "it has stopped": (lambda: stopped(running()), errors.BrokenStream(), False),
    "it is being cancelled": (lambda: left(running()), errors.BrokenStream(), False),
}


@pytest.mark.parametrize(("made", "failure", "goes_on"), FAILURES.values(), ids=FAILURES)
def test_a_run_that_letta_may_go_on_with_is_to_be_cancelled(
    made: Callable[[], Course], failure: BaseException, goes_on: bool
) -> None:
    assert made().fail(failure) is goes_on


def test_calls_that_wait_are_known_when_it_stops_for_them() -> None:
    run = running("weather")
    run.hear(WAITS)

    assert [(call.tool_call_id, call.name) for call in run.pending] == [("c1", "weather")]
    assert (run.ended_well, run.denies) == (True, False)


def test_an_approval_that_nobody_is_asked_for_is_refused_and_the_run_goes_on() -> None:
    run = running("clock", denies_approvals=True)
    heard = run.hear(WAITS)
    (told,) = heard.told

    assert isinstance(told, CallRefused)
    assert (run.denies, run.resume(), run.stage, run.pending) == (True, ("c1",), Stage.RUNNING, ())


@pytest.mark.parametrize(("name", "used"), [("memory_insert", True), ("web_search", False)])
def test_a_memory_tool_that_was_called_is_known(name: str, used: bool) -> None:
    run = running()
    run.hear([tool_call(name)])

    assert run.used_memory is used
