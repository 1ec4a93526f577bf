"""The conversations of a chat: found by their exact marker, or made; and what is sent there."""

import pytest

from gateway.domain.messages import PendingCall
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.markers import REPLACED, Summary
from gateway.turns.people.agents import KnownAgent
from gateway.turns.turn import Turn
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import Store
from tests.turns.turns import MARKER, OLD, OTHERS_SUMMARY, SUMMARY, TUTOR, find, say, summaries, turn

pytestmark = pytest.mark.anyio

# Found or made


async def test_a_conversation_is_made_once_and_carries_its_marker(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    made = await say(either, conversations, agent, turn("Hi"))

    assert await say(either, conversations, agent, turn("Hi", "Hello", "More")) is made
    assert summaries(either) == {made.id: Summary(MARKER)}


async def test_a_conversation_is_found_by_another_process(either: MemoryLetta, agent: KnownAgent) -> None:
    made = await say(either, Conversations(either), agent, turn("Hi"))
    found = await find(Conversations(either), KnownAgent("agent-1", TUTOR), turn("Hi", "Hello", "More"))

    assert found == made.id
    assert either.count("create_conversation") == 1


@pytest.mark.parametrize(
    "other", [turn("Hi", chat="other"), turn("Hi", user="bob"), turn("Hi", chat=None)], ids=["chat", "user", "no chat"]
)
async def test_each_chat_of_each_user_has_conversations(either: MemoryLetta, agent: KnownAgent, other: Turn) -> None:
    conversations = Conversations(either)
    mine = await say(either, conversations, agent, turn("Hi"))

    assert (await say(either, conversations, agent, other)).id != mine.id
    assert (await say(either, conversations, agent, turn("Hi", "Hello", "More"))).id == mine.id


LEFT_ALONE: dict[str, str | None] = {
    "no summary": None,
    "an empty summary": "",
    "a summary of Letta's": "They talked about graphs.",
    "a longer marker": f"{SUMMARY}0",
    "a marker within a word": f"x{MARKER}",
    "a marker alone": MARKER,
    "a marker before the end": f"{SUMMARY} and more",
    "a marker cut short": SUMMARY[:-1],
    "a marker in capitals": f"Letta Gateway {MARKER.upper()}",
    "another version": SUMMARY.replace("gw1:", "gw2:"),
    "another chat": OTHERS_SUMMARY,
}


@pytest.mark.parametrize("summary", LEFT_ALONE.values(), ids=LEFT_ALONE)
async def test_a_conversation_without_exactly_the_marker_is_left_alone(
    either: MemoryLetta, agent: KnownAgent, summary: str | None
) -> None:
    either.store.add_conversation("agent-1", summary, heard=OLD)
    await say(either, Conversations(either), agent, turn("Hi", "Hello", "More"))

    assert len(either.store.conversations) == 2
    assert either.store.conversations["conv-old"].conversation.summary == summary
    assert len(either.store.conversations["conv-old"].heard) == 2


async def test_a_conversation_of_another_agent_is_left_alone(either: MemoryLetta, agent: KnownAgent) -> None:
    either.store.add_conversation("agent-2", SUMMARY, heard=OLD)

    assert await find(Conversations(either), agent, turn("Hi", "Hello", "More")) != "conv-old"


# ids, dates and states of conversations that hold the same -> the one that the chat goes on in
PRESENT: dict[str, tuple[list[tuple[str, float | None, str]], str]] = {
    "the one used last": ([("conv-a", 2.0, ""), ("conv-b", 1.0, ""), ("conv-c", 3.0, "")], "conv-c"),
    "one that was not replaced": ([("conv-a", 1.0, ""), ("conv-b", 2.0, f" {REPLACED}")], "conv-a"),
    "of those replaced, the one used last": (
        [("conv-a", 1.0, f" {REPLACED}"), ("conv-b", 2.0, f" {REPLACED}")],
        "conv-b",
    ),
    "the greater id of one instant": ([("conv-b", 1.0, ""), ("conv-a", 1.0, "")], "conv-b"),
}


@pytest.mark.parametrize(("there", "present"), PRESENT.values(), ids=PRESENT)
async def test_of_several_that_fit_the_present_one_counts(
    either: MemoryLetta, agent: KnownAgent, there: list[tuple[str, float | None, str]], present: str
) -> None:
    for id, created, state in there:
        either.store.add_conversation("agent-1", f"Letta Gateway{state} {MARKER}", id, created, OLD)

    assert await find(Conversations(either), agent, turn("Hi", "Hello", "More")) == present


async def test_a_conversation_found_is_sent_only_what_is_new(either: MemoryLetta, agent: KnownAgent) -> None:
    either.store.add_conversation("agent-1", SUMMARY, heard=OLD)
    conversation, sending = await Conversations(either).find(agent, turn("Hi", "Hello", "More"))

    assert conversation.id == "conv-old"
    assert [message.content for message in sending.messages] == ["More"]


async def test_a_conversation_in_which_nothing_was_said_serves_as_well_as_a_new_one(agent: KnownAgent) -> None:
    letta = MemoryLetta()
    letta.store.add_agent((), "agent-1")
    letta.store.add_conversation("agent-1", SUMMARY)
    conversation, sending = await Conversations(letta).find(agent, turn("Hi", "Hello", "More"))

    assert conversation.id == "conv-old"
    assert [message.content for message in sending.messages] == ["Hi", "Hello", "More"]


@pytest.mark.parametrize("forks", [False, True], ids=["v1", "app-server"])
@pytest.mark.parametrize("takes_path", [True, False], ids=["can", "cannot"])
async def test_what_letta_cannot_put_into_a_conversation_is_sent(
    agent: KnownAgent, forks: bool, takes_path: bool
) -> None:
    letta = MemoryLetta(Store(forks))
    letta.store.add_agent((), "agent-1")
    letta.store.takes_path = forks and takes_path
    conversation, sending = await Conversations(letta).find(agent, turn("Hi", "Hello", "More", "Well", "And"))

    there = [message.content for message in letta.store.conversations[conversation.id].heard]
    assert there == (["Hi", "Hello", "More", "Well"] if forks and takes_path else [])
    assert there + [message.content for message in sending.messages] == ["Hi", "Hello", "More", "Well", "And"]


async def test_a_chat_without_an_id_is_not_looked_for_before_it_has_begun(
    either: MemoryLetta, agent: KnownAgent
) -> None:
    conversations = Conversations(either)
    ids = {(await say(either, conversations, agent, turn("Hi", chat=None))).id for _ in range(3)}

    assert len(ids) == 3
    assert either.count("find_conversations") == 0


async def test_a_chat_without_an_id_is_known_by_what_was_said_in_it(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    answers = ["Hello", "Good day", "What?"]
    ids = [(await say(either, conversations, agent, turn("Hi", chat=None), answer)).id for answer in answers]
    later = Conversations(either)

    for answer, id in zip(answers, ids, strict=True):
        assert await find(later, agent, turn("Hi", answer, "More", chat=None)) == id


async def test_a_conversation_with_a_turn_under_way_is_not_gone_on_with(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    made = await say(either, conversations, agent, turn("Hi", chat=None))
    first, _ = await conversations.find(agent, turn("Hi", "Hello", "More", chat=None))
    second, _ = await conversations.find(agent, turn("Hi", "Hello", "More", chat=None))

    assert first is made
    assert second.id != made.id
    assert conversations.is_in_use(first.id)
    assert conversations.is_in_use(second.id)
    conversations.release(turn("Hi", chat=None), first)
    assert not conversations.is_in_use(first.id)


# What is sent


async def test_every_message_has_a_client_id_that_is_new(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    ids = []
    for asked in (turn("Hi"), turn("Hi"), turn("Hi", chat="other"), turn("Hi", "Hello", "More")):
        conversation, sending = await conversations.find(agent, asked)
        ids += [message.client_id for message in sending.messages if message.role == "user"]
        conversations.release(asked, conversation)

    assert all(ids)
    assert len({*ids}) == len(ids)


async def test_a_pending_approval_is_denied(agent: KnownAgent) -> None:
    letta = MemoryLetta()
    letta.store.add_agent((), "agent-1")
    letta.store.add_conversation("agent-1", SUMMARY, heard=OLD).pending = (PendingCall("call-1", "search"),)
    _, sending = await Conversations(letta).find(agent, turn("Hi", "Hello", "More"))

    assert sending.denied == ("call-1",)
