"""A gateway that is killed in the middle of an answer to a client that sends only what is new: on every real Letta.

Seen by what the model is told with the next message.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from tests.gateways import KEY, ForkedGateway, GatewayProcess, chat, sdk
from tests.integration.test_processes import CONFIG
from tests.integration.words import someone, unheard
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel


@pytest.fixture
def config(letta: RealLetta, tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    quick = "\n[chats]\nqueue_seconds = 5\n"
    path.write_text(CONFIG.format(letta=letta.config(tmp_path), model=letta.model) + quick)
    return path


def started(config: Path) -> GatewayProcess:
    return ForkedGateway(config, GATEWAY_TEST_KEY=KEY)


def tell(client: OpenAI, user: str, text: str) -> str:
    completion = client.chat.completions.create(**chat(text, user=user), extra_headers={"X-Chat-Id": "here"})
    return (completion.choices[0].message.content or "").rpartition("</think>")[2]


def read(client: OpenAI, user: str, text: str, process: GatewayProcess, until: str) -> None:
    """Read an answer, and kill the gateway at a word of it; without one, until somebody else kills it."""
    body = chat(text, user=user, stream=True)
    for chunk in client.chat.completions.create(**body, extra_headers={"X-Chat-Id": "here"}):
        if until and chunk.choices and (chunk.choices[0].delta.content or "").strip() == until:
            process.process.kill()


# what the model does -> at which word the gateway is killed
SCRIPTS = {
    "before a word": ("!hang", ""),
    "mid-answer": ("!slow 200\n!say one two three four five six seven eight", "two"),
}


@pytest.mark.parametrize(("script", "until"), SCRIPTS.values(), ids=SCRIPTS)
def test_a_message_whose_answer_the_gateway_did_not_live_to_tell_is_heard_once_with_the_next(
    config: Path, model: ScriptedModel, script: str, until: str
) -> None:
    user, first, lost = someone(), unheard("first"), f"{unheard('lost')}\n{script}"
    after, last = unheard("next"), unheard("last")
    with (
        started(config) as process,
        sdk(process.base_url) as client,
        ThreadPoolExecutor() as others,
    ):
        tell(client, user, first)
        reading = others.submit(read, client, user, lost, process, until)
        if not until:
            model.wait_for(lost)
            process.process.kill()
        assert isinstance(reading.exception(60), openai.APIConnectionError | httpx.TransportError)
    with started(config) as process, sdk(process.base_url) as client:
        for text in (after, last):
            assert tell(client, user, text) == f"You said: {text}"

    (heard,) = model.said(last)
    assert [text for role, text in heard if role == "user" and "<system-reminder>" not in text] == [
        first,
        lost,
        after,
        last,
    ]
