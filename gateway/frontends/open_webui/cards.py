"""Open WebUI's cards and status lines: a line while a tool runs, a card once it has returned. Performs no I/O."""

from collections.abc import Sequence

from msgspec import Struct, field

from gateway.domain.events import CallPiece, ToolReturned, shortened
from gateway.frontends.open_webui.frames import ItemFrame, StatusFrame, status
from gateway.frontends.open_webui.items import Items

NOTHING_CAME = "Nothing came back."


class RunningTool(Struct):
    """A call that has not returned: `RunningTool("web_search", "Using web_search…", "web_search failed.")`."""

    name: str
    line: str
    """Its status line until it returns."""
    failed: str
    """Its status line if it fails."""
    arguments: list[str] = field(default_factory=list)


class Cards:
    """Follows the tools that run; cards come whole, in the order of the returns, and outside of the thoughts."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._running: dict[str, RunningTool] = {}

    def begin(self, call: CallPiece, line: str, failed: str) -> Sequence[StatusFrame]:
        """Tell of a call, or take a later piece of one."""
        running = self._running.get(call.id)
        if running is not None:
            running.arguments.append(call.arguments)
            return []
        if not call.name:
            return []
        self._running[call.id] = RunningTool(call.name, line, failed, [call.arguments])
        return [status(line, done=False)]

    def receive(self, returned: ToolReturned) -> Sequence[ItemFrame | StatusFrame]:
        """Tell what came of a call."""
        running = self._running.pop(returned.call_id, None)
        if running is None:
            return []
        return [*self._end(running, returned.text, returned.failed), *self._still_running()]

    def close(self) -> Sequence[ItemFrame | StatusFrame]:
        """Tell of the calls that have not returned, and never will."""
        left, self._running = self._running, {}
        ended = self._items.end() if left else []
        return [*ended, *(one for tool in left.values() for one in self._end(tool, NOTHING_CAME, failed=True))]

    def _end(self, tool: RunningTool, output: str, failed: bool) -> list[ItemFrame | StatusFrame]:
        line = status(tool.failed if failed else f"Used {tool.name}.", done=True)
        return [line, *self._items.card(tool.name, shortened("".join(tool.arguments)), output, failed)]

    def _still_running(self) -> list[StatusFrame]:
        """The last line is the one that counts: it is one of a tool that runs, if any does."""
        last = next(reversed(self._running.values()), None)
        return [status(last.line, done=False)] if last else []
