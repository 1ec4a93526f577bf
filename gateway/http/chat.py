"""`POST /v1/chat/completions`."""

import time
import uuid
from typing import cast

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from gateway.http.auth import authenticate
from gateway.http.body import read_json
from gateway.http.sse import Answer, stream, whole
from gateway.openai_wire.errors import ModelNotFound
from gateway.openai_wire.request import decode_request
from gateway.openai_wire.translator import StreamTranslator
from gateway.settings import AgentType, Key, Settings
from gateway.turns.asked import to_asked
from gateway.turns.identity import identify, read_ids
from gateway.turns.runs import Runs
from gateway.turns.sent import to_sent
from gateway.turns.turn import to_turn

# nginx's word for a request whose client has left; nobody reads it, the log does.
CLIENT_CLOSED_REQUEST = 499


@post("/v1/chat/completions", status_code=200, name="create_chat_completion")
async def create_chat_completion(
    request: Request[None, None, State], settings: NamedDependency[Settings], runs: NamedDependency[Runs]
) -> ASGIApp:
    """Answer with a turn of the agent that key, model and user name; refuse in the order of the lines below."""
    key = authenticate(settings, request.headers.get("authorization"), request.headers.get("origin"))
    body = await read_json(request)
    chat = decode_request(body)
    asked = to_asked(chat.messages)
    agent_type = find_type(settings, key, chat.model)
    caller = identify(key, request.headers, chat)
    turn = to_turn(key, agent_type, caller, asked, read_ids(key, request.headers, caller.chat))
    sent = to_sent(key, request.headers, turn, body)

    translator = StreamTranslator(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=chat.model,
        reasoning=key.reasoning or agent_type.reasoning,
        include_usage=chat.include_usage or not chat.stream,
    )
    answer = Answer(runs.start(turn, sent), translator)
    if chat.stream:
        return await stream(answer, settings.server.first_event_seconds, settings.server.ping_seconds)
    completion = await whole(answer, request)
    status = CLIENT_CLOSED_REQUEST if completion is None else 200
    response = Response(completion, status_code=status)
    return cast(ASGIApp, response.to_asgi_response(app=None, request=request))


def find_type(settings: Settings, key: Key, model: str) -> AgentType:
    """Raises ModelNotFound, alike for a model that is unknown and for one that is not for this key."""
    for agent_type in settings.types_for(key):
        if agent_type.id == model:
            return agent_type
    raise ModelNotFound(model)
