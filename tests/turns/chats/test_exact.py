"""A turn that names the one behind which it goes on: at its end, in a branch, after a restart; or nowhere."""

from datetime import datetime, timedelta

import msgspec
import pytest

from gateway.domain.errors import NotFoundHere
from gateway.domain.messages import PendingCall, ToolResult
from gateway.letta.notes import GO_AHEAD
from gateway.letta.upstream import Conversation
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.exact import MOST_SEARCHED, SLACK, After, that_may_hold
from gateway.turns.chats.markers import Summary, given_marker
from gateway.turns.chats.path import RequestedPath
from gateway.turns.people.agents import KnownAgent
from gateway.turns.places import placed
from gateway.turns.turn import Turn
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import START
from tests.turns.turns import path_of, say, turn

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = "1" * 16, "2" * 16, "3" * 16
AT = int(START.timestamp())


def first(*texts: str, id: str = FIRST, keeps: bool = True) -> Turn:
    return placed(turn(*(texts or ("Hi",)), chat=None, frontend=False), id, keeps)


def behind(before: str, text: str, id: str, first: Turn) -> Turn:
    """The next message behind a turn, of a client that tells nothing else."""
    after = After(before, AT, "previous_response_id")
    return placed(turn(text, chat=None, frontend=False), id, first.keeps, first.marker, after)


def heard(letta: MemoryLetta) -> list[list[str]]:
    """The texts that each conversation holds."""
    return [[message.content for message in kept.heard] for kept in letta.store.conversations.values()]


class Gateway:
    """A process, which may be another after each turn."""

    def __init__(self, letta: MemoryLetta, restarts: bool) -> None:
        self.letta, self.restarts = letta, restarts
        self.conversations = Conversations(letta)
        self.agent = KnownAgent("agent-1", turn().agent_type)

    async def say(self, asked: Turn, answer: str = "Hello") -> str:
        if self.restarts:
            self.conversations = Conversations(self.letta)
        return (await say(self.letta, self.conversations, self.agent, asked, answer)).id


@pytest.fixture(params=[False, True], ids=["one process", "restarted each time"])
def gateway(request: pytest.FixtureRequest, either: MemoryLetta) -> Gateway:
    return Gateway(either, request.param)


