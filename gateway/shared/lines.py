"""Lines: who wants the same thing at the same time waits in one, in order, and one at a time has it.

The thing is named by a string: a chat, an agent that is being made, the memory of an agent. `OwnLines` are those of one
process; `redis_lines.py` has those of several.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol
from weakref import WeakValueDictionary

from gateway.domain.errors import QueueFull

Wanted = Callable[[], None]
"""Called when somebody else begins to wait for what one has; it raises nothing, and may be called again."""


class Place(Protocol):
    """The first place of a line, while one has it."""

    @property
    def is_shared(self) -> bool:
        """True: all gateways know of it. False: only this process does."""
        ...

    @property
    def is_agreed(self) -> bool:
        """True: all gateways that there may be know of it now, and none acts as if it were alone."""
        ...

    @property
    def is_unbroken(self) -> bool:
        """True: nobody else has had the place since this process had it last."""
        ...

    @property
    def word(self) -> str:
        """The word that whoever had the place last has left for the next; empty if there is none."""
        ...

    def leave_word(self, word: str) -> None:
        """Leave a word for the next: `leave_word("agent-1")`. It is kept for an hour at most."""
        ...

    def check(self) -> None:
        """Return if the place is still one's own. Raises Overtaken."""
        ...


class Lines(Protocol):
    """The lines of a gateway, or of all that share a Redis."""

    def place(
        self, name: str, most: int | None, seconds: float, wanted: Wanted | None = None
    ) -> AbstractAsyncContextManager[Place]:
        """Wait for the first place of a line; one has it while entered.

        Raises QueueFull where more than `most` wait already, or if it takes longer than so many seconds: with 0 and 0
        nobody waits.
        """
        ...

    async def aclose(self) -> None:
        """Return once all places that were left are free for others."""
        ...


class OwnPlace:
    """A place of which only this process knows."""

    is_shared = False
    is_agreed = False
    is_unbroken = True
    word = ""

    def leave_word(self, word: str) -> None:
        """Leave nothing: the next is this process, which knows."""

    def check(self) -> None:
        """Return: nobody can have taken it."""


OWN_PLACE: Place = OwnPlace()


class _Line:
    """One line: the lock that the first of it holds, and those who wait for that."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.wanted: Wanted | None = None


class OwnLines:
    """The lines of one process."""

    def __init__(self) -> None:
        self._lines: WeakValueDictionary[str, _Line] = WeakValueDictionary()

    @asynccontextmanager
    async def place(
        self, name: str, most: int | None, seconds: float, wanted: Wanted | None = None
    ) -> AsyncGenerator[Place]:
        line = self._lines.setdefault(name, _Line())
        if line.lock.locked():
            if most is not None and line.waiting >= most:
                raise QueueFull("too many turns wait in this chat")
            if line.wanted:
                line.wanted()
        line.waiting += 1
        try:
            async with asyncio.timeout(seconds if line.lock.locked() else None):
                await line.lock.acquire()
        except TimeoutError:
            raise QueueFull("the turns before this one took too long") from None
        finally:
            line.waiting -= 1
        line.wanted = wanted
        try:
            yield OWN_PLACE
        finally:
            line.wanted = None
            line.lock.release()

    async def aclose(self) -> None:
        """Return: they are free at once."""
