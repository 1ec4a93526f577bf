"""The side of a scripted REST server: the bytes of a V1 server, without one."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from gateway.letta.rest.upstream import RestUpstream
from gateway.letta.upstream import Upstream
from gateway.offline.script import Script
from gateway.settings import Letta
from tests.contract.sides import Heard, StandIn, Words, in_front_of, pieces, shown
from tests.servers.fake_letta import PING, STOP, THOUGHT, USAGE, WORD, Body, FakeLetta, Hold, Step

TOOLS = ("web_search", "fetch_webpage")
FAILED: list[Step] = [
    {"message_type": "stop_reason", "stop_reason": "llm_api_error"},
    {"message_type": "error_message", "error_type": "llm_rate_limit", "message": "slow down"},
]
NOTHING_WAITS: list[Step] = [
    {"message_type": "stop_reason", "stop_reason": "error"},
    {
        "message_type": "error_message",
        "error_type": "internal_error",
        "detail": "Cannot process approval response: nothing waits",
    },
]
WAITING: Body = {"message_type": "stop_reason", "stop_reason": "requires_approval"}


class _Missing:
    """What there is none of."""


class KeepingLetta(FakeLetta):
    """A scripted Letta that keeps and deletes as a V1 server does, and whose runs do what the model says."""

    def __init__(self, model: Heard) -> None:
        super().__init__()
        self._model = model
        self._running: set[str] = set()
        self._waiting: dict[str, set[str]] = {}
        """By conversation, the ids of the calls that wait."""

    def _state(self, method: str, path: str, query: dict[str, list[str]], body: Body) -> Any:
        match method, path.split("/")[2:]:
            case "GET", ["models"]:
                return [{"handle": "m/first"}]
            case "GET", ["tools"]:
                return [{"id": f"tool-{name}", "name": name} for name in query["names"] if name in TOOLS]
            case "GET", ["runs"]:
                return [{"id": "run-1", "status": "running"}] if query["conversation_id"][0] in self._running else []
            case "GET", ["agents", id]:
                return self._agent(id) or _Missing()
            case "PATCH", ["agents", id]:
                agent = self._agent(id)
                agent.update(body)
                return agent or _Missing()
            case "DELETE", ["agents", id]:
                self.agents = [agent for agent in self.agents if agent["id"] != id]
                return {}
            case "POST", ["conversations"] if not self._agent(query["agent_id"][0]):
                return _Missing()
            case ("PATCH", ["conversations", id]) | ("POST", ["conversations", id, "recompile"]) if not (
                self._conversation(id)
            ):
                return _Missing()
            case "DELETE", ["conversations", id]:
                self.conversations = [one for one in self.conversations if one["id"] != id]
                return {}
        return super()._state(method, path, query, body)

    def _agent(self, id: str) -> Body:
        return next((agent for agent in self.agents if agent["id"] == id), {})

    def _reply(self, writer: asyncio.StreamWriter, status: int, value: Any) -> None:
        if isinstance(value, _Missing):
            status, value = 404, {"detail": "not found"}
        super()._reply(writer, status, value)

    async def _run(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conversation: str, body: Body
    ) -> bool:
        kept = self._conversation(conversation)
        known = kept and self._agent(kept["agent_id"])
        self.coming = [self._steps(conversation, body) if known else [404, {"detail": "not found"}]]
        self._running.add(conversation)
        try:
            return await super()._run(reader, writer, conversation, body)
        finally:
            self._running.discard(conversation)

    def _steps(self, conversation: str, body: Body) -> Sequence[Step]:
        said = [message for message in body["messages"] if "role" in message]
        answers = [one for message in body["messages"] for one in message.get("approvals", ())]
        if answers and {one["tool_call_id"] for one in answers} != self._waiting.pop(conversation, set()):
            return NOTHING_WAITS
        if answers:
            self._model.allow(*(one["tool_call_id"] for one in answers if one.get("approve")))
            self._list(conversation, {"message_type": "approval_response_message", "approvals": answers})
        script = self._model.script([word for one in [*self.messages[conversation], *said] for word in _words(one)])
        if script.calls:
            return self._wait(conversation, said, script)
        return _to_steps(script)

    def _wait(self, conversation: str, said: list[Body], script: Script) -> Sequence[Step]:
        calls = [{"name": one.name, "tool_call_id": one.id, "arguments": one.arguments} for one in script.calls]
        self._waiting[conversation] = {call["tool_call_id"] for call in calls}
        asked: Body = {"message_type": "approval_request_message", "tool_calls": calls, "step_id": "s1"}
        self._list(conversation, *({**message, "message_type": "user_message"} for message in said), asked)
        return [PING, asked, WAITING, USAGE]

    def _list(self, conversation: str, *messages: Body) -> None:
        for message in messages:
            number = len(self.messages[conversation])
            dated = {"id": f"message-{number}", "date": f"2026-01-01T00:00:{number:02}Z"}
            self.messages[conversation].append({**message, **dated})


def _words(message: Body) -> Words:
    """What the model is shown of a message: of calls their names, of answers what they say."""
    if "role" in message:
        return [(message["role"], _text(message["content"]))]
    if "reasoning" in message:
        return []
    if calls := message.get("tool_calls"):
        return [("assistant", ",".join(call["name"] for call in calls))]
    return [("tool", _said_of(answer)) for answer in message["approvals"]]


def _said_of(answer: Body) -> str:
    return _text(answer.get("tool_return") or answer.get("reason") or "done")


def _to_steps(script: Script) -> Sequence[Step]:
    if script.status != 200:
        return [PING, *FAILED]
    if script.hangs_at_once:
        return [PING, Hold()]
    words: list[Step] = [{**WORD, "content": piece} for piece in pieces(script)]
    if script.ends == "hanging":
        return [PING, *words, Hold()]
    paused = [step for word in words for step in (Hold(script.pause), word)] if script.pause else words
    return [PING, THOUGHT, *paused, STOP, USAGE]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else shown(content)


class RestSide(StandIn):
    def __init__(self, server: KeepingLetta, model: Heard) -> None:
        super().__init__(model)
        self.kind: Literal["v1", "app-server"] = "v1"
        self.tools = TOOLS
        self._server = server

    def upstream(self) -> Upstream:
        return RestUpstream(Letta(upstream="rest", base_url=self._server.base_url))

    def gateway(self, **changes: Any) -> AbstractContextManager[str]:
        return in_front_of(self._server.base_url, **changes)

    def conversations(self, tags: Iterable[str]) -> list[str]:
        (agent,) = [agent["id"] for agent in self._server.agents if set(tags) <= set(agent["tags"])]
        kept = [one for one in self._server.conversations if one["agent_id"] == agent]
        return [one["id"] for one in kept if not one.get("archived")]


@contextmanager
def rest_side() -> Iterator[RestSide]:
    model = Heard()
    with KeepingLetta(model) as server:
        yield RestSide(server, model)
