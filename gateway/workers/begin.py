"""The first word to a worker: its settings, as the parent has read them, and what it has inherited. Performs no I/O."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.settings import Secret, Settings, UserSource


class CannotWork(Exception):
    """No worker can serve; the text says why."""


class Begin(Struct, frozen=True):
    """All that a worker must know: `Begin(Raw(b"{…}"), number=1, sockets=(5,), for_metrics=())`."""

    settings: Raw
    number: int
    """Its number among the workers, from 1 on."""
    sockets: tuple[int, ...]
    """The files of the sockets at which it serves."""
    for_metrics: tuple[int, ...]
    """The files of the sockets at which metrics are read without a key."""
    announces: bool = False
    """True: it says which models there are, and whom no key reaches any more; once a gateway, and not once a worker."""


def to_json_settings(settings: Settings) -> Raw:
    """The settings for another process, with all keys and passwords that are in them."""
    return Raw(msgspec.json.encode(settings, enc_hook=_plain))


def from_json_settings(content: Raw) -> Settings:
    return msgspec.json.decode(content, type=Settings, dec_hook=_made)


def _plain(value: Any) -> Any:
    match value:
        case Secret():
            return value.reveal()
        case UserSource():
            return f"{value.kind}:{value.name}"
        case _:
            raise NotImplementedError(type(value).__name__)


def _made(kind: type, value: Any) -> Any:
    return kind(value)


def share_of(settings: Settings, number: int, workers: int) -> Settings:
    """The settings of a worker: limits of the whole gateway are divided among them, and none is less than 1.

    `share_of(settings, 1, 2).server.max_streams == 1000` where the gateway's is 2000.
    """
    server, letta = settings.server, settings.letta
    server_limits = {name: _part(getattr(server, name), number, workers) for name in ("max_connections", "max_streams")}
    return msgspec.structs.replace(
        settings,
        server=msgspec.structs.replace(server, **server_limits),
        letta=msgspec.structs.replace(letta, max_connections=_part(letta.max_connections, number, workers)),
    )


def _part(whole: int, number: int, workers: int) -> int:
    least, rest = divmod(whole, workers)
    return max(1, least + (number <= rest))
