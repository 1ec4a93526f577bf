"""Turns that Letta does not take at once: busy, lost, refused; and what becomes of errors that nobody expected."""

from collections.abc import Sequence

import pytest

from gateway.domain import errors
from gateway.domain.events import Failure, Text
from gateway.domain.messages import Message, PendingCall
from gateway.settings import Chats
from gateway.turns.runs.means import Means, means_of
from tests.events import answer, approval_request, error, ping, stop
from tests.turns.memory_letta import CONFLICT, MemoryLetta, Step
from tests.turns.store import Store
from tests.turns.turns import in_conversations, play, turn
from tests.turns.virtual_time import now

pytestmark = pytest.mark.anyio

# Busy


async def test_a_busy_conversation_is_waited_for(letta: MemoryLetta, means: Means) -> None:
    letta.fail("run", *[errors.Busy("409")] * 40)

    assert await play(means, turn())
    assert now() >= 10
    assert letta.store.received[-1].texts == ["Hi"]
    assert len(letta.store.received) == 1
    assert "cancel" not in in_conversations(letta)


async def test_a_conflict_that_is_told_on_an_otherwise_empty_stream_is_waited_for(
    letta: MemoryLetta, means: Means
) -> None:
    letta.scripts = [CONFLICT, [[ping()], *CONFLICT]]

    events = await play(means, turn())
    assert [event.text for event in events if isinstance(event, Text)] == ["Hello"]
    assert not [event for event in events if isinstance(event, Failure)]
    assert "cancel" not in in_conversations(letta)


async def test_a_conflict_is_waited_for_in_the_conversation_where_it_was(letta: MemoryLetta, means: Means) -> None:
    await play(means, turn("Hi"))
    letta.fail("run", errors.Busy("409"))
    await play(means, turn("Hi", "Hello", "More"))

    assert len({id for id, _ in letta.sent}) == 1
    assert letta.store.received[-1].texts == ["Hi", "Hello", "More"]


async def test_a_conversation_that_stays_busy_is_an_error_in_time(letta: MemoryLetta) -> None:
    letta.fail("run", *[errors.Busy("409")] * 1000)
    means = means_of(letta, 0.5, 300.0, Chats(queue_seconds=5.0))

    with pytest.raises(errors.Busy):
        await play(means, turn())
    assert 4 <= now() <= 6
    assert "cancel" not in in_conversations(letta)


OTHER_ENDS: dict[str, Sequence[Step]] = {
    "an error that is no conflict": [[ping()], [stop("error")], [error("internal_error", "it broke")]],
    "a reason to stop alone": [[ping()], [stop("error")]],
    "an error without a reason to stop": [[ping()], [error()], [stop("error")]],
    "a conflict after an answer": [[ping()], [answer("He")], *CONFLICT],
}


@pytest.mark.parametrize("script", OTHER_ENDS.values(), ids=OTHER_ENDS)
async def test_any_other_end_is_told_as_it_came(letta: MemoryLetta, means: Means, script: Sequence[Step]) -> None:
    letta.scripts = [script]

    assert await play(means, turn()) == [
        event for step in script if isinstance(step, list) for event in step if event != ping()
    ]
    assert in_conversations(letta) == ["run"]


# Approvals


async def test_a_pending_approval_is_denied_with_the_next_message(letta: MemoryLetta, means: Means) -> None:
    waiting: Sequence[Step] = [[ping()], [approval_request("search")], [stop("requires_approval")]]
    letta.scripts = [waiting]
    await play(means, turn("Hi"))
    await play(means, turn("Hi", "More", roles="uu"))

    assert [sending.denied for _, sending in letta.sent] == [(), ("call-1",)]
    assert letta.store.received[-1].texts == ["Hi", "More"]


async def test_an_approval_that_another_program_left_pending_is_denied_first(letta: MemoryLetta, means: Means) -> None:
    await play(means, turn("Hi"))
    (kept,) = letta.store.conversations.values()
    kept.pending = (PendingCall("call-7", "search"),)
    events = await play(means, turn("Hi", "Hello", "More"))

    assert [event.text for event in events if isinstance(event, Text)] == ["Hello"]
    assert [sending.denied for _, sending in letta.sent] == [(), (), ("call-7",)]
    assert letta.store.received[-1].texts == ["Hi", "Hello", "More"]


# Lost


async def test_what_letta_lost_is_looked_up_again_and_the_turn_sent_once_more(letta: MemoryLetta, means: Means) -> None:
    await play(means, turn("Hi"))
    letta.store.conversations.clear()
    letta.store.agents.clear()
    await play(means, turn("Hi", "Hello", "More"))

    assert letta.sent_texts() == [["Hi"], ["More"], ["Hi", "Hello", "More"]]
    assert (len(letta.store.agents), len(letta.store.conversations)) == (1, 1)
    assert "cancel" not in in_conversations(letta)


