"""A run of an upstream that a test follows, and does other things meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager

from gateway.domain.events import Event
from gateway.letta.upstream import Sending, Upstream


@asynccontextmanager
async def following(
    upstream: Upstream, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str] = ()
) -> AsyncIterator[AsyncGenerator[list[Event], None]]:
    """Yields what the run says, batch by batch, which raises what the run does; on leaving, the run is cancelled."""
    batches: asyncio.Queue[list[Event] | None] = asyncio.Queue()
    running = asyncio.create_task(upstream.run(agent_id, conversation_id, sending, tools, batches.put_nowait))
    running.add_done_callback(lambda _: batches.put_nowait(None))
    try:
        yield _read(batches, running)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _read(
    batches: asyncio.Queue[list[Event] | None], running: asyncio.Task[None]
) -> AsyncGenerator[list[Event], None]:
    while (batch := await batches.get()) is not None:
        yield batch
    await running
