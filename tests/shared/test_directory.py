"""Requests that come again at another process, on a real Redis: one run answers them, followed from its begin."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from gateway.domain import errors
from gateway.domain.errors import IdempotencyKeyReused
from gateway.domain.events import Text
from gateway.settings import Chats
from gateway.shared.asking import Script
from gateway.shared.redis_lines import RedisLines
from gateway.shared.redis_link import RedisLink
from gateway.turns.elsewhere import directory, log_follower, log_writer
from gateway.turns.elsewhere.directory import RunDirectory
from gateway.turns.runs.log import NOTHING_NEW, Reader
from gateway.turns.runs.means import means_of
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.resend import Sent, name_of_response
from tests.events import answer, ping, stop, text_in, usage
from tests.servers.redis_server import RedisServer
from tests.shared.linked import kill, linked, until
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import AGAIN, FIRST, read, turn
from tests.turns.virtual_time import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.full, pytest.mark.usefixtures("hurried")]

CHATS = Chats(grace_seconds=0.3, resend_seconds=30.0)
NAMED = Sent(request="request", alive=True)
KEYED = Sent(request="request", idempotency_key="key", may_come_again=True)


class Process(Struct):
    """A gateway's part of runs, with a link of its own."""

    link: RedisLink
    letta: MemoryLetta
    runs: Runs
    directory: RunDirectory


@pytest.fixture(autouse=True)
def asking_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "ASK_AFTER_SECONDS", 0.1)


@pytest.fixture
async def processes(server: RedisServer) -> AsyncIterator[list[Process]]:
    """Three gateways in front of one Letta."""
    with server.client() as client:
        client.flushall()
    first = MemoryLetta()
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(3):
            link = await stack.enter_async_context(linked(server))
            letta = MemoryLetta(first.store)
            runs_elsewhere = RunDirectory(link)
            stack.push_async_callback(runs_elsewhere.aclose)
            means = means_of(letta, 0.01, 300.0, CHATS, RedisLines(link))
            runs = Runs(means, CHATS.resend_seconds, runs_elsewhere, 30.0)
            stack.push_async_callback(runs.aclose)
            made.append(Process(link, letta, runs, runs_elsewhere))
        await until(lambda: all(one.link.is_alive(other.link.process) for one in made for other in made))
        yield made


def held(letta: MemoryLetta) -> Gate:
    """Have the next run say Hel, and the rest once the gate is opened."""
    gate = Gate()
    script: Sequence[Step] = [[ping()], [answer("Hel")], gate, [answer("lo"), answer("!")], [stop(), usage()]]
    letta.scripts = [script]
    return gate


async def begun(process: Process, sent: Sent = FIRST, chat: str | None = "chat") -> tuple[Reader, Gate]:
    """A run that has said Hel."""
    gate = held(process.letta)
    reader = await process.runs.take(turn(chat=chat), sent)
    async with asyncio.timeout(20):
        await gate.reached()
    return reader, gate


async def all_of(reader: Reader) -> str:
    async with asyncio.timeout(20):
        return text_in(await read(reader))


@pytest.mark.parametrize(("sent", "again"), [(FIRST, AGAIN), (KEYED, KEYED), (NAMED, NAMED)])
async def test_a_request_that_comes_again_elsewhere_gets_the_run_under_way_from_its_start(
    processes: list[Process], sent: Sent, again: Sent
) -> None:
    one, other, third = processes
    first, gate = await begun(one, sent)
    readers = [await each.runs.take(turn(), again) for each in (other, other, third)]
    assert [reader.joined for reader in readers] == [True] * 3
    gate.open()

    assert [await all_of(reader) for reader in (first, *readers)] == ["Hello!"] * 4
    assert one.letta.count("run") == 1
    assert other.letta.count("run") == third.letta.count("run") == 0


RESPONSE = Sent(request="request", response=name_of_response("1" * 16))


@pytest.mark.parametrize("when", ["before it speaks", "while it speaks", "when it has ended"])
async def test_whoever_asks_for_a_response_elsewhere_follows_its_run(processes: list[Process], when: str) -> None:
    one, other, _ = processes
    gate = held(one.letta)
    if when == "before it speaks":
        one.letta.scripts = [[Gate(), [answer("never")]], *one.letta.scripts]
    first = await one.runs.take(turn(), RESPONSE, b"its head")
    if when == "before it speaks":
        reader = await other.runs.follow(RESPONSE.response)
        assert reader
        assert (reader.head, reader.take()) == (b"its head", NOTHING_NEW)
        return
    await first.news()
    if when == "when it has ended":
        gate.open()
        assert await all_of(first) == "Hello!"
        await until(lambda: not one.runs.under_way)
    reader = await other.runs.follow(RESPONSE.response)
    assert reader
    gate.open()

    assert (reader.head, await all_of(reader)) == (b"its head", "Hello!")
    assert await other.runs.follow(name_of_response("2" * 16)) is None


