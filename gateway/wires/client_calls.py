"""The agent's calls of tools that the client carries out, put together from their pieces. Performs no I/O."""

from gateway.domain.events import CallPiece
from gateway.domain.request import NO_ARGUMENTS, ClientTools
from gateway.domain.texts.halves import Mender
from gateway.wires.sayings import ClientCallBegun, ClientCallContinued, Saying


class ClientCalls:
    """Says each call once, then its arguments in pieces as they come: JSON that every client can decode."""

    def __init__(self, tools: ClientTools) -> None:
        self._names = tools.names
        self._most = None if tools.parallel else 1
        self._indices: dict[str, int] = {}
        """The place of each call by Letta's id of it."""
        self._menders: dict[str, Mender] = {}
        """Those of the calls of which arguments have come: clients decode them as strictly as they like."""

    @property
    def any(self) -> bool:
        """True: a call was said."""
        return bool(self._indices)

    def is_one(self, call: CallPiece) -> bool:
        """Tells calls of the client's tools, and later pieces of them, from those of other tools."""
        return call.name in self._names if call.name else call.id in self._indices

    def receive(self, call: CallPiece) -> list[Saying]:
        """Say a call, or a piece of one. Nothing is said of a second call where the client wants one at a time."""
        said: list[Saying] = []
        if call.id not in self._indices:
            # Letta is told of the calls left out that they were not carried out.
            if len(self._indices) == self._most:
                return said
            self._indices[call.id] = len(self._indices)
            said.append(ClientCallBegun(self._indices[call.id], call.id, call.name))
        if call.arguments:
            said += self._argue(call.id, self._menders.setdefault(call.id, Mender()).feed(call.arguments))
        return said

    def close(self) -> list[Saying]:
        """Say what is left of the arguments. A call without any gets `{}`: every client decodes them."""
        rests = [(id, self._menders[id].flush() if id in self._menders else NO_ARGUMENTS) for id in self._indices]
        return [one for id, rest in rests for one in self._argue(id, rest)]

    def _argue(self, id: str, arguments: str) -> list[Saying]:
        return [ClientCallContinued(self._indices[id], arguments)] if arguments else []
