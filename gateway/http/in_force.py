"""The configuration in force: what it says now, and what is under way by its keys."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from litestar.config.cors import CORSConfig

from gateway.domain.errors import GatewayError, InvalidApiKey
from gateway.http.incoming.auth import Admitted, KeyRing
from gateway.settings import Settings


class OfAKey(Protocol):
    """An answer or a connection, which goes on for no longer than its key is right."""

    on_leave: Callable[[], None] | None
    """Called at its end."""

    def cut(self, error: GatewayError) -> None:
        """End it with an error."""
        ...


class InForce:
    """The settings and their keys, which may be replaced while the gateway serves.

    A request reads the settings once, at its begin, and keeps to them. Its key must be right until its end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ring = KeyRing(settings)
        self._held: dict[OfAKey, Admitted] = {}

    def take_up(self, settings: Settings) -> None:
        """Have requests read other settings from now on; what is under way by keys that are gone ends with an error."""
        self.settings, self.ring = settings, KeyRing(settings)
        for held, admitted in [*self._held.items()]:
            self._check(held, admitted)

    def watch(self, held: OfAKey, admitted: Admitted) -> None:
        """Hold an answer, or a connection, to its key, until it ends."""
        self._held[held] = admitted
        held.on_leave = partial(self._forget, held)
        # The key may have gone since it was shown.
        self._check(held, admitted)

    def _forget(self, held: OfAKey) -> None:
        self._held.pop(held, None)

    def _check(self, held: OfAKey, admitted: Admitted) -> None:
        if not self.ring.still_admits(admitted):
            held.cut(InvalidApiKey("This API key is no longer valid."))


class OriginsInForce(CORSConfig):
    """Litestar's rules for web pages, with the origins of the keys that there are at the moment."""

    def __init__(self, in_force: InForce, expose_headers: list[str]) -> None:
        super().__init__(allow_origins=[], expose_headers=expose_headers)
        self._in_force = in_force

    def is_origin_allowed(self, origin: str) -> bool:
        return origin in self._in_force.ring.origins
