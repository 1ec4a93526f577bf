"""The sums that payers have spent, in a Redis to which several processes add.

Nobody waits for what is told to Redis: a process tells it in batches, one at a time, each with a number. Redis notes
the number of the last one that it has added, so that a batch of which nobody knows whether it got there is told again,
and is added once.

What Redis has goes by a name, its life, which is lost with it, and which whoever notices that something is lost
changes. Who comes with another life than Redis has tells first the sums that were known in that one: the largest of
them, whoever tells it and when, is what a row had when the present life began. What was added since stands beside it.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from gateway.domain.cache import Cache
from gateway.limits.counters import NOTHING_SPENT, Payer, Row, Spent
from gateway.limits.own_counters import MOST_SUMS
from gateway.limits.periods import KEPT_DAYS, KEPT_MONTHS
from gateway.shared.asking import Away, Script
from gateway.shared.redis_link import RedisLink

logger = logging.getLogger(__name__)
# The rows of a batch: Redis does nothing else meanwhile, for a fraction of a millisecond.
BATCH_ROWS = 100
# The sums that are kept in memory while Redis does not take them, each less than 500 bytes; further payers' are lost.
MOST_UNTOLD = 20_000
# What Redis did not take is told again after so long.
SPENT_AGAIN_SECONDS = 1.0
_DAY = 24 * 3600
# For so long Redis knows which batch of a process was the last.
MARK_SECONDS = _DAY
# A person's days and months are kept for so many days after their last answer, those of a whole key as in the file.
PERSONS_DAYS, PERSONS_MONTHS_DAYS = 7, 62
# No row lives longer than the name of what it is in.
_LIFE_SECONDS = max(KEPT_DAYS, KEPT_MONTHS * 31) * _DAY
_FIELDS = ("answers", "prompt", "completion", "total", "estimated")

# A row that is used for the first time in a life notes what it had.
_BEGIN = f"""
local fields = {{'{"','".join(_FIELDS)}'}}
local function begin(row, life)
  if redis.call('HGET', row, 'life') == life then return end
  redis.call('HSET', row, 'life', life)
  for _, field in ipairs(fields) do
    local had = redis.call('HGET', row, field)
    if had then redis.call('HSET', row, 'had ' .. field, had) end
  end
end
"""
# KEYS: the life's, the mark of the process, the rows. ARGV: the life that the process knows, empty before it knows one,
# another if there is none, its seconds to live, the number of the batch, the mark's seconds to live; for each row its
# seconds to live and the five numbers. Gives the life, and if the process knows it the sums, which have the batch in
# them.
_ADD_BATCH = Script.of(f"""#!lua flags=allow-oom
{_BEGIN}
local life = redis.call('GET', KEYS[1])
if ARGV[1] ~= '' and life ~= ARGV[1] then return {{life or '', false}} end
life = life or ARGV[2]
redis.call('SET', KEYS[1], life, 'EX', ARGV[3])
local is_new = tonumber(redis.call('GET', KEYS[2]) or '0') < tonumber(ARGV[4])
local sums = {{}}
for row = 3, #KEYS do
  local at = 6 + 6 * (row - 3)
  if is_new then
    begin(KEYS[row], life)
    for i, field in ipairs(fields) do
      if ARGV[at + i] ~= '0' then redis.call('HINCRBY', KEYS[row], field, ARGV[at + i]) end
    end
    redis.call('EXPIRE', KEYS[row], ARGV[at])
  end
  sums[row - 2] = redis.call('HMGET', KEYS[row], unpack(fields))
end
if is_new then redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5]) end
return {{life, sums}}
""")
# KEYS: the life's, the rows. ARGV: the life that has lost something, another if it is still that or if there is none,
# its seconds to live; for each row its seconds to live and the five numbers that it had at least. Gives the life.
_REMIND = Script.of(f"""#!lua flags=allow-oom
{_BEGIN}
local life = redis.call('GET', KEYS[1])
if not life or life == ARGV[1] then life = ARGV[2] end
redis.call('SET', KEYS[1], life, 'EX', ARGV[3])
for row = 2, #KEYS do
  local at = 4 + 6 * (row - 2)
  begin(KEYS[row], life)
  if tonumber(redis.call('HGET', KEYS[row], 'had total') or '0') < tonumber(ARGV[at + 4]) then
    for i, field in ipairs(fields) do
      local had = redis.call('HGET', KEYS[row], 'had ' .. field) or '0'
      redis.call('HINCRBY', KEYS[row], field, string.format('%d', tonumber(ARGV[at + i]) - tonumber(had)))
      redis.call('HSET', KEYS[row], 'had ' .. field, ARGV[at + i])
    end
  end
  redis.call('EXPIRE', KEYS[row], ARGV[at])
