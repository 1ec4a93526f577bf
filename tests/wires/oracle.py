"""What every stream must be, whatever made it: parses its bytes and asserts each rule; and plays events to a stream."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct
from openai.types.chat import ChatCompletionChunk
from openai.types.completion_usage import CompletionUsage

from gateway.domain.errors import GatewayError, UpstreamError
from gateway.domain.events import Event
from gateway.domain.look import Look, Reasoning, ToolActivity
from gateway.domain.request import NO_TOOLS, ClientTools
from gateway.frontends.open_webui.answer import OpenWebUIAdditions
from gateway.wires.chat_completions.encoder import ChatCompletionEncoder
from gateway.wires.chat_completions.response import DONE_FRAME, frame
from gateway.wires.chat_completions.response import ChatCompletionChunk as Chunk
from gateway.wires.envelope import UpstreamFailure, to_response
from gateway.wires.narrator import Narrator
from gateway.wires.sayings import Saying

ID, CREATED, MODEL = "chatcmpl-1", 1_790_000_000, "tutor"
CHUNK_KEYS = {"id", "object", "created", "model", "choices"}
ERROR_KEYS = {"message", "type", "param", "code"}
TAG = re.compile("(</?think>)")


class Stream(Struct, frozen=True):
    """A stream that obeys the rules, and what it says."""

    deltas: list[dict[str, Any]]
    finish_reason: str | None
    usage: CompletionUsage | None
    error: dict[str, Any] | None

    @property
    def content(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(delta.get("reasoning_content") or "" for delta in self.deltas)

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """The calls of the client's tools, as a client adds them up: id, name, arguments."""
        calls: dict[int, tuple[str, str, str]] = {}
        for piece in pieces_of(self.deltas):
            id, name, arguments = calls.get(piece["index"], ("", "", ""))
            function = piece["function"]
            more = arguments + function.get("arguments", "")
            calls[piece["index"]] = piece.get("id", id), function.get("name", name), more
        return [calls[index] for index in sorted(calls)]

    @property
    def visible(self) -> str:
        """The content without its blocks of thoughts."""
        return split_thoughts(self.content)[0]

    @property
    def thoughts(self) -> list[str]:
        """The blocks of thoughts in the content."""
        return split_thoughts(self.content)[1]


def check_stream(frames: bytes, *, model: str = MODEL, include_usage: bool = False) -> Stream:
    """The stream that `frames` are, all of them from the first to the end of the body."""
    *payloads, done = _data_lines(frames)
    assert done == b"[DONE]"
    error = _error(payloads.pop()) if payloads and b'"error"' in payloads[-1][:10] else None
    chunks = [ChatCompletionChunk.model_validate_json(payload, strict=True) for payload in payloads]
    raw = [json.loads(payload) for payload in payloads]

    assert all(chunk["object"] == "chat.completion.chunk" for chunk in raw)
    assert all(chunk["model"] == model for chunk in raw)
    assert len({(chunk["id"], chunk["created"]) for chunk in raw}) <= 1
    assert all(chunk.keys() == CHUNK_KEYS | ({"usage"} if include_usage else set()) for chunk in raw)

    usage = chunks[-1].usage if chunks and not chunks[-1].choices else None
    told = raw[:-1] if usage else raw
    assert all(chunk.get("usage") is None for chunk in told)
    deltas, finish_reason = _choices([chunk["choices"] for chunk in told])
    _check_calls(deltas, finish_reason)
    assert (finish_reason is None) == (error is not None), "an answer has a finish reason, or an error, never both"
    assert not (usage and error)
    return Stream(deltas, finish_reason, usage, error)


def _data_lines(frames: bytes) -> list[bytes]:
    """The data of each event: one line each, an empty line after it; nothing else but comments."""
    assert frames.endswith(b"\n\n")
    assert b"\r" not in frames
    blocks = frames[:-2].split(b"\n\n")
    assert all(b"\n" not in block for block in blocks)
    assert all(block.startswith((b"data: ", b":")) for block in blocks)
    return [block.removeprefix(b"data: ") for block in blocks if not block.startswith(b":")]


def _error(payload: bytes) -> dict[str, Any]:
    told = json.loads(payload)
    assert told.keys() == {"error"}
    error: dict[str, Any] = told["error"]
    assert error.keys() == ERROR_KEYS
    assert error["message"]
    assert error["type"]
    return error


def _choices(told: list[list[dict[str, Any]]]) -> tuple[list[dict[str, Any]], str | None]:
    """The deltas before the last, and the finish reason, which has a chunk of its own."""
    assert all(len(choices) == 1 for choices in told)
    choices = [choice for (choice,) in told]
    assert all(choice.keys() == {"delta", "finish_reason", "index", "logprobs"} for choice in choices)
    assert all(choice["index"] == 0 for choice in choices)
    assert all(choice["finish_reason"] is None for choice in choices[:-1])

    deltas = [choice["delta"] for choice in choices]
    assert [delta.get("role") for delta in deltas] == ["assistant" if i == 0 else None for i in range(len(deltas))]
    assert all(delta.keys() <= {"role", "content", "reasoning_content", "reasoning", "tool_calls"} for delta in deltas)
    assert all(delta.get("reasoning") == delta.get("reasoning_content") for delta in deltas)
    if not choices or choices[-1]["finish_reason"] is None:
        return deltas, None
    assert deltas.pop() == {}
    return deltas, choices[-1]["finish_reason"]


