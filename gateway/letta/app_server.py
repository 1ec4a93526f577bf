"""Letta's App Server (`letta server --listen`): the upstream over one WebSocket.

Where it must be handled with care:

1. What an agent may use is said turn by turn, in an allowlist; whatever else it calls is refused.
2. Its own file tools can be made to run commands on its host. Memory is changed through the gateway's (`memory.py`).
3. A turn that lost its listener, or was aborted while its model says nothing, blocks its conversation for good; one
   that failed leaves its message behind. What has no end is left where it is, and the chat goes on in a fork.
4. It keeps neither metadata nor date of an agent: tags hold both.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from gateway.letta import errors, memory
from gateway.letta.answers import (
    Agents,
    Answer,
    Conversations,
    Info,
    KeptAgent,
    Models,
    OneAgent,
)
from gateway.letta.events import PING, Event
from gateway.letta.frames import PROTOCOL_VERSION, ControlRequest, Frame, Head, Runtime, TurnReader
from gateway.letta.link import Address, Inbox, Link
from gateway.letta.memory_tools import EXTERNAL_TOOLS, MemoryTools
from gateway.letta.threads import STUCK, Threads
from gateway.letta.transcript import to_input
from gateway.letta.upstream import Agent, Conversation, Fork, Message, Past, Sending, Template
from gateway.settings import Letta

T = TypeVar("T")
logger = logging.getLogger(__name__)
PAGE = 100
CREATED_TAG, METADATA_TAG = "gw-created:", "gw-metadata:"
# How long a turn may stay queued while the loop does nothing.
STUCK_SECONDS = 2.0
DENIED = "This tool is not available."
DEFAULT_SYSTEM = (
    "You are a helpful assistant with a memory that lasts. What you know about the person you talk to stands in the "
    "memory blocks below. When you learn something about them that will matter later, write it there with "
    "memory_insert, or correct it with memory_replace, before you answer."
)
# https://docs.letta.com/letta-code: the tools of its toolsets. Most of them act on the App Server's host.
BUILTIN_TOOLS = frozenset(
    {
        *("Bash", "exec_command", "write_stdin", "Monitor", "Read", "Write", "Edit", "ApplyPatch", "ViewImage"),
        *("EnterWorktree", "ExitWorktree", "SetWorkingDirectory", "WatchPR", "Skill", "Memory", "UpdatePlan"),
        *("Task", "TaskCreate", "TaskGet", "TaskList", "TaskStop", "TaskUpdate", "Workflow"),
        *("SendAgentMessage", "Wake"),
    }
)


class AppServerUpstream:
    """An `Upstream` over the App Server's protocol. `address` tells where it is, and its token."""

    def __init__(self, settings: Letta, address: Address | None = None) -> None:
        self._settings = settings
        self._link = Link(
            address or self._configured_address,
            settings.request_seconds,
            settings.ping_seconds,
            self._take,
            self._greet,
        )
        self._memory_tools = MemoryTools(self._link)
        self._threads = Threads(self._link)
        # It makes agents one by one: the time limit of one must not run while others are made.
        self._making = asyncio.Lock()
        self._takers: dict[str, Callable[[bytes], None]] = {
            "external_tool_call_request": self._memory_tools.answer,
            "control_request": self._deny,
            "update_device_status": self._threads.histories.learn,
        }
        self._denials: set[asyncio.Task[None]] = set()

    async def _configured_address(self) -> tuple[str, str | None]:
        url, key = self._settings.address.rstrip("/"), self._settings.api_key
        return url if url.endswith("/ws") else f"{url}/ws", key.reveal() if key else None

    async def _greet(self) -> None:
        """Have it load its models: of several first turns at once all but one are told that there is no such model."""
        try:
            await self.list_models()
        except errors.UpstreamError as error:
            logger.warning("the App Server cannot list its models: %s", error)

    async def start(self) -> None:
        """Nothing: the connection is made when it is needed."""

    def _take(self, head: Head, data: bytes) -> None:
        """A frame that belongs to no turn."""
        if taker := self._takers.get(head.type):
            taker(data)

    def _deny(self, data: bytes) -> None:
        """Nobody is asked: what an agent may do was said with the turn."""
        asked = msgspec.json.decode(data, type=ControlRequest)
        decision = {"behavior": "deny", "message": DENIED}
        payload = {"kind": "approval_response", "request_id": asked.request_id, "decision": decision}
        runtime = Runtime(asked.agent_id, asked.conversation_id)
        denial = asyncio.create_task(self._link.tell({"type": "input", "runtime": runtime, "payload": payload}))
        self._denials.add(denial)
        denial.add_done_callback(self._denied)

    def _denied(self, denial: asyncio.Task[None]) -> None:
        self._denials.discard(denial)
        if not denial.cancelled() and denial.exception():
            logger.warning("a denial could not be told: %s", denial.exception())

    async def find_agents(self, tags: Iterable[str]) -> list[Agent]:
        answer = await self._link.request("agent_list", Agents, query={"tags": list(tags), "limit": PAGE})
        return [_to_agent(agent) for agent in answer.agents]

    async def create_agent(self, template: Template) -> Agent:
        body = {
            "name": template.name,
            "model": template.model,
            "system": template.system or DEFAULT_SYSTEM,
            "tags": [*template.tags, CREATED_TAG + datetime.now(UTC).isoformat(), _metadata_tag(template)],
            "memory_blocks": [{"label": label, "value": value} for label, value in template.blocks.items()],
        }
        async with self._making:
            answer = await self._link.request("agent_create", OneAgent, body=body)
            agent = _found(answer.agent)
            await self._switch_off_reflection(agent.id)
        return _to_agent(agent)

    async def _switch_off_reflection(self, agent_id: str) -> None:
        """Otherwise a sub-agent with file tools reads the chats after every 25 steps."""
        runtime = Runtime(agent_id, "default")
        settings = {"trigger": "off", "step_count": 25}
        await self._link.request("set_reflection_settings", Answer, runtime=runtime, settings=settings)

    async def apply_template(self, agent: Agent, template: Template, tools_before: Iterable[str]) -> None:
        tags = [tag for tag in agent.tags if not tag.startswith(METADATA_TAG)]
        body = {
            "model": template.model,
            "system": template.system or DEFAULT_SYSTEM,
            "tags": [*tags, _metadata_tag(template)],
        }
        await self._link.request("agent_update", OneAgent, agent_id=agent.id, body=body)

    async def delete_agent(self, agent: Agent) -> None:
        await self._link.request("agent_delete", Answer, agent_id=agent.id)

    async def find_conversations(self, agent_id: str | None, summary: str) -> list[Conversation]:
        return await self._threads.find(agent_id, summary)

    async def has_conversations(self, agent_id: str) -> bool:
        query = {"agent_id": agent_id, "limit": 1, "include_hidden": True}
        return bool((await self._link.request("conversation_list", Conversations, query=query)).conversations)

    @property
    def forks(self) -> bool:
        return True

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        return await self._threads.create(agent_id, summary, path, fork)

    async def read_conversation(self, agent_id: str, conversation: Conversation) -> Past:
        return await self._threads.read(conversation)

    async def rename_conversation(self, conversation_id: str, summary: str, hidden: bool) -> None:
        await self._threads.rename(conversation_id, summary, hidden)

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None:
        await self._threads.delete(agent_id, conversation_id)

    async def recompile(self, conversation_id: str) -> str:
        await self._link.request("conversation_recompile", Answer, conversation_id=conversation_id, body={})
        return ""

    @asynccontextmanager
    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str]
    ) -> AsyncIterator[AsyncGenerator[list[Event], None]]:
        runtime = Runtime(agent_id, conversation_id)
        sent = to_input(sending)
        builtin = [*tools]
        allowed = [*builtin, *memory.NAMES]
        reader = TurnReader([message["client_message_id"] for message in sent], allowed)
        payload = {
            "kind": "create_message",
            "messages": sent,
            "client_toolset": {"base": "none", "include": builtin},
            "client_tool_allowlist": allowed,
            "exclude_interactive_tools": True,
        }
        with self._link.inbox(conversation_id) as inbox:
            await self._subscribe(runtime)
            self._threads.begin(conversation_id, sent[0]["client_message_id"])
            answer = await self._send(runtime, payload)
            yield self._events(runtime, reader, inbox, queued=answer.disposition == "queued")

    async def _send(self, runtime: Runtime, payload: dict[str, Any]) -> Answer:
        """Raises UpstreamError, `taken` where the message may have arrived."""
        try:
            return await self._link.request("input", Answer, runtime=runtime, payload=payload)
        except (errors.TimedOut, errors.BrokenStream) as error:
            error.taken = True
            raise

    async def _subscribe(self, runtime: Runtime) -> None:
        """Have the frames of a conversation come here, and the gateway's tools known in it."""
        connection = await self._link.connection()
        if runtime.conversation_id in connection.runtimes:
            return
        await self._link.request(
            "runtime_start",
            Answer,
            agent_id=runtime.agent_id,
            conversation_id=runtime.conversation_id,
            mode="unrestricted",
            skill_sources=[],
            recover_approvals=False,
            force_device_status=False,
            external_tools=EXTERNAL_TOOLS,
        )
        connection.runtimes.add(runtime.conversation_id or "")

    async def _events(
        self, runtime: Runtime, reader: TurnReader, inbox: Inbox, queued: bool
    ) -> AsyncGenerator[list[Event], None]:
        """The events of a turn, those of the frames that came at once in one list. Raises UpstreamError."""
        while not reader.finished:
            waiting = queued and not reader.started
            try:
                async with asyncio.timeout(STUCK_SECONDS if waiting else None):
                    frames = [await inbox.get()]
            except TimeoutError:
                await self._check_queue(runtime, reader)
                continue
            while not inbox.empty():
                frames.append(inbox.get_nowait())
            events, failure = _read(reader, frames)
            if events:
                yield events
            elif reader.asked and not waiting and not failure:
                # However long the model says nothing now, the turn can be cancelled.
                yield [Event(message_type=PING)]
            if failure:
                if reader.failure:
                    await self._threads.tag_unfinished(runtime.conversation_id or "")
                raise failure
        if reader.ended_well:
            self._threads.end(runtime.conversation_id or "")
        else:
            await self._threads.tag_unfinished(runtime.conversation_id or "")

    async def _check_queue(self, runtime: Runtime, reader: TurnReader) -> None:
        """Another gateway's turn is waited for; a loop that does nothing will never come to this one. Raises Stuck."""
        if not reader.idle:
            return
        self._threads.begin(runtime.conversation_id or "", STUCK)
        await self._abort(runtime)
        raise errors.Stuck("queued behind a turn without an end")

    async def _abort(self, runtime: Runtime) -> None:
        await self._link.request("abort_message", Answer, runtime=runtime)

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        # Its end is not waited for, which a silent model would put off for ever: the chat goes on in a fork.
        await self._abort(Runtime(agent_id, conversation_id))
        await self._threads.tag_unfinished(conversation_id)

    async def check_health(self) -> None:
        info = await self._link.request("app_server_info", Info)
        if info.protocol_version != PROTOCOL_VERSION:
            raise errors.Refused(f"it speaks protocol_version {info.protocol_version}, not {PROTOCOL_VERSION}")

    async def list_models(self) -> list[str]:
        entries = (await self._link.request("list_models", Models)).entries
        # One handle is listed for each of its variants.
        return list(dict.fromkeys(model.handle for model in entries))

    async def unknown_tools(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in BUILTIN_TOOLS]

    async def check_agent(self, agent_id: str) -> None:
        await self._link.request("agent_retrieve", OneAgent, agent_id=agent_id)

    async def aclose(self) -> None:
        await self._memory_tools.aclose()
        await self._link.aclose()


