"""Answers that come compressed: for which key, which client, by what, and each word at once."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from openai import OpenAI

from gateway.domain.errors import InvalidRequest
from gateway.http.answers.compressor import compressor_for
from gateway.http.answers.event_stream import EventStream
from gateway.http.incoming.encodings import PIECE_BYTES, Decoder
from tests.gateways import KEY, PROGRAMS, chat, gateway, http, said
from tests.one_by_one import Arrived, OneByOne
from tests.servers.fake_letta import ANSWER, PING, STOP, USAGE, WORD, Cut, FakeLetta

URL = "/v1/chat/completions"
COMPRESSING = replace(PROGRAMS, compress=True)
OF_A_PAGE = replace(COMPRESSING, origins=("https://page.example",))
STREAM = chat(stream=True)
LONG_WORD = {**WORD, "content": "Hello " * 1000}
# The value of `Accept-Encoding`, and by what the answer is compressed then
ACCEPTED: dict[str, tuple[str, str | None]] = {
    "a browser": ("gzip, deflate, br, zstd", "zstd"),
    "gzip alone": ("gzip", "gzip"),
    "gzip by its old name": ("x-gzip", "gzip"),
    "in capitals, without spaces": ("GZIP,DEFLATE", "gzip"),
    "weights": ("gzip;q=1.0, zstd;q=0.5", "gzip"),
    "equal weights": ("gzip;q=0.8, zstd;q=0.8", "zstd"),
    "one that is not wanted": ("zstd;q=0, gzip", "gzip"),
    "spaces about a weight": ("zstd ; q=0.000 , gzip ; q=0.001", "gzip"),
    "whatever there is": ("*", "gzip"),
    "whatever there is but one": ("*, gzip;q=0", None),
    "rather as it is": ("identity, gzip;q=0.5", None),
    "as it is, or else": ("identity;q=0.1, gzip;q=0.5", "gzip"),
    "as it is in no case, but nothing known here": ("br, identity;q=0", None),
    "a weight that is none": ("gzip;q=2", None),
    "one that is no number": ("gzip;q=nan", None),
    "others": ("br, deflate, compress", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("accepted", "encoding"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_client_says_how_it_takes_an_answer(accepted: str, encoding: str | None) -> None:
    compressor = compressor_for(accepted)

    assert (compressor.encoding if compressor else None) == encoding


@given(st.text())
def test_whatever_a_client_says_is_read(accepted: str) -> None:
    compressor_for(accepted)


@given(pieces=st.lists(st.binary(), min_size=1), encoding=st.sampled_from(["gzip", "zstd"]))
def test_what_has_been_sent_can_be_read_at_once_and_is_whole_only_with_its_end(
    pieces: list[bytes], encoding: str
) -> None:
    compressor, decoder, sent = compressor_for(encoding), Decoder(encoding), b""
    assert compressor
    for piece in pieces:
        assert b"".join(decoder.pieces(compressor.compress(piece))) == piece
    sent = compressor.end(b"the end")
    assert b"".join(decoder.pieces(sent[:-1])) + b"".join(decoder.pieces(sent[-1:])) == b"the end"
    decoder.close()


@contextmanager
def stream_of(client: Any, **headers: str) -> Iterator[Any]:
    """A stream that the client begins to read."""
    with client.stream("POST", URL, json=STREAM, headers={"authorization": f"Bearer {KEY}", **headers}) as response:
        yield response


def words_of(lines: Iterator[str]) -> Iterator[str]:
    yield from (text for line in lines if (text := said(line).get("content") if line.startswith("data: {") else None))


@contextmanager
def by_httpx(url: str, encoding: str) -> Iterator[Iterator[str]]:
    with httpx.Client(base_url=url) as client, stream_of(client, **{"accept-encoding": encoding}) as response:
        assert (response.headers["content-encoding"], response.headers["vary"]) == (encoding, "Accept-Encoding")
        yield words_of(response.iter_lines())


@contextmanager
def by_httpx2(url: str, encoding: str) -> Iterator[Iterator[str]]:
    with httpx2.Client(base_url=url) as client, stream_of(client, **{"accept-encoding": encoding}) as response:
        assert response.headers["content-encoding"] == encoding
        yield words_of(response.iter_lines())


@contextmanager
def by_aiohttp(url: str, encoding: str) -> Iterator[Iterator[str]]:
    """As Open WebUI reads."""
    headers = {"authorization": f"Bearer {KEY}", "accept-encoding": encoding}

    async def begin() -> tuple[aiohttp.ClientSession, aiohttp.ClientResponse]:
        session = aiohttp.ClientSession()
        return session, await session.post(f"{url}{URL}", json=STREAM, headers=headers)

    with asyncio.Runner() as runner:
        session, response = runner.run(begin())
        try:
            assert response.headers["content-encoding"] == encoding
            yield words_of(line.decode() for line in iter(lambda: runner.run(response.content.readline()), b""))
        finally:
            response.release()
            runner.run(session.close())


@contextmanager
def by_the_sdk(url: str, encoding: str) -> Iterator[Iterator[str]]:
    headers = {"Accept-Encoding": encoding}
    with (
        OpenAI(base_url=f"{url}/v1", api_key=KEY, default_headers=headers, timeout=60) as client,
        client.chat.completions.create(**STREAM) as stream,
    ):
        assert stream.response.headers["content-encoding"] == encoding
        yield (text for chunk in stream if (text := chunk.choices[0].delta.content))


@contextmanager
def by_curl(url: str, encoding: str) -> Iterator[Iterator[str]]:
    curl = shutil.which("curl")
    features = subprocess.run([curl, "--version"], capture_output=True, text=True).stdout if curl else ""
    if encoding not in features.replace("libz", "gzip"):
        pytest.skip(f"there is no curl that knows {encoding} (Debian: apt-get install curl)")
    headers = (f"Authorization: Bearer {KEY}", "Content-Type: application/json", f"Accept-Encoding: {encoding}")
    given = [word for header in headers for word in ("-H", header)]
    command = ["curl", "-sN", "--compressed", f"{url}{URL}", *given, "-d", json.dumps(STREAM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield words_of(process.stdout)


CLIENTS: dict[str, tuple[Callable[[str, str], Any], str]] = {
    "httpx, gzip": (by_httpx, "gzip"),
    "httpx2, gzip": (by_httpx2, "gzip"),
    "httpx2, zstd": (by_httpx2, "zstd"),
    "aiohttp, gzip": (by_aiohttp, "gzip"),
    "aiohttp, zstd": (by_aiohttp, "zstd"),
    "the openai SDK, gzip": (by_the_sdk, "gzip"),
    "the openai SDK, zstd": (by_the_sdk, "zstd"),
    "curl --compressed, gzip": (by_curl, "gzip"),
    "curl --compressed, zstd": (by_curl, "zstd"),
}


@pytest.mark.parametrize(("reading", "encoding"), CLIENTS.values(), ids=CLIENTS)
def test_every_word_arrives_before_the_next_one_is_said(
    letta: FakeLetta, reading: Callable[[str, str], Any], encoding: str
) -> None:
    said_so_far = OneByOne(20)
    letta.steps = said_so_far.steps
    with gateway(letta.base_url, keys=(COMPRESSING,)) as url, reading(url, encoding) as told:
        assert said_so_far.hear(told) == "".join(said_so_far.words)


def test_the_headers_and_a_ping_arrive_before_anything_is_said(letta: FakeLetta) -> None:
    arrived = Arrived()
    letta.steps = [PING, arrived, *ANSWER]
    settings = {"first_event_seconds": 0.05, "ping_seconds": 0.05, "keys": (COMPRESSING,)}
    with (
        gateway(letta.base_url, **settings) as url,
        httpx.Client(base_url=url) as client,
        stream_of(client) as response,
    ):
        lines = response.iter_lines()
        assert [next(lines) for _ in range(4)] == [": ping", ""] * 2
        arrived.set()
        assert list(lines)[-2:] == ["data: [DONE]", ""]


def test_a_stream_is_the_same_however_it_comes(letta: FakeLetta) -> None:
    with gateway(letta.base_url, keys=(COMPRESSING,)) as url, http(url) as client:
        texts = [client.post(URL, json=STREAM, headers={"accept-encoding": one}).text for one in ("", "gzip")]

    assert said(texts[0]) == said(texts[1])
    assert texts[0].endswith("data: [DONE]\n\n") == texts[1].endswith("data: [DONE]\n\n")


def test_an_error_in_a_stream_is_told_and_the_stream_has_its_end(letta: FakeLetta) -> None:
    letta.steps = [PING, WORD, Cut()]
    with (
        gateway(letta.base_url, keys=(COMPRESSING,)) as url,
        http(url) as client,
        stream_of(client, **{"accept-encoding": "zstd"}) as response,
    ):
        sent = b"".join(response.iter_raw())
    decoder = Decoder("zstd")
    text = b"".join(decoder.pieces(sent)).decode()
    decoder.close()

    assert response.headers["content-encoding"] == "zstd"
    assert '"error"' in text
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_an_answer_that_is_cut_off_has_no_end_of_its_encoding_either(encoding: str) -> None:
    begun, sent = asyncio.Event(), b""

    async def leave_once_it_has_begun() -> Any:
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        if message["type"] == "http.response.body":
            sent += message["body"]
            begun.set()

    response = EventStream(b"data: 1\n\n", True, lambda: (b"", True), lambda: None, 10, compressor_for(encoding))
    await response({"type": "http"}, leave_once_it_has_begun, send)
    decoder = Decoder(encoding)

    assert b"".join(decoder.pieces(sent)) == b"data: 1\n\n"
    with pytest.raises(InvalidRequest):
        decoder.close()


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_whole_answer_is_compressed_where_it_is_long(letta: FakeLetta, encoding: str) -> None:
    letta.coming = [[PING, LONG_WORD, STOP, USAGE], ANSWER]
    with gateway(letta.base_url, keys=(COMPRESSING,)) as url, httpx2.Client(base_url=url) as client:
        headers = {"authorization": f"Bearer {KEY}", "accept-encoding": encoding}
        long, short = (client.post(URL, json=chat(text), headers=headers) for text in ("long", "short"))

    assert (long.headers["content-encoding"], long.headers["vary"]) == (encoding, "Accept-Encoding")
    assert int(long.headers["content-length"]) < 1000
    assert long.json()["choices"][0]["message"]["content"] == LONG_WORD["content"]
    assert "content-encoding" not in short.headers
    assert said(short.text)["content"].endswith("Hello")


def test_a_very_long_answer_is_compressed_in_pieces(letta: FakeLetta) -> None:
    content = "".join(str(number) for number in range(3 * PIECE_BYTES // 4))
    letta.steps = [PING, {**WORD, "content": content}, STOP, USAGE]
    with gateway(letta.base_url, keys=(COMPRESSING,)) as url, http(url) as client:
        response = client.post(URL, json=chat(), headers={"accept-encoding": "gzip"})

    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["choices"][0]["message"]["content"] == content


def test_a_page_from_elsewhere_is_told_both_that_the_answer_depends_on(letta: FakeLetta) -> None:
    page = {"origin": OF_A_PAGE.origins[0], "accept-encoding": "gzip"}
    with gateway(letta.base_url, keys=(OF_A_PAGE,)) as url, http(url) as client:
        headers = client.post(URL, json=STREAM, headers=page).headers

    assert headers["vary"].lower().replace(" ", "").split(",") == ["origin", "accept-encoding"]


@pytest.mark.parametrize("body", [STREAM, chat()], ids=["stream", "whole"])
def test_nothing_is_compressed_for_other_keys(letta: FakeLetta, body: dict[str, Any]) -> None:
    letta.steps = [PING, LONG_WORD, STOP, USAGE]
    with gateway(letta.base_url) as url, http(url) as client:
        headers = client.post(URL, json=body, headers={"accept-encoding": "gzip, zstd"}).headers

    assert {"content-encoding", "vary"} & headers.keys() == set()


def test_an_error_comes_as_it_is(letta: FakeLetta) -> None:
    with gateway(letta.base_url, keys=(COMPRESSING,)) as url, http(url) as client:
        response = client.post(URL, json=chat(n=2), headers={"accept-encoding": "gzip"})

    assert (response.status_code, "content-encoding" in response.headers) == (400, False)
