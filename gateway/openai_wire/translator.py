"""Letta events in, OpenAI chunks out: a state machine that performs no I/O; clock and id are given to it."""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial

from gateway.domain import errors as letta
from gateway.letta import error_words
from gateway.letta.events import Event, ToolCall
from gateway.openai_wire.approvals import Questions
from gateway.openai_wire.calls import ClientCalls
from gateway.openai_wire.client_tools import NO_TOOLS, ClientTools
from gateway.openai_wire.items import ItemWriter
from gateway.openai_wire.response import (
    CompletionTokensDetails,
    FinishReason,
    PromptTokensDetails,
    Usage,
)
from gateway.openai_wire.tools import Told, tools_of
from gateway.openai_wire.writer import Writer
from gateway.settings import Reasoning, ToolActivity
from gateway.wires.envelope import UnknownStopReason, UpstreamFailure

# Letta's reasons to stop that end an answer well. Those of error_words.STOP_REASONS end it as the error they name;
# a reason in neither table is an UnknownStopReason.
FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "tool_rule": "stop",
    "no_tool_call": "stop",
    "max_steps": "length",
    "max_tokens_exceeded": "length",
    # A question to the person, if no tool of the client's was called.
    "requires_approval": "stop",
}


class State(Enum):
    OPEN = auto()  # more is said
    FINISHED = auto()  # the finish reason was sent; only usage may follow
    CLOSED = auto()  # the end, good or bad, was received; nothing may follow


class StreamTranslator:
    """Translates one run.

    `receive` takes the events in order; `receive_eof` the end of them; `receive_error` an end before that.
    The first two raise UpstreamFailure when the run failed; only `receive_error` may be called then.
    """

    def __init__(
        self,
        *,
        id: str,
        created: int,
        model: str,
        reasoning: Reasoning,
        include_usage: bool,
        tool_activity: ToolActivity,
        client_tools: ClientTools = NO_TOOLS,
        clock: Callable[[], float],
    ) -> None:
        make = partial(ItemWriter, clock=clock) if tool_activity == "rich" else Writer
        self._writer = make(id=id, created=created, model=model, reasoning=reasoning, include_usage=include_usage)
        self._tools = tools_of(tool_activity, self._writer)
        self._calls = ClientCalls(self._writer, client_tools)
        self._questions = Questions()
        self._include_usage = include_usage
        self._state = State.OPEN
        self._stop_reason: str | None = None
        self._usage: Usage | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer has its finish reason; an error that comes later is none of its own."""
        return self._state is not State.OPEN

    @property
    def stopped(self) -> bool:
        """Whether Letta has given its reason to stop, good or bad."""
        return self._stop_reason is not None

    @property
    def complete(self) -> bool:
        """Whether nothing more need be awaited: the answer is finished, and has the usage if that was asked for."""
        return self._state is State.FINISHED and not (self._include_usage and self._usage is None)

    def receive(self, event: Event) -> Sequence[Told]:
        """What `event` is told as; raises UpstreamFailure for an event that tells of a failed run."""
        # Nothing takes from an answer that is finished, or follows its end.
        if self.finished and (self._state is State.CLOSED or event.message_type == "error_message"):
            return []
        # On a cancel Letta sends one more token after its reason to stop.
        if self._stop_reason and event.message_type not in ("usage_statistics", "error_message"):
            return []
        match event.message_type:
            case "assistant_message":
                return self._writer.answer(event.text)
            case "reasoning_message":
                return self._writer.think(event.reasoning or "", event.step_id)
            case "tool_call_message" | "tool_return_message" | "approval_request_message":
                return self._use(event)
            case "status":
                return self._note(event)
            case "stop_reason":
                return self._stop(event.stop_reason or "")
            case "usage_statistics":
                return self._count(event)
            case "error_message":
                raise UpstreamFailure(error_words.from_error_message(event.error_type, event.message, event.detail))
            case _:
                # ping, user_message and system_message (compaction), and what is new
                return []

    def receive_eof(self) -> Sequence[Told]:
        """The chunks that end the stream; raises UpstreamFailure where the run did not end well."""
        if self._stop_reason is None:
            raise UpstreamFailure(letta.BrokenStream("no stop_reason"))
        if self._stop_reason in error_words.STOP_REASONS:
            raise UpstreamFailure(error_words.from_stop_reason(self._stop_reason))
        closed, self._state = self._state is State.CLOSED, State.CLOSED
        if closed or not (self._include_usage and self._usage):
            return []
        return self._writer.tell_usage(self._usage)

    def receive_error(self) -> Sequence[Told]:
        """The chunks that close what is open, before an error is told."""
        if self.finished:
            return []
        self._state = State.CLOSED
        return [*self._tools.close(), *self._writer.close()]

    def _use(self, event: Event) -> Sequence[Told]:
        if event.message_type == "approval_request_message":
            return [told for call in event.calls for told in self._wait_for(call)]
        told = [told for call in event.calls for told in self._tools.call(call, event.step_id)]
        for returned in event.tool_returns or ():
            told += self._tools.receive(returned)
        return told

    def _note(self, event: Event) -> Sequence[Told]:
        if event.tool_call:
            return self._tools.refuse(event.tool_call, event.message or "", event.step_id)
        return self._writer.note(event.message or "", event.step_id)

    def _stop(self, stop_reason: str) -> Sequence[Told]:
        if stop_reason in error_words.STOP_REASONS:
            # An `error_message` that tells more may follow; the end of the stream raises otherwise.
            self._stop_reason = stop_reason
            return []
        if stop_reason not in FINISH_REASONS:
            raise UnknownStopReason(stop_reason)
        self._stop_reason = stop_reason
        self._state = State.FINISHED
        if stop_reason != "requires_approval":
            return [*self._tools.close(), *self._writer.finish(FINISH_REASONS[stop_reason])]
        return [*self._tools.close(), *self._finish_waiting()]

    def _finish_waiting(self) -> Sequence[Told]:
        """The run goes on with the client's results, or with the person's word."""
        if self._calls.any:
            return [*self._calls.close(), *self._writer.finish("tool_calls")]
        return [*self._writer.ask(self._questions.ask()), *self._writer.finish("stop")]

    def _wait_for(self, call: ToolCall) -> Sequence[Told]:
        if self._calls.is_one(call):
            return self._calls.call(call)
        self._questions.call(call)
        return []

    def _count(self, event: Event) -> Sequence[Told]:
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
