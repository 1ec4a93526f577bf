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
from typing import TYPE_CHECKING, Any

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
from gateway.turns.runs.account import Account
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
# The fields that stand first in a line, each in its place.
_UNNAMED = frozenset({"request", "method", "path", "status", "ms", "outcome"})
# Probes of health and those who read metrics come every few seconds, and the files of the page all at once.
_QUIET = re.compile(r"/(?:healthz|readyz|metrics(?:/chats)?|web/.*)/?", re.DOTALL)


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

    To add a field: name it here and say what it means, set it where it is known, and read it in `fields`, or where
    requests are counted and traced (`seen/`). No field holds a prompt, a key or a user's id.
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
    chat: str | None = None
    """The first digits of the chat's name in Letta (`Turn.digits`); None where no agent answers."""
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
    is_trouble: bool = False
    """True: Letta, the model's provider or the gateway itself has failed, and its operator should look at it."""
    upstream_error: str | None = None
    """The kind of the UpstreamError that the client was told of, by its name: `RateLimited`."""
    limit: str | None = None
    """The limit that refused the request: `user.tokens_per_day`."""
    trace: str | None = None
    """The id of the trace that the request is part of."""
    why: str | None = None
    """Words about the outcome for whoever reads the log, where it does not tell all: of the gateway's own making."""
    tokens: TokensCounted | None = None
    """The usage of the run, as far as it was told before the answer was complete."""
    account: Account | None = None
    """The account of the run that the request has begun, which may go on for longer; None if it has begun none."""
    first_frame_seconds: float | None = None
    """Until the first of the answer's own bytes was there; pings are none."""
    last_frame_seconds: float | None = None
    """Until the last of a whole answer's bytes was there."""
    seconds: float | None = None
    """In all; None until the record is written, and for what never became a request."""
    started: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        """The seconds since the request came."""
        return time.monotonic() - self.started

    @property
    def left(self) -> bool:
        """True: the client left before the end of its answer."""
        return self.outcome == CLIENT_LEFT

    def fail(self, error: GatewayError) -> None:
        """Note the error that the client is told."""
        self.outcome = error.code or error.type
        self.is_trouble = isinstance(error, UpstreamFailure) or error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        self.param = error.param if error.param and _PARAM.fullmatch(error.param) else None
        self.asked = self.why = self.upstream_error = None
        if isinstance(error, ModelNotFound):
            self.asked = shown(error.model)
        elif isinstance(error, UpstreamFailure):
            self.upstream_error = type(error.cause).__name__
            self.why = f"{self.upstream_error}: {error.cause}"
        elif isinstance(error, _TELLING) or (type(error) is InvalidRequest and not error.param):
            # Those about the whole body are fixed sentences.
            self.why = str(error)

    def has_first_frame(self) -> None:
        """Note that the answer has its first bytes."""
        if self.first_frame_seconds is None:
            self.first_frame_seconds = self.age

    def has_last_frame(self) -> None:
        """Note that the answer has its last bytes, and its end."""
        self.outcome, self.last_frame_seconds = None, self.age

    def end(self) -> None:
        """Write the record: the request is over."""
        self.seconds = self.age
        self.write()

    def write(self) -> None:
        level = logging.WARNING if self.is_trouble else logging.DEBUG if self.is_quiet else logging.INFO
        if access.isEnabledFor(level):
            # `access.log` would look for the line of code that calls it, which is always this one.
            access.handle(access.makeRecord(access.name, level, __file__, 0, "%s", (self,), None))

    def __str__(self) -> str:
        return self.line

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
        fields = self.fields
        took = "-" if fields["ms"] is None else f"{fields['ms']} ms"
        head = [self.id, self.method, self.path, str(self.status or "-"), took]
        head += [self.outcome] if self.outcome else []
        named = ((name, value) for name, value in fields.items() if name not in _UNNAMED and value is not None)
        return " ".join([*head, *(f"{name}={_worded(name, value)}" for name, value in named)])

    @property
    def fields(self) -> dict[str, Any]:
        """All that its line says, by name and in order; None for what is not known, or does not apply."""
        first = self.first_frame_seconds if self.streamed else None
        tokens = self.tokens if self.tokens and self.tokens.total else None
        return {
            "request": self.id,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "ms": None if self.seconds is None else round(self.seconds * 1000),
            "outcome": self.outcome,
            "key": self.key,
            "model": self.model,
            "agent": self.agent,
            "task": self.task,
            "asked": self.asked,
            "param": self.param,
            "limit": self.limit,
            "joined": self.joined or None,
            "first": None if first is None else round(first * 1000),
            "tokens": {"prompt": tokens.prompt, "completion": tokens.completion} if tokens else None,
            "trace": self.trace,
            "why": self.why or None,
        }


def _worded(name: str, value: Any) -> str:
    """A value as it stands in a line."""
    if name == "first":
        return f"{value}ms"
    if name == "tokens":
        return "+".join(map(str, value.values()))
    return _quoted("yes" if value is True else value)


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
