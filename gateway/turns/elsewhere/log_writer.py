"""The writer of logs: copies the logs of runs to Redis, a stream each, for those who follow them in another process.

It writes behind: a run appends to its log and knows nothing of it. What comes within BEHIND_SECONDS goes in one script,
all runs together. What cannot be written is dropped, not kept: that log is broken, and nobody can follow it any more.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gateway.domain.event_bytes import events_to_bytes, failure_to_bytes
from gateway.domain.events import CallRefused, CallWaits, Event, Remark, Text, Thought, ToolCalled, ToolReturned
from gateway.shared.asking import Script
from gateway.shared.redis_link import RedisLink
from gateway.turns.runs.log import RunLog

logger = logging.getLogger(__name__)
BEHIND_SECONDS = 0.05
# So many characters are written at once, sooner than that.
WRITE_CHARACTERS = 16 * 1024
# The most events of one entry of a stream.
ENTRY_EVENTS = 1000
# A log that holds more characters than this is followed nowhere else.
LONGEST_LOG = 4 * 1024 * 1024
# A stream that gets nothing for so long is forgotten; one whose run says nothing is kept alive.
STREAM_MS = 600_000
KEEP_ALIVE_SECONDS = 120.0
# A stream that nobody will ask for again is kept for those who follow it.
LAST_MS = 10_000

# Of each stream: the number of the first event and the events, the end, and the milliseconds for which it is kept.
_WRITE = Script.of("""
for i, stream in ipairs(KEYS) do
  local at = (i - 1) * 4
  if ARGV[at + 2] ~= '' then redis.call('XADD', stream, '*', 'n', ARGV[at + 1], 'e', ARGV[at + 2]) end
  if ARGV[at + 3] ~= '' then redis.call('XADD', stream, '*', 'f', ARGV[at + 3]) end
  if ARGV[at + 4] ~= '0' then redis.call('PEXPIRE', stream, ARGV[at + 4]) end
end
return 1
""")
WELL_ENDED = b"."
_OVERHEAD = 100


class _Copied:
    """A log that is copied, and how far."""

    __slots__ = ("characters", "is_broken", "keep_ms", "log", "number", "told_at", "when_broken")

    def __init__(self, log: RunLog, when_broken: Callable[[], None]) -> None:
        self.log = log
        self.when_broken = when_broken
        self.number = 0
        """The number of the last event that was written."""
        self.characters = 0
        self.keep_ms: int | None = None
        """The time for which the stream is kept after the end; None before the end."""
        self.told_at = 0.0
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
        self._characters = 0
        """About so many are to be written."""
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
        copied.told_at = asyncio.get_running_loop().time()
        log.watch = partial(self._hear, run_id, copied)

    def close(self, run_id: str, keep_seconds: float) -> None:
        """The run has ended: its stream is kept for so long."""
        if copied := self._copied.get(run_id):
            copied.keep_ms = max(int(keep_seconds * 1000), LAST_MS)
            self._note(run_id, copied)

    def _hear(self, run_id: str, copied: _Copied, log: RunLog, events: Sequence[Event]) -> None:
        for event in events:
            self._characters += len(event.text) if isinstance(event, Text | Thought) else _OVERHEAD
        self._note(run_id, copied)

    def _note(self, run_id: str, copied: _Copied) -> None:
        self._news[run_id] = copied
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BEHIND_SECONDS, self._write)
        elif self._characters > WRITE_CHARACTERS and not self._writing:
            self._timer.cancel()
            self._write()

    def _write(self) -> None:
        """Write what there is; not before all of the last time was taken."""
        if self._writing:
            self._timer = asyncio.get_running_loop().call_later(BEHIND_SECONDS, self._write)
            return
        self._timer, self._characters = None, 0
        news, self._news = self._news, {}
        keys: list[str] = []
        arguments: list[str | bytes | int] = []
        for run_id, copied in news.items():
            if self._link.is_away:
                self._break(run_id, copied)
                continue
            for row in self._rows(copied):
                keys.append(self.stream_of(run_id))
                arguments += row
            if copied.characters > LONGEST_LOG:
                self._break(run_id, copied)
            elif copied.keep_ms is not None:
                self._copied.pop(run_id, None)
        if keys:
            self._writing = asyncio.ensure_future(self._link.run(_WRITE, keys, *arguments))
            self._writing.add_done_callback(partial(self._written, news))

    def _written(self, news: dict[str, _Copied], writing: "asyncio.Future[Any]") -> None:
        self._writing = None
        if writing.cancelled() or writing.exception():
            for run_id, copied in news.items():
                self._break(run_id, copied)

    def _rows(self, copied: _Copied) -> Iterator[list[str | bytes | int]]:
        """The rows to write of a log: what is new, and the time for which its stream is kept."""
        log = copied.log
        events, first = log.pieces(copied.number), copied.number + 1
        ends = log.ended or log.failure is not None
        end = b"" if not ends else failure_to_bytes(log.failure) if log.failure else WELL_ENDED
        keep = STREAM_MS if copied.number == 0 else 0
        copied.number += len(events)
        for chunk in _chunks(events):
            copied.characters += sum(map(weight_of, chunk))
            yield [first, events_to_bytes(chunk), b"", keep]
            first, keep = first + len(chunk), 0
        if (end and log.ended) or copied.keep_ms is not None:
            yield [0, b"", end if log.ended else b"", copied.keep_ms or keep]

    def _break(self, run_id: str, copied: _Copied) -> None:
        """Nobody can follow it any more: what is missing would never be known."""
        if copied.is_broken:
            return
        copied.is_broken = True
        copied.log.watch = None
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


def weight_of(event: Event) -> int:
    """The characters of an event, more or less."""
    match event:
        case Text(text) | Thought(text) | Remark(text) | ToolReturned(text=text):
            return _OVERHEAD + len(text)
        case ToolCalled(call) | CallWaits(call) | CallRefused(call):
            return _OVERHEAD + len(call.arguments)
        case _:
            return _OVERHEAD


def _chunks(events: list[Event]) -> Iterator[list[Event]]:
    """The events, in lists of no more than WRITE_CHARACTERS and ENTRY_EVENTS, and of one at least."""
    chunk: list[Event] = []
    room = WRITE_CHARACTERS
    for event in events:
        weight = weight_of(event)
        if chunk and (weight > room or len(chunk) >= ENTRY_EVENTS):
            yield chunk
            chunk, room = [], WRITE_CHARACTERS
        chunk.append(event)
        room -= weight
    if chunk:
        yield chunk
