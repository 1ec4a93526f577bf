"""Readers that are slow, that leave, and that come back, in front of both kinds of Letta: who takes what, and when."""

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

import gateway as package
from gateway.app import create_app
from gateway.connection import Limits
from gateway.settings import Chats
from gateway.turns.runs.log import Reader
from gateway.turns.runs.registry import Runs
from tests.contract.app_server import KeepingAppServer
from tests.contract.sides import Heard
from tests.events import text_in
from tests.gateways import KEY, TUTOR, chat, http, settings_for
from tests.http.wire import JSON, Wire, outlast, request
from tests.servers.fake_app_server import WELL, Frame, word
from tests.servers.fake_letta import PING, STOP, USAGE, WORD, FakeLetta, Hold
from tests.servers.fake_letta import Step as RestStep
from tests.servers.threads import LIMITS, served
from tests.turns.turns import read

T = TypeVar("T")
URL = "/v1/chat/completions"
STREAM = chat(stream=True, metadata={"chat_id": "c"})
KEYED = {"Idempotency-Key": "k-1"}
# Enough to fill what the system keeps of a connection, some MB at each of its ends.
LONG = [f"{i:05} " + "x" * 9_994 for i in range(3_000)]
MB = 1_000_000
SOON = Chats(grace_seconds=0.1)


Says = str | threading.Event
"""A word of a run, or something to wait for."""


class _RestLetta(FakeLetta):
    def __init__(self, says: Iterable[Says], ends: bool) -> None:
        super().__init__()
        words: list[RestStep] = [{**WORD, "content": one} if isinstance(one, str) else one for one in says]
        self.steps = [PING, *words, *([STOP, USAGE] if ends else [Hold()])]


class _AppServer(KeepingAppServer):
    def __init__(self, says: Iterable[Says], ends: bool) -> None:
        super().__init__(Heard())
        self.cancelled = threading.Event()
        self.begun = 0
        self._says, self._ends = list(says), ends
        self._speaking: set[asyncio.Task[None]] = set()

    async def __aexit__(self, *how: object) -> None:
        for task in self._speaking:
            task.cancel()
        await asyncio.gather(*self._speaking, return_exceptions=True)
        await super().__aexit__(*how)

    def _frames(self, id: str, script: Any) -> list[Frame]:
        # It speaks beside its reading, for it is to hear of being cancelled.
        self.begun += 1
        self._speaking.add(asyncio.create_task(self._speak(id)))
        return []

    async def _speak(self, id: str) -> None:
        for one in self._says:
            if isinstance(one, str):
                await self._play_on(id, word(one))
            else:
                await asyncio.to_thread(one.wait, 30)
        if self._ends:
            await self._play_on(id, *WELL)

    async def _answer(self, frame: Frame) -> None:
        await super()._answer(frame)
        if frame["type"] == "abort_message":
            self.cancelled.set()


class Scripted(msgspec.Struct):
    """A Letta that speaks: its address, the event of a run's being cancelled, and the number of its runs."""

    url: str
    cancelled: threading.Event
    begun: Callable[[], int]


@contextmanager
def _rest(says: Iterable[Says], ends: bool) -> Iterator[Scripted]:
    with _RestLetta(says, ends) as letta:
        yield Scripted(letta.base_url, letta.cancelled, lambda: len(letta.runs))


@contextmanager
def _app_server(says: Iterable[Says], ends: bool) -> Iterator[Scripted]:
    server = _AppServer(says, ends)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server):
        yield Scripted(server.url, server.cancelled, lambda: server.begun)


Letta = Callable[[Iterable[Says], bool], AbstractContextManager[Scripted]]
SIDES: dict[str, Letta] = {"rest": _rest, "app-server": _app_server}


@pytest.fixture(params=SIDES)
def speaking(request: pytest.FixtureRequest) -> Letta:
    return SIDES[request.param]


class Served(msgspec.Struct):
    """A gateway at an address, and the runs that it has."""

    url: str
    runs: Runs


@contextmanager
def before(letta: Scripted, limits: Limits = LIMITS, **changes: Any) -> Iterator[Served]:
    tutor = msgspec.structs.replace(TUTOR, model="m/first")
    changes = {"chats": SOON, "first_event_seconds": 0.1, "ping_seconds": 600, **changes}
    app = create_app(settings_for(letta.url, types=(tutor,), **changes))
    with served(app, limits) as url:
        yield Served(url, app.state.parts.runs)


def text_of(lines: Iterable[str]) -> str:
    """The text of a stream that has its end."""
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def until(lines: Iterator[str], text: str) -> None:
    """Read up to the line with a text."""
    assert any(text in line for line in lines)


def in_its_loop(gateway: Served, work: Coroutine[Any, Any, T]) -> T:
    """What comes of work that is done where the gateway does its own."""
    (run,) = gateway.runs.under_way
    return asyncio.run_coroutine_threadsafe(work, run.task.get_loop()).result(30)


def reader_of(gateway: Served, after: int) -> Reader:
    """Whoever comes back to the run that is under way."""
    (run,) = gateway.runs.under_way
    return run.follow(after)


async def heard_all(gateway: Served, count: int) -> None:
    """Returns when Letta has said so many words to the gateway."""
    reader = reader_of(gateway, count - 1)
    await reader.news()
    reader.leave()


async def heard_the_end(gateway: Served, go_on: threading.Event) -> None:
    """Lets a run go on, and returns when it has ended."""
    reader = reader_of(gateway, 0)
    go_on.set()
    await read(reader)


# Slow ones


