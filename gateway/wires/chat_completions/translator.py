"""Letta events in, OpenAI chunks out: a state machine that performs no I/O; clock and id are given to it."""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial

from gateway.domain import errors
from gateway.domain.events import (
    CallPiece,
    CallRefused,
    CallWaits,
    Event,
    Failure,
    Remark,
    SignOfLife,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.look import Reasoning, ToolActivity
from gateway.domain.request import NO_TOOLS, ClientTools
from gateway.wires.chat_completions.calls import ClientCalls
from gateway.wires.chat_completions.items import ItemWriter
from gateway.wires.chat_completions.response import CompletionTokensDetails, FinishReason, PromptTokensDetails, Usage
from gateway.wires.chat_completions.writer import Writer
from gateway.wires.envelope import UpstreamFailure
from gateway.wires.question import Questions
from gateway.wires.tool_display import Told, tools_of

# The reasons to stop that end an answer well.
FINISH_REASONS: dict[StopReason, FinishReason] = {
    StopReason.END: "stop",
    StopReason.LIMIT: "length",
    # A question to the person, if no tool of the client's was called.
    StopReason.WAITING: "stop",
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
        self._stop: Stop | None = None
        self._tokens = TokensCounted()
        self._usage: Usage | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer has its finish reason; an error that comes later is none of its own."""
        return self._state is not State.OPEN

    @property
    def stopped(self) -> bool:
        """Whether Letta has given its reason to stop, good or bad."""
        return self._stop is not None

    @property
    def complete(self) -> bool:
        """Whether nothing more need be awaited: the answer is finished, and has the usage if that was asked for."""
        return self._state is State.FINISHED and not (self._include_usage and self._usage is None)

    def receive(self, event: Event) -> Sequence[Told]:
        """What `event` is told as; raises UpstreamFailure for an event that tells of a failed run."""
        # Nothing takes from an answer that is finished, or follows its end.
        if self.finished and (self._state is State.CLOSED or isinstance(event, Failure)):
            return []
        # On a cancel Letta sends one more token after its reason to stop.
        if self._stop and not isinstance(event, TokensCounted | Failure):
            return []
        match event:
            case Text(text):
                return self._writer.answer(text)
            case Thought(text, step):
                return self._writer.think(text, step)
            case Stop():
                return self._end(event)
            case TokensCounted():
                return self._count(event)
            case Failure(error):
                raise UpstreamFailure(error)
            case _:
                return self._use(event)

    def receive_eof(self) -> Sequence[Told]:
        """The chunks that end the stream; raises UpstreamFailure where the run did not end well."""
        if self._stop is None:
            raise UpstreamFailure(errors.BrokenStream("no stop_reason"))
        if self._stop.failure:
            raise UpstreamFailure(self._stop.failure)
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

    def _use(self, event: ToolCalled | ToolReturned | CallWaits | CallRefused | Remark | SignOfLife) -> Sequence[Told]:
        match event:
            case ToolCalled(call, step):
                return self._tools.call(call, step)
            case ToolReturned():
                return self._tools.receive(event)
            case CallWaits(call):
                return self._wait_for(call)
            case CallRefused(call, reason, step):
                return self._tools.refuse(call, reason, step)
            case Remark(text, step):
                return self._writer.note(text, step)
            case SignOfLife():
                return []

    def _end(self, stop: Stop) -> Sequence[Told]:
        if stop.reason is StopReason.UNKNOWN and stop.failure:
            raise UpstreamFailure(stop.failure)
        self._stop = stop
        if stop.failure:
            # A `Failure` that tells more may follow; the end of the stream raises otherwise.
            return []
        self._state = State.FINISHED
        if stop.reason is StopReason.WAITING:
            return [*self._tools.close(), *self._finish_waiting()]
        return [*self._tools.close(), *self._writer.finish(FINISH_REASONS[stop.reason])]

    def _finish_waiting(self) -> Sequence[Told]:
        """The run goes on with the client's results, or with the person's word."""
        if self._calls.any:
            return [*self._calls.close(), *self._writer.finish("tool_calls")]
        return [*self._writer.ask(self._questions.ask()), *self._writer.finish("stop")]

    def _wait_for(self, call: CallPiece) -> Sequence[Told]:
        if self._calls.is_one(call):
            return self._calls.call(call)
        self._questions.call(call)
        return []

    def _count(self, tokens: TokensCounted) -> Sequence[Told]:
        """Add up the usage: one event tells it of a whole run, or one of each step."""
        before = self._tokens
        self._tokens = TokensCounted(
            before.prompt + tokens.prompt,
            before.completion + tokens.completion,
            before.total + tokens.total,
            before.cached + tokens.cached,
            before.reasoning + tokens.reasoning,
        )
        self._usage = to_usage(self._tokens)
        return []


def to_usage(tokens: TokensCounted) -> Usage:
    return Usage(
        tokens.prompt,
        tokens.completion,
        tokens.total,
        PromptTokensDetails(tokens.cached),
        CompletionTokensDetails(tokens.reasoning),
    )
