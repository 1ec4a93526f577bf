"""`letta-gateway top`: what it shows of a gateway at work, to whom, and how it ends."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO

import pytest
from rich.console import Console

from gateway.cli import main
from gateway.commands.top_picture import picture, quantile, to_reading
from gateway.http.seen.chats import ChatsUnderWay, ChatUnderWay
from gateway.settings import Key, Secret
from tests.gateways import PROGRAMS, chat, gateway, http
from tests.http.seen.numbers import until
from tests.servers.fake_letta import PING, WORD, FakeLetta, Hold

WATCHER = Key(name="watcher", key=Secret("sk-watch"), metrics=True)
URL = "/v1/chat/completions"

# A histogram, and a part of it -> the value below which that part is.
QUANTILES: dict[str, tuple[dict[str, float], float, float | None]] = {
    "empty": ({}, 0.5, None),
    "without a value": ({"1.0": 0.0, "+Inf": 0.0}, 0.5, None),
    "at a bound": ({"1.0": 5.0, "2.0": 10.0, "+Inf": 10.0}, 0.5, 1.0),
    "between two": ({"1.0": 0.0, "2.0": 10.0, "+Inf": 10.0}, 0.5, 1.5),
    "in the first": ({"1.0": 10.0, "+Inf": 10.0}, 0.5, 0.5),
    "beyond the last": ({"1.0": 1.0, "2.0": 2.0, "+Inf": 10.0}, 0.95, 2.0),
    "in any order": ({"+Inf": 10.0, "10.0": 10.0, "2.5": 5.0}, 0.5, 2.5),
}


@pytest.mark.parametrize(("buckets", "part", "value"), QUANTILES.values(), ids=QUANTILES)
def test_a_part_of_a_histogram_is_below_a_value(buckets: dict[str, float], part: float, value: float | None) -> None:
    assert quantile(part, buckets) == value


NUMBERS = """
letta_gateway_start_time_seconds 1000
letta_gateway_build_info{{version="1.2.3",python="3.11",letta="rest"}} 1
letta_gateway_requests_total{{route="/v1/chat/completions",outcome="ok",agent_type="tutor"}} {well}
letta_gateway_requests_total{{route="/v1/chat/completions",outcome="model_error",agent_type="tutor"}} {wrong}
letta_gateway_requests_total{{route="/v1/chat/completions",outcome="client_left",agent_type="tutor"}} {left}
letta_gateway_requests_total{{route="/v1/chat/completions",outcome="invalid_api_key",agent_type=""}} 3
gen_ai_server_time_to_first_token_seconds_bucket{{gen_ai_request_model="tutor",le="1.0"}} {well}
gen_ai_server_time_to_first_token_seconds_bucket{{gen_ai_request_model="tutor",le="+Inf"}} {well}
gen_ai_client_token_usage_sum{{gen_ai_request_model="tutor",gen_ai_token_type="output"}} {tokens}
letta_gateway_streams 4
letta_gateway_answers 9
letta_gateway_max_streams 10
letta_gateway_runs 11
letta_gateway_connections 12
process_resident_memory_bytes 52428800
"""
SLOW = ChatUnderWay("1f0c22ab", "tutor", 125.0, None, streamed=True)
CHATS = ChatsUnderWay(7, [SLOW, ChatUnderWay("00000000", "[red]cook", 3.25, 0.5)])


def drawn(at: float, before: float | None = None, **numbers: int) -> str:
    """The picture at one moment, of what was since another, when all was half as much."""
    now = to_reading(NUMBERS.format(**numbers), CHATS, at)
    halves = {name: number // 2 for name, number in numbers.items()}
    earlier = None if before is None else to_reading(NUMBERS.format(**halves), CHATS, before)
    lines = StringIO()
    Console(width=120, file=lines).print(picture("http://h:9464", now, earlier))
    return lines.getvalue()


def test_it_shows_what_is_under_way_and_the_rates_of_the_last_minute() -> None:
    shown = drawn(1100, 1040, well=120, wrong=40, left=40, tokens=1200)

    assert "Letta Gateway 1.2.3  http://h:9464  Letta: rest" in shown
    assert "4 streams, 9 answers of 10, 11 runs, 12 connections, 50 MiB" in shown
    assert "In the last 60 s" in shown
    # 100 answers in a minute, of which 20 went wrong and 20 were left.
    assert re.search(r"^tutor +1\.7 +20% +0\.50 s +0\.95 s +10\.0 *$", shown, re.MULTILINE)
    assert "Other outcomes: model_error 20, client_left 20" in shown


def test_its_first_picture_is_of_all_since_the_start() -> None:
    shown = drawn(1200, well=100, wrong=0, left=0, tokens=0)

    assert "Since the start, 3 min ago" in shown
    assert re.search(r"^tutor +0\.5 +0% ", shown, re.MULTILINE)
    assert "Other outcomes: invalid_api_key 3" in shown


def test_it_shows_the_slowest_answers_by_the_digits_of_their_chats_and_what_is_in_names_stays_text() -> None:
    shown = drawn(1200, well=1, wrong=0, left=0, tokens=0)

    assert "The slowest of 7 answers under way" in shown
    assert re.search(r"^1f0c22ab +tutor +2 min +– +yes *$", shown, re.MULTILINE)
    assert re.search(r"^00000000 +\[red\]cook +3\.2 s +0\.50 s +no *$", shown, re.MULTILINE)


def test_after_a_restart_of_the_gateway_it_counts_anew() -> None:
    before = to_reading(NUMBERS.format(well=900, wrong=0, left=0, tokens=0), CHATS, 1100)
    text = NUMBERS.format(well=10, wrong=0, left=0, tokens=0).replace("seconds 1000", "seconds 1150")
    added = to_reading(text, CHATS, 1160).since(before)

    assert (added.at, added.value("letta_gateway_requests_total", outcome="ok")) == (10, 10)


# In front of a gateway


@pytest.fixture
def used() -> Iterator[str]:
    """The address of a gateway that has given an answer, and is about to give another."""
    with (
        FakeLetta() as letta,
        gateway(letta.base_url, keys=(PROGRAMS, WATCHER)) as url,
        http(url) as client,
    ):
        client.post(URL, json=chat())
        until(url, "sk-watch", "letta_gateway_requests_total", outcome="ok", agent_type="tutor")
        letta.steps = [PING, WORD, Hold()]
        with client.stream("POST", URL, json=chat(stream=True)) as stream:
            pieces = stream.iter_bytes()
            next(pieces)
            yield url


def test_one_picture_is_printed_with_the_key_of_the_environment(
    used: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-watch")
    main(["top", "--url", f"{used}/v1", "--key", "MY_KEY", "--once"])
    shown = capsys.readouterr().out

    assert "1 streams, 1 answers of 2000" in shown
    assert re.search(r"^tutor +\d", shown, re.MULTILINE)
    assert re.search(r"^[0-9a-f]{8} +tutor ", shown, re.MULTILINE)
    assert "ada" not in shown
    assert "sk-" not in shown


REFUSED: dict[str, tuple[str, str]] = {
    "no key": ("", "401: You didn't provide an API key"),
    "another key": ("sk-test", "403: This key may not read metrics"),
}


@pytest.mark.parametrize(("key", "told"), REFUSED.values(), ids=REFUSED)
def test_who_may_not_read_is_told_so(
    key: str, told: str, used: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_METRICS_KEY", key)
    with pytest.raises(SystemExit, match="1"):
        main(["top", "--url", used, "--once"])

    assert told in capsys.readouterr().err


def test_an_address_at_which_nobody_answers_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("http://127.0.0.1:9", "nothing"):
        with pytest.raises(SystemExit, match="1"):
            main(["top", "--url", url, "--once"])
        assert f"{url} does not answer: " in capsys.readouterr().err


def test_an_answer_that_is_no_gateway_s_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeLetta() as letta, pytest.raises(SystemExit, match="1"):
        main(["top", "--url", letta.base_url, "--once"])

    assert "this is no gateway's answer" in capsys.readouterr().err


def test_at_a_terminal_it_shows_the_gateway_until_ctrl_c(used: str) -> None:
    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-m", "gateway", "top", "--url", used]
    environ = os.environ | {"GATEWAY_METRICS_KEY": "sk-watch", "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(arguments, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    shown = b""
    # The second picture is the first with rates of a time.
    while b"In the last" not in shown:
        shown += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    # At the end of a terminal there is an error, and no end: https://man7.org/linux/man-pages/man3/openpty.3.html
    with suppress(OSError):
        while more := os.read(ours, 65536):
            shown += more
    os.close(ours)

    assert process.wait(30) == 0
    assert b"Letta Gateway" in shown
    # The screen that was there before comes back.
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l") == 1
