"""The proxies whose configurations are there to be copied, nginx and Caddy, told so, in front of gateways."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import httpx2
import pytest
import trustme
from msgspec import Struct

from gateway.configuration import PROVIDERS
from tests.gateways import KEY, ForkedGateway, chat, said
from tests.integration.words import someone
from tests.one_by_one import PATIENCE_SECONDS, OneByOne
from tests.readme import ROOT
from tests.servers.fake_letta import ANSWER, PING, STOP, USAGE, WORD, FakeLetta, Hold
from tests.servers.health import await_health, held_port
from tests.servers.nginx import nginx_command, replaced
from tests.sockets import ENDS, socket

NAME, GATEWAY = "chat.example.org", "127.0.0.1:8000"
CONFIG = f'[[agent_types]]\nid = "tutor"\n[[keys]]\nname = "programs"\nkey = "{KEY}"\n'
COMPRESSED_KEY = "sk-compressed"
SCRIPTED = f"""
[letta]
base_url = "{{letta}}"

[[agent_types]]
id = "tutor"
model = "m/one"

[[keys]]
name = "programs"
key = "{KEY}"

[[keys]]
name = "telephones"
key = "{COMPRESSED_KEY}"
compress = true
"""
URL = "/v1/chat/completions"
DELTA = "response.output_text.delta"
START_SECONDS = 30
SILENCE_SECONDS, WORDS = 3, 150
STREAMS = 20


class Proxied(Struct, frozen=True):
    """A proxy under way, for clients that know nothing of the gateway behind it."""

    url: str
    trusting: ssl.SSLContext
    authority: Path
    """The file with the authority of its certificate."""


def nginx(here: Path, port: int, gateway: str) -> list[str]:
    own = {
        # Whoever comes without TLS is sent to the port of TLS; that is no part of these tests.
        "listen 80;": f"listen unix:{here}/plain;",
        "443": f"127.0.0.1:{port}",
        f"/etc/ssl/{NAME}.pem": str(here / "certificate"),
        f"/etc/ssl/{NAME}.key": str(here / "key"),
        GATEWAY: gateway,
    }
    return nginx_command(here, **own)


def caddy(here: Path, port: int, gateway: str) -> list[str]:
    own = {
        # Who has no name of their own brings a certificate along.
        f"{NAME} {{": f"https://127.0.0.1:{port} {{\n\ttls {here}/certificate {here}/key",
        "\tservers {": "\tadmin off\n\tauto_https disable_redirects\n\tservers {",
        GATEWAY: gateway,
    }
    printed = (ROOT / "deploy/caddy/Caddyfile").read_text(encoding="utf-8")
    (here / "Caddyfile").write_text(replaced(printed, **own))
    return ["caddy", "run", "--config", str(here / "Caddyfile"), "--adapter", "caddyfile"]


PROXIES: dict[str, Callable[[Path, int, str], list[str]]] = {"nginx": nginx, "caddy": caddy}


@contextmanager
def proxy(name: str, here: Path, gateway: str) -> Iterator[Proxied]:
    """A proxy in front of a gateway."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name})")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(here / "certificate")
    certificate.private_key_pem.write_to_path(here / "key")
    authority.cert_pem.write_to_path(here / "authority")
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    with held_port() as port, (here / "log").open("wb") as log:
        command = PROXIES[name](here, port, gateway.removeprefix("http://"))
        environ = {"PATH": os.environ["PATH"], "HOME": str(here)}
        url = f"https://127.0.0.1:{port}"
        with subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
            try:
                await_health(process, f"{url}/healthz", here / "log", START_SECONDS, verify=trusting)
                yield Proxied(url, trusting, here / "authority")
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("gateway")
    (directory / "gateway.toml").write_text(CONFIG)
    state, environ = ("--state", str(directory / "state")), {variable: "" for variable, _, _ in PROVIDERS}
    with ForkedGateway(directory / "gateway.toml", *state, **environ) as process:
        yield process.base_url


