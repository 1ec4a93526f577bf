"""Turns that wait in another process, on a real Redis: that process goes on with them, and is told who has left."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack

import pytest

from gateway.domain import errors
from gateway.domain.events import Event
from gateway.domain.messages import Message, PendingCall, ToolResult, image_of
from gateway.domain.request import ClientTool
from gateway.letta.elsewhere.relay import Relay
from gateway.letta.upstream import Sending, Take
from gateway.shared.redis_link import RedisLink
from tests.events import answer, stop, text_in, usage
from tests.servers.redis_server import RedisServer
from tests.shared.linked import kill, linked, until

pytestmark = [pytest.mark.anyio, pytest.mark.full, pytest.mark.usefixtures("hurried")]

CALLS = (PendingCall("call-1", "weather"), PendingCall("call-2", "clock"))
SENDING = Sending(
    [Message("user", "And this?", "gw1", images=(image_of("image/png", "abc"),))],
    results=(ToolResult("call-1", "12 degrees"),),
    denied=("call-2",),
    tools=(ClientTool("weather", "It tells.", {"type": "object"}),),
)
EVENTS: list[Event] = [answer("Hel"), answer("lo"), stop(), usage()]


class Turns:
    """The turns of one process: what it was asked to go on with, and what it does then."""

    def __init__(self, link: RedisLink) -> None:
        self.link = link
        self.relay = Relay(link)
        self.relay.serve(self.run, self.cancel)
        self.asked: list[tuple[str, str, Sending, list[str]]] = []
        self.begun, self.goes_on, self.dropped = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.cancelled: list[str] = []
        self.failure: errors.UpstreamError | None = None

    async def run(self, agent: str, conversation: str, sending: Sending, tools: Iterable[str], take: Take) -> None:
        self.asked.append((agent, conversation, sending, [*tools]))
        take(EVENTS[:1])
        self.begun.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.dropped.set()
            raise
        take(EVENTS[1:])
        if self.failure:
            raise self.failure

    async def cancel(self, agent: str, conversation: str) -> None:
        self.cancelled.append(conversation)
        self.failure = errors.Stopped("cancelled")
        self.goes_on.set()


@pytest.fixture
async def processes(server: RedisServer) -> AsyncIterator[list[Turns]]:
    """Two processes that hear each other; a turn of conv-1 waits in the first."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            link = await stack.enter_async_context(linked(server))
            made.append(Turns(link))
            stack.push_async_callback(made[-1].relay.aclose)
        for turns in made:
            for other in made:
                for _ in range(2000):
                    if await turns.link.tell(other.link.process, "hello", None):
                        break
                    await asyncio.sleep(0.01)
        made[0].relay.tell("conv-1", CALLS)
        yield made


def asked(turns: Turns, heard: list[Event], conversation: str = "conv-1") -> asyncio.Task[bool]:
    return asyncio.create_task(turns.relay.run("agent-1", conversation, SENDING, ("web_search",), heard.extend))


