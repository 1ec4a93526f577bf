"""Texts, messages, calls and schemas of any size, made to keep a careless reader busy."""

from collections.abc import Callable
from typing import Any, TypeVar

from gateway.domain.events import CallPiece
from gateway.domain.messages import Message
from gateway.letta.notes import CONTINUE
from gateway.wires.chat_completions.request import ChatCompletionRequest, ChatMessage
from gateway.wires.chat_completions.tools import CalledFunction, Function, Tool
from gateway.wires.chat_completions.tools import ToolCall as ToldCall
from tests.growth.measure import Make, Work
from tests.growth.patterns import Shape

T = TypeVar("T")
ASKED = "**May I do this?** It needs your approval:\n"
# What each reader of texts is given.
NASTY = {
    "spaces": Shape("", " ", "x"),
    "words": Shape("", "a ", ""),
    "fence": Shape("```\n", "\n", "x"),
    "tags": Shape("", "<think>", ""),
    "details": Shape("", '<details type="reasoning"', ""),
    "questions": Shape(ASKED, f"  {ASKED}", ""),
    "brackets": Shape("", " [", "] gw1:x"),
    "quotes": Shape('"', '\\"', ""),
}


def of_text(read: Callable[[str], object], **more: Shape) -> dict[str, Make]:
    """`read` with a text of every nasty shape, and of `more`."""
    return {name: _of_shape(read, shape) for name, shape in (NASTY | more).items()}


def _of_shape(read: Callable[[str], object], shape: Shape) -> Make:
    def make(size: int) -> Work:
        text = shape.text(size)
        return lambda: read(text)

    return make


def of(made: Callable[[int], T], read: Callable[[T], object], each: int = 20) -> Make:
    """`read` with as many of something as fit, where one is some `each` characters long."""

    def make(size: int) -> Work:
        value = made(max(2, size // each))
        return lambda: read(value)

    return make


def in_pieces(begin: Callable[[], Callable[[T], object]], made: Callable[[int], T], each: int = 20) -> Make:
    """A method of something fresh, called for every piece; a piece knows its number."""

    def make(size: int) -> Work:
        pieces = [made(i) for i in range(max(2, size // each))]

        def work() -> None:
            take = begin()
            for piece in pieces:
                take(piece)

        return work

    return make


def dialogue(count: int) -> list[Message]:
    return [Message("assistant" if i % 2 else "user", f"{i} says", f"gw1-a-b-c-{i}", f"m{i}") for i in range(count)]


def respaced(count: int) -> list[Message]:
    """The same as clients tell it who change something about every message."""
    return [Message(message.role, message.content.replace(" ", "\n")) for message in dialogue(count)]


def going_on(count: int) -> list[Message]:
    """A message, and an answer that was asked to go on over and over."""
    more = [Message("user", CONTINUE) if i % 2 else Message("assistant", "and so on") for i in range(count | 1)]
    return [Message("user", "Hi"), *more]


def told(count: int) -> list[ChatMessage]:
    """A chat as a client tells it, up to the message that is to be answered."""
    return [ChatMessage("assistant" if i % 2 else "user", f"{i} says") for i in range(count | 1)]


def told_calls(count: int) -> list[ChatMessage]:
    """An answer of so many calls, and their results."""
    calls = [ToldCall(f"call-{i}", function=CalledFunction("x", '{"a": 1}')) for i in range(count)]
    results = [ChatMessage("tool", "done", tool_call_id=call.id) for call in calls]
    return [ChatMessage("user", "Hi"), ChatMessage("assistant", "Well", tool_calls=calls), *results]


def asking(text: str, system: str | None = None, **more: Any) -> ChatCompletionRequest:
    before = [] if system is None else [ChatMessage("system", system)]
    return ChatCompletionRequest("tutor", [*before, ChatMessage("user", text)], **more)


def offered(count: int) -> list[Tool]:
    """As many tools as are let in, with a lot to say."""
    count = min(count, 1_000)
    properties = {f"p{i}": {"type": "string"} for i in range(20)}
    return [Tool(function=Function(f"t{i}", parameters={"properties": properties})) for i in range(count)]


def allowing(count: int) -> dict[str, Any]:
    """A choice among names, of which no tool has any."""
    tools = [{"type": "function", "function": {"name": f"n{i}"}} for i in range(count)]
    return {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools}}


def call(number: int) -> CallPiece:
    return CallPiece(f"call-{number}", "x", "{}")


def piece_of_call(number: int) -> CallPiece:
    return CallPiece("call-0", "" if number else "x", "and more of it")


def referring(count: int) -> dict[str, Any]:
    """A schema of many parts, each of which refers to the next and to itself."""
    parts = {f"d{i}": {"properties": {"a": {"$ref": f"#/$defs/d{i}"}}} for i in range(count)}
    return {"allOf": [{"$ref": f"#/$defs/d{i}"} for i in range(min(count, 4_000))], "$defs": parts}


def doubling(count: int) -> dict[str, Any]:
    """A schema in which each part stands for two of the next: as many as nobody can write out."""
    parts = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(count)}
    return {"$ref": "#/$defs/d0", "$defs": parts}


def nested(opens: str, closes: str) -> Shape:
    """Something within itself, as deep as the text is long."""
    return Shape("", opens, closes)
