"""What a run says reaches every reader, from the beginning, however late it comes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import Event
from gateway.turns.runs.log import FOLD_BATCHES, Reader, RunLog
from tests.events import answer, calls_of, ping, reasoning, stop, text_in, thoughts_of, tool_call, usage
from tests.turns.turns import read
from tests.turns.virtual_time import idle

pytestmark = pytest.mark.anyio


@pytest.fixture
def unread() -> list[str]:
    """An entry for each time when nobody was left to read."""
    return []


@pytest.fixture
def telling(unread: list[str]) -> RunLog:
    return RunLog(lambda: unread.append("unread"))


def spoken(events: list[Event]) -> str:
    return text_in(events)


async def test_a_reader_hears_what_is_told_as_it_comes(telling: RunLog) -> None:
    reader = telling.follow()
    waiting = asyncio.create_task(reader.next())
    await idle()
    assert not waiting.done()

    telling.append([ping(), answer("Hello")])
    assert await waiting == [ping(), answer("Hello")]


async def test_a_reader_that_comes_late_hears_everything(telling: RunLog) -> None:
    for text in ("One", "Two"):
        telling.append([answer(text)])
    reader = telling.follow()
    assert [await reader.next(), await reader.next()] == [[answer("One")], [answer("Two")]]

    telling.append([answer("Three")])
    telling.end()
    assert [await reader.next(), await reader.next(), await reader.next()] == [[answer("Three")], None, None]


async def test_every_reader_hears_everything(telling: RunLog) -> None:
    readers = [asyncio.create_task(read(telling.follow())) for _ in range(3)]
    await idle()
    telling.append([answer("Hello")])
    telling.end()

    assert [spoken(events) for events in await asyncio.gather(*readers)] == ["Hello"] * 3


async def test_a_failure_is_told_after_what_came_before_it(telling: RunLog) -> None:
    telling.append([answer("He")])
    telling.fail(RuntimeError("a bug"))
    for reader in (telling.follow(), telling.follow()):
        assert await reader.next() == [answer("He")]
        for _ in range(2):
            with pytest.raises(RuntimeError, match="a bug"):
                await reader.next()


async def test_the_first_failure_counts_and_none_after_the_end(telling: RunLog) -> None:
    telling.fail(RuntimeError("first"))
    telling.fail(RuntimeError("second"))
    telling.end()
    with pytest.raises(RuntimeError, match="first"):
        await telling.follow().next()

    ended = RunLog(lambda: None)
    ended.end()
    ended.fail(RuntimeError("late"))
    assert await ended.follow().next() is None


async def test_when_the_last_reader_leaves_nobody_reads(telling: RunLog, unread: list[str]) -> None:
    one, other = telling.follow(), telling.follow()
    one.leave()
    assert unread == []

    for _ in range(2):
        other.leave()
    assert unread == ["unread"]
    telling.follow().leave()
    assert unread == ["unread"] * 2


# Who has read how many batches and stays or leaves, and what of an answer in three batches counts as shown
SHOWN: dict[str, tuple[list[tuple[int, bool]], bool, str]] = {
    "nobody has read": ([], False, ""),
    "one has read some and left": ([(2, True)], False, "OneTwo"),
    "the one who read most": ([(1, True), (2, True)], False, "OneTwo"),
    "one is still there": ([(0, False)], False, "OneTwoThree"),
    "one is still there, and one has left": ([(1, True), (1, False)], False, "OneTwoThree"),
    "the answer is whole": ([(1, True)], True, "OneTwoThree"),
}


@pytest.mark.parametrize(("reads", "whole", "shown"), SHOWN.values(), ids=SHOWN)
async def test_what_was_read_of_an_answer_or_will_be_was_shown(
    telling: RunLog, reads: list[tuple[int, bool]], whole: bool, shown: str
) -> None:
    for text in ("One", "Two", "Three"):
        telling.append([reasoning("Hm."), answer(text)])
    readers: list[Reader] = []
    for times, leaves in reads:
        readers.append(telling.follow())
        for _ in range(times):
            await readers[-1].next()
        if leaves:
            readers[-1].leave()

    assert telling.answer(whole) == shown


async def test_what_was_told_is_kept_in_few_events(telling: RunLog) -> None:
    told = [
        *([ping()], [reasoning("H"), reasoning("m.")], [answer("He"), answer("llo")], [ping()]),
        *([tool_call("f")], [tool_call(None)], [answer("a"), answer("b")]),
        *([answer("c", "step-2")], [stop(), usage()]),
    ]
    for events in told:
        telling.append(events)
    telling.end()
    telling.keep()

    assert await read(telling.follow()) == [
        *(reasoning("Hm."), answer("Hello"), tool_call("f"), tool_call(None), answer("ab")),
        *(answer("c", "step-2"), stop(), usage()),
    ]


async def test_nothing_is_folded_while_somebody_reads(telling: RunLog) -> None:
    reader = telling.follow()
    for text in ("He", "llo"):
        telling.append([answer(text)])
    assert await reader.next() == [answer("He")]

    telling.keep()
    assert await reader.next() == [answer("llo")]
    telling.end()
    reader.leave()
    assert await read(telling.follow()) == [answer("Hello")]


async def follow(log: RunLog, after: int) -> list[Event]:
    """All events from a number on, without signs of life."""
    return [event for event in await read(log.follow(after)) if event != ping()]


@pytest.mark.parametrize("batches", [1, 3 * FOLD_BATCHES])
async def test_a_reader_may_follow_from_any_number_however_much_was_folded(batches: int) -> None:
    log = RunLog(lambda: None)
    for i in range(batches):
        log.append([answer(f"{i}a"), ping(), answer(f"{i}b"), tool_call("f")])
    log.end()
    events = [event for i in range(batches) for event in (answer(f"{i}a"), answer(f"{i}b"), tool_call("f"))]

    for after in range(0, log.count + 1, 7):
        told = await follow(log, after)
        assert text_in(told) == text_in(events[after:])
        assert calls_of(told) == calls_of(events[after:])


async def test_a_slow_reader_hears_all_while_another_reads_ahead(telling: RunLog) -> None:
    slow, fast = telling.follow(), telling.follow()
    for i in range(3 * FOLD_BATCHES):
        telling.append([answer(f"{i} ")])
        assert await fast.next() == [answer(f"{i} ")]
    telling.end()

    assert text_in(await read(slow)) == "".join(f"{i} " for i in range(3 * FOLD_BATCHES))


@pytest.mark.parametrize("reads", [True, False])
async def test_a_run_of_many_pieces_is_kept_in_few_events(telling: RunLog, reads: bool) -> None:
    reader = telling.follow()
    if not reads:
        reader.leave()
    for i in range(20 * FOLD_BATCHES):
        telling.append([answer(f"{i} ")])
        assert not reads or await reader.next()
    kept, _, _ = telling.begin(0)

    assert len(kept) == 1
    assert text_in(kept).startswith("0 1 2 ")


EVENTS = st.one_of(
    st.builds(answer, st.text(max_size=3), st.sampled_from(["step-1", "step-2"])),
    st.builds(reasoning, st.text(max_size=3)),
    st.builds(tool_call, st.sampled_from(["f", None])),
    st.just(ping()),
)


@given(st.lists(st.lists(EVENTS, max_size=4), max_size=6))
def test_keeping_changes_nothing_of_what_is_said(batches: list[list[Event]]) -> None:
    telling = RunLog(lambda: None)
    for events in batches:
        telling.append(events)
    before = [event for events in batches for event in events]
    telling.end()
    telling.keep()
    after, _, _ = telling.begin(0)

    assert spoken(after) == spoken(before)
    assert thoughts_of(after) == thoughts_of(before)
    assert calls_of(after) == calls_of(before)
