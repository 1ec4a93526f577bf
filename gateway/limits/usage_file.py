"""The file of what is spent: one SQLite database in the gateway's state directory. Alone knows sqlite3.

It is written by a thread of its own, in one transaction for all that has come since the last one. Several gateways may
have it open, on one machine: each adds to the sums that are there.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from gateway.limits.counters import NOTHING_SPENT, CannotKeep, Payer, Spent
from gateway.limits.periods import day_of, oldest_kept

FILE_NAME = "usage.sqlite3"
# By them the file is known for one of the gateway's, and of this version. The first is "LGus" in ASCII.
# https://www.sqlite.org/pragma.html#pragma_application_id
APPLICATION_ID, VERSION = 0x4C477573, 1
# For so long another gateway's transaction is waited for.
OTHERS_SECONDS = 2.0
MEND = "bring it back from a backup, or move it away to begin anew."
T = TypeVar("T")

_SCHEMA = """
CREATE TABLE spent (
  key TEXT NOT NULL,
  person TEXT NOT NULL,     -- a digest; empty: all who use the key
  period TEXT NOT NULL,     -- 2026-11-30, 2026-11
  answers INTEGER NOT NULL,
  prompt INTEGER NOT NULL,
  completion INTEGER NOT NULL,
  total INTEGER NOT NULL,
  estimated INTEGER NOT NULL,
  PRIMARY KEY (key, person, period)
) WITHOUT ROWID
"""
_COLUMNS = "answers, prompt, completion, total, estimated"
# https://www.sqlite.org/lang_upsert.html
_ADD = f"""
INSERT INTO spent (key, person, period, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, person, period) DO UPDATE SET
  answers = answers + excluded.answers,
  prompt = prompt + excluded.prompt,
  completion = completion + excluded.completion,
  total = total + excluded.total,
  estimated = estimated + excluded.estimated
RETURNING {_COLUMNS}
"""
_READ = f"SELECT {_COLUMNS} FROM spent WHERE key = ? AND person = ? AND period = ?"
_LIST = f"SELECT key, person, {_COLUMNS} FROM spent WHERE period = ? ORDER BY key, person"
_DAYS = f"SELECT period, {_COLUMNS} FROM spent WHERE key = ? AND person = ? AND period GLOB ? ORDER BY period"
_FORGET = "DELETE FROM spent WHERE (length(period) = 10 AND period < ?) OR (length(period) = 7 AND period < ?)"


@contextmanager
def _failing(path: Path, connection: sqlite3.Connection | None = None) -> Iterator[None]:
    """A failure within is told as CannotKeep; a transaction that was begun is taken back."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if connection and connection.in_transaction:
            connection.rollback()
        # What is no matter of the system's is the file's: https://docs.python.org/3/library/sqlite3.html#exceptions
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        reason = getattr(error, "strerror", None) or str(error)
        words = f"is damaged ({reason}): {MEND}" if damaged else f"cannot be used: {reason}"
        raise CannotKeep(f"{path} {words}") from error


class UsageFile:
    """The open file; each of its methods may wait for the disk. Raises CannotKeep, everywhere."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        """Open it, and make it if it is not there; one that is only read (`writes`) must be there."""
        self._path = path
        self._forgotten = ""
        """The day on which old rows were forgotten last."""
        with _failing(path):
            if writes:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'rw' if writes else 'ro'}",
                timeout=OTHERS_SECONDS,
                isolation_level=None,
                uri=True,
            )
        try:
            with _failing(path, self._connection):
                self._prepare(writes)
        except CannotKeep:
            self._connection.close()
            raise

    def _prepare(self, writes: bool) -> None:
        """Check that it is a whole file of this version; one that is new gets its table."""
        ask = self._connection.execute
        if writes:
            ask("BEGIN IMMEDIATE")
            if self._pragma("application_id") == 0 and not ask("SELECT 1 FROM sqlite_master").fetchone():
                ask(f"PRAGMA application_id = {APPLICATION_ID}")
                ask(f"PRAGMA user_version = {VERSION}")
                ask(_SCHEMA)
            ask("COMMIT")
        version = self._pragma("user_version")
        if self._pragma("application_id") != APPLICATION_ID:
            raise CannotKeep(f"{self._path} is no file of the gateway's: move it away.")
        if version != VERSION:
            raise CannotKeep(
                f"{self._path} is of another version of the gateway ({version}, and this one has {VERSION}): "
                "start that one, or move the file away to begin anew."
            )
        if (found := ask("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise CannotKeep(f"{self._path} is damaged ({found}): {MEND}")
        if writes:
            # Who writes keeps nobody from reading, and waits for the disk at a checkpoint only: a machine that loses
            # its power loses what was written after that, and no more. https://www.sqlite.org/wal.html
            ask("PRAGMA journal_mode = WAL")
            ask("PRAGMA synchronous = NORMAL")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def read(self, row: tuple[Payer, str]) -> Spent:
        payer, period = row
        with _failing(self._path, self._connection):
            found = self._connection.execute(_READ, (payer.key, payer.person, period)).fetchone()
        return Spent(*found) if found else NOTHING_SPENT

    def add(self, rows: Mapping[tuple[Payer, str], Spent], now: datetime) -> dict[tuple[Payer, str], Spent]:
        """Add to the rows that there are; gives their sums. Once a day rows are forgotten that are old."""
        sums = {}
        with _failing(self._path, self._connection):
            self._connection.execute("BEGIN IMMEDIATE")
            for (payer, period), spent in rows.items():
                values = (spent.answers, spent.prompt, spent.completion, spent.total, spent.estimated)
                found = self._connection.execute(_ADD, (payer.key, payer.person, period, *values)).fetchall()
                sums[payer, period] = Spent(*found[0])
            if self._forgotten != day_of(now):
                self._connection.execute(_FORGET, oldest_kept(now))
            self._connection.execute("COMMIT")
        self._forgotten = day_of(now)
        return sums

    def payers(self, period: str) -> list[tuple[Payer, Spent]]:
        """All who have spent something in a period, the whole of each key before its users."""
        with _failing(self._path, self._connection):
            return [(Payer(row[0], row[1]), Spent(*row[2:])) for row in self._connection.execute(_LIST, (period,))]

    def days(self, payer: Payer, month: str) -> list[tuple[str, Spent]]:
        """The days of a month (`2026-11`) on which a payer has spent something."""
        with _failing(self._path, self._connection):
            rows = self._connection.execute(_DAYS, (payer.key, payer.person, f"{month}-??"))
            return [(row[0], Spent(*row[1:])) for row in rows]

    def close(self) -> None:
        with _failing(self._path, self._connection):
            self._connection.close()


class UsageBook:
    """The file, in a thread of its own; carries out `own_counters.Book`."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE_NAME
        self._thread = ThreadPoolExecutor(1, "usage")
        self._file: UsageFile | None = None

    async def open(self) -> None:
        self._file = await self._do(lambda: UsageFile(self._path))

    async def read(self, row: tuple[Payer, str]) -> Spent:
        file = self._opened
        return await self._do(lambda: file.read(row))

    async def add(self, rows: Mapping[tuple[Payer, str], Spent]) -> dict[tuple[Payer, str], Spent]:
        file = self._opened
        return await self._do(lambda: file.add(rows, datetime.now(UTC)))

    async def aclose(self) -> None:
        if self._file:
            await self._do(self._file.close)
        self._thread.shutdown()

    @property
    def _opened(self) -> UsageFile:
        if self._file is None:
            raise CannotKeep(f"{self._path} is not open")
        return self._file

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
