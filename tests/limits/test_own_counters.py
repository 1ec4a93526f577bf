"""The counters of one gateway: what they hold in memory, and when they write."""

import asyncio
import logging
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import own_counters
from gateway.limits.counters import NOTHING_SPENT, Payer, Row, Spent
from gateway.limits.own_counters import RETRY_SECONDS, WRITE_SECONDS, OwnCounters
from tests.limits.books import MemoryBook
from tests.turns.virtual_time import VirtualTimeLoop, idle

pytestmark = pytest.mark.anyio

ADA, BOB, ALL = Payer("school", "0a" * 16), Payer("school", "0b" * 16), Payer("school")
DAY, MONTH = "2026-11-30", "2026-11"
ONE, TWO = Spent(1, 11, 7, 18), Spent(1, 20, 3, 23, 23)
spends = st.lists(
    st.tuples(
        st.sampled_from([ADA, BOB, ALL]),
        st.builds(Spent, *[st.integers(0, 9)] * 5),
        st.sampled_from(["spend", "look", "write", "begin to write"]),
    ),
    max_size=30,
)


async def opened(book: MemoryBook) -> OwnCounters:
    counters = OwnCounters(book)
    await counters.start()
    return counters


async def test_what_is_spent_is_known_at_once_and_written_a_moment_later() -> None:
    book = MemoryBook()
    counters = await opened(book)
    await counters.spend(ADA, (DAY, MONTH), ONE)
    await counters.spend(ADA, (DAY, MONTH), TWO)
    assert await counters.spent(ADA, DAY) == ONE.plus(TWO)
    assert book.rows == {}
    await asyncio.sleep(WRITE_SECONDS + 0.1)

    assert book.rows == {(ADA, DAY): ONE.plus(TWO), (ADA, MONTH): ONE.plus(TWO)}
    assert book.writes == 1
    await counters.aclose()


async def test_all_of_it_is_written_at_the_end() -> None:
    book = MemoryBook()
    counters = await opened(book)
    await counters.spend(ADA, (DAY,), ONE)
    await counters.aclose()

    assert book.rows == {(ADA, DAY): ONE}
    assert book.closed


async def test_what_is_being_written_at_the_end_is_written_once() -> None:
    book = MemoryBook()
    counters = await opened(book)
    await counters.spend(ADA, (DAY,), ONE)
    book.goes_on.clear()
    await asyncio.sleep(WRITE_SECONDS + 0.1)
    ending = asyncio.create_task(counters.aclose())
    await idle()
    book.goes_on.set()
    await ending

    assert book.rows == {(ADA, DAY): ONE}
    assert book.writes == 1


async def test_one_who_comes_back_is_read_once() -> None:
    book = MemoryBook()
    book.rows[ADA, DAY] = TWO
    counters = await opened(book)

    assert [await counters.spent(ADA, DAY) for _ in range(3)] == [TWO] * 3
    assert book.reads == 1
    await counters.aclose()


async def test_what_others_have_written_is_known_after_one_s_own_next() -> None:
    book = MemoryBook()
    first, second = await opened(book), await opened(book)
    await first.spend(ADA, (DAY,), ONE)
    assert await first.spent(ADA, DAY) == ONE
    await second.spend(ADA, (DAY,), TWO)
    await asyncio.sleep(WRITE_SECONDS + 0.1)
    await first.spend(ADA, (DAY,), ONE)
    await asyncio.sleep(WRITE_SECONDS + 0.1)

    assert await first.spent(ADA, DAY) == book.rows[ADA, DAY] == ONE.plus(TWO).plus(ONE)
    await first.aclose()
    await second.aclose()


