"""A Letta that does what a test tells it, down to the bytes: for faults that a real one shows only by accident.

It speaks just enough HTTP to keep agents and conversations in memory; what a run answers is a list of steps.
"""

import asyncio
import json
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Body = dict[str, Any]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PING = {"message_type": "ping", "run_id": "run-1"}
THOUGHT = {"message_type": "reasoning_message", "step_id": "s1", "reasoning": "Hm. "}
WORD = {"message_type": "assistant_message", "step_id": "s1", "content": "Hello"}
STOP = {"message_type": "stop_reason", "stop_reason": "end_turn"}
USAGE = {"message_type": "usage_statistics", "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class Cut:
    """Close the connection, whatever was promised."""


class Hold:
    """Say no more, until the other side leaves."""


class Raw(bytes):
    """Bytes of the body as they are, in a chunk of their own."""


Step = Body | Raw | Cut | Hold | int | threading.Event
"""An event, bytes, an end, an HTTP status instead of an answer, or something to wait for."""
ANSWER: list[Step] = [PING, THOUGHT, WORD, STOP, USAGE]


class FakeLetta:
    """Serves on a free port while entered. `steps` is what every run does; `requests` what was asked."""

    def __init__(self) -> None:
        self.steps: Sequence[Step] = ANSWER
        self.cancel_steps: list[Step] = []
        self.requests: list[tuple[str, str, Body]] = []
        self.agents: list[Body] = []
        self.conversations: list[Body] = []
        self.run_begun = threading.Event()
        self.run_left = threading.Event()
        self.cancelled = threading.Event()
        self.base_url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def count(self, method: str, path_end: str) -> int:
        """How many requests of `method` reached a path that ends so."""
        return sum(asked == method and path.rstrip("/").endswith(path_end) for asked, path, _ in self.requests)

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.run_left.set()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; returns whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split(" ", 2)
        length = _content_length(head)
        body = json.loads(await reader.readexactly(length) or b"{}")
        url = urlsplit(target)
        self.requests.append((method, url.path, body))
        if method == "POST" and url.path.endswith("/messages"):
            return await self._run(reader, writer)
        if url.path.endswith("/cancel"):
            for step in self.cancel_steps:
                await self._step(step, reader, writer)
            self.cancelled.set()
        self._reply(writer, 200, self._state(method, url.path.rstrip("/"), parse_qs(url.query), body))
        return True

    def _state(self, method: str, path: str, query: dict[str, list[str]], body: Body) -> Any:
        """Agents and conversations, as far as the gateway asks for them."""
        match method, path.split("/")[2:]:
            case "GET", ["agents"]:
                return [agent for agent in self.agents if set(query.get("tags", [])) <= set(agent["tags"])]
            case "POST", ["agents"]:
                self.agents.append(body | {"id": f"agent-{len(self.agents)}", "created_at": _date(len(self.agents))})
                return self.agents[-1]
            case "GET", ["conversations"]:
                wanted = query.get("summary_search", [""])[0]
                mine = [c for c in self.conversations if c["agent_id"] == query["agent_id"][0]]
                return [c for c in mine if wanted in c["summary"]]
            case "POST", ["conversations"]:
                agent = query["agent_id"][0]
                self.conversations.append({**body, "id": f"conv-{len(self.conversations)}", "agent_id": agent})
                return self.conversations[-1]
            case _:
                return {}

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.run_begun.set()
        steps = list(self.steps)
        if steps and isinstance(steps[0], int):
            self._reply(writer, steps[0], {"detail": "secret detail"})
            return True
        if not (steps and isinstance(steps[0], Cut)):
            writer.write(HEAD)
        for step in steps:
            if not await self._step(step, reader, writer):
                return False
        self._chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        return True

    async def _step(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await writer.drain()
        match step:
            case Cut():
                return False
            case Hold():
                await reader.read()
                self.run_left.set()
                return False
            case threading.Event():
                await asyncio.to_thread(step.wait, 30)
            case bytes():
                self._chunk(writer, step)
            case dict():
                self._chunk(writer, b"data: %b\n\n" % json.dumps(step).encode())
        return True

    def _chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _reply(self, writer: asyncio.StreamWriter, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)


def _content_length(head: str) -> int:
    values = [line.partition(":")[2] for line in head.lower().splitlines() if line.startswith("content-length:")]
    return int(values[0]) if values else 0


def _date(number: int) -> str:
    return f"2026-01-01T00:00:{number % 60:02}Z"
