"""The recorded runs, each played behind a gateway: by a V1 server, or by an App Server."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from msgspec import Struct

from tests.bytes.looks import Look, Tool, looks
from tests.servers.fake_app_server import FakeAppServer, Frame
from tests.servers.fake_letta import Cut, End, FakeLetta, Raw, Step

RUNS = Path(__file__).parent.parent / "runs"
# run -> the tool that it calls, which somebody else than the server may have, and who
CALLED: dict[str, tuple[str, Tool]] = {
    "rest/client-tool-asks-approval": ("get_weather", "a tool of the request's"),
    "app-server/external-tool-then-answer": ("client_tool", "a tool of the request's"),
    "app-server/approval-denied-then-answer": ("Bash", "a tool of the agent's"),
    "app-server/tool-denied-then-answer": ("Bash", "a tool of the agent's"),
}
# Its connection breaks; every other body has an orderly end.
CUT = "cut-within-a-line"


class Run(Struct, frozen=True):
    """A recorded run: the body of a V1 server's answer, or the frames of an App Server's turn."""

    path: Path

    @property
    def name(self) -> str:
        return f"{'app-server' if self.path.suffix == '.jsonl' else 'rest'}/{self.path.stem}"

    @property
    def called(self) -> str:
        """The tool that it calls; empty where nobody but the server has it."""
        return CALLED[self.name][0] if self.name in CALLED else ""

    @property
    def looks(self) -> list[Look]:
        return looks(CALLED[self.name][1]) if self.name in CALLED else looks()

    def played(self) -> AbstractContextManager[str]:
        """A Letta of which every turn is this run; gives its address."""
        return _frames_played(self.path) if self.path.suffix == ".jsonl" else _body_played(self.path)


ALL = [Run(path) for path in sorted(RUNS.rglob("*")) if path.suffix in (".sse", ".json", ".jsonl")]
RECORDED = {run.name: run for run in ALL}


@contextmanager
def _body_played(path: Path) -> Iterator[str]:
    with FakeLetta() as letta:
        letta.steps = _steps(path)
        yield letta.base_url


def _steps(path: Path) -> list[Step]:
    if path.suffix == ".json":
        return [int(path.stem.rpartition("-")[2]), json.loads(path.read_bytes())]
    return [Raw(path.read_bytes()), Cut() if path.stem == CUT else End()]


@contextmanager
def _frames_played(path: Path) -> Iterator[str]:
    frames = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(RecordedTurns(frames)) as server:
        yield server.url


class RecordedTurns(FakeAppServer):
    """An App Server of which every turn is the recorded one, with the ids of who asked for it.

    A turn that asks for what its agent may do is answered by nobody: it says no more until it is aborted.
    """

    def __init__(self, frames: list[Frame]) -> None:
        super().__init__()
        accepted = [frame for frame in frames if frame["type"] == "input_accepted"]
        self.turn = [frame for frame in frames if frame not in accepted]
        self.answers["input"] = {name: one[name] for one in accepted for name in ("accepted", "disposition")}
        self.answers["conversation_create"] = self._create_conversation
        self._conversations = 0

    def _create_conversation(self, request: Frame) -> Frame:
        self._conversations += 1
        made = {"id": f"conv-{self._conversations}", "agent_id": request["body"]["agent_id"]}
        return {"conversation": made | {"summary": request["body"]["summary"]}}

    async def play(self, request: Frame, *frames: Frame) -> None:
        payload, runtime = request["payload"], frames[-1]["runtime"]
        (message,) = payload["messages"]
        ids = {id: message["client_message_id"] for id in _own_messages(frames)}
        ids |= {runtime[name]: id for name, id in request["runtime"].items()}
        asking = (i for i, frame in enumerate(frames) if _asked(frame) in payload["client_tool_allowlist"])
        told = frames[: next(asking, len(frames)) + 1]
        await self.send(*(_renamed(frame, ids) for frame in told))

    async def _answer(self, frame: Frame) -> None:
        await super()._answer(frame)
        if frame["type"] == "abort_message":
            await self.send({"type": "turn_finished", "stop_reason": "cancelled", "runtime": frame["runtime"]})


def _asked(frame: Frame) -> str | None:
    """The tool that a frame asks an answer for."""
    match frame:
        case {"type": "external_tool_call_request", "tool_name": str(name)}:
            return name
        case {"type": "control_request", "request": {"tool_name": str(name)}}:
            return name
    return None


def _own_messages(frames: tuple[Frame, ...]) -> set[str]:
    """The messages of the runs that say something in these frames; other runs had their turns before."""
    runs = {frame["delta"].get("run_id") for frame in frames if "delta" in frame}
    taken: list[dict[str, list[str]]] = [
        frame["loop_status"].get("client_message_ids_by_run_id", {}) for frame in frames if "loop_status" in frame
    ]
    return {id for messages in taken for run, ids in messages.items() if run in runs for id in ids}


def _renamed(value: Any, ids: dict[str, str]) -> Any:
    """`value` with every text in it that is one of `ids` being the id that it stands for."""
    match value:
        case dict():
            return {name: _renamed(one, ids) for name, one in value.items()}
        case list():
            return [_renamed(one, ids) for one in value]
        case str():
            return ids.get(value, value)
        case _:
            return value
