"""A gateway of two workers of which something dies: what becomes of the others, and of those whom it served."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.turns.chats.markers import agent_tags
from tests.gateways import KEY, ForkedGateway, GatewayProcess, chat, http
from tests.held import Read, held, is_whole
from tests.integration.several import (
    WORKERS,
    app_server,
    await_gone,
    descendants,
    scattered,
    shared,
    workers,
)
from tests.integration.words import someone
from tests.servers.real_letta import RealLetta
from tests.servers.redis_server import RedisServer
from tests.servers.scripted_model import ScriptedModel
from tests.workers import asks

CONFIG = """
{letta}
{more}

[metrics]
port = 0

[[agent_types]]
id = "tutor"
model = "{model}"

[[keys]]
name = "programs"
key = "sk-test"
metrics = true
"""
# So many that each of two workers has some of them, but once in thirty thousand times.
STREAMS = 16


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def started(letta: RealLetta, redis: RedisServer, folder: Path, in_letta: str = "", more: str = "") -> GatewayProcess:
    path = folder / "gateway.toml"
    lines = letta.config(folder).replace("[letta]\n", f"[letta]\n{in_letta}\n")
    path.write_text(CONFIG.format(letta=lines, model=letta.model, more=shared(redis.url) + more))
    return ForkedGateway(path, "--workers", str(WORKERS))


@pytest.fixture
def gateway(embedded_letta: RealLetta, redis: RedisServer, tmp_path: Path) -> Iterator[GatewayProcess]:
    with started(embedded_letta, redis, tmp_path) as process:
        yield process


def ask(client: httpx.Client, user: str) -> int:
    return client.post("/v1/chat/completions", json=chat(user=user)).status_code


def is_broken(read: Read) -> bool:
    """True for an answer without its end: no error, and no last frame."""
    return bool(read[1]) and "[DONE]" not in read[0]


def metrics(gateway: GatewayProcess) -> dict[str, float]:
    with http(gateway.base_url) as client:
        text = client.get("/metrics").raise_for_status().text
    lines = [line.rpartition(" ") for line in text.split("\n") if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def counted(numbers: dict[str, float], route: str) -> float:
    return sum(value for name, value in numbers.items() if "requests_total" in name and f'route="{route}"' in name)


def test_a_worker_that_is_killed_takes_its_own_streams_with_it_and_nothing_else(
    gateway: GatewayProcess, model: ScriptedModel
) -> None:
    before, letta = workers(gateway), app_server(gateway)
    with held(gateway.base_url, model, {KEY: STREAMS}) as streams:
        os.kill(before[0], signal.SIGKILL)
        gateway.wait_for(f"Worker 1 (process {before[0]}) has ended, exit code -9, SIGKILL; another takes its place")
        gateway.wait_for("Worker 1 serves")
        streams.gate.open()
        read = streams.read(KEY)

    assert {(is_whole(each), is_broken(each)) for each in read} == {(True, False), (False, True)}
    assert app_server(gateway) == letta
    (there, new) = workers(gateway)
    assert (there, new in before) == (before[1], False)
    with scattered(gateway.base_url) as client:
        assert {ask(client, someone()) for _ in range(4)} == {200}
        assert client.get("/readyz").status_code == 200


def test_an_app_server_that_is_killed_is_replaced_once_and_all_workers_go_on(gateway: GatewayProcess) -> None:
    user = someone()
    with scattered(gateway.base_url) as client:
        assert {ask(client, user) for _ in range(4)} == {200}
        killed = app_server(gateway)
        os.kill(killed, signal.SIGKILL)
        gateway.wait_for("The App Server is gone")
        statuses = [ask(client, user) for _ in range(16)]

        # The first may have been asked of the one that was killed.
        assert set(statuses[4:]) == {200}
        assert client.get("/readyz").status_code == 200
    assert app_server(gateway) != killed
    assert len([line for line in gateway.log if "The App Server is gone" in line]) == 1
    assert workers_that_ended(gateway) == []


def workers_that_ended(gateway: GatewayProcess) -> list[str]:
    return [line for line in gateway.log if "another takes its place" in line and "Worker" in line]


def test_an_app_server_that_hangs_is_replaced_although_nobody_asks(
    embedded_letta: RealLetta, redis: RedisServer, tmp_path: Path
) -> None:
    with started(embedded_letta, redis, tmp_path, in_letta="ping_seconds = 1.0") as gateway:
        hung = app_server(gateway)
        os.kill(hung, signal.SIGSTOP)
        gateway.wait_for("The App Server hangs; another takes its place")
        await_gone([hung])
        with scattered(gateway.base_url) as client:
            assert {ask(client, someone()) for _ in range(4)} == {200}
        assert len([line for line in gateway.log if "The App Server hangs" in line]) == 1


def test_metrics_at_any_worker_are_those_of_all_and_never_go_backwards(gateway: GatewayProcess) -> None:
    user = someone()
    with scattered(gateway.base_url) as client:
        assert {ask(client, user) for _ in range(8)} == {200}
        numbers = metrics(gateway)
        assert counted(numbers, "/v1/chat/completions") == 8
        assert numbers["letta_gateway_max_streams"] == 2000
        assert numbers["gen_ai_server_request_duration_seconds_count" + of_tutor(numbers)] == 8
        os.kill(workers(gateway)[0], signal.SIGKILL)
        gateway.wait_for("Worker 1 serves")

        later = metrics(gateway)
        assert counted(later, "/v1/chat/completions") == 8
        assert later["letta_gateway_start_time_seconds"] == numbers["letta_gateway_start_time_seconds"]
        assert ask(client, user) == 200
        assert counted(metrics(gateway), "/v1/chat/completions") == 9
        (line,) = [line for line in gateway.log if "Metrics at " in line]
        found = re.search(r"http://\S+", line)
        assert found
        assert 'route="/v1/chat/completions",status="2xx"} 9.0' in httpx.get(found[0]).text


def of_tutor(numbers: dict[str, float]) -> str:
    (labels,) = {name.partition("seconds_count")[2] for name in numbers if "request_duration_seconds_count" in name}
    return labels


def test_chats_at_any_worker_are_those_of_all(gateway: GatewayProcess, model: ScriptedModel) -> None:
    with held(gateway.base_url, model, {KEY: STREAMS}) as streams:
        with scattered(gateway.base_url) as client:
            chats = client.get("/metrics/chats").json()
        assert (chats["total"], len(chats["chats"])) == (STREAMS, STREAMS)
        shown = subprocess.run(
            [sys.executable, "-m", "gateway", "top", "--once", "--url", gateway.base_url],
            env=os.environ | {"GATEWAY_METRICS_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        assert all(each["chat"] in shown for each in chats["chats"])
        assert metrics(gateway)["letta_gateway_streams"] == STREAMS
        streams.gate.open()
        assert [is_whole(each) for each in streams.read(KEY)] == [True] * STREAMS


def test_a_worker_that_hangs_holds_up_no_metrics_and_makes_the_gateway_not_ready(gateway: GatewayProcess) -> None:
    user = someone()
    with scattered(gateway.base_url) as client:
        assert {ask(client, user) for _ in range(8)} == {200}
    assert counted(metrics(gateway), "/v1/chat/completions") == 8
    hung = workers(gateway)[0]
    with beside_a_hung_one(gateway.base_url, hung) as client:
        began = time.monotonic()
        text, ready = client.get("/metrics"), client.get("/readyz")
        took = time.monotonic() - began
        again = client.get("/metrics/chats")
    assert (text.status_code, ready.status_code, again.status_code) == (200, 503, 200)
    assert 'route="/v1/chat/completions",status="2xx"} 8.0' in text.text
    assert "Not all processes of this gateway answer." in ready.text
    # A second for the metrics, five for whether all is well, of fifteen that a scraper waits.
    assert took < 15


@contextmanager
def beside_a_hung_one(base_url: str, hung: int) -> Iterator[httpx.Client]:
    """A client of another worker than the one that hangs while entered."""
    with ExitStack() as stack:
        clients = [stack.enter_context(http(base_url)) for _ in range(STREAMS)]
        for client in clients:
            assert client.get("/healthz").status_code == 200
        os.kill(hung, signal.SIGSTOP)
        stack.callback(os.kill, hung, signal.SIGCONT)
        yield next(client for client in clients if answers(client))


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz", timeout=1).status_code == 200
    except httpx.ReadTimeout:
        return False


def await_free(base_url: str) -> None:
    """Return once nobody listens there any more; until then nobody answers either."""
    while True:
        try:
            pytest.fail(f"it answers: {httpx.get(f'{base_url}/healthz')}")
        except httpx.ConnectError:
            return
        except httpx.TransportError:
            # It was taken by the system for a worker that has just left.
            continue


@pytest.mark.parametrize("letta_kind", [asks("embedded_letta", id="embedded"), asks("app_server", id="app-server")])
def test_where_the_parent_is_killed_its_workers_end_by_themselves(
    letta_kind: str, request: pytest.FixtureRequest, redis: RedisServer, tmp_path: Path, model: ScriptedModel
) -> None:
    letta: RealLetta = request.getfixturevalue(letta_kind)
    with started(letta, redis, tmp_path) as gateway:
        below = descendants(gateway.process.pid)
        with held(gateway.base_url, model, {KEY: STREAMS}) as streams:
            gateway.process.kill()
            gateway.wait_for("The gateway's parent process is gone: this worker ends", times=WORKERS)
            await_free(gateway.base_url)
            streams.gate.open()
            read = streams.read(KEY)
        await_gone(below)
    if letta_kind == "app_server":
        assert [is_whole(each) for each in read] == [True] * STREAMS


def test_an_agent_s_file_that_was_mended_is_read_again_once_no_worker_has_a_turn_under_way(
    embedded_letta: RealLetta, redis: RedisServer, tmp_path: Path, model: ScriptedModel
) -> None:
    user = someone()
    with started(embedded_letta, redis, tmp_path) as gateway, scattered(gateway.base_url) as client:
        assert ask(client, user) == 200
    *_, tag = agent_tags("tutor", "programs", user)
    (file,) = [path for path in (tmp_path / "state" / "backend" / "agents").iterdir() if tag in path.read_text()]
    whole = file.read_text()
    file.write_text(whole[:100])

    with started(embedded_letta, redis, tmp_path) as gateway, scattered(gateway.base_url) as client:
        assert {ask(client, user) for _ in range(4)} == {503}
        gateway.wait_for("is damaged: ")
        before = app_server(gateway)
        with held(gateway.base_url, model, {KEY: STREAMS}) as streams:
            file.write_text(whole)
            assert {ask(client, user) for _ in range(4)} == {503}
            streams.gate.open()
            assert [is_whole(each) for each in streams.read(KEY)] == [True] * STREAMS
        assert app_server(gateway) == before
        assert {ask(client, user) for _ in range(4)} == {200}
        assert app_server(gateway) != before
        gateway.wait_for("An agent's file was mended: the App Server starts again to read it")
