"""The queues of chats: turns of one chat wait for each other, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from gateway.domain.errors import QueueFull


class _Queue:
    """The queue of one chat: the lock that its turn under way holds, and the number of turns that wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class ChatQueues:
    """A queue for each chat: at most `length` turns wait in it, each for at most `seconds`."""

    def __init__(self, length: int, seconds: float) -> None:
        self._length = length
        self._seconds = seconds
        self._queues: WeakValueDictionary[str, _Queue] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, chat: str) -> AsyncIterator[None]:
        """Wait until a turn of the chat may run; it may, for as long as the slot is held. Raises QueueFull."""
        queue = self._queues.setdefault(chat, _Queue())
        if queue.lock.locked() and queue.waiting >= self._length:
            raise QueueFull("too many turns wait in this chat")
        queue.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await queue.lock.acquire()
        except TimeoutError:
            raise QueueFull("the turns before this one took too long") from None
        finally:
            queue.waiting -= 1
        try:
            yield
        finally:
            queue.lock.release()
