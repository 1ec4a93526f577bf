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
from tests.readme import ROOT
from tests.servers.fake_letta import ANSWER, PING, THOUGHT, WORD, Cut, FakeLetta, Hold, Step
from tests.turns.memory_letta import MemoryLetta

URL = "/v1/chat/completions"
CHAT = chat("a secret prompt", user="secret-user", metadata={"chat_id": "c"})
STREAM = {**CHAT, "stream": True}
USAGE = {"stream_options": {"include_usage": True}}
LINE = re.compile(r"req_[0-9a-f]{32} (.*?)(?: \d+ ms(.*))?")
# What differs from one run to the next: the time of the first word, the end of an agent's name, and whether a stream's
# usage, which comes behind its end, was there before that.
VARIES = re.compile(r"(?<= first=)\d+(?=ms)|(?<= agent=tutor-)[0-9a-f]{12}")
LATE = re.compile(r"(?<=ms) tokens=3\+2")


def lines_of(caplog: pytest.LogCaptureFixture, count: int = 1) -> list[str]:
    """The log's lines of so many requests, without ids and times. A line comes when its response has gone."""
    until = time.monotonic() + 10
    while len(logged := [one for one in caplog.messages if one.startswith("req_")]) < count:
        assert time.monotonic() < until, "a request has no line"
        time.sleep(0.01)
    found = [LINE.fullmatch(line) for line in logged]
    return [LATE.sub("", VARIES.sub("*", f"{line[1]}{line[2] or ''}")) for line in found if line]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")


