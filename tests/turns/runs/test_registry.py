"""Requests that come again, and clients that vanish: never twice, never lost."""

import asyncio
import gc
from collections.abc import Sequence
from copy import copy

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.errors import IdempotencyKeyReused
from gateway.domain.events import Event, Failure
from gateway.settings import Chats
from gateway.turns.runs.driver import Run
from gateway.turns.runs.means import means_of
from gateway.turns.runs.registry import KEPT_CHARACTERS, Runs
from gateway.turns.runs.resend import Sent, name_of_response
from gateway.turns.turn import Turn
from tests.events import answer, error, ping, stop, text_in, usage
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import AGAIN, FIRST, SILENCE, in_conversations, leave_after, play, read, runs_for, spoken, turn
from tests.turns.virtual_time import Gate, idle, now

pytestmark = pytest.mark.anyio

NAMED = Sent(request="request", alive=True)
KEYED = Sent(request="request", idempotency_key="key", may_come_again=True)
GRACE, RESEND = 1.0, 120.0
SPOKEN: Sequence[Step] = [[ping()], [answer("Hel")], 5.0, [answer("lo")], [stop(), usage()]]


# Requests that come again


@pytest.mark.parametrize("again", [AGAIN, KEYED], ids=["a retry count", "an idempotency key"])
async def test_a_request_sent_again_follows_the_run_under_way_from_its_start(
    letta: MemoryLetta, runs: Runs, again: Sent
) -> None:
    letta.scripts = [SPOKEN]
    first = runs.start(turn(), KEYED)
    await asyncio.sleep(2)
    second = runs.start(turn(), again)
    both = await asyncio.gather(read(first), read(second))

    assert [spoken(events) for events in both] == ["Hello", "Hello"]
    assert letta.count("run") == 1


