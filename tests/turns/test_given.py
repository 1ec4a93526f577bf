"""Chats that the gateway has given an id: what is added to them reaches the agent once, and each is one user's own."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.domain.errors import InvalidRequest, NotFoundHere, UserRequired
from gateway.domain.events import Stop, StopReason, Text
from gateway.domain.messages import Message, PendingCall, ToolResult
from gateway.domain.places import ConversationPlace, short_digest
from gateway.domain.request import ApprovalDecision
from gateway.letta.notes import GO_AHEAD
from gateway.letta.upstream import Past
from gateway.settings import AgentType, Chats
from gateway.turns.about import Added
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.markers import user_digest
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import NO_IDS, Append, decide
from gateway.turns.exchanged import KeptTurn
from gateway.turns.given import GivenChats, Whose, left_of
from gateway.turns.people.agents import Agents
from gateway.turns.people.identity import User
from gateway.turns.places import marker_given, placed
from gateway.turns.turn import Turn
from tests.turns.memory_letta import MemoryLetta
from tests.turns.turns import TUTOR, path_of, turn

pytestmark = pytest.mark.anyio

COACH = AgentType(id="coach", model="m/one")
PLACE = ConversationPlace(short_digest("school"), "c" * 16, made_at=1)
ADA = User("school", "ada", "ada")


def messages(items: Sequence[dict[str, Any]]) -> list[Message]:
    return [Message(item["role"], item["content"]) for item in items]


def items(*texts: str) -> list[dict[str, Any] | None]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 5, texts, strict=False)]


class Process:
    """A gateway, which may be another each time."""

    def __init__(self, letta: MemoryLetta, restarts: bool = False) -> None:
        self.letta, self.restarts, self.number = letta, restarts, 0
        self._begin()

    def _begin(self) -> None:
        self.agents, self.conversations = Agents(self.letta, 0.5), Conversations(self.letta)
        self.given = GivenChats(self.letta, self.agents, self.conversations, Chats())

    @property
    def chats(self) -> GivenChats:
        if self.restarts:
            self._begin()
        return self.given

    def whose(self, user: User | None = ADA, types: tuple[AgentType, ...] = (TUTOR, COACH)) -> Whose:
        return Whose(PLACE, "school", types, user)

    async def add(self, *texts: str, **more: Any) -> Added:
        added = [item for item in items(*texts) if item]
        return (await self.chats.add(self.whose(), None, added, messages, **more))[1]

    def asked(self, text: str, user: str = "ada", agent_type: AgentType = TUTOR) -> Turn:
        self.number += 1
        marker = marker_given(PLACE, "school", agent_type.id, user_digest("school", user))
        told = turn(text, chat=None, user=user, frontend=False, agent_type=agent_type)
        return placed(told, f"{self.number:016x}", True, marker, made_at=self.number)

    async def say(self, text: str, answer: str = "Hello", **more: Any) -> None:
        asked = self.asked(text, **more)
        if self.restarts:
            self._begin()
        agent = await self.agents.get(asked.agent_type, asked.caller.user)
        await agent.settled()
        conversation, sending = await self.conversations.find(agent, asked)
        run = self.letta.store.begin(self.letta.store.conversations[conversation.id], sending)
        if answer:
            run.parts["step-1"] = answer
            run.events += [Text(answer, "step-1"), Stop(StopReason.END)]
            self.letta.store.end(run)
        else:
            run.over()
        await self.conversations.settle(asked, conversation, sending, answer, bool(answer))

    async def content(self, user: User | None = ADA) -> list[str]:
        """The texts of a chat, as it is listed."""
        found = await self.chats.read(self.whose(user), messages)
        texts = []
        for one in found.content if found else []:
            if isinstance(one, Added):
                texts += [item["content"] for item in one.left]
            else:
                texts += [message.content for message in one.asked]
                texts += [event.text for event in one.events if isinstance(event, Text)]
        return texts


class Compared(str):
    """An id that counts how often any is compared."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


@pytest.mark.parametrize(("gone", "left"), [("", 500), ("0", 0), ("7", 7), ("499", 499), ("elsewhere", 500)])
def test_what_was_deleted_is_cut_off_with_one_look_at_each_turn(
    gone: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Compared, "times", 0)
    kept = [KeptTurn(Compared(at)) for at in range(500)]

    assert left_of(kept, gone) == kept[:left]
    assert left_of([KeptTurn("1"), KeptTurn("2"), KeptTurn("2", "part")], "2") == [KeptTurn("1")]
    assert Compared.times <= 1_500


@pytest.fixture(params=[False, True], ids=["one process", "restarted each time"])
def process(request: pytest.FixtureRequest, either: MemoryLetta) -> Process:
    return Process(either, request.param)


def heard(process: Process) -> list[str]:
    """All that the agents were told last."""
    return process.letta.store.received[-1].texts


