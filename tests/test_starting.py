"""The start of `serve`: it imports what its settings ask for, and all of it before it is ready."""

from pathlib import Path

import pytest

from tests.gateways import GatewayProcess
from tests.imported import JWT_SECRET, Imports, config_of, importing, use
from tests.servers.fake_letta import FakeLetta
from tests.servers.otlp import received_traces
from tests.servers.redis_server import RedisServer
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served
from tests.test_smoke import NO_PROVIDER

REST, APP_SERVER = '[letta]\nbase_url = "http://127.0.0.1:9"', '[letta]\nbase_url = "ws://127.0.0.1:9"'
EMBEDDED = '[letta]\nupstream = "embedded"\nstate = "{state}"'
PROVIDER = '[provider]\nid = "openai-compatible"\nbase_url = "http://127.0.0.1:9/v1"'
TYPE = '[[agent_types]]\nid = "tutor"\nmodel = "m/one"'
KEYS = '[[keys]]\nname = "k"\nkey = "sk-k"'
READS = f"{KEYS}\nmetrics = true"
HAS_ADDRESS = "[metrics]\nport = 0"
TRACES = '[traces]\nendpoint = "http://127.0.0.1:9/v1/traces"'
TASK_MODEL = '[tasks]\nanswer = "model"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"'
KEEPS = '[server]\nstate = "{state}"'
SHARES = '[shared]\nurl = "redis://127.0.0.1:9/0"'
FETCHES = "[images]\nfetch = true"
SIGNED = f'[[keys]]\nname = "k"\nkey = "sk-k"\nuser_from = ["jwt:X-User"]\njwt_secret = "{JWT_SECRET}"'
# And not sqlite3, which whoever measures what tests cover imports as well.
USAGE_FILE = "gateway.limits.usage_file"
# What is not for everybody.
LIBRARIES = {
    *(
        "aiohttp",
        "httpx",
        "jwt",
        "letta_client",
        "openai",
        "prometheus_client",
        "pydantic",
        "redis",
        USAGE_FILE,
        "websockets",
    ),
    # Litestar looks for the rest of it.
    *("opentelemetry.sdk", "gateway.offline", USAGE_FILE),
}
# WebSockets are served by every gateway.
OF_REST = {"aiohttp", "httpx", "letta_client", "pydantic", "websockets"}
# settings -> those of the libraries that they ask for
ASKED_FOR: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "a V1 server or Letta Cloud": ((REST,), OF_REST),
    "an App Server": ((APP_SERVER,), {"websockets"}),
    "metrics are for a key": ((APP_SERVER, READS), {"websockets", "prometheus_client"}),
    "metrics have an address": ((APP_SERVER, HAS_ADDRESS), {"websockets", "prometheus_client"}),
    "answers are traced": ((APP_SERVER, TRACES), {"websockets", "opentelemetry.sdk"}),
    "pictures are fetched": ((APP_SERVER, FETCHES), {"websockets", "aiohttp"}),
    "tokens are read": ((APP_SERVER, SIGNED), {"websockets", "jwt"}),
    "what is used is kept": ((APP_SERVER, KEEPS), {"websockets", USAGE_FILE}),
    # Redis' own client imports OpenTelemetry where that is installed.
    "several gateways share a Redis": ((APP_SERVER, SHARES), {"websockets", "redis", "opentelemetry.sdk"}),
    "what is used is kept in Redis": ((APP_SERVER, SHARES, KEEPS), {"websockets", "redis", "opentelemetry.sdk"}),
    "a plain model answers tasks": ((APP_SERVER, TASK_MODEL), {"websockets", "openai", "pydantic", "aiohttp"}),
}
OF_ITS_OWN = {
    "with a provider": ((EMBEDDED, PROVIDER), {"websockets", USAGE_FILE}),
    "with the offline model": ((EMBEDDED,), {"websockets", USAGE_FILE, "gateway.offline"}),
}
ALL = [
    *(pytest.param(*row, id=name) for name, row in ASKED_FOR.items()),
    *(pytest.param(*row, id=name, marks=pytest.mark.smoke) for name, row in OF_ITS_OWN.items()),
]


@pytest.mark.parametrize(("lines", "libraries"), ALL)
def test_it_imports_the_libraries_that_its_settings_ask_for(
    tmp_path: Path, lines: tuple[str, ...], libraries: set[str]
) -> None:
    config = tmp_path / "gateway.toml"
    # Without a key everybody on this machine reads metrics.
    keys = () if any("[[keys]]" in line for line in lines) else (KEYS,)
    config.write_text("\n\n".join([*lines, TYPE, *keys]).format(state=tmp_path / "state"))
    with importing(config, **NO_PROVIDER) as process:
        pass

    assert Imports(process.log).before & LIBRARIES == libraries


def of_whole_use(process: GatewayProcess) -> list[str]:
    """What a gateway has imported since it was ready, when it has been asked for everything."""
    statuses = use(process.base_url)
    assert process.stop() == 0

    assert {200, 204, 400, 401, 404, 415} <= set(statuses) <= {200, 204, 400, 401, 404, 415, 502}
    return Imports(process.log).since


def test_in_front_of_a_letta_over_rest_it_imports_nothing_once_it_is_ready(tmp_path: Path) -> None:
    model = ScriptedModel()
    with FakeLetta() as letta, served(model.app) as url, received_traces() as receiver:
        tasks = f'answer = "model"\nbase_url = "{url}/v1"\nmodel = "offline"'
        tables = f'[letta]\nbase_url = "{letta.base_url}"\n\n[traces]\nendpoint = "{receiver.endpoint}"'
        with importing(config_of(tmp_path, tables, tasks=tasks), OTEL_BSP_SCHEDULE_DELAY="100") as process:
            assert of_whole_use(process) == []
        assert receiver.spans


@pytest.mark.full
def test_with_a_redis_it_imports_nothing_once_it_is_ready(tmp_path: Path) -> None:
    with FakeLetta() as letta, RedisServer() as redis:
        tables = f'[letta]\nbase_url = "{letta.base_url}"\n\n[shared]\nurl = "{redis.url}"'
        with importing(config_of(tmp_path, tables)) as process:
            assert of_whole_use(process) == []


@pytest.mark.smoke
def test_with_a_letta_of_its_own_it_imports_nothing_once_it_is_ready(tmp_path: Path) -> None:
    letta = EMBEDDED.format(state=tmp_path / "state")
    with importing(config_of(tmp_path, letta, "openai-compatible/offline"), **NO_PROVIDER) as process:
        assert of_whole_use(process) == []
