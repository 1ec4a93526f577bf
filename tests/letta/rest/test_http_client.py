"""The small client of HTTP, against real servers on the loopback: what it makes of answers, and how connections end."""

import asyncio
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trustme

from gateway.letta.rest.http_client import ConnectionLimits, HttpAnswer, HttpClient, HttpFailure
from tests.letta.rest.peer import Asked, Handle, Peer, Served, cut_each_way, in_turn, serving

pytestmark = pytest.mark.anyio

LIMITS = ConnectionLimits(connections=100, connect_seconds=10.0, idle_seconds=60.0)
OK = b"HTTP/1.1 200 OK\r\n"
FINE = OK + b"content-length: 2\r\n\r\nok"
BIG = b"x" * 20_000_000
MB = 1_000_000


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The loop of a server of uvicorn's, and Python's own."""
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def client_of(url: str, tls: ssl.SSLContext | None = None, **limits: Any) -> AsyncIterator[HttpClient]:
    client = HttpClient(url, {"Authorization": "Bearer sk"}, msgspec.structs.replace(LIMITS, **limits), tls)
    try:
        yield client
    finally:
        await client.aclose()


async def get(client: HttpClient, body: bytes = b"", seconds: float = 30.0, **how: Any) -> HttpAnswer:
    method = "POST" if body else "GET"
    return await client.ask(method, "/a?b=c", body, seconds=seconds, accept="application/json", **how)


async def failure_of(asking: Awaitable[HttpAnswer]) -> HttpFailure:
    with pytest.raises(HttpFailure) as raised:
        await asking
    return raised.value


async def answer_all(peer: Peer) -> None:
    """Answers every request well."""
    while True:
        await peer.request()
        await peer.send(FINE)


def answering(*answers: bytes, closes: bool = False) -> Handle:
    """Answers one request of a connection after the other with these bytes."""

    async def handle(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)
        if closes:
            peer.close()

    return handle


# What answers are

# name -> what comes, and what that is
ANSWERS: dict[str, tuple[bytes, HttpAnswer]] = {
    "with a length": (FINE, HttpAnswer(200, b"ok")),
    "of no bytes": (OK + b"content-length: 0\r\n\r\n", HttpAnswer(200)),
    "that has no body": (b"HTTP/1.1 204 No Content\r\n\r\n", HttpAnswer(204)),
    "in chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        HttpAnswer(200, b"abcde"),
    ),
    "in chunks, with more than these": (
        OK + b"transfer-encoding: chunked\r\n\r\n1;a=b\r\na\r\n0a\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
        HttpAnswer(200, b"a0123456789"),
    ),
    "until the connection's end": (OK + b"x: y\r\n\r\nall of it", HttpAnswer(200, b"all of it")),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nall of it", HttpAnswer(200, b"all of it")),
    "of HTTP/1.0, with a length": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", HttpAnswer(200, b"ok")),
    "without a word about its status": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", HttpAnswer(200, b"ok")),
    "after the leave to go on": (b"HTTP/1.1 100 Continue\r\n\r\n" + FINE, HttpAnswer(200, b"ok")),
    "after hints": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 2 + FINE, HttpAnswer(200, b"ok")),
    "after the leave to go on, until the end": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall",
        HttpAnswer(200, b"all"),
    ),
    "that refuses": (b"HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\nsecret", HttpAnswer(404)),
    "that refuses, until the end": (b"HTTP/1.1 500 Oops\r\n\r\nsecret", HttpAnswer(500)),
    "that names another place": (
        b"HTTP/1.1 307 There\r\nlocation: /b\r\ncontent-length: 6\r\n\r\nsecret",
        HttpAnswer(307),
    ),
}


@pytest.mark.parametrize(("sent", "answer"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_is_the_same_wherever_it_is_cut(sent: bytes, answer: HttpAnswer) -> None:
    ways = list(cut_each_way(sent))
    coming = iter([*ways, *ways])

    ends = not any(word in sent.lower() for word in (b"length", b"chunked", b"204"))

    async def handle(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*next(coming))
            if ends:
                peer.close()

    async with serving(handle) as served, client_of(served.url) as client:
        assert [await get(client) for _ in ways] == [answer] * len(ways)
        taken = [await _taken(client) for _ in ways]

    assert taken == [(msgspec.structs.replace(answer, body=b""), answer.body)] * len(ways)


async def _taken(client: HttpClient) -> tuple[HttpAnswer, bytes]:
    """An answer whose body is taken as it comes, and what was taken."""
    pieces: list[bytes] = []
    answer = await get(client, take=pieces.append)
    assert all(pieces)
    return answer, b"".join(pieces)


async def test_what_comes_of_a_body_is_handed_on_before_more_comes() -> None:
    taken: asyncio.Queue[bytes] = asyncio.Queue()
    begin = OK + b"transfer-encoding: chunked\r\n\r\n"

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(begin)
        for piece in (b"a", b"b", b"c"):
            await peer.send(b"1\r\n" + piece + b"\r\n")
            assert await taken.get() == piece
        await peer.send(b"1\r\nd\r\n1\r\ne\r\n0\r\n\r\n")

    async with serving(handle) as served, client_of(served.url) as client:
        assert await get(client, take=taken.put_nowait) == HttpAnswer(200)

    assert taken.get_nowait() == b"de"


# name -> what comes, after which the connection ends
CUT: dict[str, bytes] = {
    "before it": b"",
    "within its first line": b"HTTP/1.1 20",
    "within its head": OK + b"content-length: 2\r\n",
    "within its head, after hints": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 ",
    "after the leave to go on": b"HTTP/1.1 100 Continue\r\n\r\n",
    "after hints with a length": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
    "within its body": OK + b"content-length: 3\r\n\r\nok",
    "within a chunk": OK + b"transfer-encoding: chunked\r\n\r\n3\r\nok",
    "before the last chunk": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
    "within a refusal": b"HTTP/1.1 500 Oops\r\ncontent-length: 100\r\n\r\nsecret",
}


@pytest.mark.parametrize("sent", CUT.values(), ids=CUT)
@pytest.mark.parametrize("how", [Peer.close, Peer.reset], ids=["closed", "reset"])
async def test_an_answer_that_is_cut_off_is_none(sent: bytes, how: Callable[[Peer], None]) -> None:
    taken: list[bytes] = []

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        how(peer)

    async with serving(in_turn(handle, answer_all)) as served, client_of(served.url) as client:
        failed = await failure_of(get(client, take=taken.append))
        assert await get(client) == HttpAnswer(200, b"ok")

    assert (failed.stood, failed.silent) == (True, False)
    assert b"".join(taken) in (b"", b"ok")


MALFORMED: dict[str, bytes] = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"\0\0\x12\4\0\0\0\0\0",
    "a status that is none": b"HTTP/1.1 0 Zero\r\n\r\n",
    "a line that ends with LF": b"HTTP/1.1 200 OK\nx: y\n\nabc",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "a length and chunks": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nok",
    "a length that is none": OK + b"content-length: -1\r\n\r\n",
    "a size of a chunk that is none": OK + b"transfer-encoding: chunked\r\n\r\nx\r\n",
    "a chunk longer than its size": OK + b"transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
    "another protocol": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_answer_ends_its_connection(sent: bytes) -> None:
    async with (
        serving(in_turn(answering(sent), answer_all)) as served,
        client_of(served.url) as client,
    ):
        failed = await failure_of(get(client))
        assert await get(client) == HttpAnswer(200, b"ok")

    assert (failed.stood, failed.silent) == (True, False)
    assert served.connections == 2


# Connections that are used again

# name -> an answer, and how many connections two requests then take
KEPT: dict[str, tuple[bytes, int]] = {
    "with a length": (FINE, 1),
    "in chunks": (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
    "a refusal": (b"HTTP/1.1 404 No\r\ncontent-length: 1\r\n\r\nx", 1),
    "without a body": (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
    "of HTTP/1.0 that is kept": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 1),
    "of HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 2),
    "that says so": (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok", 2),
    "with an answer behind it": (FINE + b"HTTP/1.1 500 Oops\r\ncontent-length: 6\r\n\r\nsecret", 2),
    "with half an answer behind it": (FINE + b"HTTP/1.1 200", 2),
    "with hints behind it": (FINE + b"HTTP/1.1 103 Early Hints\r\n\r\n", 2),
    "with no HTTP behind it": (FINE + b"?\0", 2),
    "the last, with no HTTP behind it": (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok?", 2),
}


@pytest.mark.parametrize(("sent", "connections"), KEPT.values(), ids=KEPT)
async def test_a_connection_is_used_again_after_an_answer_that_allows_it(sent: bytes, connections: int) -> None:
    async with serving(answering(sent, FINE)) as served, client_of(served.url) as client:
        first = await get(client)
        assert first.body in (b"ok", b"")
        assert first.status != 500
        assert await get(client) in (first, HttpAnswer(200, b"ok"))

    assert served.connections == connections


async def test_requests_under_way_together_have_a_connection_each_and_later_ones_use_these() -> None:
    met = asyncio.Barrier(3)

    async def handle(peer: Peer) -> None:
        await peer.request()
        await met.wait()
        await peer.send(FINE)
        await answer_all(peer)

    async with serving(handle) as served, client_of(served.url) as client:
        await asyncio.gather(*(get(client) for _ in range(3)))
        for _ in range(5):
            await get(client)

    assert served.connections == 3


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    left: asyncio.Queue[None] = asyncio.Queue()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(FINE)
        await peer.left()
        left.put_nowait(None)

    async with serving(handle) as served, client_of(served.url, idle_seconds=0.05) as client:
        await asyncio.gather(get(client), get(client))
        for _ in range(2):
            await left.get()
        await get(client)
        await left.get()

    assert served.connections == 3


async def test_a_connection_whose_idle_time_is_over_is_not_used_again() -> None:
    async with serving(answer_all) as served, client_of(served.url, idle_seconds=0.0) as client:
        await get(client)
        # Time has passed, and its timer may not have been heard yet.
        await get(client)

    assert served.connections == 2


# What comes over an idle connection
UNASKED: dict[str, Callable[[Peer], Awaitable[None]]] = {
    "a refusal": lambda peer: peer.send(b"HTTP/1.1 408 Timeout\r\nconnection: close\r\n\r\n"),
    "an answer": lambda peer: peer.send(FINE),
    "one byte": lambda peer: peer.send(b"\r"),
}


@pytest.mark.parametrize("send", UNASKED.values(), ids=UNASKED)
async def test_what_nobody_asked_for_ends_an_idle_connection(send: Callable[[Peer], Awaitable[None]]) -> None:
    ended = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(FINE)
        await send(peer)
        await peer.left()
        ended.set()

    async with serving(in_turn(handle, answer_all)) as served, client_of(served.url) as client:
        await get(client)
        await ended.wait()
        assert await get(client) == HttpAnswer(200, b"ok")


@pytest.mark.parametrize("how", [Peer.close, Peer.reset], ids=["closed", "reset"])
async def test_a_connection_that_the_server_closed_is_not_used_again(how: Callable[[Peer], None]) -> None:
    ended = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(FINE)
        how(peer)
        await peer.send()
        ended.set()

    async with serving(in_turn(handle, answer_all)) as served, client_of(served.url) as client:
        await get(client)
        await ended.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert await get(client) == HttpAnswer(200, b"ok")


# What is sent

# the address, beside its port -> what is asked for, and of whom
ADDRESSES = {
    "http://127.0.0.1:{}": ("/a?b=c", "127.0.0.1:{}"),
    "http://127.0.0.1:{}/": ("/a?b=c", "127.0.0.1:{}"),
    "http://127.0.0.1:{}/base/": ("/base/a?b=c", "127.0.0.1:{}"),
    "http://127.0.0.1:{}/one/two": ("/one/two/a?b=c", "127.0.0.1:{}"),
    "http://localhost:{}": ("/a?b=c", "localhost:{}"),
    "http://[::1]:{}/base": ("/base/a?b=c", "[::1]:{}"),
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.items(), ids=ADDRESSES)
async def test_a_request_goes_to_the_address_and_below_its_path(address: str, expected: tuple[str, str]) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.send(FINE)

    host = "::1" if "[" in address else "127.0.0.1"
    async with serving(handle, host=host) as served, client_of(address.format(served.port)) as client:
        await get(client)

    target, of = expected
    assert asked[0].line == f"GET {target} HTTP/1.1"
    assert asked[0].headers == {
        "host": of.format(served.port),
        "authorization": "Bearer sk",
        "accept-encoding": "identity",
        "accept": "application/json",
    }


# method, body -> the headers that tell of a body
LENGTHS = {("GET", b""): {}, ("POST", b""): {"content-length": "0"}, ("POST", b"{}"): {"content-length": "2"}}


@pytest.mark.parametrize(("request_of", "told"), LENGTHS.items(), ids=str)
async def test_a_body_is_told_of_with_its_length(request_of: tuple[str, bytes], told: dict[str, str]) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.send(FINE)

    method, body = request_of
    async with serving(handle) as served, client_of(served.url) as client:
        await client.ask(method, "/a", body, seconds=30, accept="*/*")

    told = {**told, **({"content-type": "application/json"} if body else {})}
    assert {name: value for name, value in asked[0].headers.items() if name.startswith("content-")} == told
    assert asked[0].body == body


async def test_a_large_body_goes_in_pieces_and_is_not_held_twice() -> None:
    came: list[bytes] = []

    async def handle(peer: Peer) -> None:
        asked = await peer.head()
        missing = int(asked.headers["content-length"])
        while missing:
            piece = await peer.reader.read(100_000)
            missing -= len(piece)
            came.append(piece[:1] + piece[-1:])
        await peer.send(FINE)

    async with serving(handle) as served, client_of(served.url) as client:
        tracemalloc.start()
        try:
            assert await get(client, BIG) == HttpAnswer(200, b"ok")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert len(came) >= len(BIG) / 100_000
    assert {*came} <= {b"xx", b"x"}
    assert peak < 3 * MB


async def test_a_refusal_of_a_body_that_has_not_all_come_is_heard() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 6\r\n\r\nsecret")

    async with serving(in_turn(handle, answer_all)) as served, client_of(served.url) as client:
        assert await get(client, BIG) == HttpAnswer(413)
        # Half a body has gone: nobody can use that connection any more.
        assert await get(client) == HttpAnswer(200, b"ok")

    assert served.connections == 2


async def test_a_server_that_goes_within_a_body_is_told_of() -> None:
    async def handle(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    async with serving(handle) as served, client_of(served.url) as client:
        failed = await failure_of(get(client, BIG))

    assert (failed.stood, failed.silent) == (True, False)


# Silence


# name -> what is said before nothing is
SILENT: dict[str, tuple[bytes, bytes]] = {
    "at once": (b"", b""),
    "after the leave to go on": (b"HTTP/1.1 100 Continue\r\n\r\n", b""),
    "within the head": (OK, b""),
    "within the body": (OK + b"content-length: 3\r\n\r\nok", b""),
    "while a large body is sent": (b"", BIG),
}


@pytest.mark.parametrize(("sent", "body"), SILENT.values(), ids=SILENT)
async def test_a_server_that_says_nothing_for_the_time_is_left(sent: bytes, body: bytes) -> None:
    left = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.head()
        await peer.send(sent)
        if not body:
            await peer.left()
            left.set()
        await left.wait()

    async with serving(in_turn(handle, answer_all)) as served, client_of(served.url) as client:
        failed = await failure_of(get(client, body, seconds=0.1))
        assert (str(failed), failed.stood, failed.silent) == ("silence", True, True)
        if body:
            left.set()
        await left.wait()
        assert await get(client) == HttpAnswer(200, b"ok")


async def test_a_server_that_goes_on_is_waited_for_however_long_it_takes() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        for byte in FINE:
            await asyncio.sleep(0.02)
            await peer.send(bytes([byte]))

    async with serving(handle) as served, client_of(served.url) as client:
        assert await get(client, seconds=0.2) == HttpAnswer(200, b"ok")


async def test_a_server_that_takes_a_large_body_slowly_is_waited_for() -> None:
    async def handle(peer: Peer) -> None:
        missing = int((await peer.head()).headers["content-length"])
        while missing:
            await asyncio.sleep(0.02)
            missing -= len(await peer.reader.readexactly(min(missing, MB)))
        await peer.send(FINE)

    async with serving(handle) as served, client_of(served.url) as client:
        assert await get(client, BIG, seconds=0.2) == HttpAnswer(200, b"ok")


# The most connections


async def test_one_request_more_waits_for_a_connection_and_all_have_theirs_in_order() -> None:
    go_on, begun, asked = asyncio.Event(), asyncio.Event(), []

    async def handle(peer: Peer) -> None:
        while True:
            asked.append((await peer.request()).body)
            begun.set()
            await go_on.wait()
            await peer.send(FINE)

    async with serving(handle) as served, client_of(served.url, connections=1) as client:
        first = asyncio.create_task(get(client, b"first"))
        await begun.wait()
        others = [asyncio.create_task(get(client, b"%d" % i)) for i in range(5)]
        await asyncio.sleep(0)
        others.pop(2).cancel()
        go_on.set()
        assert await asyncio.gather(first, *others) == [HttpAnswer(200, b"ok")] * 5

    assert asked == [b"first", b"0", b"1", b"3", b"4"]
    assert served.connections == 1


async def test_who_gets_no_connection_in_time_has_sent_nothing_and_the_next_one_is_served() -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        begun.set()
        await go_on.wait()
        await peer.send(FINE)
        await answer_all(peer)

    async with serving(handle) as served, client_of(served.url, connections=1) as client:
        first = asyncio.create_task(get(client))
        await begun.wait()
        failed = await failure_of(get(client, seconds=0.05))
        later = asyncio.create_task(get(client))
        go_on.set()
        assert {*await asyncio.gather(first, later)} == {HttpAnswer(200, b"ok")}

    assert (str(failed), failed.stood, failed.silent) == ("no connection is free", False, False)
    assert served.connections == 1


# how a request fails, after which another has its place
FAILING: dict[str, Handle] = {
    "a cut": answering(b"", closes=True),
    "no answer": answering(MALFORMED["no HTTP"]),
    "silence": answering(b""),
}


@pytest.mark.parametrize("handle", FAILING.values(), ids=FAILING)
async def test_a_request_that_fails_gives_its_place_back(handle: Handle) -> None:
    async with serving(in_turn(handle, answer_all)) as served, client_of(served.url, connections=1) as client:
        await failure_of(get(client, seconds=0.1))
        assert await get(client) == HttpAnswer(200, b"ok")


# Connections that are not made


async def test_a_port_that_nobody_listens_at_was_sent_nothing() -> None:
    async with serving(answer_all) as served:
        pass
    async with client_of(served.url, connections=1) as client:
        for _ in range(2):
            failed = await failure_of(get(client))
            assert (str(failed), failed.stood, failed.silent) == ("ConnectionRefusedError", False, False)


def trusting(authority: trustme.CA | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def speaking(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_connection_that_is_not_made_in_time_was_sent_nothing(authority: trustme.CA) -> None:
    # It answers no greeting of TLS.
    async with serving(Peer.left) as served:
        address = served.url.replace("http", "https")
        async with client_of(address, trusting(authority), connect_seconds=0.05, connections=1) as client:
            for _ in range(2):
                failed = await failure_of(get(client))
                assert (str(failed), failed.stood, failed.silent) == ("TimeoutError", False, False)


@pytest.mark.parametrize("body", [b"", BIG], ids=["small", "large"])
async def test_a_server_of_https_is_asked_over_tls(authority: trustme.CA, body: bytes) -> None:
    async with (
        serving(answer_all, speaking(authority)) as served,
        client_of(served.url, trusting(authority)) as client,
    ):
        assert [await get(client, body) for _ in range(2)] == [HttpAnswer(200, b"ok")] * 2

    assert served.connections == 1


# the name in the certificate, True: its authority is trusted
UNTRUSTED: dict[str, tuple[str, bool]] = {
    "an authority that nobody trusts": ("127.0.0.1", False),
    "another name": ("letta.example", True),
}


@pytest.mark.parametrize(("name", "trusted"), UNTRUSTED.values(), ids=UNTRUSTED)
async def test_a_server_with_a_certificate_that_is_not_trusted_is_sent_nothing(
    authority: trustme.CA, name: str, trusted: bool
) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        asked.append(await peer.request())

    async with (
        serving(handle, speaking(authority, name)) as served,
        client_of(served.url, trusting(authority if trusted else None)) as client,
    ):
        failed = await failure_of(get(client))

    assert (str(failed), failed.stood, asked) == ("SSLCertVerificationError", False, [])


# Who leaves


@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "with the last piece"])
async def test_who_takes_no_more_ends_the_answer_and_its_connection(last: bool) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"content-length: 6\r\n\r\nabc")
        await peer.send(b"def")

    def take(piece: bytes) -> None:
        if piece == (b"def" if last else b"abc"):
            raise LookupError("enough")

    async with serving(in_turn(handle, answer_all)) as served, client_of(served.url, connections=1) as client:
        with pytest.raises(LookupError, match="enough"):
            await get(client, take=take)
        assert await get(client) == HttpAnswer(200, b"ok")

    assert served.connections == 2


# name -> what the server does after it has the head, and the body that is sent
STAGES: dict[str, tuple[bytes | None, bytes]] = {
    "as it connects": (None, b""),
    "as a large body is sent": (b"", BIG),
    "as it waits for the answer": (b"", b""),
    "within the head": (OK, b""),
    "within the body": (OK + b"content-length: 3\r\n\r\nok", b""),
}


@pytest.mark.parametrize(("sent", "body"), STAGES.values(), ids=STAGES)
async def test_a_request_that_is_cancelled_ends_its_connection(
    authority: trustme.CA, sent: bytes | None, body: bytes
) -> None:
    there, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(peer: Peer) -> None:
        if sent is None:
            assert await peer.reader.read(1)  # a greeting of TLS
        else:
            await peer.head()
            await peer.send(sent)
        there.set()
        await cancelled.wait()

    tls = trusting(authority) if sent is None else None
    async with serving(in_turn(handle, answer_all)) as served:
        address = served.url.replace("http", "https") if tls else served.url
        async with client_of(address, tls, connections=1) as client:
            asking = asyncio.create_task(get(client, body))
            await there.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            cancelled.set()
            if tls is None:
                assert await get(client) == HttpAnswer(200, b"ok")


async def test_a_request_that_is_cancelled_as_its_answer_ends_keeps_no_connection_open() -> None:
    asking: list[asyncio.Task[HttpAnswer]] = []
    left = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(FINE)
        await peer.left()
        left.set()

    async with serving(handle) as served, client_of(served.url) as client:
        asking.append(asyncio.create_task(get(client, take=lambda _: bool(asking[0].cancel()) and None)))
        with pytest.raises(asyncio.CancelledError):
            await asking[0]
        await left.wait()


# The end


@asynccontextmanager
async def _busy(served: Served, begun: asyncio.Event) -> AsyncIterator[tuple[HttpClient, list[Any]]]:
    """A client with one connection, on which a request is under way, and one more that waits for it."""
    async with client_of(served.url, connections=1) as client:
        asking = [asyncio.create_task(failure_of(get(client))) for _ in range(2)]
        await begun.wait()
        yield client, asking


@pytest.mark.parametrize("times", [1, 2])
async def test_a_closed_client_has_no_connection_and_makes_none(times: int) -> None:
    begun = asyncio.Event()

    async def handle(peer: Peer) -> None:
        await peer.request()
        begun.set()

    async with serving(handle) as served, _busy(served, begun) as (client, asking):
        await asyncio.gather(*(client.aclose() for _ in range(times)))
        failed = [*await asyncio.gather(*asking), await failure_of(get(client))]

    assert [failure.stood for failure in failed] == [True, False, False]
    assert served.connections == 1


async def test_a_closed_client_keeps_no_connection_that_was_being_made(authority: trustme.CA) -> None:
    asked: list[Asked] = []

    async def handle(peer: Peer) -> None:
        asked.append(await peer.request())

    async with serving(handle, speaking(authority)) as served, client_of(served.url, trusting(authority)) as client:
        asking = asyncio.create_task(failure_of(get(client)))
        await asyncio.sleep(0)
        await client.aclose()
        assert not (await asking).stood

    assert asked == []


async def test_a_closed_client_has_closed_its_idle_connections() -> None:
    async with serving(answer_all) as served, client_of(served.url) as client:
        await asyncio.gather(*(get(client) for _ in range(5)))
        await client.aclose()

    assert served.connections == 5
