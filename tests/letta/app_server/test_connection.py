"""The connection to an App Server: answers to requests, what breaks, and how it comes back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.protocol import Event

from gateway.domain import errors
from gateway.letta.app_server import connection
from gateway.letta.app_server.connection import AppServerConnection, OpenSocket
from gateway.letta.app_server.frames import Arrival, File, Frame, HalvedFrame, Head, ServerAnswer
from gateway.letta.stream_messages import content_text
from tests.servers.fake_app_server import FakeAppServer, word

pytestmark = pytest.mark.anyio

TOKEN = "sk-let"


class Numbered(ServerAnswer, frozen=True):
    number: int = 0


class Linked:
    """A link, with what it handed on and a greeting that may fail."""

    def __init__(self, url: str, token: str | None = None, request_seconds: float = 10) -> None:
        self.taken: list[tuple[Head, bytes]] = []
        self.failures: list[Exception] = []
        self.greetings = 0
        self.addresses = 0
        self.url, self.token = url, token
        self.link = AppServerConnection(self._address, request_seconds, 20, self._take, self._greet)

    async def _address(self) -> tuple[str, str | None]:
        self.addresses += 1
        return self.url, self.token

    def _take(self, head: Head, data: bytes) -> None:
        self.taken.append((head, data))

    async def _greet(self) -> None:
        self.greetings += 1
        await self.link.request("greeting", ServerAnswer)
        if self.failures:
            raise self.failures.pop(0)


@asynccontextmanager
async def linked(server: FakeAppServer, token: str | None = None, request_seconds: float = 10) -> AsyncIterator[Linked]:
    one = Linked(server.url, token, request_seconds)
    try:
        yield one
    finally:
        await one.link.aclose()


@pytest.fixture
async def server() -> AsyncIterator[FakeAppServer]:
    async with FakeAppServer() as fake:
        yield fake


class Inbox(asyncio.Queue[Arrival]):
    """The arrivals for a conversation."""

    socket: OpenSocket | None = None

    def hear(self, arrival: Arrival) -> None:
        self.put_nowait(arrival)


@contextmanager
def inbox(one: Linked, conversation_id: str) -> Iterator[Inbox]:
    arrived = Inbox()
    with one.link.listening(conversation_id, arrived):
        yield arrived


async def received(inbox: Inbox) -> Frame | errors.UpstreamError:
    async with asyncio.timeout(10):
        return await inbox.get()


def delta_of(conversation_id: str, text: str) -> dict[str, object]:
    return {**word(text), "runtime": {"agent_id": "agent-1", "conversation_id": conversation_id}}


# Requests


async def test_a_request_is_sent_with_its_fields_and_has_its_answer(server: FakeAppServer) -> None:
    server.answers["ask"] = {"success": True, "number": 7, "new_field": [1]}
    async with linked(server) as one:
        assert (await one.link.request("ask", Numbered, query={"tags": ["a"]})).number == 7

    assert server.sent("ask")[0]["query"] == {"tags": ["a"]}


async def test_answers_may_come_in_any_order(server: FakeAppServer) -> None:
    server.answers["ask"] = None
    async with linked(server) as one:
        asking = [asyncio.create_task(one.link.request("ask", Numbered, number=number)) for number in range(3)]
        await server.arrived("ask", 3)
        for request in reversed(server.sent("ask")):
            await server.reply(request, number=request["number"])

        assert [answer.number for answer in await asyncio.gather(*asking)] == [0, 1, 2]


async def test_no_answer_is_an_error_in_time_and_a_late_one_is_nobody_s(server: FakeAppServer) -> None:
    server.answers["ask"] = None
    async with linked(server, request_seconds=0.05) as one:
        with pytest.raises(errors.TimedOut, match="no answer to ask") as raised:
            await one.link.request("ask", ServerAnswer)
        assert not raised.value.taken
        await server.reply(await server.arrived("ask"), success=True)
        await one.link.request("again", ServerAnswer)

    assert [head.type for head, _ in one.taken] == ["ask_response"]


@pytest.fixture
def deaf_to_pongs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a server that is too busy to answer a ping."""
    hear = connection._WebSocket.process_event

    def hear_no_pong(socket: connection._WebSocket, event: Event) -> None:
        if not (isinstance(event, WebSocketFrame) and event.opcode is Opcode.PONG):
            hear(socket, event)

    monkeypatch.setattr(connection._WebSocket, "process_event", hear_no_pong)
    monkeypatch.setattr(connection, "DOUBT_SECONDS", 0.1)


