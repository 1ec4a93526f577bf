"""Chats that the gateway has given an id: what is said about them, added to them, and kept of them."""

import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from gateway.domain.errors import Busy, InvalidRequest, NotFoundHere, UserRequired
from gateway.domain.messages import Message
from gateway.domain.places import ConversationPlace, short_digest
from gateway.letta.notes import GO_AHEAD
from gateway.letta.upstream import Conversation, Exchange, Upstream, age
from gateway.settings import AgentType, Chats
from gateway.shared.lines import Lines, OwnLines
from gateway.turns.about import About, Added, AddedItem, TooMuchAdded, from_about, to_about
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.known import of_chat
from gateway.turns.chats.markers import (
    EVERY_TURN,
    GATEWAY_TAG,
    USER_TAG,
    Summary,
    parse_summary,
    turn_told,
    user_digest,
)
from gateway.turns.chats.unkept import from_note, is_kept, missing_in, to_note
from gateway.turns.exchanged import KeptTurn, turns_in
from gateway.turns.people.agents import Agents
from gateway.turns.people.identity import User
from gateway.turns.places import marker_given
from gateway.turns.turn import Turn

Say = Callable[[Sequence[AddedItem]], list[Message]]
"""Reads items as the messages that an agent is told. Raises InvalidRequest."""
Change = Callable[["Given | None", About], Awaitable[tuple[About, str | None]]]
"""Makes another content of that of a chat, and the note of what its agent lacks; None where that stays."""
_WHOSE = "Nobody can tell whose conversation this is to be: send `user`."


class Whose(Struct, frozen=True):
    """A chat, as it is asked for: `Whose(place, "school", (tutor,), user)`."""

    place: ConversationPlace
    scope: str
    """The scope of the key that asks."""
    types: tuple[AgentType, ...]
    """The agent types of the key, or the one of the chat."""
    user: User | None = None
    """The user that the request names; None if it names none, and need not."""

    @property
    def owner(self) -> str:
        """The digest of whose it is; empty where nobody can tell."""
        return self.place.owner or (user_digest(self.user.scope, self.user.id) if self.user else "")

    @property
    def begins(self) -> str:
        """The beginning of all markers of the chat."""
        return marker_given(self.place, self.scope)

    def has(self, turn: Turn) -> bool:
        """True of a turn of the chat, as far as it is for whoever asks."""
        user = turn.caller.user
        is_of_type = any(turn.agent_type.id == agent_type.id for agent_type in self.types)
        is_theirs = self.owner in ("", user_digest(user.scope, user.id))
        return is_of_type and is_theirs and turn.given.startswith(self.begins)

    def marker(self, agent_type: AgentType) -> str:
        """The marker of the chat in an agent of a type."""
        return marker_given(self.place, self.scope, agent_type.id, self.owner)


class Given(Struct, frozen=True):
    """A conversation of such a chat: its present one, or another."""

    conversation: Conversation
    summary: Summary
    agent_type: AgentType

    @property
    def owner(self) -> str:
        return self.summary.whose.partition(".")[2]

    @property
    def about(self) -> About:
        return from_about(self.summary.about)

    @property
    def begun(self) -> list[str]:
        """The id of the turn of which nothing is known but that it was to begin; nothing if there is none."""
        noted = from_note(self.summary.note)
        return _last_turn(noted.messages) if noted.begun else []


class Written(Struct, frozen=True):
    """The place of a chat that was changed."""

    agent_type: AgentType
    marker: str
    owner: str


class GivenContent(Struct, frozen=True):
    """The content of such a chat, the oldest first."""

    given: Given
    content: list[KeptTurn | Added]


