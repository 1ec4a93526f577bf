"""What a conversation holds, made of the listing of a V1 server or Letta Cloud. Performs no I/O."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from msgspec import Struct

from gateway.domain.messages import Image, Message, PendingCall, message_of
from gateway.letta.notes import is_alert, looks_like_an_exchange
from gateway.letta.parts import from_parts
from gateway.letta.stream_messages import StreamedCall, text_of
from gateway.letta.upstream import Past

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Listed(Struct, frozen=True):
    """A message of a listing, or a part of one."""

    id: str
    date: datetime | None = None
    message_type: str = ""
    otid: str | None = None
    content: Any = None
    tool_calls: list[StreamedCall] | None = None


def to_past(listed: list[Listed]) -> Past:
    """Of messages in Letta's order, the oldest first, but that a compaction puts what it leaves before all others."""
    messages: list[Message] = []
    pending: tuple[PendingCall, ...] = ()
    for one in sorted(listed, key=lambda one: one.date or _LONG_AGO):
        match one.message_type:
            case "user_message":
                add(messages, message_of("user", _said(one), one.otid or "", one.id))
            case "assistant_message":
                add(messages, Message("assistant", text_of(one.content), id=one.id))
        # A call waits only until anything else was said or done.
        if one.message_type == "approval_request_message":
            calls = [call for call in one.tool_calls or () if call.tool_call_id]
            pending = tuple(PendingCall(call.tool_call_id or "", call.name or "") for call in calls)
        elif one.message_type != "reasoning_message":
            pending = ()
    return Past(joined(messages), pending=pending)


def _said(listed: Listed) -> list[str | Image]:
    """A message's pieces without what the gateway put before it."""
    pieces = list(from_parts(listed.content))
    noted = len(pieces) > 1 and isinstance(pieces[0], str) and looks_like_an_exchange(pieces[0])
    return pieces[1:] if noted and (listed.otid or "").startswith("gw") else pieces


def add(messages: list[Message], said: Message) -> None:
    """Add what was said, if it is anything. What Letta says itself is left out."""
    letta_s_own = said.role == "user" and not said.client_id.startswith("gw") and is_alert(said.content)
    if not letta_s_own and (said.content.strip() or said.images):
        messages.append(said)


def joined(messages: Iterable[Message]) -> list[Message]:
    """All parts of an answer as one message."""
    whole: list[Message] = []
    for role, group in groupby(messages, lambda message: message.role):
        said = list(group)
        if role == "user" or len(said) == 1:
            whole += said
        else:
            whole.append(Message("assistant", "\n\n".join(part.content for part in said), id=said[-1].id))
    return whole