@pytest.fixture(params=[True, False], ids=["kept", "not kept"])
def keeps(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_it_is_appended_to_at_its_end(gateway: Gateway, keeps: bool) -> None:
    begun = first(keeps=keeps)
    await gateway.say(begun)
    await gateway.say(behind(FIRST, "More", SECOND, begun), "Yes")
    await gateway.say(behind(SECOND, "And", THIRD, begun), "No")

    assert heard(gateway.letta) == [["Hi", "Hello", "More", "Yes", "And", "No"]]


async def test_anywhere_else_it_is_a_branch(gateway: Gateway, keeps: bool) -> None:
    begun = first(keeps=keeps)
    await gateway.say(begun)
    await gateway.say(behind(FIRST, "More", SECOND, begun), "Yes")
    await gateway.say(behind(FIRST, "Other", THIRD, begun), "No")

    assert heard(gateway.letta) == [["Hi", "Hello", "More", "Yes"], ["Hi", "Hello", "Other", "No"]]
    await gateway.say(behind(SECOND, "And", "4" * 16, begun), "Fine")
    await gateway.say(behind(THIRD, "But", "5" * 16, begun), "Well")
    assert heard(gateway.letta) == [
        ["Hi", "Hello", "More", "Yes", "And", "Fine"],
        ["Hi", "Hello", "Other", "No", "But", "Well"],
    ]


async def test_chats_that_begin_alike_are_told_apart(gateway: Gateway) -> None:
    begun = [first(id=str(i) * 16) for i in range(6)]
    for i, one in enumerate(begun):
        await gateway.say(one, f"Hello {i}")
    await gateway.say(behind("2" * 16, "More", "a" * 16, begun[2]), "Yes")

    assert ["Hi", "Hello 2", "More", "Yes"] in heard(gateway.letta)
    assert len(gateway.letta.store.conversations) == 6


async def test_its_history_goes_on_where_the_place_does(gateway: Gateway) -> None:
    begun = first()
    await gateway.say(begun)
    await gateway.say(first("Hi", "Hello", "More", id=SECOND), "Yes")
    await gateway.say(behind(SECOND, "And", THIRD, begun), "No")
    await gateway.say(first("Hi", "Hello", "More", "Yes", "And", "No", "Then", id="4" * 16), "So")

    assert heard(gateway.letta) == [["Hi", "Hello", "More", "Yes", "And", "No", "Then", "So"]]


async def test_a_turn_without_an_end_is_told_again(gateway: Gateway) -> None:
    begun = first()
    await gateway.say(begun)
    await gateway.say(behind(FIRST, "More", SECOND, begun), "")
    await gateway.say(behind(SECOND, "And", THIRD, begun), "No")

    assert [text for text in heard(gateway.letta)[-1] if text != "No"] == ["Hi", "Hello", "More", "And"]


@pytest.mark.parametrize("keeps", [True, False], ids=["another's turn", "not kept"])
async def test_a_place_that_is_not_there_is_told_as_such(gateway: Gateway, keeps: bool) -> None:
    begun = first(keeps=keeps)
    await gateway.say(begun)
    with pytest.raises(NotFoundHere) as raised:
        await gateway.say(behind(SECOND if keeps else FIRST, "More", THIRD, first()))

    assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")
    assert heard(gateway.letta) == [["Hi", "Hello"]]


async def test_results_go_where_their_calls_wait(gateway: Gateway) -> None:
    begun = first()
    conversation = await gateway.say(begun)
    call = PendingCall("call_1", "weather")
    gateway.letta.store.conversations[conversation].pending = (call,)
    gateway.conversations = Conversations(gateway.letta)
    path = RequestedPath(path_of([GO_AHEAD]), results=(ToolResult("call_1", "12"),), only_results=True)
    asked = msgspec.structs.replace(behind(FIRST, "", SECOND, begun), asked=path)
    found, sending = await gateway.conversations.find(gateway.agent, asked)

    assert (found.id, [result.text for result in sending.results], sending.messages) == (conversation, ["12"], [])


async def test_results_for_which_no_call_waits_there_go_nowhere(gateway: Gateway) -> None:
    begun = first()
    await gateway.say(begun)
    path = RequestedPath(path_of([GO_AHEAD]), results=(ToolResult("call_1", "12"),), only_results=True)
    asked = msgspec.structs.replace(behind(FIRST, "", SECOND, begun), asked=path)
    with pytest.raises(NotFoundHere, match="one of these calls waits") as raised:
        await gateway.say(asked)

    assert raised.value.code == "previous_response_not_found"
    assert heard(gateway.letta) == [["Hi", "Hello"]]


async def test_while_another_turn_is_under_way_it_is_a_branch(either: MemoryLetta, agent: KnownAgent) -> None:
    conversations, begun = Conversations(either), first()
    await say(either, conversations, agent, begun)
    held, _ = await conversations.find(agent, behind(FIRST, "More", SECOND, begun))
    other, _ = await conversations.find(agent, behind(FIRST, "Other", THIRD, begun))

    assert held.id != other.id


async def test_a_chat_that_was_given_its_id_is_one_line_and_one_conversation(gateway: Gateway) -> None:
    given = given_marker("school", "c" * 16)
    for i, text in enumerate(("Hi", "More")):
        asked = placed(turn(text, chat=None, frontend=False), str(i) * 16, True, given)
        assert not asked.scratch
        await gateway.say(asked, f"Hello {i}")

    assert heard(gateway.letta) == [["Hi", "Hello 0", "More", "Hello 1"]]


def listed(id: str, made: float, used: float, marker: str = "gw1:kept:1") -> Conversation:
    def moment(hours: float) -> datetime:
        return START + timedelta(hours=hours)

    return Conversation(id, moment(made), last_message_at=moment(used), summary=str(Summary(marker)))


def test_only_conversations_of_its_time_are_looked_at_the_likeliest_first() -> None:
    hours = SLACK / timedelta(hours=1)
    conversations = [
        listed("later", hours * 2, 9),
        listed("long since over", -9, -hours * 2),
        listed("used long afterwards", -1, 5),
        listed("its last turn", -1, 0),
        listed("another chat", -1, 0, "gw1:kept:2"),
        Conversation("without dates", summary=str(Summary("gw1:kept:1"))),
    ]
    found = [one.id for one, _ in that_may_hold(After(FIRST, AT), "gw1:kept:1", conversations)]

    assert found == ["its last turn", "used long afterwards", "without dates"]
    many = [listed(f"{i}", -1, 0) for i in range(2 * MOST_SEARCHED)]
    assert len([*that_may_hold(After(FIRST, AT), "gw1:kept:1", many)]) == MOST_SEARCHED
