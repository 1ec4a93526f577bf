"""A Letta of the gateway's own: an App Server as a child process, with a model's provider, or the offline model."""

import asyncio
import logging
import re
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import msgspec

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.letta.app_server.connection import AppServerConnection
from gateway.letta.app_server.frames import ProvidersListed, ServerAnswer
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.embedded.directory import state_of
from gateway.letta.embedded.models import models_mod
from gateway.letta.embedded.process import AppServerProcess
from gateway.letta.embedded.state import MEMORY_AUTHOR, AgentFiles, garbled_conversations
from gateway.letta.upstream import Agent, Conversation, Fork, Sending, Take, Template
from gateway.settings import Provider, Settings

logger = logging.getLogger(__name__)
OfflineModel = Callable[[], AbstractAsyncContextManager[str]]
# Bytes of the disk that a turn must not begin without.
RESERVE = 1_000_000
# What may be the name of a directory, and no way to another.
AGENT_ID = re.compile(r"agent-[A-Za-z0-9-]+")


class EmbeddedUpstream(AppServerUpstream):
    """An `Upstream` that brings its Letta along: `process`, or one for the state directory of the settings.

    `offline_model` serves the offline model while it is entered, and yields its address, `http://127.0.0.1:40123`. It
    is entered where the settings name no provider.
    """

    # Its state directory is locked: no other gateway speaks to its App Server.
    capabilities = msgspec.structs.replace(AppServerUpstream.capabilities, owned=True)

    def __init__(
        self, settings: Settings, offline_model: OfflineModel, process: AppServerProcess | None = None
    ) -> None:
        self._provider = settings.provider
        models = _models_mod(settings.provider)
        self.process = process or AppServerProcess(state_of(settings.letta.state), models)
        self._files = AgentFiles(self.process.backend)
        self._offline_model = offline_model
        self._beside = AsyncExitStack()
        self._started = False
        super().__init__(settings.letta, self.process.address, settings.chats.tool_wait_seconds, self._set_up)

    async def begin(self) -> None:
        """Start the process; `start` waits until it answers. Raises CannotStart, Unreachable."""
        await self.process.begin()

    async def start(self) -> None:
        """Start the process, and the offline model if it is needed. Raises CannotStart, Unreachable."""
        if self._started:
            return
        self._started = True
        # Before anything else: nothing takes as long as its start.
        await self.begin()
        if self._provider is None:
            url = await self._beside.enter_async_context(self._offline_model())
            self._provider = Provider(id="openai-compatible", base_url=f"{url}/v1")
        for problem in await asyncio.to_thread(lambda: [*self._garbled(with_messages=False)]):
            logger.warning("%s", problem)
        await self.process.start()

    def tell_address(self, address: str) -> None:
        """Tell gateways that are started beside this one where it serves."""
        self.process.tell_address(address)

    async def find_garbled(self) -> list[str]:
        """List the App Server's files that cannot be read, each with what to do about it."""
        return await asyncio.to_thread(lambda: [*self._garbled(with_messages=True)])

    def _garbled(self, with_messages: bool) -> Iterator[str]:
        for file in self._files.read():
            if not file.whole:
                yield (
                    f"the file of {_whose(file.names)} is damaged: {file.path}. Whose it is gets an error until it is "
                    "replaced by a copy of it, or deleted; then they are given a new agent, without this one's memory."
                )
        for path in garbled_conversations(self.process.backend, with_messages):
            yield (
                f"a file of a conversation is damaged: {path}. The chat fails, or begins afresh, until the file is "
                f"replaced by a copy of it; deleting {path.parent} gives the chat up."
            )

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        self._check_room(sum(message.weight for message in sending.messages))
        await super().run(agent_id, conversation_id, sending, tools, take)

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        self._check_room(sum(message.weight for message in path))
        return await super().create_conversation(agent_id, summary, path, fork)

    async def recompile(self, conversation_id: str) -> str:
        self._check_room()
        return await super().recompile(conversation_id)

    def _check_room(self, weight: int = 0) -> None:
        """Raises NoSpace before the App Server hears of it: on a full disk it empties the files that it changes."""
        if shutil.disk_usage(self.process.backend.parent).free < RESERVE + 4 * weight:
            raise errors.NoSpace("there is hardly any room in the state directory", taken=False)

    async def create_agent(self, template: Template) -> Agent:
        """Make an agent, unless the App Server has a file of it that it cannot read. Raises Garbled, NoSpace."""
        self._check_room()
        kept = [file for file in await asyncio.to_thread(self._files.read) if file.is_of(template)]
        if not kept:
            return await super().create_agent(template)
        if not all(file.whole for file in kept):
            raise errors.Garbled("an agent's file is damaged")
        # It was damaged when the App Server read it, and is not any more.
        if self.turns_under_way:
            raise errors.Garbled("an agent's file was mended, and is read as soon as no turn is under way")
        logger.warning("An agent's file was mended: the App Server starts again to read it")
        await self.process.restart()
        if agents := await self._find_anew(template):
            return agents[0]
        raise errors.Garbled("an agent's file was mended, and is not read")

    async def _find_anew(self, template: Template) -> list[Agent]:
        try:
            return await self._find_of(template)
        except errors.BrokenStream:
            # That was the connection to the one that has ended.
            return await self._find_of(template)

    async def _find_of(self, template: Template) -> list[Agent]:
        return [agent for each in template.known_as for agent in await self.find_agents(each.tags)]

    async def _set_up(self, connection: AppServerConnection) -> None:
        """Connect the provider, and it alone: one of an earlier start may be gone."""
        assert self._provider
        known = await connection.request("list_connect_providers", ProvidersListed, target="local")
        for id in [provider.id for provider in known.providers if provider.connected.is_connected]:
            if id != self._provider.id:
                await connection.request("disconnect_provider", ServerAnswer, target="local", provider_id=id)
        await _connect(connection, self._provider)

    async def delete_agent(self, agent: Agent) -> None:
        """Delete an agent with the repository of its memory, which an App Server leaves where it is."""
        await super().delete_agent(agent)
        if AGENT_ID.fullmatch(agent.id):
            repository = self.process.memories / agent.id
            await asyncio.to_thread(shutil.rmtree, repository, ignore_errors=True)

    async def aclose(self) -> None:
        await super().aclose()
        await self.process.aclose()
        await self._beside.aclose()


