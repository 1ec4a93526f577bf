"""The parent process of a gateway with several workers. It serves nobody itself, and imports no server.

It has the address, the workers and, where Letta is the gateway's own, that; it reads the configuration again, and it
alone hears signals.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext

from msgspec import Raw

from gateway.choices import offline_model
from gateway.commands import announcement
from gateway.domain.errors import UpstreamError
from gateway.listening import METRICS_PORT, CannotListen, bound, bound_for, close_all, http_address
from gateway.settings import Settings
from gateway.starting import Ground, Source, ended_by_signals, hold_hangups, known_holder, quiet_libraries, taking_up
from gateway.workers.begin import CannotWork
from gateway.workers.channel import Hear, Unheard
from gateway.workers.crew import Crew

logger = logging.getLogger(__name__)
# A worker that has not ended so long after the time for its answers is over hangs.
LATE_SECONDS = 30.0
STOPS = (signal.SIGINT, signal.SIGTERM)


def serve_workers(
    settings: Settings,
    workers: int,
    tell: Callable[[str, str], None],
    say: Callable[[str], None],
    source: Source | None = None,
) -> None:
    """Serve by so many processes until SIGINT or SIGTERM. Raises CannotListen, CannotWork, UpstreamError.

    `tell`, `say` and `source` are those of `starting.serve`.
    """
    if sys.platform == "win32":
        raise CannotWork("Several workers are not to be had on Windows: --workers 1")
    quiet_libraries()
    hold_hangups(source)
    with ended_by_signals():
        try:
            grounds = _grounds(settings, workers)
        except CannotListen as error:
            raise known_holder(settings) or error from error
        try:
            with asyncio.Runner() as runner:
                runner.run(_Parent(settings, grounds, tell, say).serve(source))
        finally:
            for ground in grounds:
                close_all(ground.sockets, ground.for_metrics)


def _grounds(settings: Settings, workers: int) -> list[Ground]:
    """The sockets of each worker; those for metrics are the same. Raises CannotListen."""
    of_each, metrics = bound_for(settings.server.host, settings.server.port, workers), settings.metrics
    try:
        for_metrics = [] if metrics.port is None else bound(metrics.host, metrics.port, METRICS_PORT)
    except CannotListen:
        close_all(*of_each)
        raise
    return [Ground(sockets, for_metrics) for sockets in of_each]


class _Parent:
    """All that the parent has."""

    def __init__(
        self, settings: Settings, grounds: list[Ground], tell: Callable[[str, str], None], say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._say = say
        # The sockets are closed before they are told of, where it ends at once.
        self._address = http_address(grounds[0].sockets[0])
        self._metrics_address = http_address(grounds[0].for_metrics[0]) if grounds[0].for_metrics else ""
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._letta_is_there = asyncio.Event()
        hear: dict[str, Hear] = {}
        self._upstream = None
        if settings.letta.kind == "embedded":
            from gateway.letta.embedded.upstream import EmbeddedUpstream

            self._upstream = EmbeddedUpstream(settings, offline_model)
            hear = {"letta": self._tell_letta, "restart": self._restart_letta}
        self._crew = Crew(settings, grounds, hear)

    async def serve(self, source: Source | None) -> None:
        """Serve until it is told to end."""
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, self._hear_stop)
        stopping = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._start())
        try:
            with taking_up(source, self._crew, self._hear_stop) if source else nullcontext():
                await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
                if not starting.done():
                    return
                self._announce(await starting)
                await stopping
                await self._end()
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.wait([starting, stopping])
            await self._crew.aclose()
            if self._upstream:
                await self._upstream.aclose()

    def _hear_stop(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _start(self) -> str:
        """Start Letta, if that is the gateway's own, and the workers meanwhile; gives the line about the models."""
        if not self._upstream:
            return await self._crew.start()
        await self._upstream.begin()
        working = asyncio.create_task(self._crew.start())
        try:
            await self._upstream.start()
            self._letta_is_there.set()
            return await working
        finally:
            working.cancel()
            await asyncio.wait([working])

    def _announce(self, model: str) -> None:
        if self._upstream:
            self._upstream.tell_address(self._address)
        if self._metrics_address:
            self._say(f"Metrics at {self._metrics_address}/metrics")
        self._tell(self._address, model)

    async def _end(self) -> None:
        """Have all workers end, and return once they have."""
        seconds = self._settings.server.drain_seconds
        self._say(announcement.waiting(await self._crew.end(), seconds))
        hurrying = asyncio.create_task(self._hurry_up())
        try:
            async with asyncio.timeout(seconds + LATE_SECONDS):
                await self._crew.wait_ended()
        except TimeoutError:
            logger.error("A worker does not end, and is killed")
        finally:
            hurrying.cancel()
        if self._crew.cut:
            self._say(announcement.ended(self._crew.cut))

    async def _hurry_up(self) -> None:
        await self._hurry.wait()
        self._crew.hurry()
        await asyncio.sleep(LATE_SECONDS)
        logger.error("A worker does not end, and is killed")
        await self._crew.aclose()

    # What a worker asks

    async def _tell_letta(self, content: Raw) -> tuple[str, str]:
        """The address and the token of the present App Server."""
        assert self._upstream
        await self._letta_is_there.wait()
        try:
            return await self._upstream.place()
        except UpstreamError as error:
            raise Unheard(str(error)) from error

    async def _restart_letta(self, content: Raw) -> bool:
        """Have the App Server read its files again; False if that would end a turn."""
        assert self._upstream
        if await self._crew.has_turns():
            return False
        await self._upstream.read_again()
        return True