async def test_whoever_cancels_a_response_elsewhere_ends_its_run(processes: list[Process]) -> None:
    one, other, _ = processes
    reader, _ = await begun(one, RESPONSE)

    assert await other.runs.cancel(RESPONSE.response)
    with pytest.raises(errors.Unwanted):
        await all_of(reader)
    await until(lambda: not one.runs.under_way)
    assert one.letta.count("cancel") == 1
    again = await other.runs.cancel(RESPONSE.response)
    assert again
    with pytest.raises(errors.Unwanted):
        await all_of(again)
    assert one.letta.count("cancel") == 1


async def test_a_request_that_is_not_the_same_is_a_run_of_its_own(processes: list[Process]) -> None:
    one, other, _ = processes
    first, gate = await begun(one)
    assert not await other.runs.has(FIRST)
    second = asyncio.create_task(other.runs.take(turn(chat="other"), FIRST))
    assert not (await second).joined
    gate.open()
    assert await all_of(first) == "Hello!"
    assert await all_of(await second) == "Hello"


@pytest.mark.parametrize("dies", [False, True])
async def test_an_answer_that_was_given_elsewhere_is_given_again_even_if_its_gateway_is_gone(
    processes: list[Process], dies: bool
) -> None:
    one, other, _ = processes
    first, gate = await begun(one)
    gate.open()
    assert await all_of(first) == "Hello!"
    await until(lambda: not one.runs.under_way)
    await one.directory.aclose()
    if dies:
        await kill(one.link)
        await until(lambda: not other.link.is_alive(one.link.process))

    assert await other.runs.has(AGAIN)
    assert await all_of(await other.runs.take(turn(), AGAIN)) == "Hello!"
    assert other.letta.count("run") == 0


