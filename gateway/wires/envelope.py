"""OpenAI's envelope of an error, and what a client is told of an error of Letta's. Performs no I/O.

https://developers.openai.com/api/docs/guides/error-codes
"""

from http import HTTPStatus

import msgspec
from msgspec import Struct

from gateway.domain import errors
from gateway.domain.errors import RETRY_AFTER_SECONDS, GatewayError


class Error(Struct, frozen=True):
    """An error: `Error("The model `x` does not exist …", "invalid_request_error", "model", "model_not_found")`.

    `message` is a fixed sentence, or names a parameter or an error of a model's provider: no internals, nothing of the
    request.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(Struct, frozen=True):
    """The body of a response that tells of an error, and the event of a stream that does."""

    error: Error


def to_response(error: GatewayError) -> ErrorResponse:
    """Put an error into its envelope."""
    return ErrorResponse(Error(str(error), error.type, error.param, error.code))


def to_json(error: GatewayError) -> bytes:
    """Encode an error in its envelope."""
    return msgspec.json.encode(to_response(error))


class _Row(Struct, frozen=True):
    """A row of the table of errors of Letta's: status, code and sentence for a client."""

    status: HTTPStatus
    code: str
    message: str
    type: str = "api_error"


BAD_GATEWAY = HTTPStatus.BAD_GATEWAY
# The most specific class that an error is an instance of counts.
UPSTREAM: dict[type[errors.UpstreamError], _Row] = {
    errors.Unreachable: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "upstream_unreachable",
        "Letta cannot be reached. Please try again later.",
    ),
    errors.NotFound: _Row(
        BAD_GATEWAY, "upstream_not_found", "Letta does not know the agent, its model or its conversation."
    ),
    errors.Busy: _Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "conversation_busy",
        "The agent is still busy in this chat. Please try again later.",
        "rate_limit_error",
    ),
    errors.Garbled: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "agent_garbled",
        "A file that Letta keeps of your agent, or of this chat, is damaged. Whoever runs this gateway can mend it: "
        "`letta-gateway check` tells how.",
    ),
    errors.Refused: _Row(
        BAD_GATEWAY,
        "upstream_refused",
        "Letta refused the gateway's request. `letta-gateway check` tells what is wrong.",
    ),
    errors.KeyRefused: _Row(
        BAD_GATEWAY, "upstream_refused", "Letta refused the gateway's key. `letta-gateway check` tells what is wrong."
    ),
    errors.TooLong: _Row(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "request_too_large",
        "The messages are longer than Letta takes.",
        "invalid_request_error",
    ),
    errors.Overtaken: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "gateway_overtaken",
        "The gateway lost touch with the others, and stopped so that no two go on with this chat. Please try again.",
    ),
    errors.AnsweredElsewhere: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "answered_elsewhere",
        "Another gateway is giving this answer, and it cannot be followed here.",
    ),
    errors.RunFailed: _Row(BAD_GATEWAY, "upstream_error", "Letta failed to answer."),
    errors.NoSpace: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "upstream_storage_full",
        "The disk on which Letta keeps chats is full. What is said is kept again once there is room.",
    ),
    errors.BrokenStream: _Row(BAD_GATEWAY, "upstream_broken", "The connection to Letta broke before the answer's end."),
    errors.TimedOut: _Row(HTTPStatus.GATEWAY_TIMEOUT, "upstream_timeout", "Letta did not answer in time."),
    errors.Stopped: _Row(BAD_GATEWAY, "run_cancelled", "The answer was stopped before its end."),
    errors.Unwanted: _Row(BAD_GATEWAY, "response_cancelled", "The response was cancelled."),
    errors.RateLimited: _Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "rate_limit_exceeded",
        "The model's provider limits the rate of requests. Please try again later.",
        "rate_limit_error",
    ),
    errors.OutOfCredits: _Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "insufficient_quota",
        "The account with Letta, or with the model's provider, has no credits left.",
        "insufficient_quota",
    ),
    errors.ModelRefused: _Row(
        BAD_GATEWAY, "model_authentication", "The model's provider does not accept Letta's credentials."
    ),
    errors.ModelFailed: _Row(BAD_GATEWAY, "model_error", "The model's provider failed."),
    errors.ModelTimedOut: _Row(
        HTTPStatus.GATEWAY_TIMEOUT, "model_timeout", "The model's provider did not answer in time."
    ),
    errors.ContextOverflow: _Row(
        HTTPStatus.BAD_REQUEST,
        "context_length_exceeded",
        "The conversation is longer than the model's context window.",
        "invalid_request_error",
    ),
    errors.PictureRefused: _Row(
        HTTPStatus.BAD_REQUEST,
        "invalid_image",
        "Letta cannot read a picture: it is damaged, or has too many pixels.",
        "invalid_request_error",
    ),
}


class UpstreamFailure(GatewayError):
    """An error of Letta's, or of the model behind it, told without their own words, but for names of errors.

    Once Letta has the message, an SDK that resends would store it twice: `x-should-retry: false` stops it.
    https://github.com/openai/openai-python#retries
    """

    def __init__(self, error: errors.UpstreamError) -> None:
        row = next(UPSTREAM[kind] for kind in type(error).__mro__ if kind in UPSTREAM)
        message = row.message
        if isinstance(error, errors.UnknownStopReason):
            message = f"Letta stopped for a reason this gateway does not know: `{error.stop_reason}`."
        elif error.said:
            message = message.replace(".", f" ({error.said}).", 1)
        super().__init__(message, code=row.code)
        self.cause = error
        self.status_code = row.status
        self.type = row.type
        if isinstance(error, errors.Busy):
            self.headers["retry-after"] = RETRY_AFTER_SECONDS
        # A damaged file does not mend itself within the moments of a retry.
        if error.taken or isinstance(error, errors.Garbled):
            self.headers["x-should-retry"] = "false"