@pytest.mark.usefixtures("deaf_to_pongs")
async def test_a_connection_that_brings_nothing_once_it_is_doubted_is_broken(server: FakeAppServer) -> None:
    server.answers["ask"] = None
    async with linked(server, request_seconds=0.05) as one:
        with pytest.raises(errors.TimedOut):
            await one.link.request("ask", ServerAnswer)
        await server.connected(2)


@pytest.mark.usefixtures("deaf_to_pongs")
async def test_a_connection_that_brings_anything_is_only_slow(server: FakeAppServer) -> None:
    server.answers["ask"] = None
    async with linked(server, request_seconds=0.05) as one:
        with inbox(one, "conv-1") as arrived:
            with pytest.raises(errors.TimedOut):
                await one.link.request("ask", ServerAnswer)
            (doubting,) = [task for task in asyncio.all_tasks() if "_doubt" in repr(task.get_coro())]
            while not doubting.done():
                await server.send(delta_of("conv-1", "slow"))
                assert isinstance(await received(arrived), Frame)

    assert one.greetings == 1


async def test_who_no_longer_waits_disturbs_nobody(server: FakeAppServer) -> None:
    server.answers["ask"] = None
    async with linked(server) as one:
        asking = asyncio.create_task(one.link.request("ask", ServerAnswer))
        request = await server.arrived("ask")
        asking.cancel()
        await server.reply(request)

        assert await one.link.request("again", ServerAnswer)


# answer -> error
REFUSALS: dict[str, tuple[dict[str, object], type[errors.UpstreamError]]] = {
    "it failed": ({"success": False, "error": "secret"}, errors.Refused),
    "it failed without a word": ({"success": False}, errors.Refused),
    "it was not accepted": ({"accepted": False, "error": "secret"}, errors.Refused),
    "there is none": ({"success": False, "error": "Agent secret not found"}, errors.NotFound),
    "an answer of another shape": ({"success": True, "number": "secret"}, errors.Refused),
    "an answer of no shape": ({"success": "secret"}, errors.Refused),
}


@pytest.mark.parametrize(("answer", "kind"), REFUSALS.values(), ids=REFUSALS)
async def test_a_bad_answer_is_an_error_that_tells_nothing_of_it(
    server: FakeAppServer, answer: dict[str, object], kind: type[errors.UpstreamError]
) -> None:
    server.answers["ask"] = answer
    async with linked(server) as one:
        with pytest.raises(errors.UpstreamError) as raised:
            await one.link.request("ask", Numbered)

    assert type(raised.value) is kind
    assert not raised.value.taken
    assert "secret" not in str(raised.value)


async def test_what_is_told_needs_no_answer(server: FakeAppServer) -> None:
    async with linked(server) as one:
        await one.link.tell({"type": "news", "text": "Grüße"})

        assert await server.arrived("news") == {"type": "news", "text": "Grüße"}


# Frames


async def test_frames_of_a_conversation_go_where_they_are_awaited(server: FakeAppServer) -> None:
    async with linked(server) as one:
        await one.link.open_socket()
        with inbox(one, "conv-1") as first, inbox(one, "conv-2") as second:
            for conversation, text in (("conv-1", "a"), ("conv-3", "x"), ("conv-2", "b"), ("conv-1", "c")):
                await server.send(delta_of(conversation, text))
            told = [await received(one_of) for one_of in (first, second, first)]

    assert [content_text(frame.delta.content) for frame in told if isinstance(frame, Frame) and frame.delta] == [
        "a",
        "b",
        "c",
    ]
    assert one.taken == []


async def test_a_new_inbox_of_a_conversation_goes_before_an_old_one(server: FakeAppServer) -> None:
    async with linked(server) as one:
        await one.link.open_socket()
        with inbox(one, "conv-1") as old, inbox(one, "conv-1") as new:
            await server.send(delta_of("conv-1", "a"))
            await received(new)
        assert old.empty()


async def test_what_no_turn_awaits_is_handed_on_as_it_came(server: FakeAppServer) -> None:
    async with linked(server) as one:
        await one.link.open_socket()
        await server.send({"type": "control_request", "request_id": "perm-1", "x": 1})
        await one.link.request("again", ServerAnswer)

    assert [(head.type, head.request_id, b'"x": 1' in data) for head, data in one.taken] == [
        ("control_request", "perm-1", True)
    ]


