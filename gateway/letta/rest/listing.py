"""The content of a conversation, from a listing of a V1 server or of Letta Cloud. Performs no I/O."""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from gateway.domain.messages import Image, Message, PendingCall, message_of
from gateway.letta.notes import looks_like_an_exchange
from gateway.letta.parts import from_parts
from gateway.letta.past import add_message, merge_answers
from gateway.letta.stream_messages import StreamedCall, content_text
from gateway.letta.upstream import Past

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class ListedMessage(Struct, frozen=True):
    """A message of a listing, or a part of one."""

    id: str
    date: datetime | None = None
    message_type: str = ""
    otid: str | None = None
    content: Any = None
    tool_calls: list[StreamedCall] | None = None


def to_past(listed: list[ListedMessage]) -> Past:
    """The content of a conversation, from its listing; a compaction puts what it leaves before all others there."""
    messages: list[Message] = []
    pending: tuple[PendingCall, ...] = ()
    for one in sorted(listed, key=lambda one: one.date or _LONG_AGO):
        match one.message_type:
            case "user_message":
                add_message(messages, message_of("user", _said(one), one.otid or "", one.id))
            case "assistant_message":
                add_message(messages, Message("assistant", content_text(one.content), id=one.id))
        # A call waits only until anything else was said or done.
        if one.message_type == "approval_request_message":
            calls = [call for call in one.tool_calls or () if call.tool_call_id]
            pending = tuple(PendingCall(call.tool_call_id or "", call.name or "") for call in calls)
        elif one.message_type != "reasoning_message":
            pending = ()
    return Past(merge_answers(messages), pending=pending)


def _said(listed: ListedMessage) -> list[str | Image]:
    """A message's pieces without what the gateway put before it."""
    pieces = list(from_parts(listed.content))
    noted = len(pieces) > 1 and isinstance(pieces[0], str) and looks_like_an_exchange(pieces[0])
    return pieces[1:] if noted and (listed.otid or "").startswith("gw") else pieces
