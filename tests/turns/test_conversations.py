"""One conversation for a chat: found by its exact marker or made, and compiled anew where its prompt is out of date."""

import asyncio
from typing import Any

import pytest

from gateway.letta import errors
from gateway.letta.upstream import Conversation, Message
from gateway.turns.agents import KnownAgent
from gateway.turns.conversations import Conversations
from gateway.turns.names import SCRATCH_MARKER, conversation_marker, summary_with
from tests.turns.memory_letta import MemoryLetta, VirtualTimeLoop

pytestmark = pytest.mark.anyio

MARKER = conversation_marker("tutor", "school", "ada", "chat-1")
OTHER = conversation_marker("tutor", "school", "ada", "chat-2")
HI = Message("user", "hi")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
def agent() -> KnownAgent:
    return KnownAgent("agent-1")


@pytest.fixture
def letta() -> MemoryLetta:
    """A Letta with two agents and no conversation."""
    letta = MemoryLetta()
    for id in ("agent-1", "agent-2"):
        letta.store.add_agent((), id)
    return letta


async def test_a_conversation_is_made_once_and_carries_its_marker(letta: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(letta)
    made = await conversations.get(agent, MARKER, [])

    assert await conversations.get(agent, MARKER, []) is made
    assert [kept.conversation.summary for kept in letta.store.conversations.values()] == [summary_with(MARKER)]


async def test_a_conversation_is_found_by_another_process(letta: MemoryLetta, agent: KnownAgent) -> None:
    made = await Conversations(letta).get(agent, MARKER, [])
    found = await Conversations(letta).get(KnownAgent("agent-1"), MARKER, [])

    assert found.id == made.id
    assert letta.count("create_conversation") == 1


async def test_each_chat_has_a_conversation(letta: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(letta)

    assert (await conversations.get(agent, MARKER, [])).id != (await conversations.get(agent, OTHER, [])).id


LEFT_ALONE: dict[str, str | None] = {
    "no summary": None,
    "an empty summary": "",
    "a summary of Letta's": "They talked about graphs.",
    "a longer marker": summary_with(MARKER + "0"),
    "a marker within a word": f"x{MARKER}",
    "a marker before the end": f"{MARKER} and more",
    "a marker cut short": summary_with(MARKER[:-1]),
    "a marker in capitals": summary_with(MARKER.upper()),
    "another version": summary_with(MARKER.replace("gw1:", "gw2:")),
    "another chat": summary_with(OTHER),
}


@pytest.mark.parametrize("summary", LEFT_ALONE.values(), ids=LEFT_ALONE)
async def test_a_conversation_without_exactly_the_marker_is_left_alone(
    letta: MemoryLetta, agent: KnownAgent, summary: str | None
) -> None:
    letta.store.add_conversation("agent-1", summary)

    assert (await Conversations(letta).get(agent, MARKER, [])).id != "conv-old"
    assert letta.store.conversations["conv-old"].conversation.summary == summary


async def test_a_conversation_of_another_agent_is_left_alone(letta: MemoryLetta, agent: KnownAgent) -> None:
    letta.store.add_conversation("agent-2", summary_with(MARKER))

    assert (await Conversations(letta).get(agent, MARKER, [])).id != "conv-old"


async def test_a_marker_counts_whatever_stands_before_it(letta: MemoryLetta, agent: KnownAgent) -> None:
    letta.store.add_conversation("agent-1", f"Graphs, renamed by hand {MARKER}")

    assert (await Conversations(letta).get(agent, MARKER, [])).id == "conv-old"


# ids and dates of conversations with the marker -> the one that counts
OLDEST: dict[str, tuple[list[tuple[str, float | None]], str]] = {
    "the older": ([("conv-a", 2.0), ("conv-b", 1.0), ("conv-c", 3.0)], "conv-b"),
    "the smaller id of one instant": ([("conv-b", 1.0), ("conv-a", 1.0)], "conv-a"),
    "a date before none": ([("conv-a", None), ("conv-b", 9.0)], "conv-b"),
}


@pytest.mark.parametrize(("there", "oldest"), OLDEST.values(), ids=OLDEST)
async def test_of_several_the_oldest_counts(
    letta: MemoryLetta, agent: KnownAgent, there: list[tuple[str, float | None]], oldest: str
) -> None:
    for id, created in there:
        letta.store.add_conversation("agent-1", summary_with(MARKER), id, created)

    assert (await Conversations(letta).get(agent, MARKER, [])).id == oldest


@pytest.mark.parametrize(("heard", "new"), [([], True), ([HI], False)], ids=["nothing", "something"])
async def test_a_conversation_found_is_new_if_its_agent_heard_nothing_in_it(
    letta: MemoryLetta, agent: KnownAgent, heard: list[Message], new: bool
) -> None:
    letta.store.add_conversation("agent-1", summary_with(MARKER), heard=heard)

    assert (await Conversations(letta).get(agent, MARKER, [])).new is new


async def test_a_conversation_made_is_new_and_need_not_be_compiled(letta: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(letta)
    made = [await conversations.get(agent, marker, []) for marker in (MARKER, MARKER, None)]

    assert [one.new for one in made] == [True, True, True]
    assert letta.count("recompile") == 0


@pytest.mark.parametrize("takes_history", [True, False], ids=["can", "cannot"])
@pytest.mark.parametrize("there", [True, False], ids=["found", "made"])
async def test_a_conversation_is_not_new_where_letta_could_put_the_history_there(
    letta: MemoryLetta, agent: KnownAgent, takes_history: bool, there: bool
) -> None:
    if there:
        letta.store.add_conversation("agent-1", summary_with(MARKER))
    letta.takes_history = takes_history
    known = await Conversations(letta).get(agent, MARKER, [HI])

    assert letta.histories == [[HI]]
    assert known.new is not takes_history
    assert letta.store.conversations[known.id].heard == ([HI] if takes_history else [])


async def test_without_a_history_a_conversation_is_new_whatever_letta_takes(
    letta: MemoryLetta, agent: KnownAgent
) -> None:
    letta.takes_history = True

    assert (await Conversations(letta).get(agent, None, [])).new


async def test_a_conversation_found_may_have_another_in_its_place(
    letta: MemoryLetta, agent: KnownAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def replace(agent_id: str, conversation: Conversation, history: list[Message]) -> Conversation:
        letta.store.add_conversation(agent_id, conversation.summary, "conv-fork")
        return Conversation("conv-fork", has_turns=True)

    letta.store.add_conversation("agent-1", summary_with(MARKER))
    monkeypatch.setattr(letta, "resume_conversation", replace)
    known = await Conversations(letta).get(agent, MARKER, [])

    assert (known.id, known.new) == ("conv-fork", False)
    assert letta.subjects("recompile") == ["conv-fork"]


async def test_a_conversation_found_is_compiled_before_its_first_use(letta: MemoryLetta, agent: KnownAgent) -> None:
    letta.store.add_conversation("agent-1", summary_with(MARKER))
    conversations = Conversations(letta)
    for _ in range(2):
        await conversations.get(agent, MARKER, [])

    assert letta.subjects("recompile") == ["conv-old"]


async def test_every_conversation_is_compiled_once_after_the_memory_changed(
    letta: MemoryLetta, agent: KnownAgent
) -> None:
    conversations = Conversations(letta)
    made = [await conversations.get(agent, marker, []) for marker in (MARKER, OTHER)]
    agent.memory_version += 1
    for marker in (MARKER, OTHER, MARKER, OTHER):
        await conversations.get(agent, marker, [])

    assert letta.subjects("recompile") == [one.id for one in made]


@pytest.mark.parametrize("call", ["recompile", "create_conversation"])
async def test_a_memory_that_changes_while_letta_compiles_is_compiled_again(
    letta: MemoryLetta, agent: KnownAgent, call: str
) -> None:
    if call == "recompile":
        letta.store.add_conversation("agent-1", summary_with(MARKER))
    conversations = Conversations(letta)
    compiling = letta.gate(call)
    getting = asyncio.create_task(conversations.get(agent, MARKER, []))
    await compiling.reached()
    agent.memory_version += 1
    compiling.open()
    await getting
    before = letta.count("recompile")
    for _ in range(2):
        await conversations.get(agent, MARKER, [])

    assert letta.count("recompile") == before + 1


async def test_a_conversation_that_could_not_be_compiled_is_compiled_next_time(
    letta: MemoryLetta, agent: KnownAgent
) -> None:
    letta.store.add_conversation("agent-1", summary_with(MARKER))
    letta.fail("recompile", errors.TimedOut("no"), errors.TimedOut("no"))
    conversations = Conversations(letta)
    for _ in range(2):
        with pytest.raises(errors.TimedOut):
            await conversations.get(agent, MARKER, [])
    await conversations.get(agent, MARKER, [])

    assert letta.count("recompile") == 3


async def test_a_forgotten_conversation_is_looked_up_again(letta: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(letta)
    made = await conversations.get(agent, MARKER, [])
    letta.store.conversations.clear()
    conversations.forget(MARKER)

    assert (await conversations.get(agent, MARKER, [])).id != made.id
    assert letta.count("find_conversations") == 2


async def test_forgetting_no_chat_forgets_none(letta: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(letta)
    made = await conversations.get(agent, MARKER, [])
    conversations.forget(None)
    conversations.forget(OTHER)

    assert await conversations.get(agent, MARKER, []) is made


async def test_without_a_marker_every_turn_has_a_fresh_conversation(letta: MemoryLetta, agent: KnownAgent) -> None:
    conversations = Conversations(letta)
    ids = {(await conversations.get(agent, None, [])).id for _ in range(3)}

    assert len(ids) == 3
    assert letta.subjects("create_conversation") == [summary_with(SCRATCH_MARKER)] * 3
    assert letta.count("find_conversations") == 0


async def test_a_chat_has_one_lock_and_no_chat_none_of_another(letta: MemoryLetta) -> None:
    conversations = Conversations(letta)
    mine, others, nobodys = conversations.lock(MARKER), conversations.lock(OTHER), conversations.lock(None)

    assert conversations.lock(MARKER) is mine
    assert len({id(lock) for lock in (mine, others, nobodys, conversations.lock(None))}) == 4
