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
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from gateway.domain import errors
from gateway.domain.messages import Message, PendingCall
from gateway.letta.app_server import memory
from gateway.letta.app_server.connection import Address, AppServerConnection
from gateway.letta.app_server.conversations import AppServerConversations
from gateway.letta.app_server.frames import (
    BLIND_PREFIX,
    BUILTIN_TOOLS,
    PAGE,
    PROTOCOL_VERSION,
    SEES_MARK,
    AgentsListed,
    ConversationsListed,
    Head,
    Info,
    KeptAgent,
    ModelEntry,
    ModelsListed,
    OneAgent,
    Runtime,
    ServerAnswer,
)
from gateway.letta.app_server.memory_tools import MemoryTools
from gateway.letta.app_server.turns import AppServerTurns
from gateway.letta.elsewhere.turns_elsewhere import TurnsElsewhere
from gateway.letta.upstream import (
    MAKING_TAG,
    Agent,
    Capabilities,
    Conversation,
    Exchange,
    Fork,
    Past,
    Sending,
    Take,
    Template,
    making_tag,
)
from gateway.settings import Chats, Letta
from gateway.shared.lines import Lines, OwnLines

T = TypeVar("T")
logger = logging.getLogger(__name__)
CREATED_TAG, METADATA_TAG = "gw-created:", "gw-metadata:"
DEFAULT_SYSTEM = (
    "You are a helpful assistant with a memory that lasts. What you know about the person you talk to stands in the "
    "memory blocks below. When you learn something about them that will matter later, write it there with "
    "memory_insert, or correct it with memory_replace, before you answer."
)


