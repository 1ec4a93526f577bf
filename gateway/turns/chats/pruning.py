"""Deletes the gateway's conversations that are no longer used; slowly, so that people's requests to Letta go first."""

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from gateway.domain import errors
from gateway.letta.upstream import Conversation, Upstream
from gateway.settings import Chats
from gateway.shared.lines import Lines, OwnLines
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.known import line_of
from gateway.turns.chats.markers import REPLACED, SCRATCH, TEMPORARY, parse_summary

logger = logging.getLogger(__name__)
# The pause between two deletions.
PAUSE_SECONDS = 0.5
# Nobody waits to prune: so many may, for so long.
NO_WAIT = 0, 0.0
# The longest and the shortest pause between two searches.
LONGEST_SECONDS = 900.0
SHORTEST_SECONDS = 1.0
# The kinds of conversations that are deleted → the part of a summary by which Letta's search finds each.
SEARCHES = {"scratch": SCRATCH, "replaced": f"{REPLACED} ", "temporary": f"{TEMPORARY} "}


async def find_left_behind(upstream: Upstream, kind: str) -> list[Conversation]:
    """The conversations of a kind of SEARCHES, of all agents. Raises UpstreamError."""
    found = await upstream.find_conversations(None, SEARCHES[kind])
    return [conversation for conversation in found if kind_of(conversation) == kind]


def kind_of(conversation: Conversation) -> str | None:
    """The kind that a conversation is deleted as; None for one that stays."""
    summary = parse_summary(conversation.summary)
    if summary is None:
        return None
    if summary.temporary:
        return "temporary"
    if summary.replaced:
        return "replaced"
    return "scratch" if summary.marker.startswith(SCRATCH) else None


def lifetime(kind: str, chats: Chats) -> timedelta:
    """The time for which a conversation of this kind is kept after its last turn."""
    return timedelta(seconds=chats.temporary_ttl) if kind == "temporary" else timedelta(days=chats.scratch_days)


class Pruner:
    """Deletes old conversations, but none in which a turn of this gateway is under way."""

    def __init__(
        self, upstream: Upstream, chats: Chats, conversations: Conversations, lines: Lines | None = None
    ) -> None:
        self._upstream = upstream
        self._chats = chats
        self._conversations = conversations
        self._lines = lines or OwnLines()

    async def run(self) -> None:
        """Prune again and again, until cancelled."""
        pause = min(max(self._chats.temporary_ttl / 4, SHORTEST_SECONDS), LONGEST_SECONDS)
        while True:
            await asyncio.sleep(pause)
            try:
                async with self._lines.place("pruning", *NO_WAIT):
                    await self.prune(datetime.now(UTC))
            except errors.QueueFull:
                continue  # another gateway is at it
            except errors.UpstreamError as error:
                logger.warning("old conversations could not be deleted: %s: %s", type(error).__name__, error)

    async def prune(self, now: datetime) -> None:
        """Delete every conversation of the kinds of SEARCHES that is older than its lifetime. Raises UpstreamError."""
        for kind in SEARCHES:
            oldest = now - lifetime(kind, self._chats)
            for conversation in await find_left_behind(self._upstream, kind):
                if conversation.used_at < oldest and not self._conversations.is_in_use(conversation.id):
                    with suppress(errors.QueueFull):
                        await self._delete(conversation)

    async def _delete(self, conversation: Conversation) -> None:
        """Delete a conversation. Raises QueueFull if a turn of its chat is under way, UpstreamError."""
        summary = parse_summary(conversation.summary)
        assert summary
        scratch = summary.marker.startswith(SCRATCH)
        async with self._lines.place(line_of(conversation.id) if scratch else summary.marker, *NO_WAIT) as place:
            self._conversations.forget(summary.marker)
            place.check()
            try:
                await self._upstream.delete_conversation(conversation.agent_id, conversation.id)
            except errors.NotFound:
                return  # another gateway was first
        await asyncio.sleep(PAUSE_SECONDS)