class GivenChats:
    """The chats that the gateway has given an id, as far as Letta keeps them. All calls raise UpstreamError."""

    def __init__(
        self,
        upstream: Upstream,
        agents: Agents,
        conversations: Conversations,
        chats: Chats,
        lines: Lines | None = None,
    ) -> None:
        self._upstream, self._agents, self._conversations, self._chats = upstream, agents, conversations, chats
        self._lines = lines or OwnLines()

    async def find(self, whose: Whose) -> list[Given]:
        """The conversations of a chat, the present one first; none while it was not used.

        Raises NotFoundHere for one that was deleted.
        """
        every = await self._every(whose)
        gone = {one.owner for one in every if one.summary.gone == EVERY_TURN}
        left = [one for one in every if one.owner not in gone]
        if gone and not left:
            raise NotFoundHere("conversation", "conversation_id")
        by_id = {one.conversation.id: one for one in left}
        markers = {one.summary.marker for one in left}
        return [by_id[conversation.id] for conversation, _ in of_chat(markers, [one.conversation for one in left])]

    async def _every(self, whose: Whose) -> list[Given]:
        """All conversations of a chat that are for whoever asks, in no order; also those that tell of its end."""
        types = {short_digest(agent_type.id): agent_type for agent_type in whose.types}
        found = []
        for one in await self._upstream.find_conversations(None, whose.begins):
            summary = parse_summary(one.summary)
            if summary is None or not summary.marker.startswith(whose.begins):
                continue
            type_digest, _, owner = summary.whose.partition(".")
            if type_digest in types and whose.owner in ("", owner):
                found.append(Given(one, summary, types[type_digest]))
        return found

    async def read(self, whose: Whose, say: Say) -> GivenContent | None:
        """The content of the present conversation of a chat; None while there is none. Raises NotFoundHere."""
        found = await self.find(whose)
        if not found:
            return None
        present = found[0]
        exchanges = await self._upstream.read_exchanges(present.conversation.agent_id, present.conversation)
        added = present.about.added
        kept = turns_in(own_exchanges(exchanges, _asked_in(added, say)))
        return GivenContent(present, in_order(added, left_of(kept, present.summary.gone)))

    async def turns_of(self, given: Given) -> list[KeptTurn]:
        """All turns that a conversation holds."""
        return turns_in(await self._upstream.read_exchanges(given.conversation.agent_id, given.conversation))

    async def describe(self, whose: Whose, agent_type: AgentType | None, metadata: dict[str, str]) -> None:
        """Say something else about a chat, which is made if it was not used: with `agent_type`, or the first.

        Raises NotFoundHere, UserRequired, InvalidRequest, QueueFull.
        """

        async def described(given: Given | None, about: About) -> tuple[About, str | None]:
            return msgspec.structs.replace(about, metadata=metadata), None

        await self._change(whose, agent_type, described)

    async def add(
        self,
        whose: Whose,
        agent_type: AgentType | None,
        items: list[AddedItem],
        say: Say,
        metadata: dict[str, str] | None = None,
    ) -> tuple[Written, Added]:
        """Add items to a chat, of which its agent is told with the next turn: where, and as what they were added.

        Raises what `describe` does.
        """
        new = Added(secrets.token_hex(8), int(time.time()), (), [*items])

        async def added(given: Given | None, about: About) -> tuple[About, str | None]:
            before, untold, new.after = await self._untold(given, about, say)
            since = about.since if untold else len(about.added)
            told = [*before, *say([*untold, *items])]
            described = about.metadata if metadata is None else metadata
            return About(described, [*about.added, new], since), _note_of(told)

        return await self._change(whose, agent_type, added, adds=True), new

    async def remove(self, whose: Whose, turn: str, index: int, say: Say) -> None:
        """Take out an item that was added, if its agent was not told of it yet.

        Raises NotFoundHere, InvalidRequest, QueueFull.
        """

        async def removed(given: Given | None, about: About) -> tuple[About, str | None]:
            at = next((i for i, one in enumerate(about.added) if one.turn == turn), None)
            if at is None:
                raise InvalidRequest("This item is part of a response: delete that, with all behind it.", "item_id")
            before, untold, _ = await self._untold(given, about, say)
            if not untold or at < about.since:
                raise InvalidRequest("The agent was told of this item: it cannot forget it.", "item_id")
            one = about.added[at]
            about.added[at] = msgspec.structs.replace(
                one, items=[None if i == index else item for i, item in enumerate(one.items)]
            )
            left = [item for batch in about.added[about.since :] for item in batch.left]
            return about, _note_of([*before, *say(left)])

        found = await self.find(whose)
        if not found:
            raise NotFoundHere("item", "item_id")
        await self._change(whose, found[0].agent_type, removed)

    async def delete(self, whose: Whose) -> None:
        """Delete a chat with all of its conversations: nobody finds it again. Raises QueueFull."""
        for agent_id, marker, of_whom in sorted(await self._ends(whose)):
            async with self._lines.place(marker, None, self._chats.queue_seconds) as place:
                place.check()
                told = str(Summary(marker, gone=EVERY_TURN, whose=of_whom))
                left = await self._upstream.create_conversation(agent_id, told, [])
                await self._upstream.rename_conversation(left.id, told, hidden=True)
                for one in await self._every(whose):
                    if one.summary.marker == marker and one.summary.gone != EVERY_TURN:
                        if await self._upstream.is_running(one.conversation.id):
                            # Letta goes on with it after the end of the gateway that has begun it.
                            await self._upstream.cancel(agent_id, one.conversation.id)
                        await self._upstream.delete_conversation(agent_id, one.conversation.id)
                self._conversations.forget(marker)

    async def _ends(self, whose: Whose) -> set[tuple[str, str, str]]:
        """The places that are to tell of the end of a chat: agent, marker, and whose it is there.

        They are where it was used, and where else it might be: in the owner's other agents.
        """
        every = await self._every(whose)
        ended = {one.summary.whose for one in every if one.summary.gone == EVERY_TURN}
        ends = {(one.conversation.agent_id, one.summary.marker, one.summary.whose) for one in every}
        for owner in sorted({one.owner for one in every} | ({whose.owner} if whose.owner else set())):
            for agent_type in whose.types:
                of_whom = f"{short_digest(agent_type.id)}.{owner}"
                if all(of_whom != known[2] for known in ends) and (agent_id := await self._made(agent_type, owner)):
                    marker = marker_given(whose.place, whose.scope, agent_type.id, owner)
                    ends.add((agent_id, marker, of_whom))
        if not ends and whose.user:
            agent_type = whose.types[0]
            agent_id = await self._agent_for(whose, agent_type)
            ends.add((agent_id, whose.marker(agent_type), f"{short_digest(agent_type.id)}.{whose.owner}"))
        return {end for end in ends if end[2] not in ended}

    async def _made(self, agent_type: AgentType, owner: str) -> str:
        """The id of the agent of a type that an owner has; empty if there is none."""
        if agent_type.agent:
            return agent_type.agent
        agents = await self._upstream.find_agents((GATEWAY_TAG, agent_type.id, f"{USER_TAG}{owner}"))
        return min(agents, key=age).id if agents else ""

    async def _change(self, whose: Whose, agent_type: AgentType | None, change: Change, adds: bool = False) -> Written:
        """Write what a change makes of a chat."""
        found = await self.find(whose)
        chosen = agent_type or (found[0].agent_type if found else whose.types[0])
        if adds and chosen.conversations == "single":
            raise InvalidRequest("Each agent of this model has one conversation: nothing is added to it.", "items")
        same = [one for one in found if one.agent_type.id == chosen.id]
        marker = same[0].summary.marker if same else self._new_marker(whose, chosen)
        async with self._lines.place(marker, None, self._chats.queue_seconds) as place:
            found = [one for one in await self.find(whose) if one.summary.marker == marker]
            given = found[0] if found else None
            about = next((one.about for one in found if one.summary.about), About())
            about, note = await change(given, about)
            told = to_about(about)
            place.check()
            try:
                await self._write(whose, chosen, given, told, note)
            finally:
                # What a turn of this gateway remembers of the chat is out of date.
                self._conversations.look_again(marker)
        return Written(chosen, marker, given.owner if given else whose.owner)

    def _new_marker(self, whose: Whose, agent_type: AgentType) -> str:
        """The marker of a chat that is to be. Raises UserRequired where nobody can tell whose."""
        if not whose.owner:
            raise UserRequired(_WHOSE, "user")
        return whose.marker(agent_type)

    async def _write(
        self, whose: Whose, agent_type: AgentType, given: Given | None, about: str, note: str | None
    ) -> None:
        if given:
            before = given.summary
            summary = msgspec.structs.replace(
                before, about=about, note=before.note if note is None else note, replaced=False
            )
            await self._upstream.rename_conversation(given.conversation.id, str(summary), hidden=False)
            return
        agent_id = await self._agent_for(whose, agent_type)
        of_whom = f"{short_digest(agent_type.id)}.{whose.owner}"
        summary = Summary(whose.marker(agent_type), note=note or "", whose=of_whom, about=about)
        await self._upstream.create_conversation(agent_id, str(summary), [])

    async def _untold(
        self, given: Given | None, about: About, say: Say
    ) -> tuple[list[Message], list[AddedItem], tuple[str, ...]]:
        """All that the agent of a chat lacks beside items; the items that it lacks; and its last turns (`Added.after`).

        Raises Busy while a run is under way there.
        """
        if given is None:
            return [], [], ()
        conversation, noted = given.conversation, from_note(given.summary.note)
        past = await self._upstream.read_conversation(conversation.agent_id, conversation)
        if noted.begun and not is_kept(noted.messages, past) and await self._upstream.is_running(conversation.id):
            raise Busy("a run of the conversation is under way")
        missing = missing_in(past, noted.messages)
        items = [item for batch in about.added[about.since :] for item in batch.left]
        told = say(items)
        end = [(message.role, message.content) for message in missing[len(missing) - len(told) :]]
        are_untold = bool(told) and end == [(message.role, message.content) for message in told]
        last = (*_last_turn(missing), *(_last_turn(past.messages) or [""]))
        return missing[: len(missing) - len(told)] if are_untold else missing, items if are_untold else [], last

    async def _agent_for(self, whose: Whose, agent_type: AgentType) -> str:
        """The id of the agent of a chat. Raises UserRequired where nobody can tell who is to have one."""
        if whose.user and not agent_type.agent:
            agent = await self._agents.get(agent_type, whose.user)
            await agent.settled()
            return agent.id
        if made := await self._made(agent_type, whose.owner):
            return made
        raise UserRequired(_WHOSE, "user")


