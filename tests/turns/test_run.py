"""Turns of agents: what they send, in which order they go, and how each stage of one ends when nobody listens."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.letta import errors
from gateway.letta.events import Event
from gateway.letta.upstream import Message
from gateway.settings import AgentType
from gateway.turns.history import History
from gateway.turns.identity import Caller, User
from gateway.turns.run import Run, Runs, Turn
from tests.events import answer, ping, reasoning, stop, tool_call, tool_calls
from tests.turns.memory_letta import ANSWER, Gate, MemoryLetta, Step, VirtualTimeLoop, idle, now

pytestmark = pytest.mark.anyio

SILENCE = 300.0
TUTOR = AgentType(id="tutor", model="m/one")
OLD = [Message("user", "I am Ada."), Message("assistant", "Hello Ada.")]
NEWS = [Message("user", "Who am I?")]
PATH = OLD + NEWS


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@pytest.fixture
def letta() -> MemoryLetta:
    return MemoryLetta()


@pytest.fixture
def runs(letta: MemoryLetta) -> Runs:
    return Runs(letta, settle_seconds=0.5, silence_seconds=SILENCE)


def turn(chat: str | None = "chat", user: str = "ada", agent_type: AgentType = TUTOR) -> Turn:
    return Turn(agent_type, Caller(User("school", user, user), chat), History(OLD, NEWS))


async def read(run: Run) -> list[Event]:
    """All that Letta says, to the end."""
    events = []
    while (news := await run.next()) is not None:
        events += news
    run.leave()
    return events


async def play(runs: Runs, turn: Turn) -> list[Event]:
    return await read(runs.start(turn))


async def ended(run: Run) -> None:
    """Returns when nothing of the run is left, however it ended."""
    await asyncio.wait([run.task])


def in_conversations(letta: MemoryLetta) -> list[str]:
    """What was asked of conversations that are there, in order."""
    return [name for name, _ in letta.calls if name in ("run", "cancel", "recompile")]


# What is sent


async def test_a_run_tells_what_letta_says_as_it_came(letta: MemoryLetta, runs: Runs) -> None:
    script = [[ping()], [reasoning("Hm."), answer("Hello")], [stop()]]
    letta.scripts = [script]
    run = runs.start(turn())

    assert [await run.next() for _ in range(4)] == [*script, None]


async def test_a_new_conversation_is_sent_the_whole_path_and_then_only_news(letta: MemoryLetta, runs: Runs) -> None:
    for _ in range(3):
        await play(runs, turn())

    assert [messages for _, messages in letta.sent] == [PATH, NEWS, NEWS]
    assert len({id for id, _ in letta.sent}) == 1


async def test_a_chat_found_again_is_sent_only_news(letta: MemoryLetta, runs: Runs) -> None:
    await play(runs, turn())
    await play(Runs(letta, 0.5, SILENCE), turn())

    assert [messages for _, messages in letta.sent] == [PATH, NEWS]


async def test_without_a_chat_the_whole_path_is_sent_every_time(letta: MemoryLetta, runs: Runs) -> None:
    for _ in range(2):
        await play(runs, turn(chat=None))

    assert [messages for _, messages in letta.sent] == [PATH, PATH]
    assert len({id for id, _ in letta.sent}) == 2


@pytest.mark.parametrize("chat", ["chat", None], ids=["a chat", "no chat"])
async def test_letta_may_take_what_was_said_before_and_is_then_sent_only_news(
    letta: MemoryLetta, runs: Runs, chat: str | None
) -> None:
    letta.takes_history = True
    for _ in range(2):
        await play(runs, turn(chat))

    assert [messages for _, messages in letta.sent] == [NEWS, NEWS]
    assert letta.histories == [OLD] * (1 if chat else 2)
    assert letta.store.conversations[letta.sent[0][0]].heard[: len(PATH)] == PATH


async def test_the_tools_of_the_agent_type_are_told_with_every_turn(letta: MemoryLetta, runs: Runs) -> None:
    for tools in ((), ("search", "run")):
        await play(runs, turn(agent_type=AgentType(id="tutor", model="m/one", tools=tools)))

    assert letta.tools == [(), ("search", "run")]


FAILED_TURNS: dict[str, list[Step]] = {
    "the model failed": [[ping()], [stop("llm_api_error")]],
    "it was cancelled": [[ping()], [answer("He"), stop("cancelled")]],
    "the stream broke": [[ping()], errors.BrokenStream("cut")],
}


@pytest.mark.parametrize("script", FAILED_TURNS.values(), ids=FAILED_TURNS)
async def test_after_a_failed_first_turn_the_whole_path_is_sent_again(
    letta: MemoryLetta, runs: Runs, script: list[Step]
) -> None:
    letta.scripts = [script]
    await asyncio.gather(play(runs, turn()), return_exceptions=True)
    await play(runs, turn())

    assert [messages for _, messages in letta.sent] == [PATH, PATH]


async def test_after_a_failed_later_turn_only_news_are_sent(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [ANSWER, [[ping()], [stop("error")]]]
    for _ in range(3):
        await play(runs, turn())

    assert [messages for _, messages in letta.sent] == [PATH, NEWS, NEWS]


@pytest.mark.parametrize("script", FAILED_TURNS.values(), ids=FAILED_TURNS)
async def test_after_a_failed_turn_its_conversation_is_looked_up_and_compiled_again(
    letta: MemoryLetta, runs: Runs, script: list[Step]
) -> None:
    letta.scripts = [ANSWER, script]
    for _ in range(3):
        await asyncio.gather(play(runs, turn()), return_exceptions=True)

    (conversation,) = letta.store.conversations
    assert letta.subjects("resume_conversation") == letta.subjects("recompile") == [conversation]
    assert letta.count("create_conversation") == 1


async def test_a_turn_that_was_left_has_its_conversation_looked_up_again(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], Gate()]]
    run = runs.start(turn())
    await run.next()
    run.leave()
    await ended(run)
    await play(runs, turn())

    assert letta.subjects("resume_conversation") == [letta.sent[0][0]]


async def test_after_a_failed_turn_the_agent_is_still_known(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], errors.BrokenStream("cut")]]
    await asyncio.gather(play(runs, turn()), return_exceptions=True)
    asked = letta.count("find_agents")
    await play(runs, turn())

    assert letta.count("find_agents") == asked


# The order of turns


async def test_turns_of_one_chat_go_one_after_another(letta: MemoryLetta, runs: Runs) -> None:
    thinking = Gate()
    letta.scripts = [[[ping()], thinking, [stop()]]]
    first, second = runs.start(turn()), runs.start(turn())
    await thinking.reached()
    await idle()
    assert letta.count("run") == 1

    thinking.open()
    await asyncio.gather(read(first), read(second))
    assert letta.count("run") == 2


async def test_ten_first_turns_of_one_chat_make_one_conversation(letta: MemoryLetta, runs: Runs) -> None:
    await asyncio.gather(*(play(runs, turn()) for _ in range(10)))

    assert (len(letta.store.agents), len(letta.store.conversations)) == (1, 1)
    assert letta.count("run") == 10


SIDE_BY_SIDE: dict[str, tuple[Turn, Turn]] = {
    "two chats": (turn("one"), turn("two")),
    "two users": (turn(user="ada"), turn(user="bob")),
    "no chats": (turn(None), turn(None)),
}


@pytest.mark.parametrize("turns", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
async def test_turns_of_different_chats_go_side_by_side(
    letta: MemoryLetta, runs: Runs, turns: tuple[Turn, Turn]
) -> None:
    thinking = Gate()
    letta.scripts = [[[ping()], thinking, [stop()]]] * 2
    both = asyncio.gather(*(play(runs, turn) for turn in turns))
    await thinking.reached(2)
    thinking.open()
    await both

    assert len({id for id, _ in letta.sent}) == 2


# Leaving


@pytest.mark.parametrize("call", ["find_agents", "create_agent", "find_conversations", "create_conversation"])
async def test_a_turn_left_while_it_is_prepared_sends_nothing(letta: MemoryLetta, runs: Runs, call: str) -> None:
    looking = letta.gate(call)
    run = runs.start(turn())
    await looking.reached()
    run.leave()
    await ended(run)
    looking.open()
    await idle()

    assert in_conversations(letta) == []


async def test_a_turn_left_before_it_began_sends_nothing(letta: MemoryLetta, runs: Runs) -> None:
    run = runs.start(turn())
    run.leave()
    await ended(run)

    assert letta.calls == []


async def test_a_turn_left_while_it_waits_for_another_sends_nothing(letta: MemoryLetta, runs: Runs) -> None:
    thinking = Gate()
    letta.scripts = [[[ping()], thinking, [stop()]]]
    first, second = runs.start(turn()), runs.start(turn())
    await thinking.reached()
    second.leave()
    await ended(second)
    thinking.open()
    await read(first)

    assert in_conversations(letta) == ["run"]


async def test_a_turn_left_while_letta_takes_it_is_cancelled_once_letta_names_it(
    letta: MemoryLetta, runs: Runs
) -> None:
    sending = letta.gate("run")
    run = runs.start(turn())
    await sending.reached()
    run.leave()
    await idle()
    assert not run.task.done()

    sending.open()
    await ended(run)
    assert in_conversations(letta) == ["run", "cancel"]


async def test_a_turn_left_while_letta_takes_it_is_not_cancelled_if_it_ends_at_once(
    letta: MemoryLetta, runs: Runs
) -> None:
    sending = letta.gate("run")
    letta.scripts = [[[answer("Hi"), stop()]]]
    run = runs.start(turn())
    await sending.reached()
    run.leave()
    sending.open()
    await ended(run)

    assert in_conversations(letta) == ["run"]


async def test_a_turn_left_while_letta_takes_it_is_not_sent_again(letta: MemoryLetta, runs: Runs) -> None:
    await play(runs, turn())
    letta.store.conversations.clear()
    sending = letta.gate("run")
    run = runs.start(turn())
    await sending.reached()
    run.leave()
    sending.open()
    await ended(run)

    assert in_conversations(letta) == ["run", "run"]


async def test_a_turn_left_while_letta_answers_is_cancelled_once(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], Gate()]]
    run = runs.start(turn())
    await run.next()
    for _ in range(2):
        run.leave()
    await ended(run)

    assert in_conversations(letta) == ["run", "cancel"]
    assert letta.subjects("cancel") == [letta.sent[0][0]]


async def test_a_turn_left_after_the_reason_to_stop_is_not_cancelled(letta: MemoryLetta, runs: Runs) -> None:
    counting = Gate()
    letta.scripts = [[[ping()], [stop()], counting]]
    run = runs.start(turn())
    await counting.reached()
    run.leave()
    counting.open()
    await ended(run)

    assert in_conversations(letta) == ["run"]


# What a run does, up to the moment when its client leaves or Letta fails it
CANCELLED: dict[str, tuple[Sequence[Step], bool]] = {
    "it was left": ([[ping()], Gate()], True),
    "its stream broke": ([[ping()], errors.BrokenStream("cut")], False),
    "its stream broke before it began": ([errors.TimedOut("no byte")], False),
    "it hung": ([[ping()], SILENCE * 2], False),
}


@pytest.mark.parametrize(("script", "leaves"), CANCELLED.values(), ids=CANCELLED)
async def test_the_next_turn_begins_when_the_cancel_has_returned(
    letta: MemoryLetta, runs: Runs, script: Sequence[Step], leaves: bool
) -> None:
    cancelling = letta.gate("cancel")
    letta.scripts = [script]
    first, second = runs.start(turn()), runs.start(turn())
    if leaves:
        await first.next()
        first.leave()
    await cancelling.reached()
    await idle()
    assert in_conversations(letta) == ["run", "cancel"]

    cancelling.open()
    await read(second)
    assert in_conversations(letta) == ["run", "cancel", "recompile", "run"]


async def test_a_reader_need_not_wait_for_the_cancel_to_hear_of_a_failure(letta: MemoryLetta, runs: Runs) -> None:
    letta.gate("cancel")
    letta.scripts = [[[ping()], errors.BrokenStream("cut")]]
    run = runs.start(turn())

    with pytest.raises(errors.BrokenStream):
        await read(run)
    assert not run.task.done()
    run.task.cancel()


async def test_leaving_does_not_cut_a_cancel_short(letta: MemoryLetta, runs: Runs) -> None:
    cancelling = letta.gate("cancel")
    letta.scripts = [[[ping()], errors.BrokenStream("cut")]]
    first, second = runs.start(turn()), runs.start(turn())
    await cancelling.reached()
    first.leave()
    await idle()
    assert in_conversations(letta) == ["run", "cancel"]

    cancelling.open()
    await read(second)


async def test_a_cancel_may_take_longer_than_a_run_may_be_silent(letta: MemoryLetta, runs: Runs) -> None:
    letta.delay = lambda call: SILENCE * 2 if call == "cancel" else 0.0
    letta.scripts = [[[ping()], Gate()]]
    first, second = runs.start(turn()), runs.start(turn())
    await first.next()
    first.leave()
    left = now()
    await second.next()

    assert now() - left >= SILENCE * 2


# Failing


async def test_a_run_that_was_stopped_tells_its_reader(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], Gate()]]
    run = runs.start(turn())
    await run.next()
    run.stop()

    with pytest.raises(errors.Stopped):
        await run.next()
    await ended(run)
    assert in_conversations(letta) == ["run", "cancel"]


HANGING: dict[str, Sequence[Step]] = {
    "nothing": [Gate()],
    "one ping": [[ping()], Gate()],
    "nothing but pings": [step for _ in range(100) for step in ([ping()], 20.0)],
    "an answer, then nothing but pings": [[answer("He")], *[step for _ in range(100) for step in ([ping()], 20.0)]],
}


@pytest.mark.parametrize("script", HANGING.values(), ids=HANGING)
async def test_a_run_that_says_nothing_but_pings_is_cancelled_in_time(
    letta: MemoryLetta, runs: Runs, script: Sequence[Step]
) -> None:
    letta.scripts = [script]
    run = runs.start(turn())
    began = now()

    with pytest.raises(errors.TimedOut):
        await read(run)
    assert SILENCE <= now() - began <= SILENCE * 1.5
    assert in_conversations(letta) == ["run", "cancel"]


async def test_a_run_may_take_any_time_while_it_says_something(letta: MemoryLetta, runs: Runs) -> None:
    words: list[Step] = [step for _ in range(20) for step in ([answer("word ")], SILENCE * 0.9)]
    letta.scripts = [[*words, [stop()]]]

    assert len(await play(runs, turn())) == 21
    assert in_conversations(letta) == ["run"]


async def test_after_the_reason_to_stop_the_end_is_awaited_for_seconds_only(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], [stop()], Gate()]]
    run = runs.start(turn())
    began = now()

    with pytest.raises(errors.TimedOut):
        await read(run)
    assert now() - began < 10
    assert in_conversations(letta) == ["run"]


async def test_what_letta_lost_is_looked_up_again_and_the_turn_sent_once_more(letta: MemoryLetta, runs: Runs) -> None:
    await play(runs, turn())
    letta.store.conversations.clear()
    letta.store.agents.clear()
    await play(runs, turn())

    assert [messages for _, messages in letta.sent] == [PATH, NEWS, PATH]
    assert (len(letta.store.agents), len(letta.store.conversations)) == (1, 1)
    assert "cancel" not in in_conversations(letta)


FOUND_WANTING = [errors.NotFound, errors.Stuck]


@pytest.mark.parametrize("kind", FOUND_WANTING)
async def test_a_conversation_found_wanting_is_looked_up_again_and_the_turn_sent_once_more(
    letta: MemoryLetta, runs: Runs, kind: type[errors.UpstreamError]
) -> None:
    await play(runs, turn())
    letta.fail("run", kind("lost"))

    assert await play(runs, turn())
    assert in_conversations(letta) == ["run", "run", "recompile", "run"]
    assert letta.count("resume_conversation") == 1


@pytest.mark.parametrize("kind", FOUND_WANTING)
async def test_a_conversation_found_wanting_twice_is_an_error(
    letta: MemoryLetta, runs: Runs, kind: type[errors.UpstreamError]
) -> None:
    letta.fail("run", kind("lost"), kind("lost"))

    with pytest.raises(kind):
        await play(runs, turn())
    assert letta.count("run") == 2
    assert await play(runs, turn())


@pytest.mark.parametrize("kind", FOUND_WANTING)
async def test_a_turn_of_which_something_was_told_is_not_sent_again(
    letta: MemoryLetta, runs: Runs, kind: type[errors.UpstreamError]
) -> None:
    letta.scripts = [[[answer("He")], kind("lost")]]
    run = runs.start(turn())

    with pytest.raises(kind):
        await read(run)
    await ended(run)
    assert in_conversations(letta) == ["run", "cancel"]


async def test_a_turn_that_waits_in_vain_behind_one_without_an_end_is_sent_once_more(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [[errors.Stuck("queued")]]

    assert await play(runs, turn())
    assert [messages for _, messages in letta.sent] == [PATH, PATH]
    assert "cancel" not in in_conversations(letta)


NOT_TAKEN = [errors.Unreachable("no"), errors.Busy("409"), errors.Refused("400")]


@pytest.mark.parametrize("error", NOT_TAKEN, ids=lambda error: type(error).__name__)
async def test_what_letta_did_not_take_is_told_and_not_cancelled(
    letta: MemoryLetta, runs: Runs, error: errors.UpstreamError
) -> None:
    letta.fail("run", error)
    run = runs.start(turn())

    with pytest.raises(type(error)):
        await read(run)
    await ended(run)
    assert in_conversations(letta) == ["run"]


async def test_an_agent_that_cannot_be_found_is_an_error_of_the_run(letta: MemoryLetta, runs: Runs) -> None:
    letta.fail("find_agents", errors.Unreachable("no"))

    with pytest.raises(errors.Unreachable):
        await play(runs, turn())
    assert await play(runs, turn())


async def test_a_cancel_that_fails_is_logged_and_the_run_ends_as_it_was(
    letta: MemoryLetta, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    letta.scripts = [[[ping()], errors.BrokenStream("cut")]]
    letta.fail("cancel", errors.Unreachable("no way"))

    with caplog.at_level(logging.WARNING), pytest.raises(errors.BrokenStream):
        await play(runs, turn())
    assert [record.getMessage() for record in caplog.records] == ["a run could not be cancelled: Unreachable: no way"]
    assert await play(runs, turn())


@pytest.mark.parametrize("call", ["find_agents", "create_conversation", "run"])
async def test_an_unexpected_error_reaches_the_reader_and_the_next_turn_goes_on(
    letta: MemoryLetta, runs: Runs, call: str
) -> None:
    letta.fail(call, RuntimeError("a bug"))

    with pytest.raises(RuntimeError, match="a bug"):
        await play(runs, turn())
    assert await play(runs, turn())


async def test_a_run_that_an_unexpected_error_leaves_alone_is_cancelled(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], RuntimeError("a bug")]]

    with pytest.raises(RuntimeError, match="a bug"):
        await play(runs, turn())
    assert in_conversations(letta) == ["run", "cancel"]


# Memory

MEMORY: dict[str, tuple[Event, bool]] = {
    "a memory tool": (tool_call("memory_insert"), True),
    "one of several": (tool_calls("web_search", "core_memory_append"), True),
    "another tool": (tool_call("web_search"), False),
    "a piece without a name": (tool_call(None), False),
}


@pytest.mark.parametrize(("call", "changed"), MEMORY.values(), ids=MEMORY)
async def test_a_turn_that_used_memory_makes_every_chat_compiled_anew(
    letta: MemoryLetta, runs: Runs, call: Event, changed: bool
) -> None:
    await play(runs, turn("other"))
    letta.scripts = [[[ping()], [call], [answer("Noted."), stop()]]]
    await play(runs, turn())
    for chat in ("other", "chat", "other", "chat"):
        await play(runs, turn(chat))

    assert letta.count("recompile") == (2 if changed else 0)


async def test_memory_counts_as_used_by_a_run_that_failed_later(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], [tool_call("memory_insert")], errors.BrokenStream("cut")]]
    await asyncio.gather(play(runs, turn()), return_exceptions=True)
    await play(runs, turn())

    assert in_conversations(letta) == ["run", "cancel", "recompile", "run"]


# The end


async def test_closing_waits_for_every_run_and_its_cancel(letta: MemoryLetta, runs: Runs) -> None:
    cancelling = letta.gate("cancel")
    letta.scripts = [[[ping()], Gate()]] * 3
    under_way = [runs.start(turn(chat)) for chat in ("one", "two", "one")]
    for run in under_way[:2]:
        await run.next()
    closing = asyncio.create_task(runs.aclose())
    await cancelling.reached(2)
    await idle()
    assert not closing.done()

    cancelling.open()
    await closing
    assert in_conversations(letta) == ["run", "run", "cancel", "cancel"]
    for run in under_way:
        with pytest.raises(errors.Stopped):
            await run.next()


async def test_closing_with_nothing_under_way_is_done_at_once(runs: Runs) -> None:
    await play(runs, turn())
    began = now()
    await runs.aclose()

    assert now() == began


async def test_closing_does_not_wait_for_ever_for_a_cancel(letta: MemoryLetta, runs: Runs) -> None:
    letta.delay = lambda call: 3600.0 if call == "cancel" else 0.0
    letta.scripts = [[[ping()], Gate()]]
    run = runs.start(turn())
    await run.next()
    began = now()
    await runs.aclose()
    await ended(run)

    assert now() - began < 60
