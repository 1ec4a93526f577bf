"""`Record`: what became of one request, from which its line in the log is written."""

import logging
import time
import uuid

from litestar.types import Scope
from msgspec import Struct, field

from gateway.domain.errors import GatewayError
from gateway.domain.events import TokensCounted

access = logging.getLogger("gateway.access")
CLIENT_LEFT = "client_left"
# Where a scope's state holds the record.
_NAME = "record"


def new_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"


class Record(Struct):
    """One request, from its first byte to its last: `Record("req_1", "POST", "/v1/chat/completions", status=200)`.

    The record is made before anything looks at the request, and comes with its scope (`record_of`). Whoever knows a
    field sets it; `write` is called once, at the end. The log's line is written from it, and so is whatever else is to
    be known of requests: metrics, a trace.

    To add a field: name it here and say what it means, set it where it is known, and read it in `line` or beside it in
    `write`. No field holds a prompt, a key or a user's id.
    """

    id: str
    method: str = "-"
    route: str = "-"
    """The template of the path, and not the path: that may hold anything."""
    key: str | None = None
    """The name of the key in the configuration; None until one was recognized."""
    model: str | None = None
    """The model that was asked for, once the key was found to have it."""
    agent_type: str | None = None
    """None where no agent answers, as with a background task."""
    joined: bool = False
    """True: another request had begun the run, and this one was the same again."""
    status: int | None = None
    """The status of the response; None if none was begun."""
    outcome: str | None = None
    """None if all went well; else the code of the error that the client was told, at first or within a stream, or
    CLIENT_LEFT."""
    tokens: TokensCounted | None = None
    """The usage of the run, as far as it was told before the answer was complete."""
    first_frame_seconds: float | None = None
    """Until the first of the answer's own bytes was there; pings are none."""
    seconds: float | None = None
    """In all; None until the record is written, and for what never became a request."""
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> bool:
        """True: the client left before the end of its answer."""
        return self.outcome == CLIENT_LEFT

    def fail(self, error: GatewayError) -> None:
        """Note the error that the client is told."""
        self.outcome = error.code or error.type

    def has_first_frame(self) -> None:
        """Note that the answer has its first bytes."""
        if self.first_frame_seconds is None:
            self.first_frame_seconds = time.monotonic() - self.started

    def end(self) -> None:
        """Write the record: the request is over."""
        self.seconds = time.monotonic() - self.started
        self.write()

    def write(self) -> None:
        access.info("%s", self.line)

    @property
    def line(self) -> str:
        """`req_1 POST /v1/chat/completions 200 1500 ms`, and at its end what went wrong: `… ms upstream_broken`."""
        took = "-" if self.seconds is None else f"{self.seconds * 1000:.0f} ms"
        line = f"{self.id} {self.method} {self.route} {self.status or '-'} {took}"
        return f"{line} {self.outcome}" if self.outcome else line


def keep_record(scope: Scope, record: Record) -> None:
    """Send a record along with a request."""
    scope.setdefault("state", {})[_NAME] = record


def record_of(scope: Scope) -> Record:
    """The record of a request; for a scope that is no request's, one that nobody writes."""
    record: Record = scope.get("state", {}).get(_NAME) or Record(new_request_id())
    return record
