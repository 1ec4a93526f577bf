"""A bug behind the gateway: an error of its own, told to nobody but the log, and there without words."""

import json
import logging
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.app import create_app
from tests.events import answer, ping, reasoning
from tests.gateways import KEY, chat, gateway, http, settings_for
from tests.http.asgi import call, post
from tests.servers.fake_letta import FakeLetta
from tests.servers.threads import served
from tests.turns.memory_letta import MemoryLetta, Step

SECRET = "secret prompt"


def bug() -> RuntimeError:
    return RuntimeError(SECRET)


def ask(letta: MemoryLetta, body: dict[str, Any]) -> httpx.Response:
    """The answer of a gateway in front of `letta`, whose pings would not disturb."""
    app = create_app(settings_for("http://letta", first_event_seconds=20), upstream=letta)
    with served(app) as url, http(url) as client:
        return client.post("/v1/chat/completions", json=body)


def assert_is_internal_error(error: dict[str, Any]) -> None:
    assert (error["code"], error["type"], error["param"]) == ("internal_error", "api_error", None)
    assert error["message"]


def assert_log_tells_where_and_not_what(caplog: pytest.LogCaptureFixture) -> None:
    assert "unexpected RuntimeError" in caplog.text
    assert "memory_letta.py" in caplog.text
    assert SECRET not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("call", ["find_agents", "create_agent", "create_conversation", "run"])
def test_a_bug_before_the_answer_is_a_500_that_tells_nothing(
    caplog: pytest.LogCaptureFixture, call: str, stream: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    letta = MemoryLetta()
    letta.fail(call, bug())
    response = ask(letta, chat(stream=stream))

    assert response.status_code == 500
    assert_is_internal_error(response.json()["error"])
    assert SECRET not in response.text
    assert response.headers["x-request-id"] in caplog.text
    assert_log_tells_where_and_not_what(caplog)


def test_a_bug_within_a_whole_answer_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    letta = MemoryLetta()
    letta.scripts = [[[ping()], [answer("Hello")], bug()]]
    response = ask(letta, chat())

    assert response.status_code == 500
    assert_is_internal_error(response.json()["error"])
    assert_log_tells_where_and_not_what(caplog)


# what came before -> the content that the client has in the end
BEFORE: dict[str, tuple[list[Step], str]] = {
    "an answer": ([[ping()], [answer("Hello")]], "Hello"),
    "a thought": ([[ping()], [reasoning("Hm.")]], "<think>Hm.</think>"),
}


@pytest.mark.parametrize(("steps", "content"), BEFORE.values(), ids=BEFORE)
def test_a_bug_within_a_stream_is_an_error_frame_and_a_clean_end(
    caplog: pytest.LogCaptureFixture, steps: list[Step], content: str
) -> None:
    caplog.set_level(logging.DEBUG)
    letta = MemoryLetta()
    letta.scripts = [[*steps, bug()]]
    response = ask(letta, chat(stream=True))

    *chunks, error, done = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert (response.status_code, done) == (200, "[DONE]")
    assert_is_internal_error(json.loads(error)["error"])
    assert content == "".join(json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert SECRET not in response.text
    assert_log_tells_where_and_not_what(caplog)


def test_a_bug_behind_readyz_is_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    letta = MemoryLetta()
    letta.fail("check_health", bug())
    with served(create_app(settings_for("http://letta"), upstream=letta)) as url, httpx.Client(base_url=url) as client:
        response = client.get("/readyz")

    assert response.status_code == 500
    assert_is_internal_error(response.json()["error"])
    assert_log_tells_where_and_not_what(caplog)


def test_after_a_bug_the_next_request_is_answered() -> None:
    letta = MemoryLetta()
    letta.fail("create_agent", bug())
    with served(create_app(settings_for("http://letta"), upstream=letta)) as url, http(url) as client:
        statuses = [client.post("/v1/chat/completions", json=chat()).status_code for _ in range(2)]

    assert statuses == [500, 200]


# What a server other than uvicorn might pass on


def app(letta: MemoryLetta) -> Any:
    return create_app(settings_for("http://letta"), upstream=letta)


@pytest.mark.anyio
async def test_an_empty_message_after_the_body_is_not_a_client_that_left() -> None:
    body = {"type": "http.request", "body": json.dumps(chat()).encode(), "more_body": False}
    start, content, *_ = await call(app(MemoryLetta()), post(), body, {"type": "http.request", "body": b""})

    assert start["status"] == 200
    assert json.loads(content["body"])["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.anyio
async def test_what_litestar_refuses_by_itself_is_a_400_in_the_envelope() -> None:
    start, content, *_ = await call(app(MemoryLetta()), post(**{"content-length": "many"}))

    assert start["status"] == 400
    assert json.loads(content["body"])["error"]["type"] == "invalid_request_error"


@pytest.mark.anyio
async def test_a_websocket_is_closed() -> None:
    scope = {"type": "websocket", "scheme": "ws", "path": "/v1/models", "raw_path": b"/v1/models", "headers": []}
    sent = await call(app(MemoryLetta()), {**scope, "subprotocols": []}, {"type": "websocket.connect"})

    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_client_that_leaves_within_its_body_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
    with FakeLetta() as letta, gateway(letta.base_url) as url:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as client:
            client.sendall(f"{head}content-type: application/json\r\ncontent-length: 99\r\n\r\n{SECRET}".encode())
        with http(url) as other:
            assert other.post("/v1/chat/completions", json=chat()).status_code == 200

    assert letta.count("POST", "/messages") == 1
    assert "unexpected" not in caplog.text
    assert SECRET not in caplog.text
    assert KEY not in caplog.text
