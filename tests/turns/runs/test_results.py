"""Results of the client's own tools: they reach the turn that waits for them, and are told in words where none does."""

import asyncio
import json

import pytest

from gateway.domain import errors
from gateway.domain.errors import ToolNamesTaken
from gateway.settings import AgentType, ClientToolUse, Key
from gateway.turns.runs.means import Means
from gateway.turns.runs.registry import Runs
from gateway.turns.turn import forwards_tools
from tests.events import answer, calls_of, ping, stop, usage
from tests.turns.calling import CALLED, SUNNY, Json, assistant, last, request, result, results_of, user, waits, where
from tests.turns.memory_letta import MemoryLetta
from tests.turns.turns import AGAIN, FIRST, play, read, runs_for, spoken
from tests.turns.virtual_time import Gate

pytestmark = pytest.mark.anyio

HI = user("Hi")
GIVEN = (HI, CALLED, result("c1"))
each_chat = pytest.mark.parametrize("chat", ["chat", None], ids=["a chat", "no chat id"])


# Where they go


@each_chat
@pytest.mark.parametrize("before", ["at once", "the cache was lost", "after a restart"])
async def test_results_go_on_in_the_conversation_in_which_their_calls_wait(
    either: MemoryLetta, chat: str | None, before: str
) -> None:
    runs = runs_for(either)
    either.scripts = [waits("weather")]
    await play(runs, request(HI, chat=chat))
    if before == "the cache was lost":
        runs.means.forget(request(HI, chat=chat))
    elif before == "after a restart":
        runs = runs_for(either)
    events = await play(runs, request(*GIVEN, chat=chat))

    assert spoken(events) == "Hello"
    assert (last(either).results, last(either).messages) == (SUNNY, [])
    assert len({*where(either)}) == 1
    assert either.count("run") == 2


@each_chat
async def test_after_the_results_the_chat_goes_on_where_it_is(either: MemoryLetta, chat: str | None) -> None:
    runs = runs_for(either)
    either.scripts = [[[answer("Let me see.")], *waits("weather")]]
    await play(runs, request(HI, chat=chat))
    called = assistant("Let me see.", c1="weather")
    await play(runs, request(HI, called, result("c1"), chat=chat))
    await play(runs, request(HI, called, result("c1"), assistant("Hello"), user("More"), chat=chat))

    assert either.store.received[-1].texts == ["Hi", "Let me see.\n\nHello", "More"]
    assert len({*where(either)}) == 1
    assert last(either).results == ()


async def test_the_agent_may_call_again_and_again(either: MemoryLetta) -> None:
    runs = runs_for(either)
    either.scripts = [waits("weather"), waits("clock")]
    await play(runs, request(HI))
    await play(runs, request(*GIVEN))
    await play(runs, request(*GIVEN, assistant(None, c1="clock"), result("c1", "noon")))

    assert [results_of(sending) for _, sending in either.sent] == [{}, {"c1": "sunny"}, {"c1": "noon"}]
    assert len({*where(either)}) == 1


@pytest.mark.parametrize("mine", ["one", "two"])
async def test_of_two_chats_that_begin_alike_results_reach_the_one_that_asked(mine: str) -> None:
    letta = MemoryLetta()
    runs = runs_for(letta)
    begun = (HI, assistant("Hello"))
    for question in ("one", "two"):
        await play(runs, request(HI, chat=None))
        letta.scripts = [waits("weather")]
        await play(runs, request(*begun, user(question), chat=None))
    asked = {sending.messages[0].content: id for id, sending in letta.sent if sending.messages}
    await play(runs, request(*begun, user(mine), CALLED, result("c1"), chat=None))

    assert where(letta)[-1] == asked[mine]
    assert last(letta).results == SUNNY


@each_chat
async def test_results_that_come_while_the_turn_is_just_ending_wait_for_its_end(
    letta: MemoryLetta, runs: Runs, chat: str | None
) -> None:
    closing = Gate()
    letta.scripts = [[*waits("weather"), closing]]
    first = runs.start(request(HI, chat=chat))
    await letta.said(3)
    assert first.take()
    first.leave()
    await closing.reached()
    second = asyncio.create_task(play(runs, request(*GIVEN, chat=chat)))
    await asyncio.sleep(0.5)
    assert letta.count("run") == 1
    closing.open()

    assert spoken(await second) == "Hello"
    assert last(letta).results == SUNNY
    assert len({*where(letta)}) == 1