end
return life
""")


class SharedSpending:
    """The sums of all processes, as one of them adds to them and asks for them."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._mark = link.key("spent-by", link.process)
        self._life_key = link.key("spent-life")
        self._life = ""
        """The life of which the sums are that Redis has told last; empty before any."""
        self._known: Cache[Row, Spent] = Cache(MOST_SUMS)
        """The largest sums that Redis has told."""
        self._untold: dict[Row, Spent] = {}
        self._telling: dict[Row, Spent] = {}
        """The batch that is on its way to Redis, or of which nobody knows whether it got there."""
        self._number = 0
        """The number of that batch."""
        self._told = 0
        """The number of the last batch that Redis has added for certain."""
        self._may_have_forgotten = False
        self._backs = 0
        """The number of times that Redis may have forgotten something."""
        self._has_work = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._fails = False
        self._lost: set[Payer] = set()
        """Those of whose spending something was not kept, up to MOST_UNTOLD of them."""
        link.when_back(self._look_back)

    def start(self) -> None:
        """Begin to tell; called again, it does nothing."""
        if self._work is None:
            # A first batch, with nothing in it, asks for the life by which it is known later that Redis has lost data.
            self._has_work.set()
            self._work = asyncio.create_task(self._tell_all())

    def __len__(self) -> int:
        """The number of sums in memory."""
        return len(self._known) + len(self._untold) + len(self._telling)

    def add(self, row: Row, more: Spent) -> None:
        """Add to a sum, in Redis as soon as it takes it."""
        if row not in self._untold and len(self._untold) >= MOST_UNTOLD:
            if len(self._lost) < MOST_UNTOLD:
                self._lost.add(row[0])
            return
        self._untold[row] = self._untold.get(row, NOTHING_SPENT).plus(more)
        self._has_work.set()

    async def sums(self, rows: Sequence[Row]) -> list[Spent]:
        """The sums of these rows, asked for at once; while Redis is away as far as they are known here."""
        # What was not told before Redis is asked is not in its answer. Of the batch on its way, Redis says so.
        untold = [(self._untold.get(row, NOTHING_SPENT), self._telling.get(row, NOTHING_SPENT)) for row in rows]
        number = self._number
        mark, life = self._link.begin("GET", self._mark), self._link.begin("GET", self._life_key)
        asked = [self._link.begin("HMGET", self._name(row), *_FIELDS) for row in rows]
        try:
            added = int(await mark or 0) >= number
            self._look_at((await life or b"").decode())
            found = [_read(await answer) for answer in asked]
        except Away:
            return [
                (self._known.get(row) or NOTHING_SPENT).plus(more).plus(telling)
                for row, (more, telling) in zip(rows, untold, strict=True)
            ]
        sums = []
        for row, kept, (more, telling) in zip(rows, found, untold, strict=True):
            known = self._know(row, kept).plus(more)
            sums.append(known if added else known.plus(telling))
        return sums

    def _know(self, row: Row, kept: Spent) -> Spent:
        known = self._known.get(row)
        if known is None or known.total <= kept.total:
            known = kept
            # What Redis has in another life than the known was told in is not to be told to it again.
            if kept != NOTHING_SPENT and not self._may_have_forgotten:
                self._known.put(row, kept)
        return known

    def _name(self, row: Row) -> str:
        payer, period = row
        return self._link.key("spent", period, payer.person, payer.key)

    # Telling

    async def _tell_all(self) -> None:
        while True:
            await self._has_work.wait()
            try:
                await self._remind()
                await self._tell()
            except Away as error:
                if not self._fails:
                    logger.warning("what is spent is kept in memory only, until Redis takes it: %s", error)
                self._fails = True
                await asyncio.sleep(SPENT_AGAIN_SECONDS)
                continue
            if self._fails:
                logger.warning("what is spent is told to Redis again")
                self._say_lost()
            self._fails = False
            if not self._untold:
                self._has_work.clear()

    async def _tell(self) -> None:
        """Tell a batch: the one of which nobody knows, or the next. Raises Away."""
        if not self._telling:
            self._number += 1
            for row in [*islice(self._untold, BATCH_ROWS)]:
                self._telling[row] = self._untold.pop(row)
        batch = self._telling
        names = [self._name(row) for row in batch]
        numbers = [number for row, spent in batch.items() for number in _written(row, spent)]
        keys = [self._life_key, self._mark, *names]
        beside = self._life, secrets.token_hex(6), _LIFE_SECONDS, self._number, MARK_SECONDS
        life, sums = await self._link.run(_ADD_BATCH, keys, *beside, *numbers)
        if sums is None:
            self._look_at(life.decode())
            return
        self._life = life.decode()
        self._telling, self._told = {}, self._number
        for row, kept in zip(batch, sums, strict=True):
            self._know(row, _read(kept))

    def _look_back(self) -> None:
        self._may_have_forgotten = bool(self._life)
        self._backs += 1
        self._has_work.set()

    def _look_at(self, life: str) -> None:
        """See what Redis has now."""
        if self._life and life != self._life:
            self._look_back()

    async def _remind(self) -> None:
        """If Redis has lost data, tell it the sums that are known: the largest of any process hold. Raises Away."""
        while self._may_have_forgotten:
            backs, asked = self._backs, self._link.begin("GET", self._life_key)
            is_marked = int(await self._link.ask("GET", self._mark) or 0) >= self._told
            if is_marked and (await asked or b"").decode() == self._life:
                self._may_have_forgotten = False
                return
            known = self._known.items()
            portions = [known[at : at + BATCH_ROWS] for at in range(0, len(known), BATCH_ROWS)]
            before, another = self._life, secrets.token_hex(6)
            lives = {await self._tell_known(portion, before, another) for portion in portions or [[]]}
            if not is_marked:
                await self._link.ask("SET", self._mark, self._told, "EX", MARK_SECONDS)
            self._life = lives.pop()
            # Once more if it was lost once more meanwhile.
            self._may_have_forgotten = bool(lives) or backs != self._backs
            logger.warning("Redis was told again what %d payers have spent", len({row[0] for row, _ in known}))

    async def _tell_known(self, rows: Sequence[tuple[Row, Spent]], before: str, another: str) -> str:
        """Tell what was known in the life before, and give the one that there is now. Raises Away."""
        names = [self._name(row) for row, _ in rows]
        numbers = [number for row, spent in rows for number in _written(row, spent)]
        keys = [self._life_key, *names]
        life: bytes = await self._link.run(_REMIND, keys, before, another, _LIFE_SECONDS, *numbers)
        return life.decode()

    def _say_lost(self) -> None:
        if self._lost:
            logger.error("what %d payers have spent is lost, for Redis was away for too long", len(self._lost))
        self._lost = set()

    async def aclose(self) -> None:
        """Tell what is untold, and end."""
        if self._work is None:
            return
        self._work.cancel()
        with suppress(asyncio.CancelledError):
            await self._work
        self._work = None
        with suppress(Away):
            await self._remind()
            while self._telling or self._untold:
                await self._tell()
            await self._link.ask("DEL", self._mark)
        self._lost |= {payer for payer, _ in (*self._telling, *self._untold)}
        self._say_lost()


