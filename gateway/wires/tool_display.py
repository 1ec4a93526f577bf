"""Three ways to show what tools do: in the thoughts, as cards, and not at all. Performs no I/O."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct, field

from gateway.domain.events import CallPiece, ToolReturned, shortened
from gateway.domain.look import ToolActivity
from gateway.wires.chat_completions.items import ItemWriter
from gateway.wires.chat_completions.open_webui import StatusFrame, status
from gateway.wires.chat_completions.writer import Said, Writer

Told = Said | StatusFrame
NOTHING_CAME = "Nothing came back."


class Tools(Protocol):
    """What is told of the calls of a run, in the order of its events."""

    def call(self, call: CallPiece, step: str | None) -> Sequence[Told]:
        """A call of a tool of Letta's own, or a piece of one."""

    def refuse(self, call: CallPiece, reason: str, step: str | None) -> Sequence[Told]:
        """A call that is not allowed; it has a return, too."""

    def receive(self, returned: ToolReturned) -> Sequence[Told]:
        """What came of a call."""

    def close(self) -> Sequence[Told]:
        """Nothing more will come."""


class Thoughts:
    """A line in the thoughts for each call, on the piece that names it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._told: set[str] = set()

    def call(self, call: CallPiece, step: str | None) -> Sequence[Told]:
        if not call.name or call.id in self._told:
            return []
        if call.id:
            self._told.add(call.id)
        return self._writer.note(f"Using {call.name}…", step)

    def refuse(self, call: CallPiece, reason: str, step: str | None) -> Sequence[Told]:
        return self._writer.note(reason, step)

    def receive(self, returned: ToolReturned) -> Sequence[Told]:
        return []

    def close(self) -> Sequence[Told]:
        return []


class Hidden:
    """No word of any tool. What is said before a return, and what after it, are two things all the same."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def call(self, call: CallPiece, step: str | None) -> Sequence[Told]:
        return []

    def refuse(self, call: CallPiece, reason: str, step: str | None) -> Sequence[Told]:
        return []

    def receive(self, returned: ToolReturned) -> Sequence[Told]:
        return self._writer.interrupt()

    def close(self) -> Sequence[Told]:
        return []


class Running(Struct):
    """A call that has not returned."""

    name: str
    line: str
    """What its status line says until then, "Using web_search…"."""
    failed: str
    """What it says if the call fails."""
    arguments: list[str] = field(default_factory=list)


class Cards:
    """For Open WebUI: a status line while a tool runs, and a card once it has returned.

    All else is as with `Hidden`. Cards come whole, one after the other, and outside of the thoughts; Letta may use the
    id of a call again in another turn, so a card has one of the answer's.
    """

    def __init__(self, writer: ItemWriter) -> None:
        self._writer = writer
        self._running: dict[str, Running] = {}
        self._cards = 0

    def call(self, call: CallPiece, step: str | None) -> Sequence[Told]:
        return self._begin(call, f"Using {call.name}…", f"{call.name} failed.")

    def refuse(self, call: CallPiece, reason: str, step: str | None) -> Sequence[Told]:
        return self._begin(call, reason, reason)

    def receive(self, returned: ToolReturned) -> Sequence[Told]:
        chunks = self._writer.interrupt()
        running = self._running.pop(returned.call_id, None)
        if running is None:
            return chunks
        return [*chunks, *self._end(running, returned.text, returned.failed), *self._still()]

    def close(self) -> Sequence[Told]:
        left, self._running = self._running, {}
        chunks = self._writer.close() if left else []
        return [*chunks, *(told for one in left.values() for told in self._end(one, NOTHING_CAME, failed=True))]

    def _begin(self, call: CallPiece, line: str, failed: str) -> list[StatusFrame]:
        running, told = self._running.get(call.id), []
        if running is None:
            if not call.name:
                return []
            running = self._running[call.id] = Running(call.name, line, failed)
            told = [status(line, done=False)]
        running.arguments.append(call.arguments)
        return told

    def _end(self, running: Running, output: str, failed: bool) -> list[Told]:
        self._cards += 1
        line = status(running.failed if failed else f"Used {running.name}.", done=True)
        arguments = shortened("".join(running.arguments))
        return [line, *self._writer.card(self._cards, running.name, arguments, output, failed)]

    def _still(self) -> list[StatusFrame]:
        """The last line is the one that counts: it is one of a tool that runs, if any does."""
        last = next(reversed(self._running.values()), None)
        return [status(last.line, done=False)] if last else []


def tools_of(activity: ToolActivity, writer: Writer) -> Tools:
    """The way that `activity` asks for; cards need a writer of items."""
    if isinstance(writer, ItemWriter):
        return Cards(writer)
    return Hidden(writer) if activity == "hidden" else Thoughts(writer)
