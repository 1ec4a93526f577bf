"""The counters of several processes, in a Redis.

While Redis is away each process counts for itself: requests from what it knew last, answers under way of its own, and
what is spent in memory, until Redis takes it. A limit that is exact is worth less than an answer.
"""

from collections import Counter
from collections.abc import Sequence

from gateway.domain.cache import Cache
from gateway.limits.counters import NOTHING_SPENT, Payer, Rate, Row, Spent
from gateway.limits.own_counters import MOST_RATES
from gateway.limits.rates import INEXACT, MINUTE, rate_of, take
from gateway.limits.shared_spending import SharedSpending
from gateway.shared.asking import Away, Script
from gateway.shared.redis_link import RedisLink

# A counter of requests is forgotten so long after it is paid back: the clocks of machines differ by less.
PAID_SECONDS = 60
# Answers under way are forgotten so long after the last one of their payer began, if all processes have ended at once.
STREAMS_SECONDS = 24 * 3600

# It is `rates.take`, in Redis. KEYS: the counter. ARGV: the limit, the time, the requests, the seconds it is kept, and
# those within which the limit is.
_TAKE = Script.of(f"""#!lua flags=allow-oom
local within, now, count = tonumber(ARGV[5]), tonumber(ARGV[2]), tonumber(ARGV[3])
local share = within / ARGV[1]
local paid_back = tonumber(redis.call('GET', KEYS[1]) or '0')
local owed = math.min(math.max(paid_back - now, 0), within) / share
local taken = owed + count <= ARGV[1] + {INEXACT}
if taken then owed = math.max(owed + count, 0) end
if owed > 0 then
  local seconds = math.ceil(owed * share) + ARGV[4]
  redis.call('SET', KEYS[1], string.format('%.17g', now + owed * share), 'EX', seconds)
else
  redis.call('DEL', KEYS[1])
end
return {{taken and 1 or 0, string.format('%.17g', owed)}}
""")
# KEYS: the answers under way of a payer, process -> count, and the pulses. ARGV: this process, its count with the one
# more, the most, the seconds to live, and those who have died. Gives 1 if it may begin.
_ENTER = Script.of("""#!lua flags=allow-oom
local dead = {}
for i = 5, #ARGV do dead[ARGV[i]] = true end
local all = tonumber(ARGV[2])
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  local process = counts[i]
  if process ~= ARGV[1] then
    if redis.call('HEXISTS', KEYS[2], process) == 0 then
      redis.call('HDEL', KEYS[1], process)
    elseif not dead[process] then
      all = all + counts[i + 1]
    end
  end
end
if all > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
""")
# KEYS: the answers under way of a payer. ARGV: this process, its count, the seconds to live.
_TELL = Script.of("""#!lua flags=allow-oom
if ARGV[2] == '0' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('EXPIRE', KEYS[1], ARGV[3])
""")


class SharedCounters:
    """Counts in a Redis, with all processes that share it; carries out `counters.Counters`.

    Only a process itself writes how many answers it has under way, always the whole number: one that got lost is mended
    by the next, and the part of a process that has died is not counted.
    """

    are_shared = True
    since = None

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._rates: Cache[str, float] = Cache(MOST_RATES)
        """Counters of requests, as Redis told them last."""
        self._own: Counter[str] = Counter()
        """The answers under way in this process, those that ask to be let in included."""
        self._untold: set[str] = set()
        """The names of counters of which Redis was not told how many there are."""
        self._spending = SharedSpending(link)
        link.when_back(self._tell_own)

    async def start(self) -> None:
        self._spending.start()

    def __len__(self) -> int:
        """The number of counters in memory: of requests, of answers under way, and sums."""
        return len(self._rates) + len(self._own) + len(self._untold) + len(self._spending)

    # Requests

    async def take(self, name: str, most: int, now: float, count: int = 1, within: float = MINUTE) -> Rate:
        try:
            taken, told = await self._link.run(
                _TAKE, [self._link.key("requests", name)], most, now, count, PAID_SECONDS, within
            )
        except Away:
            rate, paid_back = take(self._rates.get(name) or 0.0, most, now, count, within)
        else:
            owed = float(told)
            rate, paid_back = rate_of(bool(taken), owed, most, within), now + owed * (within / most)
        if paid_back > now:
            self._rates.put(name, paid_back)
        else:
            self._rates.drop(name)
        return rate

    # Answers under way

    async def enter(self, name: str, most: int) -> bool:
        self._own[name] += 1
        mine = self._own[name]
        entered = False
        try:
            keys = [self._link.key("streams", name), self._link.key("pulses")]
            process, dead = self._link.process, self._link.dead
            entered = bool(await self._link.run(_ENTER, keys, process, mine, most, STREAMS_SECONDS, *dead))
        except Away:
            self._note(name, failed=True)
            entered = mine <= most
        finally:
            if not entered:
                self._lessen(name)
        return entered

    async def leave(self, name: str) -> None:
        self._lessen(name)

    def _lessen(self, name: str) -> None:
        if self._own[name] > 1:
            self._own[name] -= 1
        else:
            self._own.pop(name, None)
        self._tell(name)

    def _tell(self, name: str) -> None:
        """Tell Redis how many there are here, and do not wait for it."""
        key, process, count = self._link.key("streams", name), self._link.process, self._own[name]
        told = self._link.begin("EVAL", _TELL.text, 1, key, process, count, STREAMS_SECONDS)
        told.add_done_callback(lambda answer: self._note(name, answer.cancelled() or answer.exception() is not None))

    def _note(self, name: str, failed: bool) -> None:
        if failed and len(self._untold) < MOST_RATES:
            self._untold.add(name)
        elif not failed:
            self._untold.discard(name)

    def _tell_own(self) -> None:
        """Redis is back, and has perhaps forgotten everything."""
        for name in {*self._own, *self._untold}:
            self._tell(name)

    async def under_way(self, name: str) -> int:
        mine, dead = self._own[name], {*self._link.dead}
        try:
            counts: dict[bytes, bytes] = await self._link.ask("HGETALL", self._link.key("streams", name))
        except Away:
            return mine
        told = {process.decode(): int(count) for process, count in counts.items()}
        return mine + sum(n for process, n in told.items() if process != self._link.process and process not in dead)

    # What is spent

    async def spend(self, payer: Payer, periods: tuple[str, ...], spent: Spent) -> None:
        if spent != NOTHING_SPENT:
            for period in periods:
                self._spending.add((payer, period), spent)

    async def spent(self, payer: Payer, period: str) -> Spent:
        return (await self.sums([(payer, period)]))[0]

    async def sums(self, rows: Sequence[Row]) -> list[Spent]:
        return await self._spending.sums(rows) if rows else []

    async def aclose(self) -> None:
        """Take away what is counted of this process, and tell what was spent."""
        names = [*self._own]
        self._own.clear()
        for name in names:
            self._tell(name)
        await self._spending.aclose()