def pieces_of(deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pieces of calls, in order."""
    return [piece for delta in deltas for piece in delta.get("tool_calls", ())]


def _check_calls(deltas: list[dict[str, Any]], finish_reason: str | None) -> None:
    """A call has a delta with its id and name, then others with its arguments; its index is its place among all."""
    assert all(delta.keys() == {"tool_calls"} for delta in deltas if "tool_calls" in delta)
    begun: list[int] = []
    for piece in pieces_of(deltas):
        if piece["index"] in begun:
            assert piece.keys() == {"index", "function"}
            assert piece["function"].keys() == {"arguments"}
        else:
            assert piece.keys() == {"index", "id", "type", "function"}
            assert piece["type"] == "function"
            assert piece["function"].keys() == {"arguments", "name"}
            assert piece["function"]["arguments"] == ""
            begun.append(piece["index"])
    assert begun == list(range(len(begun)))
    assert finish_reason is None or (finish_reason == "tool_calls") == bool(begun)


def split_thoughts(content: str) -> tuple[str, list[str]]:
    """The visible text and the blocks of thoughts of a content; asserts that every block is closed and none nested."""
    parts = TAG.split(content)
    tags = parts[1::2]
    assert tags == ["<think>", "</think>"] * (len(tags) // 2)
    return "".join(parts[0::4]), parts[2::4]


def check_tags(stream: Stream, mode: Reasoning = "think_tags") -> None:
    """Thoughts come in one way only; in `think_tags` each tag is a delta of its own, elsewhere there is none."""
    pieces = [delta.get("content", "") for delta in stream.deltas]
    assert all(piece in ("<think>", "</think>") for piece in pieces if TAG.search(piece))
    assert len(stream.thoughts) == 0 or mode == "think_tags"
    assert not stream.reasoning or mode == "reasoning_content"


class Machine:
    """A narrator and an encoder, joined as in a response. Raises the error that a client is told."""

    def __init__(self, narrator: Narrator, encoder: ChatCompletionEncoder) -> None:
        self.narrator = narrator
        self._encoder = encoder

    def receive(self, event: Event) -> list[Struct]:
        return self._told(lambda: self.narrator.receive(event))

    def receive_eof(self) -> list[Struct]:
        return self._told(self.narrator.receive_eof)

    def receive_error(self) -> list[Struct]:
        return self._told(self.narrator.receive_error)

    def _told(self, say: Callable[[], Sequence[Saying]]) -> list[Struct]:
        try:
            sayings = say()
        except UpstreamError as error:
            raise UpstreamFailure(error) from None
        return [chunk for saying in sayings for chunk in self._encoder.chunks(saying)]


def machine_for(
    reasoning: Reasoning = "think_tags",
    include_usage: bool = False,
    tools: ToolActivity = "thoughts",
    id: str = ID,
    clients: ClientTools = NO_TOOLS,
    clock: Callable[[], float] = lambda: 0.0,
) -> Machine:
    narrator = Narrator(Look(reasoning, tools), clients, awaits_usage=include_usage)
    return Machine(narrator, encoder(reasoning, include_usage, tools, id, clock))


def encoder(
    reasoning: Reasoning = "think_tags",
    include_usage: bool = False,
    tools: ToolActivity = "thoughts",
    id: str = ID,
    clock: Callable[[], float] = lambda: 0.0,
) -> ChatCompletionEncoder:
    return ChatCompletionEncoder(
        id=id,
        created=CREATED,
        model=MODEL,
        reasoning=reasoning,
        include_usage=include_usage,
        additions=OpenWebUIAdditions(id, clock) if tools == "rich" else None,
    )


def chunks_of(machine: Machine, events: Iterable[Event]) -> list[Chunk]:
    """The chunks of a run that ends well."""
    told = [told for event in events for told in machine.receive(event)] + [*machine.receive_eof()]
    return [one for one in told if isinstance(one, Chunk)]


def play(
    events: Iterable[Event],
    reasoning: Reasoning = "think_tags",
    include_usage: bool = False,
    tools: ToolActivity = "thoughts",
    clients: ClientTools = NO_TOOLS,
) -> bytes:
    """The frames that a client gets for `events`: an error ends them as it does in a response."""
    machine = machine_for(reasoning, include_usage, tools, clients=clients)
    frames: list[bytes] = []
    try:
        for event in events:
            frames += map(frame, machine.receive(event))
        frames += map(frame, machine.receive_eof())
    except GatewayError as error:
        frames += map(frame, machine.receive_error())
        frames.append(frame(to_response(error)))
    return b"".join(frames) + DONE_FRAME


def played(
    events: Iterable[Event],
    reasoning: Reasoning = "think_tags",
    include_usage: bool = False,
    tools: ToolActivity = "thoughts",
    clients: ClientTools = NO_TOOLS,
) -> Stream:
    """The same, checked."""
    return check_stream(play(events, reasoning, include_usage, tools, clients), include_usage=include_usage)
