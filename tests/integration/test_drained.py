"""A gateway that is told to end while people read answers: what each of them sees, on every real Letta."""

import signal
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.gateways import KEY, ForkedGateway, GatewayProcess, chat, http, sdk
from tests.held import held, is_whole, told_error
from tests.integration.test_processes import CONFIG
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

STREAMS = 5


@pytest.fixture
def gateway(letta: RealLetta, tmp_path: Path) -> Iterator[GatewayProcess]:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(letta=letta.config(tmp_path), model=letta.model))
    with ForkedGateway(path, GATEWAY_TEST_KEY=KEY) as process:
        yield process


def end(gateway: GatewayProcess, times: int = 1) -> None:
    """Tell it to end, and return when it has heard."""
    for _ in range(times):
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("Ending: nothing new is taken.")


def test_answers_under_way_come_to_their_end_and_nothing_new_is_taken(
    gateway: GatewayProcess, model: ScriptedModel
) -> None:
    with held(gateway.base_url, model, {KEY: STREAMS}) as streams:
        end(gateway)
        with http(gateway.base_url) as client, sdk(gateway.base_url) as program:
            assert client.get("/healthz").status_code == 200
            ready, models = client.get("/readyz"), client.get("/v1/models")
            with pytest.raises(openai.InternalServerError) as caught:
                program.chat.completions.create(**chat())
        streams.gate.open()

        assert [is_whole(each) for each in streams.read(KEY)] == [True] * STREAMS
        assert gateway.process.wait(60) == 0
    for refused in (ready, models, caught.value.response):
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "5"


def test_told_twice_it_ends_answers_at_once_with_an_error(gateway: GatewayProcess, model: ScriptedModel) -> None:
    with held(gateway.base_url, model, {KEY: STREAMS}) as streams:
        end(gateway, times=2)

        assert [told_error(each) for each in streams.read(KEY)] == ["run_cancelled"] * STREAMS
        assert gateway.process.wait(60) == 0
    gateway.wait_for(f"Ending: {STREAMS} answers were still under way, and are ended with an error.")


def test_where_nothing_is_under_way_it_ends_without_waiting(gateway: GatewayProcess) -> None:
    with http(gateway.base_url) as client:
        assert client.post("/v1/chat/completions", json=chat()).status_code == 200
    gateway.process.send_signal(signal.SIGTERM)

    # Its time for answers under way is five minutes.
    assert gateway.process.wait(60) == 0