WHO = "key=programs model=tutor agent=tutor-*"
BROKEN = f'upstream_broken {WHO} why="BrokenStream: closed by the server"'
# what a client asks, and what Letta says -> the line
ANSWERED: dict[str, tuple[dict[str, Any], list[Step], str]] = {
    "a whole answer": ({"json": CHAT}, ANSWER, f"POST {URL} 200 {WHO} tokens=3+2"),
    "a stream": ({"json": STREAM}, ANSWER, f"POST {URL} 200 {WHO} first=*ms"),
    "a stream with its usage": ({"json": {**STREAM, **USAGE}}, ANSWER, f"POST {URL} 200 {WHO} first=*ms"),
    "a background task": (
        {"json": STREAM, "headers": {"x-task": "title_generation"}},
        [],
        f"POST {URL} 200 key=programs model=tutor task=title_generation first=*ms",
    ),
    "a task that holds anything": (
        {"json": CHAT, "headers": {"x-task": "a secret task"}},
        [],
        f"POST {URL} 200 key=programs model=tutor task=…",
    ),
    "the models": ({"method": "GET", "url": "/v1/models"}, [], "GET /v1/models 200 key=programs"),
    "no such address": ({"method": "GET", "url": "/metrics?q=secret"}, [], "GET /metrics 404 unknown_url"),
    "an address that holds anything": (
        {"method": "GET", "url": "/v1/a%20secret%22%0A/secret/runs"},
        [],
        "GET /v1/…/…/runs 404 unknown_url",
    ),
    "a long address": (
        {"method": "GET", "url": "/v1" * 500},
        [],
        f'GET {"/v1" * 9}/… 404 unknown_url why="The base URL ends with /v1: once"',
    ),
    "a model's address": (
        {"method": "GET", "url": "/v1/models/an%20openai/gpt-4o"},
        [],
        "GET /v1/models/…/… 404 model_not_found key=programs asked=…/gpt-4o param=model",
    ),
    "a base URL without its end": (
        {"json": CHAT, "url": "/chat/completions"},
        [],
        'POST /chat/completions 404 unknown_url why="The base URL ends with /v1"',
    ),
    "another API": (
        {"json": CHAT, "url": "/v1/audio/speech"},
        [],
        "POST /v1/audio/speech 404 unknown_url why=\"Agents neither speak nor listen: point the client's speech at a "
        'model that does"',
    ),
    "no such method": (
        {"method": "PUT", "url": "/v1/models"},
        [],
        'PUT /v1/models 405 method_not_supported why="It takes GET requests"',
    ),
    "no key": (
        {"json": CHAT, "headers": {"authorization": ""}},
        [],
        f"POST {URL} 401 invalid_api_key "
        'why="You didn\'t provide an API key: send the header `Authorization: Bearer KEY`."',
    ),
    "a wrong key": (
        {"json": CHAT, "headers": {"authorization": "Bearer secret"}},
        [],
        f'POST {URL} 401 invalid_api_key why="Incorrect API key provided."',
    ),
    "no user": (
        {"json": chat("a secret prompt", user=None)},
        [],
        f"POST {URL} 400 user_required key=programs model=tutor param=user "
        'why="This key needs to know who is asking: send `user` in the body or `safety_identifier` in the body."',
    ),
    "no JSON": (
        {"content": b"{", "headers": {"content-type": "application/json"}},
        [],
        f'POST {URL} 400 invalid_request_error key=programs why="The body is not valid JSON in UTF-8."',
    ),
    "no object": (
        {"json": ["secret"]},
        [],
        f"POST {URL} 400 invalid_request_error key=programs "
        'why="The body is not a chat completion request: Expected `object`, got `array`."',
    ),
    "no JSON's type": (
        {"content": b"secret", "headers": {"content-type": "text/secret"}},
        [],
        f'POST {URL} 400 invalid_content_type key=programs why="Expected the header `Content-Type: application/json`."',
    ),
    "an unknown encoding": (
        {"json": CHAT, "headers": {"content-encoding": "secret"}},
        [],
        f"POST {URL} 415 unsupported_content_encoding key=programs",
    ),
    "a tool of no name": (
        {"json": {**CHAT, "tools": [{"type": "function", "function": {"name": "a secret"}}]}},
        [],
        f"POST {URL} 400 invalid_request_error key=programs model=tutor param=tools[0].function.name",
    ),
    "a header twice": (
        {"json": CHAT, "headers": [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer secret")]},
        [],
        f"POST {URL} 400 ambiguous_header param=authorization",
    ),
    "a wrong part": (
        {"json": {**CHAT, "messages": [{"role": "secret"}]}},
        [],
        f"POST {URL} 400 invalid_request_error key=programs param=messages[0].role",
    ),
    "no such model": (
        {"json": {**CHAT, "model": "openai/gpt-4o"}},
        [],
        f"POST {URL} 404 model_not_found key=programs asked=openai/gpt-4o param=model",
    ),
    "a model that holds anything": (
        {"json": {**CHAT, "model": "a secret"}},
        [],
        f"POST {URL} 404 model_not_found key=programs asked=… param=model",
    ),
    "a failure before a whole answer": ({"json": CHAT}, [PING, WORD, Cut()], f"POST {URL} 502 {BROKEN}"),
    "a failure before a stream": ({"json": STREAM}, [PING, Cut()], f"POST {URL} 502 {BROKEN}"),
    "a failure within a stream": (
        {"json": STREAM},
        [PING, WORD, Cut()],
        f"POST {URL} 200 {BROKEN.replace(' why', ' first=*ms why')}",
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
@pytest.mark.parametrize(
    ("body", "status", "told"), [(CHAT, 499, ""), (STREAM, 200, " first=*ms")], ids=["whole", "stream"]
)
async def test_a_client_that_leaves_is_told_in_its_line(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture, body: dict[str, Any], status: int, told: str
) -> None:
    letta.steps = [PING, THOUGHT, Hold()]
    # The first bytes are those of a thought, however long it takes.
    with gateway(letta.base_url, first_event_seconds=20) as url:
        async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
            if body.get("stream"):
                async with client.stream("POST", URL, json=body) as response:
                    await anext(response.aiter_bytes())
            else:
                asking = asyncio.create_task(client.post(URL, json=body))
                await asyncio.to_thread(letta.run_begun.wait, 10)
                asking.cancel()
        assert await asyncio.to_thread(lines_of, caplog) == [f"POST {URL} {status} client_left {WHO}{told}"]


def test_a_client_that_leaves_before_the_first_word_is_told_in_its_line(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture
) -> None:
    letta.steps = [PING, Hold()]
    with gateway(letta.base_url, first_event_seconds=0.05) as url, http(url) as client:
        with client.stream("POST", URL, json=STREAM):
            assert letta.run_begun.wait(10)
        assert lines_of(caplog) == [f"POST {URL} 200 client_left {WHO}"]


@pytest.mark.parametrize("path", [URL, f"/{URL}", f"{URL}/"])
def test_one_answer_too_many_is_told_in_its_line(letta: FakeLetta, caplog: pytest.LogCaptureFixture, path: str) -> None:
    enough = threading.Event()
    letta.steps = [PING, enough, *ANSWER]
    settings: dict[str, Any] = {"max_streams": 1, "first_event_seconds": 0.05}
    with gateway(letta.base_url, **settings) as url, http(url) as client, client.stream("POST", URL, json=STREAM) as r:
        client.post(f"{url}{path}", json=CHAT)
        enough.set()
        r.read()

        assert lines_of(caplog, 2) == [
            f"POST {path} 503 overloaded",
            f"POST {URL} 200 {WHO} first=*ms",
        ]


def test_the_page_is_one_line_and_a_probe_that_is_fine_is_none(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway(letta.base_url, chat_page=True) as url, http(url) as client:
        for path in ("/healthz", "/readyz", "/readyz/", "/", "/web/main.js", "/web/style.css", "/web/none.js"):
            client.get(path)

        assert lines_of(caplog, 2) == ["GET / 200", "GET /web/… 404 unknown_url"]


def test_a_probe_that_fails_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with gateway("http://127.0.0.1:9") as url, http(url) as client:
        client.get("/readyz")

        assert lines_of(caplog) == [
            'GET /readyz 503 upstream_unreachable why="Unreachable: ClientConnectorError"',
        ]


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
    assert record.line == "req_1 POST /v1/chat/completions 400 1 ms invalid_request_error why=no"
    record.fail(ModelNotFound("m"))
    assert record.line == "req_1 POST /v1/chat/completions 400 1 ms model_not_found asked=m param=model"
    assert not record.left


def log_of_the_guide() -> str:
    guide = (ROOT / "deploy/guide/operations.md").read_text(encoding="utf-8")
    return guide.partition("### The log\n")[2].partition("\n#")[0]


def test_the_guide_tells_every_field_of_a_line_in_its_order() -> None:
    record = Record("req_1", "POST", URL, status=200, seconds=1.0, first_frame_seconds=0.5, streamed=True, joined=True)
    for name in ("key", "model", "agent", "task", "asked", "param", "limit", "trace", "why"):
        setattr(record, name, "word")
    record.tokens = TokensCounted(1, 2, 3)

    assert re.findall(r" (\w+)=", record.line) == re.findall(r"^\| `(\w+)` \|", log_of_the_guide(), re.MULTILINE)


def test_the_lines_in_the_guide_look_like_those_of_the_log() -> None:
    lines = log_of_the_guide().split("```")[1].strip().splitlines()
    form = re.compile(
        r"req_[0-9a-f]{4}… (?:GET|POST) /[a-z0-9/]+ \d{3} \d+ ms(?: [a-z_]+)?(?: (?:[a-z]+)=(?:[\w./+-]+|\".*\"))+"
    )

    assert len(lines) > 4
    assert [line for line in lines if not form.fullmatch(line)] == []


@pytest.mark.anyio
async def test_the_tokens_of_a_run_are_told_in_its_line() -> None:
    record = await recorded(create_app(settings_for("http://letta"), upstream=MemoryLetta()), {**STREAM, **USAGE})

    assert record.line.endswith(" tokens=11+7")
