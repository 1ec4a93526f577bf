"""A model that does what the messages say: an OpenAI-compatible server, deterministic, without a state of its own.

The last user message is its script, a command a line; text without a command is answered with `You said: …`.

    !think TEXT       think this aloud (default: "Let me think about it.")
    !say TEXT         answer this
    !tool NAME JSON   call a tool; its result is then answered with `Tool said: …`
    !fail STATUS      answer with this HTTP status
    !hang             say nothing, until the other side leaves
    !hang-after TEXT  say this, then nothing more
    !cut-after TEXT   say this, then report an error within the stream
    What is my name?  is answered from what the system prompt or an earlier message says
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from litestar import Litestar, Request, Response, get, post
from litestar.response import Stream

MODEL = "scripted"
THOUGHT = "Let me think about it. "
Body = dict[str, Any]


class Script:
    """What the messages of one request ask for."""

    def __init__(self, messages: list[Body]) -> None:
        self.commands: dict[str, str] = {}
        last = messages[-1]
        self.thought = THOUGHT
        if last["role"] == "tool":
            self.answer = f"Tool said: {_text(last)}"
            return
        asked = next((_text(m) for m in reversed(messages) if m["role"] == "user"), "")
        for line in asked.splitlines():
            command, _, rest = line.partition(" ")
            if command.startswith("!"):
                self.commands[command] = rest
        self.thought = self.commands.get("!think", THOUGHT)
        self.answer = self.commands.get("!say") or _answer(asked, messages)

    @property
    def tool(self) -> tuple[str, str] | None:
        name, _, arguments = self.commands.get("!tool", "").partition(" ")
        return (name, arguments or "{}") if name else None


def _answer(asked: str, messages: list[Body]) -> str:
    if asked.strip().endswith("What is my name?"):
        known = re.findall(r"[Nn]ame is (\w+)", "\n".join(_text(m) for m in messages[:-1]))
        return f"Your name is {known[-1]}." if known else "I do not know your name."
    return f"You said: {asked}"


def _text(message: Body) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _deltas(script: Script) -> Iterator[Body]:
    yield {"role": "assistant", "content": ""}
    for word in _words(script.thought):
        yield {"reasoning_content": word}
    if script.tool:
        name, arguments = script.tool
        yield {"tool_calls": [_call(name, "")]}
        for i in range(0, len(arguments), 8):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": arguments[i : i + 8]}}]}
        return
    partly = script.commands.get("!hang-after") or script.commands.get("!cut-after")
    for word in _words(partly or script.answer):
        yield {"content": word}


def _call(name: str, arguments: str) -> Body:
    function = {"name": name, "arguments": arguments}
    return {"index": 0, "id": f"call_{name}", "type": "function", "function": function}


def _usage(messages: list[Body], script: Script) -> Body:
    prompt = sum(len(_words(_text(message))) for message in messages)
    completion = len(_words(script.thought)) + len(_words(script.answer))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


def _chunk(choices: list[Body], **more: Any) -> bytes:
    head = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return b"data: %b\n\n" % json.dumps({**head, "choices": choices, **more}).encode()


async def _stream(body: Body, script: Script, request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    if "!hang" in script.commands:
        await _until_left(request)
    for delta in _deltas(script):
        yield _chunk([{"index": 0, "delta": delta, "finish_reason": None}])
    if "!hang-after" in script.commands:
        await _until_left(request)
    if "!cut-after" in script.commands:
        yield b'data: {"error": {"message": "the script says so", "type": "server_error"}}\n\n'
        return
    reason = "tool_calls" if script.tool else "stop"
    yield _chunk([{"index": 0, "delta": {}, "finish_reason": reason}])
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _chunk([], usage=_usage(body["messages"], script))
    yield b"data: [DONE]\n\n"


async def _until_left(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _completion(body: Body, script: Script) -> Body:
    message: Body = {"role": "assistant", "content": script.answer, "reasoning_content": script.thought}
    if script.tool:
        message |= {"content": None, "tool_calls": [_call(*script.tool)]}
    reason = "tool_calls" if script.tool else "stop"
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": _usage(body["messages"], script),
    }


class ScriptedModel:
    """The server's application, and a record of what it was asked: what an agent's model really received."""

    def __init__(self) -> None:
        self.requests: list[Body] = []
        self.base_url = ""
        self.app = Litestar(
            [self._models(), self._chat(), self._embeddings()], openapi_config=None, logging_config=None
        )

    def received(self, text: str) -> list[list[tuple[str, str]]]:
        """The (role, text)s of every request whose last message contains `text`; times that Letta adds are its own."""
        return [
            [(message["role"], _text(message)) for message in request["messages"]]
            for request in self.requests
            if text in _text(request["messages"][-1])
        ]

    def _models(self) -> Any:
        @get("/v1/models")
        async def models() -> Body:
            return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "tests"}]}

        return models

    def _chat(self) -> Any:
        @post("/v1/chat/completions", status_code=200)
        async def chat(request: Request[Any, Any, Any]) -> Response[Any] | Stream:
            body = await request.json()
            self.requests.append(body)
            script = Script(body["messages"])
            if status := script.commands.get("!fail"):
                error = {"message": "the script says so", "type": "scripted", "code": None, "param": None}
                return Response({"error": error}, status_code=int(status))
            if body.get("stream"):
                return Stream(_stream(body, script, request), media_type="text/event-stream")
            return Response(_completion(body, script))

        return chat

    def _embeddings(self) -> Any:
        @post("/v1/embeddings", status_code=200)
        async def embeddings(request: Request[Any, Any, Any]) -> Body:
            texts = (await request.json())["input"]
            vectors = [{"object": "embedding", "index": i, "embedding": [0.1] * 1536} for i in range(len(texts))]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return {"object": "list", "data": vectors, "model": "embedding", "usage": usage}

        return embeddings
