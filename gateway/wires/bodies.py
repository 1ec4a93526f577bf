"""The body of a request as a Struct of a wire, or an error in OpenAI's words. Performs no I/O."""

import re
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.texts.halves import decode
from gateway.wires.limits import check_values

S = TypeVar("S", bound=Struct)


def decode_body(body: bytes, kind: type[S], name: str, roles: Sequence[str]) -> S:
    """The request in `body`, which is called `name`: "a chat completion request".

    `roles` are those that its messages may have. Raises InvalidRequest, with `param` where one is at fault.
    """
    if not body.strip():
        raise InvalidRequest("The request has no body: expected a JSON object.")
    check_values(body)
    try:
        # As text: what no field reads is not checked to be UTF-8.
        return decode(body.decode(), kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name, roles) from None
    # Invalid UTF-8 within a string comes as UnicodeDecodeError.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The body is not valid JSON in UTF-8.") from None


def missing(param: str) -> InvalidRequest:
    """The error of a request that lacks a field."""
    return InvalidRequest(f"`{param}` is missing.", param)


def _invalid(problem: str, name: str, roles: Sequence[str]) -> InvalidRequest:
    """msgspec's "Expected `str`, got `int` - at `$.messages[0].role`", with OpenAI's `param`."""
    reason, _, path = problem.partition(" - at `$")
    param = path.strip("`.")
    if lacking := re.fullmatch(r"Object missing required field `(\w+)`", reason):
        return missing(f"{param}.{lacking[1]}".strip("."))
    if reason.startswith("Invalid enum value"):
        # The value is not repeated: it may be anything.
        reason = f"Expected one of {', '.join(roles)}" if param.endswith("role") else "Expected another value"
    if not param:
        return InvalidRequest(f"The body is not {name}: {reason}.")
    return InvalidRequest(f"`{param}`: {reason}.", param)
