"""The gate: who is let in, who is refused with which words, and who pays."""

import asyncio
import itertools
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.events import TokensCounted
from gateway.limits.counters import NOTHING_SPENT, Payer, Spent
from gateway.limits.gate import Admission, Gate, Standing, to_headers
from gateway.limits.own_counters import OwnCounters
from gateway.limits.refusals import LimitReached
from gateway.settings import Allowance, Key
from gateway.turns.runs.account import Account
from tests.limits.books import MemoryBook
from tests.turns.virtual_time import VirtualTimeLoop, idle

pytestmark = pytest.mark.anyio

ADA, BOB = "0a" * 16, "0b" * 16
DAY, MONTH = "2026-11-30", "2026-11"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
HALF_A_DAY = 12 * 3600


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(OwnCounters(), clock)


def key(user: Allowance | None = None, all: Allowance | None = None, name: str = "school") -> Key:
    return Key(name=name, user_limits=user or Allowance(), limits=all or Allowance())


async def run(gate: Gate, key: Key, person: str, tokens: int, estimated: int = 0) -> Admission:
    """A run that is let in, costs so many tokens, and has ended."""
    admission = await gate.admit(key, person)
    account = Account()
    await admission.pay_for(account)
    account.tokens = TokensCounted(tokens, 0, tokens)
    account.estimated = TokensCounted(estimated, 0, estimated)
    account.close()
    await idle()
    await admission.leave()
    return admission


async def refused(gate: Gate, key: Key, person: str = ADA) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        await gate.admit(key, person)
    return caught.value


PER_MINUTE, STREAMS = Allowance(requests_per_minute=1), Allowance(streams=1)
PER_DAY, PER_MONTH = Allowance(tokens_per_day=200_000), Allowance(tokens_per_month=200_000)
REQUESTS = {
    "x-ratelimit-limit-requests": "1",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1m0s",
}
TOKENS = {"x-ratelimit-limit-tokens": "200000", "x-ratelimit-remaining-tokens": "0"}
NO_RETRY = {"x-should-retry": "false"}
# who is limited, and how -> code, sentence, and headers of the refusal
REFUSALS: dict[str, tuple[Key, str, str, dict[str, str]]] = {
    "user.requests_per_minute": (
        key(PER_MINUTE),
        "rate_limit_exceeded",
        "You can send 1 message a minute. You can go on in 60 seconds.",
        {"retry-after": "60", **REQUESTS},
    ),
    "key.requests_per_minute": (
        key(all=PER_MINUTE),
        "rate_limit_exceeded",
        "All who use this key can send 1 message a minute together. It goes on in 60 seconds.",
        {"retry-after": "60", **REQUESTS},
    ),
    "user.streams": (
        key(STREAMS),
        "rate_limit_exceeded",
        "You can have 1 answer under way at one time. You can go on when one has ended.",
        {"retry-after": "5"},
    ),
    "key.streams": (
        key(all=STREAMS),
        "rate_limit_exceeded",
        "All who use this key can have 1 answer under way at one time. It goes on when one has ended.",
        {"retry-after": "5"},
    ),
    "user.tokens_per_day": (
        key(PER_DAY),
        "insufficient_quota",
        "Your 200,000 tokens for today are used up. You can go on tomorrow at 00:00 UTC.",
        {"retry-after": "43200", "x-ratelimit-reset-tokens": "12h0m0s", **TOKENS, **NO_RETRY},
    ),
    "user.tokens_per_month": (
        key(PER_MONTH),
        "insufficient_quota",
        "Your 200,000 tokens for this month are used up. You can go on at 00:00 UTC on 1 December.",
        {"retry-after": "43200", "x-ratelimit-reset-tokens": "12h0m0s", **TOKENS, **NO_RETRY},
    ),
    "key.tokens_per_day": (
        key(all=PER_DAY),
        "insufficient_quota",
        "The 200,000 tokens of all who use this key are used up for today. It goes on tomorrow at 00:00 UTC.",
        {"retry-after": "43200", "x-ratelimit-reset-tokens": "12h0m0s", **TOKENS, **NO_RETRY},
    ),
    "key.tokens_per_month": (
        key(all=PER_MONTH),
        "insufficient_quota",
        "The 200,000 tokens of all who use this key are used up for this month. It goes on at 00:00 UTC on 1 December.",
        {"retry-after": "43200", "x-ratelimit-reset-tokens": "12h0m0s", **TOKENS, **NO_RETRY},
    ),
}


