"""`POST /v1/chat/completions`."""

import time
import uuid
from collections.abc import Mapping
from typing import Any, cast

from litestar import Request, Response, post
from litestar.datastructures import Headers, State
from litestar.types import ASGIApp

from gateway.domain.errors import ModelNotFound
from gateway.domain.look import PLAIN, Look
from gateway.domain.request import NO_TOOLS, ClientTools
from gateway.domain.request import Request as NeutralRequest
from gateway.frontends.open_webui.answer import OpenWebUIAdditions
from gateway.frontends.reading import find_task, read_named, takes_items
from gateway.http.answers.answering import NO_HEADERS, Answer, compressed, in_one_piece, stream
from gateway.http.answers.compressor import compressor_for
from gateway.http.budgets.admission import let_in, until_over
from gateway.http.incoming.auth import Admitted
from gateway.http.incoming.body import let_others, read_json
from gateway.http.incoming.headers import read_accepted, read_headers, read_resend
from gateway.http.incoming.tokens import read_claims
from gateway.http.parts import Parts, admit, parts_of
from gateway.http.record import Record, record_of, shown
from gateway.http.texts import ITEM_TEXTS, TEXTS
from gateway.limits.gate import Admission
from gateway.pictures.shown import look_at, shows_addresses, without_addresses
from gateway.settings import TASK_MODEL, AgentType, Key, Settings
from gateway.trace_context import TRACEPARENT, TRACEPARENT_HEADER, read_traceparent, trace_of
from gateway.turns.chats.path import read_path
from gateway.turns.people.identity import identify, message_ids
from gateway.turns.runs.log import Reader
from gateway.turns.runs.resend import to_sent
from gateway.turns.turn import Turn, forwards_tools, to_turn
from gateway.wires.chat_completions.encoder import ChatCompletionEncoder
from gateway.wires.chat_completions.read import to_request
from gateway.wires.chat_completions.request import decode_request
from gateway.wires.narrator import Narrator

# nginx's word for a request whose client has left; nobody reads it, the log does.
CLIENT_CLOSED_REQUEST = 499


@post("/v1/chat/completions", status_code=200, name="create_chat_completion")
async def create_chat_completion(request: Request[None, None, State]) -> ASGIApp:
    """Answer with a turn of the agent that key, model and user name, or a background task without any agent."""
    parts = parts_of(request)
    settings, record = parts.settings, record_of(request.scope)
    admitted = admit(request)
    key = admitted.key
    headers = read_headers(key, request.headers)
    body = await read_json(request, settings.server.max_body_mb * 1024 * 1024)
    decoded = decode_request(body)
    await let_others(body)
    asked = to_request(decoded)
    await let_others(body)
    record.model = asked.model if has_model(settings, key, asked.model) else None
    if task := find_task(key, headers, asked):
        check_model(settings, key, asked.model)
        record.task = shown(task.kind)
        # What the gateway answers itself costs nobody anything.
        meter = await let_in(parts.gate, key, None, record) if parts.task_runs.asks_model else None
        run = parts.task_runs.start(task, asked, body)
        record.account = run.account
        if meter:
            await meter.pay_for(run.account)
        return await _respond(request, admitted, asked, run, PLAIN)
    if parts.pictures and shows_addresses(asked):
        # Nothing is fetched for who may not ask.
        read_turn(settings, key, headers, without_addresses(asked))
        asked = await parts.pictures.bring(asked)
    turn = read_turn(settings, key, headers, asked)
    await let_others(body)
    record.agent_type, record.agent, record.chat = turn.agent_type.id, turn.agent_name, turn.digits
    await parts.schemas.check(turn.json)
    await parts.schemas.check_strict(turn.tools)
    sent, look = to_sent(key, read_resend(headers), turn, body), look_for(key, headers, turn, asked)
    # A request that was sent before is free.
    again = await parts.runs.has(sent)
    admission = Admission(parts.gate) if again else await let_in(parts.gate, key, turn.caller.user, record)
    _take_up_trace(parts, request.headers, record)
    try:
        reader = await parts.runs.take(turn, sent)
        record.joined, record.account = reader.joined, reader.account
        # The same request may have come at the same moment, and have begun the run.
        await admission.pay_for(reader.account)
        response = await _respond(request, admitted, asked, reader, look, turn.tools, admission.headers)
    except BaseException:
        await admission.leave()
        raise
    return until_over(response, admission)