HALF = r'"a half \ud83d"'


async def test_half_a_surrogate_pair_costs_nothing_but_itself(server: FakeAppServer) -> None:
    """Of an answer, of a delta, of what is asked."""
    server.answers["ask"] = lambda request: {"error": None, "content": "a half \ud83d"}
    async with linked(server) as one:
        answer = await one.link.request("ask", File)
        with inbox(one, "conv-1") as arrived:
            await server.send(delta_of("conv-1", "a half \ud83d"))
            frame = await received(arrived)
        await server.send(f'{{"type": "control_request", "request_id": "perm-1", "x": {HALF}}}')
        await one.link.request("again", ServerAnswer)

    assert answer.content == "a half \ufffd"
    # Its other half may follow.
    assert isinstance(frame, HalvedFrame)
    assert frame.delta
    assert content_text(frame.delta.content) == "a half \ud83d"
    assert [(head.request_id, rb'"a half \ufffd"' in data) for head, data in one.taken] == [("perm-1", True)]


async def test_bytes_that_are_no_utf_8_cost_nothing_but_themselves(server: FakeAppServer) -> None:
    frame = b'{"type": "stream_delta", "runtime": {"conversation_id": "conv-1"}, "delta": {"content": "a\xff"}}'
    async with linked(server) as one:
        await one.link.open_socket()
        with inbox(one, "conv-1") as arrived:
            await server.send(frame)
            told = await received(arrived)

    assert isinstance(told, Frame)
    assert told.delta
    assert content_text(told.delta.content) == "a\ufffd"


UNREADABLE: dict[str, bytes | str] = {
    "no JSON": "garbage",
    "half of it": '{"type": "stream_delta"',
    "a list": "[]",
    "nothing": "",
    "no text": b"\xff\x00",
    "no type that is a text": '{"type": 7}',
    "an id that is no text": '{"type": "ask_response", "request_id": 7}',
    "a delta of another shape": '{"type": "stream_delta", "delta": []}',
    "very deep": "[" * 100_000,
}


