"""A Letta that does what a test tells it, down to the bytes: for faults that a real one shows only by accident.

It speaks just enough HTTP to keep agents and conversations in memory; what a run answers is a list of steps.
"""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Body = dict[str, Any]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
PING = {"message_type": "ping", "run_id": "run-1"}
THOUGHT = {"message_type": "reasoning_message", "step_id": "s1", "reasoning": "Hm. "}
WORD = {"message_type": "assistant_message", "step_id": "s1", "content": "Hello"}
STOP = {"message_type": "stop_reason", "stop_reason": "end_turn"}
USAGE = {"message_type": "usage_statistics", "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class Cut:
    """Close the connection, whatever was promised."""


class Hold:
    """Say no more, until the other side leaves, or until the run is cancelled if it has said anything before.

    With `seconds`, go on after these.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds


class End:
    """End the body, without the `[DONE]` that ends every other."""


class Raw(bytes):
    """Bytes of the body as they are, in a chunk of their own."""


Step = Body | Raw | Cut | End | Hold | int | threading.Event
"""An event, bytes, an end, something to wait for, or an HTTP status instead of an answer, which its body may follow."""
ANSWER: list[Step] = [PING, THOUGHT, WORD, STOP, USAGE]
PROMPT = "You are a patient tutor. Memory: none."
"""What every agent's own prompt is compiled to."""


class FakeLetta:
    """Serves on a free port while entered. `steps` is what every run does but those that `coming` has steps for.

    `requests` is what was asked, `traces` the header `traceparent` of each. A turn is kept, and listed, once its run
    says a good reason to stop.
    """

    def __init__(self) -> None:
        self.steps: Sequence[Step] = ANSWER
        self.coming: list[Sequence[Step]] = []
        self.cancel_steps: list[Step] = []
        self.requests: list[tuple[str, str, Body]] = []
        self.traces: list[str] = []
        self.agents: list[Body] = []
        self.conversations: list[Body] = []
        self.messages: defaultdict[str, list[Body]] = defaultdict(list)
        self._made = 0
        self.run_begun = threading.Event()
        self.run_left = threading.Event()
        self.cancel_begun = threading.Event()
        self.cancelled = threading.Event()
        self.base_url = ""
        self._cut_off: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
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

    @property
    def runs(self) -> list[Body]:
        """What every run was begun with."""
        return [body for method, path, body in self.requests if method == "POST" and path.endswith("/messages")]

    @property
    def said(self) -> list[list[str]]:
        """The texts that every run was begun with."""
        return [[message["content"] for message in run["messages"] if "content" in message] for run in self.runs]

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
        length = int(_header(head, "content-length") or 0)
        body = json.loads(await reader.readexactly(length) or b"{}")
        url = urlsplit(target)
        self.requests.append((method, url.path, body))
        self.traces.append(_header(head, "traceparent"))
        if method == "POST" and url.path.endswith("/messages"):
            return await self._run(reader, writer, url.path.split("/")[-2], body)
        if url.path.endswith("/cancel"):
            self.cancel_begun.set()
            for step in self.cancel_steps:
                await self._step(step, writer)
            self._cut_off[url.path.split("/")[-2]].set()
            self.cancelled.set()
        self._reply(writer, 200, self._state(method, url.path.rstrip("/"), parse_qs(url.query), body))
        return True

    def _state(self, method: str, path: str, query: dict[str, list[str]], body: Body) -> Any:
        """Agents and conversations, as far as the gateway asks for them."""
        match method, path.split("/")[2:]:
            case "GET", ["agents"]:
                found = [agent for agent in self.agents if set(query.get("tags", [])) <= set(agent["tags"])]
                before = [agent["id"] for agent in found].index(query["after"][0]) + 1 if "after" in query else 0
                return found[before : before + int(query["limit"][0])]
            case "POST", ["agents"]:
                self.agents.append(body | {"id": f"agent-{len(self.agents)}", "created_at": _date(len(self.agents))})
                return self.agents[-1]
            case "GET", ["conversations"]:
                wanted, agents = query.get("summary_search", [""])[0], query.get("agent_id")
                mine = [c for c in self.conversations if not agents or c["agent_id"] == agents[0]]
                return [c for c in mine if wanted in c["summary"] and not query.get("after")]
            case "POST", ["conversations"]:
                agent = query["agent_id"][0]
                self._made += 1
                made = {"id": f"conv-{self._made - 1}", "agent_id": agent, "created_at": _date(0)}
                self.conversations.append({**body, **made})
                return self.conversations[-1]
            case "PATCH", ["conversations", id]:
                self._conversation(id).update(body)
                return self._conversation(id)
            case "DELETE", ["conversations", id]:
                self.conversations = [c for c in self.conversations if c["id"] != id]
                return {}
            case "GET", ["runs"]:
                return []  # it knows of none when its stream has ended
            case "GET", ["conversations", id, "messages"]:
                return [] if query.get("after") else self.messages[id]
            case "POST", ["conversations", _, "recompile"]:
                return PROMPT
            case _:
                return {}

    def _conversation(self, id: str) -> Body:
        return next((c for c in self.conversations if c["id"] == id), {})

    def _keep(self, conversation: str, body: Body, steps: Sequence[Step]) -> None:
        """A turn that ended well: what was sent, and the thoughts and the answer in one piece each."""
        kept = self.messages[conversation]
        self._conversation(conversation)["last_message_at"] = datetime.now(UTC).isoformat()
        answer = {"role": "assistant", "content": _whole(steps, "assistant_message", "content"), "step_id": "s1"}
        for message in [message for message in body["messages"] if "role" in message]:
            self._list_one(kept, {**message, "message_type": f"{message['role']}_message"})
        if thoughts := _whole(steps, "reasoning_message", "reasoning"):
            self._list_one(kept, {"message_type": "reasoning_message", "reasoning": thoughts, "step_id": "s1"})
        self._list_one(kept, {**answer, "message_type": "assistant_message"})

    def _list_one(self, kept: list[Body], message: Body) -> None:
        kept.append({**message, "date": _date(len(kept)), "id": f"message-{len(kept)}"})

    async def _run(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conversation: str, body: Body
    ) -> bool:
        steps = list(self.coming.pop(0) if self.coming else self.steps)
        cut_off = self._cut_off[conversation] = asyncio.Event()
        self.run_begun.set()
        if steps and isinstance(steps[0], int):
            self._reply(writer, steps[0], steps[1] if len(steps) > 1 else {"detail": "secret detail"})
            return True
        if not (steps and isinstance(steps[0], Cut)):
            writer.write(HEAD)
        for i, step in enumerate(steps):
            if step == STOP:
                self._keep(conversation, body, steps)
            if isinstance(step, Hold):
                spoke = any(isinstance(before, dict) and before != PING for before in steps[:i])
                ends = await self._hold(reader, writer, cut_off if spoke else asyncio.Event(), step.seconds)
                if ends is not None:
                    return ends
                continue
            if not await self._step(step, writer):
                return False
        if not (steps and isinstance(steps[-1], End)):
            self._chunk(writer, b"data: [DONE]\n\n")
        writer.write(END)
        return True

    async def _hold(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut_off: asyncio.Event, seconds: float | None
    ) -> bool | None:
        """Say no more; returns whether the connection goes on, or None where the run does, after the seconds.

        A run that is cut off says one more word, too late.
        """
        await writer.drain()
        leaving, cutting = asyncio.create_task(reader.read()), asyncio.create_task(cut_off.wait())
        done, _ = await asyncio.wait([leaving, cutting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in (leaving, cutting):
            task.cancel()
        await asyncio.gather(leaving, cutting, return_exceptions=True)
        if not done:
            return None
        if not cut_off.is_set():
            self.run_left.set()
            return False
        await self._step({**STOP, "stop_reason": "cancelled"}, writer)
        await self._step({**WORD, "content": " late"}, writer)
        writer.write(END)
        return True

    async def _step(self, step: Step, writer: asyncio.StreamWriter) -> bool:
        await writer.drain()
        match step:
            case Cut():
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


def _whole(steps: Sequence[Step], kind: str, field: str) -> str:
    """All pieces of what a run says in messages of this kind."""
    told = [step for step in steps if isinstance(step, dict) and step.get("message_type") == kind]
    return "".join(str(step.get(field, "")) for step in told)


def _header(head: str, name: str) -> str:
    lines = head.splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.lower().startswith(f"{name}:")), "")


def _date(number: int) -> str:
    return f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
