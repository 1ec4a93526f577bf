"""The address of metrics, in a gateway as its users run it: beside the other, for as long as the process lives."""

import signal
import socket
from pathlib import Path

import httpx
import pytest

from gateway.configuration import SettingsError, load
from gateway.listening import CannotListen
from gateway.starting import serve
from tests.gateways import GatewayProcess, chat
from tests.http.seen.numbers import of, read_numbers
from tests.servers.fake_letta import PING, WORD, FakeLetta, Hold

CONFIG = """
[letta]
base_url = "{letta}"

[metrics]
port = {port}

[[agent_types]]
id = "tutor"
model = "m/one"

[[keys]]
name = "programs"
key = "sk-test"
"""


def config_of(directory: Path, letta: str = "http://127.0.0.1:9", port: int = 0) -> Path:
    path = directory / "gateway.toml"
    path.write_text(CONFIG.format(letta=letta, port=port))
    return path


def address_in(log: list[str]) -> str:
    (line,) = [line for line in log if "Metrics at " in line]
    return line.partition("Metrics at ")[2].strip().removesuffix("/metrics")


def test_it_answers_before_the_gateway_is_ready_and_counts_what_the_gateway_does(tmp_path: Path) -> None:
    with FakeLetta() as letta, GatewayProcess(config_of(tmp_path, letta.base_url)) as process:
        ready = [number for number, line in enumerate(process.log) if "Serving at " in line]
        announced = [number for number, line in enumerate(process.log) if "Metrics at " in line]
        url = address_in(process.log)
        with httpx.Client(headers={"authorization": "Bearer sk-test"}) as client:
            client.post(f"{process.base_url}/v1/chat/completions", json=chat())
            closed = client.get(f"{process.base_url}/metrics")
            series = read_numbers(url)
        code = process.stop()

    assert announced < ready
    assert code == 0
    assert closed.status_code == 403
    assert of(series, "letta_gateway_requests_total", route="/v1/chat/completions", outcome="ok") == 1
    assert of(series, "letta_gateway_connections") >= 1
    assert of(series, "process_resident_memory_bytes") > 0


def test_it_answers_while_answers_under_way_are_waited_for_at_the_end(tmp_path: Path) -> None:
    with FakeLetta() as letta, GatewayProcess(config_of(tmp_path, letta.base_url)) as process:
        letta.steps = [PING, WORD, Hold()]
        url, asked = address_in(process.log), chat(stream=True)
        headers = {"authorization": "Bearer sk-test"}
        with httpx.stream("POST", f"{process.base_url}/v1/chat/completions", json=asked, headers=headers) as stream:
            pieces = stream.iter_bytes()
            next(pieces)
            process.process.send_signal(signal.SIGTERM)
            process.wait_for(" Ending")
            series = read_numbers(url)
        code = process.stop()

    assert of(series, "letta_gateway_streams") == 1
    assert code == 0


def test_an_address_that_is_taken_is_told_with_the_setting_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = load(config_of(tmp_path, port=port), {})
        with pytest.raises(CannotListen, match=rf"port {port}: .*another port: \[metrics\] port"):
            serve(settings, lambda *_: None, lambda _: None)


def test_the_gateway_and_its_metrics_have_two_ports(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="metrics.port: `8000`: expected another port than that of"):
        load(config_of(tmp_path, port=8000), {})
