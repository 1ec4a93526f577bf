"""Letta events in, OpenAI chunks out: a state machine that performs no I/O, reads no clock and makes no id."""

from enum import Enum, auto

from msgspec import UNSET

from gateway.letta import errors as letta
from gateway.letta.events import Event
from gateway.openai_wire.defuse import Defuser
from gateway.openai_wire.errors import UnknownStopReason, UpstreamFailure
from gateway.openai_wire.response import (
    ChatCompletionChunk,
    ChunkChoice,
    CompletionTokensDetails,
    Delta,
    FinishReason,
    PromptTokensDetails,
    Usage,
)
from gateway.settings import Reasoning

# Letta's reasons to stop that end an answer well. Those of letta.STOP_REASONS end it as the error they name;
# a reason in neither table is an UnknownStopReason.
FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "tool_rule": "stop",
    "no_tool_call": "stop",
    "max_steps": "length",
    "max_tokens_exceeded": "length",
}
OPEN_TAG, CLOSE_TAG = "<think>", "</think>"


class State(Enum):
    IDLE = auto()  # nothing was sent
    THINKING = auto()  # a block of thoughts is open
    ANSWERING = auto()  # the role was sent and no block is open
    FINISHED = auto()  # the finish reason was sent; only usage may follow
    CLOSED = auto()  # the end, good or bad, was received; nothing may follow


