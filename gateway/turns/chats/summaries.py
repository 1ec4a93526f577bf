"""The summaries of conversations, as turns change them: where a chat goes on, and what its conversation lacks."""

import logging

import msgspec

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.letta.upstream import Upstream
from gateway.turns.chats.known import Chat, KnownConversation
from gateway.turns.chats.markers import Summary
from gateway.turns.chats.unkept import to_note
from gateway.turns.turn import Turn

logger = logging.getLogger(__name__)


class Summaries:
    """Writes summaries into Letta, each only if it has changed."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def rename(self, known: KnownConversation, summary: Summary) -> None:
        """Give a conversation another summary. Raises UpstreamError."""
        if known.summary != summary:
            await self._upstream.rename_conversation(known.id, str(summary), hidden=summary.replaced)
            known.summary = summary

    async def note(self, present: KnownConversation, unkept: list[Message]) -> None:
        """Write which messages a conversation lacks. Raises UpstreamError."""
        await self.rename(present, msgspec.structs.replace(present.summary, note=to_note(unkept)))

    async def mark(self, chat: Chat, present: KnownConversation) -> None:
        """Write in which conversation a chat goes on, and which messages it lacks. Raises UpstreamError."""
        said = [one.summary.about for one in (present, *chat.known) if one.summary.about]
        wanted = msgspec.structs.replace(
            present.summary, replaced=False, note=to_note(chat.unkept or []), about=next(iter(said), "")
        )
        await self.rename(present, wanted)
        for other in chat.known[1:]:
            await self.rename(other, msgspec.structs.replace(other.summary, replaced=True, note="", about=""))

    async def note_begun(self, turn: Turn, conversation: KnownConversation, sent: list[Message]) -> None:
        """Note the messages of a turn that begins, if its client does not send them again.

        So they are not lost should this gateway not see the turn's end. A Letta that forks keeps them by itself, in
        the conversation. Raises nothing.
        """
        if turn.keeps_history or self._upstream.capabilities.forks:
            return
        try:
            await self.rename(conversation, msgspec.structs.replace(conversation.summary, note=to_note(sent, True)))
        except errors.UpstreamError as error:
            logger.warning("what a turn begins with could not be noted: %s: %s", type(error).__name__, error)
