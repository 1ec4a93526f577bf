"""A book in memory, which may fail, and whose disk may take its time."""

import asyncio
from collections.abc import Mapping

from gateway.limits.counters import NOTHING_SPENT, CannotKeep, Row, Spent


class MemoryBook:
    """Carries out `own_counters.Book`."""

    def __init__(self) -> None:
        self.rows: dict[Row, Spent] = {}
        self.full = False
        """True: nothing can be written."""
        self.broken = False
        """True: nothing can be read."""
        self.writes = 0
        self.reads = 0
        self.closed = False
        self.goes_on = asyncio.Event()
        """Not set: the disk takes its time."""
        self.goes_on.set()

    async def open(self) -> None: ...

    async def read(self, row: Row) -> Spent:
        self.reads += 1
        await self.goes_on.wait()
        if self.broken:
            raise CannotKeep("usage.sqlite3 cannot be used: disk I/O error")
        return self.rows.get(row, NOTHING_SPENT)

    async def add(self, rows: Mapping[Row, Spent]) -> dict[Row, Spent]:
        self.writes += 1
        await self.goes_on.wait()
        if self.full:
            raise CannotKeep("usage.sqlite3 cannot be used: database or disk is full")
        for row, spent in rows.items():
            self.rows[row] = self.rows.get(row, NOTHING_SPENT).plus(spent)
        return {row: self.rows[row] for row in rows}

    async def aclose(self) -> None:
        self.closed = True
