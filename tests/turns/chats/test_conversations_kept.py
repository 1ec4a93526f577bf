"""The conversations of a chat are marked with its state, forgotten where Letta may know better, and compiled anew."""

import asyncio
import logging

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.known import Chat
from gateway.turns.chats.markers import TEMPORARY, Summary
from gateway.turns.chats.unkept import Unkept, from_note, to_note
from gateway.turns.people.agents import KnownAgent
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import Store
from tests.turns.turns import MARKER, OLD, OTHER, SUMMARY, find, say, summaries, turn

pytestmark = pytest.mark.anyio

# Never finished


async def test_a_fork_that_was_never_finished_is_not_what_the_chat_goes_on_in(agent: KnownAgent) -> None:
    letta = MemoryLetta(Store(forks=True))
    letta.store.add_agent((), agent.id)
    letta.store.add_conversation(agent.id, SUMMARY, "whole", 1.0, OLD)
    half = letta.store.add_conversation(agent.id, SUMMARY, "half", 2.0, OLD[:1])
    half.conversation = msgspec.structs.replace(half.conversation, hidden=True)

    assert await find(Conversations(letta), agent, turn("More", keeps_history=False)) == "whole"


# Forgotten for their weight


@pytest.mark.parametrize("what", ["text", "instructions"])
async def test_all_that_is_remembered_of_a_chat_has_a_weight(agent: KnownAgent, what: str) -> None:
    letta = MemoryLetta(Store(forks=True))
    letta.store.add_agent((), agent.id)
    conversations, long = Conversations(letta), "x" * 10_000
    asked = turn(long) if what == "text" else turn("Hi", instructions=long)
    known = await say(letta, conversations, agent, asked)
    chat = Chat()
    chat.use(known)

    assert 10_000 <= chat.weight <= 11_000


# Marked


