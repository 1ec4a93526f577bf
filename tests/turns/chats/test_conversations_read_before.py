"""Chats whose ids an earlier version read otherwise: found with all that was said in them, and gone on with."""

from datetime import datetime

import msgspec
import pytest

from gateway.settings import AgentType, Chats
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.markers import Summary, parse_summary
from gateway.turns.chats.pruning import Pruner
from gateway.turns.people.agents import KnownAgent
from gateway.turns.places import placed
from gateway.turns.runs.means import means_of
from gateway.turns.turn import Turn
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import START
from tests.turns.turns import TUTOR, play, runs_for, say, turn

pytestmark = pytest.mark.anyio

SINGLE = AgentType(id="tutor", model="m/one", conversations="single")
# The user's id and the chat's, now and before
READINGS: dict[str, tuple[tuple[str, str | None], tuple[str, str | None], AgentType]] = {
    "the user's": (("Adél", "chat"), ("AdÃ©l", "chat"), TUTOR),
    "the chat's": (("ada", "täglich"), ("ada", "tÃ¤glich"), TUTOR),
    "both": (("Adél", "täglich"), ("AdÃ©l", "tÃ¤glich"), TUTOR),
    "the user's, without a chat": (("Adél", None), ("AdÃ©l", None), TUTOR),
    "the user's, of one thread": (("Adél", "chat"), ("AdÃ©l", "chat"), SINGLE),
}


def read_now(asked: Turn, user: str, chat: str | None) -> Turn:
    """A turn of whom an earlier version called `user`, in a chat that it called `chat`."""
    caller = asked.caller
    named = msgspec.structs.replace(caller.user, former_id=user if user != caller.user.id else "")
    before = (chat or "") if chat != caller.chat else ""
    return msgspec.structs.replace(asked, caller=msgspec.structs.replace(caller, user=named, former_chat=before))


@pytest.mark.parametrize(("now", "before", "agent_type"), READINGS.values(), ids=READINGS)
async def test_a_chat_goes_on_where_an_earlier_version_left_it(
    either: MemoryLetta,
    agent: KnownAgent,
    now: tuple[str, str | None],
    before: tuple[str, str | None],
    agent_type: AgentType,
) -> None:
    then = turn("Hi", user=before[0], chat=before[1], agent_type=agent_type)
    kept = await say(either, Conversations(either), agent, then)
    more = turn("Hi", "Hello", "More", user=now[0], chat=now[1], agent_type=agent_type)
    gone_on = await say(either, Conversations(either), agent, read_now(more, *before))

    assert gone_on.id == kept.id
    assert either.count("create_conversation") == 1
    assert [then.marker] == read_now(more, *before).former_markers()
    by_responses = placed(read_now(more, *before), "1" * 16, keeps=True)
    # Those without an id had none then.
    assert by_responses.former_markers() == ([] if by_responses.scratch else [then.marker])


async def test_a_chat_that_is_met_for_the_first_time_is_kept_under_the_present_reading(
    either: MemoryLetta, agent: KnownAgent
) -> None:
    asked = read_now(turn("Hi", user="Adél", chat="täglich"), "AdÃ©l", "tÃ¤glich")
    made = await say(either, Conversations(either), agent, asked)

    assert either.store.conversations[made.id].conversation.summary == str(Summary(asked.marker))


async def test_branches_of_either_reading_are_gone_back_to(either: MemoryLetta, agent: KnownAgent) -> None:
    then = await say(either, Conversations(either), agent, turn("Hi", user="AdÃ©l"))

    def now(*texts: str) -> Turn:
        return read_now(turn(*texts, user="Adél"), "AdÃ©l", "chat")

    branch = await say(either, Conversations(either), agent, now("Hello there"))
    back = await say(either, Conversations(either), agent, now("Hi", "Hello", "More"))
    again = await say(either, Conversations(either), agent, now("Hello there", "Hello", "More"))

    assert (back.id, again.id) == (then.id, branch.id)
    assert then.id != branch.id
    summaries = {id: parse_summary(kept.conversation.summary) for id, kept in either.store.conversations.items()}
    assert [one and one.replaced for one in summaries.values()] == [True, False]


async def test_a_chat_without_a_branch_of_its_own_is_searched_once(either: MemoryLetta, agent: KnownAgent) -> None:
    await say(either, Conversations(either), agent, turn("Hi", "Hello", "More"))

    assert either.count("find_conversations") == 1


async def test_a_conversation_of_the_former_reading_that_was_deleted_is_not_gone_on_in(letta: MemoryLetta) -> None:
    chats = Chats(temporary_ttl=60, scratch_days=7)
    await play(means_of(letta, 0.5, 300, chats), turn("Hi", user="AdÃ©l", chat=None))
    runs = runs_for(letta, chats)
    now = read_now(turn("Hi", "Hello", "More", user="Adél", chat=None), "AdÃ©l", None)
    await play(runs, now)
    await Pruner(letta, chats, runs.means.conversations).prune(datetime.max.replace(tzinfo=START.tzinfo))
    assert letta.store.conversations == {}
    again = read_now(turn("Hi", "Hello", "More", "Hello", "And?", user="Adél", chat=None), "AdÃ©l", None)
    await play(runs, again)

    assert letta.store.received[-1].texts == ["Hi", "Hello", "More", "Hello", "And?"]
    # It was forgotten with its conversation: nothing was sent into the void first.
    assert letta.count("run") == 3
