"""Bodies that come compressed, and bodies that begin with a byte order mark."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidRequest
from gateway.http.incoming.encodings import PIECE_BYTES, Decoder
from tests.gateways import chat, gateway, http
from tests.servers.fake_letta import FakeLetta

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

URL = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
BODY = json.dumps(chat("hello ü")).encode()
MIB = 2**20


def bare(data: bytes) -> bytes:
    """Deflate without zlib's frame."""
    return zlib.compress(data)[2:-4]


# Content-Encoding, and how a body comes to have it
ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip by its old name": ("x-gzip", gzip.compress),
    "gzip in capitals": ("GZIP", gzip.compress),
    "gzip in two members": ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "deflate": ("deflate", zlib.compress),
    "deflate without a frame": ("deflate", bare),
    "zstd": ("zstd", zstd.compress),
    "zstd in two frames": ("zstd", lambda data: zstd.compress(data[:9]) + zstd.compress(data[9:])),
    "itself": ("identity", bytes),
    "nothing": ("", bytes),
}
COMPRESSED = {name: one for name, one in ENCODINGS.items() if one[1] is not bytes}


@pytest.mark.parametrize(("encoding", "encode"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_body_is_read_however_it_is_encoded(
    letta: FakeLetta, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    headers = {**JSON, "content-encoding": encoding}
    with gateway(letta.base_url) as url, http(url) as client:
        for body in (encode(BODY), encode(b"\xef\xbb\xbf" + BODY)):
            in_pieces = (body[i : i + 7] for i in range(0, len(body), 7))
            assert client.post(URL, content=body, headers=headers).status_code == 200
            assert client.post(URL, content=in_pieces, headers=headers).status_code == 200

    assert letta.said == [["hello ü"]] * 4


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, zstd", "aws-chunked", "a" * 10_000])
def test_another_encoding_is_refused_by_its_name(letta: FakeLetta, encoding: str) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        response = client.post(URL, content=BODY, headers={**JSON, "content-encoding": encoding})

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (415, "unsupported_content_encoding")
    assert f"`Content-Encoding: {encoding[:40]}`" in error["message"]
    assert response.headers["accept-encoding"] == "gzip, deflate, zstd"


def test_the_key_is_looked_at_before_the_encoding(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url, "wrong") as client:
        assert client.post(URL, content=BODY, headers={**JSON, "content-encoding": "br"}).status_code == 401


@pytest.mark.parametrize(("encoding", "encode"), COMPRESSED.values(), ids=COMPRESSED)
def test_a_body_that_is_not_as_its_encoding_says_is_a_400(
    letta: FakeLetta, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        for body in (encode(BODY)[:-3], b"\xff" + BODY, encode(BODY) + b"\xff\xff", b""):
            response = client.post(URL, content=body, headers={**JSON, "content-encoding": encoding})
            assert response.status_code == 400
            assert "Content-Encoding" in response.json()["error"]["message"]


@pytest.mark.parametrize(("encoding", "encode"), COMPRESSED.values(), ids=COMPRESSED)
def test_the_limit_of_a_body_holds_for_what_becomes_of_it(
    letta: FakeLetta, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    with gateway(letta.base_url, max_body_mb=1) as url, http(url) as client:
        for size, status in ((MIB, 200), (MIB + 1, 413), (20 * MIB, 413)):
            body = encode(BODY + b" " * (size - len(BODY)))
            response = client.post(URL, content=body, headers={**JSON, "content-encoding": encoding})
            assert response.status_code == status


@pytest.mark.parametrize(("encoding", "encode"), COMPRESSED.values(), ids=COMPRESSED)
def test_a_body_grows_in_small_pieces(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    decoder = Decoder(encoding.lower())
    sizes = [len(piece) for piece in decoder.pieces(encode(b" " * 10 * MIB))]
    decoder.close()

    assert sum(sizes) == 10 * MIB
    assert max(sizes) <= PIECE_BYTES


@given(data=st.binary(max_size=3 * PIECE_BYTES), cut=st.integers(1, 2000), kind=st.sampled_from(list(COMPRESSED)))
def test_a_body_is_the_same_however_its_packets_are_cut(data: bytes, cut: int, kind: str) -> None:
    encoding, encode = COMPRESSED[kind]
    sent, decoder = encode(data), Decoder(encoding.lower())
    pieces = [piece for i in range(0, len(sent), cut) for piece in decoder.pieces(sent[i : i + cut])]
    decoder.close()

    assert b"".join(pieces) == data


def test_a_body_of_very_many_members_is_not_read() -> None:
    decoder = Decoder("gzip")
    with pytest.raises(InvalidRequest):
        list(decoder.pieces(gzip.compress(b"") * 1000))


def test_a_window_of_more_than_8_mib_is_not_kept() -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options={int(name): value for name, value in options.items()})
    sent = compressor.compress(b" " * 9 * MIB) + compressor.flush()
    with pytest.raises(InvalidRequest):
        list(Decoder("zstd").pieces(sent))
