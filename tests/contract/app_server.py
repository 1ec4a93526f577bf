"""The side of a scripted App Server: the frames of a real one, without one."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from anyio.from_thread import start_blocking_portal
from websockets.asyncio.server import ServerConnection

from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.notes import EARLIER_REMINDER, EXCHANGED, told_in
from gateway.letta.upstream import Upstream
from gateway.offline.script import Script
from gateway.settings import Letta
from tests.contract.sides import Heard, StandIn, Words, in_front_of, pieces, shown
from tests.servers.fake_app_server import WELL, FakeAppServer, Frame, status, word

USED: Frame = {
    "type": "stream_delta",
    "delta": {"message_type": "usage_statistics", "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
}

_asking: ContextVar[ServerConnection] = ContextVar("asking")
"""The connection whose frame is being answered."""


class KeepingAppServer(FakeAppServer):
    """A scripted App Server that keeps what a real one keeps, and whose turns do what the model says."""

    def __init__(self, model: Heard) -> None:
        super().__init__()
        self._model = model
        self._agents: dict[str, Frame] = {}
        self._conversations: dict[str, Frame] = {}
        self._listed: dict[str, list[Frame]] = {}
        """By conversation, its messages, the oldest first."""
        self._asked: dict[str, set[str]] = {}
        """By conversation, the calls whose results are awaited."""
        self._talking: dict[str, asyncio.Task[None]] = {}
        """By conversation, the turn whose model pauses between its words."""
        self._open: dict[str, tuple[ServerConnection, Frame]] = {}
        """By conversation, the input that its turn without an end began with, and the connection that it came over."""
        self._made = 0
        self.answers |= {
            "agent_list": self._list_agents,
            "agent_create": lambda frame: {"success": True, "agent": self._make(self._agents, "agent", frame["body"])},
            "agent_update": lambda frame: self._change(self._agents, "agent", frame),
            "agent_retrieve": lambda frame: self._change(self._agents, "agent", frame),
            "agent_delete": self._delete_agent,
            "conversation_list": self._find_conversations,
            "conversation_create": self._create_conversation,
            "conversation_fork": self._fork,
            "conversation_update": lambda frame: self._change(self._conversations, "conversation", frame),
            "conversation_recompile": lambda frame: self._change(self._conversations, "conversation", frame),
            "conversation_messages_list": self._list,
            "list_models": {"success": True, "entries": [{"handle": "m/first"}]},
            "app_server_info": {"success": True, "protocol_version": 1},
        }

    def _number(self) -> int:
        self._made += 1
        return self._made

    def _make(self, kept: dict[str, Frame], kind: str, fields: Frame) -> Frame:
        id = f"{kind}-{self._number()}"
        kept[id] = {"tags": [], **fields, "id": id, "created_at": "2026-01-01T00:00:00Z"}
        return kept[id]

    def _all(self, name: str, found: list[Frame]) -> Frame:
        return {"success": True, name: found}

    def _list_agents(self, frame: Frame) -> Frame:
        query = frame["query"]
        found = self._find_agents(query["tags"])
        before = [agent["id"] for agent in found].index(query["after"]) + 1 if "after" in query else 0
        return self._all("agents", found[before : before + query["limit"]])

    def _find_agents(self, tags: list[str]) -> list[Frame]:
        return [agent for agent in self._agents.values() if set(tags) <= set(agent["tags"])]

    def conversations_of(self, tags: list[str]) -> list[str]:
        (agent,) = self._find_agents(tags)
        return [one["id"] for one in self._conversations.values() if one["agent_id"] == agent["id"]]

    def _change(self, kept: dict[str, Frame], kind: str, frame: Frame) -> Frame:
        id = frame[f"{kind}_id"]
        if id not in kept:
            return {"success": False, "error": f"{kind.capitalize()} {id} not found"}
        kept[id] |= frame.get("body", {})
        return {"success": True, kind: kept[id]}

    def _delete_agent(self, frame: Frame) -> Frame:
        del self._agents[frame["agent_id"]]
        return {"success": True}

    def _find_conversations(self, frame: Frame) -> Frame:
        query = frame["query"]
        wanted, agent = query.get("summary_search", ""), query.get("agent_id")
        all_kept = [] if "after" in query else self._conversations.values()
        found = [one for one in all_kept if wanted in one["summary"] and agent in (None, one["agent_id"])]
        return self._all("conversations", found)

    def _create_conversation(self, frame: Frame) -> Frame:
        agent = frame["body"]["agent_id"]
        if agent not in self._agents:
            return {"success": False, "error": f"Agent {agent} not found"}
        made = self._make(self._conversations, "conv", frame["body"])
        self._listed[made["id"]] = []
        return {"success": True, "conversation": made}

    def _fork(self, frame: Frame) -> Frame:
        base = self._conversations[frame["conversation_id"]]
        made = self._make(self._conversations, "conv", {**base, **frame["body"]})
        listed = self._listed[base["id"]]
        cut = [message["id"] for message in listed].index(frame["body"]["message_id"]) + 1
        self._listed[made["id"]] = [{**message, "id": f"ui-{self._number()}"} for message in listed[:cut]]
        return {"success": True, "conversation": made}

    def _list(self, frame: Frame) -> Frame:
        return self._all("messages", self._listed[frame["conversation_id"]][::-1])

    def _keep(self, conversation: str, message_type: str, **fields: Any) -> None:
        listed = self._listed[conversation]
        listed.append({"id": f"ui-{self._number()}", "message_type": message_type, **fields})

    async def _serve(self, connection: ServerConnection) -> None:
        _asking.set(connection)
        await super()._serve(connection)

    async def send(self, *frames: Frame | bytes | str) -> None:
        """Send over the connection of whoever has asked, where somebody has."""
        for frame in frames:
            await _asking.get().send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def _play_on(self, conversation: str, *frames: Frame) -> None:
        """The turn of a conversation goes on, for whoever has begun it."""
        connection, begun = self._open[conversation]
        asked = _asking.set(connection)
        await self.play(begun, *frames)
        _asking.reset(asked)

    async def _answer(self, frame: Frame) -> None:
        if frame["type"] == "input" and frame["payload"]["kind"] == "create_message":
            self.turn = self._begin(frame)
        await super()._answer(frame)
        if frame["type"] == "abort_message":
            if (id := frame["runtime"]["conversation_id"]) in self._open:
                if talking := self._talking.pop(id, None):
                    talking.cancel()
                await self._play_on(id, {"type": "turn_finished", "stop_reason": "cancelled"})
                del self._open[id]
        elif frame["type"] == "external_tool_call_response":
            await self._go_on(frame)

    def _begin(self, frame: Frame) -> list[Frame]:
        id = frame["runtime"]["conversation_id"]
        if id not in self._conversations or frame["runtime"]["agent_id"] not in self._agents:
            return [{"type": "turn_finished", "stop_reason": "error", "error": f"Conversation {id} not found"}]
        for message in frame["payload"]["messages"]:
            self._keep(id, "user_message", otid=message["client_message_id"], content=message["content"])
        self._open[id] = _asking.get(), frame
        return self._frames(id, self._model.script(self._words(id)))

    async def _go_on(self, frame: Frame) -> None:
        """A client's tool was answered: the turn that waits for it goes on."""
        id, _, call = frame["request_id"].partition("/")
        result = frame["result"]["content"][0]["text"]
        self._keep(id, "tool_return_message", tool_call_id=call, tool_return=result, status="success")
        returned = {"tool_call_id": call, "status": "success", "tool_return": result}
        await self._play_on(id, _delta({"message_type": "tool_return_message", "tool_returns": [returned]}))
        self._asked[id].discard(call)
        if not self._asked[id]:
            await self._play_on(id, *self._frames(id, self._model.script(self._words(id))))

    def _words(self, conversation: str) -> Words:
        said: Words = []
        in_step = False
        for message in self._listed[conversation]:
            if message["message_type"] == "user_message":
                said += [*_told_before(message["content"]), ("user", _own_words(message["content"]))]
            elif message["message_type"] == "assistant_message":
                said.append(("assistant", shown(message["content"])))
            elif message["message_type"] == "approval_request_message":
                # Those of one step are listed one by one.
                before = said.pop()[1].split(",") if in_step else []
                said.append(("assistant", ",".join([*before, message["tool_call"]["name"]])))
            else:
                said.append(("tool", message["tool_return"]))
            in_step = message["message_type"] == "approval_request_message"
        return said

    def _frames(self, id: str, script: Script) -> list[Frame]:
        if script.status != 200:
            told = {"message_type": "event_message", "event_type": "retry", "event_data": {"message": "429: slow"}}
            return [{"type": "stream_delta", "delta": told}]
        if script.hangs_at_once:
            return [status("WAITING_FOR_API_RESPONSE")]
        if script.calls:
            return self._calls(id, script)
        if script.pause:
            self._talking[id] = asyncio.create_task(self._talk(id, script))
            return [status("WAITING_FOR_API_RESPONSE")]
        self._keep(id, "assistant_message", content=[{"type": "text", "text": script.answer}])
        if script.ends == "hanging":
            return [word(script.answer)]
        return [word(script.answer), USED, *WELL]

    async def _talk(self, id: str, script: Script) -> None:
        """Says it piece by piece; all of it is kept at once, what was said before a cancel too."""
        said = {"type": "text", "text": ""}
        self._keep(id, "assistant_message", content=[said])
        for piece in pieces(script):
            await asyncio.sleep(script.pause)
            said["text"] += piece
            await self._play_on(id, word(piece))
        await self._play_on(id, USED, *WELL)

    def _calls(self, id: str, script: Script) -> list[Frame]:
        calls = [{"name": one.name, "tool_call_id": one.id, "arguments": one.arguments} for one in script.calls]
        ids = [one.id for one in script.calls]
        self._asked[id] = {*ids}
        step = f"ui-{self._number()}"
        for call in calls:
            listed = f"{step}:tool:{call['tool_call_id']}:request"
            self._keep(id, "approval_request_message", id=listed, tool_call=call)
        ended = {"message_type": "approval_classification_end", "user_input_tool_call_ids": ids}
        return [
            *(_delta({"message_type": "approval_request_message", "tool_call": call}) for call in calls),
            USED,
            _delta(ended),
            *(_asks(id, call) for call in calls),
        ]


