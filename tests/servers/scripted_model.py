"""The gateway's offline model behind Letta, with a record of what it was asked. Its language: `gateway.offline`."""

import json
import threading
from collections.abc import Callable
from typing import Any

from litestar import get
from litestar.types import ASGIApp, Receive, ReceiveMessage, Scope, Send

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


class ScriptedModel:
    """The model's application, and the chat completions it was asked for: what an agent's model really received."""

    def __init__(self) -> None:
        self.requests: list[Body] = []
        self.base_url = ""
        self.rule: Callable[[Body], str | None] | None = None
        """What makes a script of a request, where it is not the person who says one."""
        self._asks = threading.Condition()
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

    def _asked(self, text: str) -> list[Body]:
        return [request for request in self.requests if text in _text(request["messages"][-1])]

    def _recording(self, app: ASGIApp) -> ASGIApp:
        async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] != "/v1/chat/completions":
                await app(scope, receive, send)
                return

            async def receive_and_record() -> ReceiveMessage:
                body, message = b"", await receive()
                while message["type"] == "http.request" and message["more_body"]:
                    body, message = body + message["body"], await receive()
                if message["type"] == "http.request":
                    message["body"] = self._record(json.loads(body + message["body"]))
                return message

            await app(scope, receive_and_record, send)

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
