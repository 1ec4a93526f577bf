"""The record of each request: its line in the log, by outcome, and what the fields hold."""

import asyncio
import json
import logging
import re
import threading
import time
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.domain.errors import InvalidRequest, ModelNotFound
from gateway.domain.events import TokensCounted
from gateway.http.record import Record
from tests.gateways import KEY, chat, gateway, http, settings_for
from tests.http.asgi import call, post
from tests.http.wire import Wire
from tests.servers.fake_letta import ANSWER, PING, THOUGHT, WORD, Cut, FakeLetta, Hold, Step
from tests.turns.memory_letta import MemoryLetta

URL = "/v1/chat/completions"
CHAT = chat("a secret prompt", user="secret-user", metadata={"chat_id": "c"})
STREAM = {**CHAT, "stream": True}
USAGE = {"stream_options": {"include_usage": True}}
LINE = re.compile(r"req_[0-9a-f]{32} (.*?)(?: \d+ ms(.*))?")


def lines_of(caplog: pytest.LogCaptureFixture, count: int = 1) -> list[str]:
    """The log's lines of so many requests, without ids and times. A line comes when its response has gone."""
    until = time.monotonic() + 10
    while len(logged := [one for one in caplog.messages if one.startswith("req_")]) < count:
        assert time.monotonic() < until, "a request has no line"
        time.sleep(0.01)
    found = [LINE.fullmatch(line) for line in logged]
    return [f"{line[1]}{line[2] or ''}" for line in found if line]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")


# what a client asks, and what Letta says -> the line
ANSWERED: dict[str, tuple[dict[str, Any], list[Step], str]] = {
    "a whole answer": ({"json": CHAT}, ANSWER, "POST /v1/chat/completions 200"),
    "a stream": ({"json": STREAM}, ANSWER, "POST /v1/chat/completions 200"),
    "a stream with its usage": ({"json": {**STREAM, **USAGE}}, ANSWER, "POST /v1/chat/completions 200"),
    "a background task": (
        {"json": STREAM, "headers": {"x-task": "title_generation"}},
        [],
        "POST /v1/chat/completions 200",
    ),
    "the models": ({"method": "GET", "url": "/v1/models"}, [], "GET /v1/models 200"),
    "no such address": ({"method": "GET", "url": "/secret"}, [], "GET - 404 unknown_url"),
    "no such method": ({"method": "PUT", "url": "/v1/models"}, [], "PUT - 405 method_not_supported"),
    "no key": ({"json": CHAT, "headers": {"authorization": ""}}, [], "POST /v1/chat/completions 401 invalid_api_key"),
    "no JSON": (
        {"content": b"{", "headers": {"content-type": "application/json"}},
        [],
        "POST /v1/chat/completions 400 invalid_request_error",
    ),
    "no such model": ({"json": {**CHAT, "model": "secret"}}, [], "POST /v1/chat/completions 404 model_not_found"),
    "a failure before a whole answer": (
        {"json": CHAT},
        [PING, WORD, Cut()],
        "POST /v1/chat/completions 502 upstream_broken",
    ),
    "a failure before a stream": ({"json": STREAM}, [PING, Cut()], "POST /v1/chat/completions 502 upstream_broken"),
    "a failure within a stream": (
        {"json": STREAM},
        [PING, WORD, Cut()],
        "POST /v1/chat/completions 200 upstream_broken",
    ),
}


@pytest.mark.parametrize(("asked", "steps", "line"), ANSWERED.values(), ids=ANSWERED)
def test_a_request_has_a_line_that_says_how_it_ended(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture, asked: dict[str, Any], steps: list[Step], line: str
) -> None:
    letta.steps = steps
    with gateway(letta.base_url, first_event_seconds=20) as url, http(url) as client:
        response = client.request(**{"method": "POST", "url": URL, **asked})

        assert lines_of(caplog) == [line]
    assert response.headers["x-request-id"] in caplog.text
    assert not any(secret in caplog.text for secret in ("secret", KEY))


