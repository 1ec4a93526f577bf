"""The turns that Letta keeps: found by their places, and deleted with all that stood behind them, and nothing else."""

import msgspec
import pytest

from gateway.domain.events import CallPiece, CallWaits, Event, Stop, StopReason, Text
from gateway.domain.places import ResponsePlace
from gateway.settings import Chats
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.exact import After
from gateway.turns.exchanged import KeptTurn, place_among
from gateway.turns.kept import DeletedTurn, KeptTurns
from gateway.turns.people.agents import KnownAgent
from gateway.turns.places import place_of, placed
from gateway.turns.turn import Turn
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import START
from tests.turns.turns import TUTOR, say, turn

pytestmark = pytest.mark.anyio

AT = int(START.timestamp())
FIRST, SECOND, THIRD = "1" * 16, "2" * 16, "3" * 16


@pytest.fixture
def kept(either: MemoryLetta) -> KeptTurns:
    return KeptTurns(either, Conversations(either), Chats(), clock=lambda: AT)


def of_ours(asked: Turn, id: str, made_at: int, before: Turn | None = None) -> Turn:
    after = After(before.id, before.made_at, "previous_response_id") if before else None
    return placed(asked, id, True, after=after, made_at=made_at)


def where(asked: Turn) -> ResponsePlace:
    return place_of(asked)


async def test_what_is_said_after_a_deletion_is_there(either: MemoryLetta, agent: KnownAgent, kept: KeptTurns) -> None:
    shared = msgspec.structs.replace(TUTOR, agent="agent-1")
    now = AT
    turns = [
        of_ours(turn(text, agent_type=shared, frontend=False), id, now - 9 + i)
        for i, (text, id) in enumerate((("Hi", FIRST), ("More", SECOND)))
    ]
    for one in turns:
        await say(either, Conversations(either), agent, one)
    await kept.delete(where(turns[1]), shared)
    later = of_ours(turn("And", agent_type=shared, frontend=False), THIRD, now + 60)
    await say(either, Conversations(either), agent, later)

    assert await kept.find(where(turns[0]), shared)
    assert await kept.find(where(later), shared)
    with pytest.raises(DeletedTurn):
        await kept.find(where(turns[1]), shared)
    goes_on = of_ours(turn("Then", agent_type=shared, frontend=False), "4" * 16, now + 61, later)
    await say(either, Conversations(either), agent, goes_on)


async def test_a_turn_that_was_deleted_before_its_end_is_told_to_nobody(
    either: MemoryLetta, agent: KnownAgent, kept: KeptTurns
) -> None:
    shared = msgspec.structs.replace(TUTOR, agent="agent-1")
    now, secret = AT, "secret"
    first = of_ours(turn("Hi", agent_type=shared, frontend=False), FIRST, now - 9)
    stopped = of_ours(turn(secret, agent_type=shared, frontend=False), SECOND, now - 5)
    for one, answer in ((first, "Hello"), (stopped, "")):
        asked = msgspec.structs.replace(one, keeps_history=False)
        await say(either, Conversations(either), agent, asked, answer)
    await kept.delete(where(stopped), shared)
    later = of_ours(turn("And", agent_type=shared, frontend=False), THIRD, now + 60)
    _, sending = await Conversations(either).find(agent, msgspec.structs.replace(later, keeps_history=False))

    with pytest.raises(DeletedTurn):
        await kept.find(where(stopped), shared)
    if not either.store.forks:
        assert [message.content for message in sending.messages] == ["And"]


WAITS: list[Event] = [CallWaits(CallPiece("call_1", "weather", "{}")), Stop(StopReason.WAITING)]
ENDED: list[Event] = [Text("Sunny."), Stop(StopReason.END)]
PARTS: dict[str, tuple[list[KeptTurn], int | None]] = {
    "it has its part": ([KeptTurn(FIRST, events=WAITS), KeptTurn(FIRST, "p", events=ENDED)], 1),
    "its calls wait still": ([KeptTurn(FIRST, events=WAITS)], None),
    "it was told in words": ([KeptTurn(FIRST, events=[*WAITS, *ENDED])], 0),
    "it was asked again": ([KeptTurn(FIRST, events=WAITS), KeptTurn(FIRST, events=ENDED)], 1),
    "it is another turn": ([KeptTurn(SECOND, "p", events=ENDED)], None),
    "there is nothing": ([], None),
}


async def test_a_run_that_letta_goes_on_with_alone_ends_where_it_is_told_to_and_no_other(
    either: MemoryLetta, agent: KnownAgent, kept: KeptTurns
) -> None:
    shared = msgspec.structs.replace(TUTOR, agent="agent-1")
    ended = of_ours(turn("Hi", agent_type=shared, frontend=False), FIRST, AT - 9)
    left = of_ours(turn("More", agent_type=shared, frontend=False), SECOND, AT - 5)
    conversations = Conversations(either)
    conversation, sending = await conversations.find(agent, ended)
    run = either.store.begin(either.store.conversations[conversation.id], sending)
    run.events += [Text("Hello", "step-1"), Stop(StopReason.END)]
    either.store.end(run)
    await conversations.settle(ended, conversation, sending, "Hello", True)
    conversation, sending = await conversations.find(agent, left)
    run = either.store.begin(either.store.conversations[conversation.id], sending)

    await kept.find(where(ended), shared, ends=True)
    await kept.find(where(left), shared)
    assert not run.cancelled.is_set()
    found = await kept.find(where(left), shared, ends=True)
    if either.capabilities.keeps_runs:
        assert run.cancelled.is_set()
        assert found == (KeptTurn(SECOND), False)


@pytest.mark.parametrize(("among", "at"), PARTS.values(), ids=PARTS)
def test_answers_to_calls_are_the_part_that_they_began(among: list[KeptTurn], at: int | None) -> None:
    assert place_among(FIRST, "p", among) == at
