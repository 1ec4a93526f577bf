"""The account of a run: what it has cost and done, for those who count and trace.

Performs no I/O, but for a look at the clock.
"""

import time
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from gateway.domain.events import CallPiece, CallRefused, CallWaits, Event, Text, Thought, TokensCounted, ToolCalled

# So many calls of tools are kept of a run: an agent may call them without end.
MOST_CALLS = 100
# So much of a tool's name is kept: a client may have given it any.
LONGEST_NAME = 64
# A token is some four characters of English: https://platform.openai.com/tokenizer
CHARACTERS_A_TOKEN = 4


class ToolUse(Struct):
    """One call of a tool in a run: `ToolUse("call_1", "web_search", began=12.5)`.

    Times are those of `time.monotonic`, in seconds.
    """

    id: str
    name: str
    began: float
    ended: float | None = None
    """The moment of its return; None where none came: the client carries it out, or it waits for an approval."""
    failed: bool = False
    clients: bool = False
    """True: it is a tool of the client's, which carries it out."""


class Account(Struct):
    """An account of one run, beside what it told: `Account(agent="agent-1")`.

    The run fills it while it goes on, and whoever reads it before the run's end reads what is known so far. No field
    holds what was said, or who said it.
    """

    agent: str = ""
    """The id of the agent in Letta; empty until it is found."""
    conversation: str = ""
    """The id of the conversation in Letta; empty until it is found."""
    tokens: TokensCounted = TokensCounted()
    """The usage of the whole run: of every step, and of every try."""
    estimated: TokensCounted = TokensCounted()
    """The part of `tokens` that Letta has not told, as of a run that was cut off; it is made of characters."""
    queued_seconds: float | None = None
    """The time for which the run waited for those before it in its chat; None until its turn came."""
    made_agent: bool = False
    """True: the agent was made for this run."""
    cancelled: bool = False
    """True: Letta was told to end the run."""
    tools: list[ToolUse] = field(default_factory=list)
    """The calls of tools, in order, Letta's own and the client's; the first MOST_CALLS of them."""
    is_closed: bool = False
    """True: the run is over, and nothing changes any more."""
    _waiting: list[Callable[[], None]] = field(default_factory=list)
    _counting: list[Callable[[], None]] = field(default_factory=list)

    @property
    def told(self) -> TokensCounted:
        """The usage as Letta has told it, without what is estimated."""
        return self.tokens.minus(self.estimated) if self.estimated.total else self.tokens

    def count(self, more: TokensCounted, estimated: bool = False) -> None:
        """Add to the usage, once a step; `estimated`: Letta has not told it."""
        self.tokens = self.tokens.plus(more)
        if estimated:
            self.estimated = self.estimated.plus(more)
        for call in self._counting:
            call()

    def when_counted(self, call: Callable[[], None]) -> None:
        """Have `call` called whenever more tokens are known."""
        self._counting.append(call)

    def called(self, call: CallPiece, clients: bool) -> None:
        """Note a call of a tool, or a further piece of one, which changes nothing."""
        if call.name and len(self.tools) < MOST_CALLS and not (call.id and self._find(call.id)):
            self.tools.append(ToolUse(call.id, call.name[:LONGEST_NAME], time.monotonic(), clients=clients))

    def returned(self, call_id: str, failed: bool) -> None:
        """Note that a tool has returned."""
        if used := self._find(call_id):
            used.ended, used.failed = time.monotonic(), failed

    def _find(self, call_id: str) -> ToolUse | None:
        return next((used for used in reversed(self.tools) if used.id == call_id and used.ended is None), None)

    def when_closed(self, call: Callable[[], None]) -> None:
        """Have `call` called once the run is over; at once if it is."""
        if self.is_closed:
            call()
        else:
            self._waiting.append(call)

    def close(self) -> None:
        """Say that the run is over."""
        self.is_closed = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


def untold(events: Iterable[Event], asked: int, cut: bool) -> TokensCounted:
    """The usage, as it is estimated, of the steps among `events` that no usage among them tells of.

    A step takes what was asked, of `asked` characters, and all that the agent writes in it: thoughts, texts, and the
    arguments of calls. `cut`: the run was ended from this side, and so within a step, of which nothing may be heard.
    """
    steps: set[str | None] = set()
    written = 0
    for event in events:
        match event:
            case TokensCounted():
                steps, written = set(), 0
            case Text(text, step) | Thought(text, step):
                written += len(text)
                steps.add(step)
            case ToolCalled(call, step) | CallWaits(call, step) | CallRefused(call, step=step):
                written += len(call.arguments)
                steps.add(step)
    prompt, completion = max(len(steps), cut) * _tokens(asked), _tokens(written)
    return TokensCounted(prompt, completion, prompt + completion)


def _tokens(characters: int) -> int:
    """So many tokens these characters are; a part of one is a whole one."""
    return -(-characters // CHARACTERS_A_TOKEN)
