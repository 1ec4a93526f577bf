"""Agent × chat → conversation: found by its marker, else created."""

import asyncio
from weakref import WeakValueDictionary

from gateway.letta.upstream import Conversation, Message, Upstream, age
from gateway.turns.agents import KnownAgent
from gateway.turns.cache import Cache
from gateway.turns.names import SCRATCH_MARKER, has_marker, summary_with

CACHED_CONVERSATIONS = 100_000


class KnownConversation:
    """A conversation that was found or made in this process."""

    def __init__(self, id: str, *, new: bool, compiled: int | None) -> None:
        self.id = id
        self.new = new
        """Whether no turn has ended in it, so that its agent knows nothing of the chat."""
        self.compiled = compiled
        """The version of its agent's memory that its system prompt shows, at least; None if that is not known."""


class Conversations:
    """Finds and makes conversations; remembers those with a marker until `forget`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: Cache[str, KnownConversation] = Cache(CACHED_CONVERSATIONS)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, marker: str | None) -> asyncio.Lock:
        """To be held for a turn: of one chat one turn goes at a time. Without a marker nobody else has the chat."""
        return self._locks.setdefault(marker, asyncio.Lock()) if marker else asyncio.Lock()

    async def get(self, agent: KnownAgent, marker: str | None, history: list[Message]) -> KnownConversation:
        """The conversation of the chat, ready for a turn; a fresh one without a marker. Raises UpstreamError.

        `history` is what a fresh one begins with, if it can. With the lock of the marker held.
        """
        # Taken before Letta is asked: what changes meanwhile may not be in the prompt.
        version = agent.memory_version
        if marker is None:
            return await self._create(agent, SCRATCH_MARKER, version, history)
        known = self._known.get(marker)
        if known is None:
            found = await self._find(agent, marker, history)
            known = found or await self._create(agent, marker, version, history)
            self._known.put(marker, known)
        # Letta compiles a conversation's system prompt once; a changed one, or a changed memory, is not in it.
        if known.compiled != version:
            await self._upstream.recompile(known.id)
            known.compiled = version
        return known

    def forget(self, marker: str | None) -> None:
        """Look the conversation up again: Letta does not know it any more."""
        if marker:
            self._known.drop(marker)

    async def _find(self, agent: KnownAgent, marker: str, history: list[Message]) -> KnownConversation | None:
        found = await self._upstream.find_conversations(agent.id, marker)
        exact = [conversation for conversation in found if has_marker(conversation.summary, marker)]
        if not exact:
            return None
        resumed = await self._upstream.resume_conversation(agent.id, min(exact, key=age), history)
        return _known(resumed, compiled=None)

    async def _create(self, agent: KnownAgent, marker: str, version: int, history: list[Message]) -> KnownConversation:
        created = await self._upstream.create_conversation(agent.id, summary_with(marker), history)
        return _known(created, compiled=version)


def _known(conversation: Conversation, compiled: int | None) -> KnownConversation:
    return KnownConversation(conversation.id, new=not conversation.has_turns, compiled=compiled)
