"""Turns of one chat wait for each other, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from gateway.domain.errors import QueueFull


class _Line:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class Lines:
    """At most `length` wait in each line, each for at most `seconds`."""

    def __init__(self, length: int, seconds: float) -> None:
        self._length = length
        self._seconds = seconds
        self._lines: WeakValueDictionary[str, _Line] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Held for a turn. Raises QueueFull."""
        line = self._lines.setdefault(name, _Line())
        if line.lock.locked() and line.waiting >= self._length:
            raise QueueFull("too many turns wait in this chat")
        line.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await line.lock.acquire()
        except TimeoutError:
            raise QueueFull("the turns before this one took too long") from None
        finally:
            line.waiting -= 1
        try:
            yield
        finally:
            line.lock.release()