async def test_what_is_added_is_told_once_and_listed_where_it_was_added(process: Process) -> None:
    await process.add("One", "Two", "Three", metadata={"a": "b"})
    await process.add("Four")
    await process.say("Five", "Six")
    await process.add("Seven")
    before = await process.content()
    await process.say("Eight", "Nine")

    assert before == ["One", "Two", "Three", "Four", "Five", "Six", "Seven"]
    assert await process.content() == [*before, "Eight", "Nine"]
    assert [text for text in heard(process) if text in before] == before
    (found,) = [one for one in await process.chats.find(process.whose()) if one.about.metadata is not None]
    assert found.about.metadata == {"a": "b"}


async def test_what_is_added_is_told_again_after_a_turn_without_an_end(process: Process) -> None:
    await process.add("One", "Two")
    await process.say("Three", "")
    await process.add("Four")
    await process.say("Five", "Six")

    said = [text for text in heard(process) if text in ("One", "Two", "Three", "Four", "Five")]
    assert said == ["One", "Two", "Three", "Four", "Five"]
    assert [text for text in await process.content() if text != "Three"] == ["One", "Two", "Four", "Five", "Six"]


async def test_users_and_models_have_chats_of_their_own_under_one_id(process: Process) -> None:
    await process.say("Ada's")
    await process.say("Bob's", user="bob")
    await process.say("The coach's", agent_type=COACH)

    assert [received.texts for received in process.letta.store.received] == [["Ada's"], ["Bob's"], ["The coach's"]]
    assert await process.content(User("school", "bob", "bob")) == ["Bob's", "Hello"]
    assert await process.content(User("school", "eve", "eve")) == []


async def test_a_deleted_chat_is_nowhere_for_its_user_and_there_for_others(process: Process) -> None:
    await process.say("Ada's")
    await process.say("Bob's", user="bob")
    await process.chats.delete(process.whose())

    with pytest.raises(NotFoundHere):
        await process.chats.find(process.whose())
    with pytest.raises(NotFoundHere):
        await process.say("More")
    with pytest.raises(NotFoundHere):
        await process.add("More")
    assert await process.content(User("school", "bob", "bob")) == ["Bob's", "Hello"]
    assert await process.content(None) == ["Bob's", "Hello"]


async def test_a_run_that_letta_goes_on_with_alone_ends_with_its_chat(process: Process) -> None:
    await process.say("One")
    asked = process.asked("Two")
    agent = await process.agents.get(asked.agent_type, asked.caller.user)
    conversation, sending = await process.conversations.find(agent, asked)
    left = process.letta.store.begin(process.letta.store.conversations[conversation.id], sending)
    await process.chats.delete(process.whose())

    assert left.cancelled.is_set()


async def test_a_turn_is_of_a_chat_for_who_may_use_its_model_alone(process: Process) -> None:
    by_tutor, by_coach, bob_s = process.asked("1"), process.asked("2", agent_type=COACH), process.asked("3", user="bob")
    every, one = process.whose(), process.whose(types=(TUTOR,))

    assert [every.has(asked) for asked in (by_tutor, by_coach, bob_s)] == [True, True, False]
    assert [one.has(asked) for asked in (by_tutor, by_coach, bob_s)] == [True, False, False]
    assert process.whose(None, (COACH,)).has(by_coach)


async def test_what_was_not_told_is_taken_out_and_nothing_else(process: Process) -> None:
    told = await process.add("One", "Two")
    await process.say("Three")
    added = await process.add("Four", "Five", "Six")
    await process.chats.remove(process.whose(), added.turn, 2, messages)
    with pytest.raises(InvalidRequest):
        await process.chats.remove(process.whose(), told.turn, 0, messages)
    await process.say("Seven")

    assert "Six" not in heard(process)
    assert await process.content() == ["One", "Two", "Three", "Hello", "Four", "Five", "Seven", "Hello"]


async def test_nothing_is_added_for_nobody(either: MemoryLetta) -> None:
    process = Process(either)
    with pytest.raises(UserRequired):
        await process.chats.describe(process.whose(None), None, {"a": "b"})

    assert either.count("create_conversation") == 0


@pytest.mark.parametrize(
    "brought",
    [{"results": (ToolResult("call_1", "12 degrees"),)}, {"decisions": (ApprovalDecision("call_1", approved=True),)}],
    ids=["results", "decisions"],
)
async def test_answers_to_its_calls_come_without_a_message(brought: Any) -> None:
    waiting = Past(path_of(["Weather?"]), pending=(PendingCall("call_1", "weather"),))
    asked = RequestedPath([Message("user", GO_AHEAD)], only_results=True, **brought)

    assert decide(asked, NO_IDS, False, [waiting]) == Append(0, [])
