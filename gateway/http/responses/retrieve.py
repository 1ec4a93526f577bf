"""The calls about a response that has an id: `GET`, `DELETE`, `cancel`, `input_items`."""

from typing import Any, cast

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.domain.errors import GatewayError, InvalidRequest, NotFoundHere, UpstreamError
from gateway.domain.places import ResponsePlace
from gateway.http.answers.answering import Answer, stream
from gateway.http.answers.compressor import compressor_for
from gateway.http.asking import Asker, asker_of
from gateway.http.errors import to_gateway_error
from gateway.http.incoming.headers import read_accepted
from gateway.http.parts import admit, parts_of
from gateway.http.record import record_of
from gateway.http.responses.heads import head_of
from gateway.http.responses.owners import check_owner, type_at
from gateway.http.responses.splitting import SplittingReader
from gateway.turns.runs.log import Reader
from gateway.turns.runs.resend import name_of_response
from gateway.wires.responses.response import ResponseResource

CANCELLED = "response_cancelled"
# Fields of a query that say yes.
_YES = frozenset({"true", "1"})


@get("/v1/responses/{response_id:str}", name="retrieve_response")
async def retrieve_response(request: Request[None, None, State], response_id: FromPath[str]) -> ASGIApp:
    """Show a response as it stands, or go on with its stream."""
    asker, place = _asked(request, response_id)
    name = name_of_response(place.turn, place.results)
    reader = await asker.parts.runs.follow(name)
    if request.query_params.get("stream", "") in _YES:
        if reader is None:
            raise InvalidRequest("This response can no longer be streamed: ask for it without `stream`.", "stream")
        return await _go_on(request, asker, reader)
    if reader is None:
        raise NotFoundHere("response", "response_id")
    shown = _as_it_stands(asker, reader)
    return cast(ASGIApp, Response(shown).to_asgi_response(app=None, request=request))


def _asked(request: Request[None, None, State], id: str) -> tuple[Asker, ResponsePlace]:
    """Who asks for which response. Raises NotFoundHere where it is not theirs, UserRequired."""
    asker = asker_of(parts_of(request), admit(request), request.headers, record_of(request.scope))
    missing = NotFoundHere("response", "response_id")
    place = asker.parts.seal.read_response(id)
    if place is None or place.kind == "scratch":
        raise missing
    check_owner(asker, place.owner, place.scope, missing)
    asker.record.agent_type = type_at(asker, place.agent_type, missing).id
    return asker, place


def _as_it_stands(asker: Asker, reader: Reader) -> ResponseResource:
    """A response whose run is under way, or was a moment ago."""
    head = head_of(reader.head)
    encoder, narrator = head.encoder(asker.parts.seal), head.narrator()
    try:
        while (told := reader.take()) and told.events:
            if not encoder.number:
                encoder.begin()
            for event in told.events:
                encoder.encode(narrator.receive(event))
        if told is None or narrator.complete:
            encoder.encode(narrator.receive_eof())
            encoder.end()
    except (GatewayError, UpstreamError) as error:
        if not narrator.finished:
            encoder.begin()
            encoder.encode(narrator.receive_error())
            encoder.fail(to_gateway_error(error))
    finally:
        reader.leave()
    return encoder.response


async def _go_on(request: Request[None, None, State], asker: Asker, reader: Reader) -> ASGIApp:
    """The rest of a stream, behind the event with the number `starting_after`. Raises InvalidRequest."""
    after = _number(request, "starting_after", -1)
    head, seal, server = head_of(reader.head), asker.parts.seal, asker.parts.settings.server
    splitting = SplittingReader(reader, head.narrator(), head.encoder(seal), after)
    answer = Answer(splitting, head.narrator(), head.encoder(seal, after=after), asker.record)
    asker.parts.in_force.watch(answer, asker.admitted)
    asker.record.streamed = True
    compressor = compressor_for(read_accepted(request.headers)) if asker.key.compress else None
    return await stream(answer, 0, server.ping_seconds, compressor)


def _number(request: Request[Any, Any, Any], field: str, default: int) -> int:
    """A number in the query. Raises InvalidRequest."""
    told = request.query_params.get(field)
    if told is None:
        return default
    if not told.isdecimal() or len(told) > 18:
        raise InvalidRequest(f"`{field}`: expected a number.", field)
    return int(told)
