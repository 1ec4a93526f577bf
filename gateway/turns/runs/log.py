"""The log of a run: its events, numbered, for any number of readers who follow it from any number.

Who owns what: the run appends, and says how it ends; each reader has a place of its own. Events that every reader has
had are folded: the pieces of one text become one, so that a run costs little more memory than its text. The numbers of
the pieces stay: whoever follows from one within a text gets the rest of that.
"""

import asyncio
from array import array
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

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

# So many batches are folded at once.
FOLD_BATCHES = 64
# An event that is no piece of a text counts for so many characters beside its own texts.
EVENT_WEIGHT = 500


class _Batch(Struct):
    """The events that came at once."""

    first: int
    """The number of the first of them."""
    end: int
    """The number that follows them."""
    events: list[Event]


class _Folded:
    """One event, or the pieces of one text as one: their texts, and how long each was."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._texts: list[str] = []
        self._lengths = array("L")

    def takes(self, event: Event) -> bool:
        """True: the event is a further piece of the same text."""
        mine = self._event
        return isinstance(event, Text | Thought) and type(event) is type(mine) and event.step == mine.step

    def add(self, pieces: list[str]) -> None:
        self._texts.append("".join(pieces))
        self._lengths.extend(map(len, pieces))

    @property
    def count(self) -> int:
        """How many events it was."""
        return len(self._lengths) or 1

    @property
    def weight(self) -> int:
        return sum(map(len, self._texts)) if self._lengths else _weight(self._event)

    def between(self, start: int, end: int) -> Event:
        """The event without its first `start` pieces, and without those from `end` on."""
        if not isinstance(self._event, Text | Thought):
            return self._event
        text = "".join(self._texts)
        return msgspec.structs.replace(self._event, text=text[sum(self._lengths[:start]) : sum(self._lengths[:end])])


class RunLog:
    """A run's events, then an end or a failure. `unread` is called when the last reader has left.

    Signs of life are told to those who read just then; they have no number, and are not kept.
    """

    def __init__(self, unread: Callable[[], None]) -> None:
        self.failure: Exception | None = None
        self.ended = False
        self.count = 0
        """How many events it has; the next one has this number."""
        self._read = 0
        """Every event below this number was had by some reader."""
        self._folded: list[_Folded] = []
        self._tail: deque[_Batch] = deque()
        self._dropped = 0
        """How many batches were folded."""
        self._unread = unread
        self._readers: set[Reader] = set()
        self._kept = False

    def follow(self, after: int = 0) -> "Reader":
        """A reader of all events but the first `after`."""
        reader = Reader(self, after)
        self._readers.add(reader)
        return reader

    def append(self, events: list[Event]) -> None:
        first = self.count
        for event in events:
            self.count += not isinstance(event, SignOfLife)
        self._tail.append(_Batch(first, self.count, events))
        if not self._readers and len(self._tail) >= FOLD_BATCHES:
            self._fold(len(self._tail))
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
            self._fold_what_is_kept()
            self._unread()

    @property
    def is_read(self) -> bool:
        """True: some reader has had every event."""
        return self._read == self.count

    def answer(self, whole: bool) -> str:
        """The text of the answer; unless it is `whole`, what its readers have had, or will have, of it."""
        end = self.count if whole or self._readers else self._read
        return "".join(event.text for event in self._between(0, end) if isinstance(event, Text))

    def keep(self) -> None:
        """For readers who come after the end, what was told is kept in few events, once nobody reads any more."""
        self._kept = True
        self.failure = self.failure and _bare(self.failure)
        self._fold_what_is_kept()

    def raise_failure(self) -> None:
        """Raise what the run failed with, if it did."""
        if self.failure:
            raise _bare(self.failure) if self._kept else self.failure

    @property
    def weight(self) -> int:
        """How many characters it holds, more or less."""
        tail = (event for batch in self._tail for event in batch.events)
        return sum(one.weight for one in self._folded) + sum(map(_weight, tail))

    def batch_at(self, place: int) -> _Batch | None:
        """The batch at a place, counted from the run's begin; None if it has not come."""
        at = place - self._dropped
        return self._tail[at] if at < len(self._tail) else None

    def begin(self, after: int) -> tuple[list[Event], int, int]:
        """The folded events from a number on; the number and the place that follow them."""
        end = self._tail[0].first if self._tail else self.count
        return list(self._between(after, end)), end, self._dropped

    def was_read(self, number: int, place: int) -> None:
        """A reader has had all events below `number`."""
        self._read = max(self._read, number)
        if place - self._dropped >= FOLD_BATCHES:
            self._fold(min(reader.place for reader in self._readers) - self._dropped if self._readers else 0)

    def _between(self, start: int, end: int) -> Iterator[Event]:
        """The events from one number to before another; signs of life are left out."""
        number = 0
        for one in self._folded:
            if number < end and start < number + one.count:
                yield one.between(max(0, start - number), min(one.count, end - number))
            number += one.count
        for event in (event for batch in self._tail for event in batch.events if not isinstance(event, SignOfLife)):
            if start <= number < end:
                yield event
            number += 1

    def _fold_what_is_kept(self) -> None:
        if self._kept and not self._readers:
            self._fold(len(self._tail))

    def _fold(self, batches: int) -> None:
        """Put the first batches together."""
        pieces: list[str] = []
        for _ in range(batches):
            self._dropped += 1
            for event in self._tail.popleft().events:
                if isinstance(event, SignOfLife):
                    continue
                if not (self._folded and self._folded[-1].takes(event)):
                    self._end_text(pieces)
                    self._folded.append(_Folded(event))
                if isinstance(event, Text | Thought):
                    pieces.append(event.text)
        self._end_text(pieces)

    def _end_text(self, pieces: list[str]) -> None:
        if pieces:
            self._folded[-1].add(pieces)
            pieces.clear()

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()


