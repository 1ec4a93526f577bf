"""Puts halves of surrogate pairs together that follow each other within one text of a run. Performs no I/O."""

from collections.abc import Iterable

import msgspec

from gateway.halves import REPLACEMENT, joined, whole
from gateway.letta.events import Event, ToolCall

CALLS = ("tool_call_message", "approval_request_message")
# What a text goes on after: a ping, and what nobody reads. Anything else ends it.
ENDINGS = frozenset({"tool_return_message", "stop_reason", "error_message", "usage_statistics", "status"})
_Text = tuple[str, str | None, str | None]
"""A text that comes in pieces: the type of its events, their step, and the call whose arguments it is."""


class Joiner:
    """Events in, events out whose texts are whole, wherever they were cut.

    The first half of a pair at the end of a piece is held until the next piece of its text, or the end of that. One
    that is alone becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._held: dict[_Text, str] = {}
        self._last: tuple[str, str | None] | None = None
        """Type and step of the events whose pieces may be held."""

    def join(self, events: Iterable[Event]) -> list[Event]:
        return [one for event in events for one in self._join(event)]

    def end(self) -> list[Event]:
        """What is held, of texts that go on no more."""
        held, self._held = self._held, {}
        return [_alone(text) for text in held]

    def _join(self, event: Event) -> list[Event]:
        kind, step = event.message_type, event.step_id
        if kind == "assistant_message":
            ended = self._end_others(kind, step)
            return [*ended, msgspec.structs.replace(event, content=self._piece((kind, step, None), event.text))]
        if kind == "reasoning_message":
            ended = self._end_others(kind, step)
            thought = self._piece((kind, step, None), event.reasoning or "")
            return [*ended, msgspec.structs.replace(event, reasoning=thought)]
        if kind in CALLS:
            ended = self._end_others(kind, step)
            calls = [self._call(kind, step, call) for call in event.calls]
            return [*ended, msgspec.structs.replace(event, tool_call=None, tool_calls=calls)]
        return [*self.end(), event] if kind in ENDINGS else [event]

    def _call(self, kind: str, step: str | None, call: ToolCall) -> ToolCall:
        arguments = self._piece((kind, step, call.tool_call_id), call.arguments or "")
        return msgspec.structs.replace(call, arguments=arguments or None)

    def _piece(self, text: _Text, piece: str) -> str:
        """A piece with what was held before it, and without what is held now."""
        piece = joined(self._held.pop(text, "") + piece)
        if "\ud800" <= piece[-1:] <= "\udbff":
            self._held[text] = piece[-1]
            piece = piece[:-1]
        return whole(piece)

    def _end_others(self, kind: str, step: str | None) -> list[Event]:
        """What is held of other texts, but of calls of the same step, whose pieces may take turns."""
        if (kind, step) == self._last:
            return []
        self._last = kind, step
        return self.end()


def _alone(text: _Text) -> Event:
    kind, step, call = text
    if kind == "reasoning_message":
        return Event(kind, step_id=step, reasoning=REPLACEMENT)
    if kind == "assistant_message":
        return Event(kind, step_id=step, content=REPLACEMENT)
    return Event(kind, step_id=step, tool_call=ToolCall(None, call, REPLACEMENT))
