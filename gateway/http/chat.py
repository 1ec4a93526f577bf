"""`POST /v1/chat/completions`."""

import time
import uuid
from collections.abc import Mapping
from typing import cast

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from gateway.domain.errors import ModelNotFound
from gateway.domain.look import PLAIN, Look
from gateway.domain.request import NO_TOOLS, ClientTools, Options
from gateway.frontends.open_webui.answer import OpenWebUIAdditions
from gateway.http.auth import authenticate
from gateway.http.body import read_json
from gateway.http.headers import read_headers
from gateway.http.record import record_of
from gateway.http.sse import Answer, in_one_piece, stream
from gateway.http.tokens import read_claims
from gateway.pictures.shown import Pictures, shows_addresses, without_addresses
from gateway.settings import TASK_MODEL, AgentType, Key, Settings
from gateway.tasks.prompts import find_task
from gateway.tasks.runs import TaskRuns
from gateway.turns.chats.path import to_asked
from gateway.turns.people.identity import identify, read_ids, takes_items
from gateway.turns.runs.log import Reader
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.resend import to_sent
from gateway.turns.turn import Turn, forwards_tools, to_turn
from gateway.wires.chat_completions.encoder import ChatCompletionEncoder
from gateway.wires.chat_completions.json_format import to_json_format
from gateway.wires.chat_completions.request import ChatCompletionRequest, ChatMessage, decode_request, text_of
from gateway.wires.chat_completions.think_tags import defuse_answer
from gateway.wires.chat_completions.tools import to_client_tools
from gateway.wires.narrator import Narrator

# nginx's word for a request whose client has left; nobody reads it, the log does.
CLIENT_CLOSED_REQUEST = 499


@post("/v1/chat/completions", status_code=200, name="create_chat_completion")
async def create_chat_completion(
    request: Request[None, None, State],
    settings: NamedDependency[Settings],
    runs: NamedDependency[Runs],
    task_runs: NamedDependency[TaskRuns],
    pictures: NamedDependency[Pictures | None],
) -> ASGIApp:
    """Answer with a turn of the agent that key, model and user name, or a background task without any agent."""
    record = record_of(request.scope)
    key = authenticate(settings, request.headers)
    record.key = key.name
    headers = read_headers(key, request.headers)
    body = await read_json(request, settings.server.max_body_mb * 1024 * 1024)
    chat = decode_request(body)
    if task := find_task(key, headers, chat):
        check_model(settings, key, chat.model)
        record.model = chat.model
        return await _respond(request, settings, chat, task_runs.start(task, chat, body), PLAIN)
    if pictures and shows_addresses(chat):
        # Nothing is fetched for who may not ask.
        read_turn(settings, key, headers, without_addresses(chat))
        chat = await pictures.bring(chat)
    turn = read_turn(settings, key, headers, chat)
    record.model, record.agent_type = chat.model, turn.agent_type.id
    await runs.means.schemas.check(turn.json)
    await runs.means.schemas.check_strict(turn.tools)
    reader = runs.start(turn, to_sent(key, headers, turn, body))
    record.joined = reader.joined
    return await _respond(request, settings, chat, reader, look_for(key, headers, turn, chat), turn.tools)


def read_turn(settings: Settings, key: Key, headers: Mapping[str, str], chat: ChatCompletionRequest) -> Turn:
    """The turn that a request is. Raises GatewayError, in the order of the lines."""
    messages = with_literal_tags(chat.messages) if takes_items(key, headers) else chat.messages
    asked = to_asked(messages, settings.images)
    json = to_json_format(chat.response_format)
    agent_type = find_type(settings, key, chat.model)
    forwards = forwards_tools(key, agent_type)
    tools = to_client_tools(chat.tools, chat.tool_choice, chat.parallel_tool_calls) if forwards else NO_TOOLS
    caller = identify(key, headers, chat, read_claims(key, headers))
    turn = to_turn(key, agent_type, caller, asked, read_ids(key, headers, caller.chat, caller.former_chat), tools)
    return msgspec.structs.replace(turn, options=to_options(chat), json=json)


def with_literal_tags(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The chat as Open WebUI tells it again: thoughts that came as items are left out, so a tag in an answer is text.

    (An answer that came whole has its thoughts at the beginning.)
    """
    return [
        msgspec.structs.replace(message, content=defuse_answer(text_of(message.content)))
        if message.role == "assistant" and message.content
        else message
        for message in messages
    ]


def to_options(chat: ChatCompletionRequest) -> Options:
    """What a request asks of the model's settings; where no Letta can apply it, it is the agent's own that hold."""
    # Who wants no thoughts to be shown says nothing about thinking.
    effort = chat.reasoning_effort if chat.reasoning_effort != "none" else None
    return Options(
        chat.temperature,
        chat.most_tokens,
        chat.response_format if chat.wants_json else None,
        effort if isinstance(effort, str) else None,
    )


def look_for(key: Key, headers: Mapping[str, str], turn: Turn, chat: ChatCompletionRequest) -> Look:
    """Only a stream to Open WebUI can be told more than chunks: any other client breaks at a frame that is none."""
    reasoning, activity = key.reasoning or turn.agent_type.reasoning, key.tool_activity
    if chat.hides_reasoning or (chat.wants_json and reasoning == "think_tags"):
        reasoning = "hidden"
    if activity == "rich" and not (chat.stream and turn.caller.frontend and takes_items(key, headers)):
        activity = "thoughts"
    return Look(reasoning, activity)


async def _respond(
    request: Request[None, None, State],
    settings: Settings,
    chat: ChatCompletionRequest,
    run: Reader,
    look: Look,
    tools: ClientTools = NO_TOOLS,
) -> ASGIApp:
    """Answer with a run, streamed or whole."""
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
    if chat.stream:
        return await stream(answer, settings.server.first_event_seconds, settings.server.ping_seconds)
    completion = await in_one_piece(answer, request)
    status = CLIENT_CLOSED_REQUEST if completion is None else 200
    response = Response(completion, status_code=status)
    return cast(ASGIApp, response.to_asgi_response(app=None, request=request))


def check_model(settings: Settings, key: Key, model: str) -> None:
    """Raises ModelNotFound for a name that is neither one of this key's agent types nor the model for tasks."""
    if model != TASK_MODEL:
        find_type(settings, key, model)


def find_type(settings: Settings, key: Key, model: str) -> AgentType:
    """Raises ModelNotFound, alike for a model that is unknown and for one that is not for this key."""
    for agent_type in settings.types_for(key):
        if agent_type.id == model:
            return agent_type
    raise ModelNotFound(model)