@pytest.mark.parametrize("limit", REFUSALS)
async def test_a_refusal_says_what_is_reached_and_when_it_goes_on(gate: Gate, limit: str) -> None:
    of, code, words, headers = REFUSALS[limit]
    if "tokens" in limit:
        await run(gate, of, ADA, 250_000)
    else:
        await gate.admit(of, ADA)
    error = await refused(gate, of)

    assert (error.status_code, error.code, error.limit, str(error)) == (429, code, limit, words)
    assert error.headers == headers


@pytest.mark.parametrize("limit", REFUSALS)
async def test_nobody_pays_for_somebody_else_but_for_all_who_use_the_key(gate: Gate, limit: str) -> None:
    of, *_ = REFUSALS[limit]
    if "tokens" in limit:
        await run(gate, of, ADA, 250_000)
    else:
        await gate.admit(of, ADA)
    if limit.startswith("user."):
        await gate.admit(of, BOB)
    else:
        assert (await refused(gate, of, BOB)).limit == limit
    await gate.admit(key(of.user_limits, of.limits, name="another"), ADA)


async def test_a_budget_may_be_overdrawn_once_by_the_run_that_uses_it_up(gate: Gate) -> None:
    of = key(Allowance(tokens_per_day=20))
    first = await run(gate, of, ADA, 18)
    assert first.headers["x-ratelimit-remaining-tokens"] == "20"
    second = await run(gate, of, ADA, 18)
    assert second.headers["x-ratelimit-remaining-tokens"] == "2"

    assert (await refused(gate, of)).limit == "user.tokens_per_day"
    assert (await gate.spent(Payer("school", ADA), DAY)).total == 36


async def test_a_run_that_has_told_what_it_costs_counts_before_letta_has_ended_it(gate: Gate) -> None:
    of = key(Allowance(tokens_per_day=20))
    admission, account = await gate.admit(of, ADA), Account()
    await admission.pay_for(account)
    await gate.admit(of, ADA)
    account.tokens = TokensCounted(11, 9, 20)
    await refused(gate, of)
    account.close()
    await idle()

    await refused(gate, of)
    assert (await gate.spent(Payer("school", ADA), DAY)).total == 20


async def test_a_day_and_a_month_begin_anew(gate: Gate, clock: Clock) -> None:
    of = key(Allowance(tokens_per_day=20, tokens_per_month=50))
    await run(gate, of, ADA, 30)
    assert (await refused(gate, of)).limit == "user.tokens_per_day"
    clock.now -= 24 * 3600
    await run(gate, of, ADA, 30)
    assert (await refused(gate, of)).limit == "user.tokens_per_day"
    clock.now -= 24 * 3600
    assert (await refused(gate, of)).limit == "user.tokens_per_month"
    clock.now = NOON + HALF_A_DAY

    assert (await gate.admit(of, ADA)).headers["x-ratelimit-remaining-tokens"] == "20"


async def test_what_is_refused_has_taken_nothing(gate: Gate) -> None:
    spends = key(Allowance(requests_per_minute=2, streams=2, tokens_per_day=20))
    await run(gate, spends, ADA, 30)
    for _ in range(5):
        assert (await refused(gate, spends)).limit == "user.tokens_per_day"
    shared = key(Allowance(requests_per_minute=2), Allowance(requests_per_minute=1, streams=1))
    await gate.admit(shared, BOB)
    for _ in range(5):
        assert (await refused(gate, shared, ADA)).limit == "key.requests_per_minute"

    standings = await gate.standings(spends, ADA)
    assert [(each.limit, each.remaining) for each in standings] == [
        ("requests_per_minute", 1),
        ("streams", 2),
        ("tokens_per_day", 0),
    ]


async def test_a_request_that_joined_another_s_run_after_all_gets_everything_back(gate: Gate) -> None:
    of = key(Allowance(requests_per_minute=1, streams=1))
    admission = await gate.admit(of, ADA)
    await admission.pay_for(None)

    await gate.admit(of, ADA)


async def test_an_admission_that_is_left_twice_is_left_once(gate: Gate) -> None:
    of = key(Allowance(streams=2))
    first, _ = await gate.admit(of, ADA), await gate.admit(of, ADA)
    await first.leave()
    await first.leave()

    await gate.admit(of, ADA)
    assert (await refused(gate, of)).limit == "user.streams"


async def test_limits_that_have_changed_apply_at_once_to_what_was_counted_before(gate: Gate) -> None:
    await run(gate, key(), ADA, 100)
    assert (await refused(gate, key(Allowance(tokens_per_day=100)))).limit == "user.tokens_per_day"
    admission = await gate.admit(key(Allowance(tokens_per_day=150)), ADA)

    assert admission.headers["x-ratelimit-remaining-tokens"] == "50"


