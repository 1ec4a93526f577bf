"""The file of what is spent: sums that are right, and files that are no such file."""

import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.limits.counters import NOTHING_SPENT, CannotKeep, Payer, Spent
from gateway.limits.usage_file import FILE_NAME, UsageFile

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ADA, BOB, ALL = Payer("school", "0a" * 16), Payer("school", "0b" * 16), Payer("school")
DAY, MONTH = "2026-11-30", "2026-11"
ONE, TWO = Spent(1, 11, 7, 18), Spent(1, 20, 3, 23, 23)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / FILE_NAME


def test_sums_are_there_when_the_file_is_opened_again(path: Path) -> None:
    file = UsageFile(path)
    assert file.add({(ADA, DAY): ONE, (ALL, DAY): ONE}, NOW) == {(ADA, DAY): ONE, (ALL, DAY): ONE}
    assert file.add({(ADA, DAY): TWO}, NOW) == {(ADA, DAY): ONE.plus(TWO)}
    file.close()
    again = UsageFile(path)

    assert again.read((ADA, DAY)) == Spent(2, 31, 10, 41, 23)
    assert again.read((ALL, DAY)) == ONE
    assert again.read((BOB, DAY)) == again.read((ADA, MONTH)) == NOTHING_SPENT
    again.close()


def test_two_gateways_add_to_one_sum_and_each_gets_the_whole(path: Path) -> None:
    first, second = UsageFile(path), UsageFile(path)
    first.add({(ADA, DAY): ONE}, NOW)

    assert second.add({(ADA, DAY): TWO}, NOW) == {(ADA, DAY): ONE.plus(TWO)}
    assert first.read((ADA, DAY)) == ONE.plus(TWO)
    first.close()
    second.close()


def test_only_its_owner_may_read_it(path: Path) -> None:
    UsageFile(path).close()

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_old_days_and_months_are_forgotten_with_the_first_that_is_written_on_a_day(path: Path) -> None:
    file = UsageFile(path)
    kept, gone = (ADA, "2026-09-29"), (ADA, "2026-09-28")
    kept_month, gone_month = (ADA, "2025-11"), (ADA, "2025-10")
    file.add(dict.fromkeys((kept, gone, kept_month, gone_month), ONE), NOW - timedelta(days=62))
    file.add({(ADA, DAY): ONE}, NOW)

    assert [file.read(row) for row in (kept, kept_month)] == [ONE, ONE]
    assert [file.read(row) for row in (gone, gone_month)] == [NOTHING_SPENT, NOTHING_SPENT]
    file.close()


def test_it_tells_who_has_spent_something_and_on_which_days(path: Path) -> None:
    file = UsageFile(path)
    file.add({(ADA, DAY): ONE, (ALL, DAY): TWO, (ADA, "2026-11-02"): TWO, (ADA, MONTH): TWO}, NOW)
    file.close()
    seen = UsageFile(path, writes=False)

    assert seen.payers(DAY) == [(ALL, TWO), (ADA, ONE)]
    assert seen.days(ADA, MONTH) == [("2026-11-02", TWO), (DAY, ONE)]
    with pytest.raises(CannotKeep, match="readonly"):
        seen.add({(ADA, DAY): ONE}, NOW)
    seen.close()


def test_what_fails_halfway_is_not_added_at_all(path: Path) -> None:
    file = UsageFile(path)
    with pytest.raises(CannotKeep):
        file.add({(ADA, DAY): ONE, (BOB, DAY): Spent(total="x" * 10, answers=None)}, NOW)  # type: ignore[arg-type]

    assert file.read((ADA, DAY)) == NOTHING_SPENT
    assert file.add({(ADA, DAY): ONE}, NOW) == {(ADA, DAY): ONE}
    file.close()


def of_text(path: Path) -> None:
    path.write_text("spent: 12\n" * 500)


def of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE notes (text)")
    database.close()


def of_a_newer_version(path: Path) -> None:
    UsageFile(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    database.close()


def overwritten(path: Path) -> None:
    file = UsageFile(path)
    file.add({(Payer("k", f"{i:032x}"), DAY): ONE for i in range(2000)}, NOW)
    file.close()
    with path.open("r+b") as opened:
        opened.seek(8192)
        opened.write(b"\xff" * 20_000)


def cut(path: Path) -> None:
    file = UsageFile(path)
    file.add({(Payer("k", f"{i:032x}"), DAY): ONE for i in range(2000)}, NOW)
    file.close()
    os.truncate(path, path.stat().st_size // 2)


def of_a_folder(path: Path) -> None:
    path.mkdir()


# how the file came to be -> what is said of it
UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a text": (of_text, r"is damaged \(file is not a database\): bring it back"),
    "another program's database": (of_another_program, "is no file of the gateway's"),
    "a newer gateway's": (of_a_newer_version, r"of another version of the gateway \(2, and this one has 1\)"),
    "one that was overwritten": (overwritten, "is damaged"),
    "one that was cut": (cut, "is damaged"),
    "a folder": (of_a_folder, "unable to open|disk I/O error"),
}


@pytest.mark.parametrize("writes", [True, False], ids=["to write", "to read"])
@pytest.mark.parametrize(("make", "words"), UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_file_that_is_not_whole_or_not_ours_is_left_as_it_is_and_said_to_be_so(
    tmp_path: Path, make: Callable[[Path], None], words: str, writes: bool
) -> None:
    path = tmp_path / FILE_NAME
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(CannotKeep, match=words):
        UsageFile(path, writes)

    assert before == (path.read_bytes() if path.is_file() else b"")


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(CannotKeep, match="state"):
        UsageFile(tmp_path / "state" / FILE_NAME)
