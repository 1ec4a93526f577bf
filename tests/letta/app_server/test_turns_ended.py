"""Turns of an App Server that wait for their client in vain: nothing is locked, and nothing waits for ever."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from gateway.domain import errors
from gateway.domain.events import Event
from gateway.letta.app_server import connection, turns
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.notes import CLIENT_GAVE_NO_ANSWER
from gateway.letta.upstream import Conversation, Past, Sending
from tests import events as e
from tests.following import following
from tests.letta.app_server.parked import (
    CANCELLED,
    MINE,
    NEXT,
    calling,
    decisions,
    go_on,
    heard,
    impatient,
    messages,
    park,
    permission,
    results,
    sunny,
    wanted,
)
from tests.letta.app_server.upstreams import run
from tests.servers.fake_app_server import WELL, FakeAppServer, Frame, word

pytestmark = pytest.mark.anyio

CONVERSATION = Conversation("conv-1")
UNFINISHED = {"tags": [f"gw-unfinished:{MINE.client_id}"]}


@pytest.fixture
async def hasty(server: FakeAppServer) -> AsyncIterator[AppServerUpstream]:
    """An upstream that waits for nobody."""
    letta = impatient(server, 0.01)
    yield letta
    await letta.aclose()


def marks(server: FakeAppServer) -> list[Frame]:
    return [frame["body"] for frame in server.sent("conversation_update")]


# Not answered in time


async def test_a_turn_that_is_not_answered_in_time_is_ended_and_its_calls_answered(
    server: FakeAppServer, hasty: AppServerUpstream
) -> None:
    server.turn = calling("weather", "clock")
    server.before["abort_message"] = [wanted("weather", "c1")]
    await park(server, hasty, "weather", "clock")
    await server.arrived("external_tool_call_response")
    await server.send(wanted("clock", "c2"))
    await server.arrived("external_tool_call_response", 2)
    await go_on(server, CANCELLED)

    assert results(server) == [("ask-c1", CLIENT_GAVE_NO_ANSWER, True), ("ask-c2", CLIENT_GAVE_NO_ANSWER, True)]
    assert e.text_in(await run(hasty, Sending([NEXT]))) == "Hello"
    assert messages(server) == [[MINE.client_id], [NEXT.client_id]]
    assert marks(server) == []


async def test_after_a_turn_that_was_ended_the_next_goes_on_in_the_same_conversation(
    server: FakeAppServer, hasty: AppServerUpstream
) -> None:
    await park(server, hasty, "weather")
    await server.arrived("abort_message")
    following = asyncio.create_task(run(hasty, Sending([NEXT])))
    await heard(hasty)
    assert messages(server) == [[MINE.client_id]]
    await go_on(server, CANCELLED)

    assert e.text_in(await following) == "Hello"
    assert messages(server) == [[MINE.client_id], [NEXT.client_id]]


async def test_results_that_come_while_their_turn_is_ended_find_nothing(
    server: FakeAppServer, hasty: AppServerUpstream
) -> None:
    await park(server, hasty, "weather")
    await server.arrived("abort_message")
    late = asyncio.create_task(run(hasty, sunny("c1")))
    await heard(hasty)
    await go_on(server, CANCELLED)

    with pytest.raises(errors.Stuck):
        await late
    server.answers["conversation_messages_list"] = {"success": True, "messages": []}
    assert await hasty.read_conversation("agent-1", CONVERSATION) == Past([])


async def test_a_turn_that_never_ends_is_marked_and_left(
    server: FakeAppServer, hasty: AppServerUpstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(turns, "ENDING_SECONDS", 0.01)
    with caplog.at_level(logging.WARNING):
        await park(server, hasty, "weather")
        await server.arrived("conversation_update")
    server.answers["conversation_messages_list"] = {"success": True, "messages": []}
    past = await hasty.read_conversation("agent-1", CONVERSATION)

    assert marks(server) == [UNFINISHED]
    assert (past.appendable, past.pending) == (False, ())
    assert [record.getMessage() for record in caplog.records] == [
        "a turn that waited for its client could not be ended: TimeoutError"
    ]


async def test_a_turn_that_cannot_be_aborted_is_marked_and_left(
    server: FakeAppServer, hasty: AppServerUpstream
) -> None:
    server.answers["abort_message"] = {"success": False, "error": "no"}
    await park(server, hasty, "weather")
    await server.arrived("conversation_update")

    assert marks(server) == [UNFINISHED]


# the frames that follow the abort -> what is marked
BAD_ENDS: dict[str, tuple[Frame, list[Frame]]] = {
    "an end with an error": ({"type": "turn_finished", "stop_reason": "error", "error": "500: no"}, []),
    "an error without an end": (
        {"type": "stream_delta", "delta": {"message_type": "loop_error", "message": "boom"}},
        [UNFINISHED],
    ),
}


@pytest.mark.parametrize(("ending", "marked"), BAD_ENDS.values(), ids=BAD_ENDS)
async def test_a_turn_that_fails_while_it_is_ended_is_marked_only_where_it_has_no_end(
    server: FakeAppServer, hasty: AppServerUpstream, ending: Frame, marked: list[Frame]
) -> None:
    await park(server, hasty, "weather")
    await server.arrived("abort_message")
    await go_on(server, ending)

    assert e.text_in(await run(hasty, Sending([NEXT]))) == "Hello"
    assert marks(server) == marked


async def test_an_answer_in_time_is_waited_for_no_more(server: FakeAppServer) -> None:
    upstream = impatient(server, 0.2)
    await park(server, upstream, "weather")
    going_on = asyncio.create_task(run(upstream, sunny("c1")))
    await server.send(wanted("weather", "c1"))
    await server.arrived("external_tool_call_response")
    await asyncio.wait([going_on], timeout=0.3)  # longer than it waits
    await go_on(server)

    assert e.text_in(await going_on) == "Hello"
    assert server.sent("abort_message") == []
    await upstream.aclose()


async def test_a_client_s_call_waits_no_longer_than_the_app_server_does(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LONGEST_WAIT_SECONDS", 0.01)
    await park(server, upstream, "Bash", builtin=("Bash",))
    await heard(upstream)
    assert server.sent("abort_message") == []
    await go_on_with_a_call(server, upstream)

    await server.arrived("abort_message")
    await go_on(server, CANCELLED)


async def go_on_with_a_call(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    """The person says no, and the agent calls a tool of the client's."""
    going_on = asyncio.create_task(run(upstream, Sending([], denied=("c1",)), ("Bash",)))
    await server.send(permission("Bash", "c1"))
    await server.arrived("input", 2)
    await go_on(server, *calling("weather"))
    await going_on


