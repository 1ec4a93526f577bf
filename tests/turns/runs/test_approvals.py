"""What a person allows, and what nobody can: approvals over the turns of a chat."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.domain import errors
from gateway.domain.events import Event, StopReason
from gateway.domain.messages import PendingCall
from gateway.letta.notes import NOBODY_ALLOWS, SAID_ELSE
from gateway.settings import AgentType
from gateway.turns.chats.reconcile import Ids
from gateway.turns.runs.driver import MOST_DENIALS
from gateway.turns.runs.means import Means
from gateway.turns.runs.registry import Runs
from tests.events import answer, approval_request, error, ping, stop, stops_of, usage
from tests.turns.calling import CALLED, assistant, last, request, result, user, waits, where
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import AGAIN, FIRST, play, read, runs_for, spoken, told_next
from tests.turns.virtual_time import Gate
from tests.wires.oracle import played

pytestmark = pytest.mark.anyio

DO_IT = user("Do it")
each_chat = pytest.mark.parametrize("chat", ["chat", None], ids=["a chat", "no chat id"])


def asked_in(events: Sequence[Event]) -> str:
    """The answer as the person sees it."""
    return played(events).content


async def ask(runs: Runs, letta: MemoryLetta, chat: str | None = "chat") -> str:
    """Have the agent ask; gives the question."""
    letta.scripts = [waits("Bash")]
    question = asked_in(await play(runs, request(DO_IT, chat=chat)))
    assert "May I do this?" in question
    return question


# Asked

# what the person says -> whether it is allowed, why not
WORDS = {
    "yes": (True, ""),
    "Sure, go ahead": (False, SAID_ELSE),
    "no": (False, ""),
    "No, it is late": (False, "it is late"),
    "What time is it?": (False, SAID_ELSE),
}


@pytest.mark.parametrize("words", WORDS)
async def test_the_next_message_decides_and_is_heard(either: MemoryLetta, words: str) -> None:
    runs = runs_for(either)
    question = await ask(runs, either)
    await play(runs, request(DO_IT, assistant(question), user(words)))
    allowed, reason = WORDS[words]

    assert (last(either).approved, last(either).denied) == ((("c1",), ()) if allowed else ((), ("c1",)))
    assert last(either).reason == reason
    assert either.store.received[-1].texts == ["Do it", words]
    assert len({*where(either)}) == 1


@each_chat
@pytest.mark.parametrize("before", ["the cache was lost", "after a restart"])
async def test_a_yes_is_understood_whatever_was_forgotten(either: MemoryLetta, chat: str | None, before: str) -> None:
    runs = runs_for(either)
    question = await ask(runs, either, chat)
    if before == "after a restart":
        runs = runs_for(either)
    runs.means.forget(request(DO_IT, chat=chat))
    await play(runs, request(DO_IT, assistant(question), user("yes"), chat=chat))

    assert last(either).approved == ("c1",)
    assert len({*where(either)}) == 1


async def test_several_calls_are_allowed_at_once(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("Bash", "Write")]
    question = asked_in(await play(runs, request(DO_IT)))
    await play(runs, request(DO_IT, assistant(question), user("yes")))

    assert last(letta).approved == ("c1", "c2")


# Nothing but the message that follows the question approves anything.


async def test_a_yes_that_is_regenerated_approves_nothing(either: MemoryLetta) -> None:
    runs = runs_for(either)
    question = await ask(runs, either)
    path = (DO_IT, assistant(question), user("yes"))
    for _ in range(3):
        await play(runs, request(*path))

    assert [sending.approved for _, sending in either.sent] == [(), ("c1",), (), ()]
    assert either.store.received[-1].texts == ["Do it", "yes"]


async def test_a_question_that_is_regenerated_is_asked_anew_and_the_one_before_is_never_answered(
    either: MemoryLetta,
) -> None:
    runs = runs_for(either)
    await ask(runs, either)
    again = await ask(runs, either)
    await play(runs, request(DO_IT, assistant(again), user("yes")))

    first, second, third = where(either)
    assert first != second == third
    assert either.store.conversations[first].pending == (PendingCall("c1", "Bash"),)
    assert last(either).approved == ("c1",)


async def test_an_edit_of_the_question_s_message_approves_nothing(either: MemoryLetta) -> None:
    runs = runs_for(either)
    await ask(runs, either)
    await play(runs, request(user("yes")))

    assert (last(either).approved, last(either).denied) == ((), ())
    assert len({*where(either)}) == 2


async def test_a_yes_to_a_question_that_never_reached_the_person_approves_nothing(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [[[answer("Let me see.")], *waits("Bash")]]
    await play(runs, request(DO_IT))
    await play(runs, request(DO_IT, assistant("Let me see."), user("ok")))

    assert (last(letta).approved, last(letta).denied) == ((), ("c1",))
    assert len({*where(letta)}) == 1


async def test_a_client_that_tells_only_what_is_new_may_say_yes(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("Bash")]
    await play(runs, request(DO_IT, history="new"))
    await play(runs, request(user("yes"), history="new"))

    assert last(letta).approved == ("c1",)


async def test_a_yes_in_another_chat_approves_nothing(letta: MemoryLetta, runs: Runs) -> None:
    await ask(runs, letta)
    await play(runs, request(user("yes"), chat="other"))

    assert last(letta).approved == ()


async def test_the_same_request_again_approves_nothing_more(letta: MemoryLetta, runs: Runs) -> None:
    question = await ask(runs, letta)
    asked = request(DO_IT, assistant(question), user("yes"))
    first, again = await play(runs, asked, FIRST), await play(runs, asked, AGAIN)

    assert spoken(first) == spoken(again) == "Hello"
    assert [sending.approved for _, sending in letta.sent] == [(), ("c1",)]


async def test_an_approval_that_letta_does_not_wait_for_any_more_is_sent_as_a_message(either: MemoryLetta) -> None:
    runs = runs_for(either)
    question = await ask(runs, either)
    for kept in either.store.conversations.values():
        kept.pending = ()
    await play(runs, request(DO_IT, assistant(question), user("yes")))

    assert last(either).approved == ()
    assert either.store.received[-1].texts == ["Do it", "yes"]


async def test_with_message_ids_a_yes_is_understood_and_its_regenerate_approves_nothing(either: MemoryLetta) -> None:
    runs = runs_for(either)
    either.scripts = [waits("Bash")]
    question = asked_in(await play(runs, request(DO_IT, ids=Ids("a1", "u1", ""))))
    path = (DO_IT, assistant(question), user("yes"))
    for answer_id in ("a2", "a3"):
        await play(runs, request(*path, ids=Ids(answer_id, "u2", "a1")))

    assert [sending.approved for _, sending in either.sent] == [(), ("c1",), ()]
    assert either.store.received[-1].texts == ["Do it", "yes"]


async def test_a_yes_is_no_result_of_a_client_s_call(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("weather")]
    await play(runs, request(DO_IT))
    await play(runs, request(DO_IT, CALLED, user("yes"), tools=[]))

    assert (last(letta).approved, last(letta).denied) == ((), ("c1",))


# Denied, where nobody is asked

DENYING = AgentType(id="tutor", model="m/one", approvals="deny")
SHARED = AgentType(id="ops", agent="agent-ops")
ASKING = AgentType(id="ops", agent="agent-ops", approvals="ask")


async def test_what_nobody_can_allow_is_denied_and_the_turn_goes_on(letta: MemoryLetta, means: Means) -> None:
    waiting: Sequence[Step] = [[ping()], [answer("Let me see.")], *waits("Bash"), [usage()]]
    letta.scripts = [waiting, [[answer("I may not.")], [stop(), usage()]]]
    events = await play(means, request(DO_IT, agent_type=DENYING))

    assert [sending.denied for _, sending in letta.sent] == [(), ("c1",)]
    assert (last(letta).reason, last(letta).messages) == (NOBODY_ALLOWS, [])
    assert stops_of(events) == [StopReason.END]
    stream = played(events, include_usage=True)
    assert stream.visible == "Let me see.I may not."
    assert stream.thoughts == ["Bash needs an approval, which nobody can give here.\n"]
    assert stream.usage
    assert stream.usage.total_tokens == 36


async def test_the_chat_goes_on_after_what_was_denied(either: MemoryLetta) -> None:
    runs = runs_for(either)
    either.scripts = [waits("Bash")]
    await play(runs, request(DO_IT, agent_type=DENYING))
    await play(runs, request(DO_IT, assistant("Hello"), user("yes"), agent_type=DENYING))

    assert [sending.approved for _, sending in either.sent] == [(), (), ()]
    assert either.store.received[-1].texts == ["Do it", "Hello", "yes"]
    assert len({*where(either)}) == 1


async def test_as_often_as_it_asks_it_is_denied(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [waits("Bash"), waits("Write", "Edit")]
    events = await play(means, request(DO_IT, agent_type=DENYING))

    assert [sending.denied for _, sending in letta.sent] == [(), ("c1",), ("c1", "c2")]
    assert spoken(events) == "Hello"


async def test_an_agent_that_asks_on_and_on_is_stopped_and_the_chat_goes_on(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("Bash")] * (MOST_DENIALS + 1)
    reader = runs.start(request(DO_IT, agent_type=DENYING))
    with pytest.raises(errors.RunFailed):
        await read(reader)
    assert letta.count("run") == MOST_DENIALS + 1

    assert spoken(await play(runs, request(DO_IT, user("More"), agent_type=DENYING))) == "Hello"
    assert last(letta).denied == ("c1",)


async def test_what_was_left_waiting_where_nobody_is_asked_is_denied_whatever_is_said(
    letta: MemoryLetta, runs: Runs
) -> None:
    await play(runs, request(DO_IT, agent_type=DENYING, history="new"))
    (kept,) = letta.store.conversations.values()
    kept.pending = (PendingCall("c9", "Bash"),)
    runs.means.forget(request(DO_IT, agent_type=DENYING))
    await play(runs, request(user("yes"), agent_type=DENYING, history="new"))

    assert [sending.approved for _, sending in letta.sent] == [(), ()]
    assert last(letta).denied == ("c9",)


async def test_pieces_of_a_call_that_is_denied_make_one_line(letta: MemoryLetta, means: Means) -> None:
    pieces = [approval_request("Bash", "c1"), approval_request(None, "c1", arguments="{"), approval_request(None, "c1")]
    letta.scripts = [[[ping()], *([piece] for piece in pieces), [stop("requires_approval")]]]
    events = await play(means, request(DO_IT, agent_type=DENYING))

    assert last(letta).denied == ("c1",)
    assert played(events).thoughts == ["Bash needs an approval, which nobody can give here.\n"]


async def test_everybody_s_agent_asks_nobody_unless_it_is_told_to(letta: MemoryLetta, runs: Runs) -> None:
    letta.store.add_agent((), "agent-ops")
    for agent_type in (SHARED, ASKING):
        letta.scripts = [waits("Bash")]
        await play(runs, request(DO_IT, chat=agent_type.approvals, agent_type=agent_type))

    assert [sending.denied for _, sending in letta.sent] == [(), ("c1",), ()]


async def test_calls_of_the_client_s_are_never_denied_so(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [waits("Bash", "weather")]
    events = await play(means, request(DO_IT, agent_type=DENYING))
    await play(means, request(DO_IT, assistant(None, c2="weather"), result("c2"), agent_type=DENYING))

    assert stops_of(events) == [StopReason.WAITING]
    assert [sending.denied for _, sending in letta.sent] == [(), ("c1",)]
    assert [one.tool_call_id for one in last(letta).results] == ["c2"]


async def test_a_turn_that_fails_after_a_denial_is_none(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("Bash"), [[ping()], [stop("error")], [error()]]]
    failed = await play(runs, request(DO_IT, agent_type=DENYING))
    await play(runs, request(DO_IT, agent_type=DENYING))

    assert played(failed).error
    assert letta.sent_texts() == [["Do it"], [], ["Do it"]]
    assert last(letta).denied == ()


async def test_a_turn_that_breaks_off_after_a_denial_is_cancelled(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("Bash"), [[answer("He")], errors.BrokenStream("cut")]]
    with pytest.raises(errors.BrokenStream):
        await play(runs, request(DO_IT, agent_type=DENYING))

    assert letta.count("cancel") == 1
    assert spoken(await play(runs, request(DO_IT, agent_type=DENYING))) == "Hello"


async def test_a_denial_that_letta_does_not_take_is_an_error_and_the_chat_goes_on(
    letta: MemoryLetta, runs: Runs
) -> None:
    stopping = Gate()
    letta.scripts = [[*waits("Bash"), stopping]]
    playing = asyncio.create_task(play(runs, request(DO_IT, agent_type=DENYING)))
    await stopping.reached()
    letta.fail("run", errors.Stuck("nothing waits"))
    stopping.open()
    with pytest.raises(errors.Stuck):
        await playing

    assert spoken(await play(runs, request(DO_IT, agent_type=DENYING))) == "Hello"


async def test_who_leaves_while_something_is_denied_cancels_what_goes_on(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("Bash"), [[answer("He")], 60.0, [stop()]]]
    reader = runs.start(request(DO_IT, agent_type=DENYING))
    while not spoken(await told_next(reader) or []):
        pass
    reader.leave()
    await asyncio.sleep(5)

    assert letta.count("cancel") == 1
    assert spoken(await play(runs, request(DO_IT, agent_type=DENYING))) == "Hello"
