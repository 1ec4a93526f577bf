"""Events, and the failures of runs, as bytes for another process. Performs no I/O.

Errors go as their names and what they say; one that the other process does not know is a RunFailed there.
"""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.errors import GatewayError, InternalError, UpstreamError, told, upstream
from gateway.domain.events import Event


def _to_plain(value: Any) -> Any:
    """An error as plain values."""
    if isinstance(value, UpstreamError):
        return [type(value).__name__, [str(part) for part in value.args], value.taken, value.said]
    raise NotImplementedError


def _from_plain(kind: type, value: Any) -> Any:
    """An error of plain values. Raises ValueError for what is none."""
    if not issubclass(kind, UpstreamError):
        raise NotImplementedError
    name, parts, taken, said = value
    found = getattr(upstream, name, None)
    known = found if isinstance(found, type) and issubclass(found, UpstreamError) else upstream.RunFailed
    return known(*parts[:1], taken=taken, said=said)


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_plain)
_events = msgspec.msgpack.Decoder(list[Event], dec_hook=_from_plain)
_error = msgspec.msgpack.Decoder(UpstreamError, dec_hook=_from_plain)


class _Said(Struct, array_like=True):
    """An error that the gateway tells a client: `_Said("InvalidModelOutput", "The model…", None, "invalid_output")`."""

    kind: str
    message: str
    param: str | None
    code: str | None


def events_to_bytes(events: list[Event]) -> bytes:
    """Encode events: `events_from_bytes` gives equal ones."""
    return _encoder.encode(events)


def events_from_bytes(data: bytes) -> list[Event]:
    """Decode what `events_to_bytes` has made. Raises msgspec.MsgspecError."""
    return _events.decode(data)


def failure_to_bytes(error: Exception) -> bytes:
    """Encode the failure of a run: `failure_from_bytes` gives an equal one; of a bug nothing is told."""
    if isinstance(error, UpstreamError):
        return b"u" + _encoder.encode(error)
    if isinstance(error, GatewayError):
        return b"g" + msgspec.msgpack.encode(_Said(type(error).__name__, str(error), error.param, error.code))
    return b"?"


def failure_from_bytes(data: bytes) -> Exception:
    """Decode what `failure_to_bytes` has made. Raises msgspec.MsgspecError."""
    if data.startswith(b"u"):
        return _error.decode(data[1:])
    if not data.startswith(b"g"):
        return InternalError()
    said = msgspec.msgpack.decode(data[1:], type=_Said)
    found = getattr(told, said.kind, None)
    kind = found if isinstance(found, type) and issubclass(found, GatewayError) else GatewayError
    error = kind.__new__(kind)
    GatewayError.__init__(error, said.message, said.param, said.code)
    return error