# The connection


async def test_results_of_a_turn_whose_connection_broke_find_nothing(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    server.cut()
    await server.connected(2)

    with pytest.raises(errors.Stuck):
        await run(upstream, sunny("c1"))
    assert messages(server) == [[MINE.client_id]]
    server.answers["conversation_messages_list"] = {"success": True, "messages": []}
    assert (await upstream.read_conversation("agent-1", CONVERSATION)).pending == ()


async def test_a_message_after_the_connection_broke_begins_a_turn(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    server.cut()
    await server.connected(2)

    assert e.text_in(await run(upstream, Sending([NEXT], denied=("c1",)))) == "Hello"
    assert len(server.sent("runtime_start")) == 2


async def test_a_turn_that_begins_as_the_end_of_a_connection_is_read_goes_over_the_next(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[asyncio.Task[list[Event]]] = []
    lost = connection._WebSocket.connection_lost

    def connection_lost(self: connection._WebSocket, error: Exception | None) -> None:
        begun.append(asyncio.create_task(run(upstream, Sending([NEXT]))))
        lost(self, error)

    await run(upstream, Sending([MINE]))
    with monkeypatch.context() as patching:
        patching.setattr(connection._WebSocket, "connection_lost", connection_lost)
        server.cut()
        await server.connected(2)

    assert [e.text_in(await turn) for turn in begun] == ["Hello"]


async def test_a_connection_that_breaks_while_results_are_heard_breaks_the_turn(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    going_on = asyncio.create_task(run(upstream, sunny("c1")))
    await server.send(wanted("weather", "c1"))
    await server.arrived("external_tool_call_response")
    server.cut()

    with pytest.raises(errors.BrokenStream) as raised:
        await going_on
    assert raised.value.taken


async def test_a_turn_whose_connection_breaks_while_it_is_ended_is_marked(
    server: FakeAppServer, hasty: AppServerUpstream
) -> None:
    await park(server, hasty, "weather")
    await server.arrived("abort_message")
    await heard(hasty)
    server.cut()
    await server.arrived("conversation_update")

    assert marks(server) == [UNFINISHED]


# Cancelled, and closed


async def test_a_turn_that_waits_and_is_cancelled_is_ended(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await park(server, upstream, "weather")
    cancelling = asyncio.create_task(upstream.cancel("agent-1", "conv-1"))
    await server.arrived("abort_message")
    await go_on(server, CANCELLED)
    await cancelling

    assert marks(server) == []
    assert e.text_in(await run(upstream, Sending([NEXT]))) == "Hello"


async def test_a_cancel_of_a_turn_that_goes_on_with_results_ends_it(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    async with following(upstream, "agent-1", "conv-1", sunny("c1")) as batches:
        await server.send(wanted("weather", "c1"))
        await go_on(server, word("Hel"))
        while (said := await anext(batches)) == [e.ping()]:
            pass
        assert said == [e.answer("Hel", "run-2")]
        await upstream.cancel("agent-1", "conv-1")

    assert marks(server) == [UNFINISHED]


async def test_who_stops_reading_a_turn_that_goes_on_leaves_nothing_that_waits(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    async with following(upstream, "agent-1", "conv-1", sunny("c1")):
        await server.send(wanted("weather", "c1"))
        await server.arrived("external_tool_call_response")

    with pytest.raises(errors.Stuck):
        await run(upstream, sunny("c1"))


async def test_closing_ends_what_waits(server: FakeAppServer) -> None:
    upstream = impatient(server, 600)
    await park(server, upstream, "weather")
    closing = asyncio.create_task(upstream.aclose())
    await server.arrived("abort_message")
    assert not closing.done()
    await go_on(server, CANCELLED)
    await closing

    assert marks(server) == []


async def test_closing_while_a_turn_is_ended_waits_for_that_end_alone(server: FakeAppServer) -> None:
    upstream = impatient(server, 0.01)
    await park(server, upstream, "weather")
    await server.arrived("abort_message")
    await heard(upstream)
    closing = asyncio.create_task(upstream.aclose())
    await heard(upstream)
    await go_on(server, CANCELLED)
    async with asyncio.timeout(turns.ENDING_SECONDS / 2):
        await closing

    assert len(server.sent("abort_message")) == 1
    assert marks(server) == []


async def test_closing_with_an_answer_under_way_ends_only_what_waits(server: FakeAppServer) -> None:
    upstream = impatient(server, 600)
    server.turn = [word("Hel")]
    async with following(upstream, "agent-1", "conv-1", Sending([MINE])) as batches:
        await anext(batches)
        await upstream.aclose()

    assert server.sent("abort_message") == []


# Approvals


async def test_a_tool_that_is_not_allowed_in_time_is_denied(server: FakeAppServer, hasty: AppServerUpstream) -> None:
    server.before["abort_message"] = [permission("Bash", "c1")]
    await park(server, hasty, "Bash", builtin=("Bash",))
    await server.arrived("input", 2)
    await go_on(server, CANCELLED)

    assert decisions(server) == [("ask-c1", {"behavior": "deny", "message": CLIENT_GAVE_NO_ANSWER})]


async def test_two_turns_end_each_by_itself(server: FakeAppServer, hasty: AppServerUpstream) -> None:
    for name in ("conv-1", "conv-2"):
        server.turn = calling("weather")
        await run(hasty, Sending([MINE], tools=sunny("c1").tools), conversation=name)
    await server.arrived("abort_message", 2)
    server.turn = [word("Hello"), *WELL]
    for sent in server.sent("input"):
        await server.play(sent, CANCELLED)

    for name in ("conv-1", "conv-2"):
        assert e.text_in(await run(hasty, Sending([NEXT]), conversation=name)) == "Hello"
