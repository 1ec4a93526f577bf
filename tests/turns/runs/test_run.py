"""Turns of agents: what they tell, what they send, and in which order they go."""

import asyncio

import pytest

from gateway.domain import errors
from gateway.domain.events import Event
from gateway.settings import AgentType, Chats
from gateway.turns.runs.driver import Run
from gateway.turns.runs.means import Means, means_of
from gateway.turns.turn import Turn
from tests.events import answer, ping, reasoning, stop, tool_call
from tests.turns.memory_letta import ANSWER, MemoryLetta, Step
from tests.turns.store import Store
from tests.turns.turns import ended, in_conversations, play, read, told_next, turn
from tests.turns.virtual_time import Gate, idle

pytestmark = pytest.mark.anyio

both_kinds = pytest.mark.parametrize("forks", [False, True], ids=["v1", "app-server"])


def means_for(letta: MemoryLetta, chats: Chats | None = None) -> Means:
    return means_of(letta, 0.5, 300.0, chats or Chats())


# What is told and sent


async def test_a_run_tells_what_letta_says_as_it_came(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], [reasoning("Hm."), answer("Hel")], 1.0, [answer("lo")], 1.0, [stop()]]]
    run = Run(turn(), means).follow()

    assert [await told_next(run) for _ in range(4)] == [
        *([reasoning("Hm."), answer("Hel")], [answer("lo")], [stop()], None),
    ]


@pytest.mark.parametrize("chat", ["chat", None], ids=["a chat", "no chat"])
async def test_letta_may_take_what_was_said_before_and_is_then_sent_only_news(chat: str | None) -> None:
    letta = MemoryLetta(Store(forks=True))
    await play(means_for(letta), turn("One", "Hello", "Two", chat=chat))

    assert letta.sent_texts() == [["Two"]]
    assert letta.store.received[0].texts == ["One", "Hello", "Two"]


async def test_the_tools_of_the_agent_type_are_told_with_every_turn(letta: MemoryLetta, means: Means) -> None:
    for tools in ((), ("search", "run")):
        await play(means, turn(agent_type=AgentType(id="tutor", model="m/one", tools=tools)))

    assert letta.tools == [(), ("search", "run")]


# After a turn that failed

FAILED_TURNS: dict[str, list[Step]] = {
    "the model failed": [[ping()], [stop("llm_api_error")]],
    "it was cancelled": [[ping()], [answer("He"), stop("cancelled")]],
    "the stream broke": [[ping()], errors.BrokenStream("cut")],
    "the stream ended": [[ping()], [answer("He")]],
}
each_failure = pytest.mark.parametrize("script", FAILED_TURNS.values(), ids=FAILED_TURNS)


@both_kinds
@each_failure
async def test_after_a_failed_first_turn_nothing_of_it_is_heard_twice(forks: bool, script: list[Step]) -> None:
    letta = MemoryLetta(Store(forks))
    means = means_for(letta)
    letta.scripts = [script]
    for _ in range(2):
        await asyncio.gather(play(means, turn("One", "Hello", "Two")), return_exceptions=True)

    assert [received.texts for received in letta.store.received] == [["One", "Hello", "Two"]] * 2


@both_kinds
@each_failure
async def test_after_a_failed_later_turn_what_was_said_before_is_heard_once(forks: bool, script: list[Step]) -> None:
    letta = MemoryLetta(Store(forks))
    means = means_for(letta)
    await play(means, turn("One"))
    letta.scripts = [script]
    await asyncio.gather(play(means, turn("One", "Hello", "Two")), return_exceptions=True)
    await play(means, turn("One", "Hello", "Two"))

    assert letta.sent_texts() == [["One"], ["Two"], ["Two"]]
    assert letta.store.received[2].texts == ["One", "Hello", "Two"]


@each_failure
async def test_after_a_failed_turn_its_conversation_is_read_and_compiled_again(
    letta: MemoryLetta, means: Means, script: list[Step]
) -> None:
    letta.scripts = [ANSWER, script]
    await play(means, turn("One"))
    before = letta.count("read_conversation")
    for _ in range(2):
        await asyncio.gather(play(means, turn("One", "Hello", "Two")), return_exceptions=True)

    (conversation,) = letta.store.conversations
    assert letta.subjects("read_conversation")[before:] == letta.subjects("recompile") == [conversation]


async def test_a_turn_that_was_left_has_its_conversation_read_again(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [ANSWER, [[ping()], Gate()]]
    await play(means, turn("One"))
    run = Run(turn("One", "Hello", "Two"), means)
    run.follow()
    await letta.said()
    run.leave()
    await ended(run)
    await play(means, turn("One", "Hello", "Two"))

    assert letta.subjects("read_conversation")[-1] == letta.sent[0][0]


async def test_after_a_failed_turn_the_agent_is_still_known(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], errors.BrokenStream("cut")]]
    await asyncio.gather(play(means, turn()), return_exceptions=True)
    asked = letta.count("find_agents")
    await play(means, turn())

    assert letta.count("find_agents") == asked


# The order of turns


async def test_turns_of_one_chat_go_one_after_another(letta: MemoryLetta, means: Means) -> None:
    thinking = Gate()
    letta.scripts = [[[ping()], thinking, [stop()]]]
    first, second = Run(turn(), means).follow(), Run(turn(), means).follow()
    await thinking.reached()
    await idle()
    assert letta.count("run") == 1

    thinking.open()
    await asyncio.gather(read(first), read(second))
    assert letta.count("run") == 2


async def test_ten_turns_of_one_chat_at_once_are_ten_turns_of_one_agent(letta: MemoryLetta) -> None:
    means = means_for(letta, Chats(queue_length=10))
    await asyncio.gather(*(play(means, turn()) for _ in range(10)))

    assert len(letta.store.agents) == 1
    assert [received.texts for received in letta.store.received] == [["Hi"]] * 10


