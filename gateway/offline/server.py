"""`create_offline_model`: the offline model's HTTP, streamed and whole, in OpenAI's words."""

import asyncio
import codecs
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.response import Stream

from gateway.offline.request import BadRequest, ChatRequest, EmbeddingRequest, Message, decode
from gateway.offline.script import Script, ToolCall, to_script

MODEL = "offline"
# Looked for once: Python imports an encoding with its first use.
UTF_16 = codecs.lookup("utf-16-le")
DIMENSIONS = 1536
PIECE = 8
ERROR_TYPES = {401: "authentication_error", 429: "rate_limit_error"}

Body = dict[str, Any]
HttpRequest = Request[None, None, State]


def create_offline_model(kind: type[Litestar] = Litestar) -> Litestar:
    """The offline model as an ASGI application of this kind. Its language is told in `gateway.offline`."""
    return kind(
        [list_models, create_chat_completion, create_embeddings],
        exception_handlers={BadRequest: handle_bad_request, HTTPException: handle_http_exception},
        # It is asked from this machine, with histories and images as long as they are.
        request_max_body_size=None,
        openapi_config=None,
        logging_config=None,
    )


@get("/v1/models")
async def list_models() -> Body:
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "letta-gateway"}
    # It counts pictures. https://openrouter.ai/docs/api/api-reference/models/get-models
    model["architecture"] = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
    return {"object": "list", "data": [model]}


@post("/v1/chat/completions", status_code=200)
async def create_chat_completion(request: HttpRequest) -> Response[Any]:
    asked = decode(await request.body(), ChatRequest)
    script = to_script(asked)
    if script.status != 200:
        return error_response(script.status, "the script says so")
    if asked.stream:
        return Stream(_stream(asked, script, request), media_type="text/event-stream")
    async for _ in _deltas(script, request):
        pass
    if script.ends == "cut":
        return error_response(500, "the script says so")
    return Response(json.dumps(_completion(asked, script)), media_type="application/json")


@post("/v1/embeddings", status_code=200)
async def create_embeddings(request: HttpRequest) -> Body:
    """As many vectors as there are texts, all equal: nothing is like anything more than like the rest."""
    count = decode(await request.body(), EmbeddingRequest).count
    vectors = [{"object": "embedding", "index": i, "embedding": [0.1] * DIMENSIONS} for i in range(count)]
    return {"object": "list", "data": vectors, "model": MODEL, "usage": {"prompt_tokens": count, "total_tokens": count}}


async def _stream(asked: ChatRequest, script: Script, request: HttpRequest) -> AsyncIterator[bytes]:
    head = _head("chat.completion.chunk")
    async for delta in _deltas(script, request):
        yield _frame(head | {"choices": [_choice(delta=delta, finish_reason=None)]})
    if script.ends == "cut":
        yield _frame(_error(500, "the script says so"))
        return
    yield _frame(head | {"choices": [_choice(delta={}, finish_reason=_finish_reason(script))]})
    if asked.include_usage:
        yield _frame(head | {"choices": [], "usage": _usage(asked.messages, script)})
    yield b"data: [DONE]\n\n"


async def _deltas(script: Script, request: HttpRequest) -> AsyncIterator[Body]:
    """The answer in its pieces, with the pauses between them."""
    if script.hangs_at_once:
        await _until_left(request)
    yield {"role": "assistant", "content": ""}
    for delta in _pieces(script):
        yield delta
        await asyncio.sleep(script.pause)
    if script.ends == "hanging":
        await _until_left(request)


def _pieces(script: Script) -> Iterator[Body]:
    for word in _cut(script.thought, script.units):
        yield {"reasoning_content": word}
    for index, call in enumerate(script.calls):
        yield {"tool_calls": [{"index": index, **_tool_call(call), "function": {"name": call.name, "arguments": ""}}]}
        for piece in _in_units(call.arguments, script.units or PIECE):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    if not script.calls:
        for word in _cut(script.answer, script.units):
            yield {"content": word}


async def _until_left(request: HttpRequest) -> None:
    # The body has been read: all that can come is that the other side left.
    await request.receive()


def _completion(asked: ChatRequest, script: Script) -> Body:
    message: Body = {"role": "assistant", "content": script.answer, "reasoning_content": script.thought}
    if script.calls:
        message |= {"content": None, "tool_calls": [_tool_call(call) for call in script.calls]}
    choices = [_choice(message=message, finish_reason=_finish_reason(script))]
    return _head("chat.completion") | {"choices": choices, "usage": _usage(asked.messages, script)}


def _head(kind: str) -> Body:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": MODEL}


def _choice(**more: Any) -> Body:
    return {"index": 0, "logprobs": None, **more}


def _finish_reason(script: Script) -> str:
    return "tool_calls" if script.calls else "stop"


def _tool_call(call: ToolCall) -> Body:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(messages: list[Message], script: Script) -> Body:
    """Words for tokens; what came before the last message is what a provider would have had in its cache."""
    *earlier, last = (len(_words(message.text)) for message in messages)
    said = [call.arguments for call in script.calls] or [script.answer]
    thought, spoken = len(_words(script.thought)), sum(len(_words(text)) for text in said)
    return {
        "prompt_tokens": sum(earlier) + last,
        "completion_tokens": thought + spoken,
        "total_tokens": sum(earlier) + last + thought + spoken,
        "prompt_tokens_details": {"cached_tokens": sum(earlier)},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _cut(text: str, units: int) -> list[str]:
    return _in_units(text, units) if units else _words(text)


def _in_units(text: str, length: int) -> list[str]:
    """Pieces of so many UTF-16 units: what is beyond the first 65,536 characters of Unicode may be cut in two."""
    units, _ = UTF_16.encode(text, "surrogatepass")
    pieces = [units[i : i + 2 * length] for i in range(0, len(units), 2 * length)]
    return [UTF_16.decode(piece, "surrogatepass")[0] for piece in pieces]


def _frame(body: Body) -> bytes:
    return b"data: %b\n\n" % json.dumps(body).encode()


def _error(status: int, message: str) -> Body:
    kind = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def error_response(status: int, message: str) -> Response[Body]:
    return Response(_error(status, message), status_code=status, media_type="application/json")


def handle_bad_request(request: Request[Any, Any, Any], error: BadRequest) -> Response[Body]:
    return error_response(400, str(error))


def handle_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[Body]:
    """Answer for a request that Litestar refuses by itself."""
    return error_response(error.status_code, error.detail)
