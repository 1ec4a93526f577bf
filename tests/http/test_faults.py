"""What a client sees when Letta fails, before or during the stream, and what Letta is sent then."""

import json
import threading

import httpx
import openai
import pytest

from gateway.settings import Chats
from tests.gateways import chat, gateway, http, sdk
from tests.servers.fake_letta import ANSWER, PING, STOP, THOUGHT, WORD, Cut, FakeLetta, Hold, Raw, Step

CHAT = chat(metadata={"chat_id": "c"})
IMPATIENT = Chats(queue_seconds=0.1)
FAILED = {"message_type": "stop_reason", "stop_reason": "llm_api_error"}


def _error_event(error_type: str) -> Step:
    return {"message_type": "error_message", "error_type": error_type, "message": "secret detail", "detail": "secret"}


# steps of the run -> status, code, whether an SDK is told not to resend
BEFORE_THE_ANSWER: dict[str, tuple[list[Step], int, str, bool]] = {
    "letta dies before it answers": ([Cut()], 502, "upstream_broken", True),
    "letta dies after its first ping": ([PING, Cut()], 502, "upstream_broken", True),
    "garbage": ([PING, Raw(b"data: garbage\n\n")], 502, "upstream_broken", True),
    "half a line": ([PING, Raw(b'data: {"message_type": "assist'), Cut()], 502, "upstream_broken", True),
    "half a line, and an orderly end": ([Raw(b'data: {"mess')], 502, "upstream_broken", True),
    "an end without a reason to stop": ([PING], 502, "upstream_broken", True),
    "a status of 500": ([500], 502, "upstream_error", True),
    "a status of 409": ([409], 429, "conversation_busy", False),
    "a status of 401": ([401], 502, "upstream_refused", False),
    "a status of 404": ([404], 502, "upstream_not_found", False),
    "a status of 429": ([429], 429, "rate_limit_exceeded", False),
    "the provider's rate limit": ([PING, FAILED, _error_event("llm_rate_limit")], 429, "rate_limit_exceeded", True),
    "the provider's refusal": ([PING, FAILED, _error_event("llm_authentication")], 502, "model_authentication", True),
    "the provider's failure": ([PING, FAILED, _error_event("llm_error")], 502, "model_error", True),
    "the provider's silence": ([PING, FAILED, _error_event("llm_timeout")], 504, "model_timeout", True),
    "a failure without a word": ([PING, FAILED], 502, "model_error", True),
    "a reason nobody knows": ([{**STOP, "stop_reason": "tired"}], 502, "upstream_error", True),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("steps", "status", "code", "final"), BEFORE_THE_ANSWER.values(), ids=BEFORE_THE_ANSWER)
def test_an_early_failure_is_a_real_status(
    letta: FakeLetta, steps: list[Step], status: int, code: str, final: bool, stream: bool
) -> None:
    letta.steps = steps
    with gateway(letta.base_url, chats=IMPATIENT, first_event_seconds=20) as url, http(url) as client:
        response = client.post("/v1/chat/completions", json={**CHAT, "stream": stream})

    assert (status, code) == (response.status_code, response.json()["error"]["code"])
    assert ("false" if final else None) == response.headers.get("x-should-retry")
    assert ("retry-after" in response.headers) == (code == "conversation_busy")
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "secret" not in response.text


DURING_THE_ANSWER: dict[str, tuple[list[Step], str]] = {
    "letta dies": ([THOUGHT, WORD, Cut()], "upstream_broken"),
    "letta dies within a thought": ([THOUGHT, Cut()], "upstream_broken"),
    "garbage": ([THOUGHT, Raw(b"data: garbage\n\n")], "upstream_broken"),
    "half a line": ([THOUGHT, WORD, Raw(b'data: {"message_type": "assist'), Cut()], "upstream_broken"),
    "the provider's failure": ([THOUGHT, WORD, FAILED, _error_event("llm_error")], "model_error"),
    "the provider's rate limit": ([THOUGHT, FAILED, _error_event("llm_rate_limit")], "rate_limit_exceeded"),
    "cancelled by somebody": ([THOUGHT, {**STOP, "stop_reason": "cancelled"}, WORD], "run_cancelled"),
}


@pytest.mark.parametrize(("steps", "code"), DURING_THE_ANSWER.values(), ids=DURING_THE_ANSWER)
def test_a_late_failure_closes_the_thoughts_and_ends_the_stream_with_an_error(
    letta: FakeLetta, steps: list[Step], code: str
) -> None:
    shown = threading.Event()
    letta.steps = [steps[0], shown, *steps[1:]]
    with gateway(letta.base_url) as url, http(url) as client:
        frames = _frames_until_thought(client, shown)

    assert frames[-1] == "[DONE]"
    assert json.loads(frames[-2])["error"]["code"] == code
    content = "".join(c["choices"][0]["delta"].get("content", "") for c in map(json.loads, frames[:-2]))
    assert content.count("<think>") == content.count("</think>") == 1
    assert "secret" not in "".join(frames)


def _frames_until_thought(client: httpx.Client, shown: threading.Event) -> list[str]:
    """The data of every frame; `shown` is set once the first thought is there."""
    frames = []
    with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: "):
                frames.append(line.removeprefix("data: "))
                if "Hm." in line:
                    shown.set()
    return frames


