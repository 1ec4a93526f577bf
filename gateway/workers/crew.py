"""The workers of a gateway, as its parent process has them: started, started again when they die, asked, ended.

The sockets stay with the parent: a worker that dies takes its own connections with it, and whoever comes meanwhile
waits for the next one.
"""

import asyncio
import logging
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Raw

import gateway
from gateway.http.seen.chats import ChatsUnderWay
from gateway.listening import close_all
from gateway.settings import Settings
from gateway.starting import Ground
from gateway.workers.begin import Begin, CannotWork, share_of, to_json_settings
from gateway.workers.channel import Channel, Hear, Unheard, read
from gateway.workers.sums import joined_chats, summed

logger = logging.getLogger(__name__)
FIRST_WORKER_DELAY, LAST_WORKER_DELAY = 0.2, 10.0
# One that has served for so long has not died of what it was started with.
GOOD_LIFE_SECONDS = 30.0
# A worker that hangs is left out of metrics after so long, and holds up no longer who asks if all is well.
NUMBERS_SECONDS, READY_SECONDS, WORD_SECONDS = 1.0, 5.0, 10.0
SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}
# The package is found where the parent has found it, and nothing else of what lies around.
START = "import sys; sys.path.append(sys.argv.pop(1)); from gateway.workers.worker import main; main(sys.argv[1])"
FOLDER = str(Path(gateway.__file__).parent.parent)


class _Member:
    """One life of a worker."""

    def __init__(self, number: int, process: Process) -> None:
        self.number = number
        self.process = process
        self.channel: Channel
        self.is_up = False
        self.failed = ""
        """The reason that it told for not serving."""
        self.numbers = ""
        """Its metrics, as they were told last."""
        self.cut = 0
        """The number of answers that it has ended with an error."""

    async def ended(self) -> int:
        """The exit code, once it has ended, and its last words were heard."""
        code = await self.process.wait()
        await self.channel.wait_closed()
        return code

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()

    async def ask(self, kind: str, seconds: float, answer: type[Any], content: object = None) -> Any:
        """Raises Unheard."""
        return read(await self.channel.ask(kind, content, seconds), answer)


