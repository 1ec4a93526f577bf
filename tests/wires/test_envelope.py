"""Errors in OpenAI's envelope: the four keys, the table from Letta's errors, and who may send again."""

from collections.abc import Iterator

import msgspec
import pytest

from gateway.domain import errors as letta
from gateway.domain.errors import (
    BodyTooLarge,
    Forbidden,
    GatewayError,
    IdempotencyKeyReused,
    InternalError,
    InvalidApiKey,
    InvalidRequest,
    MethodNotAllowed,
    ModelNotFound,
    RouteNotFound,
    UserRequired,
)
from gateway.letta import error_words
from gateway.letta.embedded.lock import StateInUse
from gateway.wires.envelope import UPSTREAM, UpstreamFailure, to_json


def subclasses(kind: type[letta.UpstreamError]) -> Iterator[type[letta.UpstreamError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


# (status, type, code)
STATUSES: dict[type[letta.UpstreamError], tuple[int, str, str]] = {
    letta.Unreachable: (503, "api_error", "upstream_unreachable"),
    letta.CannotStart: (503, "api_error", "upstream_unreachable"),
    StateInUse: (503, "api_error", "upstream_unreachable"),
    letta.NotFound: (502, "api_error", "upstream_not_found"),
    letta.Busy: (429, "rate_limit_error", "conversation_busy"),
    letta.QueueFull: (429, "rate_limit_error", "conversation_busy"),
    letta.Stuck: (429, "rate_limit_error", "conversation_busy"),
    letta.Abandoned: (429, "rate_limit_error", "conversation_busy"),
    letta.Garbled: (503, "api_error", "agent_garbled"),
    letta.Refused: (502, "api_error", "upstream_refused"),
    letta.KeyRefused: (502, "api_error", "upstream_refused"),
    letta.Locked: (502, "api_error", "upstream_refused"),
    letta.TooLong: (413, "invalid_request_error", "request_too_large"),
    letta.RunFailed: (502, "api_error", "upstream_error"),
    letta.UnknownStopReason: (502, "api_error", "upstream_error"),
    letta.Overtaken: (503, "api_error", "gateway_overtaken"),
    letta.AnsweredElsewhere: (503, "api_error", "answered_elsewhere"),
    letta.NoSpace: (503, "api_error", "upstream_storage_full"),
    letta.BrokenStream: (502, "api_error", "upstream_broken"),
    letta.TimedOut: (504, "api_error", "upstream_timeout"),
    letta.Stopped: (502, "api_error", "run_cancelled"),
    letta.Unwanted: (502, "api_error", "response_cancelled"),
    letta.RateLimited: (429, "rate_limit_error", "rate_limit_exceeded"),
    letta.OutOfCredits: (429, "insufficient_quota", "insufficient_quota"),
    letta.ModelRefused: (502, "api_error", "model_authentication"),
    letta.ModelFailed: (502, "api_error", "model_error"),
    letta.ModelTimedOut: (504, "api_error", "model_timeout"),
    letta.ContextOverflow: (400, "invalid_request_error", "context_length_exceeded"),
    letta.PictureRefused: (400, "invalid_request_error", "invalid_image"),
}


# Whatever the chat is busy with, its client can only try again later.
TOLD_AS_THEIR_BASE = {
    *(letta.CannotStart, StateInUse, letta.Stuck, letta.QueueFull, letta.Abandoned, letta.Locked),
    letta.UnknownStopReason,
}


def test_every_error_of_letta_has_a_row() -> None:
    assert set(STATUSES) == set(subclasses(letta.UpstreamError))
    assert set(UPSTREAM) == set(STATUSES) - TOLD_AS_THEIR_BASE


@pytest.mark.parametrize(("kind", "expected"), STATUSES.items(), ids=[kind.__name__ for kind in STATUSES])
def test_an_error_of_letta_has_its_status_type_and_code(
    kind: type[letta.UpstreamError], expected: tuple[int, str, str]
) -> None:
    failure = UpstreamFailure(kind("HTTP 500"))

    assert (failure.status_code, failure.type, failure.code) == expected


@pytest.mark.parametrize("kind", STATUSES, ids=[kind.__name__ for kind in STATUSES])
def test_an_error_of_letta_is_not_told_in_its_own_words(kind: type[letta.UpstreamError]) -> None:
    # A reason to stop is one word, which its error names.
    error = letta.RunFailed if kind is letta.UnknownStopReason else kind
    failure = UpstreamFailure(error("Traceback: sqlalchemy"))

    assert "sqlalchemy" not in to_json(failure).decode()


@pytest.mark.parametrize("kind", STATUSES, ids=[kind.__name__ for kind in STATUSES])
def test_only_what_letta_has_taken_or_cannot_read_must_not_be_sent_again(kind: type[letta.UpstreamError]) -> None:
    hopeless = issubclass(kind, letta.RunFailed | letta.Garbled)

    assert UpstreamFailure(kind()).headers.get("x-should-retry") == ("false" if hopeless else None)


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("kind", [letta.Busy, letta.RunFailed, letta.TimedOut])
def test_an_error_may_know_better_whether_letta_has_the_message(kind: type[letta.UpstreamError], taken: bool) -> None:
    assert UpstreamFailure(kind(taken=taken)).headers.get("x-should-retry") == ("false" if taken else None)


@pytest.mark.parametrize("kind", STATUSES, ids=[kind.__name__ for kind in STATUSES])
def test_only_a_busy_chat_says_when_to_try_again(kind: type[letta.UpstreamError]) -> None:
    seconds = UpstreamFailure(kind()).headers.get("retry-after")

    assert seconds == ("5" if issubclass(kind, letta.Busy) else None)


def test_a_reason_to_stop_that_nobody_knows_is_named() -> None:
    failure = UpstreamFailure(letta.UnknownStopReason("tired"))

    assert "`tired`" in str(failure)
    assert (failure.status_code, failure.code) == (502, "upstream_error")
    assert failure.headers == {"x-should-retry": "false"}


# (error, status, envelope)
ENVELOPES: dict[str, tuple[GatewayError, int, dict[str, str | None]]] = {
    "invalid request": (
        InvalidRequest("No."),
        400,
        {"message": "No.", "type": "invalid_request_error", "param": None, "code": None},
    ),
    "invalid parameter": (
        InvalidRequest("No.", "n", "unsupported_parameter"),
        400,
        {"message": "No.", "type": "invalid_request_error", "param": "n", "code": "unsupported_parameter"},
    ),
    "user required": (
        UserRequired("Who?", "user"),
        400,
        {"message": "Who?", "type": "invalid_request_error", "param": "user", "code": "user_required"},
    ),
    "unknown model": (
        ModelNotFound("gpt-9"),
        404,
        {
            "message": "The model `gpt-9` does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        },
    ),
    "unknown path": (
        RouteNotFound("Where?"),
        404,
        {"message": "Where?", "type": "invalid_request_error", "param": None, "code": "unknown_url"},
    ),
    "wrong method": (
        MethodNotAllowed("How?"),
        405,
        {"message": "How?", "type": "invalid_request_error", "param": None, "code": "method_not_supported"},
    ),
    "too large": (
        BodyTooLarge("Less."),
        413,
        {"message": "Less.", "type": "invalid_request_error", "param": None, "code": "request_too_large"},
    ),
    "bad key": (
        InvalidApiKey("Key?"),
        401,
        {"message": "Key?", "type": "authentication_error", "param": None, "code": "invalid_api_key"},
    ),
    "forbidden": (
        Forbidden("No.", code="origin_not_allowed"),
        403,
        {"message": "No.", "type": "permission_error", "param": None, "code": "origin_not_allowed"},
    ),
    "an idempotency key of another request": (
        IdempotencyKeyReused(),
        400,
        {
            "message": "This `Idempotency-Key` came with another request before.",
            "type": "invalid_request_error",
            "param": None,
            "code": "idempotency_key_reused",
        },
    ),
    "upstream": (
        UpstreamFailure(letta.Unreachable()),
        503,
        {
            "message": "Letta cannot be reached. Please try again later.",
            "type": "api_error",
            "param": None,
            "code": "upstream_unreachable",
        },
    ),
    "internal": (
        InternalError(),
        500,
        {
            "message": "The gateway failed on this request. Its log has the details.",
            "type": "api_error",
            "param": None,
            "code": "internal_error",
        },
    ),
}


@pytest.mark.parametrize(("error", "status", "envelope"), ENVELOPES.values(), ids=ENVELOPES.keys())
def test_an_envelope_has_all_four_keys(error: GatewayError, status: int, envelope: dict[str, str | None]) -> None:
    assert error.status_code == status
    assert msgspec.json.decode(to_json(error)) == {"error": envelope}


def test_a_bad_key_is_asked_for_a_better_one() -> None:
    assert InvalidApiKey("Key?").headers == {"www-authenticate": "Bearer"}


def test_one_errors_headers_are_not_anothers() -> None:
    UpstreamFailure(letta.RunFailed())

    assert InvalidRequest("No.").headers == {}


ERROR_MESSAGES: dict[str, tuple[str | None, str | None, type[letta.UpstreamError]]] = {
    "model failed": ("llm_error", "boom", letta.ModelFailed),
    "rate limit": ("llm_rate_limit", "boom", letta.RateLimited),
    "authentication": ("llm_authentication", "boom", letta.ModelRefused),
    "timeout": ("llm_timeout", "boom", letta.ModelTimedOut),
    "empty response": ("llm_empty_response", "boom", letta.ModelFailed),
    "internal": ("internal_error", "boom", letta.RunFailed),
    "incomplete": ("stream_incomplete", "boom", letta.RunFailed),
    "unknown": ("sunspots", "boom", letta.RunFailed),
    "no type": (None, "boom", letta.RunFailed),
    "nothing at all": (None, None, letta.RunFailed),
    "context window": ("internal_error", "CONTEXT_WINDOW_EXCEEDED: too long", letta.ContextOverflow),
    "context window of a model": ("llm_error", "CONTEXT_WINDOW_EXCEEDED: too long", letta.ContextOverflow),
    "waits for approval": ("internal_error", "CONFLICT: The agent is waiting for approval", letta.Busy),
    "a conflict further on": ("internal_error", "There was a CONFLICT", letta.RunFailed),
}


@pytest.mark.parametrize(("error_type", "text", "kind"), ERROR_MESSAGES.values(), ids=ERROR_MESSAGES.keys())
def test_an_error_message_tells_which_error(
    error_type: str | None, text: str | None, kind: type[letta.UpstreamError]
) -> None:
    error = error_words.from_error_message(error_type, text)

    assert type(error) is kind
    assert str(error) == f"error_type {error_type}"


FAILED_STOPS = {
    "error": letta.RunFailed,
    "llm_api_error": letta.ModelFailed,
    "invalid_llm_response": letta.ModelFailed,
    "invalid_tool_call": letta.ModelFailed,
    "insufficient_credits": letta.OutOfCredits,
    "context_window_overflow_in_system_prompt": letta.ContextOverflow,
    "cancelled": letta.Stopped,
}


@pytest.mark.parametrize(("reason", "kind"), FAILED_STOPS.items(), ids=FAILED_STOPS.keys())
def test_a_reason_to_stop_tells_which_error(reason: str, kind: type[letta.RunFailed]) -> None:
    error = error_words.from_stop_reason(reason)

    assert type(error) is kind
    assert str(error) == f"stop_reason {reason}"


def test_every_reason_to_stop_without_an_answer_is_known() -> None:
    assert set(error_words.FAILED_STOPS) == set(FAILED_STOPS)
