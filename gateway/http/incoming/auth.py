"""The key that a request carries, found among those of the settings."""

import time
from collections.abc import Callable

from litestar.datastructures import Headers
from msgspec import Struct

from gateway.domain.errors import AmbiguousHeader, Forbidden, InvalidApiKey
from gateway.settings import OPEN_KEY, Key, Settings, digest_of


class Admitted(Struct, frozen=True):
    """A request's key, and by which of its values it was known: `Admitted(key, "9f86…")`."""

    key: Key
    digest: str
    """The SHA-256 of the value that was shown; empty where none is needed."""


class KeyRing:
    """The keys of the settings, found by the digest of what a request shows.

    Nobody learns a key by the time that a look-up takes: it depends on a digest, which nobody can choose.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells the seconds since 1970."""
        self._open = settings.open
        self._clock = clock
        self._known: dict[str, tuple[Key, float | None]] = {
            digest: (key, expires.timestamp() if expires else None)
            for key in settings.keys
            for digest, expires in key.digests.items()
        }
        self.origins = frozenset(origin for key in settings.keys for origin in key.origins)
        """The origins of all web pages that may use some key: `https://chat.example.org`."""

    def admit(self, headers: Headers) -> Admitted:
        """The key of a request.

        Raises InvalidApiKey, AmbiguousHeader if more than one came, or Forbidden if the request comes from a web page
        (`Origin`) that may use another key only.
        """
        if self._open:
            return Admitted(OPEN_KEY, "")
        shown = headers.getall("authorization", [])
        values = [value for value in map(_bearer, shown) if value]
        if not values:
            raise InvalidApiKey("You didn't provide an API key: send the header `Authorization: Bearer KEY`.")
        digest = next((digest for value in values if (digest := _digest(value)) in self._known), "")
        if not digest:
            raise InvalidApiKey("Incorrect API key provided.")
        if len(shown) > 1:
            raise AmbiguousHeader("authorization")
        key, expires = self._known[digest]
        if expires is not None and expires <= self._clock():
            raise InvalidApiKey("This API key has expired.")
        for origin in headers.getall("origin", []):
            if origin not in key.origins and origin in self.origins:
                raise Forbidden("This key may not be used from this origin.", code="origin_not_allowed")
        return Admitted(key, digest)

    def still_admits(self, admitted: Admitted) -> bool:
        """True unless the value by which a key was known has been taken away. One that has expired since was right."""
        return self._open or admitted.digest in self._known


def _bearer(authorization: str) -> str:
    """The key in a header `Authorization: Bearer KEY`; empty if it holds none."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _digest(value: str) -> str:
    return digest_of(value.encode("latin-1"))
