"""The calls about a response that has an id: `GET`, `DELETE`, `cancel`, `input_items`."""

import time
from typing import Any, cast

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.domain.errors import GatewayError, InvalidRequest, NotFoundHere, Stopped, UpstreamError
from gateway.domain.look import Look
from gateway.domain.places import ResponsePlace
from gateway.http.answers.answering import Answer, stream
from gateway.http.answers.compressor import compressor_for
from gateway.http.asking import Asker, asker_of
from gateway.http.errors import to_gateway_error
from gateway.http.incoming.headers import read_accepted
from gateway.http.parts import admit, parts_of
from gateway.http.record import record_of
from gateway.http.responses.heads import head_of
from gateway.http.responses.listing import DeletedResponse, ItemList, input_items, is_number, paged
from gateway.http.responses.owners import check_owner, in_query, naming, type_at
from gateway.http.responses.rebuilt import lost, rebuilt
from gateway.http.responses.splitting import SplittingReader
from gateway.settings import AgentType, Key
from gateway.turns.exchanged import KeptTurn
from gateway.turns.kept import DeletedTurn
from gateway.turns.runs.log import Reader
from gateway.turns.runs.resend import name_of_response
from gateway.wires.responses.response import ResponseResource

SECONDS_A_DAY = 86_400
# Fields of a query that say yes.
_YES = frozenset({"true", "1"})


@get("/v1/responses/{response_id:str}", name="retrieve_response")
async def retrieve_response(request: Request[None, None, State], response_id: FromPath[str]) -> ASGIApp:
    """Show a response as it stands, or go on with its stream."""
    asker, place, agent_type = _asked(request, response_id)
    after = _number(request, "starting_after", -1)
    name = name_of_response(place.turn, place.results)
    reader = await asker.parts.runs.follow(name)
    if request.query_params.get("stream", "") in _YES:
        if reader is None:
            raise InvalidRequest("This response can no longer be streamed: ask for it without `stream`.", "stream")
        return await _go_on(request, asker, reader, after)
    shown = _as_it_stands(asker, reader) if reader else await _as_it_is_kept(asker, place, agent_type)
    return cast(ASGIApp, Response(shown).to_asgi_response(app=None, request=request))


@post("/v1/responses/{response_id:str}/cancel", status_code=200, name="cancel_response")
async def cancel_response(request: Request[None, None, State], response_id: FromPath[str]) -> ResponseResource:
    """End a response that is under way; one that has ended stays as it is."""
    asker, place, agent_type = _asked(request, response_id)
    reader = await asker.parts.runs.cancel(name_of_response(place.turn, place.results))
    return _as_it_stands(asker, reader) if reader else await _as_it_is_kept(asker, place, agent_type, ends=True)


@delete("/v1/responses/{response_id:str}", status_code=200, name="delete_response")
async def delete_response(request: Request[None, None, State], response_id: FromPath[str]) -> DeletedResponse:
    """Delete a response, which ends if it is under way: nobody finds it, or what came after it, again."""
    asker, place, agent_type = _asked(request, response_id)
    runs, name = asker.parts.runs, name_of_response(place.turn, place.results)
    if reader := await runs.cancel(name):
        reader.leave()
    else:
        await _kept(asker, place, agent_type, ends=True)
    gone = await asker.parts.kept.delete(place, agent_type)
    for one in (name, *(name_of_response(turn.turn, turn.part) for turn in gone)):
        await runs.forget(one)
    return DeletedResponse(response_id)


@get("/v1/responses/{response_id:str}/input_items", name="list_input_items")
async def list_input_items(request: Request[None, None, State], response_id: FromPath[str]) -> ItemList:
    """List the items of the input of a response, as Letta keeps them."""
    asker, place, agent_type = _asked(request, response_id)
    found = await _kept(asker, place, agent_type)
    items = input_items(asker.parts.seal.ids_of(place), found[0]) if found else []
    return paged(request, items)


def _asked(request: Request[None, None, State], id: str) -> tuple[Asker, ResponsePlace, AgentType]:
    """The asker, and the response that is asked for. Raises NotFoundHere where it is not theirs, UserRequired."""
    asker = asker_of(parts_of(request), admit(request), request.headers, record_of(request.scope))
    missing = NotFoundHere("response", "response_id")
    place = asker.parts.seal.read_response(id)
    if place is None or place.kind == "scratch":
        raise missing
    check_owner(asker, place.owner, place.scope, missing, naming(in_query(request)))
    agent_type = type_at(asker, place.agent_type, missing)
    asker.record.agent_type = agent_type.id
    return asker, place, agent_type


def look_of_key(key: Key, agent_type: AgentType) -> Look:
    """The look of what is rebuilt: nobody knows how it was asked for."""
    activity = "thoughts" if key.tool_activity == "rich" else key.tool_activity
    return Look(key.reasoning or agent_type.reasoning, activity, key.approval_form)


async def _kept(
    asker: Asker, place: ResponsePlace, agent_type: AgentType, ends: bool = False
) -> tuple[KeptTurn, bool] | None:
    """The turn of a response, as Letta keeps it; `ends`: which ends. Raises NotFoundHere for one that was deleted."""
    try:
        found = await asker.parts.kept.find(place, agent_type, ends)
    except DeletedTurn:
        raise NotFoundHere("response", "response_id") from None
    if found is None and time.time() - place.made_at > asker.parts.settings.chats.scratch_days * SECONDS_A_DAY:
        # For no longer there is a trace of one that was deleted.
        raise NotFoundHere("response", "response_id")
    return found


async def _as_it_is_kept(
    asker: Asker, place: ResponsePlace, agent_type: AgentType, ends: bool = False
) -> ResponseResource:
    """A response whose run is forgotten here, made of what Letta has; `ends`: it is to end.

    Raises NotFoundHere, UpstreamError.
    """
    seal, look = asker.parts.seal, look_of_key(asker.key, agent_type)
    found = await _kept(asker, place, agent_type, ends)
    return rebuilt(place, agent_type, look, seal, *found) if found else lost(place, agent_type, look, seal)


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
        if narrator.finished:
            # What breaks after its end takes nothing from the answer.
            encoder.encode(narrator.receive_eof())
            encoder.end()
        else:
            encoder.begin()
            encoder.encode(narrator.receive_error())
            encoder.fail(to_gateway_error(error))
            if isinstance(error, Stopped):
                return msgspec.structs.replace(encoder.response, status="cancelled", error=None)
    finally:
        reader.leave()
    return encoder.response


async def _go_on(request: Request[None, None, State], asker: Asker, reader: Reader, after: int) -> ASGIApp:
    """The rest of a stream, behind the event with the number `after`."""
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
    if not is_number(told):
        raise InvalidRequest(f"`{field}`: expected a number.", field)
    return int(told)
