"""The errors of a Letta. Performs no I/O.

An UpstreamError is named for what happened; `wires/envelope.py` holds the answer to a client for each.

UpstreamError
  Unreachable         no connection: Letta has nothing of the request
    CannotStart       no Letta of the gateway's own can be started here; the text says what to do about it
  NotFound            an agent or a conversation that is not (or no longer) there
  Busy                another run of the conversation is under way, or waits for an approval
    QueueFull         too many turns wait for those before them, or one has waited too long
    Stuck             an earlier turn of the conversation has no end, and lets none begin
    Abandoned         the run under way may be one that nobody listens to any more
  Garbled             Letta cannot read its own file of the agent
  Refused             Letta does not take what it was sent, or answers what it should not
    KeyRefused        Letta does not take the gateway's key
    TooLong           a message is longer than Letta takes: nothing of it was kept
    Locked            something else works on an agent's memory at this moment
  Overtaken           another gateway may have gone on with what this one had for itself: it must not write any more
  RunFailed           Letta, or the model behind it, failed
    UnknownStopReason Letta stopped for a reason that nobody here knows
    NoSpace           the disk of Letta is full: it cannot keep what is said
    AnsweredElsewhere another gateway gives the answer, and it cannot be followed here
    BrokenStream      the stream ended early or held what is no event
    TimedOut          no sign of life, or of progress
    Stopped           somebody, or the gateway's own end, stopped the run
      Unwanted        whoever asked for it did
    RateLimited       the model provider's limit
    OutOfCredits      Letta's account is empty
    ModelRefused      the model provider does not take Letta's key
    ModelFailed       the model provider failed
    ModelTimedOut     the model provider did not answer
    ContextOverflow   more than the model's context window holds
    PictureRefused    Letta cannot read a picture
"""

import copy
from typing import Self


class UpstreamError(Exception):
    """The base of all errors of a Letta. Its text is for logs and names no content of a request.

    `taken`: True if Letta has, or may have, the message of the turn, so that sending it again could store it twice.
    Each kind has its usual value (`usually_taken`); the code that raises one may know better. `said`: the part of what
    the model's provider said that may be told to anybody.
    """

    usually_taken = False

    def __init__(self, text: str = "", *, taken: bool | None = None, said: str = "") -> None:
        super().__init__(text)
        self.said = said
        self.taken = self.usually_taken if taken is None else taken

    def bare(self) -> Self:
        """A copy to raise or to keep: what the log of a run keeps would keep the traceback, and all that that holds."""
        return copy.copy(self)

    # Errors are part of events, which are values: two equal errors are equal.
    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (other.args, other.taken) == (self.args, self.taken)

    def __hash__(self) -> int:
        return hash((type(self), self.args, self.taken))


class Unreachable(UpstreamError): ...


class CannotStart(Unreachable):
    """No Letta of the gateway's own can be started on this machine; the text, for its operator, says what to do."""


class NotFound(UpstreamError): ...


class Busy(UpstreamError): ...


class QueueFull(Busy): ...


class Stuck(Busy): ...


class Abandoned(Busy): ...


class Garbled(UpstreamError): ...


class Refused(UpstreamError): ...


class KeyRefused(Refused): ...


class TooLong(Refused): ...


class Locked(Refused):
    """Something else works on an agent's memory at this moment."""


class Overtaken(UpstreamError):
    """Another gateway may have gone on with what this one had for itself."""


class RunFailed(UpstreamError):
    """Letta, or the model behind it, failed after it had taken the message."""

    usually_taken = True


class UnknownStopReason(RunFailed):
    """Letta has stopped for a reason that nobody here knows."""

    @property
    def stop_reason(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return f"stop_reason {self.stop_reason}"


class NoSpace(RunFailed): ...


class AnsweredElsewhere(RunFailed):
    """Another gateway gives the answer, and it cannot be followed here."""


class BrokenStream(RunFailed): ...


class TimedOut(RunFailed): ...


class Stopped(RunFailed): ...


class Unwanted(Stopped):
    """Whoever asked for the run has cancelled it."""


class RateLimited(RunFailed): ...


class OutOfCredits(RunFailed): ...


class ModelRefused(RunFailed): ...


class ModelFailed(RunFailed): ...


class ModelTimedOut(RunFailed): ...


class ContextOverflow(RunFailed): ...


class PictureRefused(RunFailed): ...
