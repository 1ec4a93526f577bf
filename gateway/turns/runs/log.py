"""What a run says, told to any number of readers, each from the beginning."""

import asyncio
import copy
from collections.abc import Callable
from itertools import groupby

import msgspec

from gateway.domain.errors import UpstreamError
from gateway.domain.events import (
    CallRefused,
    CallWaits,
    Event,
    Remark,
    SignOfLife,
    Text,
    Thought,
    ToolCalled,
    ToolReturned,
)


class Telling:
    """Batches of events, then an end or a failure. `unread` is called when the last reader has left."""

    def __init__(self, unread: Callable[[], None]) -> None:
        self.batches: list[list[Event]] = []
        self.failure: Exception | None = None
        self.ended = False
        self.read = 0
        """How many batches some reader has taken."""
        self._unread = unread
        self._readers: set[Reader] = set()
        self._kept = False

    def follow(self) -> "Reader":
        reader = Reader(self)
        self._readers.add(reader)
        return reader

    def tell(self, events: list[Event]) -> None:
        self.batches.append(events)
        self._wake()

    def fail(self, error: Exception) -> None:
        """End with a failure; what fails later changes nothing."""
        if not self.failure and not self.ended:
            self.failure = error
            self._wake()

    def end(self) -> None:
        self.ended = True
        # The run, with all that it was asked, goes before the last of its readers does.
        self._unread = _no_matter
        self._wake()

    def leave(self, reader: "Reader") -> None:
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        if not self._readers:
            self._fold()
            self._unread()

    @property
    def is_read(self) -> bool:
        """Whether some reader has taken all that was told."""
        return self.read == len(self.batches)

    def answer(self, whole: bool) -> str:
        """The text of the answer; unless it is `whole`, what its readers have had, or will have, of it."""
        batches = self.batches if whole or self._readers else self.batches[: self.read]
        return "".join(event.text for batch in batches for event in batch if isinstance(event, Text))

    def keep(self) -> None:
        """For readers who come after the end, what was told is kept in few events, once nobody reads any more."""
        self._kept = True
        self.failure = self.failure and _bare(self.failure)
        self._fold()

    def raise_failure(self) -> None:
        """Raises what the run failed with, if it did."""
        if self.failure:
            raise _bare(self.failure) if self._kept else self.failure

    @property
    def weight(self) -> int:
        """How many characters are kept, more or less."""
        return sum(_weight(event) for batch in self.batches for event in batch)

    def _fold(self) -> None:
        if self._kept and not self._readers:
            events = [event for batch in self.batches for event in batch if not isinstance(event, SignOfLife)]
            self.batches = [[_joined(list(pieces)) for _, pieces in groupby(events, _piece_of)]]

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()


class Reader:
    """Reads a run: calls `next` until it gives None or raises, and `leave` at last, or before."""

    def __init__(self, telling: Telling) -> None:
        self.joined = False
        """True: another request had begun the run."""
        self._telling = telling
        self._read = 0
        self._woken: asyncio.Future[None] | None = None

    async def next(self) -> list[Event] | None:
        """What was told since the last call, None at the end. Raises what the run failed with."""
        telling = self._telling
        while self._read == len(telling.batches):
            telling.raise_failure()
            if telling.ended:
                return None
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        self._read += 1
        telling.read = max(telling.read, self._read)
        return telling.batches[self._read - 1]

    def wake(self) -> None:
        if self._woken and not self._woken.done():
            self._woken.set_result(None)

    def leave(self) -> None:
        """Read no more. Returns at once; called again, it does nothing."""
        self._telling.leave(self)


def _no_matter() -> None: ...


def _bare(error: Exception) -> Exception:
    """An error of Letta's without its traceback, which holds all that its run was asked."""
    return copy.copy(error) if isinstance(error, UpstreamError) else error


def _weight(event: Event) -> int:
    """Of pieces of a text only that text counts: they become one."""
    match event:
        case Text(text) | Thought(text):
            return len(text)
        case ToolCalled(call) | CallWaits(call) | CallRefused(call):
            return 500 + len(call.arguments)
        case ToolReturned(text=text) | Remark(text):
            return 500 + len(text)
        case _:
            return 500


def _piece_of(event: Event) -> object:
    """What pieces of one text have in common; anything else stands alone."""
    return (type(event), event.step) if isinstance(event, Text | Thought) else id(event)


def _joined(pieces: list[Event]) -> Event:
    first = pieces[0]
    if len(pieces) == 1 or not isinstance(first, Text | Thought):
        return first
    return msgspec.structs.replace(first, text="".join(one.text for one in pieces if isinstance(one, type(first))))
