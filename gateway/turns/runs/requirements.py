"""What a request demands of its answer, where no Letta sees to it: told to the agent, and checked. Performs no I/O."""

from collections.abc import Awaitable, Callable, Container

import msgspec
from msgspec import Struct

from gateway.domain.events import CallWaits, Event, Stop, Text
from gateway.domain.json_format import JsonFormat
from gateway.turns.turn import Turn

# What a demand is about; thoughts, tools and usage are told as they come.
JUDGED = Text | Stop
Fits = Callable[[JsonFormat, str], Awaitable[bool]]
"""Whether an answer that is JSON matches the schema, if there is one."""
AGAIN = "This is your last try: your answer before this one was thrown away, because it did not do as follows."


class Demand(Struct, frozen=True):
    names: tuple[str, ...] = ()
    """Tools of the client's, one of which must be called."""
    json: JsonFormat | None = None
    """What an answer in words must be."""

    @property
    def words(self) -> str:
        """What the agent is told."""
        return "\n".join(line for line in (self._of_tools(), self._of_json()) if line)

    def _of_tools(self) -> str:
        if not self.names:
            return ""
        named = " or ".join(f"`{name}`" for name in self.names)
        return f"You must answer with a call of the tool {named}. Do not answer in words."

    def _of_json(self) -> str:
        if not self.json:
            return ""
        asked = "Your answer must be one JSON object and nothing else: no words around it, no code fence."
        schema = msgspec.json.encode(self.json.schema).decode() if self.json.schema else ""
        return f"{asked} It must match this JSON Schema:\n{schema}" if schema else asked

    def is_met_by(self, event: Event) -> bool:
        """Whether an event alone does what is demanded: a call. (With a call, words need not be JSON.)"""
        return isinstance(event, CallWaits) and bool(event.call.name)

    def find(self, answer: str) -> str | None:
        """What of an answer without calls may be told; None if it is not as demanded. It need not match a schema."""
        if self.names:
            return None
        return self.json.find(answer) if self.json else answer


def to_demand(turn: Turn, applied: Container[str]) -> Demand | None:
    """What is demanded of a turn's answer and not among what its Letta sees to itself."""
    # The results of a call go to a turn that has begun; the demand of its first request was told.
    names = turn.tools.tools if turn.tools.required and not turn.asked.only_results else ()
    json = None if "format" in applied else turn.json
    return Demand(tuple(function.name for function in names), json) if names or json else None


class Withheld:
    """What of a run's answer is told only if it is as demanded."""

    def __init__(self, demand: Demand | None) -> None:
        self._demand = demand
        self._met = demand is None
        self._events: list[Event] = []

    @property
    def words(self) -> list[str]:
        """What the agent is told at each try."""
        told = self._demand.words if self._demand else ""
        return [told, f"{AGAIN}\n{told}"] if self._demand else [told]

    @property
    def text(self) -> str:
        """The answer that is withheld."""
        return "".join(event.text for event in self._events if isinstance(event, Text))

    def take(self, events: list[Event]) -> list[Event]:
        """What of the events may be told now."""
        if self._met:
            return events
        if self._demand and any(map(self._demand.is_met_by, events)):
            self._met = True
            return [*self._take_all(), *events]
        self._events += [event for event in events if isinstance(event, JUDGED)]
        return [event for event in events if not isinstance(event, JUDGED)]

    async def release(self, well: bool, fits: Fits) -> list[Event] | None:
        """At the end of a run: what is still to be told; None if it is not as demanded. A failure is told as it is."""
        text, events = self.text, self._take_all()
        if self._met or not well or not self._demand:
            return events
        found = self._demand.find(text)
        if found is None or not (self._demand.json is None or await fits(self._demand.json, found)):
            return None
        rest = [event for event in events if not isinstance(event, Text)]
        return [Text(found), *rest]

    def _take_all(self) -> list[Event]:
        events, self._events = self._events, []
        return events
