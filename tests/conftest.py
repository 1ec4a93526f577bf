"""What every test may use: the settings of the run, the servers, one each per session, and the browser.

Workers run the tests side by side: see workers.py.
"""

import os
import signal
import ssl
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from coverage import Coverage
from hypothesis import settings
from playwright.sync_api import Browser

from tests.browser.chromium import chromium, find_chromium
from tests.environments import cache_home
from tests.servers.app_server import AppServer
from tests.servers.embedded_letta import EmbeddedLetta
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.redis_server import RedisServer
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served
from tests.servers.trio import Threes
from tests.tiers import choose_tier, is_named, leave_to_themselves, mark_the_full_tier
from tests.workers import ONE_GATEWAY, Scheduling, sort_by_group, tell_groups

settings.register_profile("any", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "any")

# One for each real server and one for everything else; on two processors they have something to do at any time.
WORKERS = 4
# An App Server has its home where it keeps everything. Before each commit of an agent's memory Git would start a
# Node.js that reads it again: those that share one server leave it to the tests that start their own.
GIT = "[core]\n\thooksPath = /dev/null\n[maintenance]\n\tauto = false\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """None for tests that are named: they start at once, and can be watched."""
    return 0 if is_named(config) else WORKERS


def pytest_configure(config: pytest.Config) -> None:
    choose_tier(config)
    # Who is started in the background of a shell is not told of Ctrl+C, nor is anybody whom they start:
    # https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_11
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # An App Server starts in two thirds of the time: https://nodejs.org/api/module.html#module-compile-cache
    os.environ.setdefault("NODE_COMPILE_CACHE", str(cache_home() / "node"))


# The tiers before pytest looks at marks, the order after everything else.
@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    mark_the_full_tier(items)
    yield
    # Hypothesis has marked its own by now.
    leave_to_themselves(items)
    if hasattr(config, "workerinput"):
        sort_by_group(items)


# Before pytest-xdist says that this worker is ready for a share.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        tell_groups(session)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


# By it coverage tells the processes that a test starts to measure as well.
COUNTS_PROCESSES = "COVERAGE_PROCESS_CONFIG"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The processes of a test that is not counted are not, either."""
    told = os.environ.pop(COUNTS_PROCESSES, None) if item.get_closest_marker("no_cover") else None
    try:
        return (yield)
    finally:
        if told is not None:
            os.environ[COUNTS_PROCESSES] = told


# After pytest-cov has paused what it knows of.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """In a worker several measure one below the other: https://github.com/pytest-dev/pytest-cov, `CovPlugin.start`."""
    paused = []
    while item.get_closest_marker("no_cover") and (measuring := Coverage.current()):
        measuring.stop()
        paused.append(measuring)
    try:
        yield
    finally:
        for measuring in reversed(paused):
            measuring.start()


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("--no-skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What serves in this process heeds no signal after its end; the programs of later tests are to hear them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def certificates() -> Iterator[None]:
    """Read once: every client of a gateway wants them, and they take longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def pings() -> Iterator[None]:
    """Random numbers of their own for the pings of a server's connection: Hypothesis watches everybody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("websockets.asyncio.connection.random", Random())
        yield


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    """The scripted model behind Letta, with a record of what it received."""
    scripted = ScriptedModel()
    with served(scripted.app) as url:
        scripted.base_url = f"{url}/v1"
        yield scripted


@pytest.fixture(scope="session")
def letta_v1(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LettaV1]:
    """A real V1 server in front of the scripted model."""
    with LettaV1(tmp_path_factory.mktemp("letta-v1"), model.base_url) as server:
        yield server


def home(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """The home of an App Server that many tests share."""
    directory = tmp_path_factory.mktemp(name)
    (directory / ".gitconfig").write_text(GIT)
    return directory


@pytest.fixture(scope="session")
def app_server(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """A real App Server in front of the scripted model, which somebody else has set up."""
    with AppServer(home(tmp_path_factory, "app-server"), model.base_url) as server:
        yield server


@pytest.fixture(scope="session")
def embedded_letta(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedLetta]:
    """The gateway's own Letta in front of the scripted model, as most people have it."""
    with EmbeddedLetta(home(tmp_path_factory, "embedded"), model.base_url) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A real Redis, for tests that leave it alive."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def v1_in_threes(letta_v1: LettaV1, redis_server: RedisServer) -> Iterator[LettaV1]:
    """The V1 server, in front of which gateways come in threes."""
    with Threes(redis_server) as threes:
        yield letta_v1.in_threes(threes)


@pytest.fixture(scope="session")
def app_server_in_threes(app_server: AppServer, redis_server: RedisServer) -> Iterator[AppServer]:
    """The App Server, in front of which gateways come in threes."""
    with Threes(redis_server) as threes:
        yield app_server.in_threes(threes)


@pytest.fixture(scope="session", params=ONE_GATEWAY)
def letta(request: pytest.FixtureRequest) -> RealLetta:
    """Each kind of a real Letta in turn; with the mark `also_in_threes` those before which gateways come in threes."""
    server: RealLetta = request.getfixturevalue(request.param)
    return server


# Not for the session: while it is open, no test beside those of its module can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    path = find_chromium()
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium-headless-shell)")
    with chromium(path) as opened:
        yield opened
