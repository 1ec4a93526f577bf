"""Runs: what they tell, how they end, fail, wait for their client and are cancelled."""

import asyncio
from typing import Any

import pytest

from gateway.domain import errors
from gateway.domain.events import (
    CallWaits,
    Event,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
)
from gateway.domain.messages import PendingCall, ToolResult
from gateway.domain.request import ClientTool, Options
from gateway.letta.upstream import Agent, Conversation, Sending, Upstream
from gateway.offline.script import THOUGHT
from tests.contract.sides import RealSide, Side
from tests.contract.table import needs
from tests.contract.talk import (
    FIRST,
    MARKER,
    again,
    chat_of,
    find,
    says,
    send,
    spoken,
    started,
    tell,
    template,
    told_wrongly,
    words,
)
from tests.following import following

pytestmark = pytest.mark.anyio

WEATHER = ClientTool("weather", "Of a city.", {"type": "object", "properties": {"city": {"type": "string"}}})
CALL = '!tool weather {"city": "Oslo"}'


async def test_a_run_tells_its_answer_its_end_and_its_usage(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    events = await tell(upstream, agent, chat, mark)

    assert spoken(events) == f"{FIRST}{mark}"
    assert [event for event in events if isinstance(event, Stop)] == [Stop(StopReason.END)]
    kinds = [type(event) for event in events if isinstance(event, Stop | Text)]
    assert kinds[-1] is Stop
    assert any(isinstance(event, TokensCounted) for event in events)


async def test_whoever_takes_a_run_s_events_is_never_given_none(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    sizes: list[int] = []
    await upstream.run(agent.id, chat.id, Sending([says(mark)]), (), lambda events: sizes.append(len(events)))

    assert all(sizes)


@needs("model")
async def test_a_run_tells_its_thoughts_and_the_tokens_that_the_provider_counted(
    upstream: Upstream, real: RealSide, mark: str
) -> None:
    agent, chat = await chat_of(upstream, real)
    events = await tell(upstream, agent, chat, mark)

    assert spoken(events, Thought).strip() == THOUGHT.strip()
    (usage,) = [event for event in events if isinstance(event, TokensCounted)]
    (received,) = real.scripted.received(mark)
    *earlier, last = (len(text.split()) for _, text in received)
    assert (usage.prompt, usage.cached) == (sum(earlier) + last, sum(earlier))
    assert (usage.completion, usage.reasoning) == (len(f"{THOUGHT}{FIRST}{mark}".split()), 5)


@needs("model")
async def test_the_usage_of_all_steps_adds_up(upstream: Upstream, real: RealSide, mark: str) -> None:
    agent, chat = await chat_of(upstream, real)
    before = len(real.scripted.requests)
    insert = f'!tool memory_insert {{"label": "human", "new_string": "{mark}"}}'
    events = await tell(upstream, agent, chat, insert)

    usages = [event for event in events if isinstance(event, TokensCounted)]
    asked = [request for request in real.scripted.requests[before:] if mark in str(request["messages"])]
    assert len(asked) == 2
    counted = sum(len(_text(message).split()) for request in asked for message in request["messages"])
    assert sum(usage.prompt for usage in usages) == counted
    calls = {event.call.name for event in events if isinstance(event, ToolCalled)}
    assert calls - {""} == {"memory_insert"}
    assert mark in real.letta.memory(agent.id)["human"]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


async def test_options_are_those_that_there_are(upstream: Upstream) -> None:
    assert upstream.capabilities.applies <= set(Options.__struct_fields__)


# Failed


async def test_a_failed_turn_has_a_name_and_leaves_nothing(upstream: Upstream, side: Side, mark: str) -> None:
    await _fail(upstream, side, "!fail 429", errors.RateLimited, mark)


# What the provider answers -> what the run raises, and how often the model is asked at most (Letta itself asks again)
FAILURES: dict[str, tuple[type[errors.UpstreamError], dict[str, int]]] = {
    "!fail 500": (errors.ModelFailed, {"v1": 3, "app-server": 2}),
    "!fail 503": (errors.ModelFailed, {"v1": 3, "app-server": 1}),
    "!fail 429": (errors.RateLimited, {"v1": 3, "app-server": 2}),
    "!fail 401": (errors.ModelRefused, {"v1": 1, "app-server": 1}),
    "!fail 400": (errors.ModelFailed, {"v1": 1, "app-server": 1}),
    "!cut-after one two": (errors.RunFailed, {"v1": 1, "app-server": 2}),
}


@needs("providers")
@pytest.mark.parametrize("script", FAILURES)
async def test_a_failure_of_the_provider_s_is_told_soon(upstream: Upstream, side: Side, script: str, mark: str) -> None:
    kind, times = FAILURES[script]
    asked = await _fail(upstream, side, script, kind, mark)

    assert asked <= times[side.kind]


async def _fail(upstream: Upstream, side: Side, script: str, kind: type[errors.UpstreamError], mark: str) -> int:
    """A turn that fails, between two others; gives how often its model was asked."""
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"before {mark}")
    with pytest.raises(kind) as caught:
        await told_wrongly(upstream, agent, chat, Sending([says(f"{mark}\n{script}")]))
    assert caught.value.taken
    await upstream.cancel(agent.id, chat.id)
    asked = len(side.heard(f"{mark}\n{script}"))

    await _go_on(upstream, side, agent, chat, mark)
    return asked


async def _go_on(upstream: Upstream, side: Side, agent: Agent, chat: Conversation, mark: str) -> None:
    """The next turn finds what was said before, and nothing of the turn between."""
    resumed = await again(upstream, agent, chat)
    await tell(upstream, agent, resumed, f"after {mark}")
    assert [
        [("user", f"before {mark}"), ("assistant", f"{FIRST}before {mark}"), ("user", f"after {mark}")]
    ] == side.heard(f"after {mark}")


# Left


@pytest.mark.parametrize("script", ["!hang", "!hang-after one two"], ids=["before the first token", "mid-answer"])
async def test_a_cancelled_turn_leaves_nothing_and_the_next_begins_at_once(
    upstream: Upstream, side: Side, script: str, mark: str
) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"before {mark}")
    async with following(upstream, agent.id, chat.id, Sending([says(f"{mark}\n{script}")])) as batches:
        said = ""
        while "after" in script and not said.endswith("two"):
            said += spoken(await anext(batches))
        # Any event, a ping too, says that there is a run to cancel.
        _ = said or await anext(batches)
    await upstream.cancel(agent.id, chat.id)

    async with asyncio.timeout(10):
        await _go_on(upstream, side, agent, chat, mark)


