"""What a run says reaches every reader, from any number, however late or slowly it reads."""

import asyncio
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import Event, Text, Thought
from gateway.turns.runs.log import JOINED_PIECES, Reader, RunLog, Told
from tests.events import answer, calls_of, ping, reasoning, stop, text_in, thoughts_of, tool_call, usage
from tests.turns.turns import read, told_next
from tests.turns.virtual_time import idle

pytestmark = pytest.mark.anyio


@pytest.fixture
def unread() -> list[str]:
    """An entry for each time when nobody was left to read."""
    return []


@pytest.fixture
def telling(unread: list[str]) -> RunLog:
    return RunLog(lambda: unread.append("unread"))


def whole(event: Event) -> Event:
    """The event as if it had come in one piece."""
    return msgspec.structs.replace(event, pieces=1) if isinstance(event, Text | Thought) else event


async def test_a_reader_hears_what_is_told_as_it_comes(telling: RunLog) -> None:
    waiting = asyncio.create_task(told_next(telling.follow()))
    await idle()
    assert not waiting.done()

    telling.append([answer("Hel"), answer("lo")])
    assert await waiting == [answer("Hel"), answer("lo")]


async def test_a_reader_that_listens_hears_it_before_the_run_goes_on(telling: RunLog) -> None:
    reader, heard = telling.follow(), list[Told | None]()
    reader.listen(lambda: heard.append(reader.take()))
    telling.append([answer("Hel"), answer("lo")])
    telling.append([stop()])
    telling.end()

    assert heard == [Told([answer("Hel"), answer("lo")], range(1, 3)), Told([stop()], range(3, 4)), None]


@pytest.mark.parametrize("silent", [ping(), answer(""), reasoning("")], ids=["sign of life", "no text", "no thought"])
async def test_what_shows_nothing_is_told_to_nobody(telling: RunLog, silent: Event) -> None:
    reader = telling.follow()
    reader.listen(lambda: pytest.fail("told"))
    telling.append([silent])

    assert reader.take() == Told([], ())
    assert telling.count == 0


async def test_a_reader_that_comes_late_hears_everything(telling: RunLog) -> None:
    for text in ("One", "Two"):
        telling.append([answer(text)])
    reader = telling.follow()
    assert await told_next(reader) == [answer("One"), answer("Two")]

    telling.append([answer("Three")])
    telling.end()
    assert [await told_next(reader) for _ in range(3)] == [[answer("Three")], None, None]


async def test_every_reader_hears_everything(telling: RunLog) -> None:
    readers = [asyncio.create_task(read(telling.follow())) for _ in range(3)]
    await idle()
    telling.append([answer("Hello")])
    telling.end()

    assert [text_in(events) for events in await asyncio.gather(*readers)] == ["Hello"] * 3


async def test_readers_may_leave_as_they_are_told(telling: RunLog, unread: list[str]) -> None:
    readers = [telling.follow() for _ in range(64)]
    for reader in readers:
        reader.listen(reader.leave)
    telling.append([answer("Hello")])

    assert unread == ["unread"]


async def test_a_failure_is_told_after_what_came_before_it(telling: RunLog) -> None:
    telling.append([answer("He")])
    telling.fail(RuntimeError("a bug"))
    for reader in (telling.follow(), telling.follow()):
        assert await told_next(reader) == [answer("He")]
        for _ in range(2):
            with pytest.raises(RuntimeError, match="a bug"):
                await told_next(reader)


async def test_the_first_failure_counts_and_none_after_the_end(telling: RunLog) -> None:
    telling.fail(RuntimeError("first"))
    telling.fail(RuntimeError("second"))
    telling.end()
    with pytest.raises(RuntimeError, match="first"):
        await told_next(telling.follow())

    ended = RunLog(lambda: None)
    ended.end()
    ended.fail(RuntimeError("late"))
    assert await told_next(ended.follow()) is None


async def test_when_the_last_reader_leaves_nobody_reads(telling: RunLog, unread: list[str]) -> None:
    one, other = telling.follow(), telling.follow()
    one.leave()
    assert unread == []

    for _ in range(2):
        other.leave()
    assert unread == ["unread"]
    telling.follow().leave()
    assert unread == ["unread"] * 2


# After how many of an answer's three texts each reader looks last, and if it leaves; what of the answer counts as shown
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
    readers = [(telling.follow(), last, leaves) for last, leaves in reads]
    for said, text in enumerate(("One", "Two", "Three"), 1):
        telling.append([reasoning("Hm."), answer(text)])
        for reader, last, leaves in readers:
            if said <= last:
                reader.take()
            if said == last and leaves:
                reader.leave()

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

    assert [whole(event) for event in await read(telling.follow())] == [
        *(reasoning("Hm."), answer("Hello"), tool_call("f"), tool_call(None), answer("ab")),
        *(answer("c", "step-2"), stop(), usage()),
    ]