async def _connect(connection: AppServerConnection, provider: Provider) -> None:
    key = provider.api_key.reveal() if provider.api_key else None
    # One that asks for no key is not connected without any.
    key = key or ("none" if provider.id == "openai-compatible" else None)
    fields = {name: value for name, value in (("baseUrl", provider.base_url), ("apiKey", key)) if value}
    await connection.request("connect_provider", ServerAnswer, target="local", provider_id=provider.id, fields=fields)


def _whose(names: frozenset[str]) -> str:
    named = " or ".join(f"`{name}`" for name in sorted(names) if name != MEMORY_AUTHOR)
    return f"the agent {named}" if named else "an agent of which nobody can tell whose it is"


def _models_mod(provider: Provider | None) -> bytes | None:
    """The mod for the models of an `openai-compatible` provider, the offline model's among them; None for another."""
    if provider and provider.id != "openai-compatible":
        return None
    return models_mod(provider.vision if provider else None)


def of_gateway(state: Path, url: str) -> Callable[[], Awaitable[tuple[str, str]]]:
    """The address, `url`, and the token of the App Server that another gateway has in this state directory."""

    async def address() -> tuple[str, str]:
        try:
            return url, (state / "token").read_text(encoding="ascii")
        except OSError as error:
            raise errors.Unreachable(f"its token cannot be read: {error.strerror}") from error

    return address
