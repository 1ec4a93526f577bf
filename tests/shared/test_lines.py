"""Lines, of one process and of several on a real Redis: both are what the contract says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import cycle

import pytest

from gateway.domain.errors import Overtaken, QueueFull
from gateway.shared import pulses
from gateway.shared.lines import Lines, OwnLines, Place
from gateway.shared.redis_lines import RedisLines
from gateway.shared.redis_link import RedisLink
from tests.servers.redis_server import RedisServer
from tests.shared.linked import kill, linked, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("hurried")]

LONG = 60.0


@pytest.fixture
async def links(server: RedisServer) -> AsyncIterator[list[RedisLink]]:
    """Three processes."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(linked(server)) for _ in range(3)]


@pytest.fixture(params=["own", *(pytest.param(kind, marks=pytest.mark.full) for kind in ("redis", "several"))])
def each(request: pytest.FixtureRequest) -> Iterator[Callable[[], Lines]]:
    """Gives the lines that who comes next stands in: always the same, or those of the next process."""
    if request.param == "own":
        own = OwnLines()
        yield lambda: own
        return
    links: list[RedisLink] = request.getfixturevalue("links")
    lines = cycle([RedisLines(link) for link in (links if request.param == "several" else links[:1])])
    yield lambda: next(lines)


class Holder:
    """Somebody who wants a place, and has it until told to leave."""

    def __init__(self, lines: Lines, name: str, most: int | None = 8, seconds: float = LONG) -> None:
        self.has = asyncio.Event()
        self.wanted = asyncio.Event()
        self.place: Place | None = None
        self._leaves = asyncio.Event()
        self.task = asyncio.create_task(self._hold(lines, name, most, seconds))

    async def _hold(self, lines: Lines, name: str, most: int | None, seconds: float) -> None:
        async with lines.place(name, most, seconds, self.wanted.set) as self.place:
            self.has.set()
            await self._leaves.wait()

    async def leave(self) -> None:
        self._leaves.set()
        await self.task


async def had(holder: Holder) -> Place:
    async with asyncio.timeout(20):
        await holder.has.wait()
    assert holder.place
    return holder.place


async def test_one_at_a_time_has_a_place_in_the_order_they_came(each: Callable[[], Lines]) -> None:
    first = Holder(each(), "chat")
    await had(first)
    others = []
    for _ in range(4):
        others.append(Holder(each(), "chat"))
        async with asyncio.timeout(20):
            await first.wanted.wait()
        first.wanted.clear()
    for before, after in zip([first, *others], others, strict=False):
        assert not after.has.is_set()
        await before.leave()
        await had(after)
    await others[-1].leave()


async def test_lines_do_not_wait_for_each_other(each: Callable[[], Lines]) -> None:
    holders = [Holder(each(), f"chat {number}") for number in range(4)]
    for holder in holders:
        await had(holder)
    for holder in holders:
        await holder.leave()


async def test_a_full_line_takes_nobody_and_says_so(each: Callable[[], Lines]) -> None:
    first = Holder(each(), "chat", most=1)
    await had(first)
    second = Holder(each(), "chat", most=1)
    async with asyncio.timeout(20):
        await first.wanted.wait()
    with pytest.raises(QueueFull):
        await Holder(each(), "chat", most=1).task
    await first.leave()
    await had(second)
    await second.leave()


async def test_nobody_need_wait(each: Callable[[], Lines]) -> None:
    first = Holder(each(), "chat", 0, 0)
    await had(first)
    with pytest.raises(QueueFull):
        await Holder(each(), "chat", 0, 0).task
    await first.leave()


async def test_who_waits_too_long_gives_up_and_leaves_no_trace(each: Callable[[], Lines]) -> None:
    first = Holder(each(), "chat")
    await had(first)
    with pytest.raises(QueueFull):
        await Holder(each(), "chat", seconds=0.05).task
    await first.leave()
    last = Holder(each(), "chat")
    await had(last)
    await last.leave()


async def test_who_is_cancelled_while_it_waits_is_not_waited_for(each: Callable[[], Lines]) -> None:
    first = Holder(each(), "chat")
    await had(first)
    second = Holder(each(), "chat")
    async with asyncio.timeout(20):
        await first.wanted.wait()
    second.task.cancel()
    await asyncio.wait([second.task])
    third = Holder(each(), "chat")
    await first.leave()
    await had(third)
    await third.leave()


async def test_who_fails_lets_the_next_begin(each: Callable[[], Lines]) -> None:
    with pytest.raises(RuntimeError):
        async with each().place("chat", 8, LONG):
            raise RuntimeError
    holder = Holder(each(), "chat")
    await had(holder)
    await holder.leave()


async def test_a_place_that_is_held_may_be_written_for(each: Callable[[], Lines]) -> None:
    async with each().place("chat", 8, LONG) as place:
        place.check()