@pytest.mark.parametrize("batches", [1, 3 * JOINED_PIECES])
async def test_a_reader_may_follow_from_any_number_however_much_was_joined(batches: int) -> None:
    log = RunLog(lambda: None)
    for i in range(batches):
        log.append([answer(f"{i}a"), ping(), answer(f"{i}b"), tool_call("f")])
    log.end()
    events = [event for i in range(batches) for event in (answer(f"{i}a"), answer(f"{i}b"), tool_call("f"))]

    for after in range(0, log.count + 1, 7):
        told = await read(log.follow(after))
        assert text_in(told) == text_in(events[after:])
        assert calls_of(told) == calls_of(events[after:])


async def test_a_slow_reader_hears_all_while_another_reads_ahead(telling: RunLog) -> None:
    slow, fast = telling.follow(), telling.follow()
    for i in range(3 * JOINED_PIECES):
        telling.append([answer(f"{i} ")])
        assert await told_next(fast) == [answer(f"{i} ")]
    telling.end()

    [joined] = await read(slow)
    assert whole(joined) == answer("".join(f"{i} " for i in range(3 * JOINED_PIECES)))
    assert isinstance(joined, Text)
    assert joined.pieces == 3 * JOINED_PIECES


async def test_a_reader_that_comes_late_takes_a_long_answer_in_parts(
    telling: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.turns.runs.log.TAKEN_AT_ONCE", 100)
    for i in range(100):
        telling.append([answer(f"{i:04} "), *([tool_call("f")] if i % 30 == 29 else [])])
    telling.append([answer("x" * 300)])
    telling.end()
    reader, told = telling.follow(), list[Told]()
    told_of = list[None]()
    reader.listen(lambda: told_of.append(None))
    while one := reader.take():
        told.append(one)

    assert text_in([event for one in told for event in one.events]) == telling.answer(whole=True)
    assert [len(text_in(one.events)) for one in told[:2]] == [100, 50]
    # It was told each time that there is more.
    assert len(told_of) == len(told) - 1
    assert [one.numbers[-1] for one in told] == sorted({one.numbers[-1] for one in told})


EVENTS = st.one_of(
    st.builds(answer, st.text(max_size=3), st.sampled_from(["step-1", "step-2"])),
    st.builds(reasoning, st.text(max_size=3)),
    st.builds(tool_call, st.sampled_from(["f", None])),
    st.just(ping()),
)
# Few kinds and many of each: pieces of one text fill more than one block.
LONG = st.lists(st.builds(answer, st.text(max_size=2)), min_size=JOINED_PIECES - 2, max_size=3 * JOINED_PIECES)
BATCHES = st.lists(st.lists(EVENTS, max_size=4) | LONG, max_size=6)


@given(BATCHES)
def test_keeping_changes_nothing_of_what_is_said(batches: list[list[Event]]) -> None:
    telling = RunLog(lambda: None)
    for events in batches:
        telling.append(events)
    before = [event for events in batches for event in events]
    telling.end()
    telling.keep()
    after = telling.after(0).events

    assert text_in(after) == text_in(before)
    assert thoughts_of(after) == thoughts_of(before)
    assert calls_of(after) == calls_of(before)


def said_at(told: list[tuple[int, Event]]) -> dict[int, tuple[str, int]]:
    """By each number at which a reader may stop: the texts up to it, and how many other events."""
    texts, others, found = "", 0, {}
    for number, event in told:
        if isinstance(event, Text | Thought):
            texts += f"{type(event).__name__[0]}{event.step}:".join(["", *event.text])
        else:
            others += 1
        found[number] = texts, others
    return found


def taken(reader: Reader) -> list[tuple[int, Event]]:
    told = reader.take()
    return [*zip(told.numbers, told.events, strict=True)] if told else []


@given(BATCHES, st.data())
def test_an_event_has_the_same_number_live_joined_replayed_and_followed_from_anywhere(
    batches: list[list[Event]], data: st.DataObject
) -> None:
    log = RunLog(lambda: None)
    live, slow = log.follow(), log.follow()
    told_live, told_slow = list[tuple[int, Event]](), list[tuple[int, Event]]()
    for events in batches:
        log.append(events)
        told_live += taken(live)
        if data.draw(st.booleans()):
            told_slow += taken(slow)
    log.end()
    told_slow += taken(slow)
    replayed = taken(log.follow())
    numbers = [number for number, _ in told_live]
    by_number = said_at(told_live)

    assert numbers == [*range(1, log.count + 1)]
    for told in (told_slow, replayed):
        assert all(earlier < later for earlier, later in pairwise(number for number, _ in told))
        assert said_at(told).items() <= by_number.items()
    after = data.draw(st.sampled_from([0, *numbers]))
    assert said_at([*told_live[:after], *taken(log.follow(after))]).items() <= by_number.items()
