"""Which conversations are deleted, and when."""

import asyncio
from datetime import datetime, timedelta

import pytest

from gateway.domain import errors
from gateway.settings import Chats
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.markers import Summary, scratch_marker
from gateway.turns.chats.pruning import SEARCHES, Pruner, find_left_behind
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import START
from tests.turns.turns import read, runs_for, turn

pytestmark = pytest.mark.anyio

CHATS = Chats(temporary_ttl=60, scratch_days=7)
MINUTE, WEEK = timedelta(seconds=60), timedelta(days=7)
SCRATCH = scratch_marker("tutor", "school", "ada", "Hi")
# summary -> how long it is kept after its last turn; None for ever
LIFETIMES: dict[str, tuple[str | None, timedelta | None]] = {
    "a chat": (str(Summary("gw1:chat")), None),
    "a scratch chat": (str(Summary(SCRATCH)), WEEK),
    "a replaced branch": (str(Summary("gw1:chat", replaced=True)), WEEK),
    "a temporary chat": (str(Summary("gw1:chat", temporary=True)), MINUTE),
    "a replaced branch of a temporary chat": (str(Summary("gw1:chat", replaced=True, temporary=True)), MINUTE),
    "a replaced branch that a person has named": (str(Summary("gw1:chat", replaced=True, title="Tea")), WEEK),
    "one that only speaks of it": ("All about (replaced) parts", None),
    "somebody else's": (None, None),
}


@pytest.fixture
def pruner(letta: MemoryLetta) -> Pruner:
    return Pruner(letta, CHATS, Conversations(letta))


@pytest.mark.parametrize(("summary", "lifetime"), LIFETIMES.values(), ids=LIFETIMES)
async def test_a_conversation_is_deleted_once_its_time_is_over(
    letta: MemoryLetta, pruner: Pruner, summary: str | None, lifetime: timedelta | None
) -> None:
    letta.store.add_agent(())
    letta.store.add_conversation("agent-old", summary)
    await pruner.prune(START + (lifetime or WEEK))
    assert list(letta.store.conversations) == ["conv-old"]

    await pruner.prune(START + (lifetime or 100 * WEEK) + MINUTE)
    assert list(letta.store.conversations) == ([] if lifetime else ["conv-old"])


async def test_one_that_another_gateway_has_deleted_does_not_keep_the_others(
    letta: MemoryLetta, pruner: Pruner
) -> None:
    letta.store.add_agent(())
    for id in ("one", "two"):
        letta.store.add_conversation("agent-old", str(Summary(SCRATCH)), id)
    letta.fail("delete_conversation", errors.NotFound("gone"))
    await pruner.prune(START + 2 * WEEK)

    assert letta.count("delete_conversation") == 2


async def test_a_chat_whose_conversation_was_deleted_goes_on_with_all_that_was_said(letta: MemoryLetta) -> None:
    runs = runs_for(letta, CHATS)
    await read(runs.start(turn("Hi", chat=None)))
    await Pruner(letta, CHATS, runs.means.conversations).prune(datetime.max.replace(tzinfo=START.tzinfo))
    assert letta.store.conversations == {}

    await read(runs.start(turn("Hi", "Hello", "And?", chat=None)))
    assert letta.store.received[-1].texts == ["Hi", "Hello", "And?"]


async def test_it_prunes_again_and_again_and_an_error_does_not_end_that(letta: MemoryLetta, pruner: Pruner) -> None:
    letta.store.add_agent(())
    letta.fail("find_conversations", errors.Unreachable("down"))
    pruning = asyncio.create_task(pruner.run())
    for i in range(2):
        letta.store.add_conversation("agent-old", str(Summary(SCRATCH)), f"conv-{i}")
        await asyncio.sleep(CHATS.temporary_ttl)
        assert letta.store.conversations == {}
    pruning.cancel()


async def test_those_left_behind_are_counted_by_kind(letta: MemoryLetta) -> None:
    letta.store.add_agent(())
    for i, (summary, _) in enumerate(LIFETIMES.values()):
        letta.store.add_conversation("agent-old", summary, f"conv-{i}")

    counts = {kind: len(await find_left_behind(letta, kind)) for kind in SEARCHES}
    assert counts == {"scratch": 1, "replaced": 2, "temporary": 2}
