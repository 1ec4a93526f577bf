"""Keys with `on_disconnect = "finish"`: an answer whose client has left goes on, and is there for the resend."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest

from gateway.settings import Allowance, Chats
from tests.gateways import KEY, PROGRAMS, GatewayProcess, chat, gateway, http, sdk
from tests.servers.fake_letta import ANSWER, PING, STOP, THOUGHT, USAGE, WORD, FakeLetta
from tests.workers import by_three_too

FINISH = msgspec.structs.replace(PROGRAMS, on_disconnect="finish")
AT_ONCE = Chats(grace_seconds=0)
COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/responses"
NAMED = {"metadata": {"chat_id": "c"}}


def completion(text: str, **more: Any) -> dict[str, Any]:
    return chat(text, **NAMED, **more)


def response(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "tutor", "user": "ada", "input": text, **NAMED, **more}


Asked = tuple[str, Callable[..., dict[str, Any]], bool]
WIRES: dict[str, Asked] = {
    "chat completions, streamed": (COMPLETIONS, completion, True),
    "chat completions, whole": (COMPLETIONS, completion, False),
    "responses, streamed": (RESPONSES, response, True),
    "responses, whole": (RESPONSES, response, False),
}
ON_BOTH = pytest.mark.parametrize("asked", WIRES.values(), ids=WIRES)
ON_COMPLETIONS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@contextmanager
def finishing(letta: FakeLetta, **changes: Any) -> Iterator[str]:
    with gateway(letta.base_url, **{"keys": (FINISH,), "chats": AT_ONCE, **changes}) as url:
        yield url


def leave(letta: FakeLetta, url: str, asked: Asked, text: str = "hello") -> threading.Event:
    """Ask, and leave once the agent has begun; its answer ends when the event is set."""
    go_on = threading.Event()
    letta.coming = [[PING, THOUGHT, WORD, go_on, {**WORD, "content": " there"}, STOP, USAGE]]
    address, body, stream = asked
    letta.run_begun.clear()
    with http(url) as client:
        if stream:
            with client.stream("POST", address, json=body(text, stream=True)) as answer:
                assert any("Hello" in line for line in answer.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(address, json=body(text, stream=False), timeout=0.5)
    assert letta.run_begun.wait(10)
    have_had_all(url)
    return go_on


def have_had_all(url: str) -> None:
    """Returns when the gateway knows of all that clients did before: it answers these after that."""
    with http(url) as client:
        assert [client.get("/healthz").status_code for _ in range(5)] == [200] * 5


def ask(url: str, asked: Asked, text: str = "hello", **headers: str) -> str:
    """The text of an answer."""
    address, body, stream = asked
    with http(url) as client:
        answer = client.post(address, json=body(text, stream=stream), headers=headers)
    assert answer.status_code == 200, answer.text
    return text_of(answer.text, stream)


def text_of(answer: str, stream: bool) -> str:
    if not stream:
        told = json.loads(answer)
        if "choices" in told:
            return str(told["choices"][0]["message"]["content"])
        return str(told["output"][-1]["content"][0]["text"])
    texts = []
    for data in (json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")):
        if data.get("type") == "response.output_text.delta":
            texts.append(data["delta"])
        texts += [choice["delta"].get("content") or "" for choice in data.get("choices", ())]
    return "".join(texts)


def until(look: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not look():
        assert time.monotonic() < end
        time.sleep(0.01)


@by_three_too
@ON_BOTH
def test_the_run_goes_on_and_is_there_for_the_same_request_while_it_does(letta: FakeLetta, asked: Asked) -> None:
    with finishing(letta) as url, ThreadPoolExecutor() as pool:
        go_on = leave(letta, url, asked)
        asking = pool.submit(ask, url, asked)
        go_on.set()
        assert asking.result(30).endswith("Hello there")

    assert letta.said == [["hello"]]
    assert not letta.cancelled.is_set()


@by_three_too
@ON_BOTH
def test_the_answer_is_there_for_the_same_request_after_its_end_and_then_it_was_had(
    letta: FakeLetta, asked: Asked
) -> None:
    with finishing(letta) as url:
        leave(letta, url, asked).set()
        with http(url) as client:
            until(lambda: client.get("/v1/usage", params={"user": "ada"}).json()["today"]["answers"])
        assert ask(url, asked).endswith("Hello there")
        assert letta.said == [["hello"]]
        ask(url, asked)

    assert len(letta.runs) == 2
    assert not letta.cancelled.is_set()


@ON_BOTH
def test_an_answer_that_was_had_is_given_nobody_else(letta: FakeLetta, asked: Asked) -> None:
    with finishing(letta) as url:
        for _ in range(3):
            assert ask(url, asked).endswith("Hello")

    assert len(letta.runs) == 3


def test_two_requests_alike_whose_clients_stay_are_two_turns(letta: FakeLetta) -> None:
    held = threading.Event()
    letta.coming = [[PING, held, *ANSWER[1:]]]
    asked: Asked = (COMPLETIONS, lambda text, **more: chat(text, **more), False)
    with finishing(letta) as url, ThreadPoolExecutor() as pool:
        first = pool.submit(ask, url, asked)
        assert letta.run_begun.wait(10)
        assert ask(url, asked).endswith("Hello")
        held.set()
        first.result(30)

    assert len(letta.runs) == 2


@by_three_too
def test_the_sdk_s_own_retry_has_the_run(letta: FakeLetta) -> None:
    asked = WIRES["chat completions, whole"]
    with finishing(letta) as url:
        leave(letta, url, asked).set()
        assert ask(url, asked, **{"x-stainless-retry-count": "1"}).endswith("Hello there")

    assert letta.said == [["hello"]]


@by_three_too
@ON_BOTH
def test_the_next_message_of_the_chat_waits_for_its_end(letta: FakeLetta, asked: Asked) -> None:
    with finishing(letta) as url, ThreadPoolExecutor() as pool:
        go_on = leave(letta, url, asked)
        asking = pool.submit(ask, url, asked, "next")
        have_had_all(url)
        assert letta.said == [["hello"]]
        go_on.set()
        assert asking.result(30).endswith("Hello")

    assert letta.said == [["hello"], ["next"]]
    assert not letta.cancelled.is_set()


@by_three_too
@ON_BOTH
def test_it_counts_as_an_answer_under_way_until_its_end(letta: FakeLetta, asked: Asked) -> None:
    key = msgspec.structs.replace(FINISH, user_limits=Allowance(streams=1))
    with finishing(letta, keys=(key,)) as url, sdk(url) as client, http(url) as plain:
        go_on = leave(letta, url, asked)

        def remaining() -> int:
            told: int = plain.get("/v1/usage", params={"user": "ada"}).json()["limits"][0]["remaining"]
            return told

        assert remaining() == 0
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**chat("elsewhere", metadata={"chat_id": "d"}))
        go_on.set()
        until(lambda: remaining() == 1)
        assert client.chat.completions.create(**chat("elsewhere", metadata={"chat_id": "d"}))


@ON_BOTH
def test_a_key_without_it_has_its_runs_cancelled(letta: FakeLetta, asked: Asked) -> None:
    with finishing(letta, keys=(PROGRAMS,)) as url:
        go_on = leave(letta, url, asked)
        assert letta.cancelled.wait(10)
        go_on.set()


CONFIG = """
[letta]
base_url = "{letta}"

[[agent_types]]
id = "tutor"
model = "m/one"

[[keys]]
name = "programs"
key = "{key}"
on_disconnect = "finish"
"""


@ON_COMPLETIONS
def test_a_gateway_that_is_told_to_end_waits_for_it(letta: FakeLetta, tmp_path: Path, stream: bool) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(letta=letta.base_url, key=KEY))
    with GatewayProcess(config) as process:
        go_on = leave(letta, process.base_url, (COMPLETIONS, completion, stream))
        process.process.terminate()
        until(lambda: any("under way" in line for line in process.log))
        assert not letta.cancelled.is_set()
        go_on.set()
        assert process.process.wait(30) == 0

    assert not letta.cancelled.is_set()
