"""The writer of logs: copies the logs of runs to Redis, a stream each, for those who follow them in another process.

It writes behind: a run appends to its log and knows nothing of it. What comes within BEHIND_SECONDS goes in one script,
all runs together. What cannot be written is dropped, not kept: that log is broken, and nobody can follow it any more.
"""

import asyncio
import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gateway.domain.event_bytes import events_to_bytes, failure_to_bytes
from gateway.domain.events import Event
from gateway.shared.asking import Script
from gateway.shared.redis_link import RedisLink
from gateway.turns.runs.log import RunLog

logger = logging.getLogger(__name__)
BEHIND_SECONDS = 0.05
# So many events are written at once, sooner than that: some 16 KiB of pieces of a text.
WRITE_EVENTS = 1000
# The longest entry of a stream, but for an event that is longer alone.
ENTRY_BYTES = 16 * 1024
# A log of more bytes than this is followed nowhere else.
LONGEST_LOG = 4 * 1024 * 1024
# A stream that gets nothing for so long is forgotten; one whose run says nothing is kept alive.
STREAM_MS = 600_000
KEEP_ALIVE_SECONDS = 120.0
# A stream that nobody will ask for again is kept for those who follow it.
LAST_MS = 10_000

# Rows of all runs in one argument, which takes least time: of each the lengths of three texts and two numbers, then the
# texts: the run, the events, and the end. The numbers are that of the first event, and the milliseconds for which the
# stream is kept. https://redis.io/docs/latest/develop/programmability/lua-api/#struct-library
_ROW = struct.Struct(">5I")
_WRITE = Script.of("""
local rows, at = ARGV[1], 1
while at <= #rows do
  local run, events, ending, first, keep
  run, events, ending, first, keep, at = struct.unpack('>I4I4I4I4I4', rows, at)
  local stream = KEYS[1] .. string.sub(rows, at, at + run - 1)
  at = at + run
  if events > 0 then
    redis.call('XADD', stream, '*', 'n', string.format('%d', first), 'e', string.sub(rows, at, at + events - 1))
  end
  at = at + events
  if ending > 0 then redis.call('XADD', stream, '*', 'f', string.sub(rows, at, at + ending - 1)) end
  at = at + ending
  if keep > 0 then redis.call('PEXPIRE', stream, string.format('%d', keep)) end
end
return 1
""")
WELL_ENDED = b"."
HEAD = "h"
"""The field of the first entry of a log that has a head."""


class _Copied:
    """A log that is copied, and how far."""

    __slots__ = ("events", "is_broken", "keep_ms", "log", "number", "size", "told_at", "when_broken")

    def __init__(self, log: RunLog, when_broken: Callable[[], None]) -> None:
        self.log = log
        self.when_broken = when_broken
        self.events: list[Event] = []
        """The events that are to be written."""
        self.number = 0
        """The number of the last event that was written."""
        self.size = 0
        """The bytes that were written."""
        self.keep_ms: int | None = None
        """The time for which the stream is kept after the end; None before the end."""
        self.told_at = asyncio.get_running_loop().time()
        """The moment from which its time to live counts."""
        self.is_broken = False


