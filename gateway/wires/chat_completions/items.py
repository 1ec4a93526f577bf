"""Writes an answer for Open WebUI: what is said and thought as the items of a response. Performs no I/O.

Where an answer comes as chunks, Open WebUI looks for tags in it (`<think>` and others) and takes what follows them for
thoughts. It takes the text of items as it is: nothing in it need be defused, so that what is copied is what was said.
"""

from collections.abc import Callable
from typing import Literal

from gateway.domain.look import Reasoning
from gateway.wires.chat_completions.open_webui import (
    ItemFrame,
    MessageItem,
    OutputItemFrame,
    OutputText,
    OutputTextDelta,
    ReasoningItem,
    ReasoningText,
    tool_card,
)
from gateway.wires.chat_completions.response import ToolCallChunk
from gateway.wires.chat_completions.think_tags import Defuser
from gateway.wires.chat_completions.writer import OPEN_TAG, Said, Writer

Kind = Literal["message", "reasoning"]
DELTAS: dict[Kind, Literal["response.output_text.delta", "response.reasoning_text.delta"]] = {
    "message": "response.output_text.delta",
    "reasoning": "response.reasoning_text.delta",
}


class Verbatim(Defuser):
    """Leaves a text as it is."""

    def feed(self, text: str) -> str:
        return text


class ItemWriter(Writer):
    """Role, calls of the client's tools, finish reason and usage are chunks; all else is items, one after the other."""

    def __init__(
        self,
        *,
        id: str,
        created: int,
        model: str,
        reasoning: Reasoning,
        include_usage: bool,
        clock: Callable[[], float],
    ) -> None:
        # Thoughts have one look in Open WebUI, if any.
        shown: Reasoning = "hidden" if reasoning == "hidden" else "think_tags"
        super().__init__(id=id, created=created, model=model, reasoning=shown, include_usage=include_usage)
        self._text = self._thoughts = Verbatim()
        self._clock = clock
        self._kind: Kind | None = None
        """What the item is that is being written."""
        self._item = ""
        self._since = 0.0
        self._pieces: list[str] = []
        self._places = 0

    def card(self, number: int, name: str, arguments: str, output: str, failed: bool) -> list[Said]:
        """A tool that was used."""
        ended = self._end()
        index, self._places = self._places, self._places + 2
        return [*ended, *tool_card(f"{self._id}-{number}", name, arguments, output, failed, index)]

    def call(self, piece: ToolCallChunk) -> list[Said]:
        # Open WebUI makes an item of a call, the last.
        return [*self.interrupt(), *self._end(), *super().call(piece)]

    def close(self) -> list[Said]:
        return [*super().close(), *self._end()]

    def _tag(self, tag: str) -> list[Said]:
        return self._open("reasoning") if tag == OPEN_TAG else self._end()

    def _thought(self, text: str) -> list[Said]:
        return [self._more("reasoning", text)] if text else []

    def _content(self, text: str) -> list[Said]:
        if not text:
            return []
        opened = [] if self._kind == "message" else self._open("message")
        return [*opened, self._more("message", text)]

    def _open(self, kind: Kind) -> list[Said]:
        ended = self._end()
        self._kind, self._since, self._pieces = kind, self._clock(), []
        self._item = f"{'msg' if kind == 'message' else 'rs'}_{self._id}-{self._places}"
        return [*ended, OutputItemFrame(self._places, self._told(kind, done=False), "response.output_item.added")]

    def _more(self, kind: Kind, text: str) -> ItemFrame:
        self._pieces.append(text)
        return OutputTextDelta(self._places, self._item, text, DELTAS[kind])

    def _end(self) -> list[Said]:
        """The item that is being written is whole."""
        if self._kind is None:
            return []
        whole = OutputItemFrame(self._places, self._told(self._kind, done=True), "response.output_item.done")
        self._kind = None
        self._places += 1
        return [whole]

    def _told(self, kind: Kind, done: bool) -> MessageItem | ReasoningItem:
        text = "".join(self._pieces)
        status: Literal["in_progress", "completed"] = "completed" if done else "in_progress"
        if kind == "message":
            return MessageItem(self._item, (OutputText(text),), status)
        if not done:
            return ReasoningItem(self._item, (ReasoningText(text),), status)
        return ReasoningItem(self._item, (ReasoningText(text),), status, int(self._clock() - self._since))
