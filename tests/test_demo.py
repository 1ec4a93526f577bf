"""`letta-gateway demo` and the embedded Letta, as a newcomer meets them: real processes, a real App Server."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from gateway.commands.announcement import before
from gateway.commands.demo import free_port, read_key, tell_address
from gateway.configuration import Overrides, load_demo
from gateway.settings import OPEN_WEBUI_HEADERS, Secret

pytestmark = pytest.mark.full

PROVIDERS = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "OLLAMA_BASE_URL")
NO_KEYS = {name: value for name, value in os.environ.items() if name not in PROVIDERS}


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "gateway", *map(str, arguments)]


@contextmanager
def _demo(state: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A demo under way, and the lines `name: value` that it printed."""
    command = _command("demo", "--port", "0", "--state", state)
    process = subprocess.Popen(command, env=NO_KEYS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        told: dict[str, str] = {}
        for line in process.stdout:
            name, _, value = line.strip().partition(" ")
            told[name] = value
            if line.endswith("Ctrl+C ends it.\n"):
                break
        yield process, told
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "state"


@pytest.fixture(scope="module")
def demo(state: Path) -> Iterator[dict[str, str]]:
    with _demo(state) as (_, told):
        yield told


def test_the_demo_tells_address_key_and_model(demo: dict[str, str]) -> None:
    with OpenAI(base_url=demo["address:"], api_key=demo["key:"], max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [demo["model:"], "task"]


def test_the_demo_tells_the_headers_that_open_webui_fills_in(demo: dict[str, str]) -> None:
    assert json.loads(demo["Headers:"]) == OPEN_WEBUI_HEADERS


def test_the_demo_tells_how_open_webui_says_who_asks(demo: dict[str, str]) -> None:
    assert "ENABLE_FORWARD_USER_INFO_HEADERS=true" in demo["Open"]


def test_the_demo_has_a_page_to_chat_on_that_knows_its_key(demo: dict[str, str]) -> None:
    address = demo["Chat"].rpartition(" ")[2]
    page, connect = httpx.get(address), httpx.get(f"{address}connect")

    assert f'content="{demo["key:"]}"' in page.text
    assert demo["key:"] not in connect.text
    assert f"{demo['address:']}<" in connect.text


def test_the_printed_curl_line_says_what_to_send(demo: dict[str, str]) -> None:
    words = shlex.split(demo["curl"])
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    url, body = next(word for word in words if word.startswith("http")), words[words.index("-d") + 1]
    response = httpx.post(url, headers=headers, content=body, timeout=60)

    text = "".join(re.findall(r'"content":"(.*?)"', response.text))
    assert text.startswith("<think>")
    assert "Using memory_insert…" in text
    assert text.endswith("</think>I will remember that.")
    assert response.text.endswith("data: [DONE]\n\n")


def test_a_frontend_s_people_are_told_apart_by_header_and_programs_users_by_body(demo: dict[str, str]) -> None:
    def ask(client: httpx.Client, text: str, header: str | None = None) -> str:
        body = {"model": demo["model:"], "user": "h", "messages": [{"role": "user", "content": text}]}
        headers = {"X-OpenWebUI-User-Id": header} if header else None
        response = client.post("/chat/completions", json=body, headers=headers)
        return str(response.json()["choices"][0]["message"]["content"])

    key = {"authorization": f"Bearer {demo['key:']}"}
    with httpx.Client(base_url=demo["address:"], headers=key, timeout=60) as client:
        ask(client, "My name is Grace.", "g")

        assert ask(client, "What is my name?", "g").endswith("Your name is Grace.")
        assert ask(client, "What is my name?").endswith("I do not know your name.")


def test_a_second_gateway_on_the_same_state_says_so_in_one_line(demo: dict[str, str], state: Path) -> None:
    command = _command("serve", "--port", "0", "--state", state)
    result = subprocess.run(command, env=NO_KEYS, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 1
    address = demo["address:"].removesuffix("/v1")
    who = re.escape(f"at {address}, which answers")
    assert re.fullmatch(
        rf"Another gateway uses the state directory {re.escape(str(state))}: process \d+ {who}",
        result.stderr.splitlines()[-1],
    )
    assert "Traceback" not in result.stderr


def test_one_that_would_also_have_its_port_is_told_the_same(demo: dict[str, str], state: Path) -> None:
    port = demo["address:"].removesuffix("/v1").rpartition(":")[2]
    command = _command("serve", "--port", port, "--state", state)
    result = subprocess.run(command, env=NO_KEYS, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 1
    assert "Another gateway uses the state directory" in result.stderr.splitlines()[-1]


def test_check_goes_on_beside_a_gateway_that_runs(demo: dict[str, str], state: Path) -> None:
    command = _command("check", "--state", state)
    result = subprocess.run(command, env=NO_KEYS, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stderr) == (0, "")
    for words in (
        f"at {demo['address:'].removesuffix('/v1')}, which answers",
        "it answers, and has 1 model:\n    openai-compatible/offline\n",
        "conversations that will be deleted in time",
        "letta: Letta, openai-compatible/offline",
        "Everything is in order.",
    ):
        assert words in result.stdout


def test_interrupted_the_demo_ends_well_and_keeps_its_key_and_what_it_was_told(tmp_path: Path) -> None:
    with _demo(tmp_path) as (process, told):
        _ask(told, "My name is Ada.")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    with _demo(tmp_path) as (_, again):
        assert again["key:"] == told["key:"]
        assert _ask(again, "What is my name?").endswith("Your name is Ada.")

    assert oct((tmp_path / "demo-key").stat().st_mode & 0o777) == "0o600"


def _ask(told: dict[str, str], text: str) -> str:
    with OpenAI(base_url=told["address:"], api_key=told["key:"], max_retries=0, timeout=60) as client:
        completion = client.chat.completions.create(model=told["model:"], messages=[{"role": "user", "content": text}])
    return completion.choices[0].message.content or ""


def test_check_looks_into_a_letta_of_the_gateway_s_own(tmp_path: Path) -> None:
    command = _command("check", "--state", tmp_path)
    result = subprocess.run(command, env=NO_KEYS, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stderr) == (0, "")
    assert "openai-compatible/offline" in result.stdout
    assert "Everything is in order." in result.stdout


def test_check_names_a_provider_that_does_not_answer(tmp_path: Path) -> None:
    # The port of "discard": nobody answers there.
    environ = NO_KEYS | {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    command = _command("check", "--state", tmp_path)
    result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 1
    (problem,) = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
    assert problem.startswith("problem: the provider openai-compatible at http://127.0.0.1:9/v1: nothing answers there")


def test_a_state_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    command = _command("demo", "--state", file / "state")
    result = subprocess.run(command, env=NO_KEYS, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 1
    assert result.stderr.startswith(f"--state: {file / 'state'}: expected a directory to write to")


def test_where_the_usual_port_is_taken_another_is_found() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        assert free_port() not in (0, 8000)


def test_the_key_is_made_once(tmp_path: Path) -> None:
    key = read_key(tmp_path / "new")

    assert key.reveal().startswith("sk-demo-")
    assert read_key(tmp_path / "new") == key


TOLD = {
    "none": ({}, "the offline model"),
    "a key": ({"ANTHROPIC_API_KEY": "sk-secret"}, "anthropic"),
    "an address": ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "openai-compatible at http://127.0.0.1:9/v1"),
}


@pytest.mark.parametrize(("environ", "words"), TOLD.values(), ids=TOLD)
def test_the_demo_says_whose_models_it_uses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    settings = load_demo(environ, Overrides(port=0, state=str(tmp_path)), Secret("sk-demo"))
    tell_address(settings, "http://127.0.0.1:8000", "Model: m/one")
    told = capsys.readouterr().out

    assert words in "\n".join(before(settings))
    assert "Model: m/one\n" in told
    assert "sk-secret" not in told