class LogWriter:
    """Writes the logs of this process."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._copied: dict[str, _Copied] = {}
        """Run id → its log, until all of it was written."""
        self._news: dict[str, _Copied] = {}
        """Those of them that have something to write."""
        self._count = 0
        """So many events are to be written."""
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[Any] | None = None
        link.when_back(self._break_all)
        link.at_pulse(self._keep_alive)

    def stream_of(self, run_id: str) -> str:
        """The name of a run's stream in Redis."""
        return self._link.key("log", run_id)

    def copy(self, run_id: str, log: RunLog, when_broken: Callable[[], None]) -> None:
        """Copy a log from its begin to its end; `when_broken` is called should that not be possible."""
        copied = self._copied[run_id] = _Copied(log, when_broken)
        if log.head:
            copied.size += len(log.head)
            self._link.begin("XADD", self.stream_of(run_id), "*", HEAD, log.head)
            self._link.begin("PEXPIRE", self.stream_of(run_id), STREAM_MS)

        # With every event: nothing is looked at here.
        def hear(events: Sequence[Event]) -> None:
            copied.events += events
            self._count += len(events)
            self._news[run_id] = copied
            if self._timer is None or self._count > WRITE_EVENTS:
                self._come()

        log.watch = hear

    def close(self, run_id: str, keep_seconds: float) -> None:
        """The run has ended: its stream is kept for so long."""
        if copied := self._copied.get(run_id):
            copied.keep_ms = max(int(keep_seconds * 1000), LAST_MS)
            self._news[run_id] = copied
            # One with a head is asked for by its id, maybe at once.
            self._come(hurry=bool(copied.log.head))

    def _come(self, hurry: bool = False) -> None:
        """There is something to write: soon, or now if it is much or there is a hurry."""
        if (hurry or self._count > WRITE_EVENTS) and not self._writing:
            if self._timer:
                self._timer.cancel()
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BEHIND_SECONDS, self._write)

    def _write(self) -> None:
        """Write what there is; not before all of the last time was taken."""
        if self._writing:
            self._timer = asyncio.get_running_loop().call_later(BEHIND_SECONDS, self._write)
            return
        self._timer, self._count = None, 0
        news, self._news = self._news, {}
        rows: list[bytes] = []
        long: list[tuple[str, _Copied]] = []
        for run_id, copied in news.items():
            if self._link.is_away:
                self._break(run_id, copied)
                continue
            rows += self._rows(run_id, copied)
            if copied.size > LONGEST_LOG:
                long.append((run_id, copied))
            elif copied.keep_ms is not None:
                self._copied.pop(run_id, None)
        if rows:
            writing = self._link.run(_WRITE, [self.stream_of("")], b"".join(rows))
            self._writing = asyncio.ensure_future(writing)
            self._writing.add_done_callback(partial(self._written, news))
        for run_id, copied in long:
            # What is written now goes with it.
            self._break(run_id, copied)

    def _written(self, news: dict[str, _Copied], writing: "asyncio.Future[Any]") -> None:
        self._writing = None
        if writing.cancelled() or writing.exception():
            for run_id, copied in news.items():
                self._break(run_id, copied)

    def _rows(self, run_id: str, copied: _Copied) -> Iterator[bytes]:
        """The rows to write of a log: what is new, and the time for which its stream is kept."""
        log, run = copied.log, run_id.encode()
        keep = STREAM_MS if copied.number == 0 else 0
        events, copied.events = copied.events, []
        for count, data in _encoded(events):
            copied.size += len(data)
            yield _ROW.pack(len(run), len(data), 0, copied.number + 1, keep) + run + data
            copied.number, keep = copied.number + count, 0
        end = (failure_to_bytes(log.failure) if log.failure else WELL_ENDED) if log.ended else b""
        if end or copied.keep_ms is not None:
            yield _ROW.pack(len(run), 0, len(end), 0, copied.keep_ms or keep) + run + end

    def _break(self, run_id: str, copied: _Copied) -> None:
        """Nobody can follow it any more: what is missing would never be known."""
        if copied.is_broken:
            return
        copied.is_broken = True
        copied.log.watch = None
        copied.events = []
        self._copied.pop(run_id, None)
        self._link.begin("DEL", self.stream_of(run_id))
        copied.when_broken()

    def _break_all(self) -> None:
        """Redis was away, or has forgotten what was written."""
        for run_id, copied in list(self._copied.items()):
            self._break(run_id, copied)

    def _keep_alive(self) -> None:
        now = asyncio.get_running_loop().time()
        for run_id, copied in self._copied.items():
            if now - copied.told_at > KEEP_ALIVE_SECONDS:
                copied.told_at = now
                self._link.begin("PEXPIRE", self.stream_of(run_id), STREAM_MS)

    async def aclose(self) -> None:
        """Write what is not written yet."""
        while self._timer or self._writing:
            if self._timer and not self._writing:
                self._timer.cancel()
                self._write()
            if self._writing:
                await asyncio.wait([self._writing])
                await asyncio.sleep(0)


def head_in(entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> bytes:
    """The head of a log, by the first entries of its stream; empty if it has none."""
    return next((told.get(HEAD.encode(), b"") for _, told in entries), b"")


def _encoded(events: list[Event]) -> Iterator[tuple[int, bytes]]:
    """The events, encoded in portions of ENTRY_BYTES at most, or of one; and the number of each."""
    if not events:
        return
    data = events_to_bytes(events)
    if len(data) <= ENTRY_BYTES or len(events) == 1:
        yield len(events), data
        return
    half = len(events) // 2
    yield from _encoded(events[:half])
    yield from _encoded(events[half:])
