"""The command `letta-gateway`: serve, check, demo."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway import __version__, demo
from gateway.app import create_app
from gateway.check import check
from gateway.configuration import Overrides, SettingsError, load, load_demo
from gateway.domain.errors import UpstreamError
from gateway.letta.embedded.upstream import state_of
from gateway.logs import log_to_stderr
from gateway.people_report import PeopleAsked
from gateway.serving import GatewayServer
from gateway.settings import Secret, Settings


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command in `argv`.

    Exits with 1 for a mistake in the configuration, if `check` finds a problem, or if nothing can be served.
    """
    arguments = _parser().parse_args(argv)
    try:
        _COMMANDS[arguments.command](arguments)
    except (SettingsError, UpstreamError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="letta-gateway", description="OpenAI chat completions, answered by Letta agents."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve the OpenAI API (starts without Letta, too)")
    serving.add_argument("--host", help="address to listen on")
    serving.add_argument("--chat-page", action="store_true", default=None, help="serve a page to chat on at /")
    checking = commands.add_parser("check", help="read the configuration, reach Letta, and say what is wrong")
    checking.add_argument("--users", action="store_true", help="count the people and agents in Letta, by agent type")
    checking.add_argument("--user", metavar="ID", help="show by what tag this person is known in Letta, and the agents")
    checking.add_argument("--key", metavar="NAME", help="with --user: the key that the person's requests come with")
    checking.set_defaults(host=None, port=None, chat_page=None)
    trying = commands.add_parser("demo", help="try it out: a Letta of its own, a key, and how to talk to it")
    for command in (serving, trying):
        command.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    for command in (serving, checking):
        command.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; absent: the environment")
    for command in (serving, checking, trying):
        command.add_argument("--state", metavar="DIR", help="where an embedded Letta keeps agents, memory and log")
    return parser


def _load(arguments: argparse.Namespace) -> Settings:
    overrides = Overrides(
        host=arguments.host, port=arguments.port, chat_page=arguments.chat_page, state=arguments.state
    )
    return load(arguments.config, os.environ, overrides)


def _check(arguments: argparse.Namespace) -> None:
    people = PeopleAsked(arguments.user, arguments.key) if arguments.users or arguments.user else None
    sys.exit(0 if asyncio.run(check(_load(arguments), people)) else 1)


def _serve(arguments: argparse.Namespace) -> None:
    log_to_stderr(logging.INFO)
    serve(_load(arguments))


def _demo(arguments: argparse.Namespace) -> None:
    # A newcomer is to read the next steps, and not a log, unless something is wrong.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    state = state_of(arguments.state)
    try:
        key = demo.read_key(state)
    except OSError as error:
        raise SettingsError("--state", str(state), f"expected a directory to write to: {error.strerror}") from error
    port = demo.free_port() if arguments.port is None else arguments.port
    settings = load_demo(os.environ, Overrides(port=port, state=str(state)), key)
    demo.tell_start(settings, state)
    serve(settings, lambda address: demo.tell_address(settings, address), page_key=key)


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"serve": _serve, "check": _check, "demo": _demo}


def serve(settings: Settings, up: Callable[[str], None] = lambda _: None, page_key: Secret | None = None) -> None:
    """Serve until SIGINT or SIGTERM; `up` is called with the address once it answers. `page_key`: see `create_app`."""
    # At the level INFO httpx logs every request to Letta.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # uvicorn passes on the signal that stopped it, once it has stopped.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, lambda *_: sys.exit(0))
    server = GatewayServer(create_app(settings, page_key=page_key), settings, up)
    # Objects that live as long as the process need not be looked at by every garbage collection.
    gc.collect()
    gc.freeze()
    server.run()
    if not server.started:
        sys.exit(1)