@pytest.mark.anyio
@pytest.mark.parametrize(("body", "status"), [(CHAT, 499), (STREAM, 200)], ids=["whole", "stream"])
async def test_a_client_that_leaves_is_told_in_its_line(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture, body: dict[str, Any], status: int
) -> None:
    letta.steps = [PING, THOUGHT, Hold()]
    with gateway(letta.base_url) as url:
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
            asking = asyncio.create_task(client.post(URL, json=body))
            await asyncio.to_thread(letta.run_begun.wait, 10)
            asking.cancel()
        assert await asyncio.to_thread(lines_of, caplog) == [f"POST {URL} {status} client_left"]


def test_a_client_that_leaves_before_the_first_word_is_told_in_its_line(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture
) -> None:
    letta.steps = [PING, Hold()]
    with gateway(letta.base_url, first_event_seconds=0.05) as url, http(url) as client:
        with client.stream("POST", URL, json=STREAM):
            assert letta.run_begun.wait(10)
        assert lines_of(caplog) == [f"POST {URL} 200 client_left"]


def test_one_answer_too_many_is_told_in_its_line(letta: FakeLetta, caplog: pytest.LogCaptureFixture) -> None:
    enough = threading.Event()
    letta.steps = [PING, enough, *ANSWER]
    settings: dict[str, Any] = {"max_streams": 1, "first_event_seconds": 0.05}
    with gateway(letta.base_url, **settings) as url, http(url) as client, client.stream("POST", URL, json=STREAM) as r:
        client.post(URL, json=CHAT)
        enough.set()
        r.read()

        assert lines_of(caplog, 2) == ["POST - 503 overloaded", f"POST {URL} 200"]


def test_no_http_has_a_line_without_a_method(letta: FakeLetta, caplog: pytest.LogCaptureFixture) -> None:
    with gateway(letta.base_url) as url, Wire(url) as wire:
        assert wire.send(b"\0\r\n\r\n").answer().status == 400

    assert lines_of(caplog) == ["- - 400 - invalid_http"]


async def recorded(app: Any, body: dict[str, Any], **headers: str) -> Record:
    """The record of a request, once it is over."""
    state: dict[str, Any] = {}
    received = {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
    await call(app, {**post(**headers), "state": state}, received)
    record: Record = state["record"]
    assert record.first_frame_seconds is not None
    assert record.seconds is not None
    assert 0 <= record.first_frame_seconds <= record.seconds
    return record


def fields(record: Record) -> tuple[str | None, str | None, str | None, int | None, str | None]:
    return record.key, record.model, record.agent_type, record.status, record.outcome


@pytest.mark.anyio
@pytest.mark.parametrize("body", [CHAT, {**STREAM, **USAGE}], ids=["whole", "stream"])
async def test_a_record_says_what_was_asked_and_what_became_of_it(body: dict[str, Any]) -> None:
    record = await recorded(create_app(settings_for("http://letta"), upstream=MemoryLetta()), body)

    assert fields(record) == ("programs", "tutor", "tutor", 200, None)
    assert (record.joined, record.left) == (False, False)
    assert record.tokens == TokensCounted(11, 7, 18)


@pytest.mark.anyio
async def test_the_record_of_a_background_task_has_no_agent_type() -> None:
    app = create_app(settings_for("http://letta"), upstream=MemoryLetta())
    record = await recorded(app, CHAT, **{"x-task": "title_generation"})

    assert fields(record) == ("programs", "tutor", None, 200, None)


@pytest.mark.anyio
async def test_the_record_of_a_request_that_came_again_says_that_it_joined_its_run() -> None:
    app = create_app(settings_for("http://letta"), upstream=MemoryLetta())
    records = [await recorded(app, CHAT, **{"idempotency-key": "once"}) for _ in range(2)]

    assert [record.joined for record in records] == [False, True]


def test_an_error_without_a_code_is_named_by_its_type() -> None:
    record = Record("req_1", "POST", "/v1/chat/completions", status=400, seconds=0.0012)

    assert record.line == "req_1 POST /v1/chat/completions 400 1 ms"
    record.fail(InvalidRequest("no"))
    assert record.line == "req_1 POST /v1/chat/completions 400 1 ms invalid_request_error"
    record.fail(ModelNotFound("m"))
    assert record.line == "req_1 POST /v1/chat/completions 400 1 ms model_not_found"
    assert not record.left
