"""The two ways to make the calls of a turn: one contract for our own client of HTTP and for letta-client."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.events import Event, Stop, StopReason, Text
from gateway.letta.error_words import from_status
from gateway.letta.rest import turn_calls
from gateway.letta.rest.decoder import RunReading
from gateway.letta.rest.letta_clients import LettaClients
from gateway.letta.rest.turn_calls import DirectCalls, TurnCalls
from gateway.settings import Letta, Secret
from gateway.trace_context import TRACEPARENT
from tests.letta.rest.peer import Asked, Handle, Peer, in_turn, serving

pytestmark = pytest.mark.anyio

SETTINGS = Letta(upstream="rest", api_key=Secret("sk-letta"))
BODY = {"messages": [{"role": "user", "content": "Grüß dich 🙂", "otid": "gw1-a"}], "include_pings": True}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORD = {"message_type": "assistant_message", "step_id": "s1", "content": "Hello"}
STOP = {"message_type": "stop_reason", "stop_reason": "end_turn"}


class Closing(TurnCalls, Protocol):
    async def aclose(self) -> None: ...


WAYS: dict[str, Callable[[Letta], Closing]] = {"direct": DirectCalls, "letta-client": LettaClients}


def chunk(event: dict[str, Any]) -> bytes:
    line = b"data: " + json.dumps(event).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(line), line)


STREAM = HEAD + chunk(WORD) + chunk(STOP) + b"0\r\n\r\n"
TOLD = [Text("Hello", "s1"), Stop(StopReason.END)]


def found(*, json: bytes = b'[{"id":"conv-1"}]') -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(json), json)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked once more is asked soon."""
    monkeypatch.setattr(turn_calls, "AGAIN_SECONDS", 0.001)
    monkeypatch.setattr("letta_client._base_client.INITIAL_RETRY_DELAY", 0.001)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Callable[[Letta], Closing]:
    return WAYS[request.param]


@asynccontextmanager
async def calling(way: Callable[[Letta], Closing], url: str, **settings: Any) -> AsyncIterator[Closing]:
    calls = way(msgspec.structs.replace(SETTINGS, base_url=url, **settings))
    try:
        yield calls
    finally:
        await calls.aclose()


async def stream(calls: TurnCalls, conversation: str = "conv-1") -> list[Event]:
    """The events that are told before the end."""
    told: list[Event] = []
    await calls.stream(conversation, BODY, RunReading(told.extend))
    return told


# What goes over the wire

# name -> a call, and: method, path, query, body, what is accepted
SENT: dict[str, tuple[Callable[[TurnCalls], Awaitable[Any]], tuple[str, str, dict[str, str], Any, str]]] = {
    "a search of an agent's": (
        lambda calls: calls.find("agent-1", "gw1:01 & 2%ü", "conv-49", 50),
        (
            "GET",
            "/v1/conversations/",
            {
                "agent_id": "agent-1",
                "summary_search": "gw1:01 & 2%ü",
                "order": "asc",
                "limit": "50",
                "after": "conv-49",
            },
            None,
            "application/json",
        ),
    ),
    "a search of everybody's": (
        lambda calls: calls.find(None, "gw1:", "", 1),
        (
            "GET",
            "/v1/conversations/",
            {"summary_search": "gw1:", "order": "asc", "limit": "1"},
            None,
            "application/json",
        ),
    ),
    "a conversation that is made": (
        lambda calls: calls.create("agent-1", "A chat ü gw1:01"),
        ("POST", "/v1/conversations/", {"agent_id": "agent-1"}, {"summary": "A chat ü gw1:01"}, "application/json"),
    ),
    "a conversation that is renamed": (
        lambda calls: calls.rename("conv-1", "A chat ü gw1:01"),
        ("PATCH", "/v1/conversations/conv-1", {}, {"summary": "A chat ü gw1:01"}, "application/json"),
    ),
    "a run": (
        stream,
        ("POST", "/v1/conversations/conv-1/messages", {}, {"streaming": True, **BODY}, "text/event-stream"),
    ),
    "a run in a conversation with a strange id": (
        lambda calls: stream(calls, "a/b?c=d#é ~"),
        ("POST", "/v1/conversations/a/b?c=d#é ~/messages", {}, {"streaming": True, **BODY}, "text/event-stream"),
    ),
}


@pytest.mark.parametrize(("call", "expected"), SENT.values(), ids=SENT)
@pytest.mark.parametrize("path", ["", "/", "/base"])
async def test_both_ways_ask_for_the_same(
    way: Callable[[Letta], Closing], call: Callable[[TurnCalls], Awaitable[Any]], expected: Any, path: str
) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.send(STREAM if "/messages" in asked[0].line else found())

    async with serving(handle) as served, calling(way, served.url + path) as calls:
        await call(calls)

    (request,) = asked
    method, target, version = request.line.split(" ")
    parts = urlsplit(target)
    assert "/" not in unquote(parts.path.removesuffix("/messages").replace("%2F", "")).rpartition("conversations/")[2]
    assert (method, unquote(parts.path).removeprefix(path.rstrip("/")), dict(parse_qsl(parts.query))) == expected[:3]
    assert (json.loads(request.body or b"null"), request.headers["accept"]) == expected[3:]
    assert request.headers["authorization"] == "Bearer sk-letta"
    assert request.headers["host"] == f"127.0.0.1:{served.port}"
    assert version == "HTTP/1.1"


