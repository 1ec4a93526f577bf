"""A worker: a process that serves at an address together with others, for a parent that has started them all.

It is run with the file of its end of the channel: `main("5")`. It ends when the parent says so; and where the parent
is gone, in a moment.
"""

import asyncio
import encodings.idna  # noqa: F401 (Python itself imports it when a name is looked up: the parent has, for the address)
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from litestar import Litestar
from msgspec import Raw

from gateway.choices import prepare_tokens, together_for
from gateway.commands import announcement
from gateway.domain.errors import UpstreamError
from gateway.http.middleware import ENDING
from gateway.http.seen.chats import ChatsUnderWay, to_chats
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.upstream import Upstream
from gateway.limits.counters import CannotKeep
from gateway.listening import CannotListen
from gateway.logs import log_as, log_to_stderr
from gateway.serving import GatewayServer
from gateway.settings import Settings
from gateway.starting import Ground, Served, quiet_libraries, serve_at, starting_runner
from gateway.workers.begin import Begin, from_json_settings
from gateway.workers.borrowed import WholeGateway, upstream_of
from gateway.workers.channel import Channel, read

logger = logging.getLogger(__name__)
# Signals are for the parent: at a terminal, and from a container's engine, they may reach all processes at once.
PARENTS_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
# For so long answers under way go on once the parent is gone: who starts another gateway wants the address.
ORPHAN_SECONDS = 10.0


def main(file: str) -> None:
    """Work, and exit: with 0 if it served, and was told to end."""
    for name in PARENTS_SIGNALS:
        # No `SIG_IGN`: processes that are started from here would have it, too.
        signal.signal(getattr(signal, name), lambda *_: None)
    log = log_to_stderr(logging.INFO)
    quiet_libraries()
    with starting_runner() as runner:
        sys.exit(0 if runner.run(Worker(log).work(socket.socket(fileno=int(file)))) else 1)


class WorkerServer(GatewayServer):
    """The server of a worker: the parent alone tells it to stop, and speaks for it."""

    def __init__(self, app: Litestar, settings: Settings, worker: "Worker") -> None:
        super().__init__(app, settings, worker.up)
        self._worker = worker

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def begin_end(self) -> int:
        """Take nothing new, and have it stop; gives how many answers are waited for."""
        self.parts.door.closed = True
        self.end()
        return self.parts.answers_under_way

    def orphan(self) -> None:
        """Have it stop soon, and leave its address to others now."""
        self.drain_seconds = min(self.drain_seconds, ORPHAN_SECONDS)
        self.begin_end()
        for each in self.servers if self.started else ():
            each.close()

    def tell_waiting(self, answers: int) -> None:
        pass

    def tell_ended(self, answers: int) -> None:
        self._worker.channel.tell("cut", answers)


class Worker:
    """All that the process has: its channel, and what it serves with."""

    channel: Channel
    _begin: Begin
    _settings: Settings
    _upstream: Upstream
    _server: WorkerServer

    def __init__(self, log: logging.Handler) -> None:
        self._log = log
        self._begun = asyncio.Event()
        self._made = asyncio.Event()
        """There is a server."""

    async def work(self, ours: socket.socket) -> bool:
        """Serve until the end; gives False if that did not begin."""
        hear = {
            "begin": self._hear_begin,
            "take-up": self._take_up,
            "end": self._end,
            "hurry": self._hurry,
            "ready": self._tell_ready,
            "numbers": self._tell_numbers,
            "chats": self._tell_chats,
            "turns": self._tell_turns,
        }
        self.channel = await Channel.over(ours, hear)
        working = asyncio.create_task(self._serve())
        orphaned = asyncio.create_task(self.channel.wait_closed())
        await asyncio.wait([working, orphaned], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            if self._made.is_set():
                self._server.orphan()
                logger.warning("The gateway's parent process is gone: this worker ends")
            else:
                working.cancel()
            await asyncio.wait([working])
        orphaned.cancel()
        served = not working.cancelled() and working.result()
        await self.channel.aclose()
        return served

    async def _serve(self) -> bool:
        await self._begun.wait()
        begin, settings = self._begin, self._settings
        ground = Ground(_opened(begin.sockets), _opened(begin.for_metrics))
        together = together_for(settings)
        self._upstream = upstream_of(settings, self.channel, together)

        def make(app: Litestar) -> GatewayServer:
            self._server = WorkerServer(app, settings, self)
            self._made.set()
            return self._server

        def no_word(line: str) -> None:
            """The parent has said it."""

        served = Served(settings, self._upstream, together, whole=WholeGateway(self.channel))
        try:
            return await serve_at(ground, served, make, lambda _: nullcontext(), no_word)
        except (CannotKeep, CannotListen, UpstreamError) as error:
            self.channel.tell("failed", str(error))
            return False

    async def up(self, address: str) -> None:
        """Say that it serves, and if it is the one to do so, with which models."""
        self.channel.tell("serves")
        if self._begin.announces:
            self.channel.tell("model", await announcement.model_line(self._settings, self._upstream))
            async for warning in announcement.left_out(self._settings, self._upstream):
                logger.warning("%s", warning)

    # What the parent says, and asks

    async def _hear_begin(self, content: Raw) -> None:
        self._begin = read(content, Begin)
        self._settings = from_json_settings(self._begin.settings)
        log_as(self._settings.log.format, self._log)
        self._begun.set()

    async def _take_up(self, content: Raw) -> None:
        settings = from_json_settings(content)
        await asyncio.to_thread(prepare_tokens, settings)
        await self._made.wait()
        self._server.parts.in_force.take_up(settings)

    async def _end(self, content: Raw) -> int:
        await self._made.wait()
        return self._server.begin_end()

    async def _hurry(self, content: Raw) -> None:
        await self._made.wait()
        self._server.hurry()

    async def _tell_ready(self, content: Raw) -> str:
        """The words for what is lacking; empty if nothing is."""
        await self._made.wait()
        parts = self._server.parts
        if parts.door.closed:
            return ENDING
        try:
            await parts.check_letta()
        except UpstreamError as error:
            return f"One of this gateway's processes does not reach Letta ({type(error).__name__})."
        return ""

    async def _tell_numbers(self, content: Raw) -> str:
        await self._made.wait()
        metrics = self._server.parts.metrics
        return (await metrics.exposed()).decode() if metrics else ""

    async def _tell_chats(self, content: Raw) -> ChatsUnderWay:
        await self._made.wait()
        return to_chats(self._server.parts.under_way.chats)

    async def _tell_turns(self, content: Raw) -> bool:
        """True if a turn of its own is under way on the App Server."""
        await self._made.wait()
        return isinstance(self._upstream, AppServerUpstream) and self._upstream.turns_under_way


def _opened(files: tuple[int, ...]) -> list[socket.socket]:
    return [socket.socket(fileno=file) for file in files]
