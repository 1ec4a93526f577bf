"""Gateways as processes, in front of a real Letta: several at once, restarted, stopped."""

import asyncio
import os
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest

from gateway.turns.chats.markers import agent_tags
from tests.gateways import KEY, ForkedGateway, chat, http
from tests.servers.real_letta import RealLetta
from tests.workers import asks

CONFIG = """
{letta}

[[agent_types]]
id = "tutor"
model = "{model}"

[[keys]]
name = "programs"
key = "${{GATEWAY_TEST_KEY}}"
"""


@pytest.fixture
def config(letta: RealLetta, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(letta=letta.config(tmp_path), model=letta.model))
    return path


# An embedded Letta has one gateway.
@pytest.mark.parametrize(
    "letta", [asks("letta_v1", id="v1"), asks("app_server", id="app-server")], indirect=True, scope="session"
)
def test_sixteen_first_requests_through_two_gateways_are_answered_by_one_agent(config: Path, letta: RealLetta) -> None:
    user = uuid.uuid4().hex
    with ForkedGateway(config, GATEWAY_TEST_KEY=KEY) as one, ForkedGateway(config, GATEWAY_TEST_KEY=KEY) as two:
        failed = asyncio.run(_ask_sixteen_times([one.base_url, two.base_url], user))
    assert failed == [], "".join([*one.log, *two.log])

    (agent,) = letta.agents(agent_tags("tutor", "programs", user))
    assert len(letta.conversations(agent)) == 16


async def _ask_sixteen_times(urls: list[str], user: str) -> list[str]:
    """What was answered instead of a completion."""
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=180) as client:
        posts = [
            client.post(f"{urls[i % 2]}/v1/chat/completions", json=chat(user=user, metadata={"chat_id": f"c{i}"}))
            for i in range(16)
        ]
        responses = await asyncio.gather(*posts)
    return [response.text for response in responses if response.status_code != 200]


def test_a_gateway_told_to_stop_ends_its_streams_with_an_error_and_cancels_their_runs(config: Path) -> None:
    config.write_text(config.read_text() + "\n[server]\ndrain_seconds = 0.2\n")
    with ForkedGateway(config, GATEWAY_TEST_KEY=KEY) as process, http(process.base_url) as client:
        body = chat("!hang-after one two", user=uuid.uuid4().hex, stream=True)
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = []
            for line in response.iter_lines():
                lines.append(line)
                if '"two"' in line:
                    process.process.terminate()
        assert process.stop() == 0

    frames = [line for line in lines if line]
    assert '"run_cancelled"' in frames[-2]
    assert frames[-1] == "data: [DONE]"
    assert not [line for line in process.log if "could not be cancelled" in line]
    waiting, ended = [line.partition(" Ending: ")[2] for line in process.log if "Ending" in line]
    assert waiting.startswith("nothing new is taken. An answer is under way, and has 0.2 s to come to an end")
    assert ended == "an answer was still under way, and is ended with an error.\n"


def test_check_says_that_everything_is_in_order(config: Path, letta: RealLetta) -> None:
    result = _check(config)

    assert (result.returncode, result.stderr) == (0, "")
    assert letta.model in result.stdout
    assert "Everything is in order." in result.stdout


def test_check_names_what_letta_does_not_have(config: Path) -> None:
    more = (
        '[[agent_types]]\nid = "a"\nmodel = "no/model"\ntools = ["no_tool"]\n[[agent_types]]\nid = "b"\nagent = "{}"\n'
    )
    config.write_text(config.read_text() + more.format("agent-00000000-0000-4000-8000-000000000000"))
    result = _check(config)

    assert result.returncode == 1
    for words in ("no model `no/model`", "no tool `no_tool`", "no agent `agent-00000000", "3 problem(s)."):
        assert words in result.stdout


def _check(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "check", "--config", str(config)]
    return subprocess.run(
        command, env=os.environ | {"GATEWAY_TEST_KEY": KEY}, capture_output=True, text=True, timeout=60, check=False
    )
