"""Letta Cloud and V1 servers: the upstream over REST. The only module that knows letta-client.

Where letta-client's habits are left:

1. It resends a POST twice by itself. A message sent twice is stored twice, so nothing that makes something is resent.
2. It gives up reading after 60 s. A run may think for longer; its stream has the limit of three of Letta's pings.
3. It builds a pydantic object per event, at ten times the cost of the rest of its way. Bodies are decoded by msgspec.
4. It holds at most 100 connections; every run needs one.
5. It looks at each part of a body for a tenth of a millisecond and more, on the event loop. What a caller has written
   goes past that, in `extra_body`.
6. aiohttp writes a body of bytes in one go, and warns of those above 1 MB. Large ones, with pictures, go in pieces.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import aiohttp
import httpx
import letta_client.resources  # otherwise imported by its first use, while requests wait
from letta_client import AsyncLetta, DefaultAioHttpClient, omit

from gateway.domain import errors
from gateway.domain.joining import Joiner
from gateway.domain.messages import Message
from gateway.domain.request import NO_OPTIONS, Options
from gateway.letta.error_words import from_status
from gateway.letta.rest.answers import AgentBody, AgentSettings, ModelHandle, NamedObject, decode_answer
from gateway.letta.rest.decoder import EventDecoder
from gateway.letta.rest.input import to_body, to_prompt, with_options
from gateway.letta.rest.listing import ListedMessage, to_past
from gateway.letta.undisturbed import undisturbed
from gateway.letta.upstream import Agent, Capabilities, Conversation, Fork, Past, Sending, Take, Template, making_tag
from gateway.settings import Letta

logger = logging.getLogger(__name__)
T = TypeVar("T")
CONNECT_SECONDS = 5.0
# Servers of Letta's make close idle connections after 5 s; a request sent into that moment would be lost.
KEEPALIVE_SECONDS = 4.0
DEAD_AFTER_PINGS = 3
PAGE_ROWS = 50
MESSAGES_PAGE = 1000
BODY_PIECE = 256 * 1024


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), BODY_PIECE):
            yield bytes(self._body[start : start + BODY_PIECE])


class _HttpClient(DefaultAioHttpClient):
    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        if len(request.content) > BODY_PIECE:
            request = httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                stream=_Pieces(request.content),
                extensions=request.extensions,
            )
        return await super().send(request, **how)


class RestUpstream:
    """An `Upstream` over Letta's REST API: https://docs.letta.com/api/python"""

    # It does not fork, for its own fork copies everything:
    # https://docs.letta.com/api/python/resources/conversations/methods/fork
    capabilities = Capabilities(applies=frozenset(Options.__struct_fields__), keeps_runs=True)

    def __init__(self, settings: Letta, http_client: httpx.AsyncClient | None = None) -> None:
        limits = httpx.Limits(max_connections=settings.max_connections, keepalive_expiry=KEEPALIVE_SECONDS)
        self._http = http_client or _HttpClient(limits=limits, follow_redirects=True)
        self._letta = AsyncLetta(
            base_url=settings.address.rstrip("/"),
            # letta-client demands a key, which a server without keys ignores.
            api_key=settings.api_key.reveal() if settings.api_key else "none",
            http_client=self._http,
            timeout=httpx.Timeout(settings.request_seconds, connect=CONNECT_SECONDS),
            max_retries=1,
        )
        self._once = self._letta.with_options(max_retries=0)
        self._altered: set[str] = set()
        """Conversations whose settings are not their agent's."""
        silence = settings.ping_seconds * DEAD_AFTER_PINGS
        self._run_timeout = httpx.Timeout(silence, connect=CONNECT_SECONDS, pool=settings.request_seconds)

    async def start(self) -> None:
        """Do nothing: connections are made as they are needed."""

    async def find_agents(self, tags: Iterable[str], after: str = "") -> list[Agent]:
        page: Any = {"order": "asc", "limit": PAGE_ROWS, "after": after or omit, "include": ["agent.tags"]}
        with _letta_errors():
            response = await self._letta.agents.with_raw_response.list(tags=list(tags), match_all_tags=True, **page)
        return _decoded(response, list[Agent])

    async def create_agent(self, template: Template) -> Agent:
        making = making_tag()
        blocks: Any = [{"label": label, "value": text, "tags": [making]} for label, text in template.blocks.items()]
        try:
            with _letta_errors():
                response = await self._once.agents.with_raw_response.create(
                    name=template.name,
                    model=template.model,
                    embedding=template.embedding or omit,
                    system=template.system or omit,
                    tags=list(template.tags),
                    tools=list(template.tools) or omit,
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
            with _letta_errors():
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
            with _letta_errors():
                await self._letta.agents.with_raw_response.update(agent_id, model_settings=settings)
        except errors.UpstreamError as error:
            logger.warning("an agent calls one tool at a time: %s: %s", type(error).__name__, error)

    async def apply_template(self, agent: Agent, template: Template, tools_before: Iterable[str]) -> None:
        dropped = set(tools_before) - set(template.tools)
        body = await self._body(agent.id)
        kept = [tool for tool in body.tools if tool.name not in dropped]
        new = [name for name in template.tools if name not in {tool.name for tool in kept}]
        with _letta_errors():
            response = await self._letta.agents.with_raw_response.update(
                agent.id,
                model=template.model,
                system=template.system or omit,
                tool_ids=[tool.id for tool in kept] + [await self._tool_id(name) for name in new],
                metadata={**(agent.metadata or {}), **template.metadata},
            )
        await self._allow_parallel_calls(agent.id, _decoded(response, AgentSettings))

    async def delete_agent(self, agent: Agent) -> None:
        body = await self._body(agent.id)
        with _letta_errors():
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
        with _letta_errors():
            response = await self._letta.agents.with_raw_response.retrieve(
                agent_id, include=["agent.blocks", "agent.tools"]
            )
        return _decoded(response, AgentBody)

    async def find_conversations(self, agent_id: str | None, summary: str) -> list[Conversation]:
        found: list[Conversation] = []
        while True:
            with _letta_errors():
                response = await self._letta.conversations.with_raw_response.list(
                    agent_id=agent_id or omit,
                    summary_search=summary,
                    order="asc",
                    limit=PAGE_ROWS,
                    after=found[-1].id if found else omit,
                )
            page = _decoded(response, list[Conversation])
            found += page
            if len(page) < PAGE_ROWS:
                return found

    async def has_conversations(self, agent_id: str) -> bool:
        with _letta_errors():
            response = await self._letta.conversations.with_raw_response.list(agent_id=agent_id, limit=1)
        return bool(_decoded(response, list[Conversation]))

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        # Only a run takes what was said before.
        with _letta_errors():
            response = await self._once.conversations.with_raw_response.create(agent_id=agent_id, summary=summary)
        return _decoded(response, Conversation)

    async def read_conversation(self, agent_id: str, conversation: Conversation) -> Past:
        listed: list[ListedMessage] = []
        while True:
            with _letta_errors():
                response = await self._letta.conversations.messages.with_raw_response.list(
                    conversation.id, order="asc", limit=MESSAGES_PAGE, after=listed[-1].id if listed else omit
                )
            page = _decoded(response, list[ListedMessage])
            listed += page
            if len(page) < MESSAGES_PAGE:
                return to_past(listed)

    async def rename_conversation(self, conversation_id: str, summary: str, hidden: bool) -> None:
        with _letta_errors():
            await self._letta.conversations.with_raw_response.update(conversation_id, summary=summary)

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None:
        with _letta_errors():
            await self._letta.conversations.with_raw_response.delete(conversation_id)

    async def recompile(self, conversation_id: str) -> str:
        with _letta_errors():
            response = await self._letta.conversations.with_raw_response.recompile(conversation_id)
        return _decoded(response, str)

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        altered = sending.options != NO_OPTIONS
        if altered or conversation_id in self._altered:
            await self._alter(agent_id, conversation_id, sending.options)
        try:
            await self._stream(conversation_id, sending, take)
        finally:
            if altered:
                await undisturbed(self._reset(conversation_id))

    async def _alter(self, agent_id: str, conversation_id: str, options: Options) -> None:
        """Have the conversation's model called otherwise; all that its agent has set is set again, or would be lost."""
        if options == NO_OPTIONS:
            return await self._reset(conversation_id)
        with _letta_errors():
            response = await self._letta.agents.with_raw_response.retrieve(agent_id)
            agent = _decoded(response, AgentSettings)
            settings: Any = with_options(agent.model_settings or {}, options)
            self._altered.add(conversation_id)
            await self._letta.conversations.with_raw_response.update(
                conversation_id, model=agent.model or omit, model_settings=settings
            )

    async def _reset(self, conversation_id: str) -> None:
        """Have the agent's own settings hold again; if that fails, before the next run. Raises nothing."""
        try:
            with _letta_errors():
                await self._letta.conversations.with_raw_response.update(conversation_id, model="")
            self._altered.discard(conversation_id)
        except errors.UpstreamError as error:
            logger.warning("a conversation's settings could not be reset: %s: %s", type(error).__name__, error)

    async def _stream(self, conversation_id: str, sending: Sending, take: Take) -> None:
        with _letta_errors(sending=True):
            # include_pings: the first ping names the run before the model has said anything.
            async with self._once.conversations.messages.with_streaming_response.create(
                conversation_id,
                override_system=to_prompt(sending.instructions) or omit,
                streaming=True,
                stream_tokens=True,
                include_pings=True,
                extra_headers={"Accept": "text/event-stream", "Accept-Encoding": "identity"},
                extra_body=to_body(sending),
                timeout=self._run_timeout,
            ) as response:
                await _read(response.http_response, take)

    async def is_running(self, conversation_id: str) -> bool:
        with _letta_errors():
            response = await self._letta.runs.with_raw_response.list(
                conversation_id=conversation_id, active=True, limit=1
            )
        return bool(_decoded(response, list[NamedObject]))

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        try:
            with _letta_errors():
                await self._once.conversations.with_raw_response.cancel(conversation_id)
        except (errors.Busy, errors.NotFound):
            return  # "No active runs to cancel", or the conversation was deleted while it ran: nothing is left to end

    async def check_health(self) -> None:
        with _letta_errors():
            await self._once.with_raw_response.health()

    async def list_models(self) -> list[str]:
        with _letta_errors():
            response = await self._letta.models.with_raw_response.list()
        return [model.handle for model in _decoded(response, list[ModelHandle]) if model.handle]

    async def unknown_tools(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if await self._find_tool(name) is None]

    async def check_agent(self, agent_id: str) -> None:
        with _letta_errors():
            await self._letta.agents.with_raw_response.retrieve(agent_id)

    async def _tool_id(self, name: str) -> str:
        found = await self._find_tool(name)
        if found is None:
            raise errors.Refused(f"no tool is called {name}")
        return found.id

    async def _find_tool(self, name: str) -> NamedObject | None:
        with _letta_errors():
            response = await self._letta.tools.with_raw_response.list(names=[name], limit=PAGE_ROWS)
        return next((tool for tool in _decoded(response, list[NamedObject]) if tool.name == name), None)

    async def aclose(self) -> None:
        await self._http.aclose()


async def _read(response: httpx.Response, take: Take) -> None:
    """Have the events of a stream taken, those of one read in one list. Raises BrokenStream."""
    decoder, joiner = EventDecoder(), Joiner()
    # Not `aiter_bytes`: nothing is compressed, and each of its layers costs every event.
    async for data in cast(httpx.AsyncByteStream, response.stream):
        events = decoder.feed(data)
        if decoder.halved:
            events = joiner.join(events)
        if events:
            take(events)
        if decoder.broken:
            break
    if rest := joiner.end():
        take(rest)
    if decoder.broken:
        raise decoder.broken
    decoder.feed_eof()


def _decoded(response: Any, kind: type[T]) -> T:
    """The body of a letta-client raw response, as one of our Structs. Raises Refused."""
    return decode_answer(response.http_response.content, kind)


# Of a connection that was not made; what fails later may have reached Letta.
NEVER_STOOD = (httpx.ConnectError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@contextmanager
def _letta_errors(sending: bool = False) -> Iterator[None]:
    """Turn what letta-client and its transport raise into UpstreamError.

    `sending`: a message is on its way, so that what breaks after the connection stood may have reached Letta.
    """
    try:
        yield
    except letta_client.APIStatusError as error:
        raise from_status(error.status_code, sending) from error
    except (letta_client.APIConnectionError, httpx.TransportError) as error:
        raise _from_transport(error, sending) from error


def _from_transport(error: Exception, sending: bool) -> errors.UpstreamError:
    cause = error.__cause__ if isinstance(error, letta_client.APIConnectionError) else error
    name = type(cause).__name__
    if isinstance(cause, httpx.ReadTimeout):
        return errors.TimedOut(name, taken=sending)
    # The transport says ConnectTimeout of every connection that fails; its own cause tells when.
    if isinstance(cause, httpx.ConnectTimeout) and cause.__cause__:
        cause = cause.__cause__
        name = type(cause).__name__
    never_stood = isinstance(cause, NEVER_STOOD)
    return errors.BrokenStream(name) if sending and not never_stood else errors.Unreachable(name)
