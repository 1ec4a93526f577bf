"""Calls of the client's own tools, as they come from the agent. Performs no I/O.

https://developers.openai.com/api/docs/guides/function-calling#streaming
"""

from gateway.domain.events import CallPiece
from gateway.domain.halves import Mender
from gateway.domain.request import NO_ARGUMENTS, ClientTools
from gateway.wires.chat_completions.response import FunctionChunk, ToolCallChunk
from gateway.wires.chat_completions.writer import Said, Writer


class ClientCalls:
    """Gives each call as deltas: its id and name first, then its arguments in pieces as they come."""

    def __init__(self, writer: Writer, tools: ClientTools) -> None:
        self._writer = writer
        self._names = tools.names
        self._most = None if tools.parallel else 1
        self._told: dict[str, int] = {}
        """The index of each call by Letta's id of it."""
        self._arguments: dict[str, Mender] = {}
        """Of those of which arguments have come: clients decode them as strictly as they like."""

    @property
    def any(self) -> bool:
        return bool(self._told)

    def is_one(self, call: CallPiece) -> bool:
        """Whether it is a call, or a piece of one, of a tool of the client's."""
        return call.name in self._names if call.name else call.id in self._told

    def call(self, call: CallPiece) -> list[Said]:
        id = call.id
        chunks = []
        if id not in self._told:
            # Who wants one call at a time gets the first; Letta is told of the others that they were not carried out.
            if len(self._told) == self._most:
                return []
            self._told[id] = len(self._told)
            function = FunctionChunk(name=call.name, arguments="")
            chunks += self._writer.call(ToolCallChunk(self._told[id], id, "function", function))
        return chunks + self._argue(id, call.arguments)

    def close(self) -> list[Said]:
        """What is left of the arguments. A call without any has none, in JSON: every client decodes them."""
        rests = [(id, self._arguments[id].flush() if id in self._arguments else NO_ARGUMENTS) for id in self._told]
        return [chunk for id, rest in rests for chunk in self._tell(id, rest)]

    def _argue(self, id: str, arguments: str) -> list[Said]:
        if not arguments:
            return []
        return self._tell(id, self._arguments.setdefault(id, Mender()).feed(arguments))

    def _tell(self, id: str, arguments: str) -> list[Said]:
        if not arguments:
            return []
        return self._writer.call(ToolCallChunk(self._told[id], function=FunctionChunk(arguments=arguments)))
