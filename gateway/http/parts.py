"""The parts of the gateway that requests are answered with: one of each, from its start to its end."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from litestar import Request
from msgspec import Struct

from gateway.limits.gate import Gate
from gateway.pictures.shown import Pictures
from gateway.settings import Settings
from gateway.tasks.runs import TaskRuns
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.schemas import Schemas


class Parts(Struct, frozen=True, kw_only=True):
    """Everything that a handler needs beside its request. They are no dependencies of Litestar's: none ever changes."""

    settings: Settings
    runs: Runs
    task_runs: TaskRuns
    gate: Gate
    schemas: Schemas
    pictures: Pictures | None
    """None: pictures that are shown by address are not fetched."""
    check_letta: Callable[[], Awaitable[None]]
    """Returns if Letta answers. Raises UpstreamError."""


def parts_of(request: Request[Any, Any, Any]) -> Parts:
    """The parts of the gateway that was sent a request."""
    return cast(Parts, request.app.state.parts)
