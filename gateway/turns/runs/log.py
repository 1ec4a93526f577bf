"""The log of a run: its events, numbered, for any number of readers who follow it from any number.

Who owns what: the run appends, and says how it ends; each reader has a place of its own. A reader that keeps up is told
of events in the call that appends them, and takes them as they are. What is kept of them is little more than their
text: the pieces of one text are joined, and keep where each of them began, so that whoever follows from a number
within a text gets exactly the rest of it.

Signs of life and empty texts have no number, and are not told: nothing is shown of them.
"""

import asyncio
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from gateway.domain.errors import UpstreamError
from gateway.domain.events import (
    CallRefused,
    CallWaits,
    Event,
    Remark,
    SignOfLife,
    Stop,
    Text,
    Thought,
    ToolCalled,
    ToolReturned,
)
from gateway.turns.runs.account import Account

# So many pieces of a text are put together at once.
JOINED_PIECES = 64
# So many characters a reader that comes late, or is slow, takes at once at most, but for a piece that is longer alone.
TAKEN_AT_ONCE = 256 * 1024
# An event that is no piece of a text counts for so many characters beside its own texts.
EVENT_WEIGHT = 500


class Told(Struct, frozen=True):
    """Events as a reader takes them: `Told([Text("Hel"), Text("lo")], range(3, 5))`, or joined, `Told([…], [4])`.

    Their numbers go up, and do not depend on how they are taken: an event has the number that the run gave it, and
    joined pieces that of the last of them. What a wire numbers in its own way, it makes of these.
    """

    events: list[Event]
    numbers: Sequence[int]
    """The number of each event; whoever follows after it gets what comes next. The first event of a run has 1."""


NOTHING_NEW = Told([], ())


