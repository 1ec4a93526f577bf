"""What a request's history tells of calls: those that its answers made, and what came of them. Performs no I/O."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.domain.errors import InvalidRequest
from gateway.domain.halves import decode
from gateway.domain.messages import Image, ToolResult, message_of
from gateway.settings import Images
from gateway.turns.chats.visible_text import without_thoughts
from gateway.wires.chat_completions.images import to_image
from gateway.wires.chat_completions.request import ChatMessage, ContentPart, ImageUrl, text_of
from gateway.wires.chat_completions.tools import ToolCall

PICTURE = "picture"


def check_calls(messages: list[ChatMessage]) -> None:
    """Raises InvalidRequest for a result of a call that nobody made, and for calls at the end, which have no results.

    https://developers.openai.com/api/docs/guides/function-calling
    """
    made: set[str | None] = set()
    for i, message in enumerate(messages):
        made |= {call.id for call in message.tool_calls or ()}
        if message.role == "tool" and message.tool_call_id not in made:
            param = f"messages[{i}].tool_call_id"
            raise InvalidRequest(f"`{param}`: no message before it makes a call of this id.", param)
    if messages[-1].role == "assistant" and messages[-1].tool_calls:
        raise InvalidRequest(
            "`messages` ends with tool calls: expected a `tool` message with the result of each.", "messages"
        )


def results_of(messages: list[ChatMessage], images: Images) -> tuple[ToolResult, ...]:
    """The results of the calls that the last answer made; of two for one call the last."""
    last_answer = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    called = {call.id for call in messages[last_answer].tool_calls or ()} if last_answer >= 0 else set()
    results = {
        message.tool_call_id: _result(message.tool_call_id, message, images)
        for message in messages[last_answer + 1 :]
        if message.role == "tool" and message.tool_call_id in called and message.tool_call_id
    }
    return tuple(results.values())


def _result(id: str, message: ChatMessage, images: Images) -> ToolResult:
    said = message_of("user", _pieces(message.content, images))
    return ToolResult(id, said.content, said.images)


def _pieces(content: str | list[ContentPart] | None, images: Images) -> Iterator[str | Image]:
    """What a result says and shows. A program made it, whom nobody can ask for another: nothing of it is refused."""
    for part in _parts(content):
        yield _picture(part.image_url, images) if part.image_url else _words(part)


def _picture(shown: ImageUrl, images: Images) -> str | Image:
    try:
        return to_image(shown, PICTURE, images.max_mb)
    except InvalidRequest as error:
        return f"[Here was a picture that cannot be shown: {str(error).partition(': ')[2]}]"


def _text(message: ChatMessage) -> str:
    """A result in words alone, as it is told where it is history."""
    return "\n".join(filter(None, map(_words, _parts(message.content))))


def _parts(content: str | list[ContentPart] | None) -> list[ContentPart]:
    return content if isinstance(content, list) else [ContentPart("text", content)]


def _words(part: ContentPart) -> str:
    text = part.text or part.refusal or ""
    if part.image_url:
        return "[Here was a picture.]"
    return text if text or part.type == "text" else "[Here was something that is neither text nor a picture.]"


def exchanged(messages: list[ChatMessage]) -> dict[int, str]:
    """By the place of a user's message, what came of the calls that were made to answer it: a line of JSON each.

    What was said with calls that have only just their results is told with them: it is no answer yet.
    """
    open_since = _open_since(messages)
    calls: dict[str | None, ToolCall] = {}
    lines: dict[int, list[str]] = {}
    asked = -1
    for i, message in enumerate(messages):
        if message.role == "user":
            asked = i
        calls |= {call.id: call for call in message.tool_calls or ()}
        if message.role == "tool":
            lines.setdefault(asked, []).append(_line(calls[message.tool_call_id], _text(message)))
        elif message.role == "assistant" and i > open_since:
            lines.setdefault(asked, []).extend(_said(message))
    return {i: "\n".join(told) for i, told in lines.items()}


def _open_since(messages: list[ChatMessage]) -> int:
    """Where the user's message stands that is being answered, of a request that tells results; else the end."""
    if messages[-1].role != "tool":
        return len(messages)
    return max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)


def _line(call: ToolCall, result: str) -> str:
    told = {"tool": call.function.name, "arguments": call.function.arguments, "result": result}
    try:
        return _encode({**told, "arguments": decode(call.function.arguments, Any)})
    except (msgspec.DecodeError, RecursionError):
        return _encode(told)


def _said(message: ChatMessage) -> Iterator[str]:
    """What an answer said before its calls, where that is not told as an answer."""
    if text := without_thoughts(text_of(message.content)):
        yield _encode({"you": text})


def _encode(line: dict[str, Any]) -> str:
    return msgspec.json.encode(line).decode()
