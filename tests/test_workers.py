"""Several processes at one address: what their parent and they tell each other, and what it makes of that."""

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import Raw, structs
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as CounterMetric

from gateway.cli import main
from gateway.http.seen.chats import MOST_CHATS, ChatsUnderWay, ChatUnderWay
from gateway.listening import SPREADS, CannotListen, bound, bound_for, close_all
from gateway.settings import AgentType, HashedKey, Key, Letta, Provider, Secret, Server, Settings, Sharing, UserSource
from gateway.starting import Ground
from gateway.workers import crew
from gateway.workers.begin import CannotWork, from_json_settings, share_of, to_json_settings
from gateway.workers.channel import Channel, Hear, Unheard, read
from gateway.workers.crew import Crew
from gateway.workers.sums import joined_chats, summed

SETTINGS = Settings(
    server=Server(port=0),
    letta=Letta(upstream="embedded", api_key=Secret("sk-letta")),
    shared=Sharing(url=Secret("redis://127.0.0.1:9/0")),
    provider=Provider(id="openai", api_key=Secret("sk-provider")),
    agent_types=(AgentType(id="tutor", system="ü \u2028 \n {user}"),),
    keys=(
        Key(name="one", key=Secret("sk-1"), user_from=(UserSource("header:X-User"), UserSource("body:user"))),
        Key(name="two", sha256=(HashedKey(hash="0" * 64),), expires=datetime(2030, 1, 1, tzinfo=UTC)),
    ),
)


# The channel


@asynccontextmanager
async def channel(hear: dict[str, Hear]) -> AsyncIterator[tuple[Channel, Channel]]:
    """Both ends of a channel; `hear` is of the second."""
    ends = socket.socketpair()
    one, two = await Channel.over(ends[0], {}), await Channel.over(ends[1], hear)
    try:
        yield one, two
    finally:
        await one.aclose()
        await two.aclose()


def answers(answer: Callable[[str], Awaitable[object]]) -> dict[str, Hear]:
    async def hear(content: Raw) -> object:
        return await answer(read(content, str))

    return {"word": hear}


async def echo(text: str) -> str:
    return text * 2


async def silence(text: str) -> None:
    await asyncio.Event().wait()


async def refusal(text: str) -> None:
    raise Unheard("not now")


async def bug(text: str) -> None:
    raise KeyError(text)


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["", "ü\n\u2028", "long" * 100_000], ids=["empty", "of any letters", "long"])
async def test_a_question_is_answered(text: str) -> None:
    async with channel(answers(echo)) as (one, _):
        assert read(await one.ask("word", text), str) == text * 2


@pytest.mark.anyio
async def test_questions_are_answered_in_any_order() -> None:
    may_answer = asyncio.Event()

    async def answer(text: str) -> str:
        if text == "first":
            await may_answer.wait()
        return text

    async with channel(answers(answer)) as (one, _):
        first = asyncio.create_task(one.ask("word", "first"))
        assert read(await one.ask("word", "second"), str) == "second"
        may_answer.set()
        assert read(await first, str) == "first"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "words"),
    [(silence, "no answer in 0.01 s"), (refusal, "not now"), (bug, "KeyError")],
    ids=["nothing", "a refusal", "a bug"],
)
async def test_who_asks_in_vain_is_told_why(answer: Callable[[str], Awaitable[object]], words: str) -> None:
    async with channel(answers(answer)) as (one, _):
        with pytest.raises(Unheard, match=words):
            await one.ask("word", "", seconds=0.01 if answer is silence else None)


@pytest.mark.anyio
async def test_who_asks_one_that_goes_is_told_at_once_and_so_is_who_asks_later() -> None:
    async with channel(answers(silence)) as (one, two):
        asked = asyncio.create_task(one.ask("word", ""))
        await asyncio.sleep(0)
        await two.aclose()
        await one.wait_closed()
        for question in (asked, one.ask("word", "")):
            with pytest.raises(Unheard, match="it has gone"):
                await question
        one.tell("word", "")


@pytest.mark.anyio
async def test_half_a_line_of_a_process_that_was_killed_is_no_word() -> None:
    ours, theirs = socket.socketpair()
    heard: list[str] = []

    async def hear(text: str) -> None:
        heard.append(text)

    end = await Channel.over(ours, answers(hear))
    theirs.sendall(b'{"kind":"word","content":"one"}\n{"kind":"word","con')
    theirs.close()
    await end.wait_closed()
    await end.aclose()

    assert heard == ["one"]


# The settings


def test_settings_reach_another_process_as_they_are() -> None:
    told = to_json_settings(SETTINGS)

    assert from_json_settings(told) == SETTINGS
    assert b"sk-provider" in bytes(told)


