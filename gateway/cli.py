"""The command `letta-gateway`: serve, check, usage, demo, key, top."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from getpass import getpass
from pathlib import Path

from gateway import __version__
from gateway.commands import announcement, demo, key
from gateway.configuration import Overrides, SettingsError, files_of, load, load_demo
from gateway.domain.errors import UpstreamError
from gateway.letta.embedded.directory import state_of
from gateway.limits.counters import CannotKeep
from gateway.listening import CannotListen, cores
from gateway.logs import log_as, log_to_stderr
from gateway.settings import Settings
from gateway.starting import Source, serve
from gateway.workers.begin import CannotWork

logger = logging.getLogger(__name__)
# The port that OpenTelemetry gives to metrics for Prometheus:
# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#prometheus-exporter
TOP_URL = "http://127.0.0.1:9464"
KEY_VARIABLE = "GATEWAY_METRICS_KEY"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command in `argv`.

    Exits with 1 for a mistake in the configuration, if `check` finds a problem, or if nothing can be served; with 2 for
    a misuse of the command line. Without a command it tells which there are.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return
    try:
        _COMMANDS[arguments.command](arguments)
    except (SettingsError, UpstreamError, CannotListen, CannotKeep, CannotWork) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="letta-gateway",
        description="OpenAI's chat completions and responses, answered by Letta agents.",
        epilog="To try it out: letta-gateway demo",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command")
    serving = commands.add_parser("serve", help="serve the OpenAI API (starts without Letta, too)")
    serving.add_argument("--host", help="address to listen on")
    serving.add_argument("--workers", type=int, metavar="N", help="processes that share the port; 0: one for each core")
    serving.add_argument("--chat-page", action="store_true", default=None, help="serve a page to chat on at /")
    serving.add_argument("--watch", action="store_true", help="take up changes of FILE by itself, not on SIGHUP only")
    checking = commands.add_parser("check", help="read the configuration, reach Letta, and say what is wrong")
    checking.add_argument("--models", action="store_true", help="list every model that Letta has")
    checking.add_argument("--users", action="store_true", help="count the people and agents in Letta, by agent type")
    checking.add_argument("--user", metavar="ID", help="show by what tag this person is known in Letta, and the agents")
    checking.add_argument("--key", metavar="NAME", help="with --user: the key that the person's requests come with")
    checking.set_defaults(host=None, port=None, workers=None, chat_page=None)
    telling = commands.add_parser("usage", help="tell what people have used, by key and by person")
    telling.add_argument("--key", metavar="NAME", help="of this key only")
    telling.add_argument("--user", metavar="ID", help="of this person only, by the id that requests name them by")
    telling.add_argument("--month", metavar="YYYY-MM", help="of this month, day by day; absent: today, and this month")
    telling.add_argument("--json", action="store_true", help="as JSON, for programs")
    telling.set_defaults(host=None, port=None, workers=None, chat_page=None, model=None)
    keys = commands.add_parser("key", help="make a key for callers, or tell the digest of one")
    kinds = keys.add_subparsers(dest="kind", required=True)
    making = kinds.add_parser("new", help="make a key, and print it with its line for the configuration")
    hashing = kinds.add_parser("hash", help="read a key from standard input, and print its line for the configuration")
    for command in (making, hashing):
        command.add_argument(
            "--expires", type=date.fromisoformat, metavar="DAY", help="the day from which it is refused"
        )
    trying = commands.add_parser("demo", help="try it out: a Letta of its own, a key, and how to talk to it")
    looking = commands.add_parser("top", help="show a gateway at work: rates, errors, the slowest answers")
    looking.add_argument("--url", default=TOP_URL, help=f"where its metrics are ({TOP_URL}), or its own address")
    looking.add_argument(
        "--key",
        default=KEY_VARIABLE,
        metavar="VARIABLE",
        help=f"environment variable that has a key with `metrics = true` ({KEY_VARIABLE})",
    )
    looking.add_argument("--once", action="store_true", help="print one picture, and end")
    for command in (serving, trying):
        command.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    for command in (serving, checking, telling):
        command.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; absent: the environment")
    for command in (serving, checking, telling, trying):
        command.add_argument("--state", metavar="DIR", help="where an embedded Letta keeps agents, memory and log")
    for command in (serving, checking, trying):
        command.add_argument("--model", metavar="HANDLE", help="Letta's model of every agent type that names none")
    return parser


def _load(arguments: argparse.Namespace) -> Settings:
    overrides = Overrides(
        host=arguments.host,
        port=arguments.port,
        workers=arguments.workers,
        chat_page=arguments.chat_page,
        state=arguments.state,
        model=arguments.model,
    )
    return load(arguments.config, os.environ, overrides)


def _check(arguments: argparse.Namespace) -> None:
    from gateway.commands.check import check  # all kinds of Letta, of which `serve` imports its own alone
    from gateway.commands.people_report import PeopleAsked

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    people = PeopleAsked(arguments.user, arguments.key) if arguments.users or arguments.user else None
    sys.exit(0 if asyncio.run(check(_load(arguments), people, every_model=arguments.models)) else 1)


def _usage(arguments: argparse.Namespace) -> None:
    from gateway.commands.usage_report import UsageAsked, tell_usage_of  # SQLite, which not every gateway needs

    asked = UsageAsked(arguments.key, arguments.user, arguments.month)
    tell_usage_of(_load(arguments), asked, datetime.now(UTC), in_json=arguments.json)


def _serve(arguments: argparse.Namespace) -> None:
    log = log_to_stderr(logging.INFO)
    settings = _load(arguments)
    log_as(settings.log.format, log)

    def tell(address: str, model: str) -> None:
        for line in filter(None, (model, *announcement.after(settings, address))):
            logger.info("%s", line)

    for line in announcement.before(settings):
        logger.info("%s", line)
    workers = settings.server.workers or cores()
    if workers == 1:
        serve(settings, tell, logger.info, source=_source(arguments))
    else:
        from gateway.workers.parent import serve_workers  # what one process alone does not need

        serve_workers(settings, workers, tell, logger.info, source=_source(arguments))


def _source(arguments: argparse.Namespace) -> Source | None:
    """The files of the configuration; None if there are none. Raises SettingsError."""
    config: Path | None = arguments.config
    if config is None:
        if arguments.watch:
            raise SettingsError("--watch", "", "expected --config FILE: the environment of a process does not change")
        return None
    return Source(partial(_load, arguments), partial(files_of, config), arguments.watch)


def _demo(arguments: argparse.Namespace) -> None:
    # A newcomer is to read the next steps, and not a log, unless something is wrong.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    state = state_of(arguments.state)
    try:
        key = demo.read_key(state)
    except OSError as error:
        raise SettingsError("--state", str(state), f"expected a directory to write to: {error.strerror}") from error
    port = demo.free_port() if arguments.port is None else arguments.port
    settings = load_demo(os.environ, Overrides(port=port, state=str(state), model=arguments.model), key)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    for line in announcement.before(settings):
        say(line)
    serve(settings, lambda address, model: demo.tell_address(settings, address, model), say, page_key=key)


def _key(arguments: argparse.Namespace) -> None:
    if arguments.kind == "new":
        print("\n".join(key.tell_new(key.new_key(), arguments.expires)))
        return
    value = (getpass("Key: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not value:
        raise SettingsError("standard input", "", "expected a key, got an empty line")
    print(key.hash_line(value, arguments.expires))


def _top(arguments: argparse.Namespace) -> None:
    from gateway.commands.top import CannotRead, top  # rich, which nothing else here needs

    try:
        top(arguments.url, os.environ.get(arguments.key), arguments.once)
    except CannotRead as error:
        print(error, file=sys.stderr)
        sys.exit(1)


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "serve": _serve,
    "check": _check,
    "usage": _usage,
    "demo": _demo,
    "key": _key,
    "top": _top,
}