@pytest.mark.parametrize("ends", ["while it reads", "before it reads"])
def test_a_reader_that_reads_late_gets_all_in_order_and_once(speaking: Letta, ends: str) -> None:
    go_on = threading.Event()
    with (
        speaking([*LONG, go_on, "the end"], True) as letta,
        before(letta) as gateway,
        http(gateway.url) as client,
        client.stream("POST", URL, json=STREAM) as response,
    ):
        # Nobody waits for it: it has read no more than the head when its run has said all.
        in_its_loop(gateway, heard_all(gateway, len(LONG)))
        if ends == "before it reads":
            in_its_loop(gateway, heard_the_end(gateway, go_on))
        lines = response.iter_lines()
        begin = next(line for line in lines if LONG[0] in line)
        go_on.set()
        assert text_of([begin, *lines]) == "".join([*LONG, "the end"])

    assert letta.begun() == 1
    assert not letta.cancelled.is_set()


def test_little_more_than_the_text_is_held_for_a_reader_that_reads_late(speaking: Letta) -> None:
    go_on, size = threading.Event(), sum(map(len, LONG))
    with speaking([*LONG, go_on], True) as letta, before(letta) as gateway, http(gateway.url) as client:
        tracemalloc.start()
        try:
            with client.stream("POST", URL, json=STREAM) as response:
                in_its_loop(gateway, heard_all(gateway, len(LONG)))
                held = _held()
                go_on.set()
                assert len(text_of(response.iter_lines())) == size
        finally:
            tracemalloc.stop()

    # The text is there once, for whoever sends the request again, and once more what of it is on its way to the reader.
    assert size < held < 2 * size + MB


def _held() -> int:
    """The bytes that the gateway's own lines have allocated, and that are held."""
    ours = tracemalloc.Filter(True, f"{Path(package.__file__).parent}/*")
    return sum(one.size for one in tracemalloc.take_snapshot().filter_traces([ours]).statistics("filename"))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_reader_that_takes_nothing_for_the_time_is_one_that_left(speaking: Letta, stream: bool) -> None:
    left = msgspec.structs.replace(LIMITS, unread_seconds=0.2, head_seconds=0.3)
    with speaking(LONG, not stream) as letta, before(letta, left) as gateway, Wire(gateway.url) as wire:
        wire.send(ask({**STREAM, "stream": stream}))
        if stream:
            assert letta.cancelled.wait(30)
        else:
            wire.until("content-length")
            outlast(gateway.url)
        assert wire.size_of_rest() < sum(map(len, LONG))


def ask(body: dict[str, Any]) -> bytes:
    key = b"authorization: Bearer " + KEY.encode()
    return request(b"POST %b HTTP/1.1\r\n%b%b" % (URL.encode(), JSON, key), json.dumps(body).encode())


# Those that close the side on which they send


def test_a_reader_that_closes_the_side_on_which_it_sends_is_one_that_left(speaking: Letta) -> None:
    with speaking(["Hello"], False) as letta, before(letta) as gateway, Wire(gateway.url) as wire:
        wire.send(ask(STREAM)).until("Hello").close_sending()
        assert letta.cancelled.wait(30)
        # Nothing is said to it any more, not even an end.
        assert wire.size_of_rest() < len("data: [DONE]")

    assert letta.begun() == 1


# Those that come back


def test_a_reader_that_comes_back_at_a_number_gets_exactly_the_rest(speaking: Letta) -> None:
    words, go_on = [f"{i} " for i in range(300)], threading.Event()
    numbers = [0, 1, 63, 64, 65, 149, 150, 151, 299]

    async def rests(gateway: Served) -> list[str]:
        """What readers get from each of the numbers, of whom all begin in the middle of the run."""
        await heard_all(gateway, 150)
        reading = [asyncio.create_task(read(reader_of(gateway, number))) for number in numbers]
        go_on.set()
        return [text_in(events) for events in await asyncio.gather(*reading)]

    with (
        speaking([*words[:150], go_on, *words[150:]], True) as letta,
        before(letta) as gateway,
        http(gateway.url) as client,
        client.stream("POST", URL, json=STREAM) as response,
    ):
        assert in_its_loop(gateway, rests(gateway)) == ["".join(words[number:]) for number in numbers]
        assert text_of(response.iter_lines()) == "".join(words)


# Many


def test_sixty_four_readers_of_a_run_that_leave_at_once_disturb_no_other(speaking: Letta) -> None:
    go_on, words = threading.Event(), [f" {i}" for i in range(300)]
    with (
        speaking(["Hello", go_on, *words], True) as letta,
        before(letta) as gateway,
        client_of_many(gateway) as client,
        ExitStack() as staying,
    ):
        leaving = ExitStack()
        others = [_follow(client, staying if i % 33 == 0 else leaving) for i in range(66)][::33]
        leaving.close()
        go_on.set()
        texts = [text_of(lines) for lines in others]

    assert texts == ["".join(words)] * 2
    assert letta.begun() == 1
    assert not letta.cancelled.is_set()


def test_a_run_is_cancelled_when_the_last_of_its_many_readers_has_left(speaking: Letta) -> None:
    with speaking(["Hello"], False) as letta, before(letta) as gateway, client_of_many(gateway) as client:
        with ExitStack() as all_of_them:
            for _ in range(64):
                _follow(client, all_of_them)
            assert not letta.cancelled.is_set()
        assert letta.cancelled.wait(30)

    assert letta.begun() == 1


def client_of_many(gateway: Served) -> httpx.Client:
    headers = {"authorization": f"Bearer {KEY}", **KEYED}
    return httpx.Client(base_url=gateway.url, headers=headers, timeout=60, limits=httpx.Limits(max_connections=None))


def _follow(client: httpx.Client, stack: ExitStack) -> Iterator[str]:
    """A reader of the run of one request, which has read its first word."""
    lines = stack.enter_context(client.stream("POST", URL, json=STREAM)).iter_lines()
    until(lines, "Hello")
    return lines