async def test_without_limits_a_run_is_counted_and_nothing_is_told(gate: Gate) -> None:
    admission = await run(gate, key(), ADA, 12, estimated=5)

    assert admission.headers == {}
    assert not admission.is_stream
    for payer, period in itertools.product((Payer("school", ADA), Payer("school")), (DAY, MONTH)):
        assert await gate.spent(payer, period) == Spent(1, 12, 0, 12, 5)


async def test_a_task_is_paid_by_all_who_use_the_key_and_is_no_answer(gate: Gate) -> None:
    of = key(Allowance(tokens_per_day=5, requests_per_minute=1), Allowance(tokens_per_day=20, requests_per_minute=1))
    for _ in range(2):
        admission, account = await gate.admit_task(of), Account(tokens=TokensCounted(8, 4, 12))
        await admission.pay_for(account)
        account.close()
        await idle()
    with pytest.raises(LimitReached, match="of all who use this key"):
        await gate.admit_task(of)

    assert await gate.spent(Payer("school"), DAY) == Spent(0, 16, 8, 24)
    assert await gate.spent(Payer("school", ADA), DAY) == NOTHING_SPENT


def test_the_headers_tell_of_the_limit_of_which_least_remains() -> None:
    standings = [
        Standing("user", "tokens_per_day", 100, 40, 90.0),
        Standing("key", "tokens_per_month", 1000, 30, 7200.0),
        Standing("key", "requests_per_minute", 60, 59, 1.0),
    ]

    assert to_headers(standings) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "30",
        "x-ratelimit-reset-tokens": "2h0m0s",
    }


runs = st.lists(st.tuples(st.sampled_from([ADA, BOB]), st.integers(0, 50), st.integers(0, 5)), max_size=12)


@given(runs, st.randoms(use_true_random=False))
def test_what_people_spend_is_theirs_whatever_order_their_runs_begin_and_end_in(
    asked: list[tuple[str, int, int]], order: Random
) -> None:
    async def play() -> dict[str, int]:
        book = MemoryBook()
        gate = Gate(OwnCounters(book), Clock())
        await gate.counters.start()
        under_way: list[tuple[Account, int]] = []
        for person, tokens, ends in asked:
            admission, account = await gate.admit(key(), person), Account()
            await admission.pay_for(account)
            under_way.append((account, tokens))
            for _ in range(min(ends, len(under_way))):
                its, cost = under_way.pop(order.randrange(len(under_way)))
                its.tokens = TokensCounted(cost, 0, cost)
                its.close()
                await asyncio.sleep(order.choice([0, 0.5, 2]))
        for its, cost in under_way:
            its.tokens = TokensCounted(cost, 0, cost)
            its.close()
        await gate.aclose()
        return {payer.person: spent.total for (payer, period), spent in book.rows.items() if period == DAY}

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        totals = runner.run(play())
    for person in (ADA, BOB):
        assert totals.get(person, 0) == sum(tokens for one, tokens, _ in asked if one == person)
    assert totals.get("", 0) == sum(tokens for _, tokens, _ in asked)


# In the background


async def test_so_many_may_begin_in_the_background_within_an_hour_and_one_more_is_told_when(
    gate: Gate, clock: Clock
) -> None:
    for _ in range(2):
        await gate.admit(key(), ADA, 2)
    with pytest.raises(LimitReached) as caught:
        await gate.admit(key(), ADA, 2)
    error = caught.value

    assert (error.limit, error.code, error.param) == ("user.background_per_hour", "rate_limit_exceeded", "background")
    assert str(error) == (
        "You can begin 2 answers an hour in the background. You can begin the next one in 30 minutes."
    )
    assert error.headers["retry-after"] == "1800"
    # Others, and what does not go on in the background, are not held up.
    await gate.admit(key(), BOB, 2)
    await gate.admit(key(), ADA)
    clock.now += 1801
    await gate.admit(key(), ADA, 2)


async def test_one_that_is_refused_for_another_reason_takes_nothing_of_the_hour(gate: Gate) -> None:
    limited = key(STREAMS)
    admission = await gate.admit(limited, ADA, 2)
    for _ in range(3):
        with pytest.raises(LimitReached) as caught:
            await gate.admit(limited, ADA, 2)
        assert caught.value.limit == "user.streams"
    await admission.leave()

    await gate.admit(limited, ADA, 2)


async def test_where_none_may_be_in_the_background_none_is(gate: Gate) -> None:
    with pytest.raises(LimitReached) as caught:
        await gate.admit(key(), ADA, 0)

    assert str(caught.value) == "Nothing can be begun in the background here."
