"""The narrator: the rules of showing a run, the same for every wire. Performs no I/O.

Events of a run go in, sayings come out (`sayings.py`); an encoder makes a wire's bytes of them. The rules:

- Thoughts come in blocks, one for each step of the run that thinks. A block is closed before text, a call, the return
  of a tool that is shown, an error or the end.
- Lines about tools (`Using web_search…`) and remarks stand in the thoughts, each on a line of its own.
- Nothing is said of thoughts or tools that are to be hidden, but that a tool's return interrupts the text.
- Calls of the client's tools are said as they come. Other calls that wait become one question to the person, or
  an item of the wire's each, and only where no tool of the client's was called.

    state     receives                        becomes   says
    OPEN      Stop of a good reason           FINISHED  what closes the answer, then Finished
    OPEN      Stop with a failure             FAILED    nothing: a Failure may follow that tells more
    OPEN      Failure, a reason unknown       OPEN      raises the error
    OPEN      the end of events               OPEN      raises BrokenStream
    FAILED    Failure, the end of events      FAILED    raises the error
    FINISHED  the end of events               CLOSED    the usage, if it was told
    any       receive_error                   CLOSED    what closes the answer, if it has no end yet

TokensCounted is added up in every state but CLOSED; else nothing is said of what comes after a Stop: a cancelled Letta
sends one more token, and an error that comes after a good end is none of the answer's.
"""

from collections.abc import Sequence
from enum import Enum, auto

