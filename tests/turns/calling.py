"""Shorthands for turns of clients that have tools of their own: their requests, and the runs that call them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.domain.messages import ToolResult
from gateway.domain.request import ClientTool, ClientTools
from gateway.letta.upstream import Sending
from gateway.settings import AgentType, Key
from gateway.turns.chats.reconcile import NO_IDS, Ids
from gateway.turns.people.identity import Caller, User
from gateway.turns.turn import Turn, to_turn
from gateway.wires.chat_completions.request import ChatMessage
from tests.asking import path_shown
from tests.events import approval_request, ping, stop
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import TUTOR

Json = dict[str, Any]


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def assistant(text: str | None, **calls: str) -> Json:
    """An answer; with the names of tools by the ids of its calls."""
    told = [{"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}} for id, name in calls.items()]
    return {"role": "assistant", "content": text, **({"tool_calls": told} if told else {})}


def result(id: str, text: Any = "sunny") -> Json:
    return {"role": "tool", "tool_call_id": id, "content": text}


CALLED = assistant(None, c1="weather")


def request(
    *messages: Json,
    chat: str | None = "chat",
    tools: Sequence[str] = ("weather", "clock"),
    agent_type: AgentType = TUTOR,
    history: Any = None,
    ids: Ids = NO_IDS,
) -> Turn:
    """The turn that a request of these messages and tools is."""
    caller = Caller(User("school", "ada", "ada"), chat, frontend=chat is not None)
    asked = path_shown(msgspec.convert(messages, list[ChatMessage]))
    offered = ClientTools(tuple(ClientTool(name) for name in tools))
    return to_turn(Key(name="k", history=history), agent_type, caller, asked, ids, offered)


def waits(*names: str) -> Sequence[Step]:
    """A run that calls tools of these names and waits: the calls are c1, c2, …"""
    called = [[approval_request(name, f"c{i}")] for i, name in enumerate(names, 1)]
    return [[ping()], *called, [stop("requires_approval")]]


def results_of(sending: Sending) -> dict[str, str]:
    return {result.tool_call_id: result.text for result in sending.results}


def last(letta: MemoryLetta) -> Sending:
    """What was sent last."""
    return letta.sent[-1][1]


def where(letta: MemoryLetta) -> list[str]:
    """The conversation of each run."""
    return [id for id, _ in letta.sent]


SUNNY = (ToolResult("c1", "sunny"),)
