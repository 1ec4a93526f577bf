"""`POST /v1/chat/completions`."""

import time
import uuid
from collections.abc import Mapping

import msgspec
from litestar import Request, post
from litestar.datastructures import State
from litestar.types import ASGIApp

from gateway.domain.look import Look
from gateway.domain.request import Request as NeutralRequest
from gateway.frontends.open_webui.answer import OpenWebUIAdditions
from gateway.frontends.reading import takes_items
from gateway.http.answers.responding import respond
from gateway.http.asking import Asker, asker_of, begin
from gateway.http.incoming.body import let_others, read_json
from gateway.http.parts import admit, parts_of
from gateway.http.record import record_of
from gateway.settings import Key
from gateway.turns.turn import Turn
from gateway.wires.chat_completions.encoder import ChatCompletionEncoder
from gateway.wires.chat_completions.read import to_request
from gateway.wires.chat_completions.request import decode_request
from gateway.wires.narrator import Narrator


@post("/v1/chat/completions", status_code=200, name="create_chat_completion")
async def create_chat_completion(request: Request[None, None, State]) -> ASGIApp:
    """Answer with a turn of the agent that key, model and user name, or a background task without any agent."""
    parts, admitted = parts_of(request), admit(request)
    asker = asker_of(parts, admitted, request.headers, record_of(request.scope))
    body = await read_json(request, parts.settings.server.max_body_mb * 1024 * 1024)
    decoded = decode_request(body)
    await let_others(body)
    asked = to_request(decoded)
    await let_others(body)
    begun = await begin(asker, asked, body, _Way(asker, asked))
    id, look, include_usage = f"chatcmpl-{uuid.uuid4().hex}", begun.look, asked.include_usage or not asked.stream
    encoder = ChatCompletionEncoder(
        id=id,
        created=int(time.time()),
        model=asked.model,
        reasoning=look.reasoning,
        include_usage=include_usage,
        additions=OpenWebUIAdditions(id, time.monotonic) if look.tool_activity == "rich" else None,
    )
    narrator = Narrator(look, begun.tools, awaits_usage=include_usage)
    return await respond(request, asker, begun, narrator, encoder, asked.stream)


class _Way:
    """The way of a chat completion: its chat is told by headers and messages."""

    def __init__(self, asker: Asker, asked: NeutralRequest) -> None:
        self._key, self._named, self._asked = asker.key, asker.named, asked

    def place(self, turn: Turn) -> Turn:
        return msgspec.structs.replace(turn, outlives=self._key.on_disconnect == "finish")

    async def find(self, turn: Turn) -> Turn:
        return turn

    def look(self, turn: Turn) -> Look:
        return look_for(self._key, self._named, turn, self._asked)

    def head(self, turn: Turn, look: Look) -> bytes:
        return b""


def look_for(key: Key, headers: Mapping[str, str], turn: Turn, chat: NeutralRequest) -> Look:
    """Only a stream to Open WebUI can be told more than chunks: any other client breaks at a frame that is none."""
    reasoning, activity = key.reasoning or turn.agent_type.reasoning, key.tool_activity
    if chat.hides_reasoning or (chat.wants_json and reasoning == "think_tags"):
        reasoning = "hidden"
    takes_rich = chat.stream and turn.caller.frontend and takes_items(key, headers)
    if activity == "mcp_calls" or (activity == "rich" and not takes_rich):
        activity = "thoughts"
    return Look(reasoning, activity)