async def test_with_a_full_disk_it_is_counted_in_memory_said_once_and_written_when_there_is_room(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    book = MemoryBook()
    counters = await opened(book)
    book.full = True
    for _ in range(3):
        await counters.spend(ADA, (DAY,), ONE)
        await asyncio.sleep(RETRY_SECONDS + 0.1)
    assert await counters.spent(ADA, DAY) == Spent(3, 33, 21, 54)
    book.full = False
    await asyncio.sleep(RETRY_SECONDS + 0.1)

    assert book.rows == {(ADA, DAY): Spent(3, 33, 21, 54)}
    assert caplog.messages == [
        "what is spent is kept in memory only, until it can be written: "
        "usage.sqlite3 cannot be used: database or disk is full",
        "what is spent is written again",
    ]
    await counters.aclose()


async def test_what_cannot_be_written_at_the_end_is_said_to_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    book = MemoryBook()
    counters = await opened(book)
    book.full = True
    await counters.spend(ADA, (DAY, MONTH), ONE)
    await counters.aclose()

    assert caplog.messages[-1] == "what 1 payers have spent is lost, for it could not be written"
    assert book.closed


async def test_a_disk_that_cannot_be_read_is_said_and_keeps_nobody_from_asking(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = MemoryBook()
    counters = await opened(book)
    book.broken = True
    await counters.spend(ADA, (DAY,), ONE)

    assert await counters.spent(ADA, DAY) == ONE
    assert caplog.messages == ["what was spent cannot be read: usage.sqlite3 cannot be used: disk I/O error"]
    await counters.aclose()


async def test_without_a_book_it_is_counted_from_the_start_of_the_process() -> None:
    counters = OwnCounters()
    await counters.start()
    await counters.spend(ADA, (DAY,), ONE)
    await counters.spend(ADA, (DAY,), TWO)

    assert await counters.spent(ADA, DAY) == ONE.plus(TWO)
    assert await counters.spent(BOB, DAY) == NOTHING_SPENT
    assert counters.since is not None
    await counters.aclose()


def tried(steps: list[tuple[Payer, Spent, str]]) -> tuple[dict[Row, Spent], dict[Row, Spent], dict[Row, Spent]]:
    """What was spent, what the book has at the end, and what was told on the way, after these steps."""
    spent: dict[Row, Spent] = {}
    told: dict[Row, Spent] = {}

    async def run() -> MemoryBook:
        book = MemoryBook()
        counters = await opened(book)
        for payer, more, step in steps:
            row = payer, DAY
            if step == "spend":
                await counters.spend(payer, (DAY,), more)
                spent[row] = spent.get(row, NOTHING_SPENT).plus(more)
            elif step == "look":
                book.goes_on.set()
                told[row] = await counters.spent(payer, DAY)
                assert told[row] == spent.get(row, NOTHING_SPENT)
            elif step == "write":
                book.goes_on.set()
                await asyncio.sleep(WRITE_SECONDS + 0.1)
            else:
                book.goes_on.clear()
                await asyncio.sleep(WRITE_SECONDS + 0.1)
        book.goes_on.set()
        await counters.aclose()
        return book

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return spent, runner.run(run()).rows, told


@given(spends)
def test_sums_are_right_whatever_the_order_of_runs_looks_and_writes(steps: list[tuple[Payer, Spent, str]]) -> None:
    spent, written, _ = tried(steps)

    assert written == spent
    everything = reduce(Spent.plus, (more for _, more, step in steps if step == "spend"), NOTHING_SPENT)
    assert reduce(Spent.plus, written.values(), NOTHING_SPENT) == everything


async def test_so_many_answers_are_let_in_and_one_more_when_one_is_over() -> None:
    counters = OwnCounters()

    assert [await counters.enter("ada", 2) for _ in range(3)] == [True, True, False]
    assert await counters.enter("bob", 2)
    await counters.leave("ada")
    assert await counters.under_way("ada") == 1
    assert await counters.enter("ada", 2)


async def test_counters_of_requests_that_are_idle_are_forgotten() -> None:
    counters = OwnCounters()
    for i in range(1000):
        await counters.take(f"person {i}", 60, now=1000.0 + i)

    assert len(counters) <= 61 + 1


async def test_so_many_counters_of_requests_are_kept_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_counters, "MOST_RATES", 10)
    counters = OwnCounters()
    for i in range(100):
        await counters.take(f"person {i}", 1, now=1000.0)

    assert len(counters) == 10