class StreamTranslator:
    """Translates one run.

    `receive` takes the events in order; `receive_eof` the end of them; `receive_error` an end before that.
    The first two raise UpstreamFailure when the run failed; only `receive_error` may be called then.
    """

    def __init__(self, *, id: str, created: int, model: str, reasoning: Reasoning, include_usage: bool) -> None:
        self._id, self._created, self._model = id, created, model
        self._reasoning = reasoning
        self._include_usage = include_usage
        self._state = State.IDLE
        self._text = Defuser()
        self._thoughts = Defuser()
        self._step: str | None = None
        # Whether the thoughts shown last end a line, so that a tool's line can begin there.
        self._at_line_start = True
        self._calls: set[str] = set()
        self._stop_reason: str | None = None
        self._usage: Usage | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer has its finish reason; an error that comes later is none of its own."""
        return self._state in (State.FINISHED, State.CLOSED)

    @property
    def stopped(self) -> bool:
        """Whether Letta has given its reason to stop, good or bad."""
        return self._stop_reason is not None

    @property
    def complete(self) -> bool:
        """Whether nothing more need be awaited: the answer is finished, and has the usage if that was asked for."""
        return self._state is State.FINISHED and not (self._include_usage and self._usage is None)

    def receive(self, event: Event) -> list[ChatCompletionChunk]:
        """The chunks that `event` makes; raises UpstreamFailure for an event that tells of a failed run."""
        # Nothing takes from an answer that is finished, or follows its end.
        if self.finished and (self._state is State.CLOSED or event.message_type == "error_message"):
            return []
        # On a cancel Letta sends one more token after its reason to stop.
        if self._stop_reason and event.message_type not in ("usage_statistics", "error_message"):
            return []
        match event.message_type:
            case "assistant_message":
                return self._answer(event.text)
            case "reasoning_message":
                return self._think(event.reasoning or "", event.step_id)
            case "tool_call_message":
                return [chunk for call in event.calls for chunk in self._use(call.name, call.tool_call_id, event)]
            case "status":
                return self._note(event.message or "", event)
            case "stop_reason":
                return self._stop(event.stop_reason or "")
            case "usage_statistics":
                return self._count(event)
            case "error_message":
                raise UpstreamFailure(letta.from_error_message(event.error_type, event.message))
            case _:
                # ping, tool_return_message, user_message and system_message (compaction), and what is new
                return []

    def receive_eof(self) -> list[ChatCompletionChunk]:
        """The chunks that end the stream; raises UpstreamFailure where the run did not end well."""
        if self._stop_reason is None:
            raise UpstreamFailure(letta.BrokenStream("no stop_reason"))
        if self._stop_reason in letta.STOP_REASONS:
            raise UpstreamFailure(letta.from_stop_reason(self._stop_reason))
        closed, self._state = self._state is State.CLOSED, State.CLOSED
        if closed or not (self._include_usage and self._usage):
            return []
        return [self._chunk([], self._usage)]

    def receive_error(self) -> list[ChatCompletionChunk]:
        """The chunks that close what is open, before an error is told."""
        if self._state in (State.FINISHED, State.CLOSED):
            return []
        chunks = self._close_thoughts() + self._flush_answer()
        self._state = State.CLOSED
        return chunks

    def _answer(self, text: str) -> list[ChatCompletionChunk]:
        if not text:
            return []
        chunks = self._begin() + self._close_thoughts()
        return chunks + self._content(self._text.feed(text))

    def _flush_answer(self) -> list[ChatCompletionChunk]:
        return self._content(self._text.flush())

    def _think(self, text: str, step: str | None) -> list[ChatCompletionChunk]:
        if not text or self._reasoning == "hidden":
            return []
        chunks = self._open_thoughts(step)
        if shown := self._thoughts.feed(text):
            self._at_line_start = shown.endswith("\n")
            chunks += self._thought(shown)
        return chunks

    def _use(self, name: str | None, call_id: str | None, event: Event) -> list[ChatCompletionChunk]:
        """A line in the thoughts for a tool of Letta's own: told once, on the piece that names it."""
        if not name or call_id in self._calls:
            return []
        if call_id:
            self._calls.add(call_id)
        return self._note(f"Using {name}…", event)

    def _note(self, text: str, event: Event) -> list[ChatCompletionChunk]:
        """A line of its own in the thoughts."""
        if not text or self._reasoning == "hidden":
            return []
        chunks = self._open_thoughts(event.step_id)
        rest = self._thoughts.flush()
        newline = "" if self._at_line_start and not rest else "\n"
        self._at_line_start = True
        return chunks + self._thought(rest + newline + self._thoughts.feed(f"{text}\n"))

    def _stop(self, stop_reason: str) -> list[ChatCompletionChunk]:
        if stop_reason in letta.STOP_REASONS:
            # An `error_message` that tells more may follow; the end of the stream raises otherwise.
            self._stop_reason = stop_reason
            return []
        if stop_reason not in FINISH_REASONS:
            raise UnknownStopReason(stop_reason)
        self._stop_reason = stop_reason
        chunks = self._begin() + self._close_thoughts() + self._flush_answer()
        self._state = State.FINISHED
        return chunks + [self._chunk([ChunkChoice(Delta(), FINISH_REASONS[stop_reason])])]

    def _count(self, event: Event) -> list[ChatCompletionChunk]:
        """Add up the usage: one event tells it of a whole run, or one of each step."""
        before = self._usage
        prompt, completion = event.prompt_tokens or 0, event.completion_tokens or 0
        total = event.total_tokens or prompt + completion
        cached, reasoning = event.cached_input_tokens or 0, event.reasoning_tokens or 0
        if before:
            prompt += before.prompt_tokens
            completion += before.completion_tokens
            total += before.total_tokens
            cached += before.prompt_tokens_details.cached_tokens
            reasoning += before.completion_tokens_details.reasoning_tokens
        self._usage = Usage(prompt, completion, total, PromptTokensDetails(cached), CompletionTokensDetails(reasoning))
        return []

    def _begin(self) -> list[ChatCompletionChunk]:
        """The role, in the first delta and nowhere else."""
        if self._state is not State.IDLE:
            return []
        self._state = State.ANSWERING
        return [self._delta(Delta(role="assistant", content=""))]

    def _open_thoughts(self, step: str | None) -> list[ChatCompletionChunk]:
        """Open a block of thoughts; each step of the run has a block of its own."""
        chunks = self._begin()
        if self._state is State.THINKING and step == self._step:
            return chunks
        chunks += self._close_thoughts() + self._content(self._text.interrupt())
        self._state = State.THINKING
        self._step = step
        if self._reasoning == "think_tags":
            self._at_line_start = True
        return chunks + self._tag(OPEN_TAG)

    def _close_thoughts(self) -> list[ChatCompletionChunk]:
        if self._state is not State.THINKING:
            return []
        rest = self._thoughts.flush()
        self._at_line_start = self._at_line_start and not rest
        chunks = self._thought(rest) + self._tag(CLOSE_TAG)
        self._state = State.ANSWERING
        return chunks

    def _tag(self, tag: str) -> list[ChatCompletionChunk]:
        return self._content(tag) if self._reasoning == "think_tags" else []

    def _thought(self, text: str) -> list[ChatCompletionChunk]:
        if self._reasoning == "think_tags":
            return self._content(text)
        return [self._delta(Delta(reasoning_content=text))] if text else []

    def _content(self, text: str) -> list[ChatCompletionChunk]:
        return [self._delta(Delta(content=text))] if text else []

    def _delta(self, delta: Delta) -> ChatCompletionChunk:
        return self._chunk([ChunkChoice(delta)])

    def _chunk(self, choices: list[ChunkChoice], usage: Usage | None = None) -> ChatCompletionChunk:
        # Asked for usage, every chunk says `usage: null` but the last; not asked, none has the field.
        shown = usage if self._include_usage else UNSET
        return ChatCompletionChunk(self._id, self._created, self._model, choices, shown)
