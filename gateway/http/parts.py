"""The parts of the gateway that requests are answered with: one of each, from its start to its end."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from litestar import Request
from msgspec import Struct

from gateway.http.in_force import InForce
from gateway.http.incoming.auth import Admitted
from gateway.http.middleware import Door
from gateway.http.record import record_of
from gateway.pictures.shown import Pictures
from gateway.settings import Settings
from gateway.tasks.runs import TaskRuns
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.schemas import Schemas


class Parts(Struct, frozen=True, kw_only=True):
    """Everything that a handler needs beside its request. They are no dependencies of Litestar's: none ever changes."""

    in_force: InForce
    door: Door
    runs: Runs
    task_runs: TaskRuns
    schemas: Schemas
    pictures: Pictures | None
    """None: pictures that are shown by address are not fetched."""
    check_letta: Callable[[], Awaitable[None]]
    """Returns if Letta answers. Raises UpstreamError."""

    @property
    def settings(self) -> Settings:
        """The settings that are in force now."""
        return self.in_force.settings

    @property
    def answers_under_way(self) -> int:
        """How many answers are being given, or worked on: a run may go on for a moment after its client has left."""
        return max(self.door.under_way, len(self.runs.under_way))


def admit(request: Request[Any, Any, Any]) -> Admitted:
    """The key of a request, which its record names. Raises what `KeyRing.admit` does."""
    admitted = parts_of(request).in_force.ring.admit(request.headers)
    record_of(request.scope).key = admitted.key.name
    return admitted


def parts_of(request: Request[Any, Any, Any]) -> Parts:
    """The parts of the gateway that was sent a request."""
    return cast(Parts, request.app.state.parts)
