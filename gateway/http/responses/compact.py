"""`POST /v1/responses/compact`: a history as a client may send it from now on.

An agent sees to the length of its context itself, and no client has to shorten what it sends: so the history comes
back as it is. https://developers.openai.com/api/reference/resources/responses/methods/compact
"""

import secrets
import time
from typing import Any, Literal

from litestar import Request, post
from litestar.datastructures import State
from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.events import TokensCounted
from gateway.domain.texts.halves import decode
from gateway.http.asking import check_model
from gateway.http.incoming.body import let_others, read_json
from gateway.http.parts import admit, parts_of
from gateway.wires.responses.encoder import to_response_usage
from gateway.wires.responses.request import decode_request
from gateway.wires.responses.response import ResponseUsage


class _History(Struct, frozen=True):
    """The history of a request, each of its items as it came."""

    input: str | list[dict[str, Any]]


class CompactedResponse(Struct, frozen=True):
    """A history, of which nothing was taken out; it cost no model anything."""

    id: str
    created_at: int
    output: list[dict[str, Any]]
    usage: ResponseUsage
    object: Literal["response.compaction"] = "response.compaction"


@post("/v1/responses/compact", status_code=200, name="compact_response")
async def compact_response(request: Request[None, None, State]) -> CompactedResponse:
    """Give a history back. Raises InvalidRequest for one that `POST /v1/responses` would not take."""
    parts, key = parts_of(request), admit(request).key
    body = await read_json(request, parts.settings.server.max_body_mb * 1024 * 1024)
    asked = decode_request(body)
    await let_others(body)
    check_model(parts.settings, key, asked.model)
    for place, named in (("previous_response_id", asked.previous_response_id), ("conversation", asked.conversation)):
        if named is not None:
            raise InvalidRequest(f"`{place}`: a chat that Letta has is not compacted.", place, "unsupported_parameter")
    told = decode(body, _History).input
    items = [_said(told)] if isinstance(told, str) else told
    now, usage = int(time.time()), to_response_usage(TokensCounted())
    return CompactedResponse(f"resp_{secrets.token_hex(16)}", now, items, usage)


def _said(text: str) -> dict[str, Any]:
    """The item of a message that came as a text."""
    content = [{"type": "input_text", "text": text}]
    message = {"type": "message", "role": "user", "status": "completed", "content": content}
    return {"id": f"msg_{secrets.token_hex(8)}", **message}
