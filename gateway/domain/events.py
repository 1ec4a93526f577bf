"""Events: what an upstream says during a run, in the house's words, whichever Letta stands behind. Performs no I/O.

The union `Event` is closed: each upstream makes these of what its Letta says, and skips what it does not know. A run is
some texts, thoughts and calls, then one `Stop`, then perhaps `TokensCounted`; or a `Failure`.
"""

from enum import Enum, auto

from msgspec import Struct

from gateway.domain.errors import UpstreamError

# So much of what a tool took or gave is shown, in characters: a tool may return megabytes.
MAX_SHOWN = 20_000


class Text(Struct, frozen=True, tag=True, omit_defaults=True):
    """A piece of the answer: `Text("Good morn", "step-1")`."""

    text: str
    step: str | None = None
    """The step of the run that says it: one call of the model, with all that comes of it."""
    pieces: int = 1
    """So many events of the run it stands for: several where they were joined."""


class Thought(Struct, frozen=True, tag=True, omit_defaults=True):
    """A piece of the agent's thoughts: `Thought("She has asked before.", "step-1")`."""

    text: str
    step: str | None = None
    pieces: int = 1


class CallPiece(Struct, frozen=True):
    """A call of a tool, or a piece of one: the name comes with the first piece, the arguments in any number of pieces.

    `CallPiece("call_1", "web_search", '{"query": "Os')`, then `CallPiece("call_1", arguments='lo"}')`.
    """

    id: str = ""
    name: str = ""
    """Empty in all pieces of a call but the first."""
    arguments: str = ""
    """JSON, or a piece of it."""


class ToolCalled(Struct, frozen=True, tag=True):
    """The agent calls a tool that Letta carries out: `ToolCalled(CallPiece("call_1", "web_search", "{}"))`."""

    call: CallPiece
    step: str | None = None


class ToolReturned(Struct, frozen=True, tag=True):
    """The result of a call that Letta has carried out: `ToolReturned("call_1", "12 degrees")`."""

    call_id: str
    text: str
    """As a person reads it: `shortened`."""
    failed: bool = False


class CallWaits(Struct, frozen=True, tag=True):
    """The agent makes a call that waits, for the client's result or for an approval.

    `CallWaits(CallPiece("call_1", "weather", '{"city": "Oslo"}'), "step-1")`
    """

    call: CallPiece
    step: str | None = None


class CallRefused(Struct, frozen=True, tag=True):
    """The agent makes a call that is not allowed; the agent is told so by itself.

    `CallRefused(CallPiece("call_1", "Bash"), "Bash is not allowed here: nothing was done.")`
    """

    call: CallPiece
    reason: str
    """A line for the person; empty for a later piece of the call."""
    step: str | None = None


class Remark(Struct, frozen=True, tag=True):
    """A line for the person that is neither the agent's nor a tool's: `Remark("The model's provider failed.")`."""

    text: str
    step: str | None = None


class StopReason(Enum):
    """Why a run stops."""

    END = auto()  # the agent has said what it had to say
    LIMIT = auto()  # a limit of steps or of tokens
    WAITING = auto()  # calls wait, for the client's results or for an approval
    FAILED = auto()  # without an answer, for the `failure` of the `Stop`
    UNKNOWN = auto()  # for a reason that nobody here knows; the `failure` names it


class Stop(Struct, frozen=True, tag=True):
    """A run stops: `Stop(StopReason.END)`. After one that has failed, a `Failure` may follow that tells more."""

    reason: StopReason
    failure: UpstreamError | None = None
    at: int = 0
    """The second at which it did; 0 where nobody has seen it."""


class Failure(Struct, frozen=True, tag=True):
    """A run has failed: `Failure(RateLimited("error_type llm_rate_limit"))`."""

    error: UpstreamError


class TokensCounted(Struct, frozen=True, tag=True):
    """The usage of a run, or of a step of it, in tokens; several are added up: `TokensCounted(11, 7, 18)`."""

    prompt: int = 0
    """All of the prompt, what was `cached` included."""
    completion: int = 0
    """All that the model wrote, its `reasoning` included."""
    total: int = 0
    cached: int = 0
    reasoning: int = 0

    def plus(self, other: "TokensCounted") -> "TokensCounted":
        return TokensCounted(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.total + other.total,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
        )

    def minus(self, other: "TokensCounted") -> "TokensCounted":
        return TokensCounted(
            self.prompt - other.prompt,
            self.completion - other.completion,
            self.total - other.total,
            self.cached - other.cached,
            self.reasoning - other.reasoning,
        )


class SignOfLife(Struct, frozen=True, tag=True):
    """Something that says nothing by itself: a ping, `SignOfLife()`.

    With `progress`, something that nobody here has a use for, but that shows that the run goes on.
    """

    progress: bool = False


Event = (
    Text
    | Thought
    | ToolCalled
    | ToolReturned
    | CallWaits
    | CallRefused
    | Remark
    | Stop
    | Failure
    | TokensCounted
    | SignOfLife
)
PING = SignOfLife()
PROGRESS = SignOfLife(progress=True)


def shortened(text: str) -> str:
    """`text`, without what is beyond MAX_SHOWN characters; it says so itself."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… [shortened: {len(text)} characters]"
