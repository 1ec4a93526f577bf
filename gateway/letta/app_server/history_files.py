"""Puts what was said before into a conversation of an App Server that nobody has begun."""

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.domain.texts.halves import UNREADABLE
from gateway.letta.app_server.connection import AppServerConnection
from gateway.letta.app_server.frames import DeviceUpdate, File, MessagesListed, ServerAnswer
from gateway.letta.app_server.history_format import backend_of, emptied, folder_of, is_known_format, with_history

logger = logging.getLogger(__name__)
# Written where the App Server keeps its files, to see whether it can, and then made small.
PROBE_FILE, PROBE = "letta-gateway-probe", 16_384


class HistoryFiles:
    """Writes the files of fresh conversations, where it knows their format; else leaves them without turns."""

    def __init__(self, connection: AppServerConnection) -> None:
        self._connection = connection
        self._backend: str | None = None
        self._probed = PROBE_FILE

    def learn(self, data: bytes) -> None:
        """Take from an `update_device_status` where the App Server keeps its files."""
        status = msgspec.json.decode(data, type=DeviceUpdate).device_status
        self._backend = backend_of(status.memory_directory) or self._backend

    async def put(self, agent_id: str, conversation_id: str, history: list[Message]) -> bool:
        """Have `history` said in a conversation, after what it begins with; nobody may have had a turn in it.

        Gives False where that cannot be done. Raises UpstreamError.
        """
        written = await self._rewrite(
            agent_id, conversation_id, lambda kept, said: with_history(kept, said, history, datetime.now(UTC))
        )
        if not written:
            logger.warning("a chat's past is told in words: the App Server keeps conversations in an unknown format")
            return False
        await self._verify(conversation_id, history[-1])
        return True

    async def erase(self, agent_id: str, conversation_id: str) -> bool:
        """Take everything out of a conversation; gives False where that cannot be done. Raises UpstreamError."""
        return await self._rewrite(agent_id, conversation_id, lambda kept, _: emptied(kept, datetime.now(UTC)))

    async def check_room(self, agent_id: str) -> None:
        """Return if the App Server can write. Raises NoSpace, and UpstreamError where that cannot be told."""
        backend = self._backend or await self._ask_backend(agent_id)
        if backend is None:
            return
        for name in (self._probed, f"{PROBE_FILE}-{uuid.uuid4().hex[:8]}"):
            self._probed = name
            try:
                for content in ("." * PROBE, "."):
                    await self._connection.request(
                        "write_file", ServerAnswer, path=f"{backend}/{name}", content=content
                    )
                return
            except errors.Refused:
                # A full disk has left it empty, and the App Server writes to no empty file.
                continue
        raise errors.Refused("no file could be written")

    async def _ask_backend(self, agent_id: str) -> str | None:
        """The start of any of the agent's runtimes is answered after the status of the device."""
        await self._connection.request(
            "runtime_start",
            ServerAnswer,
            agent_id=agent_id,
            conversation_id="default",
            skill_sources=[],
            recover_approvals=False,
            force_device_status=True,
            wait_for_replay=True,
        )
        return self._backend

    async def _rewrite(
        self, agent_id: str, conversation_id: str, rewritten: Callable[[str, str], tuple[str, str]]
    ) -> bool:
        """Write a conversation's files anew; gives False, and writes nothing, where their format is unknown."""
        backend = self._backend or await self._ask_backend(agent_id)
        if backend is None:
            return False
        folder = f"{folder_of(backend, conversation_id)}"
        if not is_known_format(await self._read(f"{folder}/manifest.json")):
            return False
        kept, said = await self._read(f"{folder}/conversation.json"), await self._read(f"{folder}/messages.jsonl")
        try:
            conversation, messages = rewritten(kept, said)
        except (*UNREADABLE, KeyError, TypeError):
            return False
        # The messages first: a conversation that names none is whole as well.
        await self._connection.request("write_file", ServerAnswer, path=f"{folder}/messages.jsonl", content=messages)
        await self._connection.request(
            "write_file", ServerAnswer, path=f"{folder}/conversation.json", content=conversation
        )
        return True

    async def _read(self, path: str) -> str:
        """A file's content; empty for one that is not there."""
        try:
            return (await self._connection.request("read_file", File, path=path)).content or ""
        except (errors.NotFound, errors.Refused):
            return ""

    async def _verify(self, conversation_id: str, last: Message) -> None:
        """Raises Refused unless the App Server reads what was written."""
        query = {"order": "desc", "limit": 1}
        listing = await self._connection.request(
            "conversation_messages_list", MessagesListed, conversation_id=conversation_id, query=query
        )
        if not listing.messages or last.content not in listing.messages[0].texts:
            raise errors.Refused("a conversation's past was written and not found again")
