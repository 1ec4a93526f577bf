"""Every error a client can see, in OpenAI's words: hierarchy, envelope, and the table from Letta's errors.

https://developers.openai.com/api/docs/guides/error-codes

GatewayError
  InvalidRequest      400 invalid_request_error
    AmbiguousHeader   400 ambiguous_header
    ToolNamesTaken    400 tool_name_taken
    PicturesUnseen    400 pictures_unseen
    UserRequired      400 user_required
    ModelNotFound     404 model_not_found
    RouteNotFound     404
    MethodNotAllowed  405
    BodyTooLarge      413
    InvalidHttp       400 invalid_http
    RequestTimeout    408 request_timeout
    UnknownEncoding   415 unsupported_content_encoding
    HeadersTooLarge   431 headers_too_large
  Overloaded          503 api_error overloaded
  InvalidApiKey       401 authentication_error invalid_api_key
  InvalidUserToken    401 authentication_error invalid_user_token
  Forbidden           403 permission_error
  UpstreamFailure     the status of the table UPSTREAM
    UnknownStopReason 502, naming the reason
  InvalidModelOutput  502 api_error invalid_model_output
  TaskModelFailed     502 api_error task_model_error
  InternalError       500 api_error
"""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec
from msgspec import Struct

from gateway.letta import errors as letta

# openai's SDKs wait for up to 60 s, and then send the request again.
RETRY_AFTER_SECONDS = "5"


# Of a model that does not exist, so many characters are repeated: no agent type has a longer id.
LONGEST_SHOWN = 100


class Error(Struct, frozen=True):
    """What is wrong. `message` is a fixed sentence, or names a parameter: no internals, nothing of the request."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(Struct, frozen=True):
    error: Error


class GatewayError(Exception):
    """Base of them all; what goes on the wire is made of its attributes."""

    status_code = HTTPStatus.INTERNAL_SERVER_ERROR
    type = "api_error"
    code: str | None = None

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.code
        self.headers: dict[str, str] = {}

    def to_response(self) -> ErrorResponse:
        return ErrorResponse(Error(str(self), self.type, self.param, self.code))

    def to_json(self) -> bytes:
        return msgspec.json.encode(self.to_response())


class InvalidRequest(GatewayError):
    status_code = HTTPStatus.BAD_REQUEST
    type = "invalid_request_error"


class AmbiguousHeader(InvalidRequest):
    """A header that says who asks, or where, and comes twice, as where a proxy adds its own to the client's."""

    code = "ambiguous_header"

    def __init__(self, name: str) -> None:
        super().__init__(f"The header `{name}` came more than once: expected it once.", name)


class IdempotencyKeyReused(InvalidRequest):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This `Idempotency-Key` came with another request before.")


class ToolNamesTaken(InvalidRequest):
    code = "tool_name_taken"

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are those of tools of the agent's own, which stand in the request's `tools`, too."""
        named = ", ".join(f"`{name}`" for name in sorted(names))
        super().__init__(f"`tools` holds {named}, and the agent has tools of its own of that name: {named}.", "tools")


class PicturesUnseen(InvalidRequest):
    code = "pictures_unseen"

    def __init__(self) -> None:
        super().__init__(
            "This agent's model is not shown pictures. Should it be able to see: with a Letta of the gateway's own, "
            "set `vision = true` in `[provider]` (`GATEWAY_VISION=true`); on an App Server, connect the model's "
            "endpoint as another provider than `openai-compatible`.",
            "messages",
        )


class UserRequired(InvalidRequest):
    code = "user_required"


class ModelNotFound(InvalidRequest):
    status_code = HTTPStatus.NOT_FOUND
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        shown = model if len(model) <= LONGEST_SHOWN else f"{model[:LONGEST_SHOWN]}…"
        super().__init__(f"The model `{shown}` does not exist or you do not have access to it.", "model")


class RouteNotFound(InvalidRequest):
    status_code = HTTPStatus.NOT_FOUND
    code = "unknown_url"


class MethodNotAllowed(InvalidRequest):
    status_code = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_supported"


class BodyTooLarge(InvalidRequest):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "request_too_large"

    def __init__(self, message: str = "The request body is larger than this gateway accepts.") -> None:
        super().__init__(message)


class InvalidHttp(InvalidRequest):
    code = "invalid_http"

    def __init__(self) -> None:
        super().__init__("The request is not valid HTTP/1.1.")


class RequestTimeout(InvalidRequest):
    status_code = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("The request did not come in time.")


class UnknownEncoding(InvalidRequest):
    """A body that comes encoded in a way that is not read; `known` are those that are."""

    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_content_encoding"

    def __init__(self, encoding: str, known: Iterable[str]) -> None:
        named = ", ".join(known)
        super().__init__(f"A body with `Content-Encoding: {encoding[:40]}` is not read here, but these are: {named}.")
        # https://www.rfc-editor.org/rfc/rfc7694#section-3
        self.headers["accept-encoding"] = named


class HeadersTooLarge(InvalidRequest):
    status_code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "headers_too_large"

    def __init__(self) -> None:
        super().__init__("The headers, or what stands around the pieces of the body, are too large or too many.")


class Overloaded(GatewayError):
    """More is under way than this gateway takes at one time."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    code = "overloaded"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["retry-after"] = RETRY_AFTER_SECONDS


class InvalidApiKey(GatewayError):
    status_code = HTTPStatus.UNAUTHORIZED
    type = "authentication_error"
    code = "invalid_api_key"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["www-authenticate"] = "Bearer"


class InvalidUserToken(GatewayError):
    """A key that vouches for its users by signed tokens, and a token that is not one."""

    status_code = HTTPStatus.UNAUTHORIZED
    type = "authentication_error"
    code = "invalid_user_token"


