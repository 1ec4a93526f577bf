"""The turns of a conversation, and their parts, as Letta keeps them. Performs no I/O."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from gateway.domain.events import Event, Stop, StopReason
from gateway.domain.messages import Message, ToolResult
from gateway.letta.upstream import Exchange
from gateway.turns.chats.markers import read_gone, turn_told
from gateway.turns.places import part_of


class KeptTurn(Struct):
    """A turn, or the part of one that answers to its calls began, with all that came of it.

    `KeptTurn("c0ffee0123456789", asked=[Message("user", "Hi")], events=[Text("Hello"), Stop(StopReason.END)])`
    """

    turn: str
    """Its id; empty where nobody has asked it through this gateway."""
    part: str = ""
    """The digest of the calls whose answers it began with; empty for the first part."""
    asked: list[Message] = []
    """The messages that were sent, the last of which has the id."""
    results: list[ToolResult] = []
    decided: frozenset[str] = frozenset()
    """The ids of calls that were allowed or denied."""
    events: list[Event] = []
    asked_at: int = 0
    """The second at which it was asked; 0 where nobody knows."""

    @property
    def is_over(self) -> bool:
        """True: its run has stopped, as far as Letta tells."""
        return any(isinstance(event, Stop) for event in self.events)


def turns_in(exchanges: Iterable[Exchange]) -> list[KeptTurn]:
    """All parts of all turns, in order."""
    kept: list[KeptTurn] = []
    for one in exchanges:
        last = kept[-1] if kept else None
        answers = {result.tool_call_id for result in one.results} | {each.tool_call_id for each in one.decided}
        if one.asked and last and last.asked and not last.events:
            # They were sent together: nothing came of the one before.
            last.asked.append(one.asked)
            last.turn, last.asked_at = turn_told(one.asked.client_id)
        elif one.asked or last is None:
            turn, asked_at = turn_told(one.asked.client_id) if one.asked else ("", 0)
            last = KeptTurn(turn, "", [one.asked] if one.asked else [], asked_at=asked_at)
            kept.append(last)
        elif answers:
            last = KeptTurn(last.turn, part_of(answers), asked_at=last.asked_at)
            kept.append(last)
        now = kept[-1]
        now.results, now.events = [*now.results, *one.results], [*now.events, *one.events]
        now.decided |= frozenset(each.tool_call_id for each in one.decided)
    return kept


def place_among(turn: str, part: str, kept: Sequence[KeptTurn]) -> int | None:
    """The place of a part of a turn; None if the turn is not there.

    Where Letta was told of answers in words, they began no part: the last one has what came of them, unless it waits
    for them still.
    """
    found = [i for i, one in enumerate(kept) if one.turn == turn]
    exact = [i for i in found if kept[i].part == part]
    if exact or not found:
        return next(iter(exact), None)
    ends = [event.reason for event in kept[found[-1]].events if isinstance(event, Stop)]
    return None if ends[-1:] == [StopReason.WAITING] else found[-1]


def is_gone(gone: str, at: int, kept: Sequence[KeptTurn]) -> bool:
    """True if a turn that was deleted is the one at a place, or came before it, which was there by then."""
    turn, second = read_gone(gone)
    before = kept[: at + 1]
    return bool(gone) and max(one.asked_at for one in before) <= second and any(one.turn == turn for one in before)
