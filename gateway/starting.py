"""The start of a gateway, in an order by which it soon serves.

A Letta of the gateway's own takes longer to start than anything else: it is begun first, and what serves is imported
meanwhile. This module imports what is needed before that, and no more.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from gateway.choices import counters_for, upstream_for
from gateway.commands import announcement
from gateway.letta.embedded.directory import state_of
from gateway.listening import CannotListen, bound
from gateway.settings import Secret, Settings

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


def serve(
    settings: Settings, tell: Callable[[str, str], None], say: Callable[[str], None], page_key: Secret | None = None
) -> None:
    """Serve until SIGINT or SIGTERM.

    `tell` is called once it answers, with its address and a line about its model, `say` with what comes later.
    `page_key`: see `create_app`. Raises CannotListen, CannotKeep, UpstreamError.
    """
    # At the level INFO httpx logs every request to Letta, and uvicorn each step of its own.
    for name in ("httpx", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # uvicorn passes on the signal that stopped it, once it has stopped.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, lambda *_: sys.exit(0))
    # Modules are made to stay: to look for garbage among them takes a tenth of the start.
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            started = runner.run(_serve(settings, tell, say, page_key))
    except CannotListen as error:
        raise _known_holder(settings) or error from error
    if not started:
        sys.exit(1)


async def _serve(
    settings: Settings, tell: Callable[[str, str], None], say: Callable[[str], None], page_key: Secret | None
) -> bool:
    """Take the address, start Letta, then serve; returns False if that did not begin.

    Raises CannotListen; and CannotKeep, and the UpstreamError of Letta's start, which uvicorn would only log, as bugs.
    """
    sockets = bound(settings.server.host, settings.server.port)
    upstream, counters = upstream_for(settings), counters_for(settings)

    async def up(address: str) -> None:
        if isinstance(upstream, _Own):
            upstream.tell_address(address)
        tell(address, await announcement.model_line(settings, upstream))
        async for warning in announcement.left_out(settings, upstream):
            logger.warning("%s", warning)

    try:
        if isinstance(upstream, _Own):
            await upstream.begin()
        from gateway.app import create_app
        from gateway.serving import GatewayServer

        server = GatewayServer(create_app(settings, upstream, page_key, counters=counters), settings, up, say)
        # Objects that live as long as the process need not be looked at by every garbage collection.
        gc.collect()
        gc.freeze()
        gc.enable()
        await counters.start()
        await upstream.start()
    except BaseException:
        await upstream.aclose()
        await counters.aclose()
        for each in sockets:
            each.close()
        raise
    await server.serve(sockets)
    return server.started


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The maker of the event loop; None for asyncio's own."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def _known_holder(settings: Settings) -> Exception | None:
    """It may be another gateway with the same Letta that listens there: that says more."""
    if settings.letta.kind != "embedded":
        return None
    from gateway.letta.embedded.lock import find_holder

    return asyncio.run(find_holder(state_of(settings.letta.state)))