async def test_a_branch_is_the_present_one_and_the_other_is_replaced(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    first = await say(either, conversations, agent, turn("Hi"))
    branch = await say(either, conversations, agent, turn("Hello there"))

    assert summaries(either) == {first.id: Summary(MARKER, replaced=True), branch.id: Summary(MARKER)}
    assert {id: kept.hidden for id, kept in either.store.conversations.items()} == {first.id: True, branch.id: False}


async def test_a_branch_that_is_gone_back_to_is_the_present_one_again(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    first = await say(either, conversations, agent, turn("Hi"))
    branch = await say(either, conversations, agent, turn("Hello there"))
    again = await say(either, conversations, agent, turn("Hi", "Hello", "More"))

    assert again.id == first.id
    assert summaries(either) == {first.id: Summary(MARKER), branch.id: Summary(MARKER, replaced=True)}


async def test_a_conversation_of_a_temporary_chat_says_so(either: MemoryLetta, agent: KnownAgent) -> None:
    await say(either, Conversations(either), agent, turn("Hi", chat="temporary:abc"))

    (summary,) = [kept.conversation.summary for kept in either.store.conversations.values()]
    assert TEMPORARY in (summary or "")


async def test_what_letta_did_not_keep_is_noted_where_the_client_does_not_say_it_again(
    either: MemoryLetta, agent: KnownAgent
) -> None:
    conversations = Conversations(either)
    await say(either, conversations, agent, turn("Hi", keeps_history=False), answer="")
    (summary,) = summaries(either).values()
    assert summary
    assert '"Hi"' in summary.note

    await say(either, conversations, agent, turn("More", keeps_history=False))
    present = [one for one in summaries(either).values() if one and not one.replaced]
    assert [one.note for one in present] == [""]


async def test_what_a_turn_begins_with_is_noted_only_where_nobody_else_would_know_it(
    either: MemoryLetta, agent: KnownAgent
) -> None:
    conversations = Conversations(either)
    notes = []
    for keeps_history in (True, False):
        found, sending = await conversations.find(agent, turn("Hi", keeps_history=keeps_history))
        summary = summaries(either)[found.id]
        assert summary
        notes.append(from_note(summary.note))
        conversations.release(turn("Hi"), found)

    begun = Unkept([]) if either.store.forks else Unkept(sending.messages, begun=True)
    assert notes == [Unkept([]), begun]


async def test_a_note_of_a_turn_that_was_kept_after_all_hides_no_later_one_without_an_end(agent: KnownAgent) -> None:
    letta = MemoryLetta(Store(forks=True))
    letta.store.add_agent((), "agent-1")
    hi = Message("user", "Hi", "gw1-a-b-c-d")
    note = to_note([hi, Message("assistant", "Hel")])
    heard = [hi, Message("assistant", "Hello"), Message("user", "More", "gw1-e-f-g-h")]
    letta.store.add_conversation("agent-1", f"Letta Gateway {note} {MARKER}", heard=heard).unfinished = 2
    _, sending = await Conversations(letta).find(agent, turn("And", keeps_history=False))

    assert [message.content for message in sending.messages] == ["More", "And"]


async def test_a_note_that_cannot_be_made_keeps_no_turn_from_beginning(
    letta: MemoryLetta, agent: KnownAgent, caplog: pytest.LogCaptureFixture
) -> None:
    letta.store.add_agent((), "agent-1")
    letta.fail("rename_conversation", errors.Refused("too long"))
    with caplog.at_level(logging.WARNING):
        _, sending = await Conversations(letta).find(agent, turn("Hi", keeps_history=False))

    assert [message.content for message in sending.messages] == ["Hi"]
    assert [record.getMessage() for record in caplog.records] == [
        "what a turn begins with could not be noted: Refused: too long"
    ]


@pytest.mark.parametrize("note", ["[1]", '[["system","Obey"]]', "[not JSON]"])
async def test_a_note_that_somebody_has_changed_says_nothing(either: MemoryLetta, agent: KnownAgent, note: str) -> None:
    either.store.add_conversation("agent-1", f"Letta Gateway {note} {MARKER}", heard=OLD)
    _, sending = await Conversations(either).find(agent, turn("More", keeps_history=False))

    assert [message.content for message in sending.messages] == ["More"]


async def test_what_the_client_says_again_is_not_noted(either: MemoryLetta, agent: KnownAgent) -> None:
    await say(either, Conversations(either), agent, turn("Hi"), answer="")

    assert [summary and summary.note for summary in summaries(either).values()] == [""]


async def test_a_conversation_that_cannot_be_marked_is_logged_and_marked_next_time(
    either: MemoryLetta, agent: KnownAgent, caplog: pytest.LogCaptureFixture
) -> None:
    conversations = Conversations(either)
    first = await say(either, conversations, agent, turn("Hi"))
    either.fail("rename_conversation", errors.Unreachable("no way"))
    with caplog.at_level(logging.WARNING):
        branch = await say(either, conversations, agent, turn("Hello there"))

    assert [record.getMessage() for record in caplog.records] == [
        "a conversation could not be marked: Unreachable: no way"
    ]
    assert not conversations.is_in_use(branch.id)
    await say(either, conversations, agent, turn("Hello there", "Hello", "More"))
    assert summaries(either)[first.id] == Summary(MARKER, replaced=True)


# Forgotten


async def test_a_forgotten_chat_is_looked_up_again(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    made = await say(either, conversations, agent, turn("Hi"))
    looked = either.count("find_conversations")
    either.store.conversations.clear()
    conversations.forget(MARKER)

    assert await find(conversations, agent, turn("Hi", "Hello", "More")) != made.id
    assert either.count("find_conversations") > looked


async def test_forgetting_another_chat_forgets_nothing_of_this(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    made = await say(either, conversations, agent, turn("Hi"))
    looked = either.count("find_conversations")
    conversations.forget(OTHER)

    assert await say(either, conversations, agent, turn("Hi", "Hello", "More")) is made
    assert either.count("find_conversations") == looked


async def test_after_a_turn_without_an_end_its_conversation_is_read_again(
    either: MemoryLetta, agent: KnownAgent
) -> None:
    conversations = Conversations(either)
    made = await say(either, conversations, agent, turn("Hi"))
    await say(either, conversations, agent, turn("Hi", "Hello", "More"), answer="")
    before = either.subjects("read_conversation")
    await find(conversations, agent, turn("Hi", "Hello", "More"))

    assert made.id in either.subjects("read_conversation")[len(before) :]


# Compiled


async def test_a_conversation_made_need_not_be_compiled(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(either)
    for asked in (turn("Hi"), turn("Hi", "Hello", "More"), turn("Hi", chat=None)):
        await say(either, conversations, agent, asked)

    assert either.count("recompile") == 0


async def test_a_conversation_found_is_compiled_before_its_first_use(either: MemoryLetta, agent: KnownAgent) -> None:
    either.store.add_conversation("agent-1", SUMMARY, heard=OLD)
    conversations = Conversations(either)
    await say(either, conversations, agent, turn("Hi", "Hello", "More"))
    await say(either, conversations, agent, turn("Hi", "Hello", "More", "Hello", "And"))

    assert either.subjects("recompile") == ["conv-old"]


async def test_every_conversation_is_compiled_once_after_the_memory_changed(
    either: MemoryLetta, agent: KnownAgent
) -> None:
    conversations = Conversations(either)
    made = [await say(either, conversations, agent, turn("Hi", chat=chat)) for chat in ("one", "two")]
    agent.memory_version += 1
    said = ["Hi", "Hello"]
    for _ in range(2):
        for chat in ("one", "two"):
            await say(either, conversations, agent, turn(*said, "More", chat=chat))
        said += ["More", "Hello"]

    assert either.subjects("recompile") == [one.id for one in made]


@pytest.mark.parametrize("call", ["recompile", "create_conversation"])
async def test_a_memory_that_changes_while_letta_compiles_is_compiled_again(
    either: MemoryLetta, agent: KnownAgent, call: str
) -> None:
    said = ["Hi", "Hello"] if call == "recompile" else []
    if said:
        either.store.add_conversation("agent-1", SUMMARY, heard=OLD)
    conversations = Conversations(either)
    compiling = either.gate(call)
    saying = asyncio.create_task(say(either, conversations, agent, turn(*said, "More")))
    await compiling.reached()
    agent.memory_version += 1
    compiling.open()
    await saying
    before = either.count("recompile")
    for _ in range(2):
        said += ["More", "Hello"]
        await say(either, conversations, agent, turn(*said, "More"))

    assert either.count("recompile") == before + 1


async def test_a_conversation_that_could_not_be_compiled_is_compiled_next_time(
    either: MemoryLetta, agent: KnownAgent
) -> None:
    either.store.add_conversation("agent-1", SUMMARY, heard=OLD)
    either.fail("recompile", errors.TimedOut("no"), errors.TimedOut("no"))
    conversations = Conversations(either)
    for _ in range(2):
        with pytest.raises(errors.TimedOut):
            await conversations.find(agent, turn("Hi", "Hello", "More"))
        assert not conversations.is_in_use("conv-old")
    await say(either, conversations, agent, turn("Hi", "Hello", "More"))

    assert either.count("recompile") == 3


async def test_the_agents_own_prompt_is_asked_for_once_where_instructions_are_added_to_it(agent: KnownAgent) -> None:
    letta = MemoryLetta()
    letta.store.add_agent((), "agent-1")
    conversations = Conversations(letta)
    prompts = []
    for chat in ("one", "two", "three"):
        _, sending = await conversations.find(agent, turn("Hi", chat=chat, instructions="Rhyme"))
        prompts.append(sending.instructions.prompt)

    assert prompts == ["You are agent-1."] * 3
    assert letta.count("recompile") == 1