async def test_a_key_is_shown_where_there_is_none_for_letta_client_demands_one(way: Callable[[Letta], Closing]) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.send(found())

    async with serving(handle) as served, calling(way, served.url, api_key=None) as calls:
        await calls.create("agent-1", "s")

    assert asked[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("trace", ["", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], ids=["none", "one"])
async def test_the_trace_that_a_turn_is_part_of_goes_with_each_of_its_calls(
    way: Callable[[Letta], Closing], trace: str
) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        for _ in range(4):
            asked.append(await peer.request())
            await peer.send(STREAM if asked[-1].line.split(" ")[1].endswith("/messages") else found())

    of_none = TRACEPARENT.set(trace)
    async with serving(handle) as served, calling(way, served.url) as calls:
        await calls.find("agent-1", "s", "", 1)
        await calls.create("agent-1", "s")
        await calls.rename("conv-1", "s")
        await stream(calls)
    TRACEPARENT.reset(of_none)

    assert [request.headers.get("traceparent", "") for request in asked] == [trace] * 4


async def test_a_body_is_given_as_it_came(way: Callable[[Letta], Closing]) -> None:
    async def handle(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(found())

    async with serving(handle) as served, calling(way, served.url) as calls:
        assert await calls.find("agent-1", "s", "", 1) == b'[{"id":"conv-1"}]'
        assert await calls.create("agent-1", "s") == b'[{"id":"conv-1"}]'

    assert served.connections == 1


async def test_events_are_told_as_they_come_and_their_end_is_the_call_s(way: Callable[[Letta], Closing]) -> None:
    told: asyncio.Queue[Event] = asyncio.Queue()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD, chunk(WORD))
        assert await told.get() == TOLD[0]
        await peer.send(chunk(STOP))
        assert await told.get() == TOLD[1]
        await peer.send(b"0\r\n\r\n")

    def take(events: list[Event]) -> None:
        for event in events:
            told.put_nowait(event)

    async with serving(handle) as served, calling(way, served.url) as calls:
        await calls.stream("conv-1", BODY, RunReading(take))


async def test_who_takes_no_more_ends_the_run_s_stream(way: Callable[[Letta], Closing]) -> None:
    left = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD, chunk(WORD))
        await peer.left()
        left.set()

    def take(events: list[Event]) -> None:
        raise LookupError("enough")

    async with serving(handle) as served, calling(way, served.url) as calls:
        with pytest.raises(LookupError, match="enough"):
            await calls.stream("conv-1", BODY, RunReading(take))
        await left.wait()


async def test_a_run_that_is_cancelled_ends_its_stream(way: Callable[[Letta], Closing]) -> None:
    left, begun = asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD, chunk(WORD))
        await peer.left()
        left.set()

    async with serving(handle) as served, calling(way, served.url) as calls:
        reading = RunReading(lambda _: begun.set())
        running = asyncio.create_task(calls.stream("conv-1", BODY, reading))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await left.wait()


# How servers fail


class Failed(msgspec.Struct, frozen=True):
    """How a call fails: the error's type, True if Letta may have taken the message, and how often it was asked."""

    error: type[errors.UpstreamError]
    taken: bool
    requests: int


async def outcome(calls: TurnCalls, call: str, asked: list[Asked]) -> Failed:
    making: dict[str, Callable[[], Awaitable[Any]]] = {
        "find": lambda: calls.find("agent-1", "s", "", 1),
        "create": lambda: calls.create("agent-1", "s"),
        "rename": lambda: calls.rename("conv-1", "s"),
        "stream": lambda: stream(calls),
    }
    with pytest.raises(errors.UpstreamError) as raised:
        await making[call]()
    return Failed(type(raised.value), raised.value.taken, len(asked))


CALLS = ("find", "create", "rename", "stream")
# A call that changes nothing the second time.
TWICE = ("find", "rename")
STATUSES = (400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 422, 425, 429, 500, 501, 502, 503, 504, 529)
ASKED_AGAIN = {408, 409, 429}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", STATUSES)
async def test_a_refusal_means_the_same_on_both_ways(way: Callable[[Letta], Closing], call: str, status: int) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        while True:
            asked.append(await peer.request())
            await peer.send(b'HTTP/1.1 %d Told\r\ncontent-length: 10\r\n\r\n{"a": "b"}' % status)

    async with serving(handle) as served, calling(way, served.url) as calls:
        failed = await outcome(calls, call, asked)

    error = from_status(status, sending=call == "stream")
    again = call in TWICE and (status >= 500 or status in ASKED_AGAIN)
    assert failed == Failed(type(error), error.taken, 2 if again else 1)