async def test_what_the_taker_raises_ends_the_run_and_comes_out(upstream: Upstream, side: Side, mark: str) -> None:
    class Enough(Exception):
        """The taker has heard enough."""

    def take(events: list[Event]) -> None:
        if spoken(events):
            raise Enough

    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"before {mark}")
    with pytest.raises(Enough):
        async with asyncio.timeout(20):
            await upstream.run(agent.id, chat.id, Sending([says(f"{mark}\n!hang-after one two")]), (), take)
    await upstream.cancel(agent.id, chat.id)

    async with asyncio.timeout(10):
        await _go_on(upstream, side, agent, chat, mark)


async def test_a_run_under_way_is_known_to_be_so(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    async with following(upstream, agent.id, chat.id, Sending([says(f"{mark}\n!hang-after one two")])) as batches:
        while not spoken(await anext(batches)):
            pass
        assert await upstream.is_running(chat.id)
    await upstream.cancel(agent.id, chat.id)

    other = await upstream.create_conversation(agent.id, f"{MARKER} other", [])
    assert not await upstream.is_running(other.id)


@needs("model")
async def test_a_run_that_outlives_its_gateway_is_known_to_another_until_its_end_and_kept(
    upstream: Upstream, real: RealSide, mark: str
) -> None:
    agent, chat = await chat_of(upstream, real)
    async with following(upstream, agent.id, chat.id, Sending([says(f"{mark}\n!slow 50")])) as said:
        while not spoken(await anext(said)):
            pass
    async with started(real) as another:
        goes_on = await another.is_running(chat.id)
        while await another.is_running(chat.id):
            pass
        kept = await another.read_exchanges(agent.id, chat)

    assert goes_on is upstream.capabilities.keeps_runs
    if goes_on:
        assert spoken(kept[-1].events) == f"{FIRST}{mark}\n!slow 50"
        assert spoken(kept[-1].events, Thought)
        assert kept[-1].events[-1] == Stop(StopReason.END)


async def test_a_cancelled_turn_is_known_to_have_no_end_by_another_process(
    upstream: Upstream, side: Side, mark: str
) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"before {mark}")
    sending = Sending([says(f"{mark}\n!hang-after one two")])
    async with following(upstream, agent.id, chat.id, sending) as batches:
        while "two" not in spoken(await anext(batches)):
            pass
    await upstream.cancel(agent.id, chat.id)
    async with started(side) as another:
        (found,) = await find(another, agent.id, MARKER)
        past = await another.read_conversation(agent.id, found)

    assert words(past) == [("user", f"before {mark}"), ("assistant", f"{FIRST}before {mark}")]
    assert past.appendable is upstream.capabilities.keeps_runs