class Forbidden(GatewayError):
    status_code = HTTPStatus.FORBIDDEN
    type = "permission_error"


class InvalidModelOutput(GatewayError):
    """The model did not do what the request demands of its answer, and not when it was asked again either."""

    status_code = HTTPStatus.BAD_GATEWAY
    code = "invalid_model_output"

    def __init__(self) -> None:
        super().__init__(
            "The model's answer is not as `tool_choice`, `response_format` or a `strict` function demands, "
            "after two tries."
        )
        # Letta has the turn: an SDK that sends it again would only add to the chat.
        self.headers["x-should-retry"] = "false"


class TaskModelFailed(GatewayError):
    """The plain model for background tasks did not answer one."""

    status_code = HTTPStatus.BAD_GATEWAY
    code = "task_model_error"

    def __init__(self) -> None:
        super().__init__("The model for background tasks failed to answer.")


class InternalError(GatewayError):
    def __init__(self) -> None:
        super().__init__("The gateway failed on this request. Its log has the details.", code="internal_error")


class _Row(Struct, frozen=True):
    status: HTTPStatus
    code: str
    message: str
    type: str = "api_error"


BAD_GATEWAY = HTTPStatus.BAD_GATEWAY
# The most specific class that an error is an instance of counts.
UPSTREAM: dict[type[letta.UpstreamError], _Row] = {
    letta.Unreachable: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "upstream_unreachable",
        "Letta cannot be reached. Please try again later.",
    ),
    letta.NotFound: _Row(
        BAD_GATEWAY, "upstream_not_found", "Letta does not know the agent, its model or its conversation."
    ),
    letta.Busy: _Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "conversation_busy",
        "The agent is still busy in this chat. Please try again later.",
        "rate_limit_error",
    ),
    letta.Garbled: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "agent_garbled",
        "A file that Letta keeps of your agent, or of this chat, is damaged. Whoever runs this gateway can mend it: "
        "`letta-gateway check` tells how.",
    ),
    letta.Refused: _Row(
        BAD_GATEWAY,
        "upstream_refused",
        "Letta refused the gateway's request. `letta-gateway check` tells what is wrong.",
    ),
    letta.KeyRefused: _Row(
        BAD_GATEWAY, "upstream_refused", "Letta refused the gateway's key. `letta-gateway check` tells what is wrong."
    ),
    letta.TooLong: _Row(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "request_too_large",
        "The messages are longer than Letta takes.",
        "invalid_request_error",
    ),
    letta.RunFailed: _Row(BAD_GATEWAY, "upstream_error", "Letta failed to answer."),
    letta.NoSpace: _Row(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "upstream_storage_full",
        "The disk on which Letta keeps chats is full. What is said is kept again once there is room.",
    ),
    letta.BrokenStream: _Row(BAD_GATEWAY, "upstream_broken", "The connection to Letta broke before the answer's end."),
    letta.TimedOut: _Row(HTTPStatus.GATEWAY_TIMEOUT, "upstream_timeout", "Letta did not answer in time."),
    letta.Stopped: _Row(BAD_GATEWAY, "run_cancelled", "The answer was stopped before its end."),
    letta.RateLimited: _Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "rate_limit_exceeded",
        "The model's provider limits the rate of requests. Please try again later.",
        "rate_limit_error",
    ),
    letta.OutOfCredits: _Row(
        HTTPStatus.TOO_MANY_REQUESTS,
        "insufficient_quota",
        "Letta's account has no credits left.",
        "insufficient_quota",
    ),
    letta.ModelRefused: _Row(
        BAD_GATEWAY, "model_authentication", "The model's provider does not accept Letta's credentials."
    ),
    letta.ModelFailed: _Row(BAD_GATEWAY, "model_error", "The model's provider failed."),
    letta.ModelTimedOut: _Row(
        HTTPStatus.GATEWAY_TIMEOUT, "model_timeout", "The model's provider did not answer in time."
    ),
    letta.ContextOverflow: _Row(
        HTTPStatus.BAD_REQUEST,
        "context_length_exceeded",
        "The conversation is longer than the model's context window.",
        "invalid_request_error",
    ),
    letta.PictureRefused: _Row(
        HTTPStatus.BAD_REQUEST,
        "invalid_image",
        "Letta cannot read a picture: it is damaged, or has too many pixels.",
        "invalid_request_error",
    ),
}


class UpstreamFailure(GatewayError):
    """An error of Letta's, or of the model behind it, told without Letta's own words.

    Once Letta has the message, an SDK that resends would store it twice: `x-should-retry: false` stops it.
    https://github.com/openai/openai-python#retries
    """

    def __init__(self, error: letta.UpstreamError, message: str | None = None) -> None:
        row = next(UPSTREAM[kind] for kind in type(error).__mro__ if kind in UPSTREAM)
        super().__init__(message or row.message, code=row.code)
        self.cause = error
        self.status_code = row.status
        self.type = row.type
        if isinstance(error, letta.Busy):
            self.headers["retry-after"] = RETRY_AFTER_SECONDS
        # A damaged file does not mend itself within the moments of a retry.
        if error.taken or isinstance(error, letta.Garbled):
            self.headers["x-should-retry"] = "false"


class UnknownStopReason(UpstreamFailure):
    """Letta stopped for a reason that nobody here knows; the message names it."""

    def __init__(self, stop_reason: str) -> None:
        super().__init__(
            letta.RunFailed(f"stop_reason {stop_reason}"),
            f"Letta stopped for a reason this gateway does not know: `{stop_reason}`.",
        )