def _read(reader: TurnReader, frames: list[Frame | errors.UpstreamError]) -> tuple[list[Event], Any]:
    """The events of the frames, up to the failure if there is one."""
    events: list[Event] = []
    for frame in frames:
        if isinstance(frame, errors.UpstreamError):
            return events, None if reader.finished else frame
        events += reader.receive(frame)
        if reader.failure:
            break
    return events, reader.failure


def _to_agent(agent: KeptAgent) -> Agent:
    created, metadata = _tagged(agent, CREATED_TAG), _tagged(agent, METADATA_TAG)
    try:
        return Agent(
            agent.id,
            datetime.fromisoformat(created) if created else None,
            tuple(agent.tags),
            msgspec.json.decode(metadata) if metadata else None,
        )
    except ValueError:
        return Agent(agent.id, tags=tuple(agent.tags))  # tags that somebody else has changed


def _tagged(agent: KeptAgent, prefix: str) -> str | None:
    """What follows `prefix` in the tag that has it."""
    return next((tag.removeprefix(prefix) for tag in agent.tags if tag.startswith(prefix)), None)


def _metadata_tag(template: Template) -> str:
    return METADATA_TAG + msgspec.json.encode(template.metadata).decode()


def _found(made: T | None) -> T:
    if made is None:
        raise errors.Refused("an answer without what was asked for")
    return made
