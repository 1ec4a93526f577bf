"""`Record`: what became of one request, from which its line in the log is written.

Of what a request holds, a line has the words of OpenAI's API, and the name of a model that is none: nothing there can
break the line, or tell what was said, or who said it.
"""

import json
import logging
import re
import time
import uuid
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gateway.domain.errors import (
    GatewayError,
    InvalidApiKey,
    InvalidRequest,
    InvalidUserToken,
    ModelNotFound,
    UserRequired,
)
from gateway.domain.events import TokensCounted
from gateway.wires.envelope import UpstreamFailure

if TYPE_CHECKING:  # the log is begun before the server is imported
    from litestar.types import Scope

access = logging.getLogger("gateway.access")
CLIENT_LEFT = "client_left"
# Where a scope's state holds the record.
_NAME = "record"
REQUEST_ID: ContextVar[str] = ContextVar("request id", default="")
"""The id of the request for which something is done now; empty where it is done for none."""

# Short enough for no digest, no UUID and hardly any key to be one.
_WORD = re.compile(r"(?!(?i:sk|pk)[-_])[A-Za-z0-9._~-]{1,30}")
_MOST_WORDS = 3
_LONGEST_REASON = 300
# A value of a line that needs no quotes.
_PLAIN = re.compile(r"[A-Za-z0-9._~:/+…\[\]-]+")
# The names of parameters, as errors have them: `messages[0].content`.
_PARAM = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,79}")
# Errors whose sentences hold nothing of the request, and say more than their code.
_TELLING = (InvalidApiKey, InvalidUserToken, UserRequired)
# Probes of health come every few seconds, and the files of the page all at once.
_QUIET = re.compile(r"/(?:healthz|readyz|web/.*)/?", re.DOTALL)


def new_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"


def shown(name: str) -> str:
    """The name of a model or a task that a request gives, as far as it is made of plain words: `openai/…`."""
    return "/".join(word if _WORD.fullmatch(word) else "…" for word in name.split("/", _MOST_WORDS))


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
    path: str = "-"
    """The path as `unserved.shown_path` shows it: it may hold anything."""
    key: str | None = None
    """The name of the key in the configuration; None until one was recognized."""
    model: str | None = None
    """The model that was asked for, once the key was found to have it."""
    agent_type: str | None = None
    """None where no agent answers, as with a background task."""
    agent: str | None = None
    """The name of the agent in Letta, or the id of one that everybody shares."""
    task: str | None = None
    """The kind of the background task that it is."""
    streamed: bool = False
    """True: the answer is a stream."""
    joined: bool = False
    """True: another request had begun the run, and this one was the same again."""
    status: int | None = None
    """The status of the response; None if none was begun."""
    outcome: str | None = None
    """None if all went well; else the code of the error that the client was told, at first or within a stream, or
    CLIENT_LEFT."""
    param: str | None = None
    """The name of the part of the request that is wrong."""
    asked: str | None = None
    """The model that was asked for, and that the key does not have, as far as its name is made of plain words."""
    limit: str | None = None
    """The limit that refused the request: `user.tokens_per_day`."""
    is_trouble: bool = False
    """True: Letta, the model's provider or the gateway itself has failed, and its operator should look at it."""
    why: str | None = None
    """Words about the outcome for whoever reads the log, where it does not tell all: of the gateway's own making."""
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
        self.is_trouble = isinstance(error, UpstreamFailure) or error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        self.param = error.param if error.param and _PARAM.fullmatch(error.param) else None
        self.asked = self.why = None
        if isinstance(error, ModelNotFound):
            self.asked = shown(error.model)
        elif isinstance(error, UpstreamFailure):
            self.why = f"{type(error.cause).__name__}: {error.cause}"
        elif isinstance(error, _TELLING) or (type(error) is InvalidRequest and not error.param):
            # Those about the whole body are fixed sentences.
            self.why = str(error)

    def has_first_frame(self) -> None:
        """Note that the answer has its first bytes."""
        if self.first_frame_seconds is None:
            self.first_frame_seconds = time.monotonic() - self.started

    def end(self) -> None:
        """Write the record: the request is over."""
        self.seconds = time.monotonic() - self.started
        self.write()

    def write(self) -> None:
        level = logging.WARNING if self.is_trouble else logging.DEBUG if self.is_quiet else logging.INFO
        if access.isEnabledFor(level):
            # `access.log` would look for the line of code that calls it, which is always this one.
            access.handle(access.makeRecord(access.name, level, __file__, 0, "%s", (self.line,), None))

    @property
    def is_quiet(self) -> bool:
        """True: all is well with it, and so many come like it that they would hide the others."""
        well = self.status is not None and self.status < HTTPStatus.BAD_REQUEST and self.outcome is None
        return well and _QUIET.fullmatch(self.path) is not None

    @property
    def line(self) -> str:
        """`req_1 POST /v1/chat/completions 200 1500 ms key=programs`.

        After the milliseconds comes what went wrong, if anything did: `… ms upstream_broken key=programs`.
        """
        took = "-" if self.seconds is None else f"{self.seconds * 1000:.0f} ms"
        first = self.first_frame_seconds if self.streamed else None
        fields = {
            "key": self.key,
            "model": self.model,
            "agent": self.agent,
            "task": self.task,
            "asked": self.asked,
            "param": self.param,
            "limit": self.limit,
            "joined": "yes" if self.joined else None,
            "first": None if first is None else f"{first * 1000:.0f}ms",
            "tokens": f"{self.tokens.prompt}+{self.tokens.completion}" if self.tokens and self.tokens.total else None,
            "why": self.why,
        }
        head = [
            self.id,
            self.method,
            self.path,
            str(self.status or "-"),
            took,
            *([self.outcome] if self.outcome else []),
        ]
        return " ".join([*head, *(f"{name}={_quoted(value)}" for name, value in fields.items() if value)])


def _quoted(value: str) -> str:
    """A value in a line: as it is, or as a JSON string in ASCII if it is no plain word."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value[:_LONGEST_REASON])


def keep_record(scope: "Scope", record: Record) -> None:
    """Send a record along with a request."""
    scope.setdefault("state", {})[_NAME] = record


def record_of(scope: "Scope") -> Record:
    """The record of a request; for a scope that is no request's, one that nobody writes."""
    record: Record = scope.get("state", {}).get(_NAME) or Record(new_request_id())
    return record
