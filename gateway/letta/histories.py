"""Puts what was said before into a conversation of an App Server that nobody has begun."""

import logging
from datetime import UTC, datetime

import msgspec

from gateway.letta import errors
from gateway.letta.answers import Answer, File, Messages
from gateway.letta.frames import DeviceUpdate
from gateway.letta.link import Link
from gateway.letta.transcript import backend_of, folder_of, is_known_format, with_history
from gateway.letta.upstream import Conversation, Message

logger = logging.getLogger(__name__)


class Histories:
    """Writes the files of fresh conversations, where it knows their format; else leaves them without turns."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._backend: str | None = None

    def learn(self, data: bytes) -> None:
        """Take from an `update_device_status` where the App Server keeps its files."""
        status = msgspec.json.decode(data, type=DeviceUpdate).device_status
        self._backend = backend_of(status.memory_directory) or self._backend

    async def put(self, agent_id: str, conversation: Conversation, history: list[Message]) -> Conversation:
        """The conversation, with turns if they could be put there. Raises UpstreamError."""
        if not history:
            return conversation
        backend = self._backend or await self._ask_backend(agent_id)
        if backend is None or not await self._write(f"{folder_of(backend, conversation.id)}", history):
            logger.warning("a chat's past is told in words: the App Server keeps conversations in an unknown format")
            return conversation
        await self._verify(conversation.id)
        return msgspec.structs.replace(conversation, has_turns=True)

    async def _ask_backend(self, agent_id: str) -> str | None:
        """The start of any of the agent's runtimes is answered after the status of the device."""
        await self._link.request(
            "runtime_start",
            Answer,
            agent_id=agent_id,
            conversation_id="default",
            skill_sources=[],
            recover_approvals=False,
            force_device_status=True,
            wait_for_replay=True,
        )
        return self._backend

    async def _write(self, folder: str, history: list[Message]) -> bool:
        """Whether the files are of the known format, and were written."""
        try:
            manifest = await self._link.request("read_file", File, path=f"{folder}/manifest.json")
            if not is_known_format(manifest.content or ""):
                return False
            before = await self._link.request("read_file", File, path=f"{folder}/conversation.json")
        except (errors.NotFound, errors.Refused):
            return False
        try:
            conversation, messages = with_history(before.content or "", history, datetime.now(UTC))
        except (msgspec.DecodeError, KeyError, TypeError):
            return False
        # The messages first: a conversation that names none is whole as well.
        await self._link.request("write_file", Answer, path=f"{folder}/messages.jsonl", content=messages)
        await self._link.request("write_file", Answer, path=f"{folder}/conversation.json", content=conversation)
        return True

    async def _verify(self, conversation_id: str) -> None:
        """Raises Refused unless the App Server reads what was written."""
        query = {"order": "desc", "limit": 1}
        listing = await self._link.request(
            "conversation_messages_list", Messages, conversation_id=conversation_id, query=query
        )
        if not listing.messages:
            raise errors.Refused("a conversation's past was written and not found again")
