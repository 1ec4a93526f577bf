"""After Stop the agent knows what was shown; and turns that wait, threads, approvals and the gateway's end."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.domain import errors
from gateway.settings import AgentType, Chats, Key
from gateway.turns.chats.markers import thread_marker
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import NO_IDS
from gateway.turns.people.identity import Caller, User
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.resend import Sent
from gateway.turns.turn import Turn, to_turn
from tests.events import answer, approval_request, ping, stop, usage
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.store import Store
from tests.turns.turns import (
    AGAIN,
    FIRST,
    in_conversations,
    leave_after,
    path_of,
    play,
    read,
    runs_for,
    spoken,
    told_next,
    turn,
)
from tests.turns.virtual_time import Gate, idle, now

pytestmark = pytest.mark.anyio

GRACE = 1.0
SPOKEN: Sequence[Step] = [[ping()], [answer("Hel")], 5.0, [answer("lo")], [stop(), usage()]]

both_kinds = pytest.mark.parametrize("forks", [False, True], ids=["v1", "app-server"])


# What was stopped is brought back

STOPPED: dict[str, tuple[int, list[str]]] = {
    "before the model has said anything": (1, []),
    "in the middle of the answer": (2, ["Hel"]),
}
each_stop = pytest.mark.parametrize(("batches", "shown"), STOPPED.values(), ids=STOPPED)
each_memory = pytest.mark.parametrize("restarted", [False, True], ids=["the same gateway", "a new one"])


@both_kinds
@each_stop
@each_memory
async def test_after_stop_a_client_without_history_need_not_say_it_again(
    forks: bool, batches: int, shown: list[str], restarted: bool
) -> None:
    letta = MemoryLetta(Store(forks))
    runs = runs_for(letta)
    await play(runs, turn("Hi", keeps_history=False))
    letta.scripts = [SPOKEN]
    await leave_after(runs, turn("Two", keeps_history=False), batches)
    if restarted:
        await asyncio.sleep(GRACE * 2)
        runs = runs_for(letta)
    for text in ("Three", "Four"):
        await play(runs, turn(text, keeps_history=False), Sent(request=text))

    said = ["Hi", "Hello", "Two", *shown, "Three"]
    assert [received.texts for received in letta.store.received[-2:]] == [said, [*said, "Hello", "Four"]]


@both_kinds
@each_memory
async def test_what_a_client_without_history_said_and_nobody_answered_is_asked_once(
    forks: bool, restarted: bool
) -> None:
    letta = MemoryLetta(Store(forks))
    runs = runs_for(letta)
    await play(runs, turn("Hi", keeps_history=False))
    letta.scripts = [[[ping()], [stop("llm_api_error")]]]
    await play(runs, turn("Two", keeps_history=False))
    if restarted:
        runs = runs_for(letta)
    await play(runs, turn("Two", keeps_history=False))

    assert [received.texts for received in letta.store.received] == [["Hi"], *[["Hi", "Hello", "Two"]] * 2]


# The line of a chat


async def test_one_turn_too_many_is_refused_at_once(letta: MemoryLetta) -> None:
    runs = runs_for(letta, Chats(queue_length=2))
    thinking = Gate()
    letta.scripts = [[[ping()], thinking, [stop()]]]
    waiting = [runs.start(turn()) for _ in range(3)]
    await thinking.reached()

    with pytest.raises(errors.QueueFull):
        await play(runs, turn())
    assert now() < 2
    assert await play(runs, turn(chat="other"))
    thinking.open()
    assert all(await asyncio.gather(*(read(reader) for reader in waiting)))


async def test_a_turn_that_waits_too_long_is_refused(letta: MemoryLetta) -> None:
    runs = runs_for(letta, Chats(queue_seconds=5.0))
    letta.scripts = [[[ping()], 100.0, [stop()]]]
    first = runs.start(turn())
    await letta.said()
    began = now()

    with pytest.raises(errors.QueueFull):
        await play(runs, turn())
    assert now() - began == pytest.approx(5.0)
    await read(first)
    assert letta.count("run") == 1


async def test_a_turn_that_was_refused_may_be_sent_again(letta: MemoryLetta) -> None:
    runs = runs_for(letta, Chats(queue_length=0))
    letta.scripts = [[[ping()], 10.0, [stop()]]]
    first = runs.start(turn())
    await letta.said()
    with pytest.raises(errors.QueueFull):
        await play(runs, turn("Other"), FIRST)
    await read(first)

    assert spoken(await play(runs, turn("Other"), AGAIN)) == "Hello"


# Approvals


async def test_a_pending_approval_does_not_lock_a_chat(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], [answer("Let me see.")], [approval_request("search")], [stop("requires_approval")]]]
    await play(runs, turn("Hi"))
    await play(runs, turn("Hi", "Let me see.", "More"))

    assert [sending.denied for _, sending in letta.sent] == [(), ("call-1",)]
    assert letta.store.received[-1].texts == ["Hi", "Let me see.", "More"]


# One endless thread

THREAD = AgentType(id="diary", model="m/one", conversations="single")


def in_thread(*texts: str, chat: str | None = "chat", frontend: bool = True) -> Turn:
    key = Key(name="school", scope="school")
    return to_turn(
        key, THREAD, Caller(User("school", "ada", "ada"), chat, frontend), RequestedPath(path_of(texts)), NO_IDS
    )


async def test_a_thread_has_one_conversation_and_hears_only_what_is_new(letta: MemoryLetta, runs: Runs) -> None:
    await play(runs, in_thread("One", chat="a"))
    await play(runs, in_thread("Two", chat="b"))
    await play(runs, in_thread("Two", "Hello", "Three", chat=None))
    await play(runs_for(letta), in_thread("An edit", chat="a"))

    assert letta.sent_texts() == [["One"], ["Two"], ["Three"], ["An edit"]]
    (kept,) = letta.store.conversations.values()
    assert (kept.conversation.summary or "").endswith(thread_marker("diary", "school", "ada"))


async def test_the_last_message_of_a_thread_is_asked_again_where_it_was_not_answered(
    letta: MemoryLetta, runs: Runs
) -> None:
    await play(runs, in_thread("One"))
    letta.scripts = [[[ping()], [stop("llm_api_error")]]]
    await play(runs, in_thread("Two"))
    await play(runs, in_thread("Two"))

    assert letta.store.received[-1].texts == ["One", "Hello", "Two"]


async def test_a_temporary_chat_with_a_thread_is_no_temporary_conversation(letta: MemoryLetta, runs: Runs) -> None:
    await play(runs, in_thread("One", chat="temporary:abc"))

    (kept,) = letta.store.conversations.values()
    assert "temporary" not in (kept.conversation.summary or "")


async def test_turns_of_a_thread_wait_for_each_other_whatever_chats_they_come_from(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [SPOKEN]
    await asyncio.gather(play(runs, in_thread("One", chat="a")), play(runs, in_thread("Two", chat=None)))

    assert letta.store.received[-1].texts == ["One", "Hello", "Two"]


# The end


async def test_closing_waits_for_every_run_and_its_cancel(letta: MemoryLetta, runs: Runs) -> None:
    cancelling = letta.gate("cancel")
    letta.scripts = [[[ping()], Gate()]] * 3
    under_way = [runs.start(turn(chat=chat)) for chat in ("one", "two", "one")]
    await letta.said(2)
    closing = asyncio.create_task(runs.aclose())
    await cancelling.reached(2)
    await idle()
    assert not closing.done()

    cancelling.open()
    await closing
    assert in_conversations(letta) == ["run", "run", "cancel", "cancel"]
    for reader in under_way:
        with pytest.raises(errors.Stopped):
            await told_next(reader)


async def test_closing_with_nothing_under_way_is_done_at_once(runs: Runs) -> None:
    await play(runs, turn(), FIRST)
    began = now()
    await runs.aclose()

    assert now() == began


async def test_closing_does_not_wait_for_ever_for_a_cancel(letta: MemoryLetta, runs: Runs) -> None:
    letta.delay = lambda call: 3600.0 if call == "cancel" else 0.0
    letta.scripts = [[[ping()], Gate()]]
    runs.start(turn())
    await letta.said()
    began = now()
    await runs.aclose()

    assert now() - began < 60


async def test_after_the_gateways_end_a_chat_goes_on_with_all_that_was_shown(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [SPOKEN]
    reader = runs.start(turn("Hi", keeps_history=False))
    await letta.said(2)
    assert reader.take()
    await runs.aclose()
    await play(runs_for(letta), turn("More", keeps_history=False))

    assert letta.store.received[-1].texts == ["Hi", "Hel", "More"]


@both_kinds
async def test_a_run_that_outlives_its_readers_is_left_to_a_letta_that_goes_on_with_it(forks: bool) -> None:
    letta = MemoryLetta(Store(forks))
    letta.scripts = [SPOKEN]
    runs = runs_for(letta)
    reader = runs.start(turn("Hi", outlives=True))
    await letta.said(2)
    await runs.aclose()

    with pytest.raises(errors.Stopped):
        await read(reader)
    assert letta.count("cancel") == (1 if forks else 0)
