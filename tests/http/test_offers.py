"""An offer of another protocol is not taken: the request is answered as if nothing had been offered."""

import json

import pytest
from websockets.sync.client import connect

from tests.gateways import KEY, chat, gateway
from tests.http.wire import JSON, Answer, Wire, chunked, tell_request
from tests.servers.fake_letta import FakeLetta
from tests.servers.threads import served

H2C = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
# The header lines of an offer, as clients send them
OFFERS: dict[str, bytes] = {
    "Java's and curl's": b"Connection: Upgrade, HTTP2-Settings\r\n" + H2C,
    "in two lines": b"Connection: HTTP2-Settings\r\nConnection: Upgrade\r\n" + H2C,
    "in small letters": b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n",
    "of several protocols": b"Connection: Upgrade\r\nUpgrade: h2c, HTTP/3.0\r\nUpgrade: IRC/6.9\r\n",
    "of a WebSocket, where none is served": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n",
    "of TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
}
# A body that looks like a request with an offer, were it read as one
TRAP = b"POST /trap HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc"
# Framing headers and the body with them, and what the application gets
BODIES: dict[str, tuple[bytes, bytes]] = {
    "none": (b"", b""),
    "with its length": (b"Content-Length: %d\r\n" % len(TRAP) + b"\r\n" + TRAP, TRAP),
    "in chunks": (b"Transfer-Encoding: chunked\r\n\r\n" + chunked(TRAP[:40], TRAP[40:]), TRAP),
    "in chunks with trailers": (
        b"Transfer-Encoding: chunked\r\n\r\n" + chunked(TRAP, trailers=b"Upgrade: h2c\r\n"),
        TRAP,
    ),
}
NEXT = b"GET /next?b=2 HTTP/1.1\r\nHost: x\r\n\r\n"


def told(answer: Answer) -> tuple[str, bytes]:
    said = answer.json()
    return said["request"], said["body"].encode("latin-1")


def asking(offer: bytes, body: bytes) -> bytes:
    return b"POST /asked?a=1 HTTP/1.1\r\nHost: x\r\n" + offer + (body or b"\r\n")


@pytest.mark.parametrize(("sent", "body"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_a_request_with_an_offer_is_read_to_its_end_however_its_packets_are_cut(
    offer: bytes, sent: bytes, body: bytes
) -> None:
    whole = asking(offer, sent)
    head = whole.index(b"\r\n\r\n") + 4
    packets = [
        [whole + NEXT],
        [whole, NEXT],
        [whole[:head], whole[head:] + NEXT],
        [whole[: head - 1], whole[head - 1 :], NEXT],
        [bytes([byte]) for byte in whole + NEXT],
    ]
    with served(tell_request) as url:
        for cut in packets:
            with Wire(url) as wire:
                wire.send(*cut)
                assert ("POST /asked?a=1", body) == told(wire.answer())
                assert told(wire.answer()) == ("GET /next?b=2", b"")


def test_two_requests_with_an_offer_in_one_packet_are_two_requests() -> None:
    offer, (sent, body) = OFFERS["Java's and curl's"], BODIES["with its length"]
    with served(tell_request) as url, Wire(url) as wire:
        wire.send(asking(offer, sent) * 2)
        assert [("POST /asked?a=1", body)] * 2 == [told(wire.answer()), told(wire.answer())]


def test_all_but_the_offer_reaches_the_application() -> None:
    lines = b"X-One: 1\r\nX-Two: \xc3\xa4 b\r\nX-Two: c\r\nX-Empty:\r\n"
    with served(tell_request) as url, Wire(url) as wire:
        headers = wire.send(asking(lines + OFFERS["Java's and curl's"], b"")).answer().json()["headers"]

    expected = [["host", "x"], ["x-one", "1"], ["x-two", "Ã¤ b"], ["x-two", "c"], ["x-empty", ""]]
    settings = ["http2-settings", "AAMAAABkAAQAAP__"]
    assert [*expected, ["connection", "Upgrade, HTTP2-Settings"], settings] == headers


def test_a_connection_that_is_to_end_ends_after_an_offer_too() -> None:
    with served(tell_request) as url, Wire(url) as wire:
        wire.send(asking(b"Connection: close, Upgrade\r\n" + H2C, b""))
        answer = wire.answer()
        assert (answer.values("connection"), wire.is_closed()) == (["close"], True)


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_is_answered_to_whoever_offers_http_2(letta: FakeLetta, stream: bool) -> None:
    body = json.dumps(chat(stream=stream)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer " + KEY.encode() + b"\r\n" + JSON
    head += OFFERS["Java's and curl's"] + b"content-length: %d\r\n\r\n" % len(body)
    with gateway(letta.base_url) as url, Wire(url) as wire:
        answers = [wire.send(head, body).answer(), wire.send(head + body).answer()]

    assert [answer.status for answer in answers] == [200, 200]
    assert all(b"Hello" in answer.body for answer in answers)
    assert letta.said == [["hello"], ["hello"]]


# A WebSocket where one is served


def test_a_websocket_is_served_where_the_application_has_one() -> None:
    with served(tell_request, ws="websockets-sansio") as url:
        with connect(url.replace("http", "ws")) as socket:
            socket.send("hello")
            assert socket.recv(timeout=30) == "hello"
        with Wire(url) as wire:
            sent, body = BODIES["with its length"]
            assert ("POST /asked?a=1", body) == told(wire.send(asking(OFFERS["Java's and curl's"], sent)).answer())


def test_a_connect_is_no_offer(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, Wire(url) as wire:
        answer = wire.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n" + OFFERS["Java's and curl's"] + b"\r\n")
        assert answer.answer().refusal == (400, "invalid_request_error", "invalid_http")