async def test_a_request_with_message_ids_follows_the_run_under_way_and_is_a_new_turn_after_it(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [SPOKEN]
    first, second = runs.start(turn(), NAMED), runs.start(turn(), NAMED)
    await asyncio.gather(read(first), read(second))
    assert letta.count("run") == 1

    await play(runs, turn(), NAMED)
    assert letta.count("run") == 2


async def test_a_request_with_message_ids_is_a_new_turn_once_the_answer_was_read_whatever_letta_still_does(
    letta: MemoryLetta, runs: Runs
) -> None:
    closing = Gate()
    letta.scripts = [[[ping()], [answer("Hello")], [stop(), usage()], closing]]
    first = runs.start(turn(), NAMED)
    await closing.reached()
    await letta.said(3)
    assert first.take()
    first.leave()
    second = runs.start(turn(), NAMED)
    closing.open()

    assert spoken(await read(second)) == "Hello"
    assert letta.count("run") == 2


@pytest.mark.parametrize(
    ("first", "again"), [(FIRST, AGAIN), (KEYED, KEYED)], ids=["a retry count", "an idempotency key"]
)
async def test_a_request_sent_again_has_the_finished_answer_for_a_while(
    letta: MemoryLetta, runs: Runs, first: Sent, again: Sent
) -> None:
    told = await play(runs, turn(), first)
    await asyncio.sleep(RESEND - 5)
    assert spoken(await play(runs, turn(), again)) == spoken(told)
    assert letta.count("run") == 1

    await asyncio.sleep(10)
    assert await play(runs, turn(), again)
    assert letta.count("run") == 2


async def test_the_first_answer_counts_for_its_time_however_often_it_is_asked_for(
    letta: MemoryLetta, runs: Runs
) -> None:
    await play(runs, turn(), FIRST)
    for _ in range(3):
        await asyncio.sleep(RESEND / 2)
        await play(runs, turn(), AGAIN)

    assert letta.count("run") == 2


async def test_no_answer_is_kept_where_no_time_is_given_for_it(letta: MemoryLetta) -> None:
    runs = runs_for(letta, Chats(resend_seconds=0))
    await play(runs, turn(), FIRST)
    await idle()
    await play(runs, turn(), AGAIN)

    assert letta.count("run") == 2


async def test_the_answer_of_a_client_that_cannot_send_it_again_is_not_kept(letta: MemoryLetta, runs: Runs) -> None:
    await play(runs, turn(), Sent(request="request"))
    await idle()
    await play(runs, turn(), AGAIN)

    assert letta.count("run") == 2


async def test_five_equal_requests_without_marks_are_five_turns(letta: MemoryLetta, runs: Runs) -> None:
    await asyncio.gather(*(play(runs, turn(), FIRST) for _ in range(5)))

    assert letta.count("run") == 5


async def test_an_idempotency_key_with_another_body_is_refused(letta: MemoryLetta, runs: Runs) -> None:
    other = Sent(request="other", idempotency_key="key", may_come_again=True)
    letta.scripts = [SPOKEN]
    first = runs.start(turn(), KEYED)
    with pytest.raises(IdempotencyKeyReused):
        runs.start(turn(), other)

    await read(first)
    with pytest.raises(IdempotencyKeyReused):
        runs.start(turn(), other)
    await asyncio.sleep(RESEND + 1)
    assert await play(runs, turn(), other)
    assert letta.count("run") == 2


async def test_requests_with_other_idempotency_keys_are_other_turns(letta: MemoryLetta, runs: Runs) -> None:
    keys = [Sent(request="request", idempotency_key=key, may_come_again=True) for key in ("one", "two")]
    await asyncio.gather(*(play(runs, turn(), sent) for sent in keys))

    assert letta.count("run") == 2


# Failures

TAKEN: dict[str, tuple[Sequence[Step], type[errors.UpstreamError] | None]] = {
    "the stream broke": ([[ping()], [answer("He")], errors.BrokenStream("cut")], errors.BrokenStream),
    "the stream broke before it began": ([errors.BrokenStream("cut")], errors.BrokenStream),
    "the model failed": ([[ping()], [stop("llm_api_error")]], None),
}


@pytest.mark.parametrize(("script", "failure"), TAKEN.values(), ids=TAKEN)
async def test_a_failed_run_whose_message_letta_has_is_not_run_again(
    letta: MemoryLetta, runs: Runs, script: Sequence[Step], failure: type[errors.UpstreamError] | None
) -> None:
    letta.scripts = [script]
    both = [
        await asyncio.gather(play(runs, turn(), FIRST), return_exceptions=True),
        await asyncio.gather(play(runs, turn(), AGAIN), return_exceptions=True),
    ]

    assert letta.count("run") == 1
    if failure:
        assert [type(one) for (one,) in both] == [failure, failure]


@pytest.mark.parametrize("error", [errors.Unreachable("no"), errors.Refused("422")], ids=["no way", "refused"])
async def test_a_failed_run_whose_message_letta_did_not_take_is_run_again(
    letta: MemoryLetta, runs: Runs, error: errors.UpstreamError
) -> None:
    letta.fail("run", error)
    with pytest.raises(type(error)):
        await play(runs, turn(), FIRST)
    await idle()

    assert spoken(await play(runs, turn(), AGAIN)) == "Hello"
    assert [received.texts for received in letta.store.received] == [["Hi"]]


KEPT: dict[str, Sequence[Step]] = {"an answer": SPOKEN, **{name: script for name, (script, _) in TAKEN.items()}}


@pytest.mark.parametrize("script", KEPT.values(), ids=KEPT)
async def test_nothing_is_kept_of_a_run_for_requests_sent_again_but_what_it_told(
    letta: MemoryLetta, runs: Runs, script: Sequence[Step]
) -> None:
    # An error that is raised holds what it came through.
    letta.scripts = [[copy(step) for step in script]]
    before = held()
    first = await told(runs)
    await idle()

    assert held() == before
    assert await told(runs) == first
    assert letta.count("run") == 1


def held() -> list[int]:
    """How many runs and turns are in memory."""
    gc.collect()
    kinds = [type(one) for one in gc.get_objects()]
    return [kinds.count(kind) for kind in (Run, Turn)]


async def told(runs: Runs) -> str:
    """The text of an answer, or what it failed with."""
    try:
        return spoken(await play(runs, turn(), KEYED))
    except errors.UpstreamError as error:
        return repr(error)


async def test_answers_are_kept_up_to_a_weight_and_the_last_in_any_case(letta: MemoryLetta, runs: Runs) -> None:
    half = "x" * (KEPT_CHARACTERS // 2)
    keyed = [Sent(idempotency_key=f"key {i}", may_come_again=True) for i in range(3)]
    for sent in keyed:
        letta.scripts.append([[ping()], [answer(half)], [answer(" and more")], [stop()]])
        await play(runs, turn(), sent)
        await idle()
    for sent in reversed(keyed):
        await play(runs, turn(), sent)

    # The last one alone, for two are too heavy together.
    assert letta.count("run") == 5


async def test_a_run_that_failed_for_a_reason_nobody_knows_is_run_again(letta: MemoryLetta, runs: Runs) -> None:
    letta.fail("find_agents", RuntimeError("a bug"))
    with pytest.raises(RuntimeError):
        await play(runs, turn(), KEYED)
    await idle()

    assert spoken(await play(runs, turn(), KEYED)) == "Hello"


# Clients that vanish


async def test_a_run_whose_client_vanished_goes_on_for_a_moment_and_is_then_cancelled(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [SPOKEN]
    await leave_after(runs, turn(), 2)
    await asyncio.sleep(GRACE - 0.1)
    assert in_conversations(letta) == ["run"]

    await asyncio.sleep(0.2)
    assert in_conversations(letta) == ["run", "cancel"]


@pytest.mark.parametrize("again", [AGAIN, NAMED], ids=["a retry count", "message ids"])
async def test_a_request_sent_again_in_that_moment_takes_the_run_over(
    letta: MemoryLetta, runs: Runs, again: Sent
) -> None:
    letta.scripts = [SPOKEN]
    await leave_after(runs, turn(), 2)
    await asyncio.sleep(GRACE / 2)

    assert spoken(await play(runs, turn(), again)) == "Hello"
    assert in_conversations(letta) == ["run"]


async def test_a_run_taken_over_and_left_again_has_its_moment_again(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [SPOKEN]
    await leave_after(runs, turn(), 2)
    await asyncio.sleep(GRACE / 2)
    await leave_after(runs, turn(), 2, AGAIN)
    await asyncio.sleep(GRACE * 0.9)
    assert in_conversations(letta) == ["run"]

    await asyncio.sleep(GRACE)
    assert in_conversations(letta) == ["run", "cancel"]


async def test_a_request_sent_again_after_that_moment_is_run_again(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [SPOKEN]
    await leave_after(runs, turn(), 2)
    await asyncio.sleep(GRACE * 2)

    assert spoken(await play(runs, turn(), AGAIN)) == "Hello"
    assert [received.texts for received in letta.store.received] == [["Hi"], ["Hi"]]


async def test_a_run_that_ends_in_that_moment_keeps_its_answer(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], [answer("Hel")], GRACE / 2, [answer("lo")], [stop()]]]
    await leave_after(runs, turn(), 2)
    await asyncio.sleep(GRACE * 3)

    assert spoken(await play(runs, turn(), AGAIN)) == "Hello"
    assert in_conversations(letta) == ["run"]


OTHER_REQUESTS: dict[str, Turn] = {
    "the next message": turn("Hi", "Hel", "More"),
    "an edit": turn("Hello there"),
    "the same without marks": turn("Hi"),
}


@pytest.mark.parametrize("other", OTHER_REQUESTS.values(), ids=OTHER_REQUESTS)
async def test_any_other_message_in_that_chat_cancels_the_run_at_once(
    letta: MemoryLetta, runs: Runs, other: Turn
) -> None:
    letta.scripts = [SPOKEN]
    await leave_after(runs, turn(), 2)
    left = now()
    await play(runs, other, Sent(request="other"))

    assert now() - left < 0.5
    assert [name for name in in_conversations(letta) if name != "recompile"] == ["run", "cancel", "run"]


async def test_a_message_in_another_chat_leaves_the_run_alone(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [SPOKEN]
    await leave_after(runs, turn(), 2)
    await play(runs, turn(chat="other"), Sent(request="other"))
    await play(runs, turn(user="bob"), Sent(request="bob's"))

    assert "cancel" not in in_conversations(letta)


async def test_a_message_does_not_cancel_a_run_that_somebody_reads(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [SPOKEN]
    both = await asyncio.gather(play(runs, turn()), play(runs, turn("Other")))

    assert [spoken(events) for events in both] == ["Hello", "Hello"]
    assert "cancel" not in in_conversations(letta)


async def test_nothing_of_a_stopped_answer_is_in_the_next(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [["deaf", [ping()], [answer("Old")], 2.0, [answer("er")], [stop()]]]
    await leave_after(runs, turn("Hi"), 2)

    assert spoken(await play(runs, turn("Hi", "Old", "More"), Sent(request="other"))) == "Hello"
    assert letta.store.received[-1].texts == ["Hi", "Older", "More"]


async def test_the_next_turn_begins_when_a_cancel_that_takes_a_second_has_returned(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.delay = lambda call: 1.0 if call == "cancel" else 0.0
    letta.scripts = [SPOKEN, SPOKEN]
    await leave_after(runs, turn("Hi"), 2)
    left = now()
    following = runs.start(turn("Hi", "Hel", "More"), Sent(request="other"))
    await letta.said()

    assert now() - left >= 1.0
    assert spoken(await read(following)) == "Hello"


RESPONSE = Sent(request="request", response=name_of_response("1" * 16))
KEEP = 600.0


def keeping(letta: MemoryLetta) -> Runs:
    """Runs that are kept for those who ask for their responses."""
    return Runs(means_of(letta, 0.5, SILENCE, Chats()), RESEND, keep_seconds=KEEP)


@pytest.mark.parametrize("when", ["under way", "ended", "failed"])
async def test_a_run_is_followed_by_the_name_of_its_response_from_any_number(letta: MemoryLetta, when: str) -> None:
    runs, gate = keeping(letta), Gate()
    ending: list[Event] = [stop()] if when != "failed" else [stop("error"), error("llm_error", "no")]
    letta.scripts = [[[ping()], [answer("Hello ")], [answer("there")], gate, ending]]
    reader = runs.start(turn("Hi"), RESPONSE, head=b"its head")
    await idle()
    if when != "under way":
        gate.open()
        await asyncio.wait([run.task for run in runs.under_way])
        await asyncio.sleep(KEEP - 1)
    later = await runs.follow(RESPONSE.response, after=1)
    gate.open()

    assert later
    assert later.head == b"its head"
    told = await read(later)
    assert text_in(told) == "there"
    assert text_in(await read(reader)) == "Hello there"
    assert any(isinstance(event, Failure) for event in told) == (when == "failed")


async def test_a_run_is_forgotten_in_time_and_a_name_of_none_finds_nothing(letta: MemoryLetta) -> None:
    runs = keeping(letta)
    await play(runs, turn("Hi"), RESPONSE)
    await idle()
    assert await runs.follow(RESPONSE.response)
    assert await runs.follow(name_of_response("2" * 16)) is None

    await asyncio.sleep(KEEP + 1)
    assert await runs.follow(RESPONSE.response) is None


async def test_a_run_that_outlives_its_readers_goes_on_to_its_end(letta: MemoryLetta) -> None:
    runs = keeping(letta)
    letta.scripts = [SPOKEN]
    runs.start(msgspec.structs.replace(turn("Hi"), outlives=True), RESPONSE).leave()
    await asyncio.sleep(60)
    reader = await runs.follow(RESPONSE.response)

    assert reader
    assert text_in(await read(reader)) == "Hello"
    assert letta.count("cancel") == 0


async def test_whoever_cancels_a_run_has_it_ended_and_its_readers_told(letta: MemoryLetta) -> None:
    runs = keeping(letta)
    letta.scripts = [SPOKEN]
    reader = runs.start(msgspec.structs.replace(turn("Hi"), outlives=True), RESPONSE)
    await letta.said(2)

    assert await runs.cancel(RESPONSE.response)
    assert letta.count("cancel") == 1
    with pytest.raises(errors.Unwanted):
        await read(reader)
    again = await runs.cancel(RESPONSE.response)
    assert again
    with pytest.raises(errors.Unwanted):
        await read(again)
    assert letta.count("cancel") == 1