@pytest.fixture(scope="module", params=PROXIES)
def client(
    request: pytest.FixtureRequest, gateway_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of a proxy in front of a gateway with a Letta of its own."""
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        proxy(request.param, tmp_path_factory.mktemp(request.param), gateway_url) as proxied,
        httpx.Client(base_url=proxied.url, headers=headers, verify=proxied.trusting, timeout=60) as known,
    ):
        yield known


@pytest.fixture(scope="module")
def letta() -> Iterator[FakeLetta]:
    with FakeLetta() as fake:
        yield fake


@pytest.fixture(scope="module")
def scripted_url(letta: FakeLetta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway in front of a Letta that does what a test tells it."""
    config = tmp_path_factory.mktemp("scripted") / "gateway.toml"
    config.write_text(SCRIPTED.format(letta=letta.base_url))
    with ForkedGateway(config) as process:
        yield process.base_url


@pytest.fixture(scope="module", params=PROXIES)
def proxied(
    request: pytest.FixtureRequest, scripted_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    with proxy(request.param, tmp_path_factory.mktemp(request.param), scripted_url) as under_way:
        yield under_way


def test_responses_come_over_websockets_too(proxied: Proxied, letta: FakeLetta) -> None:
    answer = OneByOne(WORDS)
    letta.steps = [PING, *answer.steps]
    with socket(proxied.url, ssl=proxied.trusting) as connection:
        connection.send(user=someone())
        words = (frame["delta"] for frame in connection.frames(*ENDS) if frame["type"] == DELTA)
        assert answer.hear(words) == "".join(answer.words)
        letta.steps = ANSWER
        assert connection.ask("More")["status"] == "completed"


@contextmanager
def by_httpx2(proxied: Proxied, encoding: str) -> Iterator[Iterator[str]]:
    """The words of a stream as they come, over HTTP/1.1."""
    key = COMPRESSED_KEY if encoding else KEY
    headers = {"authorization": f"Bearer {key}", "accept-encoding": encoding or "gzip, zstd"}
    body = chat(user=someone(), stream=True)
    with (
        httpx2.Client(base_url=proxied.url, verify=proxied.trusting, timeout=60) as client,
        client.stream("POST", URL, json=body, headers=headers) as response,
    ):
        assert response.headers.get("content-encoding", "") == encoding
        yield words_of(response.iter_lines())


@contextmanager
def by_curl(proxied: Proxied, encoding: str) -> Iterator[Iterator[str]]:
    """The same over HTTP/2."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (Debian: apt-get install curl)")
    key = COMPRESSED_KEY if encoding else KEY
    headers = (
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Accept-Encoding: {encoding or 'gzip'}",
    )
    given = [word for header in headers for word in ("-H", header)]
    how = ["--http2", "--cacert", str(proxied.authority), "--write-out", "%{stderr}%{http_version}", "--compressed"]
    command = ["curl", "-sN", *how, f"{proxied.url}{URL}", *given, "-d", json.dumps(chat(user=someone(), stream=True))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        yield words_of(process.stdout)
        assert process.stderr.read() == "2"


def words_of(lines: Iterator[str]) -> Iterator[str]:
    yield from (text for line in lines if (text := said(line).get("content") if line.startswith("data: {") else None))


CLIENTS = {"HTTP/1.1": by_httpx2, "HTTP/2": by_curl}


@pytest.mark.parametrize("reading", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("encoding", ["", "gzip", "zstd"], ids=["plain", "gzip", "zstd"])
def test_after_a_silence_every_word_arrives_before_the_next_one_is_said(
    proxied: Proxied,
    letta: FakeLetta,
    encoding: str,
    reading: Callable[[Proxied, str], AbstractContextManager[Iterator[str]]],
) -> None:
    answer = OneByOne(WORDS)
    letta.steps = [PING, Hold(SILENCE_SECONDS), *answer.steps]
    with reading(proxied, encoding) as told:
        assert answer.hear(told) == "".join(answer.words)


def test_who_leaves_stops_the_agent(proxied: Proxied, letta: FakeLetta) -> None:
    letta.steps = [PING, WORD, Hold()]
    letta.cancelled.clear()
    with by_httpx2(proxied, "") as told:
        assert next(told) == WORD["content"]

    assert letta.cancelled.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("name", PROXIES)
def test_of_a_gateway_that_ends_behind_a_proxy_every_answer_comes_to_its_end(
    letta: FakeLetta, name: str, tmp_path: Path
) -> None:
    begun, rest = threading.Semaphore(0), threading.Event()
    letta.steps = [PING, {**WORD, "content": "one "}, rest, {**WORD, "content": "two"}, STOP, USAGE]
    (tmp_path / "gateway.toml").write_text(SCRIPTED.format(letta=letta.base_url))

    def read(encoding: str) -> str:
        with by_httpx2(front, encoding) as told:
            heard = next(told)
            begun.release()
            return heard + "".join(told)

    with (
        ForkedGateway(tmp_path / "gateway.toml") as process,
        proxy(name, tmp_path, process.base_url) as front,
        ThreadPoolExecutor(STREAMS) as people,
    ):
        try:
            heard = [people.submit(read, ("", "gzip", "zstd")[i % 3]) for i in range(STREAMS)]
            for _ in heard:
                assert begun.acquire(timeout=60)
            process.process.send_signal(signal.SIGTERM)
            process.wait_for("Ending: nothing new is taken.")
            refused = httpx.get(f"{front.url}/v1/models", verify=front.trusting)
        finally:
            rest.set()
        assert [each.result(60) for each in heard] == ["one two"] * STREAMS
        assert process.process.wait(60) == 0

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")


def test_a_long_token_gets_through_and_headers_without_end_do_not(proxied: Proxied) -> None:
    with httpx.Client(base_url=proxied.url, verify=proxied.trusting) as client:
        token = client.get("/healthz", headers={"x-token": "x" * 12_000})
        endless = client.get("/healthz", headers={f"x-{i}": "x" * 10_000 for i in range(10)})

    assert token.status_code == 200
    assert endless.status_code in (400, 431)


def test_a_stream_comes_piece_by_piece_and_who_leaves_stops_the_agent(client: httpx.Client) -> None:
    body = chat("!hang-after one two", user=someone(), metadata={"chat_id": "one"})
    with client.stream("POST", URL, json={**body, "stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if "two" in line:
                break
    # It would wait in line for the turn before it.
    after = client.post(URL, json={**body, "messages": chat("and on")["messages"]})

    assert said(after.text)["content"].endswith("You said: and on")


def test_a_message_as_large_as_one_with_a_picture_gets_through(client: httpx.Client) -> None:
    response = client.post(URL, json=chat(user=someone(), ignored="x" * 3_000_000))

    assert response.status_code == 200


def test_a_message_larger_than_the_gateway_takes_is_refused(client: httpx.Client) -> None:
    assert (
        client.post(URL, content=b" " * (33 * 2**20), headers={"content-type": "application/json"}).status_code == 413
    )


def test_the_page_that_says_how_to_connect_tells_the_proxy_s_address(client: httpx.Client) -> None:
    assert str(client.base_url).rstrip("/") in client.get("/connect").text
