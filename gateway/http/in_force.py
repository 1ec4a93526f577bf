"""The configuration in force: what it says now, and the answers that are under way by its keys."""

from litestar.config.cors import CORSConfig

from gateway.domain.errors import InvalidApiKey
from gateway.http.answers.answering import Answer
from gateway.http.incoming.auth import Admitted, KeyRing
from gateway.settings import Settings


class InForce:
    """The settings and their keys, which may be replaced while the gateway serves.

    A request reads the settings once, at its begin, and keeps to them. Its key must be right until its end.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ring = KeyRing(settings)
        self._answers: dict[Answer, Admitted] = {}

    def take_up(self, settings: Settings) -> None:
        """Have requests read other settings from now on; answers of keys that are gone end with an error."""
        self.settings, self.ring = settings, KeyRing(settings)
        for answer, admitted in [*self._answers.items()]:
            self._check(answer, admitted)

    def watch(self, answer: Answer, admitted: Admitted) -> None:
        """Hold an answer to its key, until the answer ends."""
        self._answers[answer] = admitted
        answer.on_leave = self._forget
        # The key may have gone since it was shown.
        self._check(answer, admitted)

    def _forget(self, answer: Answer) -> None:
        self._answers.pop(answer, None)

    def _check(self, answer: Answer, admitted: Admitted) -> None:
        if not self.ring.still_admits(admitted):
            answer.cut(InvalidApiKey("This API key is no longer valid."))


class OriginsInForce(CORSConfig):
    """Litestar's rules for web pages, with the origins of the keys that there are at the moment."""

    def __init__(self, in_force: InForce, expose_headers: list[str]) -> None:
        super().__init__(allow_origins=[], expose_headers=expose_headers)
        self._in_force = in_force

    def is_origin_allowed(self, origin: str) -> bool:
        return origin in self._in_force.ring.origins