def _take_up_trace(parts: Parts, headers: Headers, record: Record) -> None:
    """Do what follows in the trace that the request is part of, or in one of its own if there are traces."""
    given = read_traceparent(headers.getall(TRACEPARENT_HEADER, []))
    if trace := parts.traces.begin(record, given) if parts.traces else given:
        record.trace = trace_of(trace)
        TRACEPARENT.set(trace)


def read_turn(settings: Settings, key: Key, headers: Mapping[str, str], request: NeutralRequest) -> Turn:
    """The turn that a request is. Raises GatewayError, in the order of the lines."""
    texts = ITEM_TEXTS if takes_items(key, headers) else TEXTS
    path = read_path(look_at(request, settings.images.max_mb), texts)
    json = request.checked_json()
    agent_type = find_type(settings, key, request.model)
    tools = request.checked_tools() if forwards_tools(key, agent_type) else NO_TOOLS
    named = read_named(key, headers, request, read_claims(key, headers))
    caller = identify(key, named, settings.former_scope(key))
    return to_turn(key, agent_type, caller, path, message_ids(named, caller), tools, request.options, json, texts)


def look_for(key: Key, headers: Mapping[str, str], turn: Turn, chat: NeutralRequest) -> Look:
    """Only a stream to Open WebUI can be told more than chunks: any other client breaks at a frame that is none."""
    reasoning, activity = key.reasoning or turn.agent_type.reasoning, key.tool_activity
    if chat.hides_reasoning or (chat.wants_json and reasoning == "think_tags"):
        reasoning = "hidden"
    takes_rich = chat.stream and turn.caller.frontend and takes_items(key, headers)
    if activity == "mcp_calls" or (activity == "rich" and not takes_rich):
        activity = "thoughts"
    return Look(reasoning, activity)


async def _respond(
    request: Request[None, None, State],
    admitted: Admitted,
    chat: NeutralRequest,
    run: Reader,
    look: Look,
    tools: ClientTools = NO_TOOLS,
    headers: Mapping[str, str] = NO_HEADERS,
) -> ASGIApp:
    """Answer with a run, streamed or whole; `headers` go with the answer."""
    id = f"chatcmpl-{uuid.uuid4().hex}"
    include_usage = chat.include_usage or not chat.stream
    encoder = ChatCompletionEncoder(
        id=id,
        created=int(time.time()),
        model=chat.model,
        reasoning=look.reasoning,
        include_usage=include_usage,
        additions=OpenWebUIAdditions(id, time.monotonic) if look.tool_activity == "rich" else None,
    )
    answer = Answer(run, Narrator(look, tools, awaits_usage=include_usage), encoder, record_of(request.scope))
    parts = parts_of(request)
    parts.in_force.watch(answer, admitted)
    compressor = compressor_for(read_accepted(request.headers)) if admitted.key.compress else None
    if chat.stream:
        answer.record.streamed = True
        server = parts.settings.server
        return await stream(answer, server.first_event_seconds, server.ping_seconds, compressor, headers)
    completion = await in_one_piece(answer, request)
    response: Response[Any]
    if completion and compressor:
        response = await compressed(completion, compressor, headers)
    else:
        status = CLIENT_CLOSED_REQUEST if completion is None else 200
        response = Response(completion, status_code=status, headers=headers)
    return cast(ASGIApp, response.to_asgi_response(app=None, request=request))


def has_model(settings: Settings, key: Key, model: str) -> bool:
    """True of the name of one of this key's agent types, and of the model for tasks."""
    return model == TASK_MODEL or any(agent_type.id == model for agent_type in settings.types_for(key))


def check_model(settings: Settings, key: Key, model: str) -> None:
    """Raises ModelNotFound for a name that is neither one of this key's agent types nor the model for tasks."""
    if not has_model(settings, key, model):
        raise ModelNotFound(model)


def find_type(settings: Settings, key: Key, model: str) -> AgentType:
    """Raises ModelNotFound, alike for a model that is unknown and for one that is not for this key."""
    for agent_type in settings.types_for(key):
        if agent_type.id == model:
            return agent_type
    raise ModelNotFound(model)
