"""Compressors of answers, each as its client accepts it: every piece goes out whole, and waits for none after it.

Performs no I/O.
"""

import re
import sys
import zlib
from typing import ClassVar, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# An answer may take minutes, and thousands are under way at one time: a compressor has some 64 KiB for itself. A longer
# memory of what was said makes streams hardly smaller, for what repeats in them is the frame around each word.
_GZIP_BITS, _GZIP_MEMORY = 16 + 13, 6
_ZSTD = {
    int(zstd.CompressionParameter.compression_level): 1,
    int(zstd.CompressionParameter.window_log): 14,
    int(zstd.CompressionParameter.hash_log): 11,
}
# https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class Compressor(Protocol):
    """A compressor of one answer."""

    encoding: ClassVar[str]
    """Its name in `Content-Encoding`."""

    def compress(self, data: bytes) -> bytes:
        """The bytes that have all of `data` in them: who has them can read it, before more comes."""
        ...

    def end(self, data: bytes) -> bytes:
        """The same for the last of the data; without them no decoder takes the answer for a whole one."""
        ...


class _Gzip:
    encoding: ClassVar[str] = "gzip"

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=_GZIP_BITS, memLevel=_GZIP_MEMORY)

    def compress(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush()


class _Zstd:
    encoding: ClassVar[str] = "zstd"

    def __init__(self) -> None:
        self._frame = zstd.ZstdCompressor(options=_ZSTD)

    def compress(self, data: bytes) -> bytes:
        return self._frame.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self, data: bytes) -> bytes:
        return self._frame.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def compressor_for(accepted: str) -> Compressor | None:
    """A compressor that the value of `Accept-Encoding` asks for; None if it asks for none that is known here.

    `compressor_for("gzip, deflate, br, zstd")` is one of `zstd`: of two that a client likes equally, it costs less.
    """
    weights = _weights(accepted)
    # Whoever takes anything knows the oldest.
    gzip = weights.get("gzip", weights.get("*", 0.0))
    ranks = {"zstd": weights.get("zstd", 0.0), "gzip": gzip, "identity": weights.get("identity", 0.0)}
    best = max(ranks, key=lambda name: ranks[name])
    if best == "identity" or not ranks[best]:
        return None
    return _Zstd() if best == "zstd" else _Gzip()


def encoding_headers(compressor: Compressor | None) -> dict[str, str]:
    """The header that says how an answer is compressed, if it is."""
    return {"content-encoding": compressor.encoding} if compressor else {}


def _weights(accepted: str) -> dict[str, float]:
    """How much a client likes each encoding, from 0 (not at all) to 1."""
    weights = {}
    # https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
    for one in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        found = [_WEIGHT.fullmatch(parameter) for parameter in parameters]
        # https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.3
        weights[name.replace("x-gzip", "gzip")] = min((float(w[1]) if w else 0.0 for w in found), default=1.0)
    return weights