class Reader:
    """Reads a run: calls `next` until it gives None or raises, and `leave` at last, or before."""

    def __init__(self, log: RunLog, after: int = 0) -> None:
        self.joined = False
        """True: another request had begun the run."""
        self._log = log
        self._after = after
        self._first, self._begun, self.place = log.begin(after)
        """`place`: how many batches of the run it has had."""
        self._woken: asyncio.Future[None] | None = None

    async def next(self) -> list[Event] | None:
        """The events that were told since the last call, None at the end. Raises what the run failed with."""
        if self._first:
            first, self._first = self._first, []
            self._log.was_read(self._begun, self.place)
            return first
        log = self._log
        while (batch := log.batch_at(self.place)) is None:
            log.raise_failure()
            if log.ended:
                return None
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        self.place += 1
        log.was_read(batch.end, self.place)
        if batch.first >= self._after:
            return batch.events
        return _without(batch.events, self._after - batch.first)

    def wake(self) -> None:
        if self._woken and not self._woken.done():
            self._woken.set_result(None)

    def leave(self) -> None:
        """Read no more. Returns at once; called again, it does nothing."""
        self._log.leave(self)


def _without(events: list[Event], count: int) -> list[Event]:
    """The events but the first so many that have a number."""
    numbered: list[Event] = [event for event in events if not isinstance(event, SignOfLife)]
    return numbered[count:]


def _no_matter() -> None: ...


def _bare(error: Exception) -> Exception:
    """The error as it is kept: one of Letta's has no traceback."""
    return error.bare() if isinstance(error, UpstreamError) else error


def _weight(event: Event) -> int:
    """Of pieces of a text only that text counts: they become one."""
    match event:
        case Text(text) | Thought(text):
            return len(text)
        case ToolCalled(call) | CallWaits(call) | CallRefused(call):
            return EVENT_WEIGHT + len(call.arguments)
        case ToolReturned(text=text) | Remark(text):
            return EVENT_WEIGHT + len(text)
        case _:
            return EVENT_WEIGHT
