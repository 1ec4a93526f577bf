"""The items that an answer to Open WebUI is made of, one after the other. Performs no I/O.

Where an answer comes as chunks, Open WebUI looks for tags in it (`<think>` and others) and takes what follows them for
thoughts. It takes the text of items as it is: nothing in it need be defused, so that what is copied is what was said.
"""

from collections.abc import Callable
from typing import Literal

from gateway.frontends.open_webui.frames import (
    ItemFrame,
    MessageItem,
    OutputItemFrame,
    OutputText,
    OutputTextDelta,
    ReasoningItem,
    ReasoningText,
    tool_card,
)

Kind = Literal["message", "reasoning"]
DELTAS: dict[Kind, Literal["response.output_text.delta", "response.reasoning_text.delta"]] = {
    "message": "response.output_text.delta",
    "reasoning": "response.reasoning_text.delta",
}


class Items:
    """Writes items: one is whole before the next begins, and each has its place among all of the answer's."""

    def __init__(self, answer_id: str, clock: Callable[[], float]) -> None:
        self._answer_id = answer_id
        self._clock = clock
        self._kind: Kind | None = None
        """The kind of the item that is being written, if there is one."""
        self._item = ""
        self._since = 0.0
        self._pieces: list[str] = []
        self._places = 0
        self._cards = 0

    def open(self, kind: Kind) -> list[ItemFrame]:
        """Begin an item."""
        ended = self.end()
        self._kind, self._since, self._pieces = kind, self._clock(), []
        self._item = f"{'msg' if kind == 'message' else 'rs'}_{self._answer_id}-{self._places}"
        return [*ended, OutputItemFrame(self._places, self._written(kind, done=False), "response.output_item.added")]

    def add(self, kind: Kind, text: str) -> list[ItemFrame]:
        """Add to the item that is being written, or to a new one where that is of another kind."""
        opened = [] if self._kind == kind else self.open(kind)
        self._pieces.append(text)
        opened.append(OutputTextDelta(self._places, self._item, text, DELTAS[kind]))
        return opened

    def end(self) -> list[ItemFrame]:
        """Tell that the item that is being written is whole."""
        if self._kind is None:
            return []
        whole = OutputItemFrame(self._places, self._written(self._kind, done=True), "response.output_item.done")
        self._kind = None
        self._places += 1
        return [whole]

    def card(self, name: str, arguments: str, output: str, failed: bool) -> list[ItemFrame]:
        """Tell of a tool that was used, which takes two places.

        Letta may use the id of a call again in another turn, so a card has one of the answer's.
        """
        ended = self.end()
        self._cards += 1
        index, self._places = self._places, self._places + 2
        return [*ended, *tool_card(f"{self._answer_id}-{self._cards}", name, arguments, output, failed, index)]

    def _written(self, kind: Kind, done: bool) -> MessageItem | ReasoningItem:
        text = "".join(self._pieces)
        status: Literal["in_progress", "completed"] = "completed" if done else "in_progress"
        if kind == "message":
            return MessageItem(self._item, (OutputText(text),), status)
        if not done:
            return ReasoningItem(self._item, (ReasoningText(text),), status)
        return ReasoningItem(self._item, (ReasoningText(text),), status, int(self._clock() - self._since))
