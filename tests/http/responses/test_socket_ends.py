"""WebSockets of a gateway that is told to end: those that wait, those that are being answered, and both at once."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import KEY, GatewayProcess
from tests.servers.fake_letta import PING, STOP, USAGE, WORD, FakeLetta, Hold
from tests.sockets import refusal, socket

CONFIG = """
[letta]
base_url = "{letta}"

[[agent_types]]
id = "tutor"
model = "m/one"

[[keys]]
name = "programs"
key = "{key}"
"""
GONE = (1001, "shut down or restarted")


@pytest.fixture
def process(letta: FakeLetta, tmp_path: Path) -> Iterator[GatewayProcess]:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(letta=letta.base_url, key=KEY))
    with GatewayProcess(config) as process:
        yield process


def tell_to_end(process: GatewayProcess) -> None:
    process.process.send_signal(signal.SIGTERM)
    process.wait_for("Ending: nothing new is taken.")


def test_one_that_waits_is_closed_and_an_answer_comes_to_its_end(letta: FakeLetta, process: GatewayProcess) -> None:
    go_on = threading.Event()
    letta.steps = [PING, WORD, go_on, STOP, USAGE]
    with socket(process.base_url) as idle, socket(process.base_url) as busy:
        busy.send()
        busy.until("response.output_text.delta")
        tell_to_end(process)
        assert idle.closed() == GONE
        busy.send("too late")
        go_on.set()
        assert busy.answer()[-1]["response"]["status"] == "completed"
        assert refusal(busy.read())[:2] == (503, "overloaded")
        assert busy.closed() == GONE

    assert process.process.wait(60) == 0
    assert letta.said == [["Hi"]]


def test_told_twice_it_ends_answers_with_an_error_and_closes_then(letta: FakeLetta, process: GatewayProcess) -> None:
    letta.steps = [PING, WORD, Hold()]
    with socket(process.base_url) as busy:
        busy.send()
        busy.until("response.output_text.delta")
        tell_to_end(process)
        process.process.send_signal(signal.SIGTERM)
        assert busy.answer()[-1]["response"]["status"] == "failed"
        assert busy.closed() == GONE

    assert process.process.wait(60) == 0
    assert letta.cancelled.is_set()
