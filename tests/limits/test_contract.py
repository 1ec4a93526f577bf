"""The contract of counters: those of one gateway pass it, and those of several processes on a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.counters import NOTHING_SPENT, Counters, Payer, Spent
from gateway.limits.own_counters import OwnCounters
from gateway.limits.shared_counters import SharedCounters
from tests.limits.redis_counters import counting, hurry
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.anyio

ADA, BOB, ALL = Payer("school", "0a" * 16), Payer("school", "0b" * 16), Payer("school")
DAY, MONTH = "2026-11-30", "2026-11"
ONE, TWO = Spent(1, 11, 7, 18), Spent(1, 20, 3, 23, 23)
NOW = 1_795_996_800.25
PROCESSES = 3
T = TypeVar("T")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """A loop with time of its own: Redis has none that could be skipped."""
    return "asyncio", {}


@asynccontextmanager
async def own(names: Iterator[str]) -> AsyncIterator[list[Counters]]:
    """All work of one gateway is done by the same counters."""
    counters = OwnCounters()
    await counters.start()
    yield [counters] * PROCESSES
    await counters.aclose()


@pytest.fixture(scope="module")
def prefixes() -> Iterator[str]:
    return (f"test-{number}" for number in range(10_000))


@pytest.fixture(params=["own", pytest.param("redis", marks=pytest.mark.full)])
async def counters(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, prefixes: Iterator[str]
) -> AsyncIterator[list[Counters]]:
    """The counters of several processes."""
    async with AsyncExitStack() as stack:
        if request.param == "own":
            yield await stack.enter_async_context(own(prefixes))
            return
        hurry(monkeypatch)
        server, prefix = request.getfixturevalue("redis_server"), next(prefixes)
        yield [await stack.enter_async_context(counting(server, prefix)) for _ in range(PROCESSES)]


# the seconds since the last one, the limit, the requests
steps = st.lists(
    st.tuples(st.floats(-90, 90), st.integers(1, 200), st.sampled_from([1, 1, 1, 0, -1, 5])), min_size=1, max_size=30
)
times = st.sampled_from([60.0, 3600.0])


async def until(ask: Callable[[], Awaitable[T]], answer: T) -> None:
    """Return when that is answered: what one process has told, another knows a moment later."""
    for _ in range(2000):
        if (found := await ask()) == answer:
            return
        await asyncio.sleep(0.005)
    assert found == answer


async def all_of(asked: Iterable[Awaitable[T]]) -> list[T]:
    return [await each for each in asked]


async def test_requests_are_let_in_as_often_as_the_limit_says_whoever_asks(counters: list[Counters]) -> None:
    asked = [counters[number % PROCESSES].take("ada", 20, NOW) for number in range(100)]
    rates = await asyncio.gather(*asked)

    assert sum(rate.taken for rate in rates) == 20
    assert sorted(rate.remaining for rate in rates if rate.taken) == [*range(20)]
    assert [rate.room_after for rate in rates if not rate.taken] == pytest.approx([3.0] * 80)
    assert (await counters[0].take("bob", 20, NOW)).taken


async def test_what_may_be_asked_for_within_an_hour_comes_back_by_the_hour(counters: list[Counters]) -> None:
    first, second, _ = counters
    rates = [await counters[number % PROCESSES].take("ada", 6, NOW, 1, 3600.0) for number in range(8)]
    assert [rate.taken for rate in rates] == [True] * 6 + [False] * 2
    assert rates[-1].room_after == pytest.approx(600.0)
    assert not (await first.take("ada", 6, NOW + 590.0, 1, 3600.0)).taken

    assert (await second.take("ada", 6, NOW + 601.0, 1, 3600.0)).taken
    assert not (await first.take("ada", 6, NOW + 601.0, 1, 3600.0)).taken


async def test_requests_that_are_given_back_are_there_for_all_and_a_look_takes_none(counters: list[Counters]) -> None:
    first, second, _ = counters
    assert (await first.take("ada", 1, NOW)).taken
    assert not (await second.take("ada", 1, NOW)).taken
    await first.take("ada", 1, NOW, -1)

    assert (await second.take("ada", 1, NOW, 0)).remaining == 1
    assert (await second.take("ada", 1, NOW, 0)).remaining == 1
    assert (await second.take("ada", 1, NOW)).taken


async def test_never_more_answers_are_under_way_than_may_be_however_many_ask_at_once(counters: list[Counters]) -> None:
    under_way = highest = 0

    async def answer(one: Counters) -> None:
        nonlocal under_way, highest
        if await one.enter("ada", 7):
            under_way += 1
            highest = max(highest, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1
            await one.leave("ada")

    await asyncio.gather(*(answer(counters[number % PROCESSES]) for number in range(150)))

    assert highest == 7
    await until(lambda: all_of(one.under_way("ada") for one in counters), [0] * PROCESSES)
    assert [await counters[number % PROCESSES].enter("ada", 7) for number in range(8)] == [True] * 7 + [False]


async def test_one_more_is_let_in_when_one_is_over_at_any_process(counters: list[Counters]) -> None:
    first, second, third = counters
    assert [await one.enter("ada", 2) for one in counters] == [True, True, False]
    assert [await one.under_way("ada") for one in counters] == [2, 2, 2]
    assert await third.enter("bob", 2)
    await second.leave("ada")

    assert await third.under_way("ada") == 1
    assert await third.enter("ada", 2)
    assert not await first.enter("ada", 2)


async def test_one_that_was_cancelled_while_it_asked_is_not_under_way(counters: list[Counters]) -> None:
    first, second, _ = counters
    asking = asyncio.create_task(first.enter("ada", 1))
    await asyncio.sleep(0)
    if asking.cancel():
        await asyncio.gather(asking, return_exceptions=True)
    else:
        await first.leave("ada")

    assert await second.enter("ada", 1)


async def test_what_was_spent_is_known_at_once_where_it_was_and_soon_everywhere(counters: list[Counters]) -> None:
    first, second, _ = counters
    await first.spend(ADA, (DAY, MONTH), ONE)
    assert await first.spent(ADA, DAY) == ONE
    await second.spend(ADA, (DAY,), TWO)
    assert (await second.spent(ADA, DAY)).total in (TWO.total, ONE.plus(TWO).total)
    await until(lambda: first.spent(ADA, DAY), ONE.plus(TWO))

    assert await first.sums([(ADA, MONTH), (BOB, MONTH), (ADA, DAY)]) == [ONE, NOTHING_SPENT, ONE.plus(TWO)]
    assert await first.sums([]) == []


async def test_sums_are_exact_whoever_adds_to_them(counters: list[Counters]) -> None:
    async def spend(one: Counters, person: Payer) -> None:
        for _ in range(100):
            await one.spend(person, (DAY, MONTH), ONE)
            await one.spend(ALL, (DAY, MONTH), ONE)
            if person is ADA:
                await asyncio.sleep(0)

    await asyncio.gather(*(spend(one, person) for one in counters for person in (ADA, BOB)))
    hundred = Spent(100 * PROCESSES, 1100 * PROCESSES, 700 * PROCESSES, 1800 * PROCESSES)
    rows = [(payer, period) for payer in (ADA, BOB, ALL) for period in (DAY, MONTH)]
    expected = [hundred] * 4 + [hundred.plus(hundred)] * 2
    for one in counters:
        await until(lambda one=one: one.sums(rows), expected)  # type: ignore[misc]


@pytest.mark.full
@settings(max_examples=60)
@given(steps, times)
def test_redis_lets_in_whom_one_gateway_alone_would(
    redis_server: RedisServer, prefixes: Iterator[str], steps: list[tuple[float, int, int]], within: float
) -> None:
    async def play() -> None:
        now, alone = NOW, OwnCounters()
        async with counting(redis_server, next(prefixes)) as counters:
            for wait, per_minute, count in steps:
                now += wait
                expected = await alone.take("ada", per_minute, now, count, within)
                assert await counters.take("ada", per_minute, now, count, within) == expected

    asyncio.run(play())


def test_both_are_counters() -> None:
    kinds: list[type[Counters]] = [OwnCounters, SharedCounters]

    assert [kind.are_shared for kind in kinds] == [False, True]
