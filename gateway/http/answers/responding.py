"""A run that has begun as the response to its request, whichever wire that came by."""

from typing import Any, cast

from litestar import Request, Response
from litestar.types import ASGIApp

from gateway.http.answers.answering import Answer, compressed, in_one_piece, stream
from gateway.http.answers.compressor import compressor_for
from gateway.http.asking import Asker, Begun
from gateway.http.budgets.admission import until_over
from gateway.http.incoming.headers import read_accepted
from gateway.wires.encoder import Encoder
from gateway.wires.narrator import Narrator

# nginx's word for a request whose client has left; nobody reads it, the log does.
CLIENT_CLOSED_REQUEST = 499


async def respond(
    request: Request[Any, Any, Any],
    asker: Asker,
    begun: Begun,
    narrator: Narrator,
    encoder: Encoder,
    streamed: bool,
    at_once: bool = False,
) -> ASGIApp:
    """Answer with a run, streamed or whole. Raises GatewayError or UpstreamError for one that fails at once.

    `at_once`: a stream begins before anything is known of the run, and tells of all its failures itself.
    """
    try:
        response = await _respond(request, asker, begun, narrator, encoder, streamed, at_once)
    except BaseException:
        await begun.leave()
        raise
    if not begun.is_counted:
        return response
    return until_over(response, lambda: begun.leave(had=not asker.record.left))


async def _respond(
    request: Request[Any, Any, Any],
    asker: Asker,
    begun: Begun,
    narrator: Narrator,
    encoder: Encoder,
    streamed: bool,
    at_once: bool,
) -> ASGIApp:
    parts = asker.parts
    answer = Answer(begun.run, narrator, encoder, asker.record)
    parts.in_force.watch(answer, asker.admitted)
    compressor = compressor_for(read_accepted(asker.headers)) if asker.key.compress else None
    if streamed:
        answer.record.streamed = True
        server = parts.settings.server
        first_event_seconds = 0.0 if at_once else server.first_event_seconds
        return await stream(answer, first_event_seconds, server.ping_seconds, compressor, begun.headers)
    whole = await in_one_piece(answer, request)
    response: Response[Any]
    if whole and compressor:
        response = await compressed(whole, compressor, begun.headers)
    else:
        status = CLIENT_CLOSED_REQUEST if whole is None else 200
        response = Response(whole, status_code=status, headers=begun.headers)
    return cast(ASGIApp, response.to_asgi_response(app=None, request=request))
