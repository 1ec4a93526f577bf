"""The counters of a gateway that runs alone: in memory, and what is spent in a file behind it.

Who owns what: the file has what was written, `_unwritten` what was not yet, and `_known` both together, for those who
were asked about last. Nobody waits for the disk but who is asked about for the first time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from gateway.domain.cache import Cache
from gateway.limits.counters import NOTHING_SPENT, CannotKeep, Payer, Rate, Row, Spent
from gateway.limits.rates import MINUTE, take

logger = logging.getLogger(__name__)
# The counters of requests that are kept, each less than 200 bytes: those that are idle go first.
MOST_RATES = 50_000
# The sums that are kept in memory, each less than 500 bytes: two for each payer.
MOST_SUMS = 20_000
# What was spent is written so long after it: a process that is killed loses no more than this.
WRITE_SECONDS = 1.0
# A disk that does not take it is tried again after so long.
RETRY_SECONDS = 10.0


class Book(Protocol):
    """A place where what is spent is kept for good."""

    async def open(self) -> None:
        """Raises CannotKeep."""
        ...

    async def read(self, row: Row) -> Spent:
        """Raises CannotKeep."""
        ...

    async def add(self, rows: Mapping[Row, Spent]) -> dict[Row, Spent]:
        """Add to what is kept, all of it or nothing; gives the sums, others' parts included. Raises CannotKeep."""
        ...

    async def aclose(self) -> None: ...


class OwnCounters:
    """Counts in this process; without a book nothing outlives it, and of very many payers the last ones are known."""

    are_shared = False

    def __init__(self, book: Book | None = None) -> None:
        self.since = None if book else datetime.now(UTC)
        self._book = book
        self._rates: Cache[str, float] = Cache(MOST_RATES)
        self._under_way: Counter[str] = Counter()
        self._known: Cache[Row, Spent] = Cache(MOST_SUMS)
        self._unwritten: dict[Row, Spent] = {}
        self._has_unwritten = asyncio.Event()
        # While somebody reads or writes the book, what is known does not come to differ from it.
        self._turn = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        self._fails = False
        """True: the book did not take what was written last."""

    async def start(self) -> None:
        """Open the book. Raises CannotKeep."""
        if self._book and self._writing is None:
            await self._book.open()
            self._writing = asyncio.create_task(self._write_behind(self._book))

    def __len__(self) -> int:
        """The number of counters in memory: of requests, of answers under way, and sums."""
        return len(self._rates) + len(self._under_way) + len(self._known) + len(self._unwritten)

    # Requests and answers under way

    async def take(self, name: str, most: int, now: float, count: int = 1, within: float = MINUTE) -> Rate:
        rate, paid_back = take(self._rates.get(name) or 0.0, most, now, count, within)
        if paid_back > now:
            self._rates.put(name, paid_back)
        else:
            self._rates.drop(name)
        for _ in range(2):
            # Each that comes makes room for itself.
            oldest = self._rates.oldest()
            if oldest is None or oldest[1] > now:
                break
            self._rates.drop(oldest[0])
        return rate

    async def enter(self, name: str, most: int) -> bool:
        if self._under_way[name] >= most:
            return False
        self._under_way[name] += 1
        return True

    async def leave(self, name: str) -> None:
        self._under_way[name] -= 1
        if not self._under_way[name]:
            del self._under_way[name]

    async def under_way(self, name: str) -> int:
        return self._under_way[name]

    # What is spent

    async def spend(self, payer: Payer, periods: tuple[str, ...], spent: Spent) -> None:
        for period in periods:
            row = payer, period
            if known := self._known.get(row):
                self._known.put(row, known.plus(spent))
            elif not self._book:
                self._known.put(row, spent)
            if self._book:
                self._unwritten[row] = self._unwritten.get(row, NOTHING_SPENT).plus(spent)
                self._has_unwritten.set()

    async def spent(self, payer: Payer, period: str) -> Spent:
        row = payer, period
        if known := self._known.get(row):
            return known
        if not self._book:
            return NOTHING_SPENT
        async with self._turn:
            try:
                kept = await self._book.read(row)
            except CannotKeep as error:
                # An answer is worth more than a limit that is exact.
                logger.warning("what was spent cannot be read: %s", error)
                return self._unwritten.get(row, NOTHING_SPENT)
        return self._know(row, kept)

    async def sums(self, rows: Sequence[Row]) -> list[Spent]:
        return [await self.spent(*row) for row in rows]

    def _know(self, row: Row, kept: Spent) -> Spent:
        """Know what the book has, and what it has not yet."""
        known = kept.plus(self._unwritten.get(row, NOTHING_SPENT))
        self._known.put(row, known)
        return known

    # The book

    async def _write_behind(self, book: Book) -> None:
        while True:
            await self._has_unwritten.wait()
            await asyncio.sleep(RETRY_SECONDS if self._fails else WRITE_SECONDS)
            await self._write(book)

    async def _write(self, book: Book) -> None:
        """Write all that was not written; where it cannot be, it is kept for the next time."""
        async with self._turn:
            rows, self._unwritten = self._unwritten, {}
            self._has_unwritten.clear()
            try:
                sums = await book.add(rows)
            except CannotKeep as error:
                for row, spent in rows.items():
                    self._unwritten[row] = spent.plus(self._unwritten.get(row, NOTHING_SPENT))
                self._has_unwritten.set()
                if not self._fails:
                    logger.warning("what is spent is kept in memory only, until it can be written: %s", error)
                self._fails = True
                return
            if self._fails:
                logger.warning("what is spent is written again")
            self._fails = False
            for row, kept in sums.items():
                self._know(row, kept)

    async def aclose(self) -> None:
        """Write what was not written, and close the book."""
        if not self._book or not self._writing:
            return
        async with self._turn:
            # Nothing is being written now, of which nobody would know whether it was.
            self._writing.cancel()
        with suppress(asyncio.CancelledError):
            await self._writing
        self._writing = None
        if self._unwritten:
            await self._write(self._book)
        if self._unwritten:
            logger.error("what %d payers have spent is lost, for it could not be written", self._payers_unwritten)
        await self._book.aclose()

    @property
    def _payers_unwritten(self) -> int:
        return len({payer for payer, _ in self._unwritten})
