"""The means of runs: all that the runs of a gateway have in common."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from msgspec import Struct

from gateway.letta.upstream import Upstream
from gateway.settings import Chats
from gateway.shared.lines import OWN_PLACE, Lines, OwnLines, Place
from gateway.turns.chats.conversations import Conversations
from gateway.turns.people.agents import Agents
from gateway.turns.runs.schemas import Schemas
from gateway.turns.turn import Turn


class Means(Struct, frozen=True):
    """All that the runs of a gateway share."""

    upstream: Upstream
    agents: Agents
    conversations: Conversations
    lines: Lines
    schemas: Schemas
    silence_seconds: float
    """A run that says nothing but pings for so long is hanging."""
    grace_seconds: float
    """A run that nobody reads goes on for so long."""
    queue_length: int
    """So many turns of a chat wait for the one under way."""
    queue_seconds: float
    """For so long a turn waits for those before it, or for another run of its conversation."""

    def place_of(self, turn: Turn, wanted: Callable[[], None]) -> AbstractAsyncContextManager[Place]:
        """The place of a turn in the line of its chat: one turn at a time. Raises QueueFull.

        Nobody else has a chat without an id. `wanted` is called when the next turn begins to wait.
        """
        if turn.scratch and turn.keeps:
            return self._place_behind(turn, wanted)
        if turn.scratch:
            return nullcontext(OWN_PLACE)
        return self.lines.place(turn.marker, self.queue_length, self.queue_seconds, wanted)

    @asynccontextmanager
    async def _place_behind(self, turn: Turn, wanted: Callable[[], None]) -> AsyncGenerator[Place]:
        """The place of a turn in a chat without an id: those who go on behind it wait for its end.

        Raises QueueFull.
        """
        if turn.after:
            async with self.lines.place(_line_behind(turn.after.turn), self.queue_length, self.queue_seconds):
                pass
        async with self.lines.place(_line_behind(turn.id), self.queue_length, self.queue_seconds, wanted) as place:
            yield place

    def forget(self, turn: Turn) -> None:
        """Look agent and conversation up again: Letta does not know one of them any more."""
        self.agents.forget(turn.agent_type, turn.caller.user)
        self.conversations.forget(turn.marker)


def _line_behind(turn_id: str) -> str:
    return f"turn:{turn_id}"


def means_of(
    upstream: Upstream, settle_seconds: float, silence_seconds: float, chats: Chats, lines: Lines | None = None
) -> Means:
    """The means of a gateway in front of this Letta; without `lines`, of one that runs alone."""
    lines = lines or OwnLines()
    return Means(
        upstream,
        Agents(upstream, settle_seconds, lines),
        Conversations(upstream, lines),
        lines,
        Schemas(),
        silence_seconds,
        chats.grace_seconds,
        chats.queue_length,
        chats.queue_seconds,
    )


class Owner(Struct, frozen=True):
    """The user whose run it is, and the type of the agent that runs: `Owner("open-webui", "42", "tutor")`."""

    scope: str
    user: str
    agent_type: str


def owner_of(turn: Turn) -> Owner:
    user = turn.caller.user
    return Owner(user.scope, user.id, turn.agent_type.id)
