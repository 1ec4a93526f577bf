"""An App Server whose state directory lies on this machine, whoever has started it: its files are looked at, too."""

import asyncio
import logging
import re
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.letta.app_server.connection import Address, AppServerConnection
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.elsewhere.turns_elsewhere import TurnsElsewhere
from gateway.letta.embedded.state import MEMORY_AUTHOR, AgentFiles, garbled_conversations
from gateway.letta.upstream import Agent, Conversation, Fork, Sending, Take, Template
from gateway.settings import Settings
from gateway.shared.lines import Lines

logger = logging.getLogger(__name__)
# Bytes of the disk that a turn must not begin without.
RESERVE = 1_000_000
# What may be the name of a directory, and no way to another.
AGENT_ID = re.compile(r"agent-[A-Za-z0-9-]+")
PLAIN_NAME = re.compile(r"[A-Za-z0-9-]+")


class KeptUpstream(AppServerUpstream):
    """An `Upstream` over an App Server whose agents, conversations and memory are in the folder `backend`.

    `restart` has the App Server read the directory again, and gives False if a turn is under way, which it would end.
    """

    def __init__(
        self,
        settings: Settings,
        backend: Path,
        address: Address,
        restart: Callable[[], Awaitable[bool]],
        set_up: Callable[[AppServerConnection], Awaitable[None]] | None = None,
        lines: Lines | None = None,
        elsewhere: TurnsElsewhere | None = None,
    ) -> None:
        self._backend = backend
        self._files = AgentFiles(self._backend)
        self._restart = restart
        super().__init__(settings.letta, address, settings.chats.tool_wait_seconds, set_up, lines, elsewhere)

    async def find_garbled(self) -> list[str]:
        """List the App Server's files that cannot be read, each with what to do about it."""
        return await asyncio.to_thread(lambda: [*self.garbled(with_messages=True)])

    def garbled(self, with_messages: bool) -> Iterator[str]:
        """The same, read now; to read all messages may take long."""
        for file in self._files.read():
            if not file.whole:
                yield (
                    f"the file of {_whose(file.names)} is damaged: {file.path}. Whose it is gets an error until it is "
                    "replaced by a copy of it, or deleted; then they are given a new agent, without this one's memory."
                )
        for path in garbled_conversations(self._backend, with_messages):
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
        if shutil.disk_usage(self._backend.parent).free < RESERVE + 4 * weight:
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
        if not await self._restart():
            raise errors.Garbled("an agent's file was mended, and is read as soon as no turn is under way")
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

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None:
        """Delete a conversation with the transcript that an App Server writes of it, and leaves where it is."""
        await super().delete_conversation(agent_id, conversation_id)
        if PLAIN_NAME.fullmatch(conversation_id):
            await self._remove_transcripts(agent_id, conversation_id)

    async def delete_agent(self, agent: Agent) -> None:
        """Delete an agent with the repository of its memory and its transcripts, which an App Server leaves."""
        await super().delete_agent(agent)
        await self._remove_transcripts(agent.id)
        if AGENT_ID.fullmatch(agent.id):
            repository = self._backend / "memfs" / agent.id
            await asyncio.to_thread(shutil.rmtree, repository, ignore_errors=True)

    async def _remove_transcripts(self, agent_id: str, conversation_id: str = "") -> None:
        # The App Server's home is its state directory: `getTranscriptRoot` in `letta_code/_payload/app/letta.js`.
        if AGENT_ID.fullmatch(agent_id):
            folder = self._backend.parent / ".letta" / "transcripts" / agent_id / conversation_id
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _whose(names: frozenset[str]) -> str:
    named = " or ".join(f"`{name}`" for name in sorted(names) if name != MEMORY_AUTHOR)
    return f"the agent {named}" if named else "an agent of which nobody can tell whose it is"
