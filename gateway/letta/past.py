"""The exchanges of a conversation, put together from the messages that any Letta lists. Performs no I/O."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from gateway.domain.events import CallWaits, Event, Stop, StopReason, Text, Thought, ToolReturned
from gateway.domain.messages import Message, ToolResult
from gateway.letta.notes import is_alert
from gateway.letta.upstream import Exchange, Verdict

WORDS = frozenset({"user_message", "assistant_message"})
"""The types of listed messages that hold all that was said."""
_END, _WAITING = Stop(StopReason.END), Stop(StopReason.WAITING)


def says_anything(said: Message) -> bool:
    """False for a message that is empty, or a notice of Letta's own."""
    is_notice = said.role == "user" and not said.client_id.startswith("gw") and is_alert(said.content)
    return not is_notice and bool(said.content.strip() or said.images)


# A conversation may hold thousands of them: none refers to itself, so the collector need not look at them.
class OpenExchange(Struct, gc=False):
    """An exchange that is being read: see `Exchange`."""

    made_at: datetime | None
    run_id: str
    asked: Message | None = None
    results: dict[str, ToolResult] = {}
    decided: dict[str, Verdict] = {}
    events: list[Event] = []
    answer_id: str = ""
    instructed: str | None = None

    @property
    def takes_words(self) -> bool:
        """True of one that was given answers, beside which words may come."""
        answers = self.asked is None and (self.results or self.decided)
        return bool(answers) and all(isinstance(event, ToolReturned) for event in self.events)

    @property
    def end(self) -> Stop | None:
        """The end that its events tell of; None for one whose last event is of a tool, or that has none."""
        last = next((event for event in reversed(self.events) if not isinstance(event, Thought)), None)
        if isinstance(last, CallWaits):
            return _WAITING
        return _END if isinstance(last, Text) else None


class Transcript:
    """The exchanges of a conversation, put together message by message, the oldest first."""

    def __init__(self) -> None:
        self._read: list[OpenExchange] = []

    def begin(self, made_at: datetime | None = None, run_id: str = "") -> OpenExchange:
        """Begin an exchange, which what is said and done next belongs to."""
        self._read.append(OpenExchange(made_at, run_id))
        return self._read[-1]

    def present(self) -> OpenExchange | None:
        """The exchange that was begun last; None where none was, as an agent may speak unasked."""
        return self._read[-1] if self._read else None

    def ask(self, asked: Message, made_at: datetime | None = None, run_id: str = "") -> OpenExchange:
        """Take the words of a person: they begin an exchange, unless they came beside answers to calls."""
        last = self.present()
        exchange = last if last and last.takes_words else self.begin(made_at, run_id)
        exchange.asked = asked
        return exchange

    @property
    def instructed(self) -> str:
        """The client's instructions that came last; empty where none did."""
        return next((one.instructed for one in reversed(self._read) if one.instructed is not None), "")

    def messages(self) -> list[Message]:
        """Put together what was said: all parts of an answer are one message."""
        messages: list[Message] = []
        parts: list[str] = []
        last_id = ""
        for one in self._read:
            if one.asked:
                _add_answer(messages, parts, last_id)
                messages.append(one.asked)
                parts = []
            said = [event.text for event in one.events if isinstance(event, Text) and event.text.strip()]
            if said:
                parts += said
                last_id = one.answer_id
        _add_answer(messages, parts, last_id)
        return messages

    def exchanges(self, ends: Mapping[str, Stop | None] | None = None) -> list[Exchange]:
        """Close them all: each ends as its run did, or else as its events tell.

        `ends` are those of runs, by their ids, as far as they are known; None is that of a run under way.
        """
        last_of_run = {one.run_id: one for one in self._read}
        return [_closed(one, last_of_run[one.run_id] is one, ends or {}) for one in self._read]


def _closed(one: OpenExchange, ends_run: bool, ends: Mapping[str, Stop | None]) -> Exchange:
    stop = ends[one.run_id] if ends_run and one.run_id in ends else one.end
    return Exchange(
        one.asked,
        tuple(one.results.values()),
        tuple(one.decided.values()),
        [*one.events, stop] if stop else one.events,
        one.made_at,
        one.run_id,
        one.answer_id,
        one.instructed,
    )


def _add_answer(messages: list[Message], parts: Sequence[str], id: str) -> None:
    if parts:
        messages.append(Message("assistant", "\n\n".join(parts), id=id))
