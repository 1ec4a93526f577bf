"""What a connection may bring before a key is looked at: how much, in what time, how many at once."""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import msgspec
import pytest

from gateway.connection import Limits
from tests.gateways import KEY, chat, gateway, http
from tests.http.wire import JSON, Answer, Wire, chunked, outlast, read_body, request, tell_request
from tests.servers.fake_letta import ANSWER, PING, FakeLetta
from tests.servers.threads import LIMITS, served

KIB = 1024
MOST = 64 * KIB
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + KEY.encode() + b"\r\n" + JSON
CHUNKS = b"transfer-encoding: chunked\r\n\r\n"
TOO_LARGE = (431, "invalid_request_error", "headers_too_large")
TOO_LATE = (408, "invalid_request_error", "request_timeout")
NO_HTTP = (400, "invalid_request_error", "invalid_http")
BUSY = (503, "api_error", "overloaded")
QUICK = msgspec.structs.replace(LIMITS, head_seconds=0.3, still_seconds=0.3, slow_seconds=0.3, linger_seconds=0.3)


FIRST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def standing() -> Iterator[str]:
    """A gateway for all tests that ask nothing of its Letta."""
    with FakeLetta() as letta, gateway(letta.base_url) as url:
        yield url


# How much

# What is sent, over and over, after what begins it
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "one long header": (b"GET /healthz HTTP/1.1\r\nx: ", b"a" * KIB),
    "one long name": (b"GET /healthz HTTP/1.1\r\n", b"a" * KIB),
    "many small headers": (b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n"),
    "a long request line": (b"GET /", b"a" * KIB),
    "a long method": (b"GET" * MOST, b"GET"),
    "empty lines": (b"\r\n", b"\r\n" * KIB),
    "trailers": (CHAT + CHUNKS + b"0\r\n", b"a: " + b"b" * KIB + b"\r\n"),
    "small trailers": (CHAT + CHUNKS + b"0\r\n", b"a: b\r\n"),
    "one long trailer": (CHAT + CHUNKS + b"0\r\na: ", b"b" * KIB),
    "a long extension of a chunk": (CHAT + CHUNKS + b"1;a=", b"b" * KIB),
    "an extension of every chunk": (CHAT + CHUNKS, b"1;a=" + b"b" * KIB + b"\r\nx\r\n"),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
def test_headers_without_end_are_refused_on_the_way(standing: str, second: bool, begin: bytes, more: bytes) -> None:
    with Wire(standing) as wire:
        if second:
            assert wire.send(FIRST).answer().status == 200
        packet = more * (MOST // len(more))
        wire.send_what_goes([begin, *repeat(packet, 50_000_000 // len(packet))])
        expected = NO_HTTP if begin.startswith(b"GETGET") else TOO_LARGE
        assert wire.answer().refusal == expected
        assert wire.is_closed()


def _head(size: int) -> bytes:
    """A request whose head has this size."""
    begin, end = b"GET /a HTTP/1.1\r\nhost: x\r\nx: ", b"\r\n\r\n"
    return begin + b"a" * (size - len(begin) - len(end)) + end


@pytest.mark.parametrize(("size", "status"), [(MOST, 200), (MOST + 1, 431)])
@pytest.mark.parametrize("packet", [MOST + 1, 1000], ids=["one packet", "many packets"])
def test_a_head_may_have_64_kib(size: int, status: int, packet: int) -> None:
    head = _head(size)
    with served(tell_request) as url, Wire(url) as wire:
        for _ in range(2):
            wire.send_what_goes(head[i : i + packet] for i in range(0, size, packet))
            assert wire.answer().status == status
            if status != 200:
                break


@pytest.mark.parametrize(("count", "status"), [(200, 200), (201, 431)])
def test_a_request_may_have_200_headers(count: int, status: int) -> None:
    with served(tell_request) as url, Wire(url) as wire:
        wire.send(b"GET /a HTTP/1.1\r\n" + b"a:b\r\n" * count + b"\r\n")
        assert wire.answer().status == status


def test_small_chunks_are_a_body_as_good_as_any() -> None:
    body = b"x" * (MOST // 2)
    with served(tell_request) as url, Wire(url) as wire:
        wire.send(request_in_chunks(chunked(*(bytes([byte]) for byte in body))))
        assert wire.answer().json()["body"].encode() == body


def request_in_chunks(body: bytes) -> bytes:
    return b"POST /a HTTP/1.1\r\nhost: x\r\n" + CHUNKS + body


def test_a_trailer_is_no_header() -> None:
    packets = request_in_chunks(chunked(b"abc", trailers=b"x-user: eve\r\nauthorization: Bearer x\r\n"))
    with served(tell_request) as url, Wire(url) as wire:
        told = wire.send(packets).answer().json()

    assert told["headers"] == [["host", "x"], ["transfer-encoding", "chunked"]]


# In what time

LENGTH = b"content-length: 100\r\n\r\n"
UNFINISHED: dict[str, bytes] = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half a request line": b"GET /hea",
    "half a head": b"GET /healthz HTTP/1.1\r\nhost: x\r\n",
    "no body": CHAT + LENGTH,
    "half a body": CHAT + LENGTH + b"{",
    "no chunk": CHAT + CHUNKS,
    "half a chunk": CHAT + CHUNKS + b"9\r\nabc",
    "no last chunk": CHAT + CHUNKS + b"1\r\n{\r\n",
    "half a trailer": CHAT + CHUNKS + b"1\r\n{\r\n0\r\na: b",
}
SLOW: dict[str, Limits] = {
    "that stands still": msgspec.structs.replace(QUICK, slow_seconds=60),
    "that is slow": msgspec.structs.replace(QUICK, still_seconds=60),
}


@pytest.mark.parametrize("limits", SLOW.values(), ids=SLOW)
def test_what_does_not_come_to_its_end_is_a_408(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture, limits: Limits
) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")
    with gateway(letta.base_url, limits=limits) as url, ThreadPoolExecutor() as pool:
        asked = {f"{name}, {before!r}": (before, sent) for name, sent in UNFINISHED.items() for before in (b"", FIRST)}
        late = dict(zip(asked, pool.map(lambda one: _late(url, *one), asked.values()), strict=True))

    assert {name: answer.refusal for name, answer in late.items()} == dict.fromkeys(asked, TOO_LATE)
    for answer in late.values():
        assert _logged(caplog, answer) == [" 408 "]


def _late(url: str, before: bytes, sent: bytes) -> Answer:
    """What is said to a request that does not come to its end, the first on its connection or the second."""
    if not before:
        return _refused(url, sent)
    with Wire(url) as wire:
        assert wire.send(before).answer().status == 200
        answer = wire.send(sent or b"\r\n").answer()
        assert wire.is_closed()
    return answer


def test_a_body_that_goes_on_slowly_but_not_too_slowly_is_read() -> None:
    limits = msgspec.structs.replace(QUICK, still_seconds=60, slow_bytes=10)
    with served(tell_request, limits) as url, Wire(url) as wire:
        wire.send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 40\r\n\r\n", b"a" * 20)
        outlast(url)
        assert wire.send(b"a" * 20).answer().json()["body"] == "a" * 40


def test_an_idle_connection_outlasts_those_times() -> None:
    with served(tell_request, QUICK) as url, Wire(url) as wire:
        for _ in range(2):
            assert wire.send(request(b"POST /a HTTP/1.1", b"abc")).answer().status == 200
            outlast(url)


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def waiting(go_on: threading.Event, begins_at_once: bool) -> Callable[..., Any]:
    """An application that answers in two parts, once it may: both of them then, or the first one before."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await read_body(receive)
        if begins_at_once:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"be", "more_body": True})
        leaving = asyncio.create_task(receive())
        await asyncio.to_thread(go_on.wait, 30)
        leaving.cancel()
        if not begins_at_once:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"be", "more_body": True})
        await send({"type": "http.response.body", "body": b"gun"})

    return app


# What comes behind a request -> what is said of it after the answer
BEHIND: dict[str, tuple[bytes, tuple[int, str, str] | None]] = {
    "nothing": (b"", None),
    "half a request": (b"GET / HT", TOO_LATE),
    "no HTTP": (b"?\0", None),
    "too much": (b"GET /" + b"a" * 2 * MOST, None),
}


@pytest.mark.parametrize(("behind", "then"), BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("begins_at_once", [True, False], ids=["a stream", "a line"])
def test_an_answer_under_way_is_given_whatever_comes_behind_its_request(
    go_on: threading.Event, begins_at_once: bool, behind: bytes, then: tuple[int, str, str] | None
) -> None:
    with served(waiting(go_on, begins_at_once), QUICK) as url, Wire(url) as wire:
        wire.send(request(b"POST /a HTTP/1.1", b"abc"), behind)
        outlast(url)
        go_on.set()
        assert wire.answer().body == b"begun"
        if then:
            assert wire.answer().refusal == then
        assert not behind or wire.is_closed()


def test_who_was_answered_before_the_body_s_end_is_not_answered_again(letta: FakeLetta) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + JSON + LENGTH
    with gateway(letta.base_url, limits=QUICK) as url, Wire(url) as wire:
        assert wire.send(head, b"{").answer().status == 401
        assert wire.is_closed()


# What the client takes

BIG = b"x" * 30_000_000


async def say_much_at_once(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"30000000")]})
        await send({"type": "http.response.body", "body": BIG})


async def say_much_in_pieces(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"30000000")]})
        for start in range(0, len(BIG), MOST):
            await send({"type": "http.response.body", "body": BIG[start : start + MOST], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


MUCH = {"at once": say_much_at_once, "in pieces": say_much_in_pieces}
UNREAD = msgspec.structs.replace(QUICK, unread_seconds=0.2)


@pytest.mark.parametrize("app", MUCH.values(), ids=MUCH)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_client_that_takes_nothing_for_the_time_is_cut_off(app: Any, version: bytes) -> None:
    with served(app, UNREAD) as url, Wire(url) as wire:
        wire.send(request(b"GET /a HTTP/" + version))
        outlast(url)
        assert wire.size_of_rest() < len(BIG)


@pytest.mark.parametrize("app", MUCH.values(), ids=MUCH)
def test_a_client_that_takes_it_slowly_gets_it_all(app: Any) -> None:
    with served(app, UNREAD) as url, Wire(url) as wire:
        wire.send(request(b"GET /a HTTP/1.0"))
        assert wire.size_of_rest(piece=256 * KIB, pause=0.01) > len(BIG)


@pytest.mark.parametrize("app", MUCH.values(), ids=MUCH)
def test_a_connection_over_which_much_was_sent_is_used_again(app: Any) -> None:
    with served(app, UNREAD) as url, Wire(url) as wire:
        for _ in range(3):
            assert wire.send(request(b"GET /a HTTP/1.1")).answer().body == BIG
            outlast(url)


# How many


def test_requests_sent_together_are_answered_in_their_order() -> None:
    with served(tell_request) as url, Wire(url) as wire:
        wire.send(b"".join(request(b"GET /%d HTTP/1.1" % i) for i in range(40)))
        assert [wire.answer().json()["request"] for _ in range(40)] == [f"GET /{i}?" for i in range(40)]


def test_too_many_requests_sent_together_are_not_all_kept() -> None:
    limits = msgspec.structs.replace(LIMITS, waiting=3)
    with served(tell_request, limits) as url, Wire(url) as wire:
        wire.send(b"".join(request(b"GET /%d HTTP/1.1" % i) for i in range(40)))
        assert [wire.answer().json()["request"] for _ in range(4)] == [f"GET /{i}?" for i in range(4)]
        assert wire.is_closed()


def test_a_connection_too_many_is_told_so_until_another_one_ends() -> None:
    limits = msgspec.structs.replace(LIMITS, connections=2)
    ask = request(b"GET /a HTTP/1.1")
    with served(tell_request, limits) as url, Wire(url) as one:
        with Wire(url) as two:
            assert [wire.send(ask).answer().status for wire in (one, two)] == [200, 200]
            with Wire(url) as three:
                answer = three.answer()
                assert (answer.refusal, answer.values("retry-after")) == (BUSY, ["5"])
                assert three.is_closed()
            assert two.send(ask + b"?").answer().status == 200
            assert two.is_closed()
        with Wire(url) as four:
            assert four.send(ask).answer().status == 200


def test_one_answer_too_many_is_told_so_and_nothing_else_is_held(letta: FakeLetta, go_on: threading.Event) -> None:
    letta.steps = [PING, go_on, *ANSWER[1:]]
    with gateway(letta.base_url, max_streams=1) as url, http(url) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, "/v1/chat/completions", json=chat())
        assert letta.run_begun.wait(10)
        second = client.post("/v1/chat/completions", json=chat("second", user="bob"))
        health = client.get("/healthz")
        go_on.set()
        assert first.result(30).status_code == 200
        third = client.post("/v1/chat/completions", json=chat("third"))

    error = second.json()["error"]
    assert (second.status_code, error["type"], error["code"]) == BUSY
    assert second.headers["retry-after"] == "5"
    assert (health.status_code, third.status_code) == (200, 200)


# What is no HTTP

BROKEN: dict[str, bytes] = {
    "a greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2, without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": b"\0\r\n\r\n",
    "a space in a name": b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
    "lines that end with LF": b"GET / HTTP/1.1\nhost: x\n\n",
    "a header that goes on": b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
    "an address that is none": b"GET http://[/ HTTP/1.1\r\n\r\n",
    "a length and chunks": CHAT + b"content-length: 3\r\n" + CHUNKS,
    "two lengths": CHAT + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "a length that is none": CHAT + b"content-length: -1\r\n\r\n",
    "a size of a chunk that is none": CHAT + CHUNKS + b"x\r\n",
    "a chunk longer than its size": CHAT + CHUNKS + b"1\r\nabc\r\n",
}


def test_what_is_no_http_is_refused_as_everything_else_is(letta: FakeLetta, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")
    with gateway(letta.base_url) as url:
        refused = {name: _refused(url, sent) for name, sent in BROKEN.items()}

    assert {name: answer.refusal for name, answer in refused.items()} == dict.fromkeys(BROKEN, NO_HTTP)
    for answer in refused.values():
        assert _logged(caplog, answer) == [" 400 "]


def _refused(url: str, sent: bytes) -> Answer:
    """What ends the connection of who sends this."""
    with Wire(url) as wire:
        answer = wire.send(sent).answer()
        assert answer.values("connection") == ["close"]
        assert wire.is_closed()
    return answer


def _logged(caplog: pytest.LogCaptureFixture, answer: Answer) -> list[str]:
    """The statuses in the log's lines with an answer's id."""
    id = answer.values("x-request-id")[0]
    return [found[0] for line in caplog.messages if id in line and (found := re.search(r" \d{3} ", line))]


# HTTP/1.0


@pytest.mark.parametrize(
    ("version", "more", "framing"),
    [
        (b"1.0", b"", (["close"], [])),
        (b"1.0", b"connection: keep-alive\r\n", (["close"], [])),
        (b"1.1", b"connection: close\r\n", (["close"], ["chunked"])),
        (b"1.1", b"", ([], ["chunked"])),
    ],
)
def test_a_stream_says_once_what_becomes_of_its_connection(
    letta: FakeLetta, version: bytes, more: bytes, framing: tuple[list[str], list[str]]
) -> None:
    body = json.dumps(chat(stream=True)).encode()
    head = CHAT.replace(b"HTTP/1.1", b"HTTP/" + version) + more + b"content-length: %d\r\n\r\n" % len(body)
    with gateway(letta.base_url) as url, Wire(url) as wire:
        answer = wire.send(head + body).answer()

    assert (answer.values("connection"), answer.values("transfer-encoding")) == framing
    assert b"Hello" in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_of_known_length_says_so_to_http_1_0_too(letta: FakeLetta, method: str) -> None:
    with gateway(letta.base_url, chat_page=True) as url, Wire(url) as wire:
        answer = wire.send(b"%b / HTTP/1.0\r\nhost: x\r\n\r\n" % method.encode()).answer(method)
        assert (answer.status, answer.values("connection"), wire.is_closed()) == (200, ["close"], True)

    assert len(answer.values("content-length")) == 1
    assert answer.values("transfer-encoding") == []
