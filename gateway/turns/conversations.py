"""Agent × chat → conversation: found by its marker, else created."""

import asyncio
from weakref import WeakValueDictionary

from gateway.letta.upstream import Upstream, age
from gateway.turns.agents import KnownAgent
from gateway.turns.cache import Cache
from gateway.turns.names import SCRATCH_MARKER, has_marker, summary_with

CACHED_CONVERSATIONS = 100_000


class KnownConversation:
    """A conversation that was found or made in this process."""

    def __init__(self, id: str, agent: KnownAgent, *, new: bool = True, compiled: bool = True) -> None:
        self.id = id
        self.new = new
        """Whether no turn has ended in it, so that its agent knows nothing of the chat."""
        self._compiled = agent.memory_version if compiled else -1

    def is_compiled_for(self, agent: KnownAgent) -> bool:
        """Whether its system prompt shows the agent's present prompt and memory."""
        return self._compiled == agent.memory_version

    def compiled_for(self, agent: KnownAgent) -> None:
        self._compiled = agent.memory_version


class Conversations:
    """Finds and makes conversations; remembers those with a marker until `forget`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._known: Cache[str, KnownConversation] = Cache(CACHED_CONVERSATIONS)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def lock(self, marker: str | None) -> asyncio.Lock:
        """To be held for a turn: of one chat one turn goes at a time. Without a marker nobody else has the chat."""
        return self._locks.setdefault(marker, asyncio.Lock()) if marker else asyncio.Lock()

    async def get(self, agent: KnownAgent, marker: str | None) -> KnownConversation:
        """The conversation of the chat, ready for a turn; a fresh one without a marker. Raises UpstreamError.

        With the lock of the marker held.
        """
        if marker is None:
            scratch = await self._upstream.create_conversation(agent.id, summary_with(SCRATCH_MARKER))
            return KnownConversation(scratch.id, agent)
        known = self._known.get(marker) or await self._find(agent, marker) or await self._create(agent, marker)
        # Letta compiles a conversation's system prompt once; a changed one, or a changed memory, is not in it.
        if not known.is_compiled_for(agent):
            await self._upstream.recompile(known.id)
            known.compiled_for(agent)
        self._known.put(marker, known)
        return known

    def forget(self, marker: str | None) -> None:
        """Look the conversation up again: Letta does not know it any more."""
        if marker:
            self._known.drop(marker)

    async def _find(self, agent: KnownAgent, marker: str) -> KnownConversation | None:
        found = await self._upstream.find_conversations(agent.id, marker)
        exact = [conversation for conversation in found if has_marker(conversation.summary, marker)]
        if not exact:
            return None
        oldest = min(exact, key=age)
        new = not await self._upstream.has_turns(oldest.id)
        return KnownConversation(oldest.id, agent, new=new, compiled=False)

    async def _create(self, agent: KnownAgent, marker: str) -> KnownConversation:
        conversation = await self._upstream.create_conversation(agent.id, summary_with(marker))
        return KnownConversation(conversation.id, agent)
