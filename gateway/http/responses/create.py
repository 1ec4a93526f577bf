"""`POST /v1/responses`."""

import secrets
import time
from typing import cast

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.types import ASGIApp

from gateway.domain.look import Look
from gateway.domain.places import ResponsePlace
from gateway.http.answers.responding import respond
from gateway.http.asking import Begun, asker_of, begin
from gateway.http.incoming.body import let_others, read_json
from gateway.http.parts import admit, parts_of
from gateway.http.record import record_of
from gateway.http.responses.heads import ResponseHead, head_of
from gateway.http.responses.way import ResponsesWay
from gateway.wires.responses.echo import Echo, to_echo
from gateway.wires.responses.read import to_request
from gateway.wires.responses.request import decode_request


@post("/v1/responses", status_code=200, name="create_response")
async def create_response(request: Request[None, None, State]) -> ASGIApp:
    """Answer with a turn of the agent that key, model and user name, which can be asked for again and gone on with."""
    parts, admitted = parts_of(request), admit(request)
    asker = asker_of(parts, admitted, request.headers, record_of(request.scope))
    body = await read_json(request, parts.settings.server.max_body_mb * 1024 * 1024)
    decoded = decode_request(body)
    await let_others(body)
    asked, echo = to_request(decoded), to_echo(decoded)
    await let_others(body)
    begun = await begin(asker, asked, body, ResponsesWay(asker, asked, echo))
    head = head_of_run(begun, echo)
    encoder = head.encoder(parts.seal)
    if asked.background and not asked.stream:
        begun.leave_at_its_end()
        begun.run.leave()
        told = Response(encoder.response, headers=begun.headers)
        return cast(ASGIApp, told.to_asgi_response(app=None, request=request))
    return await respond(request, asker, begun, head.narrator(), encoder, asked.stream, asked.background)


def head_of_run(begun: Begun, echo: Echo) -> ResponseHead:
    """The head of a run; a background task has none, and an id that nobody finds again."""
    return head_of(begun.run.head) if begun.run.head else head_of_nothing(echo, begun.look)


def head_of_nothing(echo: Echo, look: Look) -> ResponseHead:
    """The head of a response that no turn of an agent is behind."""
    nobody, now = "0" * 8, int(time.time())
    place = ResponsePlace("0" * 32, nobody, nobody, "scratch", "0" * 32, secrets.token_hex(8), made_at=now)
    return ResponseHead(place, now, echo, look)