async def test_ten_next_turns_of_one_thread_at_once_make_one_conversation(letta: MemoryLetta) -> None:
    means = means_for(letta, Chats(queue_length=10))
    await asyncio.gather(*(play(means, turn(keeps_history=False)) for _ in range(10)))

    assert (len(letta.store.agents), len(letta.store.conversations)) == (1, 1)
    assert letta.store.received[-1].texts == ["Hi", "Hello"] * 9 + ["Hi"]


SIDE_BY_SIDE: dict[str, tuple[Turn, Turn]] = {
    "two chats": (turn(chat="one"), turn(chat="two")),
    "two users of one chat": (turn(user="ada"), turn(user="bob")),
    "two types": (turn(), turn(agent_type=AgentType(id="cook", model="m/one"))),
    "no chats": (turn(chat=None), turn(chat=None)),
}


@pytest.mark.parametrize("turns", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
async def test_turns_of_different_chats_go_side_by_side(
    letta: MemoryLetta, means: Means, turns: tuple[Turn, Turn]
) -> None:
    thinking = Gate()
    letta.scripts = [[[ping()], thinking, [stop()]]] * 2
    both = asyncio.gather(*(play(means, turn) for turn in turns))
    await thinking.reached(2)
    thinking.open()
    await both

    assert len({id for id, _ in letta.sent}) == 2


@both_kinds
async def test_two_chats_without_an_id_that_begin_alike_do_not_mix(forks: bool) -> None:
    letta = MemoryLetta(Store(forks))
    means = means_for(letta)
    letta.scripts = [[[ping()], [answer(text)], [stop()]] for text in ("Yes", "Yes, sure", "One", "Two")]
    await asyncio.gather(*(play(means, turn("Hi", chat=None)) for _ in range(2)))
    thinking = letta.gate("run")
    both = asyncio.gather(*(play(means, turn("Hi", text, "More", chat=None)) for text in ("Yes", "Yes, sure")))
    await thinking.reached(2)
    thinking.open()
    await both

    assert [received.texts for received in letta.store.received[2:]] == [
        ["Hi", "Yes", "More"],
        ["Hi", "Yes, sure", "More"],
    ]


# Instructions


@both_kinds
async def test_instructions_are_in_effect_as_long_as_the_client_sends_them(forks: bool) -> None:
    letta = MemoryLetta(Store(forks))
    means = means_for(letta)
    said = ["Hi"]
    for instructions in ("Rhyme", "Rhyme", "Be brief", "", "Rhyme"):
        await play(means, turn(*said, instructions=instructions))
        said += ["Hello", "More"]

    assert [received.instructions for received in letta.store.received] == ["Rhyme", "Rhyme", "Be brief", "", "Rhyme"]
    assert len(letta.store.conversations) == 1
    assert [texts[-1:] for texts in letta.sent_texts()] == letta.sent_texts()


@both_kinds
async def test_instructions_of_one_chat_are_not_those_of_another(forks: bool) -> None:
    letta = MemoryLetta(Store(forks))
    means = means_for(letta)
    await play(means, turn(chat="one", instructions="Rhyme"))
    await play(means, turn(chat="two"))

    assert [received.instructions for received in letta.store.received] == ["Rhyme", ""]


@both_kinds
async def test_instructions_of_a_branch_are_those_that_came_with_it(forks: bool) -> None:
    letta = MemoryLetta(Store(forks))
    means = means_for(letta)
    await play(means, turn("Hi", instructions="Rhyme"))
    await play(means, turn("Hi", "Hello", "More", instructions="Rhyme"))
    await play(means, turn("Hi", "Hello", "Other"))
    await play(means_for(letta), turn("Hi", "Hello", "Third", instructions="Be brief"))

    assert [received.instructions for received in letta.store.received] == ["Rhyme", "Rhyme", "", "Be brief"]


# Memory

MEMORY: dict[str, tuple[Event, bool]] = {
    "a memory tool": (tool_call("memory_insert"), True),
    "one of several": (tool_call("core_memory_append"), True),
    "another tool": (tool_call("web_search"), False),
    "a piece without a name": (tool_call(None), False),
}


@pytest.mark.parametrize(("call", "changed"), MEMORY.values(), ids=MEMORY)
async def test_a_turn_that_used_memory_makes_every_chat_compiled_anew(
    letta: MemoryLetta, means: Means, call: Event, changed: bool
) -> None:
    await play(means, turn(chat="other"))
    letta.scripts = [[[ping()], [call], [answer("Hello"), stop()]]]
    await play(means, turn())
    said = ["Hi", "Hello"]
    for _ in range(2):
        for chat in ("other", "chat"):
            await play(means, turn(*said, "More", chat=chat))
        said += ["More", "Hello"]

    assert letta.count("recompile") == (2 if changed else 0)


async def test_memory_counts_as_used_by_a_run_that_failed_later(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], [tool_call("memory_insert")], errors.BrokenStream("cut")]]
    await asyncio.gather(play(means, turn()), return_exceptions=True)
    await play(means, turn())

    assert in_conversations(letta) == ["run", "cancel", "recompile", "run"]


async def test_memory_that_a_turn_changed_is_in_the_prompt_that_instructions_are_added_to(
    letta: MemoryLetta, means: Means
) -> None:
    letta.scripts = [[[ping()], [tool_call("memory_insert")], [answer("Hello"), stop()]]]
    await play(means, turn("Hi", instructions="Rhyme"))
    await play(means, turn("Hi", "Hello", "More", instructions="Rhyme"))
    await play(means, turn("Hi", chat="other", instructions="Rhyme"))

    assert in_conversations(letta) == ["recompile", "run", "recompile", "run", "run"]
