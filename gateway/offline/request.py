"""The requests that the offline model is sent, and the words in them that are a person's. Performs no I/O."""

import json
import re
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")
# What Letta's App Server says in the person's name, before her own words. A part that opens one is all reminder.
_REMINDERS = re.compile(r"\s*(?:<system-reminder>.*?(?:</system-reminder>|\Z)\s*)+", re.DOTALL)


class BadRequest(Exception):
    """The request cannot be answered, as it is said."""


class Part(Struct, frozen=True):
    type: str = "text"
    text: str | None = None


class Message(Struct, frozen=True):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        return "\n".join(self._texts())

    @property
    def said(self) -> str | None:
        """Its text without Letta's reminders; None where those are all."""
        texts = self._texts()
        if isinstance(self.content, str):
            said = [rest for text in texts if (rest := _without_reminders(text)) or rest == text]
        else:
            said = [text for text in texts if not text.lstrip().startswith("<system-reminder>")]
        return None if texts and not said and not self.pictures else "\n".join(said)

    @property
    def pictures(self) -> int:
        """How many it shows."""
        return 0 if isinstance(self.content, str) else sum(part.type == "image_url" for part in self.content or ())

    def _texts(self) -> list[str]:
        if isinstance(self.content, str):
            return [self.content]
        return [part.text for part in self.content or () if part.text is not None]


def _without_reminders(text: str) -> str:
    found = _REMINDERS.match(text)
    return text[found.end() :] if found else text


class Function(Struct, frozen=True):
    name: str
    parameters: dict[str, Any] | None = None


class Tool(Struct, frozen=True):
    function: Function | None = None


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class ChatRequest(Struct, frozen=True):
    messages: list[Message]
    tools: list[Tool] | None = None
    tool_choice: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def offers(self, tool: str) -> bool:
        return any(offered.function and offered.function.name == tool for offered in self.tools or ())


class EmbeddingRequest(Struct, frozen=True):
    input: str | list[Any]

    @property
    def count(self) -> int:
        """How many texts it holds; one may come as a list of token numbers."""
        if isinstance(self.input, str) or (self.input and isinstance(self.input[0], int)):
            return 1
        return len(self.input)


def decode(body: bytes, kind: type[T]) -> T:
    """The request in `body`. Raises BadRequest."""
    try:
        # Not msgspec's decoder: an App Server cuts long texts anywhere, and JSON may hold half of a surrogate pair.
        request = msgspec.convert(json.loads(body.decode()), kind)
    except (ValueError, RecursionError) as error:
        raise BadRequest(str(error)) from None
    if isinstance(request, ChatRequest) and not request.messages:
        raise BadRequest("`messages` is empty: expected at least one message.")
    return request
