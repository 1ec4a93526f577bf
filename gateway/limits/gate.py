"""The gate: lets a new run in, or says which limit refuses it, and counts what it has cost when it has ended.

What it knows between two requests is in the counters, and the runs under way are in here. The limits are those of the
key of each request: they may change while the gateway runs, and what was counted stays.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime

from msgspec import Struct

from gateway.limits.counters import NOTHING_SPENT, Counters, Payer, Spent
from gateway.limits.periods import at, day_of, in_openai_form, month_of, next_day, next_month
from gateway.limits.rates import HOUR, MINUTE
from gateway.limits.refusals import (
    BudgetSpent,
    LimitName,
    LimitReached,
    Scope,
    TooManyBackground,
    TooManyRequests,
    TooManyStreams,
)
from gateway.settings import Allowance, Key
from gateway.turns.runs.account import Account

# No digest begins so, and so no other counter's name.
BACKGROUND = "background"


class Standing(Struct, frozen=True):
    """The standing of one limit: `Standing("user", "tokens_per_day", 200_000, 188_000, 3600.0)`."""

    scope: Scope
    limit: LimitName
    allowed: int
    remaining: int
    resets_after: float
    """The seconds until all of it remains."""


class Admission:
    """One request that was let in: it pays for the run that it begins, and must be left when its answer is over.

    Without payers it begins none.
    """

    def __init__(self, gate: "Gate", payers: tuple[Payer, ...] = ()) -> None:
        self.headers: dict[str, str] = {}
        """OpenAI's headers about the limits; none where there are no limits."""
        self._gate = gate
        self._payers = payers
        self._requests: list[tuple[str, int, float]] = []
        """The names of counters of which a request was taken, each with its limit, and the seconds of that."""
        self._streams: list[str] = []

    @property
    def is_stream(self) -> bool:
        """True: it is counted among the answers under way, until it is left."""
        return bool(self._streams)

    async def pay_for(self, account: Account | None) -> None:
        """Pay for the run that has begun, and fills this account; None: none has, and everything is given back."""
        if account:
            self._gate.count(self._payers, account)
            return
        await self.leave()
        while self._requests:
            name, most, within = self._requests.pop()
            await self._gate.counters.take(name, most, self._gate.clock(), -1, within)

    async def leave(self) -> None:
        """The answer is over, or nobody waits for it. Called again, it does nothing."""
        while self._streams:
            await self._gate.counters.leave(self._streams.pop())

    def leave_with(self, account: Account) -> None:
        """Leave once the run is over that fills this account."""
        account.when_closed(lambda: self._gate.begin(self.leave()))

    async def take_request(self, payer: Payer, scope: Scope, per_minute: int) -> Standing:
        """Raises TooManyRequests."""
        rate = await self._gate.counters.take(payer.name, per_minute, self._gate.clock())
        standing = Standing(scope, "requests_per_minute", per_minute, rate.remaining, rate.full_after)
        if not rate.taken:
            raise _told(TooManyRequests(scope, per_minute, rate.room_after), [standing])
        self._requests.append((payer.name, per_minute, MINUTE))
        return standing

    async def take_background(self, payer: Payer, per_hour: int) -> None:
        """Raises TooManyBackground."""
        if not per_hour:
            raise TooManyBackground(per_hour, HOUR)
        name = f"{BACKGROUND} {payer.name}"
        rate = await self._gate.counters.take(name, per_hour, self._gate.clock(), 1, HOUR)
        if not rate.taken:
            raise TooManyBackground(per_hour, rate.room_after)
        self._requests.append((name, per_hour, HOUR))

    async def take_stream(self, payer: Payer, scope: Scope, most: int) -> None:
        """Raises TooManyStreams."""
        if not await self._gate.counters.enter(payer.name, most):
            raise TooManyStreams(scope, most)
        self._streams.append(payer.name)