def _read(values: list[bytes | None]) -> Spent:
    """The sum of a row, of which Redis gives the fields."""
    return Spent(*(int(value or 0) for value in values))


def _written(row: Row, spent: Spent) -> tuple[int, ...]:
    """A row's seconds to live, and its numbers."""
    return _seconds_kept(*row), spent.answers, spent.prompt, spent.completion, spent.total, spent.estimated


def _seconds_kept(payer: Payer, period: str) -> int:
    is_day = len(period) == len("2026-11-30")
    if payer.person:
        return (PERSONS_DAYS if is_day else PERSONS_MONTHS_DAYS) * _DAY
    return (KEPT_DAYS if is_day else KEPT_MONTHS * 31) * _DAY


async def read_shared_sums(link: RedisLink, month: str) -> dict[Row, Spent]:
    """All that was spent in a month (`2026-11`) and on its days, as far as it is kept. Raises Away."""
    begin = link.key("spent", "")
    names: set[bytes] = set()
    cursor: Any = 0
    while True:
        cursor, found = await link.ask("SCAN", cursor, "MATCH", f"{begin}{month}*", "COUNT", 1000)
        names.update(found)
        if not int(cursor):
            break
    rows: dict[Row, Spent] = {}
    listed = sorted(names)
    for at in range(0, len(listed), BATCH_ROWS):
        asked = [(name, link.begin("HMGET", name, *_FIELDS)) for name in listed[at : at + BATCH_ROWS]]
        for name, answer in asked:
            period, person, key = name.decode().removeprefix(begin).split(":", 2)
            rows[Payer(key, person), period] = _read(await answer)
    return rows
