"""The link to a Redis, shown on a real one."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from gateway.settings import Secret, Sharing
from gateway.shared.asking import Away, Script
from gateway.shared.redis_link import RedisLink
from tests.servers.redis_server import RedisServer
from tests.shared.linked import kill, linked, until

pytestmark = [pytest.mark.anyio, pytest.mark.full, pytest.mark.usefixtures("hurried")]

TWICE = Script.of("return ARGV[1] .. ARGV[1]")


async def test_a_question_has_its_answer_and_a_script_its_result(server: RedisServer) -> None:
    async with linked(server) as link:
        await link.ask("SET", link.key("a", "b"), "1", "EX", 100)
        answers = await asyncio.gather(*(link.ask("INCR", link.key("a", "b")) for _ in range(100)))

        assert answers == [*range(2, 102)]
        assert await link.run(TWICE, [], "ab") == b"abab"
    assert "{test}:a:b" in server.names()


async def test_what_redis_does_not_take_is_away_and_the_rest_is_not(server: RedisServer) -> None:
    async with linked(server) as link:
        refused, taken = link.begin("INCR"), link.begin("ECHO", "here")

        with pytest.raises(Away, match="wrong number of arguments"):
            await refused
        assert await taken == b"here"
        assert not link.is_away


@pytest.mark.parametrize("how", ["hang", "stop"])
async def test_while_redis_is_away_nobody_waits_and_it_is_found_again(server: RedisServer, how: str) -> None:
    async with linked(server) as link:
        back = asyncio.Event()
        link.when_back(back.set)
        getattr(server, how)()
        with pytest.raises(Away):
            await link.ask("ECHO", "a")
        assert link.is_away
        began = asyncio.get_running_loop().time()
        with pytest.raises(Away):
            await link.ask("ECHO", "b")
        assert asyncio.get_running_loop().time() == pytest.approx(began, abs=0.1)
        await until(lambda: not link.is_current)

        await asyncio.to_thread(server.go_on if how == "hang" else server.start)
        async with asyncio.timeout(20):
            await back.wait()
        assert link.is_current
        assert await link.ask("ECHO", "c") == b"c"


async def test_it_is_told_when_redis_has_forgotten_everything(server: RedisServer) -> None:
    async with linked(server) as link:
        back = asyncio.Event()
        link.when_back(back.set)
        with server.client() as client:
            client.flushall()
        async with asyncio.timeout(20):
            await back.wait()

        assert await link.run(TWICE, [], "a") == b"aa"


async def test_a_process_is_alive_while_its_pulse_goes_on(server: RedisServer) -> None:
    async with linked(server) as one:
        assert one.is_alive(one.process)
        async with linked(server) as other:
            # Before its first pulse was seen, too.
            assert one.is_alive(other.process)
            await until(lambda: not one.is_alive("nobody"))
            assert one.is_alive(other.process)
        await until(lambda: not one.is_alive(other.process))

        killed = RedisLink(Sharing(url=Secret(server.url), prefix="test"))
        await killed.start()
        await until(lambda: one.is_alive(killed.process))
        # Nothing says that it has gone.
        await kill(killed)
        await until(lambda: not one.is_alive(killed.process))


async def test_once_redis_is_back_nobody_is_dead_who_had_no_time_to_tell_that_he_lives(server: RedisServer) -> None:
    async with linked(server) as one:
        other = RedisLink(Sharing(url=Secret(server.url), prefix="test"))
        await other.start()
        await until(lambda: one.is_alive(other.process))
        alive: list[bool] = []
        one.when_back(lambda: alive.append(one.is_alive(other.process)))
        server.stop()
        await until(lambda: not one.is_alive(other.process))
        await kill(other)
        server.start()

        await until(lambda: alive)
        assert alive == [True]
        await until(lambda: not one.is_alive(other.process))


async def test_a_letter_reaches_the_process_that_it_is_for(server: RedisServer) -> None:
    heard: list[tuple[str, Any]] = []
    async with linked(server) as one, linked(server) as other:
        other.hear("news", lambda sender, content: heard.append((sender, msgspec.msgpack.decode(content))))
        for _ in range(2000):
            if await one.tell(other.process, "news", {"a": b"1"}):
                break
            await asyncio.sleep(0.01)
        await one.tell(other.process, "unknown", None)
        assert not await one.tell("nobody", "news", None)
        await one.tell_all("news", [2])
        await until(lambda: len(heard) == 2)

        assert heard == [(one.process, {"a": b"1"}), (one.process, [2])]


async def test_letters_come_again_once_redis_is_back(server: RedisServer) -> None:
    heard: list[str] = []
    async with linked(server) as one:
        one.hear("news", lambda sender, content: heard.append(sender))
        await asyncio.to_thread(server.restart)
        for _ in range(1000):
            if heard:
                break
            with suppress(Away):
                await one.tell(one.process, "news", None)
            await asyncio.sleep(0.02)
        assert heard


async def test_a_gateway_starts_without_redis(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    link = RedisLink(Sharing(url=Secret("redis://:secret@127.0.0.1:9/0")))
    await link.start()
    with pytest.raises(Away):
        await link.ask("ECHO", "a")
    await link.aclose()

    assert "Redis is away" in caplog.text
    assert "secret" not in caplog.text


async def test_a_link_ends_though_a_cancellation_is_swallowed(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with linked(server) as link:
        is_sending = asyncio.Event()

        async def send(asked: object) -> None:
            is_sending.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        monkeypatch.setattr(link, "_send", send)
        left = link.begin("ECHO", "a")
        await is_sending.wait()
        link.is_away = True
        async with asyncio.timeout(20):
            await link.aclose()
        assert not left.done() or left.exception()
