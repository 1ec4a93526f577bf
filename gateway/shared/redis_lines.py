"""The lines of several gateways, in a Redis: a sorted set each, of those who have or want its first place, in order.

Who is in a line says so as `PROCESS/NUMBER`, and counts while its process is alive (`redis_link.py`); whoever waits
behind one that is dead takes it out. A process that cannot tell whether it is taken for dead has lost its places:
`check` raises. While Redis is away, and was for a while, places are those of this process alone.

Who leaves tells the next by a letter; should that be lost, the next looks by itself.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress

import msgspec

from gateway.domain.errors import Overtaken, QueueFull
from gateway.shared.asking import Away, Script
from gateway.shared.lines import OwnLines, Place, Wanted
from gateway.shared.pulses import LEASE_SECONDS
from gateway.shared.redis_link import RedisLink

logger = logging.getLogger(__name__)
# A line that nobody changes for so long is forgotten: those who have a place for longer tell it again.
LINE_MS = 3_600_000
TELL_AGAIN_SECONDS = 900.0
# So often those who wait look whether who is before them is alive.
GLANCE_SECONDS = 0.5
# The pause after which a Redis that has just gone away is asked again.
ASK_AGAIN_SECONDS = 0.25

# A place for who asks, if there is room: [1, what the last has left], [0, the first], [-1, the first].
_ENTER = Script.of("""#!lua flags=allow-oom
local line, last, me, most = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
if not redis.call('ZSCORE', line, me) then
  if most >= 0 and redis.call('ZCARD', line) > most then return {-1, redis.call('ZRANGE', line, 0, 0)[1]} end
  local tail = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')
  redis.call('ZADD', line, (tonumber(tail[2]) or 0) + 1, me)
