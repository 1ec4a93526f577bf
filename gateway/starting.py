"""The start of a gateway, in an order by which it soon serves.

A Letta of the gateway's own takes longer to start than anything else: it is begun first, and what serves is imported
meanwhile. This module imports what is needed before that, and no more.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec import Struct

from gateway.choices import counters_for, together_for, upstream_for
from gateway.commands import announcement
from gateway.letta.embedded.directory import state_of
from gateway.letta.upstream import Upstream
from gateway.listening import METRICS_PORT, CannotListen, bound, close_all
from gateway.settings import Secret, Settings
from gateway.together import Together

if TYPE_CHECKING:  # what serves is imported later
    from litestar import Litestar

    from gateway.http.parts import Whole
    from gateway.reloading import Changeable
    from gateway.serving import GatewayServer

logger = logging.getLogger(__name__)


@runtime_checkable
class _Own(Protocol):
    """A Letta of the gateway's own."""

    async def begin(self) -> None:
        """Start its process, and do not wait until it answers."""
        ...

    def tell_address(self, address: str) -> None:
        """Tell gateways that are started beside this one where it serves."""
        ...


class Source(Struct, frozen=True):
    """The files of a configuration, and the way to read them again."""

    read: Callable[[], Settings]
    """Reads them. Raises SettingsError."""
    files: Callable[[], list[Path]]
    """Tells which they are now."""
    watch: bool
    """True: a change of the files is taken up by itself, and not on SIGHUP only."""


def serve(
    settings: Settings,
    tell: Callable[[str, str], None],
    say: Callable[[str], None],
    page_key: Secret | None = None,
    source: Source | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    `tell` is called once it answers, with its address and a line about its model, `say` with what comes later.
    `page_key`: see `create_app`. `source`: where the settings are from, if they may change. Raises CannotListen,
    CannotKeep, UpstreamError.
    """
    quiet_libraries()
    hold_hangups(source)
    try:
        # uvicorn passes on the signal that stopped it, once it has stopped.
        with ended_by_signals(), starting_runner() as runner:
            started = runner.run(_serve(settings, tell, say, page_key, source))
    except CannotListen as error:
        raise known_holder(settings) or error from error
    if not started:
        sys.exit(1)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While entered, SIGINT and SIGTERM end the process; afterwards it ends anyway, and heeds them no more.

    One that came while Python ends would break that off, and be told as a bug.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def quiet_libraries() -> None:
    """At the level INFO httpx logs every request to Letta, watchfiles what happens in a folder, uvicorn each step."""
    for name in ("httpx", "watchfiles", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)


def hold_hangups(source: Source | None) -> None:
    """Until it can be heeded, a hangup must not end what is about to heed it; what was just read has not changed."""
    if source and sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def starting_runner() -> "asyncio.Runner":
    """A runner of what serves, without a garbage collector until that is there.

    Modules are made to stay: to look for garbage among them takes a tenth of the start.
    """
    gc.disable()
    return asyncio.Runner(loop_factory=_new_loop())


async def _serve(
    settings: Settings,
    tell: Callable[[str, str], None],
    say: Callable[[str], None],
    page_key: Secret | None,
    source: Source | None,
) -> bool:
    """Take the address, start Letta, then serve; returns False if that did not begin.

    Raises CannotListen; and CannotKeep, and the UpstreamError of Letta's start, which uvicorn would only log, as bugs.
    """
    sockets, metrics = bound(settings.server.host, settings.server.port), settings.metrics
    try:
        for_metrics = [] if metrics.port is None else bound(metrics.host, metrics.port, METRICS_PORT)
    except CannotListen:
        close_all(sockets)
        raise
    together = together_for(settings)
    upstream = upstream_for(settings, together)

    async def up(address: str) -> None:
        if isinstance(upstream, _Own):
            upstream.tell_address(address)
        tell(address, await announcement.model_line(settings, upstream))
        async for warning in announcement.left_out(settings, upstream):
            logger.warning("%s", warning)

    def make(app: "Litestar") -> "GatewayServer":
        from gateway.serving import GatewayServer

        return GatewayServer(app, settings, up, say)

    def beside(server: "GatewayServer") -> AbstractContextManager[None]:
        return taking_up(source, server.parts.in_force, server.end) if source else nullcontext()

    return await serve_at(
        Ground(sockets, for_metrics), Served(settings, upstream, together, page_key), make, beside, say
    )


class Ground(Struct, frozen=True):
    """The sockets of a gateway, bound, and not listening yet: at its address, and at that for metrics."""

    sockets: list[socket.socket]
    for_metrics: list[socket.socket]


class Served(Struct, frozen=True):
    """All that a gateway is made of, not yet started."""

    settings: Settings
    upstream: Upstream
    together: Together
    page_key: Secret | None = None
    whole: "Whole | None" = None


async def serve_at(
    ground: Ground,
    served: Served,
    make: "Callable[[Litestar], GatewayServer]",
    beside: "Callable[[GatewayServer], AbstractContextManager[None]]",
    say: Callable[[str], None],
) -> bool:
    """Start what is not yet started, and serve; returns False if that did not begin, and closes everything.

    `make` makes the server, and `beside` is entered while it serves. Raises what `_serve` does.
    """
    settings, upstream, together = served.settings, served.upstream, served.together
    counters = counters_for(settings, together.link)
    try:
        if isinstance(upstream, _Own):
            await upstream.begin()
        from gateway.app import create_app, create_metrics_app
        from gateway.serving import metrics_served

        app = create_app(settings, upstream, served.page_key, counters=counters, together=together, whole=served.whole)
        server = make(app)
        metrics_app = create_metrics_app(app, settings) if ground.for_metrics else None
        meanwhile = beside(server)
        # Objects that live as long as the process need not be looked at by every garbage collection.
        gc.collect()
        gc.freeze()
        gc.enable()
        await together.start()
        await counters.start()
        await upstream.start()
    except BaseException:
        await upstream.aclose()
        await counters.aclose()
        await together.aclose()
        close_all(ground.sockets, ground.for_metrics)
        raise
    async with AsyncExitStack() as entered:
        if metrics_app:
            # Answers for as long as the process lives: how it ends is worth watching, too.
            address = await entered.enter_async_context(metrics_served(metrics_app, ground.for_metrics))
            say(f"Metrics at {address}/metrics")
        entered.enter_context(meanwhile)
        await server.serve(ground.sockets)
    return server.started


@contextmanager
def taking_up(source: Source, in_force: "Changeable", end: Callable[[], None]) -> Iterator[None]:
    """While entered, changes of the configuration are taken up."""
    from gateway.reloading import HAS_HANGUPS, Hangups, Reloading

    reloading = Reloading(source.read, in_force)
    with ExitStack() as stack:
        if HAS_HANGUPS:
            stack.enter_context(Hangups(reloading.reload, end))
        if source.watch:
            from gateway.watching import changes_of

            watching = asyncio.create_task(reloading.follow(changes_of(source.files)))
            stack.callback(watching.cancel)
        yield


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The maker of the event loop; None for asyncio's own."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def known_holder(settings: Settings) -> Exception | None:
    """It may be another gateway with the same Letta that listens there: that says more."""
    if settings.letta.kind != "embedded":
        return None
    from gateway.letta.embedded.lock import find_holder

    return asyncio.run(find_holder(state_of(settings.letta.state)))
