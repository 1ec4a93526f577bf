"""`POST /v1/chat/completions`."""

import time
import uuid

from litestar import Request, post
from litestar.datastructures import State
from litestar.types import ASGIApp

from gateway.frontends.open_webui.answer import OpenWebUIAdditions
from gateway.http.answers.responding import respond
from gateway.http.asking import asker_of, begin
from gateway.http.incoming.body import let_others, read_json
from gateway.http.parts import admit, parts_of
from gateway.http.record import record_of
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
    begun = await begin(asker, asked, body)
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