def test_the_sdk_raises_a_late_failure_as_an_api_error(letta: FakeLetta) -> None:
    shown = threading.Event()
    letta.steps = [WORD, shown, FAILED, _error_event("llm_rate_limit")]
    with gateway(letta.base_url) as url, sdk(url) as client:
        stream = client.chat.completions.create(**{**CHAT, "stream": True})
        assert next(stream).choices[0].delta.role == "assistant"
        shown.set()
        with pytest.raises(openai.APIError) as caught:
            list(stream)

    assert caught.value.code == "rate_limit_exceeded"


ONCE: dict[str, list[Step]] = {
    "a 500": [500],
    "a cut connection": [Cut()],
    "a cut stream": [PING, Cut()],
}


@pytest.mark.parametrize("steps", ONCE.values(), ids=ONCE)
def test_a_message_reaches_letta_once_whatever_becomes_of_it(letta: FakeLetta, steps: list[Step]) -> None:
    letta.steps = steps
    with gateway(letta.base_url) as url, http(url) as client:
        client.post("/v1/chat/completions", json=CHAT)

    assert letta.count("POST", "/messages") == 1


@pytest.mark.parametrize("steps", [[500], [Cut()], [PING, Cut()]], ids=["a 500", "a cut connection", "a cut stream"])
def test_the_sdk_does_not_resend_what_letta_may_have(letta: FakeLetta, steps: list[Step]) -> None:
    letta.steps = steps
    with gateway(letta.base_url) as url, sdk(url) as client, pytest.raises(openai.InternalServerError):
        client.with_options(max_retries=2).chat.completions.create(**CHAT)

    assert letta.count("POST", "/messages") == 1


BUSY: dict[str, list[Step]] = {
    "a status": [409],
    "an event": [
        PING,
        {**STOP, "stop_reason": "error"},
        {"message_type": "error_message", "error_type": "internal_error", "message": "CONFLICT: secret"},
    ],
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("busy", BUSY.values(), ids=BUSY)
def test_letta_s_being_busy_is_waited_out_and_not_told(letta: FakeLetta, busy: list[Step], stream: bool) -> None:
    letta.coming = [busy, busy]
    with gateway(letta.base_url) as url, http(url) as client:
        response = client.post("/v1/chat/completions", json={**CHAT, "stream": stream})

    assert response.status_code == 200
    assert ("Hello" in response.text, "error" in response.text) == (True, False)
    assert letta.said == [["hello"]] * 3
    assert not letta.cancelled.is_set()


def test_a_run_whose_stream_broke_is_cancelled_before_the_next_turn(letta: FakeLetta) -> None:
    letta.steps = [PING, THOUGHT, Cut()]
    with gateway(letta.base_url) as url, http(url) as client:
        client.post("/v1/chat/completions", json=CHAT)
        letta.steps = ANSWER
        again = client.post("/v1/chat/completions", json=CHAT)

    assert again.status_code == 200
    assert [path.rpartition("/")[2] for method, path, _ in letta.requests if method == "POST" and "/conv-" in path] == [
        "messages",
        "cancel",
        "recompile",
        "messages",
    ]


def test_no_byte_for_three_pings_is_a_dead_upstream(letta: FakeLetta) -> None:
    letta.steps = [PING, Hold()]
    with gateway(letta.base_url, letta_ping_seconds=0.1) as url, http(url) as client:
        response = client.post("/v1/chat/completions", json=CHAT)
        assert letta.cancelled.wait(10)

    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")


def test_nothing_but_pings_is_a_hanging_run_which_is_cancelled(letta: FakeLetta) -> None:
    letta.steps = [PING, Hold()]
    with gateway(letta.base_url, silence_seconds=0.2) as url, http(url) as client:
        response = client.post("/v1/chat/completions", json=CHAT)
        assert letta.cancelled.wait(10)

    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")


def test_letta_out_of_reach_is_a_503_that_may_be_tried_again() -> None:
    with FakeLetta() as gone:
        url_of_nobody = gone.base_url
    with gateway(url_of_nobody) as url, http(url) as client:
        response = client.post("/v1/chat/completions", json=CHAT)
        ready = client.get("/readyz")
        alive = client.get("/healthz")

    assert (response.status_code, response.json()["error"]["code"]) == (503, "upstream_unreachable")
    assert "x-should-retry" not in response.headers
    assert (ready.status_code, alive.status_code) == (503, 200)


def test_what_breaks_after_the_finish_reason_takes_nothing_from_the_answer(letta: FakeLetta) -> None:
    letta.steps = [PING, WORD, STOP, Cut()]
    with gateway(letta.base_url) as url, sdk(url) as client:
        completion = client.chat.completions.create(**CHAT)

    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("Hello", "stop")


def test_a_message_goes_again_to_a_new_conversation_where_letta_lost_the_old_one(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        client.post("/v1/chat/completions", json=CHAT)
        letta.conversations.clear()
        letta.steps = [404]
        client.post("/v1/chat/completions", json=CHAT)
        posts = letta.count("POST", "/messages")

    assert posts == 3
    assert letta.count("POST", "/conversations") == 2