class _JoinedText:
    """The pieces of one text of a run, of which each has taken a number."""

    __slots__ = ("_begins", "_blocks", "_kind", "_length", "_step", "_tail")

    def __init__(self, first: Text | Thought) -> None:
        self._kind, self._step = type(first), first.step
        self._blocks: list[str] = []
        """Each of JOINED_PIECES pieces."""
        self._tail = [first.text]
        """The pieces after those."""
        self._begins = array("I", [0])
        """The character with which each piece begins: four bytes a piece."""
        self._length = len(first.text)

    def add(self, piece: Text | Thought) -> bool:
        """Add a further piece of this text; False if it is none."""
        if type(piece) is not self._kind or piece.step != self._step:
            return False
        self._begins.append(self._length)
        self._length += len(piece.text)
        self._tail.append(piece.text)
        if len(self._tail) == JOINED_PIECES:
            self._blocks.append("".join(self._tail))
            self._tail.clear()
        return True

    @property
    def weight(self) -> int:
        return self._length

    def characters(self, start: int, end: int) -> int:
        """The number of characters of the pieces from `start` to before `end`."""
        ends = self._begins[end] if end < len(self._begins) else self._length
        return ends - self._begins[start]

    def end_within(self, start: int, end: int, characters: int) -> int:
        """The end of those pieces from `start`, up to `end`, that have so many characters together; one at least."""
        most = self._begins[start] + characters
        if most >= self._length:
            return end
        return min(end, max(bisect_right(self._begins, most) - 1, start + 1))

    def between(self, start: int, end: int) -> Event:
        """One event of the pieces from `start` to before `end`, at the cost of these and of two blocks."""
        block = start // JOINED_PIECES
        blocks = self._blocks[block : -(-end // JOINED_PIECES)]
        if end > len(self._blocks) * JOINED_PIECES:
            blocks.extend(self._tail)
        skipped = self._begins[start] - self._begins[block * JOINED_PIECES]
        joined = "".join(blocks)[skipped : skipped + self.characters(start, end)]
        return self._kind(joined, self._step, end - start)


class RunLog:
    """A run's events, then an end or a failure. `unread` is called when the last reader has left."""

    def __init__(self, unread: Callable[[], None], head: bytes = b"") -> None:
        self.head = head
        """The words of a wire about the run, for those who did not ask for it; nobody here reads them."""
        self.failure: Exception | None = None
        self.ended = False
        self.count = 0
        """How many events it has: the number of the last one."""
        self._kept: list[_JoinedText | Event] = []
        self._begins = array("I")
        """How many events come before each one in `_kept`."""
        self._last = NOTHING_NEW
        """The events that came last, as they came: all at once, or some that nobody has had."""
        self._read = 0
        """The number of the last event that some reader has had."""
        self._stop = 0
        """The number of the event with which the answer ends; 0 until it comes. What follows it, not all wait for."""
        self._unread = unread
        self._readers: set[Reader] = set()
        self._is_kept = False
        self.watch: Callable[[Sequence[Event]], None] | None = None
        """Called with the events that have just come, and without any at the end: whoever copies the log sets it."""

    def follow(self, after: int = 0) -> "Reader":
        """A reader of all events but the first `after`."""
        reader = Reader(self, after)
        self._readers.add(reader)
        return reader

    def append(self, events: list[Event]) -> None:
        """Keep events, and tell the readers of them at once; no reader raises."""
        before, numbered = self.count, events
        for event in events:
            if isinstance(event, Text | Thought) and event.text:
                self._join(event)
            elif is_silent(event):
                numbered = []
                continue
            else:
                self._keep(event)
            self.count += 1
        if self.count == before:
            return
        # Almost always the list that came is the one that is told.
        numbered = numbered or [event for event in events if not is_silent(event)]
        if self.watch:
            self.watch(numbered)
        first = before + 1
        if self._read < before and len(self._last.events) < JOINED_PIECES:
            # Nobody has had those before yet: who comes in a moment takes them as they were.
            numbered = [*self._last.events, *numbered]
            first = self.count + 1 - len(numbered)
        self._last = Told(numbered, range(first, self.count + 1))
        self._tell()

    def _join(self, piece: Text | Thought) -> None:
        last = self._kept[-1] if self._kept else None
        if not (type(last) is _JoinedText and last.add(piece)):
            self._keep(_JoinedText(piece))

    def _keep(self, kept: "_JoinedText | Event") -> None:
        self._kept.append(kept)
        self._begins.append(self.count)
        if type(kept) is Stop:
            self._stop = self.count + 1

    def fail(self, error: Exception) -> None:
        """End with a failure; what fails later changes nothing."""
        if not self.failure and not self.ended:
            self.failure = error
            if self.watch:
                self.watch(())
            self._tell()

    def end(self) -> None:
        self.ended = True
        # The run, with all that it was asked, goes before the last of its readers does.
        self._unread = _no_matter
        if self.watch:
            self.watch(())
            self.watch = None
        self._tell()

    def _tell(self) -> None:
        # A reader may leave as it is told.
        for reader in [*self._readers]:
            reader.tell()

    def leave(self, reader: "Reader") -> None:
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        if not self._readers:
            self._unread()

    @property
    def is_read(self) -> bool:
        """True: some reader has had every event."""
        return self._read == self.count

    @property
    def is_had(self) -> bool:
        """True: some reader has had the answer to its end."""
        return self._read >= self._stop > 0 or (self.ended and self.is_read)

    @property
    def is_missed(self) -> bool:
        """True: nobody reads it, and nobody has had the answer to its end."""
        return not (self._readers or self.is_had)

    def give(self) -> None:
        """Somebody has the answer from a copy of the log."""
        self._read = self.count

    def answer(self, whole: bool) -> str:
        """The text of the answer; unless it is `whole`, what its readers have had, or will have, of it."""
        end = self.count if whole or self._readers else self._read
        return "".join(event.text for event, _ in self.between(0, end) if isinstance(event, Text))

    def since(self, number: int) -> list[Event]:
        """All events after a number, joined."""
        return [event for event, _ in self.between(number, self.count)]

    def keep(self) -> None:
        """Keep it for readers who come after the end: with nothing of the run that has told it."""
        self._is_kept = True
        self.failure = self.failure and _bare(self.failure)
        self._last = NOTHING_NEW

    def raise_failure(self) -> None:
        """Raise what the run failed with, if it did."""
        if self.failure:
            raise _bare(self.failure) if self._is_kept else self.failure

    @property
    def weight(self) -> int:
        """How many characters it holds, more or less."""
        return len(self.head) + sum(one.weight if isinstance(one, _JoinedText) else _weight(one) for one in self._kept)

    def after(self, number: int) -> Told:
        """The events after a number: as they came, for a reader that has had all but the last ones; else joined.

        They are all there are, or the first of very many.
        """
        last = self._last
        if last.numbers and last.numbers[0] == number + 1:
            told = last
        elif number >= self.count:
            return NOTHING_NEW
        else:
            told = Told(*map(list, zip(*self.between(number, self.count, TAKEN_AT_ONCE), strict=True)))
        self._read = max(self._read, told.numbers[-1])
        return told

    def between(self, start: int, end: int, most: int | None = None) -> Iterator[tuple[Event, int]]:
        """The events after one number up to another, joined, each with its number; `most`: the most characters."""
        room = sys.maxsize if most is None else most
        if start >= end:
            return
        for at in range(max(0, bisect_right(self._begins, start) - 1), len(self._kept)):
            begin, one = self._begins[at], self._kept[at]
            if begin >= end or room <= 0:
                return
            next_begin = self._begins[at + 1] if at + 1 < len(self._begins) else self.count
            last = min(next_begin, end)
            if not isinstance(one, _JoinedText):
                yield one, last
                room -= _weight(one)
                continue
            first = max(0, start - begin)
            stop = one.end_within(first, last - begin, room)
            yield one.between(first, stop), begin + stop
            room -= one.characters(first, stop)
            if begin + stop < last:
                return


class Reader:
    """A place in a run's log: `take` gives what has come, until it gives None or raises; `leave` ends it, at any time.

    Who does not wait with `news` is called at every news (`listen`), in the call that brings it, and must raise
    nothing; what it takes then has not waited for the loop.
    """

    def __init__(self, log: RunLog, after: int = 0) -> None:
        self.joined = False
        """True: another request had begun the run."""
        self.account: Account | None = None
        """The account of the run, for the one whose request has begun it; None for any other."""
        self.number = after
        """The number of the last event that it has had."""
        self._log = log
        self._listener: Callable[[], None] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._interrupted = False

    def take(self) -> Told | None:
        """The events since the last time, perhaps none; None after the last. Raises what the run failed with."""
        log = self._log
        told = log.after(self.number)
        if told.events:
            self.number = told.numbers[-1]
            if self.number < log.count and self._listener:
                # There is more than is taken at once.
                self._listener()
            return told
        log.raise_failure()
        return None if log.ended else told

    @property
    def head(self) -> bytes:
        """The head of the run's log."""
        return self._log.head

    @property
    def has_news(self) -> bool:
        """True: there is something to take, nothing follows, or the reader was interrupted."""
        log = self._log
        return log.count > self.number or log.ended or log.failure is not None or self._interrupted

    async def news(self) -> None:
        """Return once there is something to take, or nothing follows."""
        while not self.has_news:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    async def end(self) -> None:
        """Return once the run has told its end; nobody else may wait for its news."""
        while not (self._log.ended or self._log.failure):
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting

    def between(self, start: int, end: int) -> list[Event]:
        """The events after one number up to another, joined; all of them must have come."""
        return [event for event, _ in self._log.between(start, end)]

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called at every news from now on."""
        self._listener = listener

    def tell(self) -> None:
        """There is news."""
        if self._listener:
            self._listener()
        elif self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def interrupt(self) -> None:
        """Have whoever reads look up now: there is something that the run knows nothing of."""
        self._interrupted = True
        self.tell()

    def leave(self) -> None:
        """Read no more. Returns at once; called again, it does nothing."""
        self._listener = None
        self._log.leave(self)


def is_silent(event: Event) -> bool:
    """True: nothing is shown of it."""
    return isinstance(event, SignOfLife) or (isinstance(event, Text | Thought) and not event.text)


def _no_matter() -> None: ...


def _bare(error: Exception) -> Exception:
    """The error as it is kept: one of Letta's has no traceback."""
    return error.bare() if isinstance(error, UpstreamError) else error


def _weight(event: Event) -> int:
    """The weight of an event that is no piece of a text."""
    match event:
        case ToolCalled(call) | CallWaits(call) | CallRefused(call):
            return EVENT_WEIGHT + len(call.arguments)
        case ToolReturned(text=text) | Remark(text):
            return EVENT_WEIGHT + len(text)
        case _:
            return EVENT_WEIGHT
