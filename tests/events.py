"""Shorthands for the events of a run."""

from gateway.letta.events import Event, ToolCall, ToolReturn


def reasoning(text: str | None, step: str | None = "step-1") -> Event:
    return Event("reasoning_message", step_id=step, reasoning=text)


def answer(content: object, step: str | None = "step-1") -> Event:
    """A piece of the answer; `content` is a text, or a list of parts."""
    return Event("assistant_message", step_id=step, content=content)


def tool_call(
    name: str | None, call_id: str | None = "call-1", step: str | None = "step-1", arguments: str | None = None
) -> Event:
    """A call, or a piece of one: only the first has the name."""
    call = ToolCall(name, call_id, arguments)
    return Event("tool_call_message", step_id=step, tool_call=call, tool_calls=call)


def tool_calls(*names: str, step: str | None = "step-1", arguments: str | None = "{}") -> Event:
    """Several calls in one event, as they come where pieces are not streamed."""
    calls = [ToolCall(name, f"call-{number}", arguments) for number, name in enumerate(names)]
    return Event("tool_call_message", step_id=step, tool_call=calls[0], tool_calls=calls)


def tool_return(
    step: str | None = "step-1", call_id: str | None = "call-1", content: object = "found", status: str = "success"
) -> Event:
    """What came of a call; `content` is a text, or a list of parts."""
    returned = ToolReturn(call_id, status, content)
    return Event("tool_return_message", step_id=step, message="what the tool said", tool_returns=[returned])


def refused(name: str, call_id: str | None = "call-1", step: str | None = "step-1", arguments: str = "{}") -> Event:
    """A line of the gateway's own about a call that is not allowed."""
    call = ToolCall(name, call_id, arguments)
    return Event("status", step_id=step, message=f"{name} is not allowed here: nothing was done.", tool_call=call)


def approval_request(
    name: str | None, call_id: str | None = "call-1", step: str | None = "step-1", arguments: str | None = None
) -> Event:
    """A call that waits, for its client or for an approval, or a piece of one."""
    return Event("approval_request_message", step_id=step, tool_call=ToolCall(name, call_id, arguments))


def stop(reason: str | None = "end_turn") -> Event:
    return Event("stop_reason", stop_reason=reason)


def usage(
    prompt: int | None = 11,
    completion: int | None = 7,
    total: int | None = None,
    cached: int | None = None,
    reasoning: int | None = None,
) -> Event:
    return Event(
        "usage_statistics",
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total,
        cached_input_tokens=cached,
        reasoning_tokens=reasoning,
    )


def error(error_type: str | None = "llm_error", message: str | None = "An error occurred.") -> Event:
    return Event("error_message", error_type=error_type, message=message, detail="what a provider said")


def ping() -> Event:
    return Event("ping", run_id="run-1")


def compaction() -> Event:
    """What Letta says when it has summed up the beginning of a conversation."""
    return Event("user_message", content='{"type": "system_alert", "message": "Note: 180 messages"}')


def unknown() -> Event:
    """A type that nobody here has heard of, with fields that others have, too."""
    return Event("hidden_thing_message", step_id="step-1", content="unseen", reasoning="unseen")