async def seen(event: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await event.wait()


async def test_a_turn_goes_on_where_it_waits_and_is_heard_where_its_answers_are(processes: list[Turns]) -> None:
    one, other = processes
    assert await other.relay.pending("conv-1") == CALLS
    assert await one.relay.pending("conv-1") == ()
    heard: list[Event] = []
    going_on = asked(other, heard)
    await seen(one.begun)
    assert one.relay.serving == 1
    await until(lambda: heard)
    one.goes_on.set()

    assert await going_on
    assert heard == EVENTS
    assert one.asked == [("agent-1", "conv-1", SENDING, ["web_search"])]
    assert one.relay.serving == other.relay.serving == 0


async def test_a_turn_that_waits_nowhere_else_is_not_gone_on_with(processes: list[Turns]) -> None:
    one, other = processes
    assert not await asked(other, [], "conv-2")
    assert not await asked(one, [])
    one.relay.tell("conv-1", ())
    assert not await asked(other, [])
    assert await other.relay.pending("conv-1") == ()


async def test_a_failure_is_heard_as_it_was(processes: list[Turns]) -> None:
    one, other = processes
    heard: list[Event] = []
    one.failure = errors.RateLimited("llm_rate_limit", said="Slow down")
    one.goes_on.set()
    with pytest.raises(errors.RateLimited, match="llm_rate_limit") as raised:
        await asked(other, heard)

    assert raised.value.said == "Slow down"
    assert text_in(heard) == "Hello"


async def test_a_cancel_reaches_the_process_that_has_the_turn(processes: list[Turns]) -> None:
    one, other = processes
    going_on = asked(other, [])
    await seen(one.begun)
    assert await other.relay.cancel("agent-1", "conv-1")
    with pytest.raises(errors.Stopped):
        await going_on

    assert one.cancelled == ["conv-1"]
    assert not await other.relay.cancel("agent-1", "conv-1")


async def test_a_turn_whose_hearer_leaves_is_dropped(processes: list[Turns]) -> None:
    one, other = processes
    going_on = asked(other, [])
    await seen(one.begun)
    going_on.cancel()

    await seen(one.dropped)
    await asyncio.wait([going_on])
    assert going_on.cancelled()


async def test_a_turn_whose_hearer_takes_nothing_more_is_dropped(processes: list[Turns]) -> None:
    one, other = processes

    def take(events: list[Event]) -> None:
        raise errors.Busy("refused")

    with pytest.raises(errors.Busy, match="refused"):
        await other.relay.run("agent-1", "conv-1", SENDING, (), take)
    await seen(one.dropped)


async def test_a_turn_whose_hearer_dies_is_dropped(processes: list[Turns]) -> None:
    one, other = processes
    going_on = asked(other, [])
    await seen(one.begun)
    await kill(other.link)

    await seen(one.dropped)
    going_on.cancel()


async def test_whoever_hears_a_turn_is_told_that_its_process_is_gone(processes: list[Turns]) -> None:
    one, other = processes
    going_on = asked(other, [])
    await seen(one.begun)
    await kill(one.link)

    with pytest.raises(errors.BrokenStream):
        await going_on
    assert await other.relay.pending("conv-1") == ()


async def test_whoever_hears_a_turn_is_told_that_its_process_ends(processes: list[Turns]) -> None:
    one, other = processes
    going_on = asked(other, [])
    await seen(one.begun)
    await one.relay.aclose()

    with pytest.raises(errors.Stopped):
        await going_on


async def test_a_letter_that_was_lost_breaks_the_turn(processes: list[Turns], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = processes
    going_on = asked(other, [])
    await seen(one.begun)
    sends, drop = one.link.drop_letter, [True]

    def lose_one(process: str, kind: str, content: object) -> None:
        if drop:
            drop.pop()
        else:
            sends(process, kind, content)

    monkeypatch.setattr(one.link, "drop_letter", lose_one)
    one.goes_on.set()
    with pytest.raises(errors.BrokenStream):
        await going_on


async def test_what_waits_is_told_again_once_redis_has_forgotten_it(
    server: RedisServer, processes: list[Turns]
) -> None:
    one, other = processes
    with server.client() as client:
        client.flushall()
    await until(lambda: "{test}:waits:conv-1" in server.names())

    assert await other.relay.pending("conv-1") == CALLS
    with server.client() as client:
        assert client.pttl("{test}:waits:conv-1") > 0


async def test_while_redis_is_away_nothing_waits_elsewhere(server: RedisServer, processes: list[Turns]) -> None:
    _, other = processes
    server.hang()
    try:
        await until(lambda: other.link.is_away)
        assert await other.relay.pending("conv-1") == ()
        with pytest.raises(errors.BrokenStream):
            await asked(other, [])
        assert not await other.relay.cancel("agent-1", "conv-1")
    finally:
        server.go_on()