@pytest.mark.parametrize(("whole", "workers", "parts"), [(2000, 2, [1000, 1000]), (5, 3, [2, 2, 1]), (1, 3, [1, 1, 1])])
def test_limits_of_the_gateway_are_divided_among_its_workers(whole: int, workers: int, parts: list[int]) -> None:
    settings = structs.replace(
        SETTINGS, server=Server(max_connections=whole, max_streams=whole), letta=Letta(max_connections=whole)
    )
    shares = [share_of(settings, number, workers) for number in range(1, workers + 1)]

    assert [each.server.max_connections for each in shares] == parts
    assert [each.server.max_streams for each in shares] == parts
    assert [each.letta.max_connections for each in shares] == parts
    assert {each.keys for each in shares} == {settings.keys}


# The sums


def metrics(count: float, started: float = 100, label: str = "a") -> str:
    """The metrics of a process that has counted so much."""
    registry = CollectorRegistry()
    Gauge("letta_gateway_build_info", "b", ("version",), registry=registry).labels("1").set(1)
    Gauge("letta_gateway_start_time_seconds", "s", registry=registry).set(started)
    Gauge("letta_gateway_streams", "now", registry=registry).set(count)
    CounterMetric("letta_gateway_requests", "r", ("key",), registry=registry).labels(label).inc(count)
    Histogram("seconds", "h", buckets=(1, 2), registry=registry).observe(count)
    return generate_latest(registry).decode()


@pytest.mark.parametrize(("there", "gone", "shown"), [((1, 1), 1, 1), ((1, 0), 1, 0), ((1, 1), 0, 1)])
def test_redis_is_there_if_it_is_for_every_process_that_is(there: tuple[int, int], gone: int, shown: int) -> None:
    texts = [f"# TYPE letta_gateway_redis_up gauge\nletta_gateway_redis_up {up}.0\n" for up in (*there, gone)]

    assert series(summed(texts[:2], texts[2:])) == {"letta_gateway_redis_up": shown}


def series(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.split("\n") if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines if "_created" not in name}


def test_the_metrics_of_one_process_are_as_it_wrote_them() -> None:
    text = metrics(1.5)

    assert series(summed([text])) == series(text)
    assert [line for line in summed([text]).split("\n") if line.startswith("#")] == [
        line for line in text.split("\n") if line.startswith("#")
    ]


def test_metrics_of_several_processes_add_up() -> None:
    assert series(summed([metrics(1, 200), metrics(2, 100), metrics(0.5, 300, label="b")])) == {
        'letta_gateway_build_info{version="1"}': 1,
        "letta_gateway_start_time_seconds": 100,
        "letta_gateway_streams": 3.5,
        'letta_gateway_requests_total{key="a"}': 3,
        'letta_gateway_requests_total{key="b"}': 0.5,
        'seconds_bucket{le="1.0"}': 2,
        'seconds_bucket{le="2.0"}': 3,
        'seconds_bucket{le="+Inf"}': 3,
        "seconds_count": 3,
        "seconds_sum": 3.5,
    }


def test_of_a_process_that_is_gone_what_was_counted_still_counts_and_what_was_there_does_not() -> None:
    gone = summed([], [summed([], [metrics(1, 50)]), metrics(2, 70)])
    sums = series(summed([metrics(3)], [gone]))

    assert sums['letta_gateway_requests_total{key="a"}'] == 6
    assert sums["seconds_count"] == 3
    assert sums["letta_gateway_streams"] == 3
    assert sums["letta_gateway_start_time_seconds"] == 50
    assert sums['letta_gateway_build_info{version="1"}'] == 1


@pytest.mark.parametrize("label", ['a b"c\\d', "\u2028 \x0b \x85", "# TYPE a gauge", "one\ntwo", " 5"])
def test_a_name_of_the_configuration_s_may_hold_any_letters(label: str) -> None:
    one = metrics(1, label=label)

    assert series(summed([one, one]))[next(name for name in series(one) if "requests_total" in name)] == 2


def chat(seconds: float) -> ChatUnderWay:
    return ChatUnderWay("1f0c22ab", "tutor", seconds)


def test_the_chats_of_all_processes_are_listed_the_slowest_first() -> None:
    one = ChatsUnderWay(30, [chat(float(n)) for n in range(20, 0, -1)])
    two = ChatsUnderWay(2, [chat(30.0), chat(0.5)])
    joined = joined_chats([one, two])

    assert (joined.total, len(joined.chats)) == (32, MOST_CHATS)
    assert [each.seconds for each in joined.chats[:2]] == [30, 20]


# The address


def test_processes_have_the_address_together_and_nobody_else_has_it() -> None:
    sockets = bound_for("127.0.0.1", 0, 3)
    try:
        port = sockets[0][0].getsockname()[1]
        assert {each.getsockname() for one in sockets for each in one} == {("127.0.0.1", port)}
        for one in sockets:
            one[0].listen()
        with pytest.raises(CannotListen):
            bound("127.0.0.1", port)
        with pytest.raises(CannotListen):
            bound_for("127.0.0.1", port, 2)
    finally:
        close_all(*sockets)


