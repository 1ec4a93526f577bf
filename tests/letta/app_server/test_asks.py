"""What an App Server asks about while a turn is under way: what may be done at once, what waits for the person."""

import asyncio
import logging
from typing import Any, cast

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.events import Stop, Text, ToolCalled
from gateway.domain.messages import PendingCall
from gateway.letta.app_server import turns
from gateway.letta.app_server.connection import AppServerConnection
from gateway.letta.app_server.frames import ControlRequest, Frame, Runtime, ToolRequest
from gateway.letta.app_server.turn_machine import TurnMachine
from gateway.letta.app_server.turns import OpenTurn
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.notes import CLIENT_GAVE_NO_ANSWER, NOT_AVAILABLE, WENT_ON
from gateway.letta.upstream import Conversation, Sending
from tests import events as e
from tests.following import following
from tests.letta.app_server.parked import (
    MINE,
    NEXT,
    TOOLS,
    called,
    calling,
    classified,
    decisions,
    go_on,
    heard,
    park,
    permission,
    results,
    resume,
    sunny,
    wanted,
)
from tests.letta.app_server.upstreams import run
from tests.servers.fake_app_server import WELL, FakeAppServer, word

pytestmark = pytest.mark.anyio

ALLOW = {"behavior": "allow"}
BASH = permission("Bash", "c1")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What still waits when a test is over is not waited for."""
    monkeypatch.setattr(turns, "ENDING_SECONDS", 0.01)


def deny(why: str) -> dict[str, str]:
    return {"behavior": "deny", "message": why}


# What an agent may use: as the turn lists it


@pytest.mark.parametrize("builtin", [(), ("Bash",)], ids=["none listed", "one listed"])
async def test_only_where_a_tool_is_listed_anything_is_asked(
    server: FakeAppServer, upstream: AppServerUpstream, builtin: tuple[str, ...]
) -> None:
    await run(upstream, Sending([MINE]), builtin)
    (started,) = server.sent("runtime_start")

    assert started["mode"] == ("standard" if builtin else "unrestricted")


# tool -> what is decided at once; None: it waits
AT_ONCE: dict[str, dict[str, Any] | None] = {
    "memory_insert": ALLOW,
    "weather": ALLOW,
    "Read": deny(NOT_AVAILABLE),
    "nobody's": deny(NOT_AVAILABLE),
    "Bash": None,
}


@pytest.mark.parametrize("tool", AT_ONCE)
async def test_a_tool_is_allowed_denied_or_asked_about_as_the_turn_lists_it(
    server: FakeAppServer, upstream: AppServerUpstream, tool: str
) -> None:
    server.turn = [word("Hm.")]
    async with following(upstream, "agent-1", "conv-1", Sending([MINE], tools=TOOLS), ("Bash",)) as batches:
        await anext(batches)
        await heard(upstream)
        await server.send(permission(tool, "c1"), permission("Read", "c2"))
        await server.arrived("input", 3 if AT_ONCE[tool] else 2)

    at_once = [("ask-c1", AT_ONCE[tool])] if AT_ONCE[tool] else []
    assert decisions(server) == [*at_once, ("ask-c2", deny(NOT_AVAILABLE))]


async def test_what_is_asked_of_a_conversation_without_a_turn_here_is_another_gateway_s(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await run(upstream, Sending([MINE]))
    await server.send(BASH, permission("Bash", "c2", conversation_id="conv-2"))
    await server.send(permission("Bash", "c3", conversation_id=None))
    await heard(upstream)

    assert decisions(server) == []


async def test_what_is_asked_before_a_turn_has_started_is_another_gateway_s(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = []
    server.answers["input"] = {"accepted": True, "disposition": "queued"}
    async with following(upstream, "agent-1", "conv-1", Sending([MINE]), ("Bash",)):
        await server.arrived("input")
        await server.send(permission("Read", "c1"), BASH)
        await heard(upstream)

    assert decisions(server) == []


async def test_what_is_asked_right_behind_the_first_frames_of_a_turn_is_the_turn_s(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [permission("Read", "c1"), word("Hello"), *WELL]
    events = await run(upstream, Sending([MINE]), ("Bash",))
    await heard(upstream)

    assert e.text_in(events) == "Hello"
    assert decisions(server) == [("ask-c1", deny(NOT_AVAILABLE))]


async def test_what_is_asked_right_behind_a_call_that_waits_is_answered_later(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [*calling("Bash"), BASH]
    await run(upstream, Sending([MINE]), ("Bash",))
    server.turn = []
    going_on = resume(upstream, Sending([], approved=("c1",)))
    await server.arrived("input", 2)
    await go_on(server)
    await going_on

    assert decisions(server) == [("ask-c1", ALLOW)]


# Asked about


async def test_a_tool_that_needs_an_approval_makes_the_turn_wait(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    events = await park(server, upstream, "Bash", builtin=("Bash",))
    await server.send(BASH)
    server.answers["conversation_messages_list"] = {"success": True, "messages": []}
    past = await upstream.read_conversation("agent-1", Conversation("conv-1"))

    assert events == [
        e.usage(11, 7, 18),
        e.approval_request("Bash", "c1", "run-1", "{}"),
        e.stop("requires_approval"),
    ]
    assert (past.appendable, past.pending) == (True, (PendingCall("c1", "Bash"),))
    assert decisions(server) == []


# what is said -> what is decided
SAID: dict[str, tuple[Sending, dict[str, str]]] = {
    "yes": (Sending([], approved=("c1",)), ALLOW),
    "no": (Sending([], denied=("c1",)), deny(CLIENT_GAVE_NO_ANSWER)),
    "no, with a reason": (Sending([], denied=("c1",), reason="too late"), deny("too late")),
    "something else": (Sending([NEXT], denied=("c1",)), deny(WENT_ON)),
    "yes, as a message": (Sending([NEXT], approved=("c1",)), ALLOW),
}


@pytest.mark.parametrize("before", [True, False], ids=["asked before", "asked after"])
@pytest.mark.parametrize(("sending", "decision"), SAID.values(), ids=SAID)
async def test_what_the_person_says_is_decided(
    server: FakeAppServer, upstream: AppServerUpstream, sending: Sending, decision: dict[str, str], before: bool
) -> None:
    await park(server, upstream, "Bash", builtin=("Bash",))
    server.turn = []
    if before:
        await server.send(BASH)
        await heard(upstream)
    going_on = resume(upstream, sending)
    if not before:
        await heard(upstream)
        await server.send(BASH)
    await server.arrived("input", 3 if sending.messages else 2)
    await go_on(server)

    assert e.text_in(await going_on) == "Hello"
    assert decisions(server) == [("ask-c1", decision)]


async def test_only_those_that_need_an_approval_are_asked_about(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [called("Bash", "c1"), called("Read", "c2"), classified("c1")]
    events = await run(upstream, Sending([MINE]), ("Bash", "Read"))

    assert events == [
        e.tool_call("Read", "c2", "run-1", "{}"),
        e.approval_request("Bash", "c1", "run-1", "{}"),
        e.stop("requires_approval"),
    ]


async def test_a_step_whose_calls_are_all_allowed_goes_on(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = [
        called("Bash", "c1"),
        classified(),
        word("Done"),
        {"type": "turn_finished", "stop_reason": "end_turn"},
    ]
    events = await run(upstream, Sending([MINE]), ("Bash",))

    assert [type(event) for event in events] == [ToolCalled, Text, Stop]


async def test_a_call_of_the_client_s_and_an_approval_wait_together(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [called("weather", "c1"), called("Bash", "c2"), classified("c2")]
    await run(upstream, Sending([MINE], tools=TOOLS), ("Bash",))
    await server.send(wanted("weather", "c1"), permission("Bash", "c2"))
    await heard(upstream)
    server.turn = []
    going_on = resume(upstream, sunny("c1"))
    await server.arrived("external_tool_call_response")
    await server.arrived("input", 2)
    await go_on(server)
    await going_on

    assert results(server) == [("ask-c1", "sunny c1", False)]
    assert decisions(server) == [("ask-c2", deny(CLIENT_GAVE_NO_ANSWER))]


# Told


class DeadLink:
    """One over which nothing can be told."""

    async def tell(self, frame: dict[str, Any]) -> None:
        raise errors.BrokenStream("the connection to the App Server broke")


async def test_an_answer_that_cannot_be_told_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime("agent-1", "conv-1")
    machine = TurnMachine(runtime, ["m-1"], builtin=["Bash"], clients=["weather"])
    turn = OpenTurn(cast(AppServerConnection, DeadLink()), machine)
    begun = {"status": "", "client_message_ids_by_run_id": {"run-1": ["m-1"]}}
    for frame in ({"type": "update_loop_status", "loop_status": begun}, *calling("weather")):
        if "delta" in frame:
            frame = {**frame, "delta": {"run_id": "run-1", **frame["delta"]}}
        turn.hear(msgspec.convert(frame, Frame))
    turn.take_call(ToolRequest("ask-c1", "weather", {}, runtime, "c1"))
    others = asyncio.all_tasks()
    with caplog.at_level(logging.WARNING):
        turn.answer(sunny("c1"), [])
        turn.take_question(ControlRequest("ask-c2"))
        await asyncio.wait(asyncio.all_tasks() - others)

    assert [record.getMessage() for record in caplog.records] == [
        "an answer to a call could not be told: the connection to the App Server broke"
    ] * 2


def test_calling_is_what_the_reader_takes_it_for() -> None:
    assert [frame["delta"]["message_type"] for frame in calling("weather")] == [
        "approval_request_message",
        "usage_statistics",
        "approval_classification_end",
    ]
