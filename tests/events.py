"""Shorthands for the events of a run, most of them in Letta's words."""

from collections.abc import Iterable

import msgspec

from gateway.domain.events import (
    PING,
    PROGRESS,
    CallPiece,
    CallRefused,
    CallWaits,
    Event,
    Failure,
    SignOfLife,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
    shortened,
)
from gateway.letta.error_words import from_error_message
from gateway.letta.stream_messages import content_text, to_stop


def reasoning(text: str | None, step: str | None = "step-1") -> Event:
    return Thought(text or "", step)


def answer(content: object, step: str | None = "step-1") -> Event:
    """A piece of the answer; `content` is a text, or a list of parts."""
    return Text(content_text(content), step)


def tool_call(
    name: str | None, call_id: str | None = "call-1", step: str | None = "step-1", arguments: str | None = None
) -> Event:
    """A call, or a piece of one: only the first has the name."""
    return ToolCalled(CallPiece(call_id or "", name or "", arguments or ""), step)


def tool_calls(*names: str, step: str | None = "step-1", arguments: str | None = "{}") -> list[Event]:
    """Several calls, as they come where pieces are not streamed."""
    return [tool_call(name, f"call-{number}", step, arguments) for number, name in enumerate(names)]


def tool_return(
    step: str | None = "step-1", call_id: str | None = "call-1", content: object = "found", status: str = "success"
) -> Event:
    """The result of a call; `content` is a text, or a list of parts."""
    return ToolReturned(call_id or "", shortened(content_text(content)), status == "error")


def refused(name: str, call_id: str | None = "call-1", step: str | None = "step-1", arguments: str = "{}") -> Event:
    """A call that is not allowed, and the line that says so."""
    call = CallPiece(call_id or "", name, arguments)
    return CallRefused(call, f"{name} is not allowed here: nothing was done.", step)


def approval_request(
    name: str | None, call_id: str | None = "call-1", step: str | None = "step-1", arguments: str | None = None
) -> Event:
    """A call that waits, for its client or for an approval, or a piece of one."""
    return CallWaits(CallPiece(call_id or "", name or "", arguments or ""), step)


def stop(reason: str | None = "end_turn") -> Event:
    return to_stop(reason or "")


def usage(
    prompt: int | None = 11,
    completion: int | None = 7,
    total: int | None = None,
    cached: int | None = None,
    reasoning: int | None = None,
) -> Event:
    prompt, completion = prompt or 0, completion or 0
    return TokensCounted(prompt, completion, total or prompt + completion, cached or 0, reasoning or 0)


def error(error_type: str | None = "llm_error", message: str | None = "An error occurred.") -> Event:
    return Failure(from_error_message(error_type, message, "what a provider said"))


def ping() -> Event:
    return PING


def unknown() -> Event:
    """What Letta says and nobody here has a use for: a type unknown here, or that it has compacted a conversation."""
    return PROGRESS


def calls_of(events: Iterable[Event]) -> list[CallPiece]:
    """The calls that events tell of, and their pieces."""
    return [event.call for event in events if isinstance(event, ToolCalled | CallWaits | CallRefused)]


def stops_of(events: Iterable[Event]) -> list[StopReason]:
    return [event.reason for event in events if isinstance(event, Stop)]


def thoughts_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Thought))


def text_in(events: Iterable[Event]) -> str:
    """The answer that events are pieces of."""
    return "".join(event.text for event in events if isinstance(event, Text))


def joined(events: Iterable[Event]) -> list[Event]:
    """What a run says, but its end and its usage; the pieces of a text, a thought and a call are one."""
    whole: list[Event] = []
    for event in events:
        last = whole[-1] if whole else None
        if isinstance(event, Text | Thought):
            if type(last) is type(event) and last.step == event.step:
                whole[-1] = msgspec.structs.replace(event, text=last.text + event.text, pieces=1)
            elif event.text:
                whole.append(event)
        elif isinstance(event, ToolCalled | CallWaits):
            if type(last) is type(event) and last.call.id == event.call.id and not event.call.name:
                arguments = last.call.arguments + event.call.arguments
                call = msgspec.structs.replace(last.call, arguments=arguments)
                whole[-1] = msgspec.structs.replace(last, call=call)
            else:
                whole.append(event)
        elif not isinstance(event, Stop | TokensCounted | SignOfLife):
            whole.append(event)
    return whole
