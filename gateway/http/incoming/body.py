"""The body of a request: its bytes, decoded, before any wire reads them."""

import asyncio
import codecs
from contextlib import aclosing
from typing import Any

from litestar import Request
from litestar.exceptions import InternalServerException

from gateway.domain.errors import BodyTooLarge, InvalidRequest
from gateway.http.incoming.encodings import Decoder

# From so many bytes on, the work on a body is done in parts.
LONG = 100_000


async def let_others(body: bytes) -> None:
    """Let others have the loop between two parts of the work on a long body, so that no stream stops for all of it."""
    if len(body) >= LONG:
        await asyncio.sleep(0)


async def read_json(request: Request[Any, Any, Any], most_bytes: int) -> bytes:
    """The body of a request that says it is JSON, decoded, without a byte order mark.

    Raises BodyTooLarge, UnknownEncoding, and InvalidRequest for a body of another type (a web form can be sent from
    anywhere without a browser's leave), one whose sender left before its end, and one not encoded as it says.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidRequest("Expected the header `Content-Type: application/json`.", code="invalid_content_type")
    encoding = request.headers.get("content-encoding", "").strip().lower()
    try:
        body = await (request.body() if encoding in ("", "identity") else _decoded(request, encoding, most_bytes))
    except InternalServerException:
        raise InvalidRequest("The request ended before its body did.") from None
    await let_others(body)
    # https://www.rfc-editor.org/rfc/rfc8259#section-8.1
    return body.removeprefix(codecs.BOM_UTF8)


async def _decoded(request: Request[Any, Any, Any], encoding: str, most_bytes: int) -> bytes:
    """The body without its encoding, at most `most_bytes` long; Litestar limits the bytes that come, encoded.

    Raises BodyTooLarge.
    """
    decoder = Decoder(encoding)
    body = bytearray()
    async with aclosing(request.stream()) as stream:
        async for data in stream:
            for piece in decoder.pieces(data):
                body += piece
                if len(body) > most_bytes:
                    raise BodyTooLarge
                await asyncio.sleep(0)
    decoder.close()
    return bytes(body)
