"""The turns that Letta keeps: found again by their places, and deleted."""

import time
from collections.abc import AsyncIterator, Callable

import msgspec

from gateway.domain.places import ResponsePlace
from gateway.letta.upstream import Conversation, Upstream, age
from gateway.settings import AgentType, Chats
from gateway.shared.lines import Lines, OwnLines
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.exact import After, begins, that_may_hold, without
from gateway.turns.chats.known import line_of
from gateway.turns.chats.markers import EVERY_TURN, GATEWAY_TAG, USER_TAG, Summary, gone_at, read_gone
from gateway.turns.chats.unkept import from_note, to_note
from gateway.turns.exchanged import KeptTurn, is_gone, place_among, turns_in
from gateway.turns.places import marker_at


class DeletedTurn(Exception):
    """A turn was deleted, or comes after one that was."""


class KeptTurns:
    """The turns of all chats, as far as Letta keeps them."""

    def __init__(
        self,
        upstream: Upstream,
        conversations: Conversations,
        chats: Chats,
        lines: Lines | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives the seconds since 1970 (UTC)."""
        self._upstream, self._conversations, self._chats = upstream, conversations, chats
        self._lines = lines or OwnLines()
        self._clock = clock

    async def find(
        self, place: ResponsePlace, agent_type: AgentType, ends: bool = False
    ) -> tuple[KeptTurn, bool] | None:
        """The turn at a place, or its part; and True if its run is under way. None if Letta has nothing of it.

        `ends`: a run under way is ended first; Letta goes on with it after the end of the gateway that has begun it.
        Raises DeletedTurn, UpstreamError.
        """
        maybe: Conversation | None = None
        async for conversation, summary in self._that_may_hold(place, agent_type):
            # Looked at before: what has ended since is all there.
            runs = await self._upstream.is_running(conversation.id)
            kept = await self._read(conversation)
            at = place_among(place.turn, place.results, kept)
            is_told = read_gone(summary.gone)[0] in (place.turn, EVERY_TURN)
            if is_told or (at is not None and is_gone(summary.gone, at, kept)):
                raise DeletedTurn
            if at is not None:
                runs = runs and at == len(kept) - 1 and not kept[at].is_over
                return kept[at], runs and not (ends and await self._end(conversation))
            if runs and self._upstream.capabilities.keeps_runs and _is_next(place, kept):
                # The run may be that of another turn, as long as this one may be listed elsewhere.
                maybe = maybe or conversation
        return (KeptTurn(place.turn, place.results), not (ends and await self._end(maybe))) if maybe else None

    async def _end(self, conversation: Conversation) -> bool:
        """End the run of a conversation; gives True."""
        await self._upstream.cancel(conversation.agent_id, conversation.id)
        return True

    async def delete(self, place: ResponsePlace, agent_type: AgentType) -> list[KeptTurn]:
        """Delete a turn: nobody finds it again, or what came after it. Gives all turns of which that is true now.

        Its text goes where a conversation has nothing else, and stays elsewhere. Raises UpstreamError; QueueFull where
        a turn of its chat goes on for too long.
        """
        gone: list[KeptTurn] = []
        async for conversation, summary in self._that_may_hold(place, agent_type):
            kept = await self._read(conversation)
            at = place_among(place.turn, place.results, kept)
            noted = from_note(summary.note).messages
            if at is None and not any(begins(place.turn, message) for message in noted) and kept:
                continue
            if at is not None and is_gone(summary.gone, at, kept):
                continue
            line = summary.marker if place.kind == "chat" else line_of(conversation.id)
            async with self._lines.place(line, None, self._chats.queue_seconds) as its_place:
                self._conversations.forget(summary.marker)
                its_place.check()
                if kept and all(one.turn == place.turn for one in kept):
                    await self._replace(conversation, summary, place.turn)
                else:
                    # What was never kept of it, and was to be told with the next message, is not told either.
                    note = to_note(without(place.turn, noted))
                    words = gone_at(place.turn, int(self._clock()))
                    told = str(msgspec.structs.replace(summary, gone=words, note=note))
                    await self._upstream.rename_conversation(conversation.id, told, hidden=summary.replaced)
                gone += kept[at:] if at is not None else []
        return gone

    async def _replace(self, conversation: Conversation, summary: Summary, turn: str) -> None:
        """Delete a conversation; an empty one says for a while what became of it."""
        await self._upstream.delete_conversation(conversation.agent_id, conversation.id)
        words = gone_at(turn, int(self._clock()))
        told = str(msgspec.structs.replace(summary, gone=words, note="", replaced=True))
        left = await self._upstream.create_conversation(conversation.agent_id, told, [])
        await self._upstream.rename_conversation(left.id, told, hidden=True)

    async def _that_may_hold(
        self, place: ResponsePlace, agent_type: AgentType
    ) -> AsyncIterator[tuple[Conversation, Summary]]:
        """The conversations that may hold a turn, the likeliest first. Raises UpstreamError."""
        agent = agent_type.agent or await self._agent_of(place, agent_type)
        if not agent:
            return
        marker = marker_at(place)
        listed = await self._upstream.find_conversations(agent, marker)
        for one in that_may_hold(After(place.turn, place.made_at), marker, listed):
            yield one

    async def _read(self, conversation: Conversation) -> list[KeptTurn]:
        return turns_in(await self._upstream.read_exchanges(conversation.agent_id, conversation))

    async def _agent_of(self, place: ResponsePlace, agent_type: AgentType) -> str:
        """The id of the agent of a place; empty if there is none."""
        agents = await self._upstream.find_agents((GATEWAY_TAG, agent_type.id, f"{USER_TAG}{place.owner}"))
        return min(agents, key=age).id if agents else ""


def _is_next(place: ResponsePlace, kept: list[KeptTurn]) -> bool:
    """True if a run that is under way may be that of a turn which is not listed yet: none was asked for later."""
    return max((one.asked_at for one in kept), default=0) <= place.made_at
