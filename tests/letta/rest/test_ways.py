"""The way of a turn's calls to Letta: directly, or through letta-client where more is asked of a connection."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.domain import errors
from gateway.domain.events import Event, Stop, StopReason, Text
from gateway.domain.messages import Message
from gateway.letta.rest.turn_calls import reason_for_letta_client
from gateway.letta.rest.upstream import RestUpstream
from gateway.letta.upstream import Sending
from gateway.settings import Letta, Secret
from tests.letta.rest.peer import Asked, Peer, Served, serving

pytestmark = pytest.mark.anyio

LOCAL, CLOUD = "http://10.0.0.7:8283", "https://api.letta.com"
PROXY = "http://proxy:3128"
NO_REASON, A_PROXY = "", "a proxy is set"
CERTIFICATES = "SSL_CERT_FILE or SSL_CERT_DIR is set"

# name -> Letta's address, the environment, its proxies, the reason to go through letta-client
REASONS: dict[str, tuple[str, dict[str, str], dict[str, str], str]] = {
    "nothing set": (LOCAL, {}, {}, NO_REASON),
    "nothing set, https": (CLOUD, {}, {}, NO_REASON),
    "a proxy for http": (LOCAL, {}, {"http": PROXY}, A_PROXY),
    "a proxy for https": (CLOUD, {}, {"https": PROXY}, A_PROXY),
    "a proxy for the other scheme": (LOCAL, {}, {"https": PROXY}, NO_REASON),
    "a proxy for all": (LOCAL, {}, {"all": PROXY}, A_PROXY),
    "a proxy for all, https": (CLOUD, {}, {"all": "socks5://proxy"}, A_PROXY),
    "a proxy for what nobody here speaks": (LOCAL, {}, {"ftp": PROXY}, NO_REASON),
    "no proxy for anything": (LOCAL, {}, {"http": PROXY, "no": "*"}, NO_REASON),
    "no proxy for anything, among others": (LOCAL, {}, {"all": PROXY, "no": "x.example, *"}, NO_REASON),
    "no proxy for this address": (LOCAL, {}, {"http": PROXY, "no": "localhost,10.0.0.7"}, NO_REASON),
    "no proxy for another address": (LOCAL, {}, {"http": PROXY, "no": "10.0.0.8"}, A_PROXY),
    "no proxy for a network, which nobody here reads": (LOCAL, {}, {"http": PROXY, "no": "10.0.0.0/8"}, A_PROXY),
    "no proxy for this port, which nobody here reads": (LOCAL, {}, {"http": PROXY, "no": "10.0.0.7:8283"}, A_PROXY),
    "no proxy for this name": (CLOUD, {}, {"https": PROXY, "no": "api.letta.com"}, NO_REASON),
    "no proxy for this name in capitals": (CLOUD, {}, {"https": PROXY, "no": "API.Letta.com"}, NO_REASON),
    "no proxy for the domain": (CLOUD, {}, {"https": PROXY, "no": "letta.com"}, NO_REASON),
    "no proxy below the domain": (CLOUD, {}, {"https": PROXY, "no": " .letta.com "}, NO_REASON),
    "no proxy below this name": (CLOUD, {}, {"https": PROXY, "no": ".api.letta.com"}, A_PROXY),
    "no proxy for a name that ends alike": (CLOUD, {}, {"https": PROXY, "no": "etta.com"}, A_PROXY),
    "no proxy for nobody": (CLOUD, {}, {"https": PROXY, "no": ", ,"}, A_PROXY),
    "no proxy for IPv6": ("http://[::1]:8283", {}, {"http": PROXY, "no": "::1"}, NO_REASON),
    "certificates in a file": (CLOUD, {"SSL_CERT_FILE": "/ca.pem"}, {}, CERTIFICATES),
    "certificates in a folder": (CLOUD, {"SSL_CERT_DIR": "/certs"}, {}, CERTIFICATES),
    "certificates in no file": (CLOUD, {"SSL_CERT_FILE": ""}, {}, NO_REASON),
    "certificates without TLS": (LOCAL, {"SSL_CERT_FILE": "/ca.pem"}, {}, NO_REASON),
    "a name and a password": ("http://me:pass@10.0.0.7:8283", {}, {}, "its address holds credentials"),
    "a name": ("http://me@10.0.0.7:8283", {}, {}, "its address holds credentials"),
    "letters beside ASCII": ("http://bücher.example", {}, {}, "its address is to be encoded"),
    "a space": ("http://10.0.0.7/a b", {}, {}, "its address is to be encoded"),
}


@pytest.mark.parametrize(("address", "environment", "proxies", "reason"), REASONS.values(), ids=REASONS)
async def test_the_reason_to_go_through_letta_client(
    address: str, environment: dict[str, str], proxies: dict[str, str], reason: str
) -> None:
    assert reason_for_letta_client(address, environment, proxies) == reason


# A Letta that answers everything


def _answer(asked: Asked) -> bytes:
    method, target, _ = asked.line.split(" ")
    if target.endswith("/messages"):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        body = b'data: {"message_type": "assistant_message", "content": "Hello"}\n\n' + (
            b'data: {"message_type": "stop_reason", "stop_reason": "end_turn"}\n\n'
        )
    else:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        body = b"[]" if method == "GET" and "conversations" in target else b'{"id": "conv-1"}'
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


async def _be_letta(peer: Peer, asked: list[Asked]) -> None:
    while True:
        asked.append(await peer.request())
        await peer.send(_answer(asked[-1]))


async def _do_a_turn(letta: RestUpstream) -> list[Event]:
    told: list[Event] = []
    await letta.check_health()
    assert await letta.find_conversations("agent-1", "s") == []
    assert (await letta.create_conversation("agent-1", "s", [])).id == "conv-1"
    await letta.run("agent-1", "conv-1", Sending([Message("user", "hi")]), (), told.extend)
    return told


TOLD = [Text("Hello"), Stop(StopReason.END)]
HEALTH, FIND, CREATE, RUN = (
    "GET /v1/health/",
    "GET /v1/conversations/",
    "POST /v1/conversations/",
    "POST /v1/conversations/conv-1/messages",
)
TURN = [HEALTH, FIND, CREATE, RUN]


def _paths(asked: list[Asked]) -> list[str]:
    return [request.line.removesuffix(" HTTP/1.1").partition("?")[0] for request in asked]


def _agents(asked: list[Asked]) -> list[str]:
    """Who asked: our own client, or letta-client."""
    return [request.headers["user-agent"].partition("/")[0] for request in asked]


@asynccontextmanager
async def _upstream(address: str) -> AsyncIterator[RestUpstream]:
    letta = RestUpstream(Letta(upstream="rest", base_url=address, api_key=Secret("sk")))
    try:
        yield letta
    finally:
        await letta.aclose()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_a_turn_s_calls_go_directly_where_nothing_speaks_against_it() -> None:
    asked: list[Asked] = []
    async with serving(lambda peer: _be_letta(peer, asked)) as served, _upstream(served.url) as letta:
        assert await _do_a_turn(letta) == TOLD

    assert _paths(asked) == TURN
    assert _agents(asked) == ["AsyncLetta", *["letta-gateway"] * 3]


# Redirects


@asynccontextmanager
async def _moved(status: int, asked: list[Asked], moved: list[Asked]) -> AsyncIterator[Served]:
    """A Letta, and before it a server that names it as the place of everything."""
    async with serving(lambda peer: _be_letta(peer, asked)) as there:

        async def name_it(peer: Peer) -> None:
            while True:
                moved.append(await peer.request())
                target = moved[-1].line.split(" ")[1]
                head = f"HTTP/1.1 {status} There\r\nlocation: {there.url}{target}\r\ncontent-length: 0\r\n\r\n"
                await peer.send(head.encode())

        async with serving(name_it) as served:
            yield served


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_is_followed_by_letta_client_from_then_on(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    asked, moved = list[Asked](), list[Asked]()
    async with _moved(status, asked, moved) as served, _upstream(served.url) as letta:
        assert await _do_a_turn(letta) == TOLD

    # It is asked once more, and nothing is done twice.
    assert _paths(moved) == [HEALTH, FIND, *TURN[1:]]
    assert _agents(moved) == ["AsyncLetta", "letta-gateway", *["AsyncLetta"] * 3]
    assert _paths(asked) == TURN
    assert [record.levelno for record in caplog.records if "redirect" in record.message] == [logging.WARNING]


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_of_a_search_is_followed_whatever_its_kind(status: int) -> None:
    asked, moved = list[Asked](), list[Asked]()
    async with _moved(status, asked, moved) as served, _upstream(served.url) as letta:
        assert await letta.find_conversations("agent-1", "s") == []

    assert _paths(asked) == [FIND]


async def test_a_message_that_is_redirected_is_sent_on_once() -> None:
    asked, moved = list[Asked](), list[Asked]()
    told: list[Event] = []
    async with _moved(307, asked, moved) as served, _upstream(served.url) as letta:
        await letta.run("agent-1", "conv-1", Sending([Message("user", "hi")]), (), told.extend)

    assert told == TOLD
    assert _paths(asked) == [RUN]
    assert asked[0].body == moved[0].body == moved[1].body


# Proxies


@asynccontextmanager
async def _proxy(target: Served, seen: list[str]) -> AsyncIterator[str]:
    """A proxy that passes everything on to `target`, whatever is asked for; yields its address."""

    async def pass_on(peer: Peer) -> None:
        while True:
            asked = await peer.request()
            method, _, _ = asked.line.split(" ")
            seen.append(asked.line)
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
            if method == "CONNECT":
                await peer.send(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = asyncio.create_task(_pump(reader, peer))
                while data := await peer.reader.read(65536):
                    writer.write(data)
                writer.close()
                await back
                return
            lines = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items() if name != "connection")
            writer.write(f"{asked.line}\r\n{lines}connection: close\r\n\r\n".encode() + asked.body)
            await peer.send(await reader.read())
            writer.close()

    async with serving(pass_on) as served:
        yield served.url


async def _pump(reader: asyncio.StreamReader, peer: Peer) -> None:
    while data := await reader.read(65536):
        await peer.send(data)
    peer.close()


async def _be_letta_once(peer: Peer, asked: list[Asked]) -> None:
    asked.append(await peer.request())
    await peer.send(_answer(asked[-1]))
    peer.close()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_every_call_goes_through_a_proxy_that_is_set(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    asked, seen = list[Asked](), list[str]()
    async with serving(lambda peer: _be_letta_once(peer, asked)) as served, _proxy(served, seen) as proxy:
        monkeypatch.setenv(variable, proxy)
        # A name that nobody but the proxy knows.
        async with _upstream("http://letta.invalid:8283") as letta:
            assert await _do_a_turn(letta) == TOLD

    assert [line.removesuffix(" HTTP/1.1").partition("?")[0] for line in seen] == [
        call.replace(" ", " http://letta.invalid:8283") for call in TURN
    ]
    assert {*_agents(asked)} == {"AsyncLetta"}


async def test_no_call_goes_through_a_proxy_that_is_not_for_this_letta(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, seen = list[Asked](), list[str]()
    async with serving(lambda peer: _be_letta(peer, asked)) as served, _proxy(served, seen) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with _upstream(served.url) as letta:
            assert await _do_a_turn(letta) == TOLD

    assert seen == []
    assert _paths(asked) == TURN


@pytest.mark.parametrize("by_proxy", [False, True], ids=["without a proxy", "through a proxy"])
async def test_a_certificate_of_an_authority_of_one_s_own_is_trusted_by_every_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_proxy: bool
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "letta.invalid").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    asked, seen = list[Asked](), list[str]()
    async with (
        serving(lambda peer: _be_letta(peer, asked), context) as served,
        _proxy(served, seen) as proxy,
    ):
        if by_proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with _upstream("https://letta.invalid" if by_proxy else served.url) as letta:
            assert await _do_a_turn(letta) == TOLD

    assert {*seen} == ({"CONNECT letta.invalid:443 HTTP/1.1"} if by_proxy else set())
    assert _paths(asked) == TURN
    assert {*_agents(asked)} == {"AsyncLetta"}


async def test_a_certificate_that_nobody_trusts_is_refused_by_every_call(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    asked: list[Asked] = []
    calls: list[Any] = []
    async with serving(lambda peer: _be_letta(peer, asked), context) as served, _upstream(served.url) as letta:
        calls += [
            letta.check_health,
            lambda: letta.find_conversations("agent-1", "s"),
            lambda: letta.create_conversation("agent-1", "s", []),
            lambda: letta.run("agent-1", "conv-1", Sending([Message("user", "hi")]), (), lambda _: None),
        ]
        for call in calls:
            with pytest.raises(errors.Unreachable):
                await call()

    assert asked == []
