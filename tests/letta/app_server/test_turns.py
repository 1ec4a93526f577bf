"""Turns of an App Server that wait for their client: they are held, and go on with what they are told."""

import asyncio
from typing import Any

import pytest

from gateway.domain import errors
from gateway.domain.messages import NO_OUTPUT, PendingCall, ToolResult, image_of, message_of
from gateway.domain.request import ClientTool
from gateway.letta.app_server import turns
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.notes import CLIENT_GAVE_NO_ANSWER, WENT_ON
from gateway.letta.upstream import Conversation, Sending
from tests import events as e
from tests.letta.app_server.parked import (
    MINE,
    NEXT,
    SCHEMA,
    TOOLS,
    called,
    calling,
    classified,
    go_on,
    heard,
    messages,
    park,
    results,
    resume,
    sunny,
    wanted,
)
from tests.letta.app_server.upstreams import run
from tests.servers.fake_app_server import WELL, FakeAppServer, Frame, word

pytestmark = pytest.mark.anyio

CONVERSATION = Conversation("conv-1")
# A tool's result is told to the App Server as it asks for it.
WEATHER, CLOCK = wanted("weather", "c1"), wanted("clock", "c2")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What still waits when a test is over is not waited for."""
    monkeypatch.setattr(turns, "ENDING_SECONDS", 0.01)


# Waiting


async def test_a_turn_ends_with_its_client_s_calls_and_waits(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    events = await park(server, upstream, "weather", "clock")

    assert events == [
        e.approval_request("weather", "c1", "run-1", "{}"),
        e.approval_request("clock", "c2", "run-1", "{}"),
        e.usage(11, 7, 18),
        e.stop("requires_approval"),
    ]
    assert server.sent("abort_message") == []


async def test_a_turn_that_waits_is_a_part_of_its_conversation(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather", "clock")
    server.answers["conversation_messages_list"] = {"success": True, "messages": []}
    past = await upstream.read_conversation("agent-1", CONVERSATION)

    assert past.appendable
    assert past.pending == (PendingCall("c1", "weather"), PendingCall("c2", "clock"))
    assert server.sent("conversation_update") == []


async def test_an_agent_may_use_its_client_s_tools_beside_its_own(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await run(upstream, Sending([MINE], tools=TOOLS), ("Skill",))
    (sent,) = server.sent("input")
    ((registered,),) = [frame["external_tools"] for frame in server.sent("runtime_start")]

    assert sent["payload"]["client_toolset"]["include"] == ["Skill"]
    allowed = ["Skill", "memory_insert", "memory_replace", "weather", "clock"]
    assert sorted(sent["payload"]["client_tool_allowlist"]) == sorted(allowed)
    weather = registered["tools"][2]
    assert (weather["name"], weather["description"], weather["parameters"]) == ("weather", "Of a city.", SCHEMA)
    assert (weather["timeout_ms"], weather["auto_background"]) == (300_000, False)


async def test_tools_are_made_known_anew_only_when_they_change(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    other = (ClientTool("weather", "Of another city.", SCHEMA),)
    for tools in (TOOLS, TOOLS, other, other, (), ()):
        await run(upstream, Sending([MINE], tools=tools))
    updates = [frame["updates"] for frame in server.sent("runtime_external_tools_update")]

    assert len(server.sent("runtime_start")) == 1
    assert [[one["name"] for one in update["external_tools"][0]["tools"][2:]] for (update,) in updates] == [
        ["weather"],
        [],
    ]
    assert [update["runtimes"] for (update,) in updates] == [
        [{"agent_id": "agent-1", "conversation_id": "conv-1"}],
        [{"agent_id": "agent-1", "conversation_id": "conv-1"}],
    ]


async def test_tools_that_cannot_be_made_known_are_tried_again(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await run(upstream, Sending([MINE]))
    server.answers["runtime_external_tools_update"] = {"success": False, "error": "no"}
    with pytest.raises(errors.Refused):
        await run(upstream, Sending([MINE], tools=TOOLS))
    server.answers["runtime_external_tools_update"] = {"success": True}
    await run(upstream, Sending([MINE], tools=TOOLS))

    assert len(server.sent("runtime_external_tools_update")) == 2
    assert len(messages(server)) == 2


# Going on


async def test_results_are_told_one_after_the_other_as_they_are_asked_for(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather", "clock")
    await server.send(WEATHER)
    await heard(upstream)
    assert results(server) == []

    going_on = resume(upstream, sunny("c2", "c1"))
    await server.arrived("external_tool_call_response")
    await server.send(CLOCK)
    await server.arrived("external_tool_call_response", 2)
    await go_on(server)

    assert await going_on == [e.answer("Hello", "run-2"), e.stop("end_turn")]
    assert results(server) == [("ask-c1", "sunny c1", False), ("ask-c2", "sunny c2", False)]
    assert messages(server) == [[MINE.client_id]]


async def test_results_are_kept_until_they_are_asked_for(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await park(server, upstream, "weather", "clock")
    going_on = resume(upstream, sunny("c1", "c2"))
    await heard(upstream)
    for frame in (CLOCK, WEATHER):
        await server.send(frame)
    await server.arrived("external_tool_call_response", 2)
    await go_on(server)
    await going_on

    assert sorted(results(server)) == [("ask-c1", "sunny c1", False), ("ask-c2", "sunny c2", False)]


async def test_calls_without_results_are_told_so(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await park(server, upstream, "weather", "clock")
    for frame in (WEATHER, CLOCK):
        await server.send(frame)
    await heard(upstream)
    going_on = resume(upstream, sunny("c2"))
    await server.arrived("external_tool_call_response", 2)
    await go_on(server)
    await going_on

    assert sorted(results(server)) == [("ask-c1", CLIENT_GAVE_NO_ANSWER, True), ("ask-c2", "sunny c2", False)]


async def test_of_calls_with_one_id_the_one_result_that_is_asked_for_tells_all(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [called("weather", "c1"), called("clock", "c1"), classified("c1")]
    events = await run(upstream, Sending([MINE], tools=TOOLS))
    assert [call.id for call in e.calls_of(events)] == ["c1", "c1~2"]

    server.turn = []
    going_on = resume(upstream, sunny("c1~2", "c1"))
    await server.send(wanted("weather", "c1"))
    await server.arrived("external_tool_call_response")
    await go_on(server)
    await going_on

    assert results(server) == [("ask-c1", "sunny c1\nsunny c1~2", False)]


@pytest.mark.parametrize("arguments", [[1, 2], "Oslo", 7, None], ids=["a list", "a text", "a number", "null"])
async def test_a_call_whose_arguments_are_no_object_is_answered_as_any_other(
    server: FakeAppServer, upstream: AppServerUpstream, arguments: Any
) -> None:
    await park(server, upstream, "weather")
    server.turn = []
    going_on = resume(upstream, sunny("c1"))
    await server.send({**WEATHER, "input": arguments})
    await server.arrived("external_tool_call_response")
    await go_on(server)
    await going_on

    assert results(server) == [("ask-c1", "sunny c1", False)]


# a result -> what the App Server is told: of one without a word it would tell the model how that was written
CONTENTS: dict[str, tuple[ToolResult, list[dict[str, str]]]] = {
    "a text": (ToolResult("c1", "sunny"), [{"type": "text", "text": "sunny"}]),
    "no text": (ToolResult("c1", ""), [{"type": "text", "text": NO_OUTPUT}]),
    "a picture": (
        ToolResult("c1", "", (image_of("image/png", "cmVk"),)),
        [{"type": "image", "mimeType": "image/png", "data": "cmVk"}],
    ),
    "a text and a picture": (
        ToolResult("c1", "Look:", message_of("user", ["Look:", image_of("image/png", "cmVk")]).images),
        [{"type": "text", "text": "Look:"}, {"type": "image", "mimeType": "image/png", "data": "cmVk"}],
    ),
}


@pytest.mark.parametrize(("result", "content"), CONTENTS.values(), ids=CONTENTS)
async def test_a_result_is_told_with_what_it_shows(
    server: FakeAppServer, upstream: AppServerUpstream, result: ToolResult, content: list[dict[str, str]]
) -> None:
    await park(server, upstream, "weather")
    server.turn = []
    going_on = resume(upstream, Sending([], results=(result,), tools=TOOLS))
    await server.send(WEATHER)
    await server.arrived("external_tool_call_response")
    await go_on(server)
    await going_on

    (told,) = server.sent("external_tool_call_response")
    assert told["result"] == {"content": content, "is_error": False}


async def test_what_is_said_beside_results_is_sent_before_them_and_answered_in_the_same_turn(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    server.turn = []
    await server.send(WEATHER)
    await heard(upstream)
    sending = Sending([NEXT], results=(ToolResult("c1", "sunny"),), tools=TOOLS)
    going_on = resume(upstream, sending)
    await server.arrived("external_tool_call_response")
    await server.play(server.sent("input")[1], word("Well"), *WELL)

    assert await going_on == [e.answer("Well", "run-2"), e.stop("end_turn")]
    assert [frame["type"] for frame in server.sent("input", "external_tool_call_response")] == [
        *("input", "input", "external_tool_call_response"),
    ]
    assert messages(server) == [[MINE.client_id], [NEXT.client_id]]


async def test_who_goes_on_without_an_answer_is_heard_and_the_agent_knows(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    server.turn = []
    going_on = resume(upstream, Sending([NEXT], denied=("c1",)))
    await server.arrived("input", 2)
    await server.send(WEATHER)
    await server.arrived("external_tool_call_response")
    await go_on(server)
    await going_on

    assert results(server) == [("ask-c1", WENT_ON, True)]


async def test_a_turn_may_wait_again(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await park(server, upstream, "weather")
    going_on = resume(upstream, sunny("c1"))
    await server.send(WEATHER)
    await server.arrived("external_tool_call_response")
    await go_on(server, *calling("clock"))
    events = await going_on
    assert [events[0], events[-1]] == [
        e.approval_request("clock", "c1", "run-2", "{}"),
        e.stop("requires_approval"),
    ]

    again = resume(upstream, sunny("c1"))
    await server.send(wanted("clock", "c1", request_id="ask-again"))
    await server.arrived("external_tool_call_response", 2)
    await go_on(server)
    await again
    assert [id for id, *_ in results(server)] == ["ask-c1", "ask-again"]


async def test_after_it_has_gone_on_to_its_end_nothing_waits(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    going_on = resume(upstream, sunny("c1"))
    await server.send(WEATHER)
    await server.arrived("external_tool_call_response")
    await go_on(server)
    await going_on

    with pytest.raises(errors.Stuck):
        await run(upstream, sunny("c1"))
    assert e.text_in(await run(upstream, Sending([NEXT]))) == "Hello"
    assert server.sent("abort_message", "conversation_update") == []


@pytest.mark.parametrize(("longest", "kind"), [(100, errors.TooLong), (10_000, errors.Refused)], ids=["long", "short"])
async def test_a_message_that_is_refused_and_longer_than_can_be_queued_is_too_long(
    server: FakeAppServer,
    upstream: AppServerUpstream,
    monkeypatch: pytest.MonkeyPatch,
    longest: int,
    kind: type[errors.UpstreamError],
) -> None:
    monkeypatch.setattr(turns, "LONGEST_INPUT_BYTES", longest)
    server.answers["input"] = {"accepted": False, "error": "Input was rejected by the queue"}

    with pytest.raises(errors.Refused) as refused:
        await run(upstream, Sending([MINE]))
    assert type(refused.value) is kind
    assert not refused.value.taken


async def test_a_message_that_is_refused_beside_results_takes_nothing_from_them(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await park(server, upstream, "weather")
    server.answers["input"] = {"accepted": False, "error": "no"}
    with pytest.raises(errors.Refused):
        await run(upstream, Sending([NEXT], results=(ToolResult("c1", "sunny"),)))
    assert results(server) == []

    going_on = resume(upstream, sunny("c1"))
    await server.send(WEATHER)
    await server.arrived("external_tool_call_response")
    await go_on(server)
    assert e.text_in(await going_on) == "Hello"


async def test_results_that_nothing_waits_for_are_not_sent(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    with pytest.raises(errors.Stuck, match="nothing waits"):
        await run(upstream, sunny("c1"))
    assert server.sent("input", "runtime_start") == []


async def test_a_denial_that_nothing_waits_for_is_not_sent(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    with pytest.raises(errors.Stuck, match="nothing waits"):
        await run(upstream, Sending([], denied=("c1",)))
    assert server.sent("input", "runtime_start") == []


async def test_a_turn_that_fails_after_its_results_is_marked_from_its_beginning(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    failed: Frame = {"type": "turn_finished", "stop_reason": "error", "error": "429: slow down"}
    await park(server, upstream, "weather")
    going_on = resume(upstream, sunny("c1"))
    await server.send(WEATHER)
    await server.arrived("external_tool_call_response")
    await go_on(server, failed)

    with pytest.raises(errors.RateLimited):
        await going_on
    assert [frame["body"] for frame in server.sent("conversation_update")] == [
        {"tags": [f"gw-unfinished:{MINE.client_id}"]}
    ]


async def test_two_conversations_wait_each_for_its_own(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = calling("weather")
    for name in ("conv-1", "conv-2"):
        await run(upstream, Sending([MINE], tools=TOOLS), conversation=name)
    for name in ("conv-2", "conv-1"):
        about = {"runtime": {"agent_id": "agent-1", "conversation_id": name}, "request_id": name}
        await server.send(wanted("weather", "c1", **about))
    await heard(upstream)
    going_on = asyncio.create_task(run(upstream, sunny("c1"), conversation="conv-2"))
    await server.arrived("external_tool_call_response")
    await server.play(server.sent("input")[1], word("Two"), *WELL)

    assert e.text_in(await going_on) == "Two"
    assert [id for id, *_ in results(server)] == ["conv-2"]


async def test_a_call_of_a_tool_that_nobody_has_is_answered(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await run(upstream, Sending([MINE]))
    await server.send(wanted("weather", "c1"))
    await server.arrived("external_tool_call_response")

    assert results(server) == [("ask-c1", "Error: There is no tool weather here.", True)]
