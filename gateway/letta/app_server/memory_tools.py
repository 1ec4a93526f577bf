"""Carries out the agents' calls of the gateway's memory tools, through the App Server's memory commands."""

import asyncio
import logging
from contextlib import suppress

from gateway.domain import errors
from gateway.letta.app_server import memory
from gateway.letta.app_server.connection import AppServerConnection
from gateway.letta.app_server.frames import File, ServerAnswer, ToolRequest
from gateway.shared.lines import Lines, Place

logger = logging.getLogger(__name__)
# How long to wait before a locked memory is written to again, each time.
LOCKED_SECONDS = (0.1, 0.3, 1.0)
# How long a call waits for others that write the same memory.
WRITING_SECONDS = 60.0


class MemoryTools:
    """Answers `external_tool_call_request`s; each in a task of its own, those of one agent one after the other."""

    def __init__(self, connection: AppServerConnection, lines: Lines) -> None:
        self._connection = connection
        # The App Server cannot write two files of one memory at once, whoever writes them.
        self._lines = lines
        self._calls: set[asyncio.Task[None]] = set()

    def answer(self, request: ToolRequest) -> None:
        call = asyncio.create_task(self._answer(request))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _answer(self, call: ToolRequest) -> None:
        try:
            text, failed = await self._carry_out(call), False
        except memory.Rejected as error:
            text, failed = f"Error: {error}", True
        except errors.UpstreamError as error:
            logger.warning("a memory tool failed: %s: %s", type(error).__name__, error)
            text, failed = "Error: the memory could not be changed. Nothing was remembered.", True
        result = {"content": [{"type": "text", "text": text}], "is_error": failed}
        try:
            await self._connection.tell(
                {"type": "external_tool_call_response", "request_id": call.request_id, "result": result}
            )
        except errors.UpstreamError as error:
            logger.warning("a tool's result could not be told: %s", error)

    async def _carry_out(self, call: ToolRequest) -> str:
        """Carry out a call; gives the words for the agent. Raises memory.Rejected, UpstreamError."""
        if call.tool_name not in memory.MEMORY_TOOL_NAMES or not call.runtime.agent_id:
            raise memory.Rejected(f"There is no tool {call.tool_name} here.")
        path = memory.path_of(call.arguments)
        agent_id = call.runtime.agent_id
        async with self._lines.place(f"memory:{agent_id}", None, WRITING_SECONDS) as place:
            await self._edit(call, agent_id, path, place)
        return "Done: your memory has been changed."

    async def _edit(self, call: ToolRequest, agent_id: str, path: str, place: Place) -> None:
        before = await self._read(agent_id, path)
        content = memory.edit(call.tool_name, call.arguments, before)
        place.check()
        try:
            await self._write(agent_id, path, content)
        except errors.Refused:
            await self._take_back(agent_id, path, content, before)
            raise memory.Rejected(
                "The block could not be changed; your memory may be too long. Nothing was remembered."
            ) from None

    async def _take_back(self, agent_id: str, path: str, refused: str, before: str) -> None:
        """Put a file back: what the App Server refuses stays in it all the same, and would go into the next commit."""
        with suppress(errors.Refused):
            file = await self._connection.request("read_memory_file", File, agent_id=agent_id, path=path)
            # Anything else is another gateway's.
            if file.content == refused:
                await self._write(agent_id, path, before)

    async def _read(self, agent_id: str, path: str) -> str:
        try:
            file = await self._connection.request("read_memory_file", File, agent_id=agent_id, path=path)
            kept = await self._connection.request(
                "memory_file_at_ref", File, agent_id=agent_id, file_path=path, ref="HEAD"
            )
        except (errors.NotFound, errors.Refused):
            raise memory.Rejected("You have no such memory block.") from None
        # Read and write follow links, out of the memory, too. Git does not: a link's content is where it leads.
        if not memory.is_block(kept.content or ""):
            raise memory.Rejected("You have no such memory block.")
        return file.content or ""

    async def _write(self, agent_id: str, path: str, content: str) -> None:
        """Raises Refused; Locked where the last try finds it so, too."""
        for seconds in (*LOCKED_SECONDS, None):
            try:
                await self._connection.request(
                    "write_memory_file", ServerAnswer, agent_id=agent_id, path=path, content=content
                )
                return
            except errors.Locked:
                if seconds is None:
                    raise
                await asyncio.sleep(seconds)

    async def aclose(self) -> None:
        """Returns when the calls under way are answered, or cannot be."""
        if self._calls:
            await asyncio.wait(self._calls)
