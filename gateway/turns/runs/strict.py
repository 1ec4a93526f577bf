"""Calls of `strict` functions of the client's: held until their arguments are known to match. Performs no I/O.

https://developers.openai.com/api/docs/guides/function-calling#strict-mode
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.domain.events import CallWaits, Event, Stop
from gateway.domain.json_format import JsonFormat
from gateway.domain.request import NO_ARGUMENTS, ClientTool
from gateway.domain.texts.halves import mend
from gateway.turns.runs.requirements import Fits


class StrictCalls:
    """Holds the events of a step that calls the client's tools, from its first such call to its stop."""

    def __init__(self, tools: Iterable[ClientTool]) -> None:
        self._schemas = {tool.name: tool.parameters for tool in tools if tool.strict}
        self._held: list[Event] = []

    @property
    def is_needed(self) -> bool:
        return bool(self._schemas)

    @property
    def held(self) -> list[Event]:
        """The events that are held back now."""
        return self._held

    def take(self, events: list[Event]) -> list[Event]:
        """The events that may be told now; the others are held."""
        if not self._schemas:
            return events
        told: list[Event] = []
        for event in events:
            held = isinstance(event, CallWaits) or (isinstance(event, Stop) and self._held)
            (self._held if held else told).append(event)
        return told

    def release(self) -> list[Event]:
        """The events that were held; they are held no more."""
        held, self._held = self._held, []
        return held

    async def find_fault(self, fits: Fits) -> str:
        """The words for the agent about a held call whose arguments do not match; empty if all match."""
        for name, arguments in self._calls():
            schema = self._schemas.get(name)
            if schema is not None and not await _matches(schema, arguments, fits):
                return _fault(name, schema)
        return ""

    def _calls(self) -> list[tuple[str, str]]:
        """The names and arguments of the held calls; arguments come in pieces, and are joined."""
        names: dict[str, str] = {}
        pieces: dict[str, list[str]] = {}
        for call in (event.call for event in self._held if isinstance(event, CallWaits)):
            names[call.id] = names.get(call.id) or call.name
            pieces.setdefault(call.id, []).append(call.arguments)
        return [(name, "".join(pieces[id])) for id, name in names.items()]


async def _matches(schema: dict[str, Any], arguments: str, fits: Fits) -> bool:
    text = mend(arguments) or NO_ARGUMENTS
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return await fits(JsonFormat(schema), text)


def _fault(name: str, schema: dict[str, Any]) -> str:
    return (
        f"Nothing was done: the arguments of `{name}` do not match its JSON Schema. This is your last try: make your "
        f"calls again, with arguments that match it:\n{msgspec.json.encode(schema).decode()}"
    )