def _sends(*pieces: bytes, then: Callable[[Peer], None] | None = None) -> Handle:
    async def handle(peer: Peer) -> None:
        await peer.send(*pieces)
        if then:
            then(peer)

    return handle


BROKEN, UNREACHABLE, LATE = errors.BrokenStream, errors.Unreachable, errors.TimedOut
BEGUN = found()[:-3]
# name -> what a server does after a request, and the error of a run, and of other calls
FAULTS: dict[str, tuple[Handle, type[errors.UpstreamError], type[errors.UpstreamError]]] = {
    "it ends the connection": (_sends(then=Peer.close), BROKEN, UNREACHABLE),
    "it resets the connection": (_sends(then=Peer.reset), BROKEN, UNREACHABLE),
    "it ends within the head": (_sends(b"HTTP/1.1 200 O", then=Peer.close), BROKEN, UNREACHABLE),
    "it ends within the body": (_sends(HEAD + chunk(WORD), then=Peer.close), BROKEN, UNREACHABLE),
    "it resets within the body": (_sends(HEAD + chunk(WORD), then=Peer.reset), BROKEN, UNREACHABLE),
    "it ends within a body with a length": (_sends(BEGUN, then=Peer.close), BROKEN, UNREACHABLE),
    "it speaks no HTTP": (_sends(b"SSH-2.0-OpenSSH_9.6\r\n", then=Peer.close), BROKEN, UNREACHABLE),
    "its chunks are none": (_sends(HEAD + b"zz\r\n", then=Peer.close), BROKEN, UNREACHABLE),
    "it says nothing": (_sends(), LATE, LATE),
    "it says nothing after the head": (_sends(HEAD), LATE, LATE),
    "it says nothing after a word": (_sends(HEAD + chunk(WORD)), LATE, LATE),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_means_the_same_on_both_ways(way: Callable[[Letta], Closing], call: str, fault: str) -> None:
    act, in_a_run, elsewhere = FAULTS[fault]
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        asked.append(await peer.request())
        await act(peer)

    quick = {"request_seconds": 0.2, "ping_seconds": 0.2 / turn_calls.DEAD_AFTER_PINGS} if "nothing" in fault else {}
    async with serving(handle) as served, calling(way, served.url, **quick) as calls:
        failed = await outcome(calls, call, asked)

    assert (failed.error, failed.taken) == (in_a_run, True) if call == "stream" else (elsewhere, False)
    # Below letta-client aiohttp asks again, too, where there was no answer at all.
    assert failed.requests in ((2, 4) if call in TWICE else (1,))


@pytest.mark.parametrize("call", CALLS)
async def test_a_letta_that_is_not_there_has_taken_nothing(way: Callable[[Letta], Closing], call: str) -> None:
    async with serving(Peer.left) as served:
        pass
    async with calling(way, served.url) as calls:
        assert await outcome(calls, call, []) == Failed(UNREACHABLE, False, 0)


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_that_gets_no_connection_has_taken_nothing(way: Callable[[Letta], Closing], call: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        begun.set()
        await peer.send(HEAD)
        while not go_on.is_set():
            await peer.send(b"4\r\n: a\n\r\n")
            await asyncio.sleep(0.02)
        await peer.send(b"0\r\n\r\n")

    # The run that has the connection keeps it, however slow the machine is.
    limits = {"max_connections": 1, "request_seconds": 0.2, "ping_seconds": 2.0 / turn_calls.DEAD_AFTER_PINGS}
    async with serving(handle) as served, calling(way, served.url, **limits) as calls:
        running = asyncio.create_task(stream(calls))
        await begun.wait()
        assert await outcome(calls, call, []) == Failed(UNREACHABLE, False, 0)
        go_on.set()
        assert await running == []


async def test_a_search_that_failed_is_good_when_it_is_made_once_more(way: Callable[[Letta], Closing]) -> None:
    async def fail(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(found())

    async with serving(in_turn(fail, answer)) as served, calling(way, served.url) as calls:
        assert await calls.find("agent-1", "s", "", 1) == b'[{"id":"conv-1"}]'


# name -> events of a run as bytes, and the end of its stream, which a run must have
ENDS: dict[str, tuple[bytes, type[errors.UpstreamError] | None]] = {
    "whole": (STREAM, None),
    "until the connection's end": (b"HTTP/1.1 200 OK\r\n\r\ndata: " + json.dumps(STOP).encode() + b"\n\n", None),
    "within a line": (b'HTTP/1.1 200 OK\r\n\r\ndata: {"mess', BROKEN),
    "a line that is no event": (HEAD + b"c\r\ndata: {oops\n\r\n0\r\n\r\n", BROKEN),
}


@pytest.mark.parametrize(("sent", "error"), ENDS.values(), ids=ENDS)
async def test_a_run_s_stream_ends_alike(
    way: Callable[[Letta], Closing], sent: bytes, error: type[errors.UpstreamError] | None
) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        peer.close()

    async with serving(handle) as served, calling(way, served.url) as calls:
        if error:
            with pytest.raises(error):
                await stream(calls)
        else:
            assert (await stream(calls))[-1] == TOLD[-1]
