"""The conversations of a chat, as far as this process knows them."""

from collections.abc import Collection, Iterable

from gateway.domain.errors import NotFoundHere
from gateway.domain.messages import Message, PendingCall
from gateway.letta.upstream import Conversation, Past, Sending
from gateway.turns.chats.likeness import Matched
from gateway.turns.chats.markers import EVERY_TURN, PathDigest, Summary, parse_summary
from gateway.turns.chats.reconcile import is_same

# The most conversations of one chat that are looked at: the present one, and the branches used last.
KNOWN_BRANCHES = 10


class KnownConversation:
    """A conversation and its content, as far as this process knows them."""

    def __init__(self, id: str, summary: Summary, past: Past, compiled: int | None) -> None:
        self.id = id
        self.summary = summary
        self.past = past
        self.compiled = compiled
        """A version of its agent's memory: its system prompt shows it, or a later one; None if not known."""
        self.matched = Matched()
        self.unkept: list[Message] = []
        """The messages of a turn that it lacks, in a chat without an id; for any other `Chat.unkept` has them."""
        self._characters = sum(message.weight for message in past.messages)
        self._digest, self._digested = PathDigest(), 0
        """The digest of its messages but the last, which may be an answer that goes on; and the number of them."""

    @property
    def weight(self) -> int:
        return self._characters + len(self.past.instructions_sent) + self.matched.weight

    @property
    def said(self) -> PathDigest:
        """The digest of all that was said in it."""
        before, self._digested = self._digested, max(self._digested, len(self.past.messages) - 1)
        self._digest.add_messages(self.past.messages[before : self._digested])
        digest = self._digest.copy()
        digest.add_messages(self.past.messages[self._digested :])
        return digest

    def add(self, sending: Sending, answer: str, pending: tuple[PendingCall, ...]) -> None:
        """Note that a turn has ended well, or waits for answers to its calls: its messages and answer are kept."""
        said = [*self.past.messages, *light_ones(sending.messages)]
        before = said.pop() if answer and said and said[-1].role == "assistant" else None
        if answer:
            said.append(Message("assistant", f"{before.content}\n\n{answer}" if before else answer))
        self._characters += sum(message.weight for message in said[max(0, len(self.past.messages) - 1) :])
        self._characters -= sum(message.weight for message in self.past.messages[-1:])
        instructions = sending.instructions
        told = instructions.text if sending.messages else self.past.instructions_sent
        self.past = Past(said, "" if instructions.prompt else told, pending)


class Chat:
    """The conversations of one chat, the one used last first."""

    def __init__(self) -> None:
        self.known: list[KnownConversation] = []
        self.stale = False
        """True: Letta knows more of them than is known here, so they must be loaded before the next turn."""
        self.unkept: list[Message] | None = None
        """The messages of turns that Letta did not keep, if the client does not send them again; None if not known."""
        self.later: list[Message] = []
        """The messages that came after those, and were never sent to Letta."""
        self.elsewhere: set[str] = set()
        """The ids of conversations in which another gateway's turns are under way, as far as it was found out."""

    @property
    def missing(self) -> list[Message]:
        """The messages that were said in the chat, and that the agent has not heard."""
        unkept, later = self.unkept or [], self.later
        return [*unkept, *(later[1:] if is_same(unkept[-1:], later[:1]) else later)]

    @property
    def weight(self) -> int:
        beside = sum(message.weight for message in (*(self.unkept or []), *self.later))
        return 100 + sum(known.weight for known in self.known) + beside

    def use(self, conversation: KnownConversation) -> None:
        others = [known for known in self.known if known is not conversation]
        self.known = [conversation, *others[: KNOWN_BRANCHES - 1]]

    def drop(self, conversation: KnownConversation) -> None:
        """Forget a conversation: its content has to be read again from Letta."""
        self.known = [known for known in self.known if known is not conversation]
        self.stale = True


def of_chat(
    markers: Collection[str], listed: Iterable[Conversation], missing: NotFoundHere | None = None
) -> list[tuple[Conversation, Summary]]:
    """The conversations of the chat with one of these markers: its present one, then the branches used last.

    Raises `missing` for a chat that was deleted.
    """
    found = {one.id: one for one in listed}.values()
    named = [(one, summary) for one in found if (summary := parse_summary(one.summary))]
    ours = [(one, summary) for one, summary in named if summary.marker in markers]
    if missing and any(summary.gone == EVERY_TURN for _, summary in ours):
        raise missing
    # A conversation that is hidden and not replaced was never finished: it may hold less than it seems to.
    ours = [pair for pair in ours if not pair[0].hidden or pair[1].replaced] or ours
    return sorted(ours, key=lambda pair: (not pair[1].replaced, pair[0].used_at, pair[0].id), reverse=True)


def light_ones(messages: Iterable[Message]) -> list[Message]:
    """The messages without what is heavy about them."""
    return [message.light for message in messages]


def line_of(conversation_id: str) -> str:
    """The name of the line for a conversation of a chat without an id."""
    return f"conversation:{conversation_id}"