from gateway.domain.errors import BrokenStream, UpstreamError
from gateway.domain.events import (
    CallPiece,
    CallRefused,
    CallWaits,
    Event,
    Failure,
    Remark,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.look import Look
from gateway.domain.request import NO_TOOLS, ClientTools
from gateway.wires.client_calls import ClientCalls
from gateway.wires.question import Questions
from gateway.wires.sayings import (
    ApprovalAsked,
    BrokenOff,
    Finished,
    Saying,
    TextPaused,
    ThoughtsClosed,
    ThoughtsOpened,
    ToolsOver,
)


class NarratorState(Enum):
    OPEN = auto()  # more is said
    FAILED = auto()  # the run has stopped without an answer; why may still be told
    FINISHED = auto()  # the answer is whole; only usage may follow
    CLOSED = auto()  # the end, good or bad, was received; nothing may follow


class Narrator:
    """Says one run to one client.

    `receive` takes the events in order; `receive_eof` the end of them; `receive_error` an end before that.
    The first two raise an UpstreamError where the run failed; only `receive_error` may be called then.
    """

    def __init__(self, look: Look, client_tools: ClientTools = NO_TOOLS, *, awaits_usage: bool = False) -> None:
        """`awaits_usage`: the answer is complete with its usage only, and not with its end."""
        self._look = look
        self._awaits_usage = awaits_usage
        self._state = NarratorState.OPEN
        self._failure: UpstreamError | None = None
        self._thinking = False
        self._step: str | None = None
        """The step whose thoughts were said last."""
        self._at_line_start = True
        """True: what comes next in the thoughts stands at the beginning of a line."""
        self._answered = False
        self._named: set[str] = set()
        """The ids of the calls that have their line in the thoughts."""
        self._calls = ClientCalls(client_tools)
        self._questions = Questions()
        self.tokens: TokensCounted | None = None
        """The usage as far as it was told."""

    @property
    def finished(self) -> bool:
        """True: the answer has its end; an error that comes later is none of its own."""
        return self._state in (NarratorState.FINISHED, NarratorState.CLOSED)

    @property
    def stopped(self) -> bool:
        """True: the run has told why it stops, for good or bad."""
        return self._state is not NarratorState.OPEN

    @property
    def complete(self) -> bool:
        """True: nothing more need be awaited."""
        return self._state is NarratorState.FINISHED and not (self._awaits_usage and self.tokens is None)

    def receive(self, event: Event) -> Sequence[Saying]:
        """Say what a client is shown of `event`. Raises UpstreamError for an event that tells of a failed run."""
        if self._state is not NarratorState.OPEN:
            return self._receive_late(event)
        match event:
            case Text():
                return self._answer(event) if event.text else []
            case Thought():
                return self._think(event) if event.text else []
            case ToolCalled() | CallRefused() | ToolReturned():
                return self._show_tool(event)
            case CallWaits(call):
                return self._wait_for(call)
            case Remark(text, step):
                return self._note(text, step)
            case TokensCounted():
                self._count(event)
            case Stop():
                return self._end(event)
            case Failure(error):
                raise error.bare()
        # A sign of life says nothing.
        return []

    def receive_eof(self) -> Sequence[Saying]:
        """Say what comes last: the usage. Raises UpstreamError where the run did not end well."""
        if self._state is NarratorState.OPEN:
            raise BrokenStream("no stop_reason")
        if self._state is NarratorState.FAILED and self._failure:
            raise self._failure.bare()
        closed, self._state = self._state is NarratorState.CLOSED, NarratorState.CLOSED
        return [self.tokens] if self.tokens and not closed else []

    def receive_error(self) -> Sequence[Saying]:
        """Say that the answer breaks off; nothing where it has its end."""
        if self.finished:
            return []
        self._state = NarratorState.CLOSED
        return [*self._close_thoughts(), *self._end_tools(), BrokenOff()]

    def _receive_late(self, event: Event) -> Sequence[Saying]:
        """Take what comes after the run has stopped."""
        if self._state is not NarratorState.CLOSED and isinstance(event, TokensCounted):
            self._count(event)
        if self._state is NarratorState.FAILED and isinstance(event, Failure):
            raise event.error.bare()
        return []

    def _answer(self, piece: Text) -> list[Saying]:
        self._answered = True
        return [*self._close_thoughts(), piece] if self._thinking else [piece]

    def _think(self, piece: Thought) -> list[Saying]:
        if self._look.reasoning == "hidden":
            return []
        opened = self._open_thoughts(piece.step)
        self._at_line_start = piece.text.endswith("\n")
        return [*opened, piece] if opened else [piece]

    def _note(self, text: str, step: str | None) -> list[Saying]:
        """Say a line of its own in the thoughts."""
        if not text or self._look.reasoning == "hidden":
            return []
        opened = self._open_thoughts(step)
        newline = "" if self._at_line_start else "\n"
        self._at_line_start = True
        return [*opened, Thought(f"{newline}{text}\n", step)]

    def _open_thoughts(self, step: str | None) -> list[Saying]:
        """Open a block of thoughts; each step of the run has a block of its own."""
        if self._thinking and step == self._step:
            return []
        said = self._close_thoughts()
        self._thinking, self._step = True, step
        if not self._look.joins_thoughts:
            self._at_line_start = True
        said.append(ThoughtsOpened())
        return said

    def _close_thoughts(self) -> list[Saying]:
        if not self._thinking:
            return []
        self._thinking = False
        return [ThoughtsClosed()]

    def _show_tool(self, event: ToolCalled | CallRefused | ToolReturned) -> list[Saying]:
        """Say what a tool of Letta's own does: all of it, a line in the thoughts, or nothing."""
        returned = isinstance(event, ToolReturned)
        if self._look.shows_tools:
            return [*self._close_thoughts(), event] if returned else [event]
        if self._look.tool_activity == "hidden":
            return [*self._close_thoughts(), TextPaused()] if returned else []
        match event:
            case ToolCalled(call, step) if call.name and call.id not in self._named:
                if call.id:
                    self._named.add(call.id)
                return self._note(f"Using {call.name}…", step)
            case CallRefused(_, reason, step):
                return self._note(reason, step)
        return []

    def _wait_for(self, call: CallPiece) -> list[Saying]:
        if not self._calls.is_one(call):
            self._questions.call(call)
            return []
        said = self._calls.receive(call)
        return [*self._close_thoughts(), *said] if said else []

    def _end(self, stop: Stop) -> list[Saying]:
        if stop.failure and stop.reason is StopReason.UNKNOWN:
            raise stop.failure.bare()
        if stop.failure:
            self._state, self._failure = NarratorState.FAILED, stop.failure
            return []
        self._state = NarratorState.FINISHED
        said = [*self._close_thoughts(), *self._end_tools()]
        if stop.reason is not StopReason.WAITING:
            return [*said, Finished(stop.reason, stop.at)]
        if self._calls.any:
            return [*said, *self._calls.close(), Finished(StopReason.WAITING, stop.at)]
        return [*said, *self._ask(), Finished(StopReason.END, stop.at)]

    def _end_tools(self) -> list[Saying]:
        return [ToolsOver()] if self._look.shows_tools else []

    def _ask(self) -> list[Saying]:
        """Say the question about the calls that wait, apart from what the agent said."""
        if self._look.approvals == "items":
            return [ApprovalAsked(call) for call in self._questions.calls()]
        question = self._questions.ask()
        return [TextPaused(), Text(f"\n\n{question}" if self._answered else question)] if question else []

    def _count(self, tokens: TokensCounted) -> None:
        """Add up the usage: one event tells it of a whole run, or one of each step."""
        self.tokens = self.tokens.plus(tokens) if self.tokens else tokens