class Crew:
    """All workers, a `Ground` for each, with `settings`; a socket for metrics is the same for all of them."""

    def __init__(self, settings: Settings, grounds: list[Ground], hear: Mapping[str, Hear]) -> None:
        """`hear`: what they may ask the parent beside what is asked here."""
        self.settings = settings
        self.cut = 0
        """The number of answers that were ended with an error."""
        self._grounds = grounds
        self._hear = {"ready": self._tell_ready, "numbers": self._tell_numbers, "chats": self._tell_chats, **hear}
        self._members: dict[int, _Member] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._gone = ""
        """The sums of what those have counted that are gone."""
        self._model: str | None = None
        """The line about the models; None before it was told."""
        self._failed = ""
        """The reason why the gateway cannot begin."""
        self._news = asyncio.Event()
        self._was_up = False
        self._ending = asyncio.Event()

    # From the begin to the end

    async def start(self) -> str:
        """Return once all of them serve, with the line about the models. Raises CannotWork."""
        self._keeping = [asyncio.create_task(self._keep(number)) for number in range(1, len(self._grounds) + 1)]
        while not self._is_up or self._model is None:
            await self._news.wait()
            self._news.clear()
            if self._failed:
                raise CannotWork(self._failed)
        self._was_up = True
        return self._model

    @property
    def _is_up(self) -> bool:
        return len(self._members) == len(self._grounds) and all(each.is_up for each in self._members.values())

    async def end(self) -> int:
        """Have all of them end; gives the number of answers that they wait for."""
        self._ending.set()
        # Those that are still there take what comes from now on, and say that the gateway ends.
        self._close_grounds()
        for member in self._members.values():
            if not member.is_up:
                member.kill()
        return sum((await self._ask_all("end", READY_SECONDS, int)).values())

    def hurry(self) -> None:
        """Have all of them end at once."""
        for member in self._members.values():
            member.channel.tell("hurry")

    async def wait_ended(self) -> None:
        """Return once all of them have ended, after `end`."""
        if self._keeping:
            await asyncio.wait(self._keeping)

    async def aclose(self) -> None:
        """End what is left, without giving it time for anything."""
        self._ending.set()
        self._close_grounds()
        for member in self._members.values():
            member.kill()
        await self.wait_ended()

    def _close_grounds(self) -> None:
        for ground in self._grounds:
            close_all(ground.sockets, ground.for_metrics)

    # One worker

    async def _keep(self, number: int) -> None:
        """Have the worker of this number run, again and again."""
        delay = _delays()
        clock = asyncio.get_running_loop().time
        while not self._ending.is_set():
            began = clock()
            try:
                how = await self._live(number)
            except OSError as error:
                how = f"Worker {number} cannot be started: {error}"
            if self._ending.is_set():
                return
            if not self._was_up:
                self._failed = how
                self._news.set()
                return
            if clock() - began > GOOD_LIFE_SECONDS:
                delay = _delays()
            wait = next(delay)
            logger.error("%s; another takes its place in %.1f s", how, wait)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._ending.wait()

    async def _live(self, number: int) -> str:
        """One life of a worker; gives the words for its end. Raises OSError if it does not even begin."""
        member = self._members[number] = await self._start(number)
        if self._ending.is_set():
            member.kill()
        code = await member.ended()
        del self._members[number]
        self.cut += member.cut
        self._gone = summed([], [self._gone, member.numbers])
        await member.channel.aclose()
        who = f"Worker {number} (process {member.process.pid})"
        return f"{who} has ended, {_exit(code)}" + (f": {member.failed}" if member.failed else "")

    async def _start(self, number: int) -> _Member:
        ground = self._grounds[number - 1]
        sockets = tuple(each.fileno() for each in ground.sockets)
        for_metrics = tuple(each.fileno() for each in ground.for_metrics)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", START, FOLDER, str(theirs.fileno())),
                    stdin=DEVNULL,
                    pass_fds=(theirs.fileno(), *sockets, *for_metrics),
                    # Ctrl+C at a terminal is for the parent.
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        member = _Member(number, process)
        hear = {**self._hear, **self._hear_of(member)}
        member.channel = await Channel.over(ours, hear)
        settings = to_json_settings(share_of(self.settings, number, len(self._grounds)))
        announces = number == 1 and not self._was_up
        member.channel.tell("begin", Begin(settings, number, sockets, for_metrics, announces))
        return member

    def _hear_of(self, member: _Member) -> dict[str, Hear]:
        """The words that only this worker says."""

        async def hear_serves(content: Raw) -> None:
            member.is_up = True
            if self._was_up:
                logger.info("Worker %d serves (process %d).", member.number, member.process.pid)
            self._news.set()

        async def hear_model(content: Raw) -> None:
            self._model = read(content, str)
            self._news.set()

        async def hear_failed(content: Raw) -> None:
            member.failed = read(content, str)

        async def hear_cut(content: Raw) -> None:
            member.cut += read(content, int)

        return {"serves": hear_serves, "model": hear_model, "failed": hear_failed, "cut": hear_cut}

    async def _ask_all(self, kind: str, seconds: float, answer: type[Any]) -> dict[_Member, Any]:
        """The answers of those that serve, and answer in time."""
        members = [each for each in self._members.values() if each.is_up]
        answers = await asyncio.gather(*(each.ask(kind, seconds, answer) for each in members), return_exceptions=True)
        return {each: said for each, said in zip(members, answers, strict=True) if not isinstance(said, BaseException)}

    # What any of them asks

    async def _tell_ready(self, content: Raw) -> str:
        """The words for what is lacking; empty if nothing is."""
        if not self._is_up:
            return "Not all processes of this gateway are up."
        answers = await self._ask_all("ready", READY_SECONDS, str)
        if len(answers) < len(self._grounds):
            return "Not all processes of this gateway answer."
        return next(filter(None, answers.values()), "")

    async def _tell_numbers(self, content: Raw) -> str:
        """The sums of all metrics; of one that does not answer, and of those that are gone, what was counted."""
        told = await self._ask_all("numbers", NUMBERS_SECONDS, str)
        for member, numbers in told.items():
            member.numbers = numbers
        silent = [each.numbers for each in self._members.values() if each not in told]
        return summed(told.values(), [self._gone, *silent])

    async def _tell_chats(self, content: Raw) -> ChatsUnderWay:
        return joined_chats((await self._ask_all("chats", NUMBERS_SECONDS, ChatsUnderWay)).values())

    # What all of them are told

    async def take_up(self, settings: Settings) -> None:
        """Have all of them, and those to come, read other settings from now on."""
        self.settings = settings
        told = [self._tell_settings(each, settings) for each in self._members.values()]
        await asyncio.gather(*told)

    async def _tell_settings(self, member: _Member, settings: Settings) -> None:
        content = to_json_settings(share_of(settings, member.number, len(self._grounds)))
        if not member.is_up:
            # It comes behind its first word.
            member.channel.tell("take-up", content)
            return
        try:
            await member.channel.ask("take-up", content, WORD_SECONDS)
        except Unheard as error:
            logger.error("Worker %d has not said that it has taken up the configuration: %s", member.number, error)

    async def has_turns(self) -> bool:
        """True if any of them has a turn under way on the App Server, or does not say."""
        answers = await self._ask_all("turns", READY_SECONDS, bool)
        return len(answers) < len(self._members) or any(answers.values())


def _exit(code: int) -> str:
    """The words for how a process ended: `exit code 1`, `exit code -9, SIGKILL`."""
    name = SIGNAL_NAMES.get(-code)
    return f"exit code {code}" + (f", {name}" if name else "")


def _delays() -> Iterator[float]:
    """The seconds before each attempt, twice as many as before the last: 0.2, 0.4, 0.8, …"""
    delay = FIRST_WORKER_DELAY
    while True:
        yield delay
        delay = min(2 * delay, LAST_WORKER_DELAY)