# Several processes


@pytest.fixture
def lines(links: list[RedisLink]) -> list[RedisLines]:
    return [RedisLines(link) for link in links]


@pytest.mark.full
async def test_a_place_tells_if_another_process_has_had_it_meanwhile(lines: list[RedisLines]) -> None:
    one, other, _ = lines
    told = []
    for each in (one, one, other, one, one):
        async with each.place("chat of its own", 8, LONG) as place:
            told.append(place.is_unbroken)
            assert place.is_shared

    assert told == [False, True, False, False, True]


@pytest.mark.full
async def test_the_next_reads_the_word_that_the_last_has_left(lines: list[RedisLines]) -> None:
    one, other, _ = lines
    async with one.place("word", 8, LONG) as place:
        assert place.word == ""
        place.leave_word("agent-1")
    async with other.place("word", 8, LONG) as place:
        assert place.word == "agent-1"
    async with one.place("word", 8, LONG) as place:
        assert place.word == ""


@pytest.mark.full
async def test_a_place_is_free_once_its_process_is_dead(links: list[RedisLink], lines: list[RedisLines]) -> None:
    first = Holder(lines[0], "dead")
    await had(first)
    waiting = [Holder(lines[1], "dead"), Holder(lines[2], "dead")]
    async with asyncio.timeout(20):
        await first.wanted.wait()
    await kill(links[0])
    for holder in waiting:
        await had(holder)
        await holder.leave()
    assert first.place
    with pytest.raises(Overtaken):
        first.place.check()
    await first.leave()


@pytest.mark.full
async def test_a_place_is_agreed_on_unless_a_process_may_act_as_if_it_were_alone(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulses, "RECENT_SECONDS", 0.3)
    async with (
        linked(server, "agreed") as link,
        linked(server, "agreed") as silent,
        RedisLines(link).place("agreed", 8, LONG) as place,
    ):
        await until(lambda: place.is_agreed)
        async with linked(server, "agreed") as leaving:
            await until(lambda: link._others._seen.get(leaving.process))
            await until(lambda: place.is_agreed)
        # Who says that it goes is not waited for; who falls silent may have lost touch.
        await until(lambda: place.is_agreed)
        await kill(silent)
        await until(lambda: not place.is_agreed)
        assert place.is_shared


@pytest.mark.full
async def test_who_cannot_say_that_it_lives_writes_no_more(server: RedisServer, lines: list[RedisLines]) -> None:
    holder = Holder(lines[0], "hung")
    place = await had(holder)
    server.hang()
    try:
        await until(lambda: not lines[0].is_current)
        with pytest.raises(Overtaken):
            place.check()
    finally:
        server.go_on()
    await until(lambda: lines[0].is_current)
    with pytest.raises(Overtaken):
        place.check()
    await holder.leave()


@pytest.mark.full
@pytest.mark.parametrize("forgets", [False, True])
async def test_while_redis_is_away_places_are_those_of_a_process(
    server: RedisServer, links: list[RedisLink], lines: list[RedisLines], forgets: bool
) -> None:
    one, other, _ = lines
    server.stop() if forgets else server.hang()
    await until(lambda: all(link.is_away for link in links))
    first, second, alone = Holder(one, "away"), Holder(one, "away"), Holder(other, "away")
    assert not (await had(first)).is_shared
    (await had(alone)).check()
    assert not second.has.is_set()
    await alone.leave()
    await asyncio.to_thread(server.start if forgets else server.go_on)
    await until(lambda: not any(link.is_away for link in links))
    await until(lambda: first.place and first.place.is_shared)

    with pytest.raises(QueueFull):
        await Holder(other, "away", 0, 0).task
    await first.leave()
    await had(second)
    await second.leave()
    last = Holder(other, "away")
    await had(last)
    await last.leave()


@pytest.mark.full
async def test_what_redis_has_forgotten_is_told_again(server: RedisServer, lines: list[RedisLines]) -> None:
    holder = Holder(lines[0], "forgotten")
    place = await had(holder)
    with server.client() as client:
        client.flushall()
        await until(lambda: "{test}:line:forgotten" in server.names())
    waiting = Holder(lines[1], "forgotten")
    async with asyncio.timeout(20):
        await holder.wanted.wait()
    place.check()
    await holder.leave()
    await had(waiting)
    await waiting.leave()


@pytest.mark.full
async def test_nothing_of_a_line_stays_without_an_end(server: RedisServer, lines: list[RedisLines]) -> None:
    async with lines[0].place("end", 8, LONG) as place:
        place.leave_word("a")
    await lines[0].aclose()
    with server.client() as client:
        assert [name for name in server.names() if client.ttl(name) < 0] == []
        assert "{test}:line:end" not in server.names()