@pytest.mark.parametrize("frame", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_frame_that_cannot_be_read_is_skipped(
    server: FakeAppServer, frame: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(server) as one:
        await one.link.open_socket()
        with caplog.at_level(logging.WARNING):
            await server.send(frame)
            await one.link.request("again", ServerAnswer)

    assert [record.getMessage() for record in caplog.records] == ["a frame of the App Server's could not be read"]
    assert len(server.connections) == 1


# The connection


async def test_the_token_is_shown(server: FakeAppServer) -> None:
    server.token = TOKEN
    async with linked(server, TOKEN) as one:
        assert await one.link.request("ask", ServerAnswer)


@pytest.mark.parametrize("token", [None, "sk-wrong"])
async def test_a_wrong_token_is_refused_and_not_repeated(server: FakeAppServer, token: str | None) -> None:
    server.token = TOKEN
    async with linked(server, token) as one:
        with pytest.raises(errors.KeyRefused, match="HTTP 401") as raised:
            await one.link.request("ask", ServerAnswer)

    assert "secret" not in str(raised.value)
    assert "sk-" not in str(raised.value)


async def test_with_nobody_there_it_is_unreachable() -> None:
    async with FakeAppServer() as gone:
        pass
    async with linked(gone) as one:
        for _ in range(2):
            with pytest.raises(errors.Unreachable):
                await one.link.request("ask", ServerAnswer)

    assert one.greetings == 0


async def test_who_does_not_speak_this_protocol_is_unreachable() -> None:
    async def say_nothing_of_use(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(say_nothing_of_use, "127.0.0.1", 0) as http:
        one = Linked(f"ws://127.0.0.1:{http.sockets[0].getsockname()[1]}/ws")
        with pytest.raises(errors.Unreachable):
            await one.link.request("ask", ServerAnswer)
        await one.link.aclose()


async def test_all_who_ask_at_once_share_one_attempt(server: FakeAppServer) -> None:
    async with linked(server) as one:
        found = await asyncio.gather(*(one.link.open_socket() for _ in range(20)))

    assert len({id(connection) for connection in found}) == 1
    assert (one.addresses, len(server.connections), one.greetings) == (1, 1, 1)


async def test_all_who_ask_at_once_share_one_failure() -> None:
    async with FakeAppServer() as gone:
        pass
    async with linked(gone) as one:
        failed = await asyncio.gather(*(one.link.open_socket() for _ in range(20)), return_exceptions=True)

    assert {type(error) for error in failed} == {errors.Unreachable}
    assert one.addresses == 1


async def test_who_leaves_does_not_stop_the_attempt_for_others(server: FakeAppServer) -> None:
    async with linked(server) as one:
        leaving, staying = (asyncio.create_task(one.link.open_socket()) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()

        assert await staying
    assert leaving.cancelled()


Break = Callable[[FakeAppServer], Awaitable[None] | None]
BREAKS: dict[str, Break] = {
    "it is cut": lambda server: server.cut(),
    "it is closed": lambda server: server.connections[-1].close(),
    "it is closed with an error": lambda server: server.connections[-1].close(1011, "secret"),
}


async def break_off(server: FakeAppServer, how: Break) -> None:
    if (breaking := how(server)) is not None:
        await breaking


@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)
async def test_a_request_that_waits_hears_of_a_broken_connection(server: FakeAppServer, how: Break) -> None:
    server.answers["ask"] = None
    async with linked(server) as one:
        asking = [asyncio.create_task(one.link.request("ask", ServerAnswer)) for _ in range(2)]
        await server.arrived("ask", 2)
        await break_off(server, how)

        for request in asking:
            with pytest.raises(errors.BrokenStream) as raised:
                await request
            assert "secret" not in str(raised.value)
            assert not raised.value.taken


@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)
async def test_a_turn_hears_of_a_broken_connection_after_what_came_before(server: FakeAppServer, how: Break) -> None:
    async with linked(server) as one:
        with inbox(one, "conv-1") as running, inbox(one, "conv-2") as beginning:
            running.socket = await one.link.open_socket()
            await server.send(delta_of("conv-1", "a"))
            await break_off(server, how)
            first, second = await received(running), await received(running)
            await server.connected(2)

            assert isinstance(first, Frame)
            assert isinstance(second, errors.BrokenStream)
            assert second.taken
            assert beginning.empty()


@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)
async def test_it_connects_again_by_itself_and_greets_again(server: FakeAppServer, how: Break) -> None:
    async with linked(server) as one:
        first = await one.link.open_socket()
        first.runtimes["conv-1"] = 0
        await break_off(server, how)
        await server.arrived("greeting", 2)
        second = await one.link.open_socket()

        assert second is not first
        assert second.runtimes == {}
        assert await one.link.request("again", ServerAnswer)
    assert one.greetings == len(server.connections) == 2


@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)
async def test_what_is_asked_as_the_end_of_a_connection_is_read_goes_over_the_next(
    server: FakeAppServer, monkeypatch: pytest.MonkeyPatch, how: Break
) -> None:
    asking: list[asyncio.Task[ServerAnswer]] = []
    async with linked(server) as one:
        await one.link.open_socket()
        with monkeypatch.context() as patching:
            for seen in ("eof_received", "connection_lost"):
                patching.setattr(connection._WebSocket, seen, asked_at(seen, one, asking))
            await break_off(server, how)
            await server.arrived("ask")

        assert all(answer.success for answer in await asyncio.gather(*asking))


def asked_at(seen: str, one: Linked, asking: list[asyncio.Task[ServerAnswer]]) -> Callable[..., Any]:
    """The method of a WebSocket with this name, that begins a request at the same moment."""
    method = getattr(connection._WebSocket, seen)

    def called(self: Any, *arguments: object) -> Any:
        asking.append(asyncio.create_task(one.link.request("ask", ServerAnswer)))
        return method(self, *arguments)

    return called


