"""Why a response has failed, in the words that OpenAI's clients take. Performs no I/O.

Their types know these codes only; an error in place of a response may have any.
https://developers.openai.com/api/reference/resources/responses
"""

from http import HTTPStatus

from gateway.domain.errors import GatewayError
from gateway.wires.responses.response import ResponseFailure

_SERVER_ERROR, _TOO_MANY, _WRONG = "server_error", "rate_limit_exceeded", "invalid_prompt"
_KNOWN = frozenset({_SERVER_ERROR, _TOO_MANY, _WRONG, "invalid_image", "invalid_image_url", "image_too_large"})


def to_failure(error: GatewayError) -> ResponseFailure:
    """The error of a response whose run failed with this; the message says what the code cannot."""
    if error.code in _KNOWN:
        return ResponseFailure(str(error.code), str(error))
    if error.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return ResponseFailure(_TOO_MANY, str(error))
    is_the_client_s = error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    return ResponseFailure(_WRONG if is_the_client_s else _SERVER_ERROR, str(error))
