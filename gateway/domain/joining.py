"""Puts halves of surrogate pairs together that follow each other within one text of a run. Performs no I/O."""

from collections.abc import Iterable

import msgspec

from gateway.domain.events import CallPiece, CallWaits, Event, SignOfLife, Text, Thought, ToolCalled
from gateway.domain.halves import REPLACEMENT, joined, whole

_Piece = type[Text] | type[Thought] | type[ToolCalled] | type[CallWaits]
_Whole = tuple[_Piece, str | None, str]
"""A text that comes in pieces: the kind of its events, their step, and the id of the call whose arguments it is."""


class Joiner:
    """Events in, events out whose texts are whole, wherever they were cut.

    The first half of a pair at the end of a piece is held until the next piece of its text, or the end of that. One
    that is alone becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._held: dict[_Whole, str] = {}
        self._last: tuple[_Piece, str | None] | None = None
        """Kind and step of the events whose pieces may be held."""

    def join(self, events: Iterable[Event]) -> list[Event]:
        return [one for event in events for one in self._join(event)]

    def end(self) -> list[Event]:
        """What is held, of texts that go on no more."""
        held, self._held = self._held, {}
        return [_alone(text) for text in held]

    def _join(self, event: Event) -> list[Event]:
        match event:
            case Text() | Thought():
                ended = self._end_others(type(event), event.step)
                piece = self._piece((type(event), event.step, ""), event.text)
                return [*ended, msgspec.structs.replace(event, text=piece)]
            case ToolCalled() | CallWaits():
                ended = self._end_others(type(event), event.step)
                arguments = self._piece((type(event), event.step, event.call.id), event.call.arguments)
                call = msgspec.structs.replace(event.call, arguments=arguments)
                return [*ended, msgspec.structs.replace(event, call=call)]
            case SignOfLife():
                # A text goes on after it. Anything else ends it.
                return [event]
            case _:
                return [*self.end(), event]

    def _piece(self, text: _Whole, piece: str) -> str:
        """A piece with what was held before it, and without what is held now."""
        piece = joined(self._held.pop(text, "") + piece)
        if "\ud800" <= piece[-1:] <= "\udbff":
            self._held[text] = piece[-1]
            piece = piece[:-1]
        return whole(piece)

    def _end_others(self, kind: _Piece, step: str | None) -> list[Event]:
        """What is held of other texts, but of calls of the same step, whose pieces may take turns."""
        if (kind, step) == self._last:
            return []
        self._last = kind, step
        return self.end()


def _alone(text: _Whole) -> Event:
    kind, step, call = text
    if issubclass(kind, ToolCalled | CallWaits):
        return kind(CallPiece(call, arguments=REPLACEMENT), step)
    return kind(REPLACEMENT, step)
