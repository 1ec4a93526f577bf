"""Turns of an App Server that is played, which wait for their client: how they come to that, and how they go on."""

import asyncio
from typing import Any

from gateway.domain.events import Event
from gateway.domain.messages import Message, ToolResult
from gateway.domain.request import ClientTool
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.upstream import Sending
from gateway.settings import Letta
from tests.letta.app_server.upstreams import run
from tests.servers.fake_app_server import RUNTIME, WELL, FakeAppServer, Frame, word

MINE = Message("user", "Hi", "gw1-a-b-c-d")
NEXT = Message("user", "More", "gw1-e-f-g-h")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = (ClientTool("weather", "Of a city.", SCHEMA), ClientTool("clock", "", {"type": "object", "properties": {}}))
CANCELLED: Frame = {"type": "turn_finished", "stop_reason": "cancelled"}
USED: Frame = {
    "type": "stream_delta",
    "delta": {"message_type": "usage_statistics", "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
}


def called(name: str, id: str) -> Frame:
    call = {"name": name, "tool_call_id": id, "arguments": "{}"}
    return {"type": "stream_delta", "delta": {"message_type": "approval_request_message", "tool_call": call}}


def classified(*waiting: str) -> Frame:
    """The end of a step's calls, of which these wait."""
    return {
        "type": "stream_delta",
        "delta": {"message_type": "approval_classification_end", "user_input_tool_call_ids": waiting},
    }


def calling(*names: str) -> list[Frame]:
    """A step that calls tools of these names, and waits: the calls are c1, c2, …"""
    ids = [f"c{i}" for i in range(1, len(names) + 1)]
    return [*map(called, names, ids), USED, classified(*ids)]


def wanted(name: str, id: str, **about: Any) -> Frame:
    """The App Server asks for a tool's result."""
    return {
        "type": "external_tool_call_request",
        "request_id": f"ask-{id}",
        "tool_name": name,
        "tool_call_id": id,
        "input": {},
        "runtime": RUNTIME,
        **about,
    }


def permission(name: str, id: str, **about: Any) -> Frame:
    """The App Server asks whether a tool may be used."""
    request = {"subtype": "can_use_tool", "tool_name": name, "tool_call_id": id, "input": {}}
    return {"type": "control_request", "request_id": f"ask-{id}", "request": request, **RUNTIME, **about}


def sunny(*ids: str) -> Sending:
    """Results for these calls."""
    return Sending([], results=tuple(ToolResult(id, f"sunny {id}") for id in ids), tools=TOOLS)


async def park(
    server: FakeAppServer, upstream: AppServerUpstream, *names: str, builtin: tuple[str, ...] = ()
) -> list[Event]:
    """A turn that calls these tools, up to where it waits."""
    server.turn = calling(*names)
    events = await run(upstream, Sending([MINE], tools=TOOLS), builtin)
    server.turn = [word("Hello"), *WELL]
    return events


async def heard(upstream: AppServerUpstream) -> None:
    """Returns when the gateway has read all that was sent to it."""
    await upstream.check_agent("agent-1")


def resume(upstream: AppServerUpstream, sending: Sending) -> asyncio.Task[list[Event]]:
    return asyncio.create_task(run(upstream, sending))


async def go_on(server: FakeAppServer, *frames: Frame) -> None:
    """The turn that began with the first input goes on, in another run."""
    await server.play(await server.arrived("input"), *(frames or (word("Hello"), *WELL)))


def results(server: FakeAppServer) -> list[tuple[str, str, bool]]:
    """What calls of tools were told, in order: by which request, the text, whether it failed."""
    told = [(frame["request_id"], frame["result"]) for frame in server.sent("external_tool_call_response")]
    return [(id, result["content"][0]["text"], result["is_error"]) for id, result in told]


def decisions(server: FakeAppServer) -> list[tuple[str, dict[str, Any]]]:
    """What was decided about tools that need an approval, by the request."""
    payloads = [frame["payload"] for frame in server.sent("input")]
    return [(one["request_id"], one["decision"]) for one in payloads if one["kind"] == "approval_response"]


def messages(server: FakeAppServer) -> list[list[str]]:
    """The client ids of the messages of each input."""
    payloads = [frame["payload"] for frame in server.sent("input")]
    return [[message["client_message_id"] for message in one["messages"]] for one in payloads if "messages" in one]


def impatient(server: FakeAppServer, seconds: float) -> AppServerUpstream:
    """An upstream whose turns wait for so long."""
    return AppServerUpstream(Letta(base_url=server.url, request_seconds=10.0), tool_wait_seconds=seconds)
