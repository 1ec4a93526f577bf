"""Both trees of errors: what the gateway says to a client, and what can go wrong with a Letta. Performs no I/O.

Every GatewayError has a status and OpenAI's `type`, `code` and `param`.
https://developers.openai.com/api/docs/guides/error-codes

GatewayError
  InvalidRequest      400 invalid_request_error
    AmbiguousHeader   400 ambiguous_header
    IdempotencyKeyReused 400 idempotency_key_reused
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
  InvalidModelOutput  502 api_error invalid_model_output
  TaskModelFailed     502 api_error task_model_error
  InternalError       500 api_error

An UpstreamError is named for what happened; `wires/envelope.py` says what a client is told of it.

UpstreamError
  Unreachable         no connection: Letta has nothing of the request
    CannotStart       no Letta of the gateway's own can be started here; the text says what to do about it
  NotFound            an agent or a conversation that is not (or no longer) there
  Busy                another run of the conversation is under way, or waits for an approval
    QueueFull         too many turns wait for those before them, or one has waited too long
    Stuck             an earlier turn of the conversation has no end, and lets none begin
    Abandoned         the run under way may be one that nobody listens to any more
  Garbled             Letta cannot read its own file of the agent
  Refused             Letta does not take what it was sent, or answers what it should not
    KeyRefused        Letta does not take the gateway's key
    TooLong           a message is longer than Letta takes: nothing of it was kept
    Locked            something else works on an agent's memory at this moment
  RunFailed           Letta, or the model behind it, failed
    UnknownStopReason Letta stopped for a reason that nobody here knows
    NoSpace           the disk of Letta is full: it cannot keep what is said
    BrokenStream      the stream ended early or held what is no event
    TimedOut          no sign of life, or of progress
    Stopped           somebody, or the gateway's own end, stopped the run
    RateLimited       the model provider's limit
    OutOfCredits      Letta's account is empty
    ModelRefused      the model provider does not take Letta's key
    ModelFailed       the model provider failed
    ModelTimedOut     the model provider did not answer
    ContextOverflow   more than the model's context window holds
    PictureRefused    Letta cannot read a picture
"""

from collections.abc import Iterable
from http import HTTPStatus

# openai's SDKs wait for up to 60 s, and then send the request again.
RETRY_AFTER_SECONDS = "5"
# Of a model that does not exist, so many characters are repeated: no agent type has a longer id.
LONGEST_SHOWN = 100


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


class UpstreamError(Exception):
    """The base of all that goes wrong with a Letta. Its text is for logs and names no content of a request.

    `taken`: whether Letta has, or may have, the message of the turn, so that sending it again could store it twice.
    Each kind has its usual answer (`usually_taken`); who raises one may know better.
    """

    usually_taken = False

    def __init__(self, text: str = "", *, taken: bool | None = None) -> None:
        super().__init__(text)
        self.taken = self.usually_taken if taken is None else taken

    # Errors are told within events, which are values.
    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (other.args, other.taken) == (self.args, self.taken)

    def __hash__(self) -> int:
        return hash((type(self), self.args, self.taken))


class Unreachable(UpstreamError): ...


class CannotStart(Unreachable):
    """No Letta of the gateway's own can be started on this machine; the text, for its operator, says what to do."""


class NotFound(UpstreamError): ...


class Busy(UpstreamError): ...


class QueueFull(Busy): ...


class Stuck(Busy): ...


class Abandoned(Busy): ...


class Garbled(UpstreamError): ...


class Refused(UpstreamError): ...


class KeyRefused(Refused): ...


class TooLong(Refused): ...


class Locked(Refused):
    """Something else works on an agent's memory at this moment."""


class RunFailed(UpstreamError):
    usually_taken = True


class UnknownStopReason(RunFailed):
    """Letta has stopped for a reason that nobody here knows."""

    @property
    def stop_reason(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return f"stop_reason {self.stop_reason}"


class NoSpace(RunFailed): ...


class BrokenStream(RunFailed): ...


class TimedOut(RunFailed): ...


class Stopped(RunFailed): ...


class RateLimited(RunFailed): ...


class OutOfCredits(RunFailed): ...


class ModelRefused(RunFailed): ...


class ModelFailed(RunFailed): ...


class ModelTimedOut(RunFailed): ...


class ContextOverflow(RunFailed): ...


class PictureRefused(RunFailed): ...