end
redis.call('PEXPIRE', line, ARGV[3])
local first = redis.call('ZRANGE', line, 0, 0)[1]
if first ~= me then return {0, first} end
local left = redis.call('GET', last) or ''
redis.call('SET', last, me .. ' ', 'PX', ARGV[3])
return {1, left}
""")
# Take out those that begin as said, and tell the next, if that is another.
_LEAVE = Script.of("""#!lua flags=allow-oom
local line, last, gone, word = KEYS[1], KEYS[2], ARGV[1], ARGV[4]
local before = redis.call('ZRANGE', line, 0, 0)[1]
if string.sub(gone, -1) == '/' then
  for _, one in ipairs(redis.call('ZRANGE', line, 0, -1)) do
    if string.sub(one, 1, #gone) == gone then redis.call('ZREM', line, one) end
  end
else
  redis.call('ZREM', line, gone)
  if word ~= '' then redis.call('SET', last, gone .. ' ' .. word, 'PX', ARGV[5]) end
end
local first = redis.call('ZRANGE', line, 0, 0)[1]
if first and first ~= before then
  local process = string.match(first, '^[^/]*')
  redis.call('PUBLISH', ARGV[2] .. process, cmsgpack.pack({'yours', ARGV[3], first}))
end
return 1
""")


class SharedPlace:
    """A place of which all gateways know, unless Redis was away when it was taken."""

    def __init__(self, lines: "RedisLines", name: str, ticket: str, wanted: Wanted | None) -> None:
        self.is_shared = False
        self.is_unbroken = False
        self.word = ""
        self.name, self.ticket, self.wanted = name, ticket, wanted
        self.left_word = ""
        self.is_lost = False
        """True: another may have it, or have had it."""
        self.told_at = time.monotonic()
        """The moment at which Redis was told of it last."""
        self._lines = lines

    @property
    def is_agreed(self) -> bool:
        return self.is_shared and not self.is_lost and self._lines.hears_all

    def leave_word(self, word: str) -> None:
        self.left_word = word

    def check(self) -> None:
        if self.is_lost or (self.is_shared and not self._lines.is_current):
            self.is_lost = True
            raise Overtaken("this gateway could not hold its place")

    def has(self, left: str) -> None:
        """Note that the place is its own, and what the last has left."""
        who, _, word = left.partition(" ")
        self.is_shared, self.word = True, word
        self.is_unbroken = who.partition("/")[0] == self.ticket.partition("/")[0]
        self.told_at = time.monotonic()


class RedisLines:
    """The lines of all gateways that share a Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._own = OwnLines()
        self._tickets = 0
        self._places: dict[str, SharedPlace] = {}
        """Ticket → the place that it is for, of those who have one, or wait."""
        self._news: dict[str, asyncio.Event] = {}
        """Ticket → the event that is set when it may be its turn, of those who wait."""
        self._orphans: dict[str, str] = {}
        """Ticket → line, of those that may be in Redis, and wait no more: it was away when they left."""
        self._tasks: set[asyncio.Task[None]] = set()
        link.hear("yours", self._hear_yours)
        link.hear("wanted", self._hear_wanted)
        link.when_back(lambda: self._start(self._tell_all()))
        link.at_pulse(self._tell_again)

    @property
    def is_current(self) -> bool:
        """True: nobody can have taken this process for dead."""
        return self._link.is_current

    @property
    def hears_all(self) -> bool:
        """True: no process that may live has lost touch with Redis."""
        return self._link.hears_all

    def _keys(self, name: str) -> list[str]:
        return [self._link.key("line", name), self._link.key("last", name)]

    @asynccontextmanager
    async def place(
        self, name: str, most: int | None, seconds: float, wanted: Wanted | None = None
    ) -> AsyncGenerator[Place]:
        self._tickets += 1
        place = SharedPlace(self, name, f"{self._link.process}/{self._tickets}", wanted)
        began = time.monotonic()
        self._places[place.ticket] = place
        try:
            await self._wait(place, most, seconds)
            left = seconds - (time.monotonic() - began)
            # Of those whom Redis knows nobody waits here; where it is away, they wait for each other.
            async with self._own.place(name, most, max(left, 0.0), wanted):
                yield place
        finally:
            self._leave(place)

    async def _wait(self, place: SharedPlace, most: int | None, seconds: float) -> None:
        """Return once the place is one's own, or Redis is away. Raises QueueFull."""
        until, away_since = time.monotonic() + seconds, None
        news = self._news[place.ticket] = asyncio.Event()
        waited = False
        try:
            while True:
                news.clear()
                try:
                    first = await self._enter(place, -1 if most is None or waited else most)
                except Away:
                    # Nobody waits here who did not before; who did gives Redis the time to come back in.
                    away_since = away_since or time.monotonic()
                    if not waited or time.monotonic() - away_since > LEASE_SECONDS:
                        return
                    await asyncio.sleep(ASK_AGAIN_SECONDS)
                    continue
                away_since = None
                if first is None:
                    return
                if not waited:
                    waited = True
                    self._link.drop_letter(first.partition("/")[0], "wanted", place.name)
                if not self._link.is_alive(first.partition("/")[0]):
                    await self._bury(place.name, first.partition("/")[0])
                    continue
                pause = min(GLANCE_SECONDS, until - time.monotonic())
                if pause <= 0:
                    raise QueueFull("the turns before this one took too long")
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await news.wait()
        finally:
            del self._news[place.ticket]

    async def _enter(self, place: SharedPlace, most: int) -> str | None:
        """Stand in line; None if it is one's turn, else the ticket of the first. Raises QueueFull, Away."""
        state, said = await self._link.run(_ENTER, self._keys(place.name), place.ticket, most, LINE_MS)
        if state < 0:
            first = said.decode().partition("/")[0]
            if self._link.is_alive(first):
                raise QueueFull("too many turns wait in this chat")
            await self._bury(place.name, first)
            return await self._enter(place, most)
        if state == 0:
            return str(said.decode())
        place.has(said.decode())
        return None

    async def _bury(self, name: str, process: str) -> None:
        """Take all tickets of a process that is dead out of a line."""
        logger.warning("a gateway that had a place in a line is gone: the next goes on")
        await self._take_out(name, f"{process}/")

    async def _take_out(self, name: str, ticket: str, word: str = "") -> None:
        to = self._link.key("to", "")
        await self._link.run(_LEAVE, self._keys(name), ticket, to, self._link.process, word, LINE_MS)

    def _leave(self, place: SharedPlace) -> None:
        """Leave the line; nobody waits for that."""
        del self._places[place.ticket]
        self._start(self._take_out_own(place.name, place.ticket, place.left_word))

    async def _take_out_own(self, name: str, ticket: str, word: str = "") -> None:
        try:
            await self._take_out(name, ticket, word)
        except Away:
            self._orphans[ticket] = name

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What others say

    def _hear_yours(self, sender: str, content: msgspec.Raw) -> None:
        if news := self._news.get(msgspec.msgpack.decode(content, type=str)):
            news.set()

    def _hear_wanted(self, sender: str, content: msgspec.Raw) -> None:
        name = msgspec.msgpack.decode(content, type=str)
        for place in list(self._places.values()):
            if place.name == name and place.wanted and place.ticket not in self._news:
                place.wanted()

    # What Redis is told again

    def _tell_again(self) -> None:
        """Tell of places that are held for long, before they are forgotten."""
        now = time.monotonic()
        late = [
            place
            for place in self._places.values()
            if place.ticket not in self._news and now - place.told_at > TELL_AGAIN_SECONDS
        ]
        if late:
            self._start(self._tell(late))

    async def _tell_all(self) -> None:
        """Redis is back, and may have forgotten, or may have given to others, what is held here."""
        orphans, self._orphans = self._orphans, {}
        for ticket, name in orphans.items():
            if ticket not in self._places:
                await self._take_out_own(name, ticket)
        await self._tell([place for place in self._places.values() if place.ticket not in self._news])

    async def _tell(self, places: list[SharedPlace]) -> None:
        for place in places:
            with suppress(Away):
                place.told_at = time.monotonic()
                state, _ = await self._link.run(_ENTER, self._keys(place.name), place.ticket, -1, LINE_MS)
                place.is_shared = True
                if state != 1:
                    place.is_lost = True

    async def aclose(self) -> None:
        """Return once all places that were left are free for others."""
        while self._tasks:
            await asyncio.wait(self._tasks)
