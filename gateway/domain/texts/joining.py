"""Joins halves of surrogate pairs that follow each other in the pieces of one text of a run. Performs no I/O."""

from collections.abc import Iterable

import msgspec

from gateway.domain.events import CallPiece, CallWaits, Event, SignOfLife, Text, Thought, ToolCalled
from gateway.domain.texts.halves import REPLACEMENT, joined, whole

_Piece = type[Text] | type[Thought] | type[ToolCalled] | type[CallWaits]
_Whole = tuple[_Piece, str | None, str]
"""A text that comes in pieces: the kind of its events, their step, and the id of the call whose arguments it is."""


class Joiner:
    """Takes events, and gives them with whole characters in their texts, wherever these were cut.

    The first half of a pair at the end of a piece is held until the next piece of its text, or the end of that text.
    A half that is alone becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._held: dict[_Whole, str] = {}
        self._last: tuple[_Piece, str | None] | None = None
        """Kind and step of the events whose last halves may be held."""

    def join(self, events: Iterable[Event]) -> list[Event]:
        return [one for event in events for one in self._join(event)]

    def end(self) -> list[Event]:
        """Events with the halves that are held, each as U+FFFD: their texts have ended."""
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
                # A text may go on after a sign of life; any other event ends it.
                return [event]
            case _:
                return [*self.end(), event]

    def _piece(self, text: _Whole, piece: str) -> str:
        """A piece with the half that was held before it, and without the half that is held now."""
        piece = joined(self._held.pop(text, "") + piece)
        if "\ud800" <= piece[-1:] <= "\udbff":
            self._held[text] = piece[-1]
            piece = piece[:-1]
        return whole(piece)

    def _end_others(self, kind: _Piece, step: str | None) -> list[Event]:
        """Events with the held halves of other texts, which have ended.

        Calls of the same step have not: their pieces may take turns.
        """
        if (kind, step) == self._last:
            return []
        self._last = kind, step
        return self.end()


def _alone(text: _Whole) -> Event:
    kind, step, call = text
    if issubclass(kind, ToolCalled | CallWaits):
        return kind(CallPiece(call, arguments=REPLACEMENT), step)
    return kind(REPLACEMENT, step)
