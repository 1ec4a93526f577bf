"""`letta-gateway usage`: what the operator is told of what people have used."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gateway.cli import main
from gateway.commands.usage_report import UsageAsked, tell_usage_of
from gateway.configuration import SettingsError
from gateway.limits.counters import CannotKeep, Payer, Spent
from gateway.limits.usage_file import FILE_NAME, UsageFile
from gateway.settings import Key, Secret, Settings, Sharing
from gateway.turns.chats.markers import user_digest
from tests.gateways import settings_for
from tests.limits.redis_counters import counting
from tests.servers.redis_server import RedisServer

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WEB = Key(name="web", key=Secret("1"), scope="people")
APP = Key(name="app", key=Secret("2"), scope="people")
BOT = Key(name="bot", key=Secret("3"), user_means="ignored")
ADA, BOB, THE_BOT = user_digest("people", "ada"), user_digest("people", "bob"), user_digest("bot", "bot")
SPENT: Mapping[tuple[Payer, str], Spent] = {
    (Payer("web"), "2026-11-30"): Spent(2, 31, 10, 41, 23),
    (Payer("web", ADA), "2026-11-30"): Spent(2, 31, 10, 41, 23),
    (Payer("web"), "2026-11"): Spent(1203, 4011, 1010, 5021, 23),
    (Payer("web", ADA), "2026-11"): Spent(2, 31, 10, 41, 23),
    (Payer("web", BOB), "2026-11"): Spent(1, 11, 7, 18),
    (Payer("web", BOB), "2026-11-02"): Spent(1, 11, 7, 18),
    (Payer("web", ADA), "2026-10"): Spent(1, 11, 7, 18),
    (Payer("web", ADA), "2026-10-31"): Spent(1, 11, 7, 18),
    (Payer("app", ADA), "2026-11"): Spent(5, 50, 5, 55),
    (Payer("bot", THE_BOT), "2026-11"): Spent(1, 1, 1, 2),
    (Payer("gone", BOB), "2026-11"): Spent(1, 1, 1, 2),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = UsageFile(tmp_path / FILE_NAME)
    file.add(dict(SPENT), NOW)
    file.close()
    return settings_for("http://letta", keys=(WEB, APP, BOT), state=str(tmp_path))


def told(capsys: pytest.CaptureFixture[str], settings: Settings, **asked: str) -> list[str]:
    tell_usage_of(settings, UsageAsked(**asked), NOW)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"From {settings.server.state}/{FILE_NAME}; times are UTC."
    return lines


def test_a_key_and_its_people_are_told_of_today_and_this_month(
    capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    ada, bob = sorted(
        [
            (
                ADA[:8],
                "    2026-11-30: 2 answers, 41 tokens (31 in, 10 out, 23 of them estimated)",
                "    2026-11: 2 answers, 41 tokens (31 in, 10 out, 23 of them estimated)",
            ),
            (
                BOB[:8],
                "    2026-11-30: 0 answers, 0 tokens (0 in, 0 out)",
                "    2026-11: 1 answer, 18 tokens (11 in, 7 out)",
            ),
        ]
    )

    assert told(capsys, settings, key="web") == [
        "key web, all who use it together",
        "    2026-11-30: 2 answers, 41 tokens (31 in, 10 out, 23 of them estimated)",
        "    2026-11: 1,203 answers, 5,021 tokens (4,011 in, 1,010 out, 23 of them estimated)",
        f"  person {ada[0]}",
        *ada[1:],
        f"  person {bob[0]}",
        *bob[1:],
    ]


# what is asked -> keys, persons and periods that are told of
ASKED: dict[str, tuple[dict[str, str], list[tuple[str, str, str]]]] = {
    "a person, at every key": (
        {"user": "ada", "month": "2026-11"},
        [
            ("app", ADA[:8], "2026-11"),
            ("bot", THE_BOT[:8], "2026-11"),
            ("web", ADA[:8], "2026-11-30"),
            ("web", ADA[:8], "2026-11"),
        ],
    ),
    "a person at one key": (
        {"user": "ada", "key": "app"},
        [("app", ADA[:8], "2026-11-30"), ("app", ADA[:8], "2026-11")],
    ),
    "a month, day by day": (
        {"month": "2026-10"},
        [("web", ADA[:8], "2026-10-31"), ("web", ADA[:8], "2026-10")],
    ),
    "a key whose callers are one person": (
        {"user": "whoever", "key": "bot", "month": "2026-11"},
        [("bot", THE_BOT[:8], "2026-11")],
    ),
    "a key that is there no more": ({"key": "gone", "month": "2026-11"}, [("gone", BOB[:8], "2026-11")]),
    "a month before there was anything": ({"month": "2020-01"}, []),
    "somebody unknown": ({"user": "nobody", "key": "web"}, []),
}


@pytest.mark.parametrize(("asked", "rows"), ASKED.values(), ids=list(ASKED))
def test_as_json_it_tells_the_rows_that_are_asked_for(
    capsys: pytest.CaptureFixture[str], settings: Settings, asked: dict[str, str], rows: list[tuple[str, str, str]]
) -> None:
    tell_usage_of(settings, UsageAsked(**asked), NOW, in_json=True)
    found = json.loads(capsys.readouterr().out)

    assert [(row["key"], row["person"], row["period"]) for row in found] == rows
    assert all(row["total_tokens"] == row["input_tokens"] + row["output_tokens"] for row in found)


def test_nothing_is_said_to_be_nothing(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    assert told(capsys, settings, month="2020-01") == ["Nothing was used."]


@pytest.mark.parametrize("month", ["2026", "2026-13", "2026-1", "today", "2026-11-30"])
def test_a_month_that_is_none_is_a_mistake(settings: Settings, month: str) -> None:
    with pytest.raises(SettingsError, match=f"--month: `{month}`: expected a month such as `2026-11`"):
        tell_usage_of(settings, UsageAsked(month=month), NOW)


def test_where_nothing_is_kept_it_says_what_to_set() -> None:
    with pytest.raises(CannotKeep, match=r"set \[server\] state"):
        tell_usage_of(settings_for("http://letta"), UsageAsked(), NOW)


def test_before_anything_was_used_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotKeep, match="Nothing was used yet"):
        tell_usage_of(settings_for("http://letta", state=str(tmp_path)), UsageAsked(), NOW)


def test_it_reads_beside_a_gateway_that_writes(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    assert settings.server.state
    file = UsageFile(Path(settings.server.state) / FILE_NAME)
    file.add({(Payer("web", ADA), "2026-10"): Spent(1, 1, 1, 2)}, NOW)
    lines = told(capsys, settings, user="ada", month="2026-10")
    file.close()

    assert lines[-1] == "    2026-10: 2 answers, 20 tokens (12 in, 8 out)"


def test_the_command_takes_the_state_directory_of_its_line(
    capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    state = str(settings.server.state)
    main(["usage", "--state", state, "--key", "web", "--user", "nobody"])

    assert capsys.readouterr().out.splitlines()[-1] == "Nothing was used."


def test_the_command_exits_with_1_where_there_is_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["usage", "--state", str(tmp_path)])

    assert ended.value.code == 1
    assert capsys.readouterr().err == f"Nothing was used yet: there is no {tmp_path / FILE_NAME}.\n"


@pytest.mark.full
def test_what_several_gateways_share_is_told_as_the_file_is(
    capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    questions: list[dict[str, str]] = [{}, *(asked for asked, _ in ASKED.values())]
    before = []
    for asked in questions:
        tell_usage_of(settings, UsageAsked(**asked), NOW)
        before.append(capsys.readouterr().out.splitlines()[1:])
    with RedisServer() as server:
        shared = msgspec.structs.replace(settings, shared=Sharing(url=Secret(server.url)))

        async def spend() -> None:
            async with counting(server, "letta-gateway") as counters:
                for (payer, period), spent in SPENT.items():
                    await counters.spend(payer, (period,), spent)

        asyncio.run(spend())
        for asked, lines in zip(questions, before, strict=True):
            tell_usage_of(shared, UsageAsked(**asked), NOW)
            assert capsys.readouterr().out.splitlines() == [f"From {server.url}; times are UTC.", *lines]
        server.stop()
        with pytest.raises(CannotKeep, match="Redis does not tell what was used"):
            tell_usage_of(shared, UsageAsked(), NOW)
