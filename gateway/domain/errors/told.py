"""The errors that the gateway tells a client. Performs no I/O.

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
    NotFoundHere      404 previous_response_not_found, response_not_found, conversation_not_found, item_not_found
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
"""

from collections.abc import Iterable
from http import HTTPStatus

# OpenAI's SDKs wait for as long as this says, up to 60 s, and then send the request again.
RETRY_AFTER_SECONDS = "5"
# The most characters that an error repeats of a model's name which does not exist: no agent type has a longer id.
LONGEST_SHOWN = 100


class GatewayError(Exception):
    """The base of all errors that a client is told; its answer is made of its attributes."""

    status_code = HTTPStatus.INTERNAL_SERVER_ERROR
    type = "api_error"
    code: str | None = None

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.code
        self.headers: dict[str, str] = {}


class InvalidRequest(GatewayError):
    """The request is wrong: the client must change it; `param` names the wrong part."""

    status_code = HTTPStatus.BAD_REQUEST
    type = "invalid_request_error"


class AmbiguousHeader(InvalidRequest):
    """A header that names the user, the chat or the key came twice, for example because a proxy has added its own."""

    code = "ambiguous_header"

    def __init__(self, name: str) -> None:
        super().__init__(f"The header `{name}` came more than once: expected it once.", name)


class IdempotencyKeyReused(InvalidRequest):
    """The client has given two different requests the same `Idempotency-Key`."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This `Idempotency-Key` came with another request before.")


class ToolNamesTaken(InvalidRequest):
    """The request brings tools with names of the agent's own tools."""

    code = "tool_name_taken"

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are the names of the agent's own tools that the request's `tools` hold, too."""
        named = ", ".join(f"`{name}`" for name in sorted(names))
        super().__init__(f"`tools` holds {named}, and the agent has tools of its own of that name: {named}.", "tools")


class PicturesUnseen(InvalidRequest):
    """The request shows pictures to an agent whose model is not shown any."""

    code = "pictures_unseen"

    def __init__(self) -> None:
        super().__init__(
            "This agent's model is not shown pictures. Should it be able to see: with a Letta of the gateway's own, "
            "set `vision = true` in `[provider]` (`GATEWAY_VISION=true`); on an App Server, connect the model's "
            "endpoint as another provider than `openai-compatible`.",
            "messages",
        )


class UserRequired(InvalidRequest):
    """The request names no user, and its key needs one."""

    code = "user_required"


class ModelNotFound(InvalidRequest):
    """No agent type has this id, or the key may not use it."""

    status_code = HTTPStatus.NOT_FOUND
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        self.model = model
        shown = model if len(model) <= LONGEST_SHOWN else f"{model[:LONGEST_SHOWN]}…"
        super().__init__(f"The model `{shown}` does not exist or you do not have access to it.", "model")


class NotFoundHere(InvalidRequest):
    """A response, an item or a conversation that is not there, or is not for whoever asks; nobody is told which."""

    status_code = HTTPStatus.NOT_FOUND

    def __init__(self, what: str, param: str, message: str = "") -> None:
        """`what`: `previous_response`, `response`, `item` or `conversation`; `param` is the field that names it."""
        said = message or f"There is no such {what.replace('_', ' ')}, or it is not yours."
        super().__init__(said, param, f"{what}_not_found")


class RouteNotFound(InvalidRequest):
    """The gateway serves nothing at the address of the request."""

    status_code = HTTPStatus.NOT_FOUND
    code = "unknown_url"


class MethodNotAllowed(InvalidRequest):
    """The address of the request takes other methods only."""

    status_code = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_supported"


class BodyTooLarge(InvalidRequest):
    """The body of the request, or its pictures together, are larger than the settings allow."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "request_too_large"

    def __init__(self, message: str = "The request body is larger than this gateway accepts.") -> None:
        super().__init__(message)


class InvalidHttp(InvalidRequest):
    """The bytes of the request are no HTTP/1.1."""

    code = "invalid_http"

    def __init__(self) -> None:
        super().__init__("The request is not valid HTTP/1.1.")


class RequestTimeout(InvalidRequest):
    """The head or the body of the request took too long to come."""

    status_code = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("The request did not come in time.")


class UnknownEncoding(InvalidRequest):
    """The body has a `Content-Encoding` that the gateway cannot decode; `known` are those that it can."""

    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_content_encoding"

    def __init__(self, encoding: str, known: Iterable[str]) -> None:
        named = ", ".join(known)
        super().__init__(f"A body with `Content-Encoding: {encoding[:40]}` is not read here, but these are: {named}.")
        # https://www.rfc-editor.org/rfc/rfc7694#section-3
        self.headers["accept-encoding"] = named


class HeadersTooLarge(InvalidRequest):
    """The headers, or the frames of the body's chunks, are too large or too many."""

    status_code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "headers_too_large"

    def __init__(self) -> None:
        super().__init__("The headers, or what stands around the pieces of the body, are too large or too many.")


class Overloaded(GatewayError):
    """More answers or connections are under way than this gateway takes at one time."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    code = "overloaded"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["retry-after"] = RETRY_AFTER_SECONDS


class InvalidApiKey(GatewayError):
    """The request has no key, or one that is not configured."""

    status_code = HTTPStatus.UNAUTHORIZED
    type = "authentication_error"
    code = "invalid_api_key"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["www-authenticate"] = "Bearer"


class InvalidUserToken(GatewayError):
    """The request's key takes users from signed tokens, and the request's token is expired or not valid."""

    status_code = HTTPStatus.UNAUTHORIZED
    type = "authentication_error"
    code = "invalid_user_token"


class Forbidden(GatewayError):
    """The request comes from a machine or a web page that may not use the gateway so."""

    status_code = HTTPStatus.FORBIDDEN
    type = "permission_error"


class InvalidModelOutput(GatewayError):
    """The model's answer is not as the request demands, and was not when the model was asked again either."""

    status_code = HTTPStatus.BAD_GATEWAY
    code = "invalid_model_output"

    def __init__(self) -> None:
        super().__init__(
            "The model's answer is not as `tool_choice`, `response_format` or a `strict` function demands, "
            "after two tries."
        )
        # Letta has kept the turn: an SDK that sends it again would only add to the chat.
        self.headers["x-should-retry"] = "false"


class TaskModelFailed(GatewayError):
    """The plain model for background tasks did not answer one."""

    status_code = HTTPStatus.BAD_GATEWAY
    code = "task_model_error"

    def __init__(self) -> None:
        super().__init__("The model for background tasks failed to answer.")


class InternalError(GatewayError):
    """The gateway has a bug: something that nobody expected was raised."""

    def __init__(self) -> None:
        super().__init__("The gateway failed on this request. Its log has the details.", code="internal_error")
