"""Requirements of a request on its answer that no Letta enforces: told to the agent, and checked. Performs no I/O."""

from collections.abc import Awaitable, Callable, Container

import msgspec
from msgspec import Struct

from gateway.domain.events import CallWaits, Event, Stop, Text
from gateway.domain.json_format import JsonFormat
from gateway.turns.turn import Turn

# What a requirement is about; thoughts, tools and usage are told as they come.
JUDGED = Text | Stop
Fits = Callable[[JsonFormat, str], Awaitable[bool]]
"""A check that is true for an answer in JSON which matches the schema, if there is one."""
AGAIN = "This is your last try: your answer before this one was thrown away, because it did not do as follows."


class Requirement(Struct, frozen=True):
    """A requirement on an answer: `Requirement(json=JsonFormat())`, `Requirement(("weather",))`."""

    names: tuple[str, ...] = ()
    """Tools of the client's, one of which must be called."""
    json: JsonFormat | None = None
    """The form of an answer in words."""

    @property
    def words(self) -> str:
        """The words by which the agent is told."""
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
        """True for an event that alone meets it: a call. (With a call, words need not be JSON.)"""
        return isinstance(event, CallWaits) and bool(event.call.name)

    def find(self, answer: str) -> str | None:
        """The part of an answer without calls that may be told; None if it is not as required.

        It need not match a schema.
        """
        if self.names:
            return None
        return self.json.find(answer) if self.json else answer


def to_requirement(turn: Turn, applied: Container[str]) -> Requirement | None:
    """The requirement on a turn's answer, without what its Letta sees to itself.

    The results of a call go to a turn that has begun: the requirement of its first request was told.
    """
    names = turn.tools.tools if turn.tools.required and not turn.asked.only_results else ()
    json = None if "format" in applied else turn.json
    return Requirement(tuple(function.name for function in names), json) if names or json else None


class AnswerGate:
    """Holds an answer back until it is known to be as required; without a requirement it holds back nothing."""

    def __init__(self, requirement: Requirement | None) -> None:
        self._requirement = requirement
        self._met = requirement is None
        self._events: list[Event] = []

    @property
    def is_needed(self) -> bool:
        return self._requirement is not None

    @property
    def held(self) -> list[Event]:
        """The events that are held back now."""
        return self._events

    @property
    def tries(self) -> list[str]:
        """The words that the agent is told, try by try."""
        told = self._requirement.words if self._requirement else ""
        return [told, f"{AGAIN}\n{told}"] if self._requirement else [told]

    @property
    def text(self) -> str:
        """The answer that is held back."""
        return "".join(event.text for event in self._events if isinstance(event, Text))

    def take(self, events: list[Event]) -> list[Event]:
        """The events that may be told now."""
        if self._met:
            return events
        if self._requirement and any(map(self._requirement.is_met_by, events)):
            self._met = True
            return [*self._take_all(), *events]
        self._events += [event for event in events if isinstance(event, JUDGED)]
        return [event for event in events if not isinstance(event, JUDGED)]

    async def open_if_met(self, well: bool, fits: Fits) -> list[Event] | None:
        """The events still to be told at the end of a run; None if the answer is not as required.

        A failure is told as it is.
        """
        text, events = self.text, self._take_all()
        if self._met or not well or not self._requirement:
            return events
        found = self._requirement.find(text)
        if found is None or not (self._requirement.json is None or await fits(self._requirement.json, found)):
            return None
        rest = [event for event in events if not isinstance(event, Text)]
        return [Text(found), *rest]

    def _take_all(self) -> list[Event]:
        events, self._events = self._events, []
        return events
