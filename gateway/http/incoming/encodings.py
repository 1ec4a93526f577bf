"""Bodies that come compressed: read in pieces, so that a small one that grows large is noticed. Performs no I/O."""

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
# A body may be several of them, one after the other; each costs what an empty one costs.
MOST_MEMBERS = 100
# https://www.rfc-editor.org/rfc/rfc9659#section-3: what a sender may ask a receiver to keep, 8 MiB.
ZSTD_WINDOW = {int(zstd.DecompressionParameter.window_log_max): 23}


class _Stream(Protocol):
    """One compressed stream, as `zstd`, `bz2` and `lzma` have it: what is not read yet, it keeps."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Zlib:
    """zlib's in that form."""

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
            # https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.2: deflate is zlib's form. Some send it bare.
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
    """One body, decoded. Raises InvalidRequest for one that is not what its header says."""

    def __init__(self, encoding: str) -> None:
        """Raises UnknownEncoding."""
        if encoding not in _STREAMS:
            raise UnknownEncoding(encoding, KNOWN)
        self._new = _STREAMS[encoding]
        self._stream = self._new()
        self._members = 1

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What `data` holds, in pieces of at most `PIECE_BYTES`."""
        piece = b""
        # A piece of full length may not be all that was made of what came.
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
        """The body has come to its end."""
        if not self._stream.eof:
            raise _not_as_said()

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > MOST_MEMBERS:
            raise _not_as_said()
        self._stream = self._new()


def _not_as_said() -> InvalidRequest:
    return InvalidRequest("The body is not what its header `Content-Encoding` says.")
