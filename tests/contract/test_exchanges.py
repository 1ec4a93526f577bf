"""Exchanges: a conversation is read back as its runs have told it, long after nobody listens any more."""

import json
from base64 import b64encode
from contextlib import suppress

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.events import CallWaits, Event, Stop, StopReason, Text, ToolCalled
from gateway.domain.messages import Message, ToolResult, image_of, message_of
from gateway.domain.request import ClientTool
from gateway.letta.notes import WENT_ON
from gateway.letta.upstream import Agent, Conversation, Exchange, Instructions, Sending, Upstream, Verdict
from tests.contract.sides import RealSide, Side
from tests.contract.table import needs
from tests.contract.talk import FIRST, MARKER, again, chat_of, client_id, find, says, send, started, tell, template
from tests.events import calls_of, joined, stops_of
from tests.following import following
from tests.pictures.drawn import GIF
from tests.servers.letta_v1 import LettaV1

pytestmark = pytest.mark.anyio

WEATHER, CLOCK = (
    ClientTool(name, "Of a city.", {"type": "object", "properties": {"city": {"type": "string"}}})
    for name in ("weather", "clock")
)
CALLS = '!tool weather {"city": "Oslo"}\n!tool clock {"city": "Rome"}'
INSERT = '!tool memory_insert {"label": "human", "new_string": "likes tea"}'
END, WAITING = Stop(StopReason.END), Stop(StopReason.WAITING)


async def read(upstream: Upstream, agent: Agent, chat: Conversation) -> list[Exchange]:
    (found,) = await find(upstream, agent.id, chat.summary or "")
    return await upstream.read_exchanges(agent.id, found)


def told(events: list[Event]) -> list[Event]:
    """Events as they are compared: in whole pieces, with steps named by their order, and an end."""
    steps: dict[str | None, str] = {}
    ends = [event for event in events if isinstance(event, Stop)]
    return [*(_plain(event, steps) for event in joined(events)), *ends]


def _plain(event: Event, steps: dict[str | None, str]) -> Event:
    step = getattr(event, "step", None)
    if hasattr(event, "step"):
        event = msgspec.structs.replace(event, step=steps.setdefault(step, f"{len(steps)}"))
    if isinstance(event, ToolCalled | CallWaits):
        arguments = json.dumps(json.loads(event.call.arguments))
        event = msgspec.structs.replace(event, call=msgspec.structs.replace(event.call, arguments=arguments))
    return event


