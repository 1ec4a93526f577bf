"""Calls in an App Server's frames: which of them are told, which wait, and when the turn does."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import CallRefused, CallWaits, Event, Stop, ToolCalled
from gateway.domain.messages import ToolResult
from gateway.letta.app_server.frames import ControlRequest, Frame, PermissionAsked, Runtime, ToolRequest
from gateway.letta.app_server.turn_machine import TurnMachine, TurnState
from gateway.letta.upstream import Sending
from tests import events as e
from tests.letta.app_server.parked import called, classified

Json = dict[str, Any]
RUN = "run-1"
RUNTIME = Runtime("agent-1", "conv-1")
BEGIN = {
    "type": "update_loop_status",
    "loop_status": {"status": "PROCESSING_API_RESPONSE", "client_message_ids_by_run_id": {RUN: ["m-1"]}},
}
WORD: Json = {
    "type": "stream_delta",
    "delta": {"message_type": "assistant_message", "content": [{"type": "text", "text": "Hello"}]},
}
NOTHING = Sending([])
END = {"type": "turn_finished", "stop_reason": "end_turn", "run_id": RUN}


def reader() -> TurnMachine:
    """Of a turn whose agent has tools of all three kinds."""
    new = TurnMachine(RUNTIME, ["m-1"], builtin=["Bash", "Read"], own=["memory_insert"], clients=["weather", "clock"])
    take(new, BEGIN)
    return new


def take(reader: TurnMachine, *frames: Json) -> list[Event]:
    told: list[Event] = []
    for frame in frames:
        if "delta" in frame:
            frame = {**frame, "delta": {"run_id": RUN, **frame["delta"]}}
        told += reader.receive(msgspec.convert(frame, Frame))
    return told


def words(events: list[Event]) -> list[str]:
    """Events in a word or two each: the tool of a call after its type, the reason of a stop."""
    return [f"{type(event).__name__} {_of_what(event)}".rstrip() for event in events]


def _of_what(event: Event) -> str:
    match event:
        case ToolCalled(call) | CallWaits(call) | CallRefused(call):
            return call.name
        case Stop(reason):
            return reason.name
        case _:
            return ""


# frames -> events, what waits
READ: dict[str, tuple[list[Json], list[str], dict[str, str]]] = {
    "a call of the client's": (
        [called("weather", "c1"), classified("c1")],
        ["CallWaits weather", "Stop WAITING"],
        {"c1": "weather"},
    ),
    "one that is not told of at the end of the step": (
        [called("weather", "c1"), classified()],
        ["CallWaits weather", "Stop WAITING"],
        {"c1": "weather"},
    ),
    "two calls of the client's": (
        [called("weather", "c1"), called("clock", "c2"), classified("c1", "c2")],
        ["CallWaits weather", "CallWaits clock", "Stop WAITING"],
        {"c1": "weather", "c2": "clock"},
    ),
    "two calls of the client's with one id": (
        [called("weather", "c1"), called("clock", "c1"), called("weather", "c1"), classified("c1")],
        [*("CallWaits weather", "CallWaits clock", "CallWaits weather")] + ["Stop WAITING"],
        {"c1": "weather", "c1~2": "clock", "c1~3": "weather"},
    ),
    "what an App Server leaves of a call that came with the id of another": (
        [called("weather", "c1"), called("", ""), classified("c1")],
        ["CallWaits weather", "Stop WAITING"],
        {"c1": "weather"},
    ),
    "a call whose step has not ended": ([called("weather", "c1")], ["CallWaits weather"], {"c1": "weather"}),
    "a call of the gateway's": ([called("memory_insert", "c1"), classified()], ["ToolCalled memory_insert"], {}),
    "a call that is not allowed": ([called("Edit", "c1"), classified()], ["CallRefused Edit"], {}),
    "a tool of the App Server's whose step has not ended": ([called("Bash", "c1")], [], {}),
    "a tool of the App Server's": ([called("Bash", "c1"), classified()], ["ToolCalled Bash"], {}),
    "a tool that needs an approval": (
        [called("Bash", "c1"), classified("c1")],
        ["CallWaits Bash", "Stop WAITING"],
        {"c1": "Bash"},
    ),
    "one that needs an approval and one that does not": (
        [called("Bash", "c1"), called("Read", "c2"), classified("c1")],
        ["ToolCalled Read", "CallWaits Bash", "Stop WAITING"],
        {"c1": "Bash"},
    ),
    "an approval of a call that nobody has seen": ([classified("c9")], [], {}),
    "calls of all kinds": (
        [
            called("weather", "c1"),
            called("memory_insert", "c2"),
            called("Bash", "c3"),
            called("Edit", "c4"),
            classified("c3"),
        ],
        [
            *("CallWaits weather", "ToolCalled memory_insert", "CallRefused Edit"),
            *("CallWaits Bash", "Stop WAITING"),
        ],
        {"c1": "weather", "c3": "Bash"},
    ),
}


@pytest.mark.parametrize(("frames", "told", "waiting"), READ.values(), ids=READ)
def test_calls_are_told_by_who_carries_them_out(frames: list[Json], told: list[str], waiting: dict[str, str]) -> None:
    new = reader()

    assert words(take(new, *frames)) == told
    assert new.waiting == waiting
    assert new.state is (TurnState.PARKED if "Stop WAITING" in told else TurnState.RUNNING)


@pytest.mark.parametrize(("name", "clients"), [("weather", True), ("Bash", False)])
def test_whether_the_client_is_waited_for_is_known(name: str, clients: bool) -> None:
    new = reader()
    take(new, called(name, "c1"), classified("c1"))

    assert new.calls_clients is clients


def test_a_turn_that_goes_on_is_told_on_and_may_wait_again() -> None:
    new = reader()
    take(new, called("weather", "c1"), classified("c1"))
    new.answer(NOTHING, ["m-2"])
    assert (new.state, new.waiting, new.began_with) == (TurnState.RUNNING, {}, "m-1")

    assert words(take(new, WORD, called("clock", "c1"), classified("c1"))) == [
        "Text",
        "CallWaits clock",
        "Stop WAITING",
    ]
    new.answer(NOTHING, [])
    assert words(take(new, END)) == ["Stop END"]
    assert new.state is TurnState.ENDED


def test_a_turn_that_goes_on_takes_the_runs_of_what_was_said_beside_the_answers() -> None:
    new = reader()
    take(new, called("weather", "c1"), classified("c1"))
    new.answer(NOTHING, ["m-2"])
    loop = {"status": "PROCESSING_API_RESPONSE", "client_message_ids_by_run_id": {"run-2": ["m-2"]}}
    take(new, {"type": "update_loop_status", "loop_status": loop})

    assert words(take(new, {**WORD, "delta": {**WORD["delta"], "run_id": "run-2"}})) == ["Text"]


NAMES = st.sampled_from(["weather", "clock", "memory_insert", "Bash", "Read", "Edit"])
STEP = st.lists(NAMES, max_size=6)


@given(STEP, st.data())
def test_every_call_of_a_step_is_told_once_and_the_turn_waits_only_for_others(names: list[str], data: Any) -> None:
    new, ids = reader(), [f"c{i}" for i in range(len(names))]
    builtin = [id for id, name in zip(ids, names, strict=True) if name in ("Bash", "Read")]
    asking = data.draw(st.sets(st.sampled_from(builtin))) if builtin else set()
    events = take(new, *map(called, names, ids), classified(*sorted(asking)))
    clients = {id for id, name in zip(ids, names, strict=True) if name in ("weather", "clock")}

    assert sorted(call.id for call in e.calls_of(events)) == sorted(ids)
    assert new.waiting.keys() == clients | asking
    assert (new.state is TurnState.PARKED) is bool(clients | asking)
    waiting = {event.call.id for event in events if isinstance(event, CallWaits)}
    assert waiting == clients | asking


# What arrives while it waits, and what is asked


def test_what_arrives_while_a_turn_waits_is_told_once_it_goes_on() -> None:
    new = reader()
    take(new, called("weather", "c1"), classified("c1"))

    assert take(new, WORD, END) == []
    assert new.waits
    assert words(new.answer(NOTHING, [])) == ["Text", "Stop END"]
    assert new.state is TurnState.ENDED


def test_a_turn_that_is_given_up_is_followed_to_its_end() -> None:
    new = reader()
    take(new, called("weather", "c1"), classified("c1"), WORD)
    new.take_call(ToolRequest("ask-c1", "weather", {}, RUNTIME, "c1"))

    assert words(new.give_up()) == ["Text"]
    assert (new.state, new.waits, len(new.answers_to_send())) == (TurnState.ENDING, True, 1)
    assert words(take(new, {**END, "stop_reason": "cancelled"})) == ["Stop FAILED"]
    assert new.state is TurnState.CUT_OFF


def asked(name: str, id: str) -> ControlRequest:
    return ControlRequest(f"ask-{id}", request=PermissionAsked(name, id))


def test_nothing_that_is_asked_before_a_run_has_taken_the_messages_is_of_the_turn() -> None:
    new = TurnMachine(RUNTIME, ["m-1"], builtin=["Bash"])
    new.take_question(asked("Edit", "c1"))
    take(new, BEGIN)
    new.take_question(asked("Edit", "c2"))

    assert [frame["payload"]["request_id"] for frame in new.answers_to_send()] == ["ask-c2"]
    assert new.answers_to_send() == []


@pytest.mark.parametrize("before", [True, False], ids=["asked before", "asked after"])
def test_a_call_is_answered_once_it_is_asked_for_and_there_is_an_answer(before: bool) -> None:
    new = reader()
    take(new, called("weather", "c1"), classified("c1"))
    doings: list[Callable[[], object]] = [
        lambda: new.take_call(ToolRequest("ask-c1", "weather", {}, RUNTIME, "c1")),
        lambda: new.answer(Sending([], results=(ToolResult("c1", "sunny"),)), []),
    ]
    for i, do in enumerate(doings if before else doings[::-1]):
        do()
        sent = new.answers_to_send()
        assert len(sent) == i

    assert sent[0]["result"] == {"content": [{"type": "text", "text": "sunny"}], "is_error": False}
