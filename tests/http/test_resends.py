"""Requests that come twice, with the openai SDK's real retries: Letta is called once, and the answer is whole."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from gateway.settings import Chats
from tests.gateways import KEY, chat, gateway, http, sdk
from tests.servers.fake_letta import ANSWER, PING, STOP, THOUGHT, USAGE, WORD, FakeLetta, Hold, Step
from tests.servers.proxy import Proxy
from tests.workers import by_three_too

URL = "/v1/chat/completions"
CHAT = chat(metadata={"chat_id": "c"})
OTHER = chat("something else", metadata={"chat_id": "c"})
WHOLE = "<think>Hm. </think>Hello"
AGAIN = {"x-stainless-retry-count": "1"}
FIRST = {"x-stainless-retry-count": "0"}
KEYED = {"Idempotency-Key": "k-1"}
# So that a retry, not the end of the first try, decides what becomes of a run.
LONG_GRACE = Chats(grace_seconds=30)


@contextmanager
def retrying(url: str, retried: threading.Event | None = None, **settings: Any) -> Iterator[OpenAI]:
    """The SDK with two retries; `retried` is set as it sends its second request."""
    requests: list[object] = []

    def note(request: object) -> None:
        requests.append(request)
        if retried and len(requests) == 2:
            retried.set()

    client = openai.DefaultHttpxClient(event_hooks={"request": [note]})
    with OpenAI(base_url=f"{url}/v1", api_key=KEY, http_client=client, max_retries=2, **settings) as openai_client:
        yield openai_client


def ask(client: OpenAI, stream: bool, body: dict[str, Any] = CHAT, headers: dict[str, str] | None = None) -> str:
    """The text of an answer."""
    if not stream:
        return client.chat.completions.create(**body, extra_headers=headers).choices[0].message.content or ""
    chunks = client.chat.completions.create(**body, stream=True, extra_headers=headers)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def content(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def have_had_all(client: httpx.Client) -> None:
    """Returns when the gateway has had every request that was sent before: it answers these after them."""
    for _ in range(5):
        assert client.get("/healthz").status_code == 200


# The SDK's own retries


@by_three_too
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("ends", ["before the retry", "after the retry"])
def test_a_connection_that_is_cut_after_letta_took_the_message_costs_nothing(
    letta: FakeLetta, stream: bool, ends: str
) -> None:
    go_on, retried = threading.Event(), threading.Event()
    letta.steps = [PING, go_on, *ANSWER[1:]]
    settings: dict[str, Any] = {"chats": LONG_GRACE, "first_event_seconds": 20}
    with (
        gateway(letta.base_url, **settings) as url,
        Proxy(url) as proxy,
        http(url) as direct,
        retrying(proxy.base_url, retried) as client,
        ThreadPoolExecutor() as pool,
    ):
        asking = pool.submit(ask, client, stream)
        assert letta.run_begun.wait(10)
        proxy.cut()
        if ends == "after the retry":
            assert retried.wait(10)
            have_had_all(direct)
        go_on.set()
        assert asking.result(30) == WHOLE

    assert letta.said == [["hello"]]
    assert not letta.cancelled.is_set()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("body", [CHAT, chat()], ids=["a chat", "no chat id"])
def test_a_timeout_of_the_sdk_while_letta_is_slow_costs_nothing(
    letta: FakeLetta, stream: bool, body: dict[str, Any]
) -> None:
    retried = threading.Event()
    letta.steps = [PING, retried, *ANSWER[1:]]
    settings: dict[str, Any] = {"chats": LONG_GRACE, "first_event_seconds": 20}
    with gateway(letta.base_url, **settings) as url, retrying(url, retried, timeout=0.2) as client:
        assert ask(client, stream, body) == WHOLE

    assert letta.said == [["hello"]]
    assert not letta.cancelled.is_set()


def test_a_timeout_of_a_client_that_does_not_come_back_cancels_the_run(letta: FakeLetta) -> None:
    letta.steps = [PING, THOUGHT, Hold()]
    with gateway(letta.base_url, chats=Chats(grace_seconds=0.1)) as url, sdk(url) as client:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=1.0).chat.completions.create(**CHAT)
        assert letta.cancelled.wait(10)

    assert letta.said == [["hello"]]


TAKEN: dict[str, list[Step]] = {
    "a 500 of Letta's": [500],
    "a failure of the model's": [PING, {**STOP, "stop_reason": "llm_api_error"}],
    "a failure within the answer": [PING, THOUGHT, WORD, {**STOP, "stop_reason": "error"}],
}


@pytest.mark.parametrize("steps", TAKEN.values(), ids=TAKEN)
def test_the_sdk_does_not_send_again_what_letta_has_taken(letta: FakeLetta, steps: list[Step]) -> None:
    letta.steps = steps
    with gateway(letta.base_url) as url, retrying(url) as client, pytest.raises(openai.APIStatusError):
        ask(client, stream=False)

    assert letta.said == [["hello"]]


def test_the_sdk_sends_again_what_letta_has_not_taken_and_gets_the_answer(letta: FakeLetta) -> None:
    letta.coming = [[401]]
    with gateway(letta.base_url) as url, retrying(url) as client:
        assert ask(client, stream=False) == WHOLE

    assert letta.said == [["hello"]] * 2


# Other clients that say they send again


@by_three_too
def test_a_client_that_sends_a_failure_again_is_told_it_again(letta: FakeLetta) -> None:
    letta.coming = [[500]]
    with gateway(letta.base_url) as url, http(url) as client:
        failures = [client.post(URL, json=CHAT, headers=headers) for headers in (FIRST, AGAIN, AGAIN)]

    assert {failure.status_code for failure in failures} == {502}
    assert letta.said == [["hello"]]


@by_three_too
def test_what_is_sent_again_in_the_middle_of_the_answer_gets_all_of_it(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.steps = [PING, THOUGHT, WORD, go_on, {**WORD, "content": " there"}, STOP, USAGE]
    body = {**CHAT, "stream": True}
    with gateway(letta.base_url, chats=LONG_GRACE) as url, http(url) as client, ThreadPoolExecutor() as pool:
        with client.stream("POST", URL, json=body, headers=FIRST) as response:
            assert any("Hello" in line for line in response.iter_lines())
        asking = pool.submit(client.post, URL, json=body, headers=AGAIN)
        have_had_all(client)
        go_on.set()
        answer = asking.result(30).text

    assert [answer.count(text) for text in ("<think>", "Hm. ", "Hello", " there", "[DONE]")] == [1, 1, 1, 1, 1]
    assert letta.said == [["hello"]]
    assert not letta.cancelled.is_set()


@by_three_too
def test_a_run_is_cancelled_once_all_have_left_who_read_it(letta: FakeLetta) -> None:
    letta.steps = [PING, THOUGHT, WORD, Hold()]
    body = {**CHAT, "stream": True}
    with gateway(letta.base_url, chats=Chats(grace_seconds=0.1)) as url, http(url) as one, http(url) as other:
        with other.stream("POST", URL, json=body, headers=FIRST) as first:
            assert any("Hello" in line for line in first.iter_lines())
            with one.stream("POST", URL, json=body, headers=AGAIN) as second:
                assert any("Hello" in line for line in second.iter_lines())
                first.close()
                have_had_all(other)
                assert not letta.cancelled.is_set()
        assert letta.cancelled.wait(10)

    assert letta.said == [["hello"]]


# So many requests are longer than any moment.
MOMENTS = 200
NOT_AGAIN: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "the first try": (CHAT, FIRST),
    "another message": (OTHER, AGAIN),
    "another chat": ({**CHAT, "metadata": {"chat_id": "d"}}, AGAIN),
    "another user": ({**CHAT, "user": "grace"}, AGAIN),
    "another parameter": ({**CHAT, "temperature": 0.5}, AGAIN),
}


@pytest.mark.parametrize(("body", "headers"), NOT_AGAIN.values(), ids=NOT_AGAIN)
def test_another_request_is_no_resend(letta: FakeLetta, body: dict[str, Any], headers: dict[str, str]) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        for sent, told in ((CHAT, FIRST), (body, headers)):
            assert content(client.post(URL, json=sent, headers=told)) == WHOLE

    assert len(letta.runs) == 2


def test_an_answer_is_kept_for_resend_seconds_only(letta: FakeLetta) -> None:
    with gateway(letta.base_url, chats=Chats(resend_seconds=0)) as url, http(url) as client:
        assert content(client.post(URL, json=CHAT, headers=FIRST)) == WHOLE
        # A run ends a moment after its answer, when Letta has been told of the chat: until then it is taken over.
        for _ in range(MOMENTS):
            assert content(client.post(URL, json=CHAT, headers=AGAIN)) == WHOLE
            if len(letta.runs) > 1:
                break

    assert len(letta.runs) == 2


@by_three_too
def test_another_message_in_the_chat_ends_the_run_of_a_client_that_left(letta: FakeLetta) -> None:
    letta.coming = [[PING, THOUGHT, Hold()]]
    with gateway(letta.base_url, chats=LONG_GRACE) as url, http(url) as client:
        with client.stream("POST", URL, json={**CHAT, "stream": True}) as response:
            assert any("Hm." in line for line in response.iter_lines())
        have_had_all(client)
        assert content(client.post(URL, json=OTHER)) == WHOLE

    assert letta.cancelled.is_set()
    assert letta.said[-1][-1] == "something else"
    assert len(letta.runs) == 2


# Idempotency keys


@by_three_too
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_idempotency_key_gets_the_answer_that_it_got(letta: FakeLetta, stream: bool) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        answers = [ask(client, stream, headers=KEYED) for _ in range(3)]

    assert answers == [WHOLE] * 3
    assert letta.said == [["hello"]]


@by_three_too
def test_an_idempotency_key_takes_over_the_run_under_way(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.steps = [PING, go_on, *ANSWER[1:]]
    with gateway(letta.base_url) as url, http(url) as client, ThreadPoolExecutor() as pool:
        asking = [pool.submit(client.post, URL, json=CHAT, headers=KEYED) for _ in range(3)]
        assert letta.run_begun.wait(10)
        have_had_all(client)
        go_on.set()
        assert [content(each.result(30)) for each in asking] == [WHOLE] * 3

    assert letta.said == [["hello"]]


@by_three_too
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_idempotency_key_with_another_body_is_refused(letta: FakeLetta, stream: bool) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        assert content(client.post(URL, json=CHAT, headers=KEYED)) == WHOLE
        refused = client.post(URL, json={**OTHER, "stream": stream}, headers=KEYED)

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "idempotency_key_reused")
    assert letta.said == [["hello"]]


def test_an_idempotency_key_counts_for_its_user_only(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client, http(url, "sk-front") as other_key:
        assert content(client.post(URL, json=CHAT, headers=KEYED)) == WHOLE
        assert content(client.post(URL, json={**OTHER, "user": "grace"}, headers=KEYED)) == WHOLE
        named = {**KEYED, "X-OpenWebUI-User-Id": "ada"}
        assert content(other_key.post(URL, json=OTHER, headers=named)) == WHOLE

    assert len(letta.runs) == 3


@by_three_too
def test_an_idempotency_key_of_what_letta_did_not_take_is_asked_again(letta: FakeLetta) -> None:
    letta.coming = [[401]]
    with gateway(letta.base_url) as url, http(url) as client:
        assert client.post(URL, json=CHAT, headers=KEYED).status_code == 502
        assert content(client.post(URL, json=CHAT, headers=KEYED)) == WHOLE

    assert letta.said == [["hello"]] * 2


def test_an_idempotency_key_that_is_too_long_is_refused(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        refused = client.post(URL, json=CHAT, headers={"Idempotency-Key": "k" * 513})

    assert (refused.status_code, letta.runs) == (400, [])
    assert "idempotency-key" in refused.json()["error"]["message"]