async def test_an_exchange_is_read_as_it_was_told(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    asked = [says(f"{word} {mark}") for word in ("one", "two")]
    live = [await tell(upstream, agent, chat, message) for message in asked]
    exchanges = await read(upstream, agent, chat)

    assert [told(one.events) for one in exchanges] == [told(events) for events in live]
    assert [one.events[-1] for one in exchanges] == [END, END]
    assert [(one.asked.content, one.asked.client_id) for one in exchanges if one.asked] == [
        (message.content, message.client_id) for message in asked
    ]
    assert [(one.results, one.decided) for one in exchanges] == [((), ())] * 2
    assert all(one.answer_id for one in exchanges)
    if isinstance(side, RealSide):
        assert all(one.made_at for one in exchanges)


async def test_nothing_is_read_of_a_conversation_in_which_nothing_was_said(upstream: Upstream, side: Side) -> None:
    agent, chat = await chat_of(upstream, side)

    assert await read(upstream, agent, chat) == []


async def test_another_process_reads_the_same(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, mark)
    async with started(side) as another:
        assert await read(another, agent, chat) == await read(upstream, agent, chat)


async def test_several_messages_of_one_run_have_an_exchange_each(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    live = await tell(upstream, agent, chat, f"one {mark}", f"two {mark}")
    one, two = await read(upstream, agent, chat)

    assert [each.asked and each.asked.content for each in (one, two)] == [f"one {mark}", f"two {mark}"]
    assert (one.events, told(two.events), one.run_id) == ([], told(live), two.run_id)


# Calls of the client's tools


async def test_calls_that_wait_are_read_and_their_results_after_them(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    tools = (WEATHER, CLOCK)
    before = await send(upstream, agent, chat, Sending([says(f"{mark}\n{CALLS}")], tools=tools))
    (waiting,) = await read(upstream, agent, chat)
    ids = list(dict.fromkeys(call.id for call in calls_of(before)))
    results = tuple(ToolResult(id, text) for id, text in zip(ids, ("sunny", "noon"), strict=True))
    after = await send(upstream, agent, chat, Sending([], results=results, tools=tools))
    asked, answered = await read(upstream, agent, chat)

    assert told(waiting.events) == told(asked.events) == told(before)
    assert asked.events[-1] == WAITING
    assert (answered.asked, answered.results, answered.decided) == (None, results, ())
    assert told(answered.events) == told(after)
    assert answered.events[-1] == END


@needs("words beside results")
async def test_words_beside_results_are_one_exchange_with_them(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    before = await send(upstream, agent, chat, Sending([says(f"{mark}\n{CALLS}")], tools=(WEATHER, CLOCK)))
    results = tuple(ToolResult(id, "so") for id in dict.fromkeys(call.id for call in calls_of(before)))
    after = await send(upstream, agent, chat, Sending([says(f"and {mark}")], results=results, tools=(WEATHER, CLOCK)))
    _, beside = await read(upstream, agent, chat)

    assert beside.asked
    assert (beside.asked.content, beside.results) == (f"and {mark}", results)
    assert told(beside.events) == told(after)


@needs("words beside results")
async def test_calls_without_a_result_are_told_from_those_that_have_one(
    upstream: Upstream, side: Side, mark: str
) -> None:
    agent, chat = await chat_of(upstream, side)
    before = await send(upstream, agent, chat, Sending([says(f"{mark}\n{CALLS}")], tools=(WEATHER, CLOCK)))
    ids = tuple(dict.fromkeys(call.id for call in calls_of(before)))
    await send(upstream, agent, chat, Sending([says(f"never mind {mark}")], denied=ids, reason=WENT_ON))
    _, beside = await read(upstream, agent, chat)

    assert beside.asked
    assert beside.asked.content == f"never mind {mark}"
    assert (beside.results, beside.decided) == ((), tuple(Verdict(id, allowed=False, reason=WENT_ON) for id in ids))


# Tools of the agent's own


@needs("model")
@pytest.mark.parametrize("script", [INSERT, f"{INSERT}\n{INSERT}"], ids=["one", "two at once"])
async def test_the_agent_s_own_tools_are_read_with_what_they_gave(
    upstream: Upstream, real: RealSide, script: str, mark: str
) -> None:
    agent, chat = await chat_of(upstream, real)
    live = await tell(upstream, agent, chat, f"{mark}\n{script}")
    (exchange,) = await read(upstream, agent, chat)

    assert told(exchange.events) == told(live)
    assert {event.step for event in exchange.events if isinstance(event, ToolCalled)} != {
        event.step for event in exchange.events if isinstance(event, Text)
    }


@needs("model")
async def test_own_tools_and_the_client_s_in_one_step_are_told_apart(
    upstream: Upstream, real: RealSide, mark: str
) -> None:
    agent, chat = await chat_of(upstream, real)
    script = f'{mark}\n{INSERT}\n!tool weather {{"city": "Oslo"}}'
    before = await send(upstream, agent, chat, Sending([says(script)], tools=(WEATHER,)))
    (call,) = (await upstream.read_conversation(agent.id, chat)).pending
    results = (ToolResult(call.tool_call_id, "sunny"),)
    after = await send(upstream, agent, chat, Sending([], results=results, tools=(WEATHER,)))
    asked, answered = await read(upstream, agent, chat)

    assert told(asked.events) == told(before)
    assert (answered.results, told(answered.events)) == (results, told(after))


@needs("model")
async def test_what_was_allowed_or_denied_is_read_where_letta_keeps_it(
    upstream: Upstream, real: RealSide, mark: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = () if real.kind == "v1" else ("Write",)
    agent = await upstream.create_agent(template(real, tools=own))
    chat = await upstream.create_conversation(agent.id, MARKER, [])
    if isinstance(real.letta, LettaV1):
        real.letta.require_approval(agent.id, "memory_insert")
    file = tmp_path_factory.mktemp("written") / "file"
    script = INSERT if real.kind == "v1" else f'!tool Write {{"file_path": "{file}", "content": "so"}}'
    live, decided = [], []
    for allowed in (True, False):
        live.append(await tell(upstream, agent, chat, f"{mark}\n{script}", tools=own))
        (call,) = (await upstream.read_conversation(agent.id, chat)).pending
        exchanges = await read(upstream, agent, chat)
        assert told(exchanges[-1].events) == told(live[-1])
        verdict = Verdict(call.tool_call_id, allowed, "" if allowed else f"too late {mark}")
        decided.append(verdict)
        ids = (call.tool_call_id,)
        sending = Sending([], approved=ids) if allowed else Sending([], denied=ids, reason=verdict.reason)
        live.append(await send(upstream, agent, chat, sending, own))
    exchanges = await read(upstream, agent, chat)

    if real.kind == "v1":
        assert [told(one.events) for one in exchanges] == [told(events) for events in live]
        assert [one.decided for one in exchanges] == [(), (decided[0],), (), (decided[1],)]
    else:
        # It carries a call out, or does not; that it has waited is not kept.
        assert [stops_of(one.events) for one in exchanges] == [[StopReason.END]] * 2
        assert [one.decided for one in exchanges] == [(), ()]


# Without an end


@pytest.mark.parametrize("script", ["!hang-after one two", "!fail 400"], ids=["stopped", "failed"])
async def test_a_turn_that_did_not_end_well_leaves_nothing_or_what_has_no_end(
    upstream: Upstream, side: Side, script: str, mark: str
) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"before {mark}")
    sending = Sending([says(f"{mark}\n{script}")])
    if script == "!fail 400":
        with suppress(errors.ModelFailed, errors.RateLimited):
            await send(upstream, agent, chat, sending)
    else:
        async with following(upstream, agent.id, chat.id, sending) as batches:
            while "two" not in "".join(event.text for event in await anext(batches) if isinstance(event, Text)):
                pass
        await upstream.cancel(agent.id, chat.id)
    before, *rest = await read(upstream, agent, chat)

    assert before.events[-1] == END
    assert [stops_of(one.events) for one in rest] == ([] if upstream.capabilities.keeps_runs else [[]])


# What else is told to an agent


async def test_the_words_of_a_person_come_without_the_gateway_s_notes(
    upstream: Upstream, side: Side, mark: str
) -> None:
    agent, chat = await chat_of(upstream, side)
    prompt = await upstream.recompile(chat.id)
    await tell(upstream, agent, chat, f"one {mark}", instructions=Instructions("Speak French.", "", prompt))
    message = Message("user", f"two {mark}", client_id(), exchanged='{"tool": "weather", "result": "sunny"}')
    sent = "" if prompt else "Speak French."
    await tell(upstream, agent, chat, message, instructions=Instructions("Speak French.", sent, prompt))
    exchanges = await read(upstream, agent, chat)

    assert [one.asked and one.asked.content for one in exchanges] == [f"one {mark}", f"two {mark}"]


@needs("model")
async def test_pictures_are_read_where_they_were_shown(upstream: Upstream, real: RealSide, mark: str) -> None:
    agent, chat = await chat_of(upstream, real)
    gif = image_of("image/gif", b64encode(GIF).decode())
    shown = message_of("user", [f"Look {mark}", gif, "there"], client_id())
    await tell(upstream, agent, chat, shown)
    (exchange,) = await read(upstream, agent, chat)

    assert exchange.asked
    assert exchange.asked.content == shown.content
    assert [(image.at, bool(image.data)) for image in exchange.asked.images] == [(shown.images[0].at, True)]


@needs("pasts")
async def test_what_was_said_elsewhere_is_read_as_exchanges(upstream: Upstream, side: Side, mark: str) -> None:
    history = [says("Bonjour"), Message("assistant", "Salut!")]
    agent, chat = await chat_of(upstream, side, *history)
    await tell(upstream, agent, chat, *history[chat.seeded :], f"now {mark}")
    before, now = await read(upstream, agent, chat)

    assert before.asked
    assert (before.asked.content, before.asked.client_id) == ("Bonjour", history[0].client_id)
    assert [event.text for event in before.events if isinstance(event, Text)] == ["Salut!"]
    assert (before.events[-1], now.events[-1]) == (END, END)


async def test_a_chat_that_goes_on_is_read_whole(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"one {mark}")
    resumed = await again(upstream, agent, chat)
    await tell(upstream, agent, resumed, f"two {mark}")
    said = [
        [event.text for event in one.events if isinstance(event, Text)] for one in await read(upstream, agent, chat)
    ]

    assert said == [[f"{FIRST}one {mark}"], [f"You said: two {mark}"]]
