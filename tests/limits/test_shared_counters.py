"""The counters of several processes on a real Redis: what becomes of them when it, or one of them, goes away."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.events import TokensCounted
from gateway.limits import shared_spending
from gateway.limits.counters import NOTHING_SPENT, Payer, Spent
from gateway.limits.gate import Gate
from gateway.limits.refusals import BudgetSpent
from gateway.limits.shared_counters import SharedCounters
from gateway.limits.shared_spending import read_shared_sums
from gateway.settings import Allowance, Key, Secret, Sharing
from gateway.shared.redis_link import RedisLink
from gateway.turns.runs.account import Account
from tests.limits.redis_counters import counting, hurry
from tests.servers.redis_server import RedisServer
from tests.shared.linked import kill, linked

pytestmark = [pytest.mark.anyio, pytest.mark.full]

ADA, BOB, ALL = Payer("school", "0a" * 16), Payer("school", "0b" * 16), Payer("school")
DAY, MONTH = "2026-11-30", "2026-11"
ONE, TWO = Spent(1, 11, 7, 18), Spent(1, 20, 3, 23, 23)
NOW = 1_795_996_800.25
Pair = tuple[SharedCounters, SharedCounters]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """A loop with time of its own: Redis has none that could be skipped."""
    return "asyncio", {}


@pytest.fixture(scope="module")
def prefixes() -> Iterator[str]:
    return (f"test-{number}" for number in range(10_000))


@pytest.fixture
def prefix(prefixes: Iterator[str], monkeypatch: pytest.MonkeyPatch) -> str:
    hurry(monkeypatch)
    return next(prefixes)


@pytest.fixture
async def pair(redis_server: RedisServer, prefix: str) -> AsyncIterator[Pair]:
    """The counters of two processes."""
    async with counting(redis_server, prefix) as one, counting(redis_server, prefix) as other:
        yield one, other


async def until(is_so: Callable[[], Awaitable[object]]) -> None:
    for _ in range(4000):
        if await is_so():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


async def known(counters: SharedCounters, payer: Payer, spent: Spent) -> None:
    """Return when these counters tell that sum of the day."""

    async def is_so() -> bool:
        return await counters.spent(payer, DAY) == spent

    await until(is_so)


async def away(counters: SharedCounters) -> None:
    """Return when a process has noticed that Redis is away."""

    async def is_so() -> bool:
        await counters.spent(ADA, DAY)
        return counters._link.is_away

    await until(is_so)


async def back(*counters: SharedCounters) -> None:
    """Return when each process has Redis back, and has told what it had to tell."""
    for one in counters:

        async def is_so(one: SharedCounters = one) -> bool:
            spending = one._spending
            waiting = spending._untold or spending._telling or spending._may_have_forgotten
            return not (one._link.is_away or waiting)

        await until(is_so)


@pytest.mark.parametrize("how", ["hang", "stop"])
async def test_while_redis_is_away_each_process_counts_for_itself_and_nothing_is_lost_or_counted_twice(
    redis_server: RedisServer, pair: Pair, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    one, other = pair
    await one.spend(ADA, (DAY, MONTH), ONE)
    await known(one, ADA, ONE)
    await known(other, ADA, ONE)
    assert [(await each.take("ada", 3, NOW)).remaining for each in (one, other)] == [2, 1]
    assert await one.enter("ada", 1)
    assert not await other.enter("ada", 1)

    getattr(redis_server, how)()
    # It is not known yet that it hangs: this is sent, and nobody knows what becomes of it.
    await one.spend(ADA, (DAY, MONTH), ONE)
    await away(one)
    await away(other)
    await one.spend(ADA, (DAY, MONTH), ONE)
    await other.spend(ADA, (DAY, MONTH), TWO)
    assert await one.spent(ADA, DAY) == ONE.plus(ONE).plus(ONE)
    assert await other.spent(ADA, DAY) == ONE.plus(TWO)
    # Each from what it knew last.
    assert [(await one.take("ada", 3, NOW)).taken for _ in range(3)] == [True, True, False]
    assert [(await other.take("ada", 3, NOW)).taken for _ in range(3)] == [True, False, False]
    assert not await one.enter("ada", 1)
    assert await other.enter("ada", 1)
    assert await other.under_way("ada") == 1

    await asyncio.to_thread(redis_server.go_on if how == "hang" else redis_server.start)
    await back(one, other)
    everything = ONE.plus(ONE).plus(ONE).plus(TWO)
    for each in pair:
        await known(each, ADA, everything)
        assert await each.spent(ADA, MONTH) == everything
    assert await one.under_way("ada") == await other.under_way("ada") == 2
    assert not await one.enter("ada", 2)
    said = [message for message in caplog.messages if "spent" in message]
    assert "what is spent is kept in memory only, until Redis takes it" in said[0]
    assert said.count("what is spent is told to Redis again") == 2


async def test_a_redis_that_has_lost_its_data_is_told_the_largest_sums_that_are_known(
    redis_server: RedisServer, pair: Pair
) -> None:
    one, other = pair
    await one.spend(ADA, (DAY,), ONE)
    await known(one, ADA, ONE)
    await other.spend(ADA, (DAY,), TWO)
    await other.spend(BOB, (DAY,), TWO)
    await known(other, ADA, ONE.plus(TWO))
    await known(other, BOB, TWO)
    assert await one.enter("ada", 2)

    redis_server.stop()
    await away(one)
    await away(other)
    await asyncio.to_thread(redis_server.start)
    await back(one, other)
    await known(one, BOB, TWO)
    await known(one, ADA, ONE.plus(TWO))
    await one.spend(ADA, (DAY,), ONE)
    await known(other, ADA, ONE.plus(TWO).plus(ONE))
    assert await other.under_way("ada") == 1


@pytest.mark.parametrize("first", [0, 1], ids=["who knew less", "who knew more"])
async def test_what_is_added_to_a_redis_that_has_lost_its_data_stands_beside_what_is_told_again_later(
    redis_server: RedisServer, pair: Pair, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    await one.spend(ADA, (DAY, MONTH), ONE)
    await known(one, ADA, ONE)
    await other.spend(ADA, (DAY, MONTH), TWO)
    await known(other, ADA, ONE.plus(TWO))
    may_tell, late = asyncio.Event(), pair[1 - first]._spending
    tell = late._link.run

    async def held(*asked: Any) -> Any:
        await may_tell.wait()
        return await tell(*asked)

    redis_server.stop()
    await away(one)
    await away(other)
    monkeypatch.setattr(late._link, "run", held)
    await asyncio.to_thread(redis_server.start)
    await pair[first].spend(ADA, (DAY, MONTH), TWO)
    await back(pair[first])
    # What it is told by others meanwhile is nothing that it knew.
    assert (await pair[1 - first].spent(ADA, DAY)).answers in (2, 3)
    may_tell.set()
    await back(*pair)

    everything = ONE.plus(TWO).plus(TWO)
    for each in pair:
        await known(each, ADA, everything)
        assert await each.spent(ADA, MONTH) == everything


async def test_a_redis_that_has_what_it_had_a_while_ago_is_told_what_came_since(prefix: str, tmp_path: Path) -> None:
    with RedisServer("--dir", str(tmp_path)) as server:
        async with counting(server, prefix) as one, counting(server, prefix) as other:
            await one.spend(ADA, (DAY,), ONE)
            await known(other, ADA, ONE)
            with server.client() as client:
                client.save()
            await one.spend(ADA, (DAY,), TWO)
            await other.spend(BOB, (DAY,), TWO)
            await known(one, ADA, ONE.plus(TWO))
            await known(other, BOB, TWO)
            await asyncio.to_thread(server.restart)
            await until(lambda: _has(server, "spent-life"))
            await one.spend(ADA, (DAY,), TWO)
            await back(one, other)
            await known(other, ADA, ONE.plus(TWO).plus(TWO))
            await known(one, BOB, TWO)


async def _has(server: RedisServer, name: str) -> bool:
    return any(name in kept for kept in await asyncio.to_thread(server.names))


async def test_what_somebody_has_deleted_comes_again(redis_server: RedisServer, pair: Pair) -> None:
    one, other = pair
    await one.spend(ADA, (DAY,), ONE)
    await known(other, ADA, ONE)
    assert await one.enter("ada", 1)
    with redis_server.client() as client:
        client.flushall()
    assert await other.spent(ADA, DAY) == ONE
    async with AsyncExitStack() as stack:
        third = await stack.enter_async_context(counting(redis_server, one._link._prefix.strip("{}:")))
        await known(third, ADA, ONE)

        async def is_so() -> bool:
            return await third.under_way("ada") == 1

        await until(is_so)


async def test_a_redis_that_keeps_what_it_has_on_disk_keeps_the_budgets(prefix: str, tmp_path: Path) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "everysec", "--dir", str(tmp_path))
    with RedisServer(*options) as server:
        async with counting(server, prefix) as one:
            await one.spend(ADA, (DAY, MONTH), ONE)
            await known(one, ADA, ONE)
        with server.client() as client:
            client.shutdown(save=False, nosave=False)
        await asyncio.to_thread(server.restart)
        async with counting(server, prefix) as other:
            assert await other.spent(ADA, DAY) == ONE
            assert await other.spent(ADA, MONTH) == ONE


async def test_what_a_dead_process_had_under_way_is_not_counted_and_what_one_that_ends_had_is_taken_away(
    redis_server: RedisServer, prefix: str
) -> None:
    async with counting(redis_server, prefix) as one:
        async with counting(redis_server, prefix) as ends:
            assert await ends.enter("ada", 1)
            assert not await one.enter("ada", 1)
        assert await one.enter("ada", 1)
        await one.leave("ada")

        killed = RedisLink(Sharing(url=Secret(redis_server.url), prefix=prefix))
        await killed.start()
        assert await SharedCounters(killed).enter("ada", 1)
        assert not await one.enter("ada", 1)
        await kill(killed)
        await until(lambda: one.enter("ada", 1))
        assert await one.under_way("ada") == 1


async def test_a_full_redis_counts_what_is_limited_as_ever(redis_server: RedisServer, pair: Pair) -> None:
    one, other = pair
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
    try:
        await one.spend(ADA, (DAY,), ONE)
        await known(other, ADA, ONE)
        assert [(await each.take("ada", 1, NOW)).taken for each in pair] == [True, False]
        assert [await each.enter("ada", 2) for each in (one, other, one)] == [True, True, False]
        await one.leave("ada")
        assert await one.enter("ada", 2)
    finally:
        with redis_server.client() as client:
            client.config_set("maxmemory", 0)


async def test_a_redis_that_takes_nothing_refuses_nobody_and_is_told_once_it_does(
    redis_server: RedisServer, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    one, other = pair
    with redis_server.client() as client:
        client.config_set("min-replicas-to-write", 1)
    try:
        await one.spend(ADA, (DAY,), ONE)
        assert [(await one.take("ada", 1, NOW)).taken for _ in range(2)] == [True, False]
        assert await one.enter("ada", 1)
        await until(lambda: _says(caplog, "until Redis takes it: "))
        assert await one.spent(ADA, DAY) == ONE
    finally:
        with redis_server.client() as client:
            client.config_set("min-replicas-to-write", 0)

    await known(other, ADA, ONE)
    await one.leave("ada")


async def _says(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text


async def test_what_is_kept_in_memory_is_bounded_and_what_is_lost_is_said(
    redis_server: RedisServer, pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_spending, "MOST_UNTOLD", 10)
    one, _ = pair
    redis_server.hang()
    await away(one)
    for number in range(100):
        await one.spend(Payer("school", f"{number:032x}"), (DAY,), ONE)
    await one.spend(Payer("school", f"{1:032x}"), (DAY,), ONE)
    assert len(one) <= 20
    redis_server.go_on()
    await back(one)

    assert await one.spent(Payer("school", f"{1:032x}"), DAY) == ONE.plus(ONE)
    assert await one.spent(Payer("school", f"{50:032x}"), DAY) == NOTHING_SPENT
    await until(lambda: _says(caplog, "payers have spent is lost, for Redis was away for too long"))


async def test_what_cannot_be_told_at_the_end_is_said_to_be_lost(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as server:
        async with counting(server, prefix) as one:
            await one.enter("ada", 1)
            server.stop()
            await away(one)
            await one.spend(ADA, (DAY, MONTH), ONE)

    assert "what 1 payers have spent is lost" in caplog.text


async def test_a_gateway_that_begins_without_redis_tells_it_what_was_spent_once_it_is_there(
    redis_server: RedisServer, prefix: str
) -> None:
    redis_server.hang()
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(counting(redis_server, prefix))
        await one.spend(ADA, (DAY,), ONE)
        assert await one.spent(ADA, DAY) == ONE
        redis_server.go_on()
        await known(await stack.enter_async_context(counting(redis_server, prefix)), ADA, ONE)


async def test_more_rows_than_a_batch_holds_are_all_told_and_read(redis_server: RedisServer, prefix: str) -> None:
    people = [Payer("a:b c", f"{number:032x}") for number in range(250)]
    async with counting(redis_server, prefix) as one:
        for person in people:
            await one.spend(person, (DAY, MONTH), TWO)
        await one.spend(Payer("a:b c"), ("2026-12",), TWO)
        await back(one)
        await known(one, people[-1], TWO)
    async with linked(redis_server, prefix) as link:
        rows = await read_shared_sums(link, MONTH)

    assert rows == {(person, period): TWO for person in people for period in (DAY, MONTH)}


async def test_every_key_has_a_time_to_live_and_names_nobody(redis_server: RedisServer, prefix: str) -> None:
    async with counting(redis_server, prefix) as one:
        await one.spend(ADA, (DAY, MONTH), ONE)
        await one.spend(ALL, (DAY, MONTH), ONE)
        await one.take(ADA.name, 20, NOW)
        await one.enter(ADA.name, 1)
        await known(one, ALL, ONE)
        with redis_server.client() as client:
            names = sorted(key.decode() for key in client.scan_iter(f"{{{prefix}}}:*"))
            days = {name.partition("}:")[2]: client.ttl(name) / 86_400 for name in names}
    process = one._link.process

    assert {name: round(lives, 2) for name, lives in days.items()} == {
        "pulses": 1.0,
        f"requests:{ADA.name}": 0.0,
        f"spent-by:{process}": 1.0,
        "spent-life": 403.0,
        f"spent:{DAY}:{ADA.person}:school": 7.0,
        f"spent:{MONTH}:{ADA.person}:school": 62.0,
        f"spent:{DAY}::school": 62.0,
        f"spent:{MONTH}::school": 403.0,
        f"streams:{ADA.name}": 1.0,
    }


async def test_a_run_counts_at_every_process_as_soon_as_it_has_told_what_it_costs(pair: Pair) -> None:
    one, other = (Gate(counters, lambda: NOW) for counters in pair)
    key = Key(name="school", user_limits=Allowance(tokens_per_day=20))
    admission, account = await one.admit(key, ADA.person), Account()
    await admission.pay_for(account)
    await other.admit(key, ADA.person)
    account.count(TokensCounted(5, 4, 9))
    account.count(TokensCounted(6, 5, 11))

    async def is_refused(gate: Gate) -> bool:
        try:
            await gate.admit(key, ADA.person)
        except BudgetSpent:
            return True
        return False

    await until(lambda: is_refused(other))
    assert await is_refused(one)
    assert await one.spent(ADA, DAY) == Spent(0, 11, 9, 20)
    account.count(TokensCounted(1, 1, 2), estimated=True)
    account.tokens = account.tokens.plus(TokensCounted(1, 0, 1))
    account.close()
    await known(pair[1], ADA, Spent(1, 13, 10, 23, 2))
    assert await one.spent(Payer("school"), DAY) == Spent(1, 13, 10, 23, 2)
