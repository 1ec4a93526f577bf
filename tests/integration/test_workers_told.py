"""A gateway of two workers that is told something by a signal: what people see is the same as of one process."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import KEY, ForkedGateway, GatewayProcess
from tests.held import held, is_whole
from tests.integration import test_drained, test_taken_up
from tests.integration.several import WORKERS, await_gone, descendants, shared, workers
from tests.integration.test_drained import (
    test_answers_under_way_come_to_their_end_and_nothing_new_is_taken,
    test_told_twice_it_ends_answers_at_once_with_an_error,
    test_where_nothing_is_under_way_it_ends_without_waiting,
)
from tests.integration.test_processes import CONFIG
from tests.servers.real_letta import RealLetta
from tests.servers.redis_server import RedisServer
from tests.servers.scripted_model import ScriptedModel

__all__ = [
    "test_answers_under_way_come_to_their_end_and_nothing_new_is_taken",
    "test_told_twice_it_ends_answers_at_once_with_an_error",
    "test_where_nothing_is_under_way_it_ends_without_waiting",
]
MORE = ("--workers", str(WORKERS))


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def gateway(embedded_letta: RealLetta, redis: RedisServer, tmp_path: Path) -> Iterator[GatewayProcess]:
    path = tmp_path / "gateway.toml"
    letta = embedded_letta.config(tmp_path)
    path.write_text(shared(redis.url) + CONFIG.format(letta=letta, model=embedded_letta.model))
    with ForkedGateway(path, *MORE, GATEWAY_TEST_KEY=KEY) as process:
        yield process


class Gateway(test_taken_up.Gateway):
    """A gateway of two workers whose configuration can be changed."""

    def __init__(self, letta: RealLetta, folder: Path, redis: RedisServer, *more: str) -> None:
        self._shared = shared(redis.url)
        super().__init__(letta, folder, *MORE, *more)

    def write(self, *values: str, system: str = "a tutor", more: str = "") -> None:
        super().write(*values, system=system, more=more)
        self.path.write_text(self.path.read_text() + self._shared)

    def takes(self, key: str) -> bool:
        """True if every worker takes it; False if none does."""
        (taken,) = {super(Gateway, self).takes(key) for _ in range(16)}
        return taken


@pytest.fixture
def changing(embedded_letta: RealLetta, redis: RedisServer, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(embedded_letta, tmp_path, redis) as process:
        yield process


def test_a_value_is_exchanged_at_all_workers_without_a_stream_that_ends(
    changing: Gateway, model: ScriptedModel
) -> None:
    test_taken_up.test_a_value_is_exchanged_for_another_without_a_stream_that_ends(changing, model)


def test_streams_of_a_value_that_is_taken_away_end_at_all_workers(changing: Gateway, model: ScriptedModel) -> None:
    test_taken_up.test_streams_of_a_value_that_is_taken_away_end_with_an_error_and_no_other_does(changing, model)


def test_a_file_that_cannot_be_taken_up_leaves_all_workers_as_they_were(
    changing: Gateway, model: ScriptedModel
) -> None:
    test_taken_up.test_a_file_that_cannot_be_taken_up_leaves_everything_as_it_was(changing, model)


def test_a_file_that_is_watched_is_taken_up_by_all_workers(
    embedded_letta: RealLetta, redis: RedisServer, tmp_path: Path
) -> None:
    with Gateway(embedded_letta, tmp_path, redis, "--watch") as gateway:
        gateway.write(test_taken_up.NEW)
        assert gateway.said_of_changes() == "The configuration was taken up: keys: people changed."
        assert (gateway.takes(test_taken_up.OLD), gateway.takes(test_taken_up.NEW)) == (False, True)


def test_at_its_end_it_leaves_no_process_behind(gateway: GatewayProcess) -> None:
    below = descendants(gateway.process.pid)
    assert len(below) >= WORKERS + 2

    assert gateway.stop() == 0
    await_gone(below)
    assert [line for line in gateway.log if "ERROR" in line or "Traceback" in line] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl+C", "SIGTERM"])
def test_a_signal_that_reaches_all_processes_at_once_counts_once(
    gateway: GatewayProcess, model: ScriptedModel, number: signal.Signals
) -> None:
    with held(gateway.base_url, model, {KEY: test_drained.STREAMS}) as streams:
        for pid in (*workers(gateway), gateway.process.pid, *workers(gateway)):
            os.kill(pid, number)
        gateway.wait_for("Ending: nothing new is taken.")
        streams.gate.open()

        assert [is_whole(each) for each in streams.read(KEY)] == [True] * test_drained.STREAMS
    assert gateway.process.wait(60) == 0


def test_told_to_end_before_it_serves_it_ends_with_all_that_it_has_started(
    embedded_letta: RealLetta, redis: RedisServer, tmp_path: Path
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        shared(redis.url) + CONFIG.format(letta=embedded_letta.config(tmp_path), model=embedded_letta.model)
    )
    gateway = ForkedGateway(path, *MORE, GATEWAY_TEST_KEY=KEY)
    while not (below := descendants(gateway.process.pid)):
        time.sleep(0.01)

    assert gateway.stop() == 0
    await_gone(below)
    log = "".join(gateway.log)
    assert "Traceback" not in log
    assert "Serving at" not in log
