"""Cleaning up that no cancellation cuts short. Knows asyncio only."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def undisturbed(cleaning: Coroutine[Any, Any, None]) -> None:
    """Run `cleaning` to its end, however often the caller is cancelled meanwhile.

    Then raises what it raised, or CancelledError if the caller was cancelled:
    `await undisturbed(self._reset(conversation_id))`.
    """
    task = asyncio.ensure_future(cleaning)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled:
        raise cancelled
