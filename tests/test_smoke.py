"""The whole way in a minute: `letta-gateway serve` with a Letta of its own, and the openai SDK in front."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.gateways import KEY, GatewayProcess, chat, sdk
from tests.integration.words import someone

pytestmark = pytest.mark.smoke

# Without a provider it has the offline model.
CONFIG = """
[letta]
upstream = "embedded"
state = "{state}"

[[agent_types]]
id = "tutor"

[[agent_types]]
id = "writer"
tools = ["Write"]

[[keys]]
name = "programs"
key = "{key}"
"""
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
NO_PROVIDER = {
    name: ""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "OLLAMA_BASE_URL")
}


Started = Callable[[Path], GatewayProcess]


def config_in(directory: Path) -> Path:
    path = directory / "gateway.toml"
    path.write_text(CONFIG.format(state=directory / "state", key=KEY))
    return path


@pytest.fixture(scope="module")
def started() -> Started:
    """The way in which the gateway of a folder is started."""
    return lambda directory: GatewayProcess(config_in(directory), **NO_PROVIDER)


@pytest.fixture(scope="module")
def client(started: Started, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    with started(tmp_path_factory.mktemp("smoke")) as process, sdk(process.base_url) as client:
        yield client


def ask(client: OpenAI, text: str, user: str, chat_id: str, **more: Any) -> str:
    """One turn; gives what is visible of its answer."""
    completion = client.chat.completions.create(**chat(text, user=user, metadata={"chat_id": chat_id}, **more))
    return (completion.choices[0].message.content or "").rpartition("</think>")[2]


def test_a_chat_is_streamed_with_its_thoughts_and_goes_on(client: OpenAI) -> None:
    user = someone()
    chunks = client.chat.completions.create(**chat("hello", user=user, metadata={"chat_id": "one"}, stream=True))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert said.startswith("<think>")
    assert said.endswith("You said: hello")
    # Who is greeted again has been forgotten.
    assert ask(client, "and on", user, "one") == "You said: and on"


def test_what_one_chat_tells_the_others_of_that_person_know_and_nobody_else(client: OpenAI) -> None:
    ada, bob = someone(), someone()
    assert ask(client, "My name is Ada.", ada, "telling") == "I will remember that."

    assert ask(client, "What is my name?", ada, "asking") == "Your name is Ada."
    assert ask(client, "What is my name?", bob, "asking") == "I do not know your name."


def test_a_tool_of_the_client_s_is_called_and_its_result_heard(client: OpenAI) -> None:
    history: list[Any] = [{"role": "user", "content": "!tool weather {}"}]
    asked: Any = chat(user=someone(), messages=history, tools=[WEATHER])
    first = client.chat.completions.create(**asked).choices[0]
    (call,) = first.message.tool_calls or []
    history += [
        first.message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = client.chat.completions.create(**asked).choices[0]

    assert (first.finish_reason, second.finish_reason) == ("tool_calls", "stop")
    assert (second.message.content or "").endswith("Tool said: sunny")


@pytest.mark.parametrize(("word", "done"), [("Yes.", True), ("No.", False)])
def test_a_person_is_asked_and_a_yes_alone_lets_it_be_done(
    client: OpenAI, word: str, done: bool, tmp_path: Path
) -> None:
    user, file = someone(), tmp_path / "made"
    deed = f"!tool Write {json.dumps({'file_path': str(file), 'content': 'made'})}"
    history: list[Any] = [{"role": "user", "content": deed}]
    asked: Any = chat(user=user, model="writer", metadata={"chat_id": "deed"}, messages=history)
    question = client.chat.completions.create(**asked).choices[0].message.content or ""
    assert "**May I do this?**" in question
    assert not file.exists()

    history += [{"role": "assistant", "content": question}, {"role": "user", "content": word}]
    client.chat.completions.create(**asked)
    assert file.exists() == done


def test_after_stop_the_chat_goes_on(client: OpenAI) -> None:
    user = someone()
    ask(client, "hello", user, "stopped")
    hanging = chat("!hang-after one two", user=user, metadata={"chat_id": "stopped"}, stream=True)
    with client.chat.completions.create(**hanging) as chunks:
        for chunk in chunks:
            if "two" in (chunk.choices[0].delta.content or ""):
                break

    assert ask(client, "and on", user, "stopped") == "You said: and on"


def test_after_a_restart_chat_and_memory_are_found_again(started: Started, tmp_path: Path) -> None:
    user = someone()
    with started(tmp_path) as process, sdk(process.base_url) as client:
        assert ask(client, "My name is Ada.", user, "one") == "I will remember that."
    with started(tmp_path) as process, sdk(process.base_url) as client:
        assert ask(client, "and on", user, "one") == "You said: and on"
        assert ask(client, "What is my name?", user, "two") == "Your name is Ada."
