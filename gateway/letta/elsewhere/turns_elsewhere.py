"""The turns of an App Server that wait in other processes, as an upstream needs them.

Such a turn can be answered over the connection alone that it runs over: whoever has the answer has the process go on
with it that has that connection.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from gateway.domain.messages import PendingCall
from gateway.letta.upstream import Sending, Take

RunHere = Callable[[str, str, Sending, Iterable[str], Take], Awaitable[None]]
"""Runs a turn over the connection of this process: as `Upstream.run`, by the ids of agent and conversation."""
CancelHere = Callable[[str, str], Awaitable[None]]


class TurnsElsewhere(Protocol):
    """The turns that wait in other processes, and those of this one that others ask for."""

    def serve(self, run: RunHere, cancel: CancelHere) -> None:
        """Have these called for other processes."""
        ...

    def tell(self, conversation_id: str, pending: tuple[PendingCall, ...]) -> None:
        """A turn waits here for the answers to these calls; none: it does not any more."""
        ...

    async def pending(self, conversation_id: str) -> tuple[PendingCall, ...]:
        """The calls of a conversation that wait in another process. Raises nothing."""
        ...

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> bool:
        """Go on with a turn that waits in another process, as `Upstream.run` does; False if none does.

        Raises UpstreamError.
        """
        ...

    async def cancel(self, agent_id: str, conversation_id: str) -> bool:
        """Cancel a turn with which another process goes on for this one; False if there is none.

        Raises UpstreamError.
        """
        ...
