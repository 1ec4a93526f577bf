"""How each stage of a turn ends when nobody listens any more, and that the next one waits for that."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from gateway.domain import errors
from gateway.domain.events import Stop, Text
from gateway.settings import Chats
from gateway.turns.runs.driver import DRAIN_SECONDS, Run
from gateway.turns.runs.means import Means, means_of
from tests.events import answer, ping, stop, usage
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import SILENCE, ended, in_conversations, play, read, runs_for, spoken, told_next, turn
from tests.turns.virtual_time import Gate, idle, now

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("call", ["find_agents", "create_agent", "find_conversations", "create_conversation"])
async def test_a_turn_left_while_it_is_prepared_sends_nothing(letta: MemoryLetta, means: Means, call: str) -> None:
    looking = letta.gate(call)
    run = Run(turn(), means)
    await looking.reached()
    run.leave()
    await ended(run)
    looking.open()
    await idle()

    assert in_conversations(letta) == []


async def test_a_turn_left_before_it_began_sends_nothing(letta: MemoryLetta, means: Means) -> None:
    run = Run(turn(), means)
    run.leave()
    await ended(run)

    assert letta.calls == []


async def test_a_turn_left_while_it_waits_for_another_sends_nothing(letta: MemoryLetta, means: Means) -> None:
    thinking = Gate()
    letta.scripts = [[[ping()], thinking, [stop()]]]
    first, second = Run(turn(), means), Run(turn(), means)
    await thinking.reached()
    second.leave()
    await ended(second)
    thinking.open()
    await ended(first)

    assert in_conversations(letta) == ["run"]


async def test_a_turn_left_while_letta_takes_it_is_cancelled_once_letta_names_it(
    letta: MemoryLetta, means: Means
) -> None:
    sending = letta.gate("run")
    letta.scripts = [[[ping()], Gate()]]
    run = Run(turn(), means)
    await sending.reached()
    run.leave()
    await idle()
    assert not run.task.done()

    sending.open()
    await ended(run)
    assert in_conversations(letta) == ["run", "cancel"]


async def test_a_turn_left_while_letta_takes_it_is_not_cancelled_if_it_ends_at_once(
    letta: MemoryLetta, means: Means
) -> None:
    sending = letta.gate("run")
    letta.scripts = [[[answer("Hi"), stop()]]]
    run = Run(turn(), means)
    await sending.reached()
    run.leave()
    sending.open()
    await ended(run)

    assert in_conversations(letta) == ["run"]


async def test_a_turn_left_while_letta_takes_it_is_not_sent_again(letta: MemoryLetta, means: Means) -> None:
    await play(means, turn("Hi"))
    letta.store.conversations.clear()
    sending = letta.gate("run")
    run = Run(turn("Hi", "Hello", "More"), means)
    await sending.reached()
    run.leave()
    sending.open()
    await ended(run)

    assert in_conversations(letta) == ["run", "run"]


async def test_a_turn_left_while_letta_answers_is_cancelled_once(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], Gate()]]
    run = Run(turn(), means)
    run.follow()
    await letta.said()
    for _ in range(2):
        run.leave()
    await ended(run)

    assert in_conversations(letta) == ["run", "cancel"]
    assert letta.subjects("cancel") == [letta.sent[0][0]]


async def test_a_turn_left_after_the_reason_to_stop_is_not_cancelled(letta: MemoryLetta, means: Means) -> None:
    counting = Gate()
    letta.scripts = [[[ping()], [stop()], counting]]
    run = Run(turn(), means)
    await counting.reached()
    run.leave()
    counting.open()
    await ended(run)

    assert in_conversations(letta) == ["run"]


async def test_a_turn_cancelled_before_the_model_has_said_anything_ends_with_the_cancel(
    letta: MemoryLetta, means: Means
) -> None:
    letta.scripts = [[[ping()], Gate()]]
    run = Run(turn(), means)
    run.follow()
    await letta.said()
    left = now()
    run.leave()
    await ended(run)

    assert now() - left < 0.1


async def test_a_turn_cancelled_near_its_end_is_read_to_that(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [["deaf", [ping()], [answer("Hel")], 0.5, [answer("lo")], [stop()]]]
    reader = (run := Run(turn("Hi"), means)).follow()
    await letta.said(2)
    assert reader.take()
    run.leave()
    await ended(run)
    await play(means, turn("Hi", "Hello", "More"))

    assert letta.sent_texts() == [["Hi"], ["More"]]


async def test_a_turn_cancelled_is_not_read_for_ever(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [["deaf", [ping()], [answer("Hel")], Gate()]]
    reader = (run := Run(turn("Hi"), means)).follow()
    await letta.said(2)
    assert reader.take()
    left = now()
    run.leave()
    await ended(run)

    assert now() - left <= DRAIN_SECONDS + 0.1


# What a run does, up to the moment when its client leaves or Letta fails it
CANCELLED: dict[str, tuple[Sequence[Step], bool]] = {
    "it was left": ([[ping()], Gate()], True),
    "its stream broke": ([[ping()], errors.BrokenStream("cut")], False),
    "its stream broke before it began": ([errors.TimedOut("no byte")], False),
    "it hung": ([[ping()], SILENCE * 2], False),
}


@pytest.mark.parametrize(("script", "leaves"), CANCELLED.values(), ids=CANCELLED)
async def test_the_next_turn_begins_when_the_cancel_has_returned(
    letta: MemoryLetta, script: Sequence[Step], leaves: bool
) -> None:
    means = means_of(letta, 0.5, SILENCE, Chats(queue_seconds=SILENCE * 3))
    cancelling = letta.gate("cancel")
    letta.scripts = [script]
    first, second = Run(turn(), means), Run(turn(), means)
    if leaves:
        first.follow()
        await letta.said()
        first.leave()
    await cancelling.reached()
    await idle()
    assert in_conversations(letta) == ["run", "cancel"]

    cancelling.open()
    await read(second.follow())
    assert in_conversations(letta) == ["run", "cancel", "recompile", "run"]


async def test_a_cancel_that_takes_a_second_does_not_end_the_next_turn(letta: MemoryLetta, means: Means) -> None:
    letta.delay = lambda call: 1.0 if call == "cancel" else 0.0
    letta.scripts = [[[ping()], [answer("Hel")], Gate()], [[ping()], 2.0, [answer("Hello")], [stop()]]]
    first, second = Run(turn(), means), Run(turn(), means)
    first.follow()
    await letta.said()
    first.leave()

    assert [type(event) for event in await read(second.follow())] == [Text, Stop]


async def test_a_reader_need_not_wait_for_the_cancel_to_hear_of_a_failure(letta: MemoryLetta, means: Means) -> None:
    cancelling = letta.gate("cancel")
    letta.scripts = [[[ping()], errors.BrokenStream("cut")]]
    run = Run(turn(), means)

    with pytest.raises(errors.BrokenStream):
        await read(run.follow())
    assert not run.task.done()
    cancelling.open()
    await ended(run)


async def test_leaving_does_not_cut_a_cancel_short(letta: MemoryLetta, means: Means) -> None:
    cancelling = letta.gate("cancel")
    letta.scripts = [[[ping()], errors.BrokenStream("cut")]]
    first, second = Run(turn(), means), Run(turn(), means)
    await cancelling.reached()
    first.leave()
    await idle()
    assert in_conversations(letta) == ["run", "cancel"]

    cancelling.open()
    await read(second.follow())


async def test_a_cancel_may_take_longer_than_a_run_may_be_silent(letta: MemoryLetta) -> None:
    patient = means_of(letta, 0.5, SILENCE, Chats(queue_seconds=SILENCE * 3))
    letta.delay = lambda call: SILENCE * 2 if call == "cancel" else 0.0
    letta.scripts = [[[ping()], Gate()]]
    first, second = Run(turn(), patient), Run(turn(), patient)
    first.follow()
    await letta.said()
    first.leave()
    left = now()
    second.follow()
    await letta.said()

    assert now() - left >= SILENCE * 2


async def test_a_cancel_that_fails_is_logged_and_the_run_ends_as_it_was(
    letta: MemoryLetta, means: Means, caplog: pytest.LogCaptureFixture
) -> None:
    letta.scripts = [["deaf", [ping()], errors.BrokenStream("cut"), [answer("Hello")], [stop()]]]
    letta.fail("cancel", errors.Unreachable("no way"))

    with caplog.at_level(logging.WARNING), pytest.raises(errors.BrokenStream):
        await play(means, turn())
    assert [record.getMessage() for record in caplog.records] == ["a run could not be cancelled: Unreachable: no way"]
    assert await play(means, turn())


async def test_a_run_that_was_stopped_tells_its_reader(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], Gate()]]
    reader = (run := Run(turn(), means)).follow()
    await letta.said()
    run.stop()

    with pytest.raises(errors.Stopped):
        await told_next(reader)
    await ended(run)
    assert in_conversations(letta) == ["run", "cancel"]


# Silence

HANGING: dict[str, Sequence[Step]] = {
    "nothing": [Gate()],
    "one ping": [[ping()], Gate()],
    "nothing but pings": [step for _ in range(100) for step in ([ping()], 20.0)],
    "an answer, then nothing but pings": [[answer("He")], *[step for _ in range(100) for step in ([ping()], 20.0)]],
}


@pytest.mark.parametrize("script", HANGING.values(), ids=HANGING)
async def test_a_run_that_says_nothing_but_pings_is_cancelled_in_time(
    letta: MemoryLetta, means: Means, script: Sequence[Step]
) -> None:
    letta.scripts = [script]
    began = now()

    with pytest.raises(errors.TimedOut):
        await play(means, turn())
    assert SILENCE <= now() - began <= SILENCE * 1.5
    assert in_conversations(letta) == ["run", "cancel"]


async def test_a_run_may_take_any_time_while_it_says_something(letta: MemoryLetta, means: Means) -> None:
    words: list[Step] = [step for _ in range(20) for step in ([answer("word ")], SILENCE * 0.9)]
    letta.scripts = [[*words, [stop()]]]

    assert len(await play(means, turn())) == 21
    assert in_conversations(letta) == ["run"]


async def test_after_the_reason_to_stop_the_end_is_awaited_for_seconds_only(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], [stop()], Gate()]]
    began = now()

    with pytest.raises(errors.TimedOut):
        await play(means, turn())
    assert now() - began < 10
    assert in_conversations(letta) == ["run"]


async def test_an_unexpected_error_of_a_run_under_way_cancels_it(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], RuntimeError("a bug")]]

    with pytest.raises(RuntimeError, match="a bug"):
        await play(means, turn())
    await asyncio.sleep(1)
    assert in_conversations(letta) == ["run", "cancel"]


async def test_what_is_given_up_in_line_is_brought_back_though_the_turn_before_it_ends_well(
    either: MemoryLetta,
) -> None:
    runs = runs_for(either)
    either.scripts = [[[ping()], [answer("Hel")], 5.0, [answer("lo")], [stop(), usage()]]]
    first = runs.start(turn("One", keeps_history=False))
    await either.said()
    runs.start(turn("Two", keeps_history=False)).leave()
    assert spoken(await read(first)) == "Hello"
    await play(runs, turn("Three", keeps_history=False))

    assert either.store.received[-1].texts == ["One", "Hello", "Two", "Three"]