async def test_results_of_a_user_s_one_thread_go_on_in_it(letta: MemoryLetta, runs: Runs) -> None:
    single = AgentType(id="tutor", model="m/one", conversations="single")
    letta.scripts = [waits("weather")]
    await play(runs, request(user("Long ago"), assistant("Yes"), HI, agent_type=single))
    await play(runs, request(*GIVEN, user("More"), chat="other", agent_type=single))

    assert last(letta).results == SUNNY
    assert letta.sent_texts() == [["Hi"], ["More"]]
    assert len({*where(letta)}) == 1


async def test_results_of_a_client_that_tells_only_what_is_new_go_on_where_their_calls_wait(
    letta: MemoryLetta, runs: Runs
) -> None:
    letta.scripts = [waits("weather")]
    await play(runs, request(HI, history="new"))
    await play(runs, request(*GIVEN, history="new"))

    assert (last(letta).results, letta.sent_texts()) == (SUNNY, [["Hi"], []])


# What they say


async def test_what_is_said_beside_results_is_sent_with_them(either: MemoryLetta) -> None:
    runs = runs_for(either)
    either.scripts = [waits("weather")]
    await play(runs, request(HI))
    await play(runs, request(*GIVEN, user("yes")))

    assert (last(either).results, last(either).approved) == (SUNNY, ())
    assert either.sent_texts()[-1] == ["yes"]
    assert either.store.received[-1].texts == ["Hi", "yes"]


async def test_who_goes_on_without_an_answer_denies_the_calls(either: MemoryLetta) -> None:
    runs = runs_for(either)
    either.scripts = [waits("weather")]
    await play(runs, request(HI))
    await play(runs, request(HI, CALLED, user("yes")))

    assert (last(either).denied, last(either).approved) == (("c1",), ())
    assert either.store.received[-1].texts == ["Hi", "yes"]


# Where nothing waits


def told(sending_message: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in sending_message.splitlines()]


@each_chat
async def test_results_that_nothing_waits_for_any_more_are_told_beside_the_question(
    either: MemoryLetta, chat: str | None
) -> None:
    runs = runs_for(either)
    either.scripts = [waits("weather")]
    await play(runs, request(HI, chat=chat))
    for kept in either.store.conversations.values():
        kept.pending = ()
    events = await play(runs, request(*GIVEN, chat=chat))

    assert spoken(events) == "Hello"
    assert last(either).results == ()
    (message,) = last(either).messages
    assert message.content == "Hi"
    assert told(message.exchanged) == [{"tool": "weather", "arguments": {}, "result": "sunny"}]


GO_ON = user("Go on")
SUNNY_DAY = [CALLED, result("c1"), assistant("Hello")]
RAINY_DAY = [assistant(None, c1="weather"), result("c1", "rain"), assistant("Hello")]
PLAIN = [assistant("Hello")]
# what answered each "Go on" -> what each is told with, where the path is sent again
SAID_AGAIN: dict[str, tuple[list[list[Json]], list[str]]] = {
    "the first one": ([SUNNY_DAY, PLAIN], ["sunny", ""]),
    "the second one": ([PLAIN, RAINY_DAY], ["", "rain"]),
    "both": ([SUNNY_DAY, RAINY_DAY], ["sunny", "rain"]),
    "the first and the last of three": ([SUNNY_DAY, PLAIN, RAINY_DAY], ["sunny", "", "rain"]),
    "one after an answer that was gone on with": (
        [SUNNY_DAY, [*PLAIN, assistant("Hello")], RAINY_DAY],
        ["sunny", "", "rain"],
    ),
}


@pytest.mark.parametrize(("days", "gave"), SAID_AGAIN.values(), ids=SAID_AGAIN)
async def test_of_messages_with_the_same_words_each_is_told_what_was_called_to_answer_it(
    letta: MemoryLetta, runs: Runs, days: list[list[Json]], gave: list[str]
) -> None:
    history: list[Json] = []
    for day in days:
        history.append(GO_ON)
        for said in day:
            if said["role"] == "assistant":
                letta.scripts = [waits("weather")] if said.get("tool_calls") else []
                await play(runs, request(*history))
            history.append(said)
    await play(runs, request(*history, user("More")))
    await play(runs, request(*history, user("Other")))

    assert len({*where(letta)}) == 2
    sent = [message for message in last(letta).messages if message.content == "Go on"]
    assert [told(message.exchanged)[0]["result"] if message.exchanged else "" for message in sent] == gave