@pytest.mark.skipif(not SPREADS, reason="the system does not spread connections over sockets")
def test_connections_are_spread_over_the_processes() -> None:
    sockets = [each for one in bound_for("127.0.0.1", 0, 2) for each in one]
    taken: Counter[int] = Counter()
    clients, accepted = [], []
    for each in sockets:
        each.listen(500)
    for _ in range(400):
        clients.append(socket.create_connection(sockets[0].getsockname()))
    for number, each in enumerate(sockets):
        each.setblocking(False)
        while True:
            try:
                accepted.append(each.accept()[0])
            except BlockingIOError:
                break
            taken[number] += 1
    close_all(clients, accepted, sockets)

    # Of 400 fair coins it happens once in a hundred thousand million times that less than a third are of one kind.
    assert sum(taken.values()) == 400
    assert min(taken.values()) > 130


# Begin and end


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("workers", ["2", "0"])
def test_several_workers_that_cannot_agree_on_anything_are_refused(
    workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('[letta]\nbase_url = "ws://127.0.0.1:9"\n')

    assert run("serve", "--config", str(config), "--workers", workers) == 1
    words = capsys.readouterr().err
    assert f"server.workers: `{workers}`: expected `[shared] url`" in words


def test_a_port_that_is_taken_is_told_before_any_worker_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "START", "raise SystemExit('a worker was started')")
    config = tmp_path / "gateway.toml"
    config.write_text('[letta]\nbase_url = "ws://127.0.0.1:9"\n[shared]\nurl = "redis://127.0.0.1:9"\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run("serve", "--config", str(config), "--workers", "2", "--port", port) == 1

    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"Nothing can listen at 127.0.0.1, port {port}: ")
    assert told.endswith("(another port: --port, or [server] port)")


# A worker that speaks as one does, without anything to serve with.
ACTS = """
import json, os, socket, sys
channel = socket.socket(fileno=int(sys.argv[2])).makefile("rw")
def tell(**word):
    print(json.dumps(word), file=channel, flush=True)
begin = json.loads(channel.readline())["content"]
number = begin["number"]
{acts}
"""
SERVES = """
tell(kind="serves")
if begin["announces"]:
    tell(kind="model", content="Model: one")
for line in channel:
    word = json.loads(line)
    if word.get("asks"):
        tell(answers=word["asks"], content=3)
    if word["kind"] == "end":
        tell(kind="cut", content=2)
        break
"""


def crew_of(monkeypatch: pytest.MonkeyPatch, acts: str) -> Crew:
    monkeypatch.setattr(crew, "START", ACTS.format(acts=acts))
    grounds = [Ground(sockets, []) for sockets in bound_for("127.0.0.1", 0, 2)]
    return Crew(SETTINGS, grounds, {})


@pytest.mark.anyio
async def test_workers_are_told_to_end_and_tell_what_they_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = crew_of(monkeypatch, SERVES)

    assert await workers.start() == "Model: one"
    assert await workers.end() == 6
    await workers.wait_ended()
    assert workers.cut == 4


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("acts", "words"),
    [
        ("sys.exit(3)", r"Worker 2 \(process \d+\) has ended, exit code 3$"),
        ('tell(kind="failed", content="no disk"); sys.exit(1)', r"exit code 1: no disk$"),
        ("os.kill(os.getpid(), 9)", "exit code -9, SIGKILL$"),
    ],
    ids=["a mistake", "a mistake that it tells", "a kill"],
)
async def test_a_worker_that_ends_before_it_serves_ends_the_gateway(
    acts: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = crew_of(monkeypatch, f"if number == 2:\n    {acts}\n{SERVES}")
    with pytest.raises(CannotWork, match=words):
        await workers.start()
    await workers.aclose()


@pytest.mark.anyio
async def test_a_worker_that_cannot_even_be_started_ends_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = crew_of(monkeypatch, SERVES)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(CannotWork, match=r"Worker \d cannot be started: .*/nowhere/python"):
        await workers.start()
    await workers.aclose()


@pytest.mark.anyio
async def test_one_that_dies_later_is_started_again_and_again_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(crew, "FIRST_WORKER_DELAY", 0.1)
    lives, done = tmp_path / "lives", asyncio.Event()
    lives.touch()
    acts = f"""
if number == 2:
    with open({str(lives)!r}, "a") as file:
        file.write(".")
    lived = os.path.getsize({str(lives)!r})
    if lived in (2, 3):
        sys.exit(4)
    if lived == 1:
        tell(kind="serves")
        channel.readline()
        sys.exit(4)
    tell(kind="done")
{SERVES}"""

    async def hear_done(content: Raw) -> None:
        done.set()

    monkeypatch.setattr(crew, "START", ACTS.format(acts=acts))
    workers = Crew(SETTINGS, [Ground(sockets, []) for sockets in bound_for("127.0.0.1", 0, 2)], {"done": hear_done})
    await workers.start()
    await workers.take_up(SETTINGS)
    await done.wait()
    await workers.end()
    await workers.wait_ended()

    told = [record.message for record in caplog.records if "another takes its place" in record.message]
    assert [line.partition("has ended, ")[2] for line in told] == [
        f"exit code 4; another takes its place in {seconds} s" for seconds in ("0.1", "0.2", "0.4")
    ]
    assert all(line.startswith("Worker 2 ") for line in told)