def _delta(delta: Frame) -> Frame:
    return {"type": "stream_delta", "delta": delta}


def _asks(conversation: str, call: Frame) -> Frame:
    asked = {"tool_name": call["name"], "tool_call_id": call["tool_call_id"], "input": {}}
    return {"type": "external_tool_call_request", **asked, "request_id": f"{conversation}/{call['tool_call_id']}"}


def _told_before(content: list[Frame]) -> Words:
    """What a note tells of the chat before this message: a conversation could not be given it."""
    notes = [told_in(part.get("text", ""), EARLIER_REMINDER) or "" for part in content[:-1]]
    lines = [json.loads(line) for note in notes for line in note.splitlines()]
    return [(line["role"], line["content"].strip()) for line in lines]


def _own_words(content: list[Frame]) -> str:
    """All parts but notes, which never come last."""
    *before, last = content
    return shown([*(part for part in before if not _is_a_note(part.get("text", ""))), last])


def _is_a_note(text: str) -> bool:
    return text.startswith("<system-reminder>") and not text.startswith(EXCHANGED)


class AppServerSide(StandIn):
    def __init__(self, server: KeepingAppServer, model: Heard) -> None:
        super().__init__(model)
        self.kind: Literal["v1", "app-server"] = "app-server"
        self.tools = ("Read", "ViewImage")
        self._server = server

    def upstream(self) -> Upstream:
        return AppServerUpstream(Letta(base_url=self._server.url, request_seconds=10.0))

    def gateway(self, **changes: Any) -> AbstractContextManager[str]:
        return in_front_of(self._server.url, **changes)

    def conversations(self, tags: Iterable[str]) -> list[str]:
        return self._server.conversations_of(list(tags))


@contextmanager
def app_server_side() -> Iterator[AppServerSide]:
    """In a thread of its own."""
    model = Heard()
    server = KeepingAppServer(model)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server):
        yield AppServerSide(server, model)
