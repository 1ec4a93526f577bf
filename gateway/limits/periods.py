"""Days and months of the calendar (UTC), and the way in which OpenAI writes a time to wait. Performs no I/O."""

from datetime import UTC, datetime, timedelta

# Days of the file are kept for about two months, months for a year and the one under way.
KEPT_DAYS, KEPT_MONTHS = 62, 13


def day_of(moment: datetime) -> str:
    """`2026-11-30`."""
    return f"{moment:%Y-%m-%d}"


def month_of(moment: datetime) -> str:
    """`2026-11`."""
    return f"{moment:%Y-%m}"


def at(seconds: float) -> datetime:
    """The moment so many seconds after the begin of 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def begin_of_day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def begin_of_month(moment: datetime) -> datetime:
    return begin_of_day(moment).replace(day=1)


def next_day(moment: datetime) -> datetime:
    """The begin of the day after."""
    return begin_of_day(moment) + timedelta(days=1)


def next_month(moment: datetime) -> datetime:
    """The begin of the month after."""
    # The 28th and four days more are in it, whatever month this is.
    return begin_of_month(moment.replace(day=28) + timedelta(days=4))


def oldest_kept(moment: datetime) -> tuple[str, str]:
    """The oldest day and the oldest month that are kept: `("2026-09-29", "2025-11")`."""
    month = moment
    for _ in range(KEPT_MONTHS - 1):
        month = begin_of_month(month) - timedelta(days=1)
    return day_of(moment - timedelta(days=KEPT_DAYS)), month_of(month)


def in_openai_form(seconds: float) -> str:
    """A time as OpenAI's headers tell it: `1s`, `6m0s`, `7h30m12s`, and `0s` for none; rounded up.

    https://developers.openai.com/api/docs/guides/rate-limits
    """
    whole = whole_seconds(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


def whole_seconds(seconds: float) -> int:
    """Seconds to wait, as a whole number: a part of one is a whole one."""
    return max(-int(-seconds // 1), 0)
