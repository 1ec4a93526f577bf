"""The command `letta-gateway`: serve, check."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from gateway import __version__
from gateway.app import create_app
from gateway.check import check
from gateway.configuration import SettingsError, load
from gateway.settings import Settings
from gateway.turns.run import Runs


def main(argv: Sequence[str] | None = None) -> None:
    """Exits with 1 for a mistake in the configuration, or when `check` finds something wrong."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load(arguments.config, os.environ, arguments.host, arguments.port)
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    if arguments.command == "check":
        sys.exit(0 if asyncio.run(check(settings)) else 1)
    serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="letta-gateway", description="OpenAI chat completions, answered by Letta agents."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve the OpenAI API (starts without Letta, too)")
    serving.add_argument("--host", help="address to listen on")
    serving.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    checking = commands.add_parser("check", help="read the configuration, reach Letta, and say what is wrong")
    checking.set_defaults(host=None, port=None)
    for command in (serving, checking):
        command.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; absent: the environment")
    return parser


class Server(uvicorn.Server):
    """A uvicorn that, told to stop, gives answers under way some time and then ends them, before it waits for them."""

    def __init__(self, settings: Settings) -> None:
        self._app = create_app(settings)
        self._grace = settings.server.shutdown_seconds
        super().__init__(
            uvicorn.Config(
                self._app,
                host=settings.server.host,
                port=settings.server.port,
                access_log=False,
                # Longer than clients and proxies keep an idle connection, so that none is closed under a request.
                timeout_keep_alive=75,
                log_config=None,
                server_header=False,
                ws="none",
            )
        )

    async def shutdown(self, sockets=None) -> None:  # type: ignore[no-untyped-def]
        runs: Runs = self._app.state.runs
        asyncio.get_running_loop().call_later(self._grace, runs.stop)
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # httpx tells every request to Letta at this level.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # uvicorn passes on the signal that stopped it, once it has stopped.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, lambda *_: sys.exit(0))
    server = Server(settings)
    # What lives as long as the process need not be looked at by every collection.
    gc.collect()
    gc.freeze()
    server.run()
