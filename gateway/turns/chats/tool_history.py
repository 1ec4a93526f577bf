"""The calls in a request's history, which its answers made, with their results. Performs no I/O."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gateway.domain.messages import Image, ToolResult, last_answer, message_of
from gateway.domain.request import Piece, RequestMessage, ToldCall, Unusable
from gateway.domain.texts.client_texts import ClientTexts
from gateway.domain.texts.halves import decode


def results_of(messages: Sequence[RequestMessage], goes_on: bool = False) -> tuple[ToolResult, ...]:
    """The results of the calls that the last answer made; of two results for one call, the last.

    `goes_on`: the messages go on with something, and that answer may be there.
    """
    answered = last_answer(messages)
    called = {call.id for call in messages[answered].calls} if answered >= 0 else set()
    anywhere = goes_on and answered < 0
    results = {
        message.call_id: _result(message)
        for message in messages[answered + 1 :]
        if message.role == "tool" and message.call_id and (anywhere or message.call_id in called)
    }
    return tuple(results.values())


def _result(message: RequestMessage) -> ToolResult:
    """The result in a `tool` message. No part of it is refused: a program made it, and cannot be asked for another."""
    said = message_of(
        "user", [piece if isinstance(piece, Image) else _words(piece, new=True) for piece in message.pieces]
    )
    return ToolResult(message.call_id, said.content, said.images)


def _words(piece: Piece, new: bool = False) -> str:
    """A piece of a result in words; if the result is `new` to the agent, with the reason why it sees no picture."""
    match piece:
        case str():
            return piece
        case Unusable(is_picture=False):
            return "[Here was something that is neither text nor a picture.]"
        case Unusable(problem=problem) if new:
            return f"[Here was a picture that cannot be shown: {problem}.]"
        case _:
            return "[Here was a picture.]"


def tool_notes(messages: Sequence[RequestMessage], texts: ClientTexts) -> dict[int, str]:
    """The index of a user's message → the calls made to answer it with their results, a line of JSON each.

    `{0: '{"tool":"weather","arguments":{"city":"Rome"},"result":"12 degrees"}'}`; the index is -1 for calls before any
    user's message. Text that came with calls whose results are new is told here as well: it is no answer yet.
    """
    if all(message.role != "tool" for message in messages):
        return {}
    open_since = _open_since(messages)
    calls: dict[str, ToldCall] = {}
    lines: dict[int, list[str]] = {}
    question = -1
    for i, message in enumerate(messages):
        if message.role == "user":
            question = i
        calls |= {call.id: call for call in message.calls}
        if message.role == "tool":
            result = "\n".join(filter(None, map(_words, message.pieces)))
            lines.setdefault(question, []).append(_line(calls.get(message.call_id, ToldCall(message.call_id)), result))
        elif message.role == "assistant" and i > open_since:
            lines.setdefault(question, []).extend(_said(message, texts))
    return {i: "\n".join(told) for i, told in lines.items()}


def _open_since(messages: Sequence[RequestMessage]) -> int:
    """The index of the user's message that is being answered, if the request ends with results; else the end."""
    if messages[-1].role != "tool":
        return len(messages)
    return max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)


def _line(call: ToldCall, result: str) -> str:
    if not call.name:
        # The call was told where the chat goes on, and not with its result.
        return _encode({"result": result})
    told = {"tool": call.name, "arguments": call.arguments, "result": result}
    try:
        return _encode({**told, "arguments": decode(call.arguments, Any)})
    except (msgspec.DecodeError, RecursionError):
        return _encode(told)


def _said(message: RequestMessage, texts: ClientTexts) -> Iterator[str]:
    """The text that came before an answer's calls, as a line; none if it had no visible text."""
    if text := texts.visible(message.text):
        yield _encode({"you": text})


def _encode(line: dict[str, Any]) -> str:
    return msgspec.json.encode(line).decode()
