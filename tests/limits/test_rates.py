"""Requests a minute: as many at once, then one whenever its share of the minute has passed; never more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.rates import MINUTE, take

START = 1_790_000_000.0
limits = st.integers(1, 200)


def taken(per_minute: int, waits: list[float]) -> list[float]:
    """The moments, from the first on, at which requests that come after such waits are let in."""
    now, paid_back, let_in = START, 0.0, []
    for wait in waits:
        now += wait
        rate, paid_back = take(paid_back, per_minute, now, 1)
        if rate.taken:
            let_in.append(now - START)
    return let_in


def test_as_many_are_let_in_at_once_as_may_come_in_a_minute_and_then_one_for_each_share_of_it() -> None:
    assert taken(3, [0.0] * 5) == [0.0, 0.0, 0.0]
    assert taken(3, [0.0, 0.0, 0.0, 19.0, 1.5, 0.0, 19.6]) == pytest.approx([0.0, 0.0, 0.0, 20.5, 40.1])


@given(limits, st.lists(st.floats(0, 90), max_size=300))
def test_never_more_are_let_in_than_a_full_minute_s_and_one_for_each_share_that_has_passed(
    per_minute: int, waits: list[float]
) -> None:
    let_in = taken(per_minute, waits)

    for first, begin in enumerate(let_in):
        for last in range(first, len(let_in)):
            passed = (let_in[last] - begin) / (MINUTE / per_minute)
            assert last - first + 1 <= per_minute + passed + 0.05


@given(limits, st.lists(st.floats(0, 5), min_size=1, max_size=100))
def test_one_who_waits_as_he_is_told_is_let_in(per_minute: int, waits: list[float]) -> None:
    now, paid_back = START, 0.0
    for wait in waits:
        now += wait
        rate, paid_back = take(paid_back, per_minute, now, 1)
        if not rate.taken:
            again, paid_back = take(paid_back, per_minute, now + rate.room_after, 1)
            now += rate.room_after
            assert again.taken


@given(limits, st.integers(0, 200))
def test_what_remains_can_be_taken_and_no_more(per_minute: int, before: int) -> None:
    paid_back = 0.0
    for _ in range(before):
        rate, paid_back = take(paid_back, per_minute, START, 1)
    looked, same = take(paid_back, per_minute, START, 0)
    assert looked.remaining == max(per_minute - before, 0)
    for _ in range(looked.remaining):
        rate, same = take(same, per_minute, START, 1)
        assert rate.taken

    assert not take(same, per_minute, START, 1)[0].taken


def test_one_that_is_given_back_can_be_taken_again() -> None:
    rate, paid_back = take(0.0, 1, START, 1)
    assert rate.taken
    assert not take(paid_back, 1, START, 1)[0].taken
    rate, paid_back = take(paid_back, 1, START, -1)

    assert take(paid_back, 1, START, 1)[0].taken


def test_giving_back_what_was_never_taken_makes_no_room() -> None:
    _, paid_back = take(0.0, 2, START, -1)

    assert take(paid_back, 2, START, 0)[0].remaining == 2


def test_a_clock_that_was_set_back_by_a_year_holds_nobody_up_for_more_than_a_minute() -> None:
    _, paid_back = take(0.0, 1, START, 1)
    rate, _ = take(paid_back, 1, START - 365 * 86_400, 1)

    assert 0 < rate.room_after <= MINUTE


def test_another_limit_counts_from_what_was_taken_before() -> None:
    paid_back = 0.0
    for _ in range(5):
        _, paid_back = take(paid_back, 10, START, 1)

    assert take(paid_back, 20, START, 0)[0].remaining == 10
    assert take(paid_back, 2, START, 0)[0].remaining == 1
