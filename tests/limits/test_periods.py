"""Days and months of the calendar, and times to wait as OpenAI writes them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.periods import (
    at,
    begin_of_day,
    begin_of_month,
    day_of,
    in_openai_form,
    month_of,
    next_day,
    next_month,
    oldest_kept,
)

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
# https://developers.openai.com/api/docs/guides/rate-limits has the first two of these
FORMS = {0: "0s", 1: "1s", 360: "6m0s", 0.2: "1s", 59.001: "1m0s", 3600: "1h0m0s", 27_012: "7h30m12s", -3: "0s"}
MONTHS = {
    datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC): datetime(2026, 12, 1, tzinfo=UTC),
    datetime(2026, 12, 31, tzinfo=UTC): datetime(2027, 1, 1, tzinfo=UTC),
    datetime(2028, 2, 29, 12, tzinfo=UTC): datetime(2028, 3, 1, tzinfo=UTC),
    datetime(2026, 2, 1, tzinfo=UTC): datetime(2026, 3, 1, tzinfo=UTC),
}


@pytest.mark.parametrize(("seconds", "form"), FORMS.items())
def test_a_time_is_written_as_openai_does_and_rounded_up(seconds: float, form: str) -> None:
    assert in_openai_form(seconds) == form


@pytest.mark.parametrize(("moment", "after"), MONTHS.items(), ids=str)
def test_the_next_month_begins_on_its_first_day(moment: datetime, after: datetime) -> None:
    assert next_month(moment) == after


@given(moments)
def test_a_moment_lies_between_the_begin_and_the_end_of_its_day_and_its_month(moment: datetime) -> None:
    assert begin_of_month(moment) <= begin_of_day(moment) <= moment < next_day(moment) <= next_month(moment)
    assert day_of(moment) != day_of(next_day(moment))
    assert month_of(moment) != month_of(next_month(moment))
    assert month_of(next_month(moment) - timedelta(microseconds=1)) == month_of(moment)


def test_the_day_is_that_of_greenwich() -> None:
    assert day_of(at(1_796_083_199)) == "2026-11-30"
    assert day_of(at(1_796_083_200)) == "2026-12-01"


def test_days_of_two_months_and_months_of_a_year_are_kept() -> None:
    assert oldest_kept(datetime(2026, 11, 30, 12, tzinfo=UTC)) == ("2026-09-29", "2025-11")
