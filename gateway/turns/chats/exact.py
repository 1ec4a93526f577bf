"""The place that a request names: behind one turn of a chat, wherever that has gone on since. Performs no I/O."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from gateway.domain.messages import Message
from gateway.letta.upstream import Conversation, Past
from gateway.turns.chats.markers import EVERY_TURN, Summary, parse_summary, read_gone, turn_id
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import Append, Branch

# The clocks of a gateway and of its Letta differ by less, and a turn waits in line for less.
SLACK = timedelta(minutes=10)
NONE_WAITS = "There is no such response of yours in which one of these calls waits for an answer."
# So many conversations are read in search of a turn.
MOST_SEARCHED = 30


class After(Struct, frozen=True):
    """The only place where a turn may go on: `After("c0ffee0123456789", 1_790_000_000, "previous_response_id")`."""

    turn: str
    """The id of the turn behind which it does."""
    made_at: int
    """The second at which that turn was asked for."""
    place: str = ""
    """The field of the request that names it; its errors name it."""


def decide_after(
    after: After,
    request: RequestedPath,
    known: Sequence[Past],
    unkept: Sequence[Sequence[Message]],
    gone: Sequence[str] = (),
) -> Append | Branch | None:
    """Decide where a request goes on that names the turn behind which it does; None if that is nowhere among `known`.

    It is appended where that turn is the last of a conversation, or where its calls wait; else it is a branch. One that
    brings nothing but answers to calls is nowhere where none of them waits, unless nothing at all has come of the turn:
    its calls were lost, and the answers are told in words. `unkept` are the messages that each of the `known` lacks: a
    turn that is among them is told again. `gone` are the turns that were deleted of each.
    """
    turn = after.turn
    found_at = [at for at, past in enumerate(known) if not (gone and is_behind(gone[at], after, past))]
    ends = [(at, end) for at in found_at if (end := end_of(turn, known[at].messages)) is not None]
    last = [(at, end) for at, end in ends if known[at].appendable and end == len(known[at].messages)]
    for at, _ in last:
        # Models may give the same id to another call, so it must be the last turn's.
        if waits_for(request, known[at]):
            return Append(at, request.beside_results)
    if found := next(iter(last or ends), None):
        at, end = found
        if request.only_results and known[at].messages[end - 1].role != "user":
            return None
        return Append(at, request.path) if last else Branch(at, end, request.path)
    lost = next((at for at, messages in enumerate(unkept) if any(begins(turn, message) for message in messages)), None)
    if lost is None:
        return None
    past, again = known[lost], [*unkept[lost]]
    if request.only_results:
        # Nobody waits for them any more: its question is asked again, with what came of its calls.
        asked = next(i for i in reversed(range(len(again))) if again[i].role == "user")
        again[asked] = msgspec.structs.replace(again[asked], exchanged=request.path[-1].exchanged)
        again = again[: asked + 1]
    else:
        again += request.path
    return Append(lost, again) if past.appendable else Branch(lost, len(past.messages), again)


def waits_for(request: RequestedPath, past: Past) -> bool:
    """True if calls wait in a conversation for the answers that a request brings."""
    return any(call.tool_call_id in request.answered for call in past.pending)


def end_of(turn: str, messages: Sequence[Message]) -> int | None:
    """The place behind all that came of a turn; None if it is not among the messages."""
    begun = next((i for i in reversed(range(len(messages))) if begins(turn, messages[i])), None)
    if begun is None:
        return None
    return next((i for i in range(begun + 1, len(messages)) if messages[i].role == "user"), len(messages))


def without(turn: str, messages: Sequence[Message]) -> list[Message]:
    """The messages without those of a turn, up to the next one."""
    begun = next((i for i, message in enumerate(messages) if begins(turn, message)), len(messages))
    end = next((i for i in range(begun + 1, len(messages)) if messages[i].role == "user"), len(messages))
    return [*messages[:begun], *messages[end:]]


def is_behind(gone: str, after: After, past: Past) -> bool:
    """True if a turn was there when another one was deleted before which it stands, or was that one itself."""
    turn, second = read_gone(gone)
    ids = [turn_id(message.client_id) for message in past.messages]
    return bool(gone) and turn in ids and after.turn in ids[ids.index(turn) :] and after.made_at <= second


def begins(turn: str, message: Message) -> bool:
    """True of the message with which a turn begins."""
    return turn_id(message.client_id) == turn


def that_may_hold(after: After, marker: str, listed: Iterable[Conversation]) -> Iterator[tuple[Conversation, Summary]]:
    """Those of a chat's conversations that may hold a turn, the likeliest first; MOST_SEARCHED at most.

    Chats without an id that begin alike have one marker, and there may be any number of them. Where the turn was
    deleted with its conversation, an empty one says so.
    """
    at = datetime.fromtimestamp(after.made_at, UTC)
    named = [(one, summary) for one in listed if (summary := parse_summary(one.summary)) and summary.marker == marker]
    gone = [pair for pair in named if read_gone(pair[1].gone)[0] in (after.turn, EVERY_TURN)]
    then = [pair for pair in named if _made(pair[0]) <= at + SLACK and pair[0].used_at >= at - SLACK]
    likely = sorted((pair for pair in then if pair not in gone), key=lambda pair: _distance(at, pair[0]))
    yield from (gone + likely)[:MOST_SEARCHED]


def _distance(at: datetime, one: Conversation) -> timedelta:
    """The time between a moment and the nearer of a conversation's making and its last use."""
    return min(abs(at - _made(one)), abs(at - one.used_at))


def _made(conversation: Conversation) -> datetime:
    return conversation.created_at or datetime.min.replace(tzinfo=UTC)
