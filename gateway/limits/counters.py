"""The protocol of what is counted: requests, answers under way and tokens, each by the one who pays for it.

Everything that several gateways have to agree on goes through it. A counter has a name, which is a plain string, and
no clock of its own: the time is given to it. Performs no I/O.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct


class Payer(Struct, frozen=True):
    """A payer: `Payer("open-webui")` is a key with all of its users, `Payer("open-webui", "1f…")` one user of it."""

    key: str
    """The name of the key in the configuration."""
    person: str = ""
    """The digest of the user (`turns/chats/markers.py:user_digest`); empty for all users of the key."""

    @property
    def name(self) -> str:
        """The name of the payer's counters; the digest has no space, and comes first."""
        return f"{self.person} {self.key}"


class Spent(Struct, frozen=True):
    """The sum that a payer has spent in a day or a month: `Spent(answers=2, prompt=30, completion=12, total=42)`."""

    answers: int = 0
    """The runs, as far as they have ended."""
    prompt: int = 0
    completion: int = 0
    total: int = 0
    """All tokens. It is more than prompt and completion where the provider counts thoughts beside both."""
    estimated: int = 0
    """The part of the total that Letta has not told."""

    def plus(self, other: "Spent") -> "Spent":
        return Spent(
            self.answers + other.answers,
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.total + other.total,
            self.estimated + other.estimated,
        )

    def minus(self, other: "Spent") -> "Spent":
        return Spent(
            self.answers - other.answers,
            self.prompt - other.prompt,
            self.completion - other.completion,
            self.total - other.total,
            self.estimated - other.estimated,
        )


NOTHING_SPENT = Spent()
Row = tuple[Payer, str]
"""A payer and a period: `(Payer("open-webui"), "2026-11")`."""


class Rate(Struct, frozen=True):
    """The state of a counter of requests: `Rate(taken=True, remaining=2, full_after=20.0)`."""

    taken: bool
    """True: there was room for what was to be taken."""
    remaining: int
    """The requests for which there is room now."""
    full_after: float
    """The seconds until there is room for as many as at first."""
    room_after: float = 0.0
    """The seconds until there is room for one; 0 while there is some."""


class Counters(Protocol):
    """Counters that live longer than a request."""

    are_shared: bool
    """True: other processes ask them, too, and should soon know what a run has cost so far."""

    @property
    def since(self) -> datetime | None:
        """The moment from which on tokens are counted, where nothing outlives the process; else None."""
        ...

    async def start(self) -> None:
        """Make ready, once however often it is called. Raises CannotKeep."""
        ...

    async def take(self, name: str, most: int, now: float, count: int = 1, within: float = 60.0) -> Rate:
        """Take so many requests of a counter: 0 to look at it, a negative number to give them back.

        `most` of them may come `within` so many seconds, which are always the same for a name. `now` is
        in seconds since 1970 (UTC).
        """
        ...

    async def enter(self, name: str, most: int) -> bool:
        """Begin an answer, if fewer than `most` are under way; returns False if not. `leave` must follow a True."""
        ...

    async def leave(self, name: str) -> None:
        """End an answer that has been begun."""
        ...

    async def under_way(self, name: str) -> int:
        """The number of answers that have been begun and not ended."""
        ...

    async def spend(self, payer: Payer, periods: tuple[str, ...], spent: Spent) -> None:
        """Add to what a payer has spent in each of these periods: `2026-11-30` and `2026-11`; waits for nobody."""
        ...

    async def spent(self, payer: Payer, period: str) -> Spent:
        """All that a payer has spent in a period."""
        ...

    async def sums(self, rows: Sequence[Row]) -> list[Spent]:
        """All that these payers have spent in these periods, in their order."""
        ...

    async def aclose(self) -> None:
        """Keep what is to be kept, and end."""
        ...


class CannotKeep(Exception):
    """The gateway cannot keep what its users use; the text, for its operator, names the file and says why."""