async def test_results_that_letta_finds_nothing_for_twice_are_an_error(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("weather")]
    await play(runs, request(HI))
    letta.fail("run", errors.Stuck("nothing waits"), errors.Stuck("nothing waits"))

    with pytest.raises(errors.Stuck):
        await play(runs, request(*GIVEN))
    assert spoken(await play(runs, request(*GIVEN))) == "Hello"
    assert last(letta).results == SUNNY


async def test_results_of_another_chat_reach_nobody(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("weather")]
    await play(runs, request(HI))
    await play(runs, request(*GIVEN, chat="other"))

    assert last(letta).results == ()
    assert len({*where(letta)}) == 2


# Sent again


async def test_results_that_are_sent_again_follow_their_run(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("weather"), [[ping()], [answer("Hel")], 5.0, [answer("lo")], [stop(), usage()]]]
    await play(runs, request(HI))
    first = runs.start(request(*GIVEN), FIRST)
    await asyncio.sleep(2)
    both = await asyncio.gather(read(first), read(runs.start(request(*GIVEN), AGAIN)))
    later = await play(runs, request(*GIVEN), AGAIN)

    assert [spoken(events) for events in (*both, later)] == ["Hello"] * 3
    assert letta.count("run") == 2


async def test_a_request_that_ended_with_calls_has_them_when_it_is_sent_again(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("weather")]
    first = await play(runs, request(HI), FIRST)
    again = await play(runs, request(HI), AGAIN)

    assert calls_of(first) == calls_of(again) != []
    assert letta.count("run") == 1


async def test_who_leaves_within_the_turn_that_results_go_on_with_cancels_it(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [waits("weather"), [[ping()], [answer("Hel")], 60.0, [answer("lo")], [stop()]]]
    await play(runs, request(HI))
    reader = runs.start(request(*GIVEN))
    await letta.said(2)
    assert reader.take()
    reader.leave()
    await asyncio.sleep(5)

    assert letta.count("cancel") == 1


# The names of tools


@pytest.mark.parametrize("names", [["memory_insert"], ["weather", "search"]], ids=["Letta's own", "the agent type's"])
async def test_a_name_that_the_agent_has_itself_is_refused_before_anything_is_sent(
    letta: MemoryLetta, means: Means, names: list[str]
) -> None:
    agent_type = AgentType(id="tutor", model="m/one", tools=("search",))
    with pytest.raises(ToolNamesTaken, match=f"`{names[-1]}`") as refused:
        await play(means, request(HI, tools=names, agent_type=agent_type))

    assert (refused.value.status_code, refused.value.code, refused.value.param) == (400, "tool_name_taken", "tools")
    assert (letta.sent, letta.store.conversations) == ([], {})


async def test_a_request_that_was_refused_is_no_part_of_the_chat(letta: MemoryLetta, means: Means) -> None:
    with pytest.raises(ToolNamesTaken):
        await play(means, request(user("Lost"), tools=["memory_insert"], history="new"))
    await play(means, request(HI, history="new"))

    assert letta.sent_texts() == [["Hi"]]


async def test_the_names_of_an_agent_s_tools_are_asked_for_once_and_only_where_its_client_has_some(
    letta: MemoryLetta, means: Means
) -> None:
    await play(means, request(HI, tools=[]))
    assert letta.count("tool_names") == 0
    for i in range(3):
        await play(means, request(HI, chat=f"chat-{i}"))

    assert letta.count("tool_names") == 1


# Which tools the agent has


async def test_the_agent_has_the_tools_of_the_request(letta: MemoryLetta, means: Means) -> None:
    await play(means, request(HI))
    (weather, clock) = last(letta).tools

    assert (weather.name, weather.description, weather.parameters) == (
        "weather",
        "",
        {"type": "object", "properties": {}},
    )
    assert clock.name == "clock"


# the key's word, the agent type's -> whether tools are forwarded
FORWARDED: dict[str, tuple[ClientToolUse | None, ClientToolUse, bool]] = {
    "nothing is said": (None, "forward", True),
    "the agent type says no": (None, "ignore", False),
    "the key says no": ("ignore", "forward", False),
    "the key says yes": ("forward", "ignore", True),
}


@pytest.mark.parametrize(("key", "agent_type", "forwarded"), FORWARDED.values(), ids=FORWARDED)
def test_the_key_says_before_the_agent_type_whether_tools_are_forwarded(
    key: ClientToolUse | None, agent_type: ClientToolUse, forwarded: bool
) -> None:
    ignoring = AgentType(id="tutor", model="m/one", client_tools=agent_type)

    assert forwards_tools(Key(name="k", client_tools=key), ignoring) is forwarded
