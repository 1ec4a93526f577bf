"""The body of a request, before anybody reads it as something."""

from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from gateway.openai_wire.errors import InvalidRequest


async def read_json(request: Request[Any, Any, Any]) -> bytes:
    """The body of a request that says it is JSON.

    Raises InvalidRequest for one that says otherwise (a web form can be sent from anywhere without a browser's
    leave), and for one whose sender left before its end.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidRequest("Expected the header `Content-Type: application/json`.", code="invalid_content_type")
    try:
        return await request.body()
    except InternalServerException:
        raise InvalidRequest("The request ended before its body did.") from None
