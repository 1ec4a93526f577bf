"""Sayings: what the narrator says of a run, in the order in which a client is shown it. Performs no I/O.

The union `Saying` is closed, and no wire's words are in it: each wire makes its own of it. Pieces of texts and thoughts
are the events themselves. An answer that thinks, speaks and ends is these:

    ThoughtsOpened(), Thought("She has asked"), Thought(" before."), ThoughtsClosed(), Text("Hello."), Finished(END)
"""

from msgspec import Struct

from gateway.domain.events import (
    CallPiece,
    CallRefused,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)


class ThoughtsOpened(Struct, frozen=True):
    """A block of thoughts begins; the text before it, if there is one, pauses."""


class ThoughtsClosed(Struct, frozen=True):
    """The block of thoughts ends."""


class TextPaused(Struct, frozen=True):
    """Something comes between the text before and the text after, though nothing is shown of it."""


class ClientCallBegun(Struct, frozen=True):
    """The agent calls a tool of the client's: `ClientCallBegun(0, "call_1", "weather")`. The text pauses."""

    index: int
    """The place of the call among all of the answer's."""
    id: str
    name: str


class ClientCallContinued(Struct, frozen=True):
    """More of the arguments of a call that has begun: `ClientCallContinued(0, '{"city": "Os')`. The text pauses."""

    index: int
    arguments: str
    """A piece of JSON, never empty."""


class ApprovalAsked(Struct, frozen=True):
    """A call waits for a person's approval: `ApprovalAsked(CallPiece("call_1", "Bash", "{}"))`. The text pauses.

    It is said only where approvals are items of a wire; elsewhere the question is text.
    """

    call: CallPiece
    """All of the call; its arguments are JSON, never empty."""


class ToolsOver(Struct, frozen=True):
    """No tool of Letta's own runs any more: what has not returned yet never does."""


class Finished(Struct, frozen=True):
    """The answer is whole: `Finished(StopReason.END)`. Only its usage may follow."""

    reason: StopReason
    """END, LIMIT, or WAITING for the results of the client's calls; a question that waits for a person is an END."""
    at: int = 0
    """The second at which it was; 0 where nobody has seen it."""


class BrokenOff(Struct, frozen=True):
    """The answer ends before it is whole. An error follows."""


# `ToolCalled`, `CallRefused`, `ToolReturned` and `ToolsOver` are said where tools are shown with all they take and
# give. `TokensCounted` is the usage of the whole run, and comes last.
Saying = (
    Text
    | Thought
    | ThoughtsOpened
    | ThoughtsClosed
    | TextPaused
    | ClientCallBegun
    | ClientCallContinued
    | ApprovalAsked
    | ToolCalled
    | CallRefused
    | ToolReturned
    | ToolsOver
    | Finished
    | BrokenOff
    | TokensCounted
)
