"""The parts of the gateway that requests are answered with: one of each, from its start to its end."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from litestar import Request
from msgspec import Struct

from gateway.http.in_force import InForce
from gateway.http.incoming.auth import Admitted
from gateway.http.middleware import Door
from gateway.http.record import Record, record_of
from gateway.http.seen.chats import ChatsUnderWay
from gateway.http.seen.under_way import RequestsUnderWay
from gateway.limits.gate import Gate
from gateway.pictures.shown import Pictures
from gateway.settings import Settings
from gateway.tasks.runs import TaskRuns
from gateway.turns.given import GivenChats
from gateway.turns.kept import KeptTurns
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.schemas import Schemas
from gateway.wires.responses.ids import Seal


class Numbers(Protocol):
    """The metrics, as those see them who read them (`http/seen/metrics.py`)."""

    content_type: str

    def read(self, name: str, about: str, read: Callable[[], int]) -> None:
        """Have a number read, by the event loop, whenever somebody asks."""
        ...

    async def exposed(self) -> bytes:
        """All of them, in the format of `content_type`."""
        ...


class Spans(Protocol):
    """The traces, as a handler sees them (`http/seen/traces.py`)."""

    def begin(self, record: Record, parent: str) -> str:
        """Begin the span of a request that reaches an agent; gives the `traceparent` of what is done for it."""
        ...


class Others(Protocol):
    """The other gateways in front of the same Letta (`together.py`)."""

    @property
    def relayed(self) -> int:
        """The number of turns with which this gateway goes on for them."""
        ...


class Whole(Protocol):
    """The whole of a gateway of several processes, as one of them sees it. Its calls raise Overloaded."""

    async def check(self) -> None:
        """Return if every process serves, is not about to end, and has a Letta that answers."""
        ...

    async def numbers(self) -> bytes:
        """The sums of all metrics, in the format in which each process gives its own."""
        ...

    async def chats(self) -> ChatsUnderWay:
        """The answers under way in all of them."""
        ...


class Parts(Struct, frozen=True, kw_only=True):
    """Everything that a handler needs beside its request. They are no dependencies of Litestar's: none ever changes."""

    in_force: InForce
    door: Door
    runs: Runs
    task_runs: TaskRuns
    gate: Gate
    schemas: Schemas
    pictures: Pictures | None
    """None: pictures that are shown by address are not fetched."""
    kept: KeptTurns
    given: GivenChats
    seal: Seal
    check_letta: Callable[[], Awaitable[None]]
    """Returns if Letta answers. Raises UpstreamError."""
    together: Others
    under_way: RequestsUnderWay
    metrics: Numbers | None
    """None: nothing is counted, and there is no `/metrics`."""
    traces: Spans | None
    """None: nothing is traced."""
    whole: Whole | None = None
    """None: this process is all there is of the gateway."""

    @property
    def settings(self) -> Settings:
        """The settings that are in force now."""
        return self.in_force.settings

    @property
    def answers_under_way(self) -> int:
        """How many answers are being given, or worked on: a run may go on for a moment after its client has left."""
        return max(self.door.under_way, len(self.runs.under_way)) + self.together.relayed


def admit(request: Request[Any, Any, Any]) -> Admitted:
    """The key of a request, which its record names. Raises what `KeyRing.admit` does."""
    admitted = parts_of(request).in_force.ring.admit(request.headers)
    record_of(request.scope).key = admitted.key.name
    return admitted


def parts_of(request: Request[Any, Any, Any]) -> Parts:
    """The parts of the gateway that was sent a request."""
    return cast(Parts, request.app.state.parts)
