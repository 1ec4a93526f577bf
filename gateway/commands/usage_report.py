"""`letta-gateway usage`: what people have used, by key and by person.

It is read from the file in the state directory, or from the Redis that several gateways share, and may be asked while
the gateway runs, which writes what is used within a second. People are shown by the beginning of
their digest, as `check --user ID` shows it; their ids are in no file.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import Struct

from gateway.choices import link_for, state_for
from gateway.commands.announcement import plain_address
from gateway.configuration import SettingsError
from gateway.limits.counters import NOTHING_SPENT, CannotKeep, Payer, Row, Spent
from gateway.limits.periods import day_of, month_of
from gateway.limits.usage_file import FILE_NAME, UsageFile
from gateway.settings import OPEN_KEY, Settings
from gateway.shared.asking import Away
from gateway.turns.chats.markers import user_digest

# So many digits of a person's digest are shown: enough to tell a million people apart, mostly.
SHOWN_DIGITS = 8
MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class UsageAsked(Struct, frozen=True):
    """The question: `UsageAsked("open-webui", "ada", "2026-11")`, or `UsageAsked()` about everybody now."""

    key: str | None = None
    """The name of a key, which the configuration need not have any more; None for every key."""
    user: str | None = None
    """The id of a person, as requests give it; None for everybody."""
    month: str | None = None
    """None: today, and this month."""


class UsageRow(Struct, frozen=True):
    """A line of the report; as JSON it has these fields."""

    key: str
    person: str
    """The first digits of the person's digest; empty: all who use the key."""
    period: str
    answers: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    estimated_tokens: int


def tell_usage_of(settings: Settings, asked: UsageAsked, now: datetime, in_json: bool = False) -> None:
    """Print the report. Raises SettingsError, CannotKeep."""
    if asked.month and not MONTH.fullmatch(asked.month):
        raise SettingsError("--month", "", f"`{asked.month}`: expected a month such as `{month_of(now)}`")
    if settings.shared.url:
        place = plain_address(settings.shared.url.reveal())
        rows = list(_rows(asyncio.run(_read_shared(settings, asked.month or month_of(now))), settings, asked, now))
    else:
        place, rows = _from_file(settings, asked, now)
    if in_json:
        print(msgspec.json.encode(rows).decode())
        return
    print(f"From {place}; times are UTC.")
    for line in _lines(rows):
        print(line)
    if not rows:
        print("Nothing was used.")


class _Kept(Protocol):
    """A place that has sums."""

    def payers(self, period: str) -> list[tuple[Payer, Spent]]: ...
    def days(self, payer: Payer, month: str) -> list[tuple[str, Spent]]: ...


class _SharedSums:
    """The sums of a month that were read from a Redis; carries out `_Kept`."""

    def __init__(self, rows: dict[Row, Spent]) -> None:
        self._rows = sorted(rows.items(), key=lambda row: (row[0][0].key, row[0][0].person, row[0][1]))

    def payers(self, period: str) -> list[tuple[Payer, Spent]]:
        return [(payer, spent) for (payer, of), spent in self._rows if of == period]

    def days(self, payer: Payer, month: str) -> list[tuple[str, Spent]]:
        return [(of, spent) for (one, of), spent in self._rows if one == payer and of.startswith(f"{month}-")]


async def _read_shared(settings: Settings, month: str) -> _SharedSums:
    """Raises CannotKeep."""
    from gateway.limits.shared_spending import read_shared_sums  # Redis' client, which not every gateway has

    link = link_for(settings)
    assert link
    await link.start()
    try:
        return _SharedSums(await read_shared_sums(link, month))
    except Away as error:
        raise CannotKeep(f"Redis does not tell what was used: {error}. `letta-gateway check` says more.") from error
    finally:
        await link.aclose()


def _from_file(settings: Settings, asked: UsageAsked, now: datetime) -> tuple[str, list[UsageRow]]:
    """The place of the file, and what it has. Raises CannotKeep."""
    state = state_for(settings)
    if state is None:
        raise CannotKeep("Nothing is kept: set [server] state to the directory to keep in what is used.")
    path = state / FILE_NAME
    if not path.exists():
        raise CannotKeep(f"Nothing was used yet: there is no {path}.")
    file = UsageFile(path, writes=False)
    try:
        return str(path), list(_rows(file, settings, asked, now))
    finally:
        file.close()


def _rows(file: _Kept, settings: Settings, asked: UsageAsked, now: datetime) -> Iterator[UsageRow]:
    month = asked.month or month_of(now)
    people = _digests(settings, asked)
    today = {} if asked.month else dict(file.payers(day_of(now)))
    for payer, spent in file.payers(month):
        if asked.key not in (None, payer.key) or (people is not None and (payer.key, payer.person) not in people):
            continue
        if asked.month:
            yield from (_row(payer, day, of_day) for day, of_day in file.days(payer, month))
        else:
            yield _row(payer, day_of(now), today.get(payer, NOTHING_SPENT))
        yield _row(payer, month, spent)


def _digests(settings: Settings, asked: UsageAsked) -> set[tuple[str, str]] | None:
    """The keys, each with the digest of the person who is asked about; None for everybody."""
    if asked.user is None:
        return None
    keys = settings.keys or (OPEN_KEY,)
    return {(key.name, user_digest(key.user_scope, key.person_of(asked.user))) for key in keys}


def _row(payer: Payer, period: str, spent: Spent) -> UsageRow:
    return UsageRow(
        payer.key,
        payer.person[:SHOWN_DIGITS],
        period,
        spent.answers,
        spent.prompt,
        spent.completion,
        spent.total,
        spent.estimated,
    )


def _lines(rows: Iterable[UsageRow]) -> Iterator[str]:
    """The rows as a person reads them, those of one payer under its name."""
    before = None
    for row in rows:
        if (row.key, row.person) != before:
            yield f"  person {row.person}" if row.person else f"key {row.key}, all who use it together"
            before = row.key, row.person
        estimated = f", {row.estimated_tokens:,} of them estimated" if row.estimated_tokens else ""
        answers = "1 answer" if row.answers == 1 else f"{row.answers:,} answers"
        tokens = f"{row.total_tokens:,} tokens ({row.input_tokens:,} in, {row.output_tokens:,} out{estimated})"
        yield f"    {row.period}: {answers}, {tokens}"
