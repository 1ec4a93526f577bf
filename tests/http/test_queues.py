"""Turns of one chat wait for each other; other chats, and other users, do not."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from gateway.settings import Chats
from tests.gateways import chat, gateway, http
from tests.servers.fake_letta import ANSWER, PING, FakeLetta
from tests.workers import by_three_too

URL = "/v1/chat/completions"
MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def said(text: str, chat_id: str = "c", **more: Any) -> dict[str, Any]:
    return chat(text, metadata={"chat_id": chat_id}, **more)


@contextmanager
def busy(
    letta: FakeLetta, chats: Chats, **settings: Any
) -> Iterator[tuple[httpx.Client, ThreadPoolExecutor, threading.Event]]:
    """A gateway in which a turn of the chat is under way, until the event is set."""
    done = threading.Event()
    letta.coming = [[PING, done, *ANSWER[1:]]]
    with gateway(letta.base_url, chats=chats, **settings) as url, http(url) as client, ThreadPoolExecutor() as pool:
        try:
            first = pool.submit(client.post, URL, json=said("first"))
            assert letta.run_begun.wait(10)
            yield client, pool, done
        finally:
            done.set()
        assert first.result(30).status_code == 200


@by_three_too
@MODES
def test_a_full_queue_is_told_at_once_with_the_time_to_try_again(letta: FakeLetta, stream: bool) -> None:
    with busy(letta, Chats(queue_length=0)) as (client, _, _):
        refused = client.post(URL, json=said("second", stream=stream))

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "conversation_busy")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert int(refused.headers["retry-after"]) > 0
    assert "x-should-retry" not in refused.headers
    assert letta.said == [["first"]]


@MODES
def test_waiting_too_long_is_told_with_a_status_where_nothing_was_sent(letta: FakeLetta, stream: bool) -> None:
    with busy(letta, Chats(queue_seconds=0.1), first_event_seconds=20) as (client, _, _):
        refused = client.post(URL, json=said("second", stream=stream))

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "conversation_busy")
    assert "retry-after" in refused.headers
    assert letta.said == [["first"]]


def test_waiting_too_long_is_told_in_the_stream_where_bytes_were_sent(letta: FakeLetta) -> None:
    with busy(letta, Chats(queue_seconds=0.3), first_event_seconds=0.05) as (client, _, _):
        response = client.post(URL, json=said("second", stream=True))

    ping, *_ = response.text.splitlines()
    *_, error, end = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert (response.status_code, ping, end) == (200, ": ping", "[DONE]")
    assert json.loads(error)["error"]["code"] == "conversation_busy"
    assert letta.said == [["first"]]


@by_three_too
def test_turns_of_a_chat_come_one_after_the_other_in_their_order(letta: FakeLetta) -> None:
    waiting: list[Future[httpx.Response]] = []
    with busy(letta, Chats()) as (client, pool, done):
        for i in range(5):
            waiting.append(pool.submit(client.post, URL, json=said(f"waits {i}")))
            # The gateway has had that request when it has answered these.
            for _ in range(5):
                assert client.get("/healthz").status_code == 200
        assert letta.said == [["first"]]
        done.set()
        assert [each.result(30).status_code for each in waiting] == [200] * 5

    assert letta.said == [["first"], *([f"waits {i}"] for i in range(5))]
    assert len(letta.conversations) == 1


OTHERS: dict[str, dict[str, Any]] = {
    "another chat of the user": said("other", "d"),
    "the same chat id of another user": said("other", user="grace"),
    "a chat without an id": chat("other"),
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_nobody_waits_for_another_chat(letta: FakeLetta, body: dict[str, Any]) -> None:
    with busy(letta, Chats(queue_length=0)) as (client, _, done):
        assert client.post(URL, json=body).status_code == 200
        assert not done.is_set()

    assert len(letta.conversations) == 2


@by_three_too
def test_equal_prompts_at_once_without_a_chat_are_turns_of_their_own(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client, ThreadPoolExecutor() as pool:
        asking = [pool.submit(client.post, URL, json=chat()) for _ in range(5)]
        assert {each.result(30).status_code for each in asking} == {200}

    assert letta.said == [["hello"]] * 5
    assert len(letta.conversations) == 5
