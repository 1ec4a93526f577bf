"""The answers of a request to calls that wait: results, approvals, denials. Performs no I/O."""

import re
from collections.abc import Iterable

from msgspec import Struct

from gateway.domain.messages import Message, PendingCall, ToolResult
from gateway.domain.request import ApprovalDecision
from gateway.letta.notes import SAID_ELSE
from gateway.turns.turn import Turn

YES = frozenset(
    {
        *("yes", "y", "yep", "yeah", "sure", "ok", "okay", "allow", "allowed", "approve", "approved", "agreed"),
        *("go", "go ahead", "yes go ahead", "do", "do it", "please", "yes please", "please do", "of course"),
        *("i approve", "yes i approve", "ja", "oui", "si", "sí", "sim", "da", "да", "はい", "是"),
    }
)
NO = frozenset(
    {
        *("no", "n", "nope", "nah", "never", "deny", "denied", "stop", "cancel", "don't", "dont", "do not"),
        *("no thanks", "no thank you", "please don't", "nein", "non", "não", "нет", "いいえ", "不"),
    }
)
# "no, because …", "No: …": the rest is the reason.
_NO_WORDS = "|".join(sorted(map(re.escape, NO), key=len, reverse=True))
_NO_BECAUSE = re.compile(rf"(?:{_NO_WORDS})\s*[,.;:!–—，。、！：-]\s*(\S.*)", re.DOTALL | re.IGNORECASE)
_MARKS = " \t\r\n.,;:!?¡¿*_`\"'()…“”„‘’«»。，、！？"


class Answers(Struct, frozen=True):
    """The answers to calls that wait: the results that came, the ids that were approved and denied, and a reason.

    `Answers(denied=("call_1",), reason="it is too late")`
    """

    results: tuple[ToolResult, ...] = ()
    approved: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    reason: str = ""


def answers(turn: Turn, pending: Iterable[PendingCall], news: list[Message]) -> Answers:
    """The answers of a turn to the `pending` calls of a conversation, which is to be sent `news` (the new messages).

    A call of a client's tool gets the result that came, or is denied. A call that waits for an approval gets the
    person's yes or no, if that is the only new message; else it is denied. A wire whose requests decide about calls by
    their ids needs no words for that.
    """
    waiting = {call.tool_call_id: call for call in pending}
    results = tuple(result for result in turn.asked.results if result.tool_call_id in waiting)
    decisions = [decision for decision in turn.asked.decisions if decision.call_id in waiting]
    answered = {*(result.tool_call_id for result in results), *(decision.call_id for decision in decisions)}
    left = [call for id, call in waiting.items() if id not in answered]
    if decisions:
        return _decided(results, decisions, _ids(left))
    word = verdict(news[0].content) if len(news) == 1 and not results else None
    if word is None or _any_is_the_client_s(turn, left):
        return Answers(results, denied=_ids(left))
    allowed, reason = word
    if allowed and not _was_asked(turn):
        # The yes is to something else: nobody has seen the question.
        allowed, reason = False, SAID_ELSE
    return Answers(approved=_ids(left)) if allowed else Answers(denied=_ids(left), reason=reason)


def _decided(results: tuple[ToolResult, ...], decisions: list[ApprovalDecision], left: tuple[str, ...]) -> Answers:
    """The answers where the request decides by ids; the calls that are `left` are denied. One reason counts for all."""
    approved = tuple(one.call_id for one in decisions if one.approved)
    denied = tuple(one.call_id for one in decisions if not one.approved)
    reason = next((one.reason for one in decisions if one.reason), "")
    return Answers(results, approved, denied + left, reason)


def _was_asked(turn: Turn) -> bool:
    """True if the person was asked for the approval, as far as the request tells, and so knows what a yes allows."""
    return turn.agent_type.asks and (turn.asked.was_asked or not turn.keeps_history)


def verdict(text: str) -> tuple[bool, str]:
    """True if a person's words allow a call, and the reason if not: `verdict("No: too late")` is `(False, "too late")`.

    All but a plain yes is a no.
    """
    # Telephones write don’t, with a curly apostrophe.
    text = text.replace("’", "'").strip()
    words = " ".join(text.lower().strip(_MARKS).replace(",", " ").split())
    if words in YES:
        return True, ""
    if words in NO:
        return False, ""
    because = _NO_BECAUSE.match(text)
    return False, because[1] if because else SAID_ELSE


def _any_is_the_client_s(turn: Turn, calls: Iterable[PendingCall]) -> bool:
    names = turn.tools.names
    return any(call.name in names or call.tool_call_id in turn.asked.called for call in calls)


def _ids(calls: Iterable[PendingCall]) -> tuple[str, ...]:
    return tuple(call.tool_call_id for call in calls)