class _Bill(Struct, eq=False):
    """The cost of a run under way to its payers, and what of it is counted already."""

    payers: tuple[Payer, ...]
    account: Account
    counted: Spent = NOTHING_SPENT

    def cost(self) -> Spent:
        """All that it has cost so far. A run of nobody's, a task, is no answer."""
        tokens = self.account.tokens
        answers = 1 if self.account.is_closed and any(payer.person for payer in self.payers) else 0
        return Spent(answers, tokens.prompt, tokens.completion, tokens.total, self.account.estimated.total)


class Gate:
    """The gate of a gateway; `clock` gives the seconds since 1970 (UTC)."""

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.time) -> None:
        self.counters = counters
        self.clock = clock
        self._open: defaultdict[Payer, dict[int, _Bill]] = defaultdict(dict)
        """The bills of runs under way, and of those that have just ended, by the identities of their accounts."""
        self._counting: set[asyncio.Task[None]] = set()

    async def admit(self, key: Key, person: str, background_per_hour: int | None = None) -> Admission:
        """Let a new run of this user of the key in. Raises LimitReached, and has taken nothing then.

        `background_per_hour`: it goes on in the background, and no more of those may begin within an hour.
        """
        payers = _payers(key, person)
        admission = Admission(self, payers)
        if not (key.is_limited or background_per_hour is not None):
            return admission
        try:
            if background_per_hour is not None:
                await admission.take_background(payers[0], background_per_hour)
            if key.is_limited:
                admission.headers = to_headers(await self._take(admission, key, payers))
        except BaseException:
            await admission.pay_for(None)
            raise
        return admission

    async def _take(self, admission: Admission, key: Key, payers: tuple[Payer, ...]) -> list[Standing]:
        """Take what a run takes, the cheapest first, and of two alike that of the person. Raises LimitReached."""
        standings: list[Standing] = []
        limited = _limited(key, payers)
        # Counters in another place are asked for budgets together with the rest.
        asked = asyncio.ensure_future(self._budgets(limited)) if self.counters.are_shared else None
        try:
            for payer, scope, allowance in limited:
                if allowance.requests_per_minute:
                    standings.append(await admission.take_request(payer, scope, allowance.requests_per_minute))
            for payer, scope, allowance in limited:
                if allowance.streams:
                    await admission.take_stream(payer, scope, allowance.streams)
            for standing in await (asked or self._budgets(limited)):
                _check(standing, at(self.clock()))
                standings.append(standing)
        finally:
            if asked:
                asked.cancel()
        return standings

    async def admit_task(self, key: Key) -> Admission:
        """Let a background task in that a plain model answers. Raises BudgetSpent.

        It is no request of a person's, who need not even be named: what it costs, all users of the key pay together.
        """
        payers = (Payer(key.name),)
        for standing in await self._budgets(_limited(key, payers)):
            _check(standing, at(self.clock()))
        return Admission(self, payers)

    async def spent(self, payer: Payer, period: str) -> Spent:
        """The sum that a payer has spent in a period, as far as it is counted."""
        return await self.counters.spent(payer, period)

    async def standings(self, key: Key, person: str) -> list[Standing]:
        """The standing of every limit of this user of the key; takes nothing."""
        found: list[Standing] = []
        limited = _limited(key, _payers(key, person))
        for payer, scope, allowance in limited:
            if per_minute := allowance.requests_per_minute:
                rate = await self.counters.take(payer.name, per_minute, self.clock(), 0)
                found.append(Standing(scope, "requests_per_minute", per_minute, rate.remaining, rate.full_after))
            if most := allowance.streams:
                under_way = await self.counters.under_way(payer.name)
                found.append(Standing(scope, "streams", most, max(most - under_way, 0), 0.0))
        return found + await self._budgets(limited)

    async def _budgets(self, limited: "_Limited") -> list[Standing]:
        """The standing of every limit of tokens."""
        moment = at(self.clock())
        rows: list[tuple[Payer, Scope, LimitName, int, str, datetime]] = []
        for payer, scope, allowance in limited:
            if (allowed := allowance.tokens_per_day) is not None:
                rows.append((payer, scope, "tokens_per_day", allowed, day_of(moment), next_day(moment)))
            if (allowed := allowance.tokens_per_month) is not None:
                rows.append((payer, scope, "tokens_per_month", allowed, month_of(moment), next_month(moment)))
        sums = await self.counters.sums([(payer, period) for payer, _, _, _, period, _ in rows])
        standings = []
        for (payer, scope, limit, allowed, _, resets), spent in zip(rows, sums, strict=True):
            remaining = max(allowed - spent.total - self._under_way(payer), 0)
            standings.append(Standing(scope, limit, allowed, remaining, (resets - moment).total_seconds()))
        return standings

    def _under_way(self, payer: Payer) -> int:
        """The tokens that runs have cost which are not counted yet.

        A client has its whole answer a moment before Letta ends its run, and may ask again within that moment.
        """
        bills = self._open[payer].values() if payer in self._open else ()
        return sum(bill.account.tokens.total - bill.counted.total for bill in bills)

    def count(self, payers: tuple[Payer, ...], account: Account) -> None:
        """A run has begun that fills this account: count what it has cost once it is over.

        Where other processes ask the same counters, each step is counted as soon as its cost is known: a client may ask
        again at one of them within that moment.
        """
        bill = _Bill(payers, account)
        for payer in payers:
            self._open[payer][id(account)] = bill
        account.when_closed(lambda: self.begin(self._end(bill)))
        if self.counters.are_shared:
            account.when_counted(lambda: self.begin(self._count(bill)))

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Do work that need not be waited for, but before the gate is closed."""
        counting = asyncio.get_running_loop().create_task(work)
        self._counting.add(counting)
        counting.add_done_callback(self._counting.discard)

    async def _count(self, bill: _Bill) -> None:
        """Count what the run has cost since the last time."""
        moment, cost = at(self.clock()), bill.cost()
        more, bill.counted = cost.minus(bill.counted), cost
        for payer in bill.payers:
            await self.counters.spend(payer, (day_of(moment), month_of(moment)), more)

    async def _end(self, bill: _Bill) -> None:
        try:
            await self._count(bill)
        finally:
            for payer in bill.payers:
                bills = self._open[payer]
                del bills[id(bill.account)]
                if not bills:
                    del self._open[payer]

    async def aclose(self) -> None:
        """Count what has ended, and close the counters."""
        while self._counting:
            await asyncio.wait(self._counting)
        await self.counters.aclose()


_Limited = list[tuple[Payer, Scope, Allowance]]


def _payers(key: Key, person: str) -> tuple[Payer, ...]:
    """Those who pay for a run: the person, and all who use the key."""
    return Payer(key.name, person), Payer(key.name)


def _limited(key: Key, payers: Iterable[Payer]) -> _Limited:
    return [(each, "user", key.user_limits) if each.person else (each, "key", key.limits) for each in payers]


def _check(standing: Standing, now: datetime) -> None:
    """Raises BudgetSpent where nothing of a budget remains."""
    if standing.remaining == 0:
        resets = next_day(now) if standing.limit == "tokens_per_day" else next_month(now)
        raise _told(BudgetSpent(standing.scope, standing.limit, standing.allowed, now, resets), [standing])


def _told(error: LimitReached, standings: list[Standing]) -> LimitReached:
    error.headers.update(to_headers(standings))
    return error


def to_headers(standings: Iterable[Standing]) -> dict[str, str]:
    """OpenAI's headers about limits: of requests and of tokens that limit of which least remains.

    https://developers.openai.com/api/docs/guides/rate-limits
    """
    headers: dict[str, str] = {}
    every = list(standings)
    for what in ("requests", "tokens"):
        alike = [standing for standing in every if standing.limit.startswith(what)]
        if alike:
            least = min(alike, key=lambda standing: standing.remaining)
            headers[f"x-ratelimit-limit-{what}"] = str(least.allowed)
            headers[f"x-ratelimit-remaining-{what}"] = str(least.remaining)
            headers[f"x-ratelimit-reset-{what}"] = in_openai_form(least.resets_after)
    return headers


HEADERS = tuple(
    f"x-ratelimit-{part}-{what}" for what in ("requests", "tokens") for part in ("limit", "remaining", "reset")
)
"""All headers about limits, as a web page may be let read them."""
