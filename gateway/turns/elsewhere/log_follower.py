"""The follower of logs: reads the streams of runs that other processes have, into logs of the same numbers here."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from gateway.domain.errors import AnsweredElsewhere, BrokenStream
from gateway.domain.event_bytes import events_from_bytes, failure_from_bytes
from gateway.shared.asking import Away
from gateway.shared.redis_link import RedisLink
from gateway.turns.elsewhere.log_writer import HEAD, WELL_ENDED
from gateway.turns.runs.log import RunLog

logger = logging.getLogger(__name__)
# The pause between two looks at all streams that are followed.
FOLLOW_SECONDS = 0.05
# The most entries of each stream that are read at once.
ENTRIES = 64
# A stream that is not there is waited for; then its run is asked after.
ASK_AFTER_SECONDS = 1.0
# A stream that was never there for so long will not come: the letter that says so was lost.
LOST_SECONDS = 60.0
BEGIN = b"0-0"


class _Followed:
    """A log that is followed, and how far."""

    def __init__(self, stream: str, log: RunLog, process: str | None) -> None:
        self.stream, self.log, self.process = stream, log, process
        self.at = BEGIN
        self.reading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once all was read that was there when it began to be followed."""
        self.begun_at = self.heard_at = asyncio.get_running_loop().time()

    def is_read(self) -> None:
        if not self.reading.done():
            self.reading.set_result(None)


class LogFollower:
    """Follows logs of other processes, all of them with one question at a time, and only while there are any."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._followed: dict[str, _Followed] = {}
        self._task: asyncio.Task[None] | None = None

    async def follow(self, run_id: str, stream: str, process: str | None, unread: Callable[[], None]) -> RunLog:
        """The log of a run, with all that Redis has of it; `unread` is called when its last reader here has left.

        `process` writes it; None: it is complete.
        """
        if followed := self._followed.get(run_id):
            await asyncio.wait([followed.reading])
            return followed.log

        def left() -> None:
            self._followed.pop(run_id, None)
            unread()

        log = RunLog(left)
        followed = self._followed[run_id] = _Followed(stream, log, process)
        if self._task is None:
            self._task = asyncio.create_task(self._read_all())
        await asyncio.wait([followed.reading])
        return log

    def give_up(self, run_id: str) -> None:
        """The log of a run is broken."""
        if one := self._followed.get(run_id):
            self._fail(run_id, one, AnsweredElsewhere("its log is broken"))

    async def _read_all(self) -> None:
        try:
            while self._followed:
                has_more = await self._read(list(self._followed.items()))
                await asyncio.sleep(0 if has_more else FOLLOW_SECONDS)
        finally:
            self._task = None
            for run_id, one in list(self._followed.items()):
                self._fail(run_id, one, AnsweredElsewhere("nothing is followed any more"))

    async def _read(self, followed: list[tuple[str, _Followed]]) -> bool:
        """Read what has come; True if there may be more."""
        streams = [one.stream for _, one in followed]
        places = [one.at for _, one in followed]
        try:
            read = await self._link.ask("XREAD", "COUNT", ENTRIES, "STREAMS", *streams, *places)
        except Away:
            for run_id, one in followed:
                self._fail(run_id, one, AnsweredElsewhere("Redis is away"))
            return False
        found = {name.decode(): entries for name, entries in read or ()}
        has_more = False
        for run_id, one in followed:
            entries = found.get(one.stream, ())
            has_more |= len(entries) == ENTRIES
            if entries:
                one.heard_at = asyncio.get_running_loop().time()
                self._take(run_id, one, entries)
            elif asyncio.get_running_loop().time() - one.heard_at > ASK_AFTER_SECONDS:
                await self._ask_after(run_id, one)
            if len(entries) < ENTRIES:
                one.is_read()
        return has_more

    def _take(self, run_id: str, one: _Followed, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> None:
        try:
            for at, told in entries:
                one.at = at
                if b"f" in told:
                    self._end(run_id, one, told[b"f"])
                    return
                if HEAD.encode() in told:
                    continue
                if int(told[b"n"]) != one.log.count + 1:
                    raise AnsweredElsewhere("a part of the answer is missing")
                one.log.append(events_from_bytes(told[b"e"]))
        except (AnsweredElsewhere, ValueError, KeyError, msgspec.MsgspecError) as error:
            logger.warning("an answer of another gateway's cannot be followed: %s", type(error).__name__)
            self._fail(run_id, one, AnsweredElsewhere("it cannot be read"))

    def _end(self, run_id: str, one: _Followed, said: bytes) -> None:
        self._followed.pop(run_id, None)
        if said != WELL_ENDED:
            one.log.fail(failure_from_bytes(said))
        one.log.end()
        one.is_read()

    async def _ask_after(self, run_id: str, one: _Followed) -> None:
        """It was silent for a while: is there still somebody who writes it?"""
        one.heard_at = asyncio.get_running_loop().time()
        try:
            is_there = await self._link.ask("EXISTS", one.stream)
        except Away:
            return
        if one.process and not self._link.is_alive(one.process):
            self._fail(run_id, one, BrokenStream("the gateway that gave the answer is gone"))
        elif not is_there and (one.log.count or asyncio.get_running_loop().time() - one.begun_at > LOST_SECONDS):
            self._fail(run_id, one, AnsweredElsewhere("it is not there any more"))

    def _fail(self, run_id: str, one: _Followed, error: Exception) -> None:
        if self._followed.pop(run_id, None):
            one.log.fail(error)
            one.log.end()
        one.is_read()

    async def aclose(self) -> None:
        """Follow nothing any more."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
