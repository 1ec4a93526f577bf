"""An answer as Open WebUI is told it: texts and thoughts as items, tools as cards and status lines. Performs no I/O."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from gateway.domain.events import CallRefused, Text, Thought, ToolCalled, ToolReturned
from gateway.frontends.open_webui.cards import Cards
from gateway.frontends.open_webui.items import Items
from gateway.wires.sayings import (
    BrokenOff,
    ClientCallBegun,
    ClientCallContinued,
    Finished,
    Saying,
    ThoughtsClosed,
    ThoughtsOpened,
    ToolsOver,
)


class OpenWebUIAdditions:
    """The `Additions` of an answer to Open WebUI, whose id is `answer_id`.

    A call of a client's tool is an item that Open WebUI itself makes, the last.
    """

    def __init__(self, answer_id: str, clock: Callable[[], float]) -> None:
        """`clock` gives seconds; thoughts tell how long they took."""
        self._items = Items(answer_id, clock)
        self._cards = Cards(self._items)

    def frames(self, saying: Saying) -> Sequence[Struct]:
        match saying:
            case Text():
                return self._items.add("message", saying.text)
            case Thought():
                return self._items.add("reasoning", saying.text)
            case ThoughtsOpened():
                return self._items.open("reasoning")
            case ThoughtsClosed() | ClientCallBegun() | ClientCallContinued() | Finished() | BrokenOff():
                return self._items.end()
            case ToolCalled(call):
                return self._cards.begin(call, f"Using {call.name}…", f"{call.name} failed.")
            case CallRefused(call, reason):
                return self._cards.begin(call, reason, reason)
            case ToolReturned():
                return self._cards.receive(saying)
            case ToolsOver():
                return self._cards.close()
        return []