async def test_a_greeting_hears_that_its_connection_broke_before_it_ends(
    server: FakeAppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with linked(server) as one:

        async def greet() -> None:
            if len(server.connections) == 1:
                server.cut()
                with pytest.raises(errors.BrokenStream):
                    await one.link.request("greeting", ServerAnswer)
                await one.link.request("greeting", ServerAnswer)

        monkeypatch.setattr(one.link, "_greet", greet)
        with pytest.raises(errors.Unreachable):
            await one.link.open_socket()
        await server.connected(2)


async def test_it_tries_again_until_somebody_is_there(
    server: FakeAppServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "FIRST_DELAY", 0.001)
    async with linked(server) as one:
        await one.link.open_socket()
        one.failures = [errors.Refused("not yet"), errors.TimedOut("not yet")]
        with caplog.at_level(logging.WARNING):
            server.cut()
            await server.arrived("greeting", 4)
        await one.link.request("again", ServerAnswer)

    assert one.greetings == 4
    assert "the App Server cannot be reached: not yet" in [record.getMessage() for record in caplog.records]


async def test_every_connection_is_greeted_before_anybody_has_it(server: FakeAppServer) -> None:
    async with linked(server) as one:
        await one.link.request("ask", ServerAnswer)

    assert [frame["type"] for frame in server.received] == ["greeting", "ask"]


async def test_nobody_has_a_connection_while_it_is_greeted(server: FakeAppServer) -> None:
    server.answers["greeting"] = None
    async with linked(server) as one:
        first = asyncio.create_task(one.link.request("ask", ServerAnswer))
        greeting = await server.arrived("greeting")
        second = asyncio.create_task(one.link.open_socket())
        await asyncio.sleep(0)
        assert not second.done()

        await server.reply(greeting, success=True)
        await asyncio.gather(first, second)
    assert len(server.connections) == 1


async def test_who_leaves_while_it_closes_has_left(server: FakeAppServer) -> None:
    server.answers["greeting"] = None
    async with linked(server) as one:
        asking = asyncio.create_task(one.link.request("ask", ServerAnswer))
        await server.arrived("greeting")
        asking.cancel()

    await asyncio.wait([asking], timeout=10)
    assert asking.cancelled()


async def test_a_greeting_that_fails_leaves_no_connection(server: FakeAppServer) -> None:
    async with linked(server) as one:
        one.failures = [errors.Refused("no such provider")]
        with pytest.raises(errors.Refused, match="no such provider"):
            await one.link.request("ask", ServerAnswer)
        await one.link.request("ask", ServerAnswer)

    assert [frame["type"] for frame in server.received] == ["greeting", "greeting", "ask"]
    assert len(server.connections) == 2


# The end


def tasks_of_links() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "AppServerConnection." in repr(task.get_coro())]


async def test_closing_leaves_no_task_and_no_connection(server: FakeAppServer) -> None:
    async with linked(server) as one:
        await one.link.request("ask", ServerAnswer)
        assert tasks_of_links() != []
    assert tasks_of_links() == []
    await server.connections[0].wait_closed()

    with pytest.raises(errors.Unreachable, match="shutting down"):
        await one.link.request("ask", ServerAnswer)
    assert len(server.connections) == 1


async def test_closing_ends_what_waits(server: FakeAppServer) -> None:
    server.answers["ask"] = None
    async with linked(server) as one:
        asking = asyncio.create_task(one.link.request("ask", ServerAnswer))
        await server.arrived("ask")

    with pytest.raises(errors.BrokenStream):
        await asking


async def test_closing_while_it_tries_to_connect_ends_that(server: FakeAppServer) -> None:
    server.answers["greeting"] = None
    async with linked(server) as one:
        asking = asyncio.create_task(one.link.request("ask", ServerAnswer))
        await server.arrived("greeting")

    (failed,) = await asyncio.gather(asking, return_exceptions=True)
    assert isinstance(failed, errors.Unreachable | errors.BrokenStream)
    assert tasks_of_links() == []


async def test_closing_while_it_waits_to_try_again_ends_that(
    server: FakeAppServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(server) as one:
        await one.link.open_socket()
        one.failures = [errors.Refused("not yet")] * 9
        server.cut()
        await server.arrived("greeting", 2)

    assert tasks_of_links() == []


async def test_closing_what_was_never_used_is_done_at_once() -> None:
    await Linked("ws://127.0.0.1:9/ws").link.aclose()


async def test_what_would_end_the_connection_is_not_sent(
    server: FakeAppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_SENT_BYTES", 1000)
    async with linked(server) as connected:
        with pytest.raises(errors.TooLong):
            await connected.link.request("write_file", ServerAnswer, content="a" * 1000)
        await connected.link.request("write_file", ServerAnswer, content="a")

    assert [frame["content"] for frame in server.sent("write_file")] == ["a"]
