"""Letta Cloud and V1 servers: the upstream over REST."""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar
from urllib.request import getproxies

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.domain.request import NO_OPTIONS, Options
from gateway.letta.rest.answers import AgentBody, AgentSettings, ModelHandle, NamedObject, RunState, decode_answer
from gateway.letta.rest.decoder import RunReading
from gateway.letta.rest.input import to_body, with_options
from gateway.letta.rest.letta_clients import LEFT_OUT, LettaClients, Transport, letta_errors, tls_for
from gateway.letta.rest.listing import ListedMessage, to_exchanges, to_past
from gateway.letta.rest.turn_calls import DirectCalls, Moved, TurnCalls, reason_for_letta_client
from gateway.letta.undisturbed import undisturbed
from gateway.letta.upstream import (
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
from gateway.settings import Letta

logger = logging.getLogger(__name__)
T = TypeVar("T")
PAGE_ROWS = 50
FULL_PAGE = 1000


class RestUpstream:
    """An `Upstream` over Letta's REST API: https://docs.letta.com/api/python"""

    # It does not fork, for its own fork copies everything:
    # https://docs.letta.com/api/python/resources/conversations/methods/fork
    capabilities = Capabilities(applies=frozenset(Options.__struct_fields__), keeps_runs=True)

    def __init__(self, settings: Letta, http_client: Transport | None = None) -> None:
        """`http_client` carries every call, in place of the ways that the settings and the environment ask for."""
        self._clients = LettaClients(settings, http_client)
        self._letta, self._once = self._clients.patient, self._clients.once
        self.detour = reason_for_letta_client(settings.address, os.environ, getproxies())
        """The reason why a turn's calls go through letta-client; empty where they go directly."""
        goes_direct = http_client is None and not self.detour
        self._direct = DirectCalls(settings, tls_for(settings.address)) if goes_direct else None
        self._is_moved = False
        """True once Letta has answered with a redirect."""
        self._altered: set[str] = set()
        """Conversations whose settings are not their agent's."""

    async def _call(self, call: Callable[[TurnCalls], Awaitable[T]]) -> T:
        """Make one of a turn's calls the shortest way there is. Raises UpstreamError, and what the call does."""
        if self._direct and not self._is_moved:
            try:
                return await call(self._direct)
            except Moved:
                logger.warning("Letta answers with a redirect: letta-client follows it, here and from now on")
                self._is_moved = True
        return await call(self._clients)

    async def start(self) -> None:
        """Do nothing: connections are made as they are needed."""

    async def find_agents(self, tags: Iterable[str], after: str = "") -> list[Agent]:
        page: Any = {"order": "asc", "limit": PAGE_ROWS, "after": after or LEFT_OUT, "include": ["agent.tags"]}
        with letta_errors():
            response = await self._letta.agents.with_raw_response.list(tags=list(tags), match_all_tags=True, **page)
        return _decoded(response, list[Agent])

    async def create_agent(self, template: Template) -> Agent:
        making = making_tag()
        blocks: Any = [{"label": label, "value": text, "tags": [making]} for label, text in template.blocks.items()]
        try:
            with letta_errors():
                response = await self._once.agents.with_raw_response.create(
                    name=template.name,
                    model=template.model,
                    embedding=template.embedding or LEFT_OUT,
                    system=template.system or LEFT_OUT,
                    tags=list(template.tags),
                    tools=list(template.tools) or LEFT_OUT,
                    memory_blocks=blocks,
                    metadata=template.metadata,
                )
        except errors.UpstreamError as error:
            # It may still be at it, if it has not answered.
            if not isinstance(error, errors.Unreachable | errors.TimedOut):
                await self._take_away(making)
            raise
        agent = _decoded(response, Agent)
        await self._allow_parallel_calls(agent.id, _decoded(response, AgentSettings))
        return agent

    async def _take_away(self, making: str) -> None:
        """Delete the memory blocks of an agent that was refused: Letta makes them before it looks further.

        Raises nothing.
        """
        try:
            with letta_errors():
                listed = await self._letta.blocks.with_raw_response.list(
                    tags=[making], connected_to_agents_count_eq=[0], limit=PAGE_ROWS
                )
                for block in _decoded(listed, list[NamedObject]):
                    await self._letta.blocks.with_raw_response.delete(block.id)
        except errors.UpstreamError as error:
            logger.warning("what is left of an agent stays: %s: %s", type(error).__name__, error)

    async def _allow_parallel_calls(self, agent_id: str, made: AgentSettings) -> None:
        """Otherwise of several calls at once all but the first are told to us, and then dropped in silence.

        Where a provider's models cannot be told so, the agent is as good as it can be. Raises nothing.
        """
        before = made.model_settings or {}
        if "parallel_tool_calls" not in before:
            return
        # A setting that is left out goes back to a default of Letta's: all that are there are sent.
        settings: Any = {**before, "parallel_tool_calls": True}
        try:
            with letta_errors():
                await self._letta.agents.with_raw_response.update(agent_id, model_settings=settings)
        except errors.UpstreamError as error:
            logger.warning("an agent calls one tool at a time: %s: %s", type(error).__name__, error)

    async def apply_template(self, agent: Agent, template: Template, tools_before: Iterable[str]) -> None:
        dropped = set(tools_before) - set(template.tools)
        body = await self._body(agent.id)
        kept = [tool for tool in body.tools if tool.name not in dropped]
        new = [name for name in template.tools if name not in {tool.name for tool in kept}]
        with letta_errors():
            response = await self._letta.agents.with_raw_response.update(
                agent.id,
                model=template.model,
                system=template.system or LEFT_OUT,
                tool_ids=[tool.id for tool in kept] + [await self._tool_id(name) for name in new],
                metadata={**(agent.metadata or {}), **template.metadata},
            )
        await self._allow_parallel_calls(agent.id, _decoded(response, AgentSettings))

    async def delete_agent(self, agent: Agent) -> None:
        body = await self._body(agent.id)
        with letta_errors():
            await self._letta.agents.with_raw_response.delete(agent.id)
            # Letta leaves the blocks of a deleted agent behind.
            for block in body.blocks:
                await self._letta.blocks.with_raw_response.delete(block.id)

    async def sees(self, agent_id: str) -> bool:
        # It passes pictures on, whatever the model is.
        return True

    async def tool_names(self, agent_id: str, tools: Iterable[str]) -> frozenset[str]:
        return frozenset(tool.name for tool in (await self._body(agent_id)).tools if tool.name)

    async def _body(self, agent_id: str) -> AgentBody:
        with letta_errors():
            response = await self._letta.agents.with_raw_response.retrieve(
                agent_id, include=["agent.blocks", "agent.tools"]
            )
        return _decoded(response, AgentBody)

    async def find_conversations(self, agent_id: str | None, summary: str) -> list[Conversation]:
        found: list[Conversation] = []
        while True:
            page = await self._find_page(agent_id, summary, found[-1].id if found else "")
            found += page
            if len(page) < PAGE_ROWS:
                return found

    async def _find_page(self, agent_id: str | None, summary: str, after: str) -> list[Conversation]:
        listed = await self._call(lambda calls: calls.find(agent_id, summary, after, PAGE_ROWS))
        return decode_answer(listed, list[Conversation])

    async def has_conversations(self, agent_id: str) -> bool:
        with letta_errors():
            response = await self._letta.conversations.with_raw_response.list(agent_id=agent_id, limit=1)
        return bool(_decoded(response, list[Conversation]))

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        # Only a run takes what was said before.
        made = await self._call(lambda calls: calls.create(agent_id, summary))
        return decode_answer(made, Conversation)

    async def read_conversation(self, agent_id: str, conversation: Conversation) -> Past:
        return to_past(await self._list_messages(conversation.id))

    async def read_exchanges(self, agent_id: str, conversation: Conversation) -> list[Exchange]:
        # The runs first: of one that ends meanwhile the end is not told, rather than that of what was not read.
        runs = await self._list_runs(conversation.id)
        return to_exchanges(await self._list_messages(conversation.id), {run.id: run.stop for run in runs})

    async def _list_messages(self, conversation_id: str) -> list[ListedMessage]:
        listed: list[ListedMessage] = []
        while True:
            with letta_errors():
                response = await self._letta.conversations.messages.with_raw_response.list(
                    conversation_id, order="asc", limit=FULL_PAGE, after=listed[-1].id if listed else LEFT_OUT
                )
            page = _decoded(response, list[ListedMessage])
            listed += page
            if len(page) < FULL_PAGE:
                return listed

    async def _list_runs(self, conversation_id: str) -> list[RunState]:
        runs: list[RunState] = []
        while True:
            with letta_errors():
                response = await self._letta.runs.with_raw_response.list(
                    conversation_id=conversation_id,
                    order="asc",
                    limit=FULL_PAGE,
                    after=runs[-1].id if runs else LEFT_OUT,
                )
            page = _decoded(response, list[RunState])
            runs += page
            if len(page) < FULL_PAGE:
                return runs

    async def rename_conversation(self, conversation_id: str, summary: str, hidden: bool) -> None:
        await self._call(lambda calls: calls.rename(conversation_id, summary))

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None:
        with letta_errors():
            await self._letta.conversations.with_raw_response.delete(conversation_id)

    async def recompile(self, conversation_id: str) -> str:
        with letta_errors():
            response = await self._letta.conversations.with_raw_response.recompile(conversation_id)
        return _decoded(response, str)

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        altered = sending.options != NO_OPTIONS
        if altered or conversation_id in self._altered:
            await self._alter(agent_id, conversation_id, sending.options)
        try:
            await self._call(lambda calls: calls.stream(conversation_id, to_body(sending), RunReading(take)))
        finally:
            if altered:
                await undisturbed(self._reset(conversation_id))

    async def _alter(self, agent_id: str, conversation_id: str, options: Options) -> None:
        """Have the conversation's model called otherwise; all that its agent has set is set again, or would be lost."""
        if options == NO_OPTIONS:
            return await self._reset(conversation_id)
        with letta_errors():
            response = await self._letta.agents.with_raw_response.retrieve(agent_id)
            agent = _decoded(response, AgentSettings)
            settings: Any = with_options(agent.model_settings or {}, options)
            self._altered.add(conversation_id)
            await self._letta.conversations.with_raw_response.update(
                conversation_id, model=agent.model or LEFT_OUT, model_settings=settings
            )

    async def _reset(self, conversation_id: str) -> None:
        """Have the agent's own settings hold again; if that fails, before the next run. Raises nothing."""
        try:
            with letta_errors():
                await self._letta.conversations.with_raw_response.update(conversation_id, model="")
            self._altered.discard(conversation_id)
        except errors.UpstreamError as error:
            logger.warning("a conversation's settings could not be reset: %s: %s", type(error).__name__, error)

    async def is_running(self, conversation_id: str) -> bool:
        return await self._run_under_way(conversation_id) is not None

    async def _run_under_way(self, conversation_id: str) -> RunState | None:
        with letta_errors():
            response = await self._letta.runs.with_raw_response.list(
                conversation_id=conversation_id, active=True, limit=1
            )
        return next(iter(_decoded(response, list[RunState])), None)

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        try:
            with letta_errors():
                await self._once.conversations.with_raw_response.cancel(conversation_id)
        except (errors.Busy, errors.NotFound):
            return  # "No active runs to cancel", or the conversation was deleted while it ran: nothing is left to end

    async def check_health(self) -> None:
        with letta_errors():
            await self._once.with_raw_response.health()

    async def list_models(self) -> list[str]:
        with letta_errors():
            response = await self._letta.models.with_raw_response.list()
        return [model.handle for model in _decoded(response, list[ModelHandle]) if model.handle]

    async def unknown_tools(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if await self._find_tool(name) is None]

    async def check_agent(self, agent_id: str) -> None:
        with letta_errors():
            await self._letta.agents.with_raw_response.retrieve(agent_id)

    async def _tool_id(self, name: str) -> str:
        found = await self._find_tool(name)
        if found is None:
            raise errors.Refused(f"no tool is called {name}")
        return found.id

    async def _find_tool(self, name: str) -> NamedObject | None:
        with letta_errors():
            response = await self._letta.tools.with_raw_response.list(names=[name], limit=PAGE_ROWS)
        return next((tool for tool in _decoded(response, list[NamedObject]) if tool.name == name), None)

    async def aclose(self) -> None:
        if self._direct:
            await self._direct.aclose()
        await self._clients.aclose()


def _decoded(response: Any, kind: type[T]) -> T:
    """The body of a letta-client raw response, as one of our Structs. Raises Refused."""
    return decode_answer(response.http_response.content, kind)
