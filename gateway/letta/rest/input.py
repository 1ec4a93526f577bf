"""The messages, answers and settings that a run of a V1 server or Letta Cloud is sent. Performs no I/O.

https://docs.letta.com/api/python/resources/conversations/subresources/messages/methods/create
"""

from typing import Any

from gateway.domain.messages import Message, ToolResult
from gateway.domain.request import Options
from gateway.letta.notes import NO_ANSWER, SAID, denial, in_prompt, looks_like_an_exchange
from gateway.letta.parts import described, exchange_notes, text_part, to_parts
from gateway.letta.upstream import Instructions, Sending

# Letta's efforts of thinking, by OpenAI's.
EFFORTS = {"minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def to_input(sending: Sending) -> list[Any]:
    """The messages of a run; calls that wait are answered or denied before anything else is said."""
    answers = [*map(_to_answer, sending.results)]
    answers += [{"type": "approval", "tool_call_id": id, "approve": True} for id in sending.approved]
    answers += [_to_denial(sending, id) for id in sending.denied]
    said: list[Any] = [{"type": "approval", "approvals": answers}] if answers else []
    for message in sending.messages:
        otid = {"otid": message.client_id} if message.client_id else {}
        name = {"name": message.name} if message.name else {}
        said.append({"role": message.role, "content": _content(message), **name, **otid})
    return said


def _to_answer(result: ToolResult) -> dict[str, Any]:
    # In parts, the model gets the bare text; a string would be wrapped in a report of Letta's.
    parts = to_parts(result.said)
    return {"type": "tool", "tool_call_id": result.tool_call_id, "tool_return": parts, "status": "success"}


def _to_denial(sending: Sending, id: str) -> dict[str, Any]:
    reason = denial(sending.reason, bool(sending.messages), NO_ANSWER)
    return {"type": "approval", "tool_call_id": id, "approve": False, "reason": reason}


def _content(message: Message) -> Any:
    notes = exchange_notes(message)
    if not (notes or message.images):
        return message.content
    first = next(message.pieces(), "")
    if not notes and isinstance(first, str) and looks_like_an_exchange(first):
        notes = [SAID]
    return [*map(text_part, notes), *to_parts(message)]


def to_prompt(instructions: Instructions) -> str:
    """The agent's own prompt with the client's text added to it; empty where nothing is added."""
    return in_prompt(instructions.prompt, instructions.text) if instructions.text else ""


def with_options(settings: dict[str, Any], options: Options) -> dict[str, Any]:
    """An agent's model settings, changed as far as its model's provider knows what is asked for.

    https://docs.letta.com/api/python/resources/conversations/methods/update
    """
    effort = EFFORTS.get(options.reasoning_effort or "")
    wanted = {
        "temperature": options.temperature,
        "max_output_tokens": options.max_tokens,
        "response_format": options.format,
        "reasoning": {"reasoning_effort": effort} if effort else None,
    }
    return {**settings, **{name: value for name, value in wanted.items() if value is not None and name in settings}}


def to_body(sending: Sending) -> dict[str, Any]:
    """The body of a run, which is streamed token by token."""
    prompt = to_prompt(sending.instructions)
    tools = [described(tool) for tool in sending.tools]
    return {
        "messages": to_input(sending),
        "stream_tokens": True,
        # The first ping names the run before the model has said anything.
        "include_pings": True,
        **({"override_system": prompt} if prompt else {}),
        **({"client_tools": tools} if tools else {}),
    }
