"""The stream on the wire: its first byte, its pings, its end; and what happens when the client leaves."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from gateway.settings import Chats
from tests.gateways import KEY, chat, gateway, http, sdk
from tests.servers.fake_letta import ANSWER, PING, STOP, THOUGHT, USAGE, WORD, FakeLetta, Hold, Step
from tests.workers import by_three_too

URL = "/v1/chat/completions"
CHAT = chat(metadata={"chat_id": "c"})
NO_GRACE = Chats(grace_seconds=0)
STREAM = {**CHAT, "stream": True}


def test_stream_and_whole_answer_are_the_same(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        whole = client.chat.completions.create(**CHAT)
        chunks = list(client.chat.completions.create(**STREAM, stream_options={"include_usage": True}))

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "<think>Hm. </think>Hello" == text == whole.choices[0].message.content
    assert whole.choices[0].finish_reason == chunks[-2].choices[0].finish_reason == "stop"
    assert whole.usage == chunks[-1].usage


@pytest.mark.anyio
async def test_the_async_sdk_reads_the_stream_and_uses_its_connection_again(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            for _ in range(2):
                stream = await client.chat.completions.create(**STREAM)
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
                assert text == "<think>Hm. </think>Hello"


def test_the_headers_keep_proxies_from_holding_the_stream(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        headers = client.post(URL, json=STREAM).headers

    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


def test_silence_at_the_start_is_broken_by_a_ping_and_then_by_one_every_interval(letta: FakeLetta) -> None:
    enough = threading.Event()
    letta.steps = [PING, enough, *ANSWER]
    lines = []
    settings = {"first_event_seconds": 0.05, "ping_seconds": 0.05}
    with gateway(letta.base_url, **settings) as url, http(url) as client, client.stream("POST", URL, json=STREAM) as r:
        assert r.status_code == 200
        for line in r.iter_lines():
            lines.append(line)
            if lines.count(": ping") == 3:
                enough.set()

    assert lines[0] == ": ping"
    assert [line for line in lines if line.startswith("data")][-1] == "data: [DONE]"


@pytest.mark.anyio
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_cancels_the_run(letta: FakeLetta, body: dict[str, object]) -> None:
    letta.steps = [PING, THOUGHT, Hold()]
    with gateway(letta.base_url) as url:
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
            asking = asyncio.create_task(client.post(URL, json=body))
            await asyncio.to_thread(letta.run_begun.wait, 10)
            asking.cancel()
        assert await asyncio.to_thread(letta.cancelled.wait, 10)


SAID: dict[str, list[Step]] = {"in the answer": [PING, WORD, Hold()], "before the first word": [PING, Hold()]}


@pytest.mark.parametrize("steps", SAID.values(), ids=SAID)
def test_stop_cancels_the_run_within_two_seconds(letta: FakeLetta, steps: list[Step]) -> None:
    letta.steps = steps
    with gateway(letta.base_url, first_event_seconds=0.05) as url, http(url) as client:
        with client.stream("POST", URL, json=STREAM):
            assert letta.run_begun.wait(10)
        assert letta.cancelled.wait(2)


def test_a_run_whose_model_says_nothing_is_left_once_it_is_cancelled(letta: FakeLetta) -> None:
    letta.steps = [PING, Hold()]
    with gateway(letta.base_url, chats=NO_GRACE, first_event_seconds=0.05) as url, http(url) as client:
        with client.stream("POST", URL, json=STREAM):
            assert letta.run_begun.wait(10)
        assert letta.cancelled.wait(10)
        assert letta.run_left.wait(10)


@by_three_too
def test_the_next_turn_starts_only_when_the_cancel_has_returned(letta: FakeLetta) -> None:
    let_go = threading.Event()
    letta.steps, letta.cancel_steps = [PING, THOUGHT, Hold()], [let_go]
    with gateway(letta.base_url) as url, http(url) as client, ThreadPoolExecutor() as pool:
        with client.stream("POST", URL, json=STREAM) as response:
            next(response.iter_lines())
        letta.steps = ANSWER
        waiting = pool.submit(client.post, URL, json=CHAT)
        assert letta.cancel_begun.wait(10)
        # The gateway has had the request for long when it has answered these.
        for _ in range(5):
            assert client.get("/healthz").status_code == 200
        assert letta.count("POST", "/messages") == 1
        let_go.set()
        assert waiting.result(10).status_code == 200

    posts = [path.rpartition("/")[2] for method, path, _ in letta.requests if method == "POST" and "/conv-" in path]
    assert posts == ["messages", "cancel", "recompile", "messages"]


def test_a_run_that_letta_has_not_named_yet_is_cancelled_once_it_has(letta: FakeLetta) -> None:
    named = threading.Event()
    letta.steps = [named, PING, Hold()]
    with gateway(letta.base_url, first_event_seconds=0.05) as url, http(url) as client:
        with client.stream("POST", URL, json=STREAM):
            assert letta.run_begun.wait(10)
        assert not letta.cancelled.is_set()
        named.set()
        assert letta.cancelled.wait(10)


@by_three_too
def test_a_turn_that_waits_for_another_can_be_given_up(letta: FakeLetta) -> None:
    finish = threading.Event()
    letta.steps = [PING, THOUGHT, finish, WORD, STOP, USAGE]
    settings: dict[str, Any] = {"chats": NO_GRACE, "first_event_seconds": 0.05}
    with gateway(letta.base_url, **settings) as url, http(url) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, URL, json=CHAT)
        assert letta.run_begun.wait(10)
        with client.stream("POST", URL, json=STREAM) as response:
            assert next(response.iter_lines()) == ": ping"
        # The gateway hears of the end of one connection before it answers these over another.
        for _ in range(5):
            assert client.get("/healthz").status_code == 200
        finish.set()
        assert first.result(10).status_code == 200
        assert client.post(URL, json=CHAT).status_code == 200

    assert letta.count("POST", "/messages") == 2


def test_a_client_that_leaves_after_the_answer_cancels_nothing(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        with client.stream("POST", URL, json=STREAM) as response:
            for line in response.iter_lines():
                if '"finish_reason":"stop"' in line:
                    break
        assert client.post(URL, json=CHAT).status_code == 200

    assert not letta.cancelled.is_set()


def test_a_slow_reader_gets_everything(letta: FakeLetta) -> None:
    letta.steps = [PING, *[{**WORD, "content": "x" * 5000}] * 400, STOP, USAGE]
    with gateway(letta.base_url) as url, http(url) as client, client.stream("POST", URL, json=STREAM) as response:
        read = b""
        for piece in response.iter_raw(chunk_size=100_000):
            read += piece

    assert read.count(b"x" * 5000) == 400
    assert read.endswith(b"data: [DONE]\n\n")


@pytest.mark.anyio
async def test_a_hundred_streams_at_once_lose_nothing(letta: FakeLetta) -> None:
    # A machine that is busy may take longer than the pings' ten seconds, and one may follow the end.
    with gateway(letta.base_url, ping_seconds=600) as url:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
            bodies = [chat(user=f"user-{i % 20}", stream=True, metadata={"chat_id": f"c{i}"}) for i in range(100)]
            headers = {"authorization": f"Bearer {KEY}"}
            responses = await asyncio.gather(*(client.post(URL, json=body, headers=headers) for body in bodies))

    assert {200} == {response.status_code for response in responses}
    assert [r.text for r in responses if "Hello" not in r.text or not r.text.endswith("[DONE]\n\n")] == []
    assert (len(letta.agents), len(letta.conversations)) == (20, 100)
