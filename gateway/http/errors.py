"""The answers to exceptions: makes a response in OpenAI's envelope of each."""

import logging
import traceback
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from gateway.domain.errors import (
    BodyTooLarge,
    GatewayError,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    RouteNotFound,
    UpstreamError,
)
from gateway.http.record import record_of
from gateway.http.unserved import NOTHING, SERVED, explain, is_taken_for_an_id
from gateway.wires.envelope import ErrorResponse, UpstreamFailure, to_response

logger = logging.getLogger(__name__)


def to_gateway_error(error: Exception) -> GatewayError:
    """The error that a client is told. An unexpected one is logged by its place in the code only.

    Its text may hold parts of the request, and is left out.
    """
    if isinstance(error, UpstreamError):
        error = UpstreamFailure(error)
    if isinstance(error, GatewayError):
        return error
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unexpected %s\n%s", type(error).__name__, where)
    return InternalError()


def handle_exception(request: Request[Any, Any, Any], exception: Exception) -> Response[ErrorResponse]:
    """Answer with an error, and note it in the record of the request."""
    error = to_gateway_error(exception)
    record = record_of(request.scope)
    record.fail(error)
    if isinstance(error, RouteNotFound | MethodNotAllowed):
        record.why = explain(request.scope["path"]).partition(". ")[0].removesuffix(".") or None
    return Response(
        to_response(error), status_code=error.status_code, headers=error.headers, media_type="application/json"
    )


def handle_http_exception(request: Request[Any, Any, Any], exception: HTTPException) -> Response[ErrorResponse]:
    """Answer a request that Litestar itself refuses; a 405 keeps its header `Allow`."""
    response = handle_exception(request, _from_litestar(request, exception))
    response.headers.update(exception.headers or {})
    return response


def _from_litestar(request: Request[Any, Any, Any], exception: HTTPException) -> Exception:
    path = request.scope["path"]
    words = explain(path)
    match 404 if is_taken_for_an_id(path) else exception.status_code:
        case 404:
            return RouteNotFound(f"{words or NOTHING} {SERVED}")
        case 405:
            return MethodNotAllowed(f"This address does not take {request.method} requests. {words or SERVED}")
        case 413:
            return BodyTooLarge()
        case status if status < 500:
            return InvalidRequest("The request could not be read.")
        case _:
            return exception


EXCEPTION_HANDLERS: ExceptionHandlersMap = {HTTPException: handle_http_exception, Exception: handle_exception}