FOUND_WANTING = [errors.NotFound, errors.Stuck]
each_kind = pytest.mark.parametrize("kind", FOUND_WANTING)


@each_kind
async def test_a_conversation_found_wanting_is_looked_up_again_and_the_turn_sent_once_more(
    letta: MemoryLetta, means: Means, kind: type[errors.UpstreamError]
) -> None:
    await play(means, turn("Hi"))
    before = letta.count("read_conversation")
    letta.fail("run", kind("lost"))

    assert await play(means, turn("Hi", "Hello", "More"))
    assert in_conversations(letta) == ["run", "run", "recompile", "run"]
    assert letta.count("read_conversation") == before + 1


@each_kind
async def test_a_conversation_found_wanting_twice_is_an_error(
    letta: MemoryLetta, means: Means, kind: type[errors.UpstreamError]
) -> None:
    letta.fail("run", kind("lost"), kind("lost"))

    with pytest.raises(kind):
        await play(means, turn())
    assert letta.count("run") == 2
    assert await play(means, turn())


@each_kind
async def test_a_turn_of_which_something_was_told_is_not_sent_again(
    letta: MemoryLetta, means: Means, kind: type[errors.UpstreamError]
) -> None:
    letta.scripts = [[[answer("He")], kind("lost")]]

    with pytest.raises(kind):
        await play(means, turn())
    assert in_conversations(letta) == ["run", "cancel"]


async def test_a_turn_that_waits_in_vain_behind_one_without_an_end_is_sent_once_more() -> None:
    letta = MemoryLetta(Store(forks=True))
    means = means_of(letta, 0.5, 300.0, Chats())
    await play(means, turn("Hi"))
    letta.scripts = [[errors.Stuck("queued")]]

    assert await play(means, turn("Hi", "Hello", "More"))
    assert letta.store.received[-1].texts == ["Hi", "Hello", "More"]
    assert "cancel" not in in_conversations(letta)


async def test_a_conversation_with_a_turn_without_an_end_is_left_and_the_chat_goes_on_in_a_fork() -> None:
    letta = MemoryLetta(Store(forks=True))
    letta.store.add_agent((), "agent-1")
    means = means_of(letta, 0.5, 300.0, Chats())
    await play(means, turn("Hi"))
    (stuck,) = letta.store.conversations.values()
    stuck.unfinished = len(stuck.heard)
    stuck.heard.append(Message("user", "What nobody knows of", id="message-x"))
    await play(means_of(letta, 0.5, 300.0, Chats()), turn("Hi", "Hello", "More"))

    assert len({id for id, _ in letta.sent}) == 2
    assert letta.store.received[-1].texts == ["Hi", "Hello", "More"]


# Not taken

NOT_TAKEN = [errors.Unreachable("no"), errors.Refused("400"), errors.KeyRefused("401")]


@pytest.mark.parametrize("failure", NOT_TAKEN, ids=lambda failure: type(failure).__name__)
async def test_what_letta_did_not_take_is_told_and_not_cancelled(
    letta: MemoryLetta, means: Means, failure: errors.UpstreamError
) -> None:
    letta.fail("run", failure)

    with pytest.raises(type(failure)):
        await play(means, turn())
    assert in_conversations(letta) == ["run"]


async def test_an_agent_that_cannot_be_found_is_an_error_of_the_run(letta: MemoryLetta, means: Means) -> None:
    letta.fail("find_agents", errors.Unreachable("no"))

    with pytest.raises(errors.Unreachable):
        await play(means, turn())
    assert await play(means, turn())


@pytest.mark.parametrize("call", ["find_agents", "create_conversation", "run"])
async def test_an_unexpected_error_reaches_the_reader_and_the_next_turn_goes_on(
    letta: MemoryLetta, means: Means, call: str
) -> None:
    letta.fail(call, RuntimeError("a bug"))

    with pytest.raises(RuntimeError, match="a bug"):
        await play(means, turn())
    assert await play(means, turn())


async def test_an_unexpected_error_in_the_middle_of_a_chat_leaves_what_was_said(
    letta: MemoryLetta, means: Means
) -> None:
    await play(means, turn("Hi"))
    letta.fail("run", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        await play(means, turn("Hi", "Hello", "More"))
    await play(means, turn("Hi", "Hello", "More"))

    assert [received.texts for received in letta.store.received] == [["Hi"], ["Hi", "Hello", "More"]]


async def test_what_letta_finds_too_long_is_not_brought_back_with_the_next_message(
    letta: MemoryLetta, means: Means
) -> None:
    letta.fail("run", errors.TooLong("413"))
    with pytest.raises(errors.TooLong):
        await play(means, turn("Long", keeps_history=False))
    await play(means, turn("Hi", keeps_history=False))

    assert letta.store.received[-1].texts == ["Hi"]
    assert "cancel" not in in_conversations(letta)
