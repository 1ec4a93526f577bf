"""The link to a Redis that several gateways share. The only module that knows Redis' client.

All that is asked in one turn of the loop goes there in one write, in order, and nothing is asked twice. While Redis
does not answer, nobody waits for it: `is_away`, and every question raises Away at once, until it answers again.

A process is alive while its pulse goes on, a number in Redis that it raises once a second. The others see it change, by
their own clocks: no date of Redis', and no time to live, decides whether somebody is dead.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import redis.asyncio
from msgspec import Struct
from redis.exceptions import NoScriptError, RedisError, ResponseError

from gateway.settings import Sharing
from gateway.shared.asking import Away, Script
from gateway.shared.pulses import LEASE_SECONDS, Pulses

logger = logging.getLogger(__name__)
# Redis answers within a millisecond, or is away.
REDIS_SECONDS = 1.0
LAST_LOOK_SECONDS = 0.1
PULSE_SECONDS = 1.0
# So much sooner a process takes itself for dead: the others must be later.
MARGIN_SECONDS = 1.0
# The pause between two attempts to reach a Redis that is away.
REACH_SECONDS = 0.25
# The most questions that wait to be sent.
MOST_WAITING = 10_000
# The time to live of what is forgotten only where all gateways ended at once.
PULSES_SECONDS = 24 * 3600

Command = tuple[str | bytes | int | float, ...]


# Which is small, and so is taken by a Redis that is full.
_PULSE = Script.of("""#!lua flags=allow-oom
local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {before, redis.call('HGETALL', KEYS[1])}
""")


class _Asked(Struct, eq=False):
    """A question, and the place of its answer."""

    command: Command
    answer: asyncio.Future[Any]


class Letter(Struct, frozen=True, array_like=True):
    """A message to another process: `Letter("wanted", "3f…", b"…")`."""

    kind: str
    sender: str
    content: msgspec.Raw


_read_letter = msgspec.msgpack.Decoder(Letter).decode


class RedisLink:
    """A link to a Redis, with a name of its own among the processes that share it."""

    def __init__(self, sharing: Sharing) -> None:
        assert sharing.url
        self.process = secrets.token_hex(6)
        """The name of this process, never one that another has had."""
        self.is_away = True
        """True: Redis does not answer now."""
        self.reason = ""
        """The reason why it did not answer the last time, as far as is known."""
        # In braces: so a cluster has all keys on one node.
        # https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
        self._prefix = f"{{{sharing.prefix}}}:"
        self._address = sharing.url.reveal()
        self._client = self._new_client()
        self._connection: redis.asyncio.Connection | None = None
        self._asked: list[_Asked] = []
        self._is_asked = asyncio.Event()
        self._pulse_at = -LEASE_SECONDS
        """The moment at which the last pulse that was taken had been sent."""
        self._pulses = 0
        self._others = Pulses(0.0)
        self._hearers: dict[str, Callable[[str, msgspec.Raw], None]] = {}
        self._when_back: list[Callable[[], None]] = []
        self._when_deaf: list[Callable[[], None]] = []
        self._at_pulse: list[Callable[[], None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _new_client(self) -> "redis.asyncio.Redis":
        return redis.asyncio.Redis.from_url(
            self._address,
            socket_timeout=None,
            socket_connect_timeout=REDIS_SECONDS,
            # One that fails is asked nothing twice: nobody knows what it has done.
            retry=None,
            retry_on_error=[],
            health_check_interval=0,
            client_name="letta-gateway",
            protocol=2,
        )

    def key(self, *name: str) -> str:
        """The name of a key in Redis: `key("line", "gw1:…")` is `{letta-gateway}:line:gw1:…`."""
        return self._prefix + ":".join(name)

    # Begin and end

    async def start(self) -> None:
        """Reach Redis, if it is there, and keep the link to it from now on; called again, it does nothing."""
        if self._tasks:
            return
        self._others = Pulses(asyncio.get_running_loop().time())
        self._tasks = [asyncio.create_task(work) for work in (self._send_all(), self._hear_all())]
        try:
            await self._pulse()
        except Away as error:
            logger.warning("Redis is away; the gateway goes on as if it were alone: %s", error)
        self._tasks.append(asyncio.create_task(self._live()))

    async def aclose(self) -> None:
        """Say that this process has gone, and end the link."""
        if self._tasks:
            with suppress(Away):
                await self.ask("HDEL", self.key("pulses"), self.process)
                await self.tell_all("gone", None)
        await self._end_tasks()
        self.is_away, self.reason = True, "the gateway ends"
        self._fail(self._take_asked(), Away(self.reason))
        await self._client.aclose()

    async def _end_tasks(self) -> None:
        """Cancel all that goes on, as often as it takes: Redis' client may swallow a cancellation beside a timeout."""
        tasks, self._tasks = self._tasks, []
        pending = set(tasks)
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=REACH_SECONDS)

    # Questions

    async def ask(self, *command: str | bytes | int | float) -> Any:
        """The answer to a command: `await link.ask("GET", key)`. Raises Away."""
        return await self.begin(*command)

    def begin(self, *command: str | bytes | int | float) -> "asyncio.Future[Any]":
        """Ask, and do not wait: the answer comes by and by, or Away. Those who are asked first answer first."""
        if not self.is_away and len(self._asked) < MOST_WAITING:
            return self._put(command)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_look)
        answer.set_exception(Away("Redis does not answer" if self.is_away else "Redis is too slow"))
        return answer

    def _put(self, command: Command) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Who does not wait for it need not know that it failed.
        answer.add_done_callback(_look)
        self._asked.append(_Asked(command, answer))
        self._is_asked.set()
        return answer

    async def run(self, script: Script, keys: list[str], *arguments: str | bytes | int | float) -> Any:
        """The result of a script. Raises Away."""
        try:
            return await self.begin("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            # A Redis that is new, or was started anew.
            return await self.begin("EVAL", script.text, len(keys), *keys, *arguments)

    async def _send_all(self) -> None:
        """Send what is asked, all that has come together."""
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            if asked := self._take_asked():
                await self._send(asked)

    def _take_asked(self) -> list[_Asked]:
        asked, self._asked = self._asked, []
        return [one for one in asked if not one.answer.done()]

    async def _send(self, asked: list[_Asked]) -> None:
        try:
            answers = await self._exchange([one.command for one in asked])
        except Exception as error:
            # What was on its way may have been done, or not. Whatever it is, the next question must have its answer.
            self._lose(error)
            self._fail(asked, Away(f"{type(error).__name__}: {error}"[:200]))
            if self._connection:
                await self._connection.disconnect(nowait=True)
            return
        except BaseException:
            self._fail(asked, Away("the gateway ends"))
            raise
        for one, answer in zip(asked, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, NoScriptError):
                one.answer.set_exception(answer)
            elif isinstance(answer, ResponseError):
                # Full, read-only, or not allowed.
                one.answer.set_exception(Away(str(answer)[:200]))
            elif isinstance(answer, Exception):
                one.answer.set_exception(Away(type(answer).__name__))
            else:
                one.answer.set_result(answer)

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        """The answers to these commands, or errors in their places.

        The client's own pipelines do the same, at four times the cost. Raises RedisError, OSError, TimeoutError.
        """
        loop = asyncio.get_running_loop()
        answers: list[Any] = []
        async with asyncio.timeout(None) as limit:
            # A loop that was held up for so long may have the answers before it, unread: it has a moment more.
            timer = loop.call_later(REDIS_SECONDS, lambda: limit.reschedule(loop.time() + LAST_LOOK_SECONDS))
            try:
                if self._connection is None:
                    self._connection = await self._client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
                connection = self._connection
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                for command in commands:
                    try:
                        answer = await connection.read_response(disable_decoding=True)
                    except ResponseError as error:
                        answers.append(error)
                    else:
                        shape = self._client.response_callbacks.get(str(command[0]))
                        answers.append(shape(answer) if shape else answer)
            finally:
                timer.cancel()
        return answers

    def _fail(self, asked: list[_Asked], error: Away) -> None:
        for one in asked:
            if not one.answer.done():
                one.answer.set_exception(error)

    def _lose(self, error: BaseException) -> None:
        if not self.is_away:
            logger.warning("Redis is away; the gateway goes on as if it were alone: %s", type(error).__name__)
        self.is_away = True
        self._fail(self._take_asked(), Away("Redis does not answer"))

    # Life and death

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(REACH_SECONDS if self.is_away else PULSE_SECONDS)
            with suppress(Away):
                await self._pulse()

    async def _pulse(self) -> None:
        """Raise the pulse of this process, and look at those of the others. Raises Away."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        command = ("EVAL", _PULSE.text, 1, self.key("pulses"), self.process, PULSES_SECONDS, self._pulses + 1)
        try:
            # It is asked whether Redis is away or not.
            before, pulses = await self._put(command)
        except Away as error:
            self.is_away, self.reason = True, str(error)
            raise
        was_away, lapsed = self.is_away, self._pulses > 0 and not self.is_current
        forgotten = self._pulses > 0 and not before
        self.is_away = False
        self._pulses += 1
        self._pulse_at = at
        if was_away:
            # The others could not raise theirs either, and have the same time for it from now on.
            self._others.begin_anew(loop.time())
        # Names and numbers, by turns.
        numbers = {name.decode(): int(count) for name, count in zip(pulses[::2], pulses[1::2], strict=True)}
        for process in self._others.see(numbers, loop.time()):
            self.begin("HDEL", self.key("pulses"), process)
        if self._pulses > 1 and (was_away or lapsed or forgotten):
            logger.warning("Redis is back%s", ", and has forgotten what it was told" if forgotten else "")
            for call in self._when_back:
                call()
        for call in self._at_pulse:
            call()

    @property
    def is_current(self) -> bool:
        """True: nobody can have taken this process for dead, and so what it holds is its own."""
        return asyncio.get_running_loop().time() - self._pulse_at < LEASE_SECONDS - MARGIN_SECONDS

    def is_alive(self, process: str) -> bool:
        """True for a process whose pulse goes on; for a while also for one never seen, which may just have begun."""
        return process == self.process or self._others.is_alive(process, asyncio.get_running_loop().time())

    @property
    def dead(self) -> list[str]:
        """The processes whose pulse was seen, and goes on no more."""
        return self._others.dead(asyncio.get_running_loop().time())

    @property
    def hears_all(self) -> bool:
        """True: no process that may live has lost touch with Redis, this one neither."""
        return self.is_current and self._others.all_go_on(asyncio.get_running_loop().time())

    def when_back(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever Redis answers again, or has forgotten what it was told."""
        self._when_back.append(call)

    def when_deaf(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever letters may have been lost, once they are heard again."""
        self._when_deaf.append(call)

    def at_pulse(self, call: Callable[[], None]) -> None:
        """Have `call` called after every pulse, once a second."""
        self._at_pulse.append(call)

    # Letters

    def hear(self, kind: str, hear: Callable[[str, msgspec.Raw], None]) -> None:
        """Have `hear` called with the sender and the content of each letter of a kind; it raises nothing.

        Raises ValueError for a kind that somebody hears already.
        """
        if kind in self._hearers:
            raise ValueError(f"letters of the kind `{kind}` are heard already")
        self._hearers[kind] = hear

    async def tell(self, process: str, kind: str, content: Any) -> bool:
        """Send a letter to a process; False if nobody hears it. Raises Away."""
        return bool(await self.begin("PUBLISH", self.key("to", process), self._letter(kind, content)))

    def drop_letter(self, process: str, kind: str, content: Any) -> None:
        """Send a letter to a process, and do not wait: it may be lost."""
        self.begin("PUBLISH", self.key("to", process), self._letter(kind, content))

    async def tell_all(self, kind: str, content: Any) -> None:
        """Send a letter to every process, this one included. Raises Away."""
        await self.begin("PUBLISH", self.key("to", "all"), self._letter(kind, content))

    def _letter(self, kind: str, content: Any) -> bytes:
        return msgspec.msgpack.encode((kind, self.process, content))

    async def _hear_all(self) -> None:
        """Hear letters, over a connection of its own, for as long as the link stands."""
        while True:
            listening = self._client.pubsub()
            try:
                await listening.subscribe(self.key("to", self.process), self.key("to", "all"))
                for call in self._when_deaf:
                    call()
                while True:
                    message = await listening.get_message(ignore_subscribe_messages=True, timeout=PULSE_SECONDS)
                    if message:
                        self._receive(message["data"])
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(REACH_SECONDS)
            finally:
                with suppress(RedisError, OSError):
                    await listening.aclose()  # type: ignore[no-untyped-call]

    def _receive(self, data: bytes) -> None:
        try:
            letter = _read_letter(data)
        except msgspec.MsgspecError:
            logger.warning("a letter of another gateway's could not be read")
            return
        if letter.kind == "gone":
            self._others.say_gone(letter.sender, asyncio.get_running_loop().time())
        if hear := self._hearers.get(letter.kind):
            hear(letter.sender, letter.content)


def _look(answer: "asyncio.Future[Any]") -> None:
    """Have nobody told of an error that nobody waits for."""
    if not answer.cancelled():
        answer.exception()
