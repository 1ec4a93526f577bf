"""The gateway's offline model behind Letta, with a record of what it was asked. Its language: `gateway.offline`."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from litestar import get
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from gateway.offline import INTRODUCTION, MODEL, THOUGHT, create_offline_model
from tests.pictures.drawn import name_of

__all__ = ["INTRODUCTION", "THOUGHT", "ScriptedModel"]

Body = dict[str, Any]


@get("/api/v0/models")
async def list_native_models() -> Body:
    """LM Studio's own listing, by which an App Server knows a model that sees.

    https://lmstudio.ai/docs/developer/rest/endpoints
    """
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "type": "vlm"}]}


class Gate:
    """A place in an answer behind which the model says nothing until the gate is opened; entered, it is shut."""

    def __init__(self, text: str, word: str) -> None:
        """It stands behind `word` in the answers to messages that contain `text`."""
        self.text = text
        self.word = word.encode()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._is_open = False
        self._lock = threading.Lock()

    def open(self) -> None:
        with self._lock:
            self._is_open = True
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Return once it is open."""
        mine = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if self._is_open:
                return
            self._waiting.add(mine)
        try:
            await mine[1].wait()
        finally:
            with self._lock:
                self._waiting.discard(mine)


class ScriptedModel:
    """The model's application, and the chat completions it was asked for: what an agent's model really received."""

    def __init__(self) -> None:
        self.requests: list[Body] = []
        self.base_url = ""
        self.rule: Callable[[Body], str | None] | None = None
        """What makes a script of a request, where it is not the person who says one."""
        self._asks = threading.Condition()
        self._gates: list[Gate] = []
        self.app = create_offline_model()
        self.app.register(list_native_models)
        self.app.asgi_handler = self._recording(self.app.asgi_handler)

    def received(self, text: str) -> list[list[tuple[str, str]]]:
        """The (role, text)s of every request whose last message contains `text`; times that Letta adds are its own."""
        return [[(message["role"], _text(message)) for message in request["messages"]] for request in self._asked(text)]

    def said(self, text: str) -> list[list[tuple[str, str]]]:
        """`received` without the agent's system prompt, and without what an App Server puts before people's words."""
        return [
            [(message["role"], "\n".join(_own_words(message))) for message in request["messages"][1:]]
            for request in self._asked(text)
        ]

    def said_once(self, text: str) -> list[tuple[str, str]]:
        """`said` of the one request whose last message contains `text`."""
        (said,) = self.said(text)
        return said

    def offered(self, text: str) -> list[set[str]]:
        """The tools that the model was offered with each of these requests."""
        return [{tool["function"]["name"] for tool in request.get("tools", ())} for request in self._asked(text)]

    def wait_for(self, text: str) -> None:
        """Returns when a request has come whose last message contains `text`."""
        with self._asks:
            assert self._asks.wait_for(lambda: self._asked(text), 30)

    @contextmanager
    def gate(self, text: str, word: str) -> Iterator[Gate]:
        """A gate, for as long as this is entered, and open afterwards."""
        gate = Gate(text, word)
        self._gates.append(gate)
        try:
            yield gate
        finally:
            gate.open()
            self._gates.remove(gate)

    def _asked(self, text: str) -> list[Body]:
        return [request for request in self.requests if text in _text(request["messages"][-1])]

    def _recording(self, app: ASGIApp) -> ASGIApp:
        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] != "/v1/chat/completions":
                await app(scope, receive, send)
                return

            passing: list[Gate] = []

            async def send_through(message: Message) -> None:
                await send(message)
                for gate in passing:
                    if gate.word in message.get("body", b""):  # type: ignore[operator]
                        await gate.passed()

            async def receive_and_record() -> ReceiveMessage:
                body, message = b"", await receive()
                while message["type"] == "http.request" and message["more_body"]:
                    body, message = body + message["body"], await receive()
                if message["type"] == "http.request":
                    request = json.loads(body + message["body"])
                    last = _text(request["messages"][-1])
                    passing.extend(gate for gate in self._gates if gate.text in last)
                    message["body"] = self._record(request)
                return message

            await app(scope, receive_and_record, send_through)

        return recorded

    def _record(self, request: Body) -> bytes:
        """Before it is answered: what hangs was asked, too. Gives what the offline model is to do."""
        with self._asks:
            self.requests.append(request)
            self._asks.notify_all()
        script = self.rule(request) if self.rule else None
        told = [{"role": "user", "content": script}] if script else []
        return json.dumps({**request, "messages": [*request["messages"], *told]}).encode()


def _text(message: Body) -> str:
    return "\n".join(_parts(message))


def _own_words(message: Body) -> list[str]:
    """All parts but the App Server's reminders, which never come last; the gateway's own tell what a client wants."""
    *before, last = _parts(message)
    return [part for part in before if not part.startswith("<system-reminder>") or "of the client" in part] + [last]


def _parts(message: Body) -> list[str]:
    content = message.get("content") or ""
    return [content] if isinstance(content, str) else [_shown(part) for part in content]


def _shown(part: Body) -> str:
    """The text of a part, or the name of its picture."""
    return name_of(part["image_url"]["url"]) if part["type"] == "image_url" else part.get("text", "")
