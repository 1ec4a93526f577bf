"""The content of a conversation, from a listing of a V1 server or of Letta Cloud. Performs no I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.events import CallWaits, Event, Stop, Text, Thought, ToolCalled
from gateway.domain.messages import Image, PendingCall, ToolResult, message_of
from gateway.letta.notes import looks_like_an_exchange
from gateway.letta.parts import from_parts
from gateway.letta.past import WORDS, OpenExchange, Transcript, says_anything
from gateway.letta.stream_messages import StreamedCall, StreamedReturn, content_text, to_returned
from gateway.letta.upstream import Exchange, Past, Verdict

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class ListedAnswer(Struct, frozen=True):
    """The answer to a call that waited: the result of a client's tool, or what was decided about the call."""

    type: str = ""
    tool_call_id: str | None = None
    # tool
    tool_return: Any = None
    # approval
    approve: bool | None = None
    reason: str | None = None


class ListedMessage(Struct, frozen=True):
    """A message of a listing, or a part of one."""

    id: str
    date: datetime | None = None
    message_type: str = ""
    otid: str | None = None
    content: Any = None
    # tool_call_message, approval_request_message
    tool_calls: list[StreamedCall] | None = None
    # reasoning_message
    reasoning: str | None = None
    # tool_return_message
    tool_returns: list[StreamedReturn] | None = None
    # approval_response_message
    approvals: list[ListedAnswer] | None = None
    run_id: str | None = None
    step_id: str | None = None


def to_past(listed: list[ListedMessage]) -> Past:
    """The content of a conversation, from its listing; a compaction puts what it leaves before all others there."""
    transcript = Transcript()
    pending: tuple[PendingCall, ...] = ()
    for one in _in_order(listed):
        if one.message_type in WORDS:
            _add(transcript, one)
        # A call waits only until anything else was said or done.
        if one.message_type == "approval_request_message":
            calls = [call for call in one.tool_calls or () if call.tool_call_id]
            pending = tuple(PendingCall(call.tool_call_id or "", call.name or "") for call in calls)
        elif one.message_type != "reasoning_message":
            pending = ()
    return Past(transcript.messages(), pending=pending)


def to_exchanges(listed: list[ListedMessage], ends: Mapping[str, Stop | None]) -> list[Exchange]:
    """The exchanges of a conversation, from its listing and the `ends` of its runs by their ids: see `Transcript`."""
    transcript = Transcript()
    for one in _in_order(listed):
        _add(transcript, one)
    return transcript.exchanges(ends)


def _in_order(listed: list[ListedMessage]) -> list[ListedMessage]:
    return sorted(listed, key=lambda one: one.date or _LONG_AGO)


def _add(transcript: Transcript, one: ListedMessage) -> None:
    made_at, run_id = one.date, one.run_id or ""
    match one.message_type:
        case "user_message":
            asked = message_of("user", _said(one), one.otid or "", one.id)
            if says_anything(asked):
                transcript.ask(asked, made_at, run_id)
        case "approval_response_message":
            _add_answers(transcript.begin(made_at, run_id), one.approvals or [])
        case "tool_return_message":
            _add_returns(transcript.present() or transcript.begin(made_at, run_id), one.tool_returns or [])
        case _:
            if events := _events(one):
                exchange = transcript.present() or transcript.begin(made_at, run_id)
                exchange.events += events
                if isinstance(events[0], Text) and events[0].text.strip():
                    exchange.answer_id = one.id


def _events(one: ListedMessage) -> Sequence[Event]:
    """The events that something of the agent's is; none for anything else."""
    match one.message_type:
        case "assistant_message":
            text = content_text(one.content)
            return [Text(text, one.step_id)] if text else []
        case "reasoning_message":
            return [Thought(one.reasoning, one.step_id)] if one.reasoning else []
        case "tool_call_message":
            return [ToolCalled(call.piece, one.step_id) for call in one.tool_calls or ()]
        case "approval_request_message":
            return [CallWaits(call.piece, one.step_id) for call in one.tool_calls or ()]
    return []


def _add_answers(exchange: OpenExchange, answers: list[ListedAnswer]) -> None:
    for answer in answers:
        id = answer.tool_call_id or ""
        if answer.type == "tool":
            exchange.results[id] = ToolResult(id, content_text(answer.tool_return))
        else:
            exchange.decided[id] = Verdict(id, bool(answer.approve), "" if answer.approve else answer.reason or "")


def _add_returns(exchange: OpenExchange, returns: list[StreamedReturn]) -> None:
    """Add what tools gave; of the client's, and of calls that were denied, a run tells only beside others."""
    for returned in returns:
        _complete(exchange, returned)
    untold = {*exchange.results, *(id for id, verdict in exchange.decided.items() if not verdict.allowed)}
    if any(returned.tool_call_id not in untold for returned in returns):
        exchange.events += map(to_returned, returns)


def _complete(exchange: OpenExchange, returned: StreamedReturn) -> None:
    """Give a client's result its pictures: the answer itself is listed as a text."""
    result = exchange.results.get(returned.tool_call_id or "")
    pieces = list(from_parts(returned.tool_return)) if result else []
    if result and any(isinstance(piece, Image) for piece in pieces):
        said = message_of("user", pieces)
        whole = msgspec.structs.replace(result, text=said.content, images=said.images)
        exchange.results[result.tool_call_id] = whole


def _said(listed: ListedMessage) -> list[str | Image]:
    """A message's pieces without what the gateway put before it."""
    pieces = list(from_parts(listed.content))
    noted = len(pieces) > 1 and isinstance(pieces[0], str) and looks_like_an_exchange(pieces[0])
    return pieces[1:] if noted and (listed.otid or "").startswith("gw") else pieces
