"""The places of responses and conversations, as turns have them, and turns that are put there. Performs no I/O."""

from collections.abc import Iterable

import msgspec

from gateway.domain.places import ChatKind, ConversationPlace, ResponsePlace, short_digest
from gateway.turns.chats.exact import After
from gateway.turns.chats.markers import KEPT_WITHOUT_ID, MARKER, SCRATCH, given_marker, user_digest
from gateway.turns.people.identity import User
from gateway.turns.turn import Turn

_BEGINS: dict[ChatKind, str] = {"kept": KEPT_WITHOUT_ID, "scratch": SCRATCH, "chat": MARKER}


def place_of(turn: Turn) -> ResponsePlace:
    """The place of the response to a turn. One that is not kept has a place that nobody finds again."""
    user, marker = turn.caller.user, turn.marker
    kind = next(kind for kind, begin in _BEGINS.items() if marker.startswith(begin)) if turn.keeps else "scratch"
    return ResponsePlace(
        owner=user_digest(user.scope, user.id),
        scope=short_digest(user.scope),
        agent_type=short_digest(turn.agent_type.id),
        kind=kind,
        chat=marker.rpartition(":")[2],
        turn=turn.id,
        results=turn.part,
        made_at=turn.made_at,
    )


def marker_at(place: ResponsePlace) -> str:
    """The marker of the chat of a response."""
    return f"{_BEGINS[place.kind]}{place.chat}"


def marker_given(place: ConversationPlace, scope: str, type_id: str = "", user: str = "") -> str:
    """The marker of a chat that the gateway has given an id, in the scope of its key: see `given_marker`."""
    return given_marker(scope, place.nonce, type_id, user)


def is_for(place: ResponsePlace, turn: Turn) -> bool:
    """True if whoever asks for a turn may go on with the response at a place."""
    return place.kind != "scratch" and is_of_its_user(place, turn)


def is_of_its_user(place: ResponsePlace, turn: Turn) -> bool:
    """True if a place is that of a response to the user of a turn, by an agent of the same type."""
    user = turn.caller.user
    return (
        place.owner == user_digest(user.scope, user.id)
        and place.scope == short_digest(user.scope)
        and place.agent_type == short_digest(turn.agent_type.id)
    )


def is_open_to(place: ConversationPlace, user: User) -> bool:
    """True if a user may go on with a conversation: it is their own, or was nobody's when it was made."""
    return place.scope == short_digest(user.scope) and place.owner in ("", user_digest(user.scope, user.id))


def placed(turn: Turn, id: str, keeps: bool, given: str = "", after: After | None = None, made_at: int = 0) -> Turn:
    """The turn with an id by which it is found again, in the chat and at the place that the request names, if it does.

    `given` is the marker of that chat. An agent with one conversation goes on in that.
    """
    if turn.agent_type.conversations == "single":
        given, after = "", None
    whole = turn.keeps_history and not given
    return msgspec.structs.replace(
        turn, id=id, made_at=made_at, keeps=keeps, given=given, after=after, keeps_history=whole
    )


def answering(turn: Turn, question: tuple[str, int]) -> Turn:
    """The turn that brings nothing but answers to the calls of another one: `question` is the id and second of that.

    It has no message of its own, and is found by that one's and by the calls.
    """
    id, made_at = question
    return msgspec.structs.replace(turn, id=id, made_at=made_at, part=part_of(turn.asked.answered))


def part_of(call_ids: Iterable[str]) -> str:
    """The digest of the calls whose answers a part of a turn begins with."""
    return short_digest(*sorted(call_ids))