class AppServerUpstream:
    """An `Upstream` over the App Server's protocol. `address` tells where it is, and its token."""

    capabilities = Capabilities(forks=True, applies=frozenset({"max_tokens"}))

    def __init__(
        self,
        settings: Letta,
        address: Address | None = None,
        tool_wait_seconds: float = Chats().tool_wait_seconds,
        set_up: Callable[[AppServerConnection], Awaitable[None]] | None = None,
        lines: Lines | None = None,
        elsewhere: TurnsElsewhere | None = None,
    ) -> None:
        """`set_up` is called with the connection each time it was made anew, before anything else goes over it.

        `lines` are those for the memories of agents, `elsewhere` are the turns that wait in other processes.
        """
        self._settings = settings
        self._set_up = set_up
        self._connection = AppServerConnection(
            address or self._configured_address,
            settings.request_seconds,
            settings.ping_seconds,
            self._take,
            self._greet,
        )
        self._memory_tools = MemoryTools(self._connection, lines or OwnLines())
        self._conversations = AppServerConversations(self._connection)
        tell = elsewhere.tell if elsewhere else _tell_nobody
        self._turns = AppServerTurns(self._connection, self._conversations, self._memory_tools, tool_wait_seconds, tell)
        self._elsewhere = elsewhere
        if elsewhere:
            elsewhere.serve(self._run_here, self._cancel_here)
        # It makes agents one by one: the time limit of one must not run while others are made.
        self._making = asyncio.Lock()
        self._seeing: set[str] = set()
        """The handles of models that are shown pictures although their provider's others are not."""
        self._takers: dict[str, Callable[[bytes], None]] = {
            "external_tool_call_request": self._turns.call,
            "control_request": self._turns.ask,
            "update_device_status": self._conversations.files.learn,
        }

    async def _configured_address(self) -> tuple[str, str | None]:
        url, key = self._settings.address.rstrip("/"), self._settings.api_key
        return url if url.endswith("/ws") else f"{url}/ws", key.reveal() if key else None

    async def _greet(self) -> None:
        """Have it load its models: of several first turns at once all but one are told that there is no such model."""
        if self._set_up:
            await self._set_up(self._connection)
        try:
            await self.list_models()
        except errors.UpstreamError as error:
            logger.warning("the App Server cannot list its models: %s", error)

    @property
    def turns_under_way(self) -> bool:
        return self._turns.under_way

    async def start(self) -> None:
        """Do nothing: the connection is made when it is needed."""

    def _take(self, head: Head, data: bytes) -> None:
        """Hand on a frame that is no part of a turn's stream."""
        if taker := self._takers.get(head.type):
            taker(data)

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        # Only who has read the conversation knows of calls that wait elsewhere.
        answers = sending.resumes or bool(sending.denied)
        asks = self._elsewhere if answers and not self._turns.pending(conversation_id) else None
        if not (asks and await asks.run(agent_id, conversation_id, sending, tools, take)):
            await self._run_here(agent_id, conversation_id, sending, tools, take)

    async def _run_here(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        await self._turns.run(Runtime(agent_id, conversation_id), sending, tools, take)

    async def is_running(self, conversation_id: str) -> bool:
        return self._turns.is_under_way(conversation_id)

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        if not (self._elsewhere and await self._elsewhere.cancel(agent_id, conversation_id)):
            await self._cancel_here(agent_id, conversation_id)

    async def _cancel_here(self, agent_id: str, conversation_id: str) -> None:
        await self._turns.cancel(Runtime(agent_id, conversation_id))

    async def find_agents(self, tags: Iterable[str], after: str = "") -> list[Agent]:
        query = {"tags": list(tags), "limit": PAGE, **({"after": after} if after else {})}
        answer = await self._connection.request("agent_list", AgentsListed, query=query)
        return [_to_agent(agent) for agent in answer.agents]

    async def create_agent(self, template: Template) -> Agent:
        body = {
            "name": template.name,
            "model": template.model,
            "system": template.system or DEFAULT_SYSTEM,
            "memory_blocks": [{"label": label, "value": value} for label, value in template.blocks.items()],
        }
        making = making_tag()
        async with self._making:
            try:
                answer = await self._connection.request("agent_create", OneAgent, body={**body, "tags": [making]})
                agent = _found(answer.agent)
                await self._switch_off_reflection(agent.id)
                return _to_agent(await self._make_known(agent, template))
            except errors.UpstreamError:
                await self._take_away(making)
                raise

    async def _take_away(self, making: str) -> None:
        """Delete what is left of an agent that did not become whole. Raises nothing."""
        try:
            for agent in await self.find_agents([making]):
                await self.delete_agent(agent)
        except errors.UpstreamError as error:
            logger.warning("what is left of an agent stays: %s: %s", type(error).__name__, error)

    async def _make_known(self, agent: KeptAgent, template: Template) -> KeptAgent:
        """Have it found, now that it is whole: it is listed before its memory is, and fails whoever uses it then."""
        created = CREATED_TAG + datetime.now(UTC).isoformat()
        others = [tag for tag in agent.tags if not tag.startswith(MAKING_TAG)]
        tags = [*template.tags, created, _metadata_tag(template), *others]
        answer = await self._connection.request("agent_update", OneAgent, agent_id=agent.id, body={"tags": tags})
        return _found(answer.agent)

    async def _switch_off_reflection(self, agent_id: str) -> None:
        """Otherwise a sub-agent with file tools reads the chats after every 25 steps."""
        runtime = Runtime(agent_id, "default")
        settings = {"trigger": "off", "step_count": 25}
        await self._connection.request("set_reflection_settings", ServerAnswer, runtime=runtime, settings=settings)

    async def apply_template(self, agent: Agent, template: Template, tools_before: Iterable[str]) -> None:
        tags = [tag for tag in agent.tags if not tag.startswith(METADATA_TAG)]
        body = {
            "model": template.model,
            "system": template.system or DEFAULT_SYSTEM,
            "tags": [*tags, _metadata_tag(template)],
        }
        await self._connection.request("agent_update", OneAgent, agent_id=agent.id, body=body)

    async def delete_agent(self, agent: Agent) -> None:
        await self._connection.request("agent_delete", ServerAnswer, agent_id=agent.id)

    async def find_conversations(self, agent_id: str | None, summary: str) -> list[Conversation]:
        return await self._conversations.find(agent_id, summary)

    async def has_conversations(self, agent_id: str) -> bool:
        query = {"agent_id": agent_id, "limit": 1, "include_hidden": True}
        return bool(
            (await self._connection.request("conversation_list", ConversationsListed, query=query)).conversations
        )

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        return await self._conversations.create(agent_id, summary, path, fork)

    async def read_conversation(self, agent_id: str, conversation: Conversation) -> Past:
        pending = await self._pending(conversation.id)
        past = await self._conversations.read(conversation, waits=bool(pending))
        return msgspec.structs.replace(past, pending=pending)

    async def read_exchanges(self, agent_id: str, conversation: Conversation) -> list[Exchange]:
        return await self._conversations.read_exchanges(conversation, await self._pending(conversation.id))

    async def _pending(self, conversation_id: str) -> tuple[PendingCall, ...]:
        """The calls that wait for an answer, here or in another process."""
        pending = self._turns.pending(conversation_id)
        if self._elsewhere and not pending:
            pending = await self._elsewhere.pending(conversation_id)
            # Another process may have told it of tools since.
            self._conversations.subscribe_anew(conversation_id)
        return pending

    async def tool_names(self, agent_id: str, tools: Iterable[str]) -> frozenset[str]:
        return memory.MEMORY_TOOL_NAMES | frozenset(tools)

    async def rename_conversation(self, conversation_id: str, summary: str, hidden: bool) -> None:
        await self._conversations.rename(conversation_id, summary, hidden)

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None:
        await self._conversations.delete(agent_id, conversation_id)

    async def recompile(self, conversation_id: str) -> str:
        await self._connection.request("conversation_recompile", ServerAnswer, conversation_id=conversation_id, body={})
        return ""

    async def check_health(self) -> None:
        info = await self._connection.request("app_server_info", Info)
        if info.protocol_version != PROTOCOL_VERSION:
            raise errors.Refused(f"it speaks protocol_version {info.protocol_version}, not {PROTOCOL_VERSION}")

    async def list_models(self) -> list[str]:
        # One handle is listed for each of its variants.
        return list(dict.fromkeys(model.handle for model in await self._list_models()))

    async def _list_models(self, **how: object) -> list[ModelEntry]:
        entries = (await self._connection.request("list_models", ModelsListed, **how)).entries
        self._seeing = {model.handle for model in entries if (model.label or "").endswith(SEES_MARK)}
        return entries

    async def sees(self, agent_id: str) -> bool:
        handle = (
            _found((await self._connection.request("agent_retrieve", OneAgent, agent_id=agent_id)).agent).model or ""
        )
        # Of other models its listing does not tell; those that their provider's own list knows are shown pictures.
        if not handle.startswith(BLIND_PREFIX) or handle in self._seeing:
            return True
        # The endpoint may say another thing by now, or may not have answered before.
        await self._list_models(force=True)
        return handle in self._seeing

    async def unknown_tools(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in BUILTIN_TOOLS]

    async def check_agent(self, agent_id: str) -> None:
        await self._connection.request("agent_retrieve", OneAgent, agent_id=agent_id)

    async def aclose(self) -> None:
        await self._turns.aclose()
        await self._memory_tools.aclose()
        await self._connection.aclose()


def _tell_nobody(conversation_id: str, pending: tuple[PendingCall, ...]) -> None: ...


def _to_agent(agent: KeptAgent) -> Agent:
    created, metadata = _tagged(agent, CREATED_TAG), _tagged(agent, METADATA_TAG)
    try:
        return Agent(
            agent.id,
            datetime.fromisoformat(created) if created else None,
            tuple(agent.tags),
            msgspec.json.decode(metadata) if metadata else None,
            agent.name,
        )
    except ValueError:
        return Agent(agent.id, tags=tuple(agent.tags), name=agent.name)  # tags that somebody else has changed


def _tagged(agent: KeptAgent, prefix: str) -> str | None:
    """The rest of the tag that begins with `prefix`; None if there is none."""
    return next((tag.removeprefix(prefix) for tag in agent.tags if tag.startswith(prefix)), None)


def _metadata_tag(template: Template) -> str:
    return METADATA_TAG + msgspec.json.encode(template.metadata).decode()


def _found(made: T | None) -> T:
    if made is None:
        raise errors.Refused("an answer without what was asked for")
    return made