def own_exchanges(exchanges: Iterable[Exchange], added: Iterable[str]) -> list[Exchange]:
    """The exchanges without those that only tell an agent what was `added` to its chat: the texts of the users'."""
    left, own, kept = Counter(added), True, []
    for one in exchanges:
        if one.asked:
            text = one.asked.content
            own = bool(turn_told(one.asked.client_id)[1]) or not (left[text] or text == GO_AHEAD)
            left[text] -= not own and left[text] > 0
        if own:
            kept.append(one)
    return kept


def left_of(kept: Sequence[KeptTurn], gone: str) -> list[KeptTurn]:
    """The turns before the one that was deleted with all behind it; all of them where none was (`is_gone`)."""
    cut = next((at for at, turn in enumerate(kept) if gone and turn.turn == gone), len(kept))
    return [*kept[:cut]]


def in_order(added: Sequence[Added], turns: Sequence[KeptTurn]) -> list[KeptTurn | Added]:
    """All that there is of a chat, in order: items that were added stand behind the turn after which they were.

    Those stand last whose turn is no longer there.
    """
    last = {turn.turn: at for at, turn in enumerate(turns)} | {"": -1}
    behind: dict[int, list[Added]] = {}
    for one in added:
        otherwise = len(turns) - 1 if one.after else -1
        behind.setdefault(next((last[id] for id in one.after if id in last), otherwise), []).append(one)
    content: list[KeptTurn | Added] = [*behind.get(-1, [])]
    for at, turn in enumerate(turns):
        content += [turn, *behind.get(at, [])]
    return content


def _last_turn(messages: Sequence[Message]) -> list[str]:
    """The id of the turn that the last of the messages with one begins; nothing if none has one."""
    told = (turn_told(message.client_id) for message in reversed(messages))
    return next(([id] for id, second in told if second), [])


def _asked_in(added: Iterable[Added], say: Say) -> list[str]:
    return [message.content for one in added for message in say(one.left) if message.role == "user"]


def _note_of(messages: list[Message]) -> str:
    """Raises InvalidRequest where they are too many to be noted."""
    note = to_note(messages)
    if messages and not note:
        raise TooMuchAdded
    return note