@pytest.mark.parametrize("late", ["the entry", "the word"])
async def test_a_run_that_ends_while_it_is_asked_after_answers_all_the_same(
    processes: list[Process], late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, _ = processes
    first, gate = await begun(one)
    may_go_on, asked = asyncio.Event(), asyncio.Event()
    run, is_heard = one.link.run, other.directory._is_heard

    async def say_later(script: Script, *more: Any) -> Any:
        if script is directory._CHANGE:
            await may_go_on.wait()
        return await run(script, *more)

    async def ask_later(process: str, letter: str, run_id: str) -> bool:
        asked.set()
        await may_go_on.wait()
        return await is_heard(process, letter, run_id)

    if late == "the entry":
        monkeypatch.setattr(one.link, "run", say_later)
        gate.open()
        assert await all_of(first) == "Hello!"
        await until(lambda: not one.runs.under_way)
        taking = asyncio.create_task(other.runs.take(turn(), AGAIN))
        await until(lambda: other.directory._joining)
        may_go_on.set()
        again = await taking
    else:
        monkeypatch.setattr(other.directory, "_is_heard", ask_later)
        taking = asyncio.create_task(other.runs.take(turn(), AGAIN))
        await asked.wait()
        gate.open()
        assert await all_of(first) == "Hello!"
        await until(lambda: not one.directory._listed)
        may_go_on.set()
        again = await taking

    assert await all_of(again) == "Hello!"
    assert other.letta.count("run") == 0


async def test_a_key_for_another_request_is_told(processes: list[Process]) -> None:
    one, other, _ = processes
    first, gate = await begun(one, KEYED)
    reused = Sent(request="another", idempotency_key="key", may_come_again=True)
    with pytest.raises(IdempotencyKeyReused):
        await other.runs.has(reused)
    with pytest.raises(IdempotencyKeyReused):
        await other.runs.take(turn(), reused)
    gate.open()
    assert await all_of(first) == "Hello!"


async def test_a_run_goes_on_while_it_is_read_anywhere_and_is_cancelled_when_nobody_reads(
    processes: list[Process],
) -> None:
    one, other, _ = processes
    first, gate = await begun(one)
    second = await other.runs.take(turn(), AGAIN)
    first.leave()
    async with asyncio.timeout(20):
        await second.news()
    (run,) = one.runs.under_way
    await asyncio.sleep(2 * CHATS.grace_seconds)
    assert not run.left

    second.leave()
    await until(lambda: run.left)
    await until(lambda: not one.runs.under_way)
    assert one.letta.count("cancel") == 1
    gate.open()
    # Who comes now begins anew.
    assert await all_of(await other.runs.take(turn(), AGAIN)) == "Hello"


async def test_a_reader_in_a_process_that_dies_has_left(processes: list[Process]) -> None:
    one, other, _ = processes
    first, gate = await begun(one)
    await other.runs.take(turn(), AGAIN)
    first.leave()
    (run,) = one.runs.under_way
    await kill(other.link)

    await until(lambda: run.left)
    gate.open()


async def test_whoever_follows_is_told_that_the_gateway_of_the_run_is_gone(processes: list[Process]) -> None:
    one, other, _ = processes
    _, gate = await begun(one)
    second = await other.runs.take(turn(), AGAIN)
    await kill(one.link)

    with pytest.raises(errors.BrokenStream):
        await all_of(second)
    gate.open()


async def test_a_failure_is_told_everywhere(processes: list[Process]) -> None:
    one, other, _ = processes
    gate = Gate()
    failure = errors.RateLimited("error_type llm_rate_limit", said="Slow down")
    one.letta.scripts = [[[ping()], [answer("Hel")], gate, failure]]
    first = await one.runs.take(turn(), FIRST)
    async with asyncio.timeout(20):
        await gate.reached()
    second = await other.runs.take(turn(), AGAIN)
    gate.open()
    for reader in (first, second):
        with pytest.raises(errors.RateLimited) as raised:
            await all_of(reader)
        assert (str(raised.value), raised.value.said, raised.value.taken) == (str(failure), "Slow down", True)


@pytest.mark.parametrize("how", ["hangs", "forgets"])
async def test_while_redis_is_away_a_run_goes_on_and_cannot_be_followed_elsewhere(
    server: RedisServer, processes: list[Process], how: str
) -> None:
    one, other, third = processes
    first, gate = await begun(one)
    second = await other.runs.take(turn(), AGAIN)
    async with asyncio.timeout(20):
        await second.news()
    if how == "hangs":
        server.hang()
        await until(lambda: all(each.link.is_away for each in processes))
        server.go_on()
        await until(lambda: not any(each.link.is_away for each in processes))
    else:
        with server.client() as client:
            client.flushall()
    with pytest.raises(errors.AnsweredElsewhere):
        await all_of(second)
    if how == "forgets":
        await until(lambda: [name for name in server.names() if ":sent:" in name])
    with pytest.raises(errors.AnsweredElsewhere):
        await third.runs.take(turn(), AGAIN)
    gate.open()

    assert await all_of(first) == "Hello!"
    # Afterwards all is as ever.
    third.letta.scripts = []
    await until(lambda: not one.runs.under_way)
    assert await all_of(await third.runs.take(turn(chat="other"), FIRST)) == "Hello"


async def test_a_log_that_grows_too_long_is_followed_nowhere_else(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "LONGEST_LOG", 1000)
    one, other, _ = processes
    gate, long = Gate(), Gate()
    one.letta.scripts = [[[ping()], [answer("Hel")], gate, [answer("o" * 2000)], long, [stop(), usage()]]]
    first = await one.runs.take(turn(), FIRST)
    async with asyncio.timeout(20):
        await gate.reached()
    second = await other.runs.take(turn(), AGAIN)
    gate.open()
    with pytest.raises(errors.AnsweredElsewhere):
        await all_of(second)
    long.open()
    assert len(await all_of(first)) == 2003


async def test_nothing_of_a_run_stays_without_an_end_and_nothing_where_nobody_asks_again(
    server: RedisServer, processes: list[Process]
) -> None:
    one = processes[0]
    for sent in (FIRST, NAMED):
        first, gate = await begun(one, sent)
        gate.open()
        await all_of(first)
    await until(lambda: not one.runs.under_way)
    await one.directory.aclose()
    with server.client() as client:
        names = server.names()
        left = {name: client.pttl(name) for name in names if ":sent:" in name or ":log:" in name}

    assert left
    assert all(0 < milliseconds <= CHATS.resend_seconds * 1000 for milliseconds in left.values())


async def test_what_is_said_at_once_is_written_in_pieces(processes: list[Process]) -> None:
    one, other, _ = processes
    gate = Gate()
    words = [Text(f"{number} ", "step-1") for number in range(5000)]
    one.letta.scripts = [[[ping()], [answer("Hel")], gate, [*words], [stop(), usage()]]]
    first = await one.runs.take(turn(), FIRST)
    async with asyncio.timeout(20):
        await gate.reached()
    second = await other.runs.take(turn(), AGAIN)
    gate.open()

    assert await all_of(second) == await all_of(first) == "Hel" + "".join(word.text for word in words)


MISSING = Sent(request="request", may_be_missed=True)


async def test_a_run_whose_client_has_left_answers_the_same_request_at_another_process(
    processes: list[Process],
) -> None:
    one, other, third = processes
    asked = msgspec.structs.replace(turn(), outlives=True)
    gate = held(one.letta)
    first = await one.runs.take(asked, MISSING)
    async with asyncio.timeout(20):
        await gate.reached()
    # While somebody reads it, the same request is another one.
    other.letta.scripts = [[[ping()], [answer("Another")], [stop(), usage()]]]
    another = asyncio.create_task(all_of(await other.runs.take(asked, MISSING)))
    gate.open()
    assert (await all_of(first), await another) == ("Hello!", "Another")
    await until(lambda: not (one.runs.under_way or other.runs.under_way))

    gate = held(one.letta)
    left = await one.runs.take(asked, MISSING)
    async with asyncio.timeout(20):
        await gate.reached()
    left.leave()
    gone_for = await other.runs.take(asked, MISSING)
    assert gone_for.joined
    gone_for.leave()
    await asyncio.sleep(2 * CHATS.grace_seconds)
    gate.open()
    await until(lambda: not one.runs.under_way)
    await one.link.ask("PING")

    assert await all_of(await third.runs.take(asked, MISSING)) == "Hello!"
    assert await all_of(await third.runs.take(asked, MISSING)) == "Hello"
    assert one.letta.count("cancel") == 0