async def test_nothing_is_there_to_cancel_and_that_is_fine(upstream: Upstream, side: Side) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, "hello")

    await upstream.cancel(agent.id, chat.id)


# Calls of the client's tools


async def test_a_call_of_a_client_s_tool_waits_for_its_result_and_the_run_goes_on(
    upstream: Upstream, side: Side, mark: str
) -> None:
    agent, chat = await chat_of(upstream, side)
    events = await send(upstream, agent, chat, Sending([says(f"{mark}\n{CALL}")], tools=(WEATHER,)))
    calls = {event.call.id: event.call.name for event in events if isinstance(event, CallWaits) and event.call.name}
    ((id, name),) = calls.items()
    past = await upstream.read_conversation(agent.id, chat)

    assert name == "weather"
    assert [event for event in events if isinstance(event, Stop)] == [Stop(StopReason.WAITING)]
    assert (past.appendable, past.pending) == (True, (PendingCall(id, "weather"),))

    told = await send(upstream, agent, chat, Sending([], results=(ToolResult(id, "sunny"),), tools=(WEATHER,)))
    assert "sunny" in spoken(told)
    assert [event for event in told if isinstance(event, Stop)] == [Stop(StopReason.END)]
    assert (await upstream.read_conversation(agent.id, chat)).pending == ()


async def test_results_that_nothing_waits_for_are_not_taken(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"before {mark}")

    with pytest.raises(errors.Stuck):
        await told_wrongly(upstream, agent, chat, Sending([], results=(ToolResult("call-9", "sunny"),)))


# Side by side


async def test_eight_people_at_once_are_not_mixed_up(upstream: Upstream, side: Side, mark: str) -> None:
    people = [f"{i:02}-{mark}" for i in range(8)]

    async def live(name: str) -> list[str]:
        agent = await upstream.create_agent(template(side, system=f"You serve {name}."))
        chat = await upstream.create_conversation(agent.id, MARKER, [])
        return [spoken(await tell(upstream, agent, chat, f"{word} {name}")) for word in ("hello", "bye")]

    answers = await asyncio.gather(*(live(name) for name in people))
    assert [[f"{FIRST}hello {name}", f"You said: bye {name}"] for name in people] == answers
    for name in people:
        (heard,) = side.heard(f"bye {name}")
        assert not [text for _, text in heard if mark in text and name not in text]
        if isinstance(side, RealSide):
            assert side.scripted.received(f"bye {name}")[0][0][1].startswith(f"You serve {name}.")


async def test_two_conversations_of_one_agent_run_side_by_side(upstream: Upstream, side: Side, mark: str) -> None:
    agent, one = await chat_of(upstream, side)
    two = await upstream.create_conversation(agent.id, f"{MARKER} two", [])
    sending = Sending([says(f"{mark}\n!hang-after one two")])
    async with following(upstream, agent.id, one.id, sending) as batches:
        said = ""
        while not said.endswith("two"):
            said += spoken(await anext(batches))
        meanwhile = await tell(upstream, agent, two, f"meanwhile {mark}")
    await upstream.cancel(agent.id, one.id)

    assert (said, spoken(meanwhile)) == ("one two", f"{FIRST}meanwhile {mark}")
    assert [[("user", f"meanwhile {mark}")]] == side.heard(f"meanwhile {mark}")
