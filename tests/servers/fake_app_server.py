"""An App Server that does what a test tells it: for what a real one shows only by accident, or not at all."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

Frame = dict[str, Any]
Answer = Frame | None | Callable[[Frame], Frame | None]
"""The fields of an answer, or none at all; or what makes them of the request."""
WAIT_SECONDS = 10
RUNTIME = {"agent_id": "agent-1", "conversation_id": "conv-1"}
WELL: list[Frame] = [{"type": "turn_finished", "stop_reason": "end_turn"}]


def word(text: str) -> Frame:
    """A piece of an answer; who speaks, and in which run, is added as it is sent."""
    content = [{"type": "text", "text": text}]
    return {"type": "stream_delta", "delta": {"message_type": "assistant_message", "content": content}}


def status(value: str) -> Frame:
    """What the loop of a conversation does."""
    return {"type": "update_loop_status", "loop_status": {"status": value}}


class FakeAppServer:
    """Serves on a free port while entered. Whatever `answers` does not name is answered with success alone.

    By the name of a request: `before` has the frames that are sent ahead of its answer. `turn` are the frames of
    every turn, which follow the answer to its input. `token` is what a client must show, if there is one.
    """

    def __init__(self) -> None:
        self.token: str | None = None
        self.answers: dict[str, Answer] = {}
        self.before: dict[str, list[Frame]] = {}
        self.turn: list[Frame] = [word("Hello"), *WELL]
        self.received: list[Frame] = []
        self.connections: list[ServerConnection] = []
        self.url = ""
        self._changed = asyncio.Condition()
        self._turns = 0

    async def __aenter__(self) -> Self:
        self._server: Server = await serve(self._serve, "127.0.0.1", 0, process_request=self._admit, max_size=None)
        self.url = f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}/ws"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def sent(self, *types: str) -> list[Frame]:
        """What came of these types, in order."""
        return [frame for frame in self.received if frame["type"] in types]

    async def arrived(self, type: str, times: int = 1) -> Frame:
        """The frame of a type that came as the first, the second, …; waits for it."""
        await self._until(lambda: len(self.sent(type)) >= times)
        return self.sent(type)[times - 1]

    async def connected(self, times: int = 1) -> None:
        """Returns when so many connections have been made."""
        await self._until(lambda: len(self.connections) >= times)

    async def send(self, *frames: Frame | bytes | str) -> None:
        """Send over the newest connection, whatever it is."""
        for frame in frames:
            await self.connections[-1].send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def reply(self, request: Frame, **fields: Any) -> None:
        await self.send({"type": f"{request['type']}_response", "request_id": request["request_id"], **fields})

    async def play(self, request: Frame, *frames: Frame) -> None:
        """Send the frames of the turn that an `input` has begun, with the run that it is."""
        self._turns += 1
        run, runtime = f"run-{self._turns}", request["runtime"]
        ids = [message["client_message_id"] for message in request["payload"]["messages"]]
        loop = {"status": "PROCESSING_API_RESPONSE", "client_message_ids_by_run_id": {run: ids}}
        await self.send({"type": "update_loop_status", "loop_status": loop, "runtime": runtime})
        for frame in frames:
            told = {**frame, "runtime": runtime, "run_id": run}
            if "delta" in frame:
                told["delta"] = {"run_id": run, **frame["delta"]}
            await self.send(told)

    def cut(self) -> None:
        """Break every connection, without a word."""
        for connection in self.connections:
            connection.transport.abort()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS), self._changed:
            await self._changed.wait_for(is_so)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        shown = request.headers.get("Authorization")
        if self.token and shown != f"Bearer {self.token}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "secret")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        await self._note(partial(self.connections.append, connection))
        async for text in connection:
            frame = json.loads(text)
            await self._note(partial(self.received.append, frame))
            await self._answer(frame)

    async def _note(self, change: Callable[[], object]) -> None:
        async with self._changed:
            change()
            self._changed.notify_all()

    async def _answer(self, frame: Frame) -> None:
        answer = self.answers.get(frame["type"], {"success": True})
        fields = answer(frame) if callable(answer) else answer
        if fields is None or "request_id" not in frame or frame["type"].endswith("_response"):
            return
        await self.send(*self.before.get(frame["type"], []))
        await self.reply(frame, **fields)
        if frame["type"] == "input" and frame["payload"]["kind"] == "create_message" and self.turn:
            await self.play(frame, *self.turn)
