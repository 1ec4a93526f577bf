"""Messages of Letta's streams, and the events that they are. Performs no I/O.

Types and fields that nobody here knows are left out, so that a new one is skipped, never fatal.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from gateway.domain.errors import UnknownStopReason
from gateway.domain.events import (
    PING,
    PROGRESS,
    CallPiece,
    CallWaits,
    Event,
    Failure,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
    shortened,
)
from gateway.letta.error_words import FAILED_STOPS, from_error_message, from_stop_reason


class StreamedCall(Struct, frozen=True):
    """A call of a tool, or a piece of one: the name comes first, the arguments in pieces."""

    name: str | None = None
    tool_call_id: str | None = None
    arguments: str | None = None

    @property
    def piece(self) -> CallPiece:
        return CallPiece(self.tool_call_id or "", self.name or "", self.arguments or "")


class StreamedReturn(Struct, frozen=True):
    """The result of a call: a text, or a list of parts."""

    tool_call_id: str | None = None
    status: str | None = None
    tool_return: Any = None


class StreamMessage(Struct, frozen=True):
    """One message of Letta's stream; `message_type` tells which, the other fields depend on it.

    https://docs.letta.com/api/python/resources/agents/subresources/messages
    """

    message_type: str = ""
    step_id: str | None = None
    # assistant_message: a text, or a list of parts. (user_message and system_message carry one, too.)
    content: Any = None
    # reasoning_message
    reasoning: str | None = None
    # tool_call_message, approval_request_message; `tool_calls` is a list only where pieces are not streamed
    tool_call: StreamedCall | None = None
    tool_calls: list[StreamedCall] | StreamedCall | None = None
    # tool_return_message
    tool_returns: list[StreamedReturn] | None = None
    # stop_reason
    stop_reason: str | None = None
    # error_message
    error_type: str | None = None
    message: str | None = None
    detail: Any = None
    # usage_statistics
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def calls(self) -> list[StreamedCall]:
        if isinstance(self.tool_calls, list) and self.tool_calls:
            return self.tool_calls
        call = self.tool_call or self.tool_calls
        return [call] if isinstance(call, StreamedCall) else []


def to_events(said: StreamMessage) -> Sequence[Event]:
    """The events that a message is; one of a type that nobody here knows is no more than a sign of life."""
    made = _EVENTS.get(said.message_type)
    return (made and made(said)) or (PROGRESS,)


def to_stop(reason: str) -> Stop:
    """The `Stop` that Letta's `stop_reason` tells of."""
    if known := _STOP_REASONS.get(reason):
        return Stop(known)
    if reason in FAILED_STOPS:
        return Stop(StopReason.FAILED, from_stop_reason(reason))
    return Stop(StopReason.UNKNOWN, UnknownStopReason(reason))


def to_tokens(said: StreamMessage) -> TokensCounted:
    prompt, completion = said.prompt_tokens or 0, said.completion_tokens or 0
    total = said.total_tokens or prompt + completion
    return TokensCounted(prompt, completion, total, said.cached_input_tokens or 0, said.reasoning_tokens or 0)


def to_returned(returned: StreamedReturn) -> ToolReturned:
    return ToolReturned(
        returned.tool_call_id or "", shortened(content_text(returned.tool_return)), returned.status == "error"
    )


# Letta's reasons to stop that end an answer well. Those of FAILED_STOPS end it as the error they name.
# https://docs.letta.com/api/python/resources/runs
_STOP_REASONS = {
    "end_turn": StopReason.END,
    "tool_rule": StopReason.END,
    "no_tool_call": StopReason.END,
    "max_steps": StopReason.LIMIT,
    "max_tokens_exceeded": StopReason.LIMIT,
    "requires_approval": StopReason.WAITING,
}
_EVENTS: dict[str, Callable[[StreamMessage], Sequence[Event]]] = {
    "assistant_message": lambda said: (Text(content_text(said.content), said.step_id),),
    "reasoning_message": lambda said: (Thought(said.reasoning or "", said.step_id),),
    "tool_call_message": lambda said: [ToolCalled(call.piece, said.step_id) for call in said.calls],
    "tool_return_message": lambda said: [to_returned(returned) for returned in said.tool_returns or ()],
    "approval_request_message": lambda said: [CallWaits(call.piece, said.step_id) for call in said.calls],
    "stop_reason": lambda said: (to_stop(said.stop_reason or ""),),
    "error_message": lambda said: (Failure(from_error_message(said.error_type, said.message, said.detail)),),
    "usage_statistics": lambda said: (to_tokens(said),),
    "ping": lambda said: (PING,),
}


def content_text(content: Any) -> str:
    """The text of a message's content, whether it came whole or in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))
