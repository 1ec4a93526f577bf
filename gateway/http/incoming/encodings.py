"""A decoder of compressed bodies, piece by piece, so that a small one that grows large is noticed. Performs no I/O."""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from gateway.domain.errors import InvalidRequest, UnknownEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 64 * 1024
# A body may be several compressed streams (members) in a row, and even an empty one costs time.
MOST_MEMBERS = 100
# https://www.rfc-editor.org/rfc/rfc9659#section-3: a sender may have a receiver keep a window of at most 8 MiB.
ZSTD_WINDOW = {int(zstd.DecompressionParameter.window_log_max): 23}


class _Stream(Protocol):
    """A decoder of one compressed stream, in the form of `zstd`, `bz2` and `lzma`: it keeps input not read yet."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Zlib:
    """zlib's decoder in that form; without `bits`, of the format `deflate`, in either of its two forms."""

    def __init__(self, bits: int | None) -> None:
        self._inflate = zlib.decompressobj(bits) if bits else None
        self._tail = b""

    @property
    def eof(self) -> bool:
        return self._inflate is not None and self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data if self._inflate else b""

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        if self._inflate is None:
            # https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.2: deflate has zlib's header. Some send it without.
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x8F == 0x08 else -zlib.MAX_WBITS)
        piece = self._inflate.decompress(self._tail + data, max_length)
        self._tail = self._inflate.unconsumed_tail
        return piece


def _gzip() -> _Stream:
    return _Zlib(16 + zlib.MAX_WBITS)


def _zstd() -> _Stream:
    return zstd.ZstdDecompressor(options=ZSTD_WINDOW)


_STREAMS: dict[str, Callable[[], _Stream]] = {
    "gzip": _gzip,
    "deflate": lambda: _Zlib(None),
    "zstd": _zstd,
    "x-gzip": _gzip,
}
KNOWN = ("gzip", "deflate", "zstd")


class Decoder:
    """Decodes one body. Raises InvalidRequest if the body is not what its header says."""

    def __init__(self, encoding: str) -> None:
        """`encoding` is the value of `Content-Encoding`. Raises UnknownEncoding."""
        if encoding not in _STREAMS:
            raise UnknownEncoding(encoding, KNOWN)
        self._new = _STREAMS[encoding]
        self._stream = self._new()
        self._members = 1

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The decoded content of `data`, in pieces of at most `PIECE_BYTES`."""
        piece = b""
        # Behind a piece of full length there may be more of the same input.
        while data or (len(piece) == PIECE_BYTES and not self._stream.eof):
            if self._stream.eof:
                self._begin_member()
            try:
                piece = self._stream.decompress(data, PIECE_BYTES)
            except (zlib.error, zstd.ZstdError):
                raise _not_as_said() from None
            data = self._stream.unused_data if self._stream.eof else b""
            yield piece

    def close(self) -> None:
        """Note the body's end. Raises InvalidRequest if its encoding has not come to one."""
        if not self._stream.eof:
            raise _not_as_said()

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise _not_as_said()
        self._stream = self._new()


def _not_as_said() -> InvalidRequest:
    return InvalidRequest("The body is not what its header `Content-Encoding` says.")
