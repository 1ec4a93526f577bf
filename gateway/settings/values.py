"""The kinds of values that settings have. Performs no I/O."""

import hashlib
import ipaddress
from typing import Annotated

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+\Z")]


class Secret:
    """A value that is used and never shown: its `repr` and `str` are `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def digest_of(key: bytes) -> str:
    """The SHA-256 of a key, by which a configuration may know it, in hexadecimal digits."""
    return hashlib.sha256(key).hexdigest()


class UserSource:
    """One place of a request that may name the user: `UserSource("header:X-OpenWebUI-User-Id")`.

    The places are `header:NAME`, `jwt:NAME` (a header with a signed token), `body:user` and
    `body:safety_identifier`. Raises ValueError for anything else.
    """

    __slots__ = ("kind", "name")

    def __init__(self, text: str) -> None:
        kind, _, name = text.partition(":")
        if not (kind in ("header", "jwt") and name) and text not in ("body:user", "body:safety_identifier"):
            raise ValueError("Expected `header:NAME`, `jwt:NAME`, `body:user` or `body:safety_identifier`")
        self.kind = kind
        self.name = name.lower()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserSource) and (other.kind, other.name) == (self.kind, self.name)

    def __hash__(self) -> int:
        return hash((self.kind, self.name))


def is_loopback(host: str) -> bool:
    """True if `host` (a name or an address, no port) is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
