"""The conversations of chats: finds the one in which a request goes on, or makes one for it."""

import asyncio
import logging
from contextlib import AsyncExitStack

import msgspec

from gateway.domain import errors
from gateway.domain.cache import Cache
from gateway.domain.messages import Message, PendingCall
from gateway.letta.upstream import Conversation, Fork, Instructions, Past, Sending, Upstream
from gateway.shared.lines import Lines, OwnLines, Place
from gateway.turns.chats.exact import After, begins, decide_after, that_may_hold, waits_for
from gateway.turns.chats.known import KNOWN_BRANCHES, Chat, KnownConversation, light_ones, line_of, of_chat
from gateway.turns.chats.markers import Summary, turn_told
from gateway.turns.chats.reconcile import Append, Branch, Decision, Start, decide, is_same
from gateway.turns.chats.summaries import Summaries
from gateway.turns.chats.to_send import identified, with_exchanges
from gateway.turns.chats.unkept import from_note, is_kept, missing_in
from gateway.turns.people.agents import KnownAgent
from gateway.turns.runs.pending_calls import answers
from gateway.turns.turn import Turn

logger = logging.getLogger(__name__)
# The most characters of messages that are remembered, of all chats together.
CACHED_CHARACTERS = 50_000_000
# The most chats of which the marker is remembered that an earlier version gave them.
FORMER_MARKERS = 10_000
# For so long one waits for another gateway's turn in a chat without an id to be settled, should it have its answer.
SETTLING_SECONDS = 0.5


class Conversations:
    """Finds and makes conversations, and remembers their content."""

    def __init__(self, upstream: Upstream, lines: Lines | None = None) -> None:
        self._upstream = upstream
        self._summaries = Summaries(upstream)
        self._lines = lines or OwnLines()
        self._chats: Cache[str, Chat] = Cache(CACHED_CHARACTERS)
        self._former: Cache[str, str] = Cache(FORMER_MARKERS)
        """The marker that an earlier version gave a chat → the marker by which the chat is known here."""
        self._in_use: set[str] = set()
        self._places: dict[str, tuple[AsyncExitStack, Place]] = {}
        """The places of those in use whose chats have no id: nobody stands in line for these."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._ending: dict[str, asyncio.Event] = {}
        """Conversation id → event, of those in use whose turn has its answer; set when it is settled, in a moment."""

    async def find(self, agent: KnownAgent, turn: Turn, patient: bool = True) -> tuple[KnownConversation, Sending]:
        """The conversation in which the turn goes on, and the input that is sent there.

        Raises UpstreamError, and Abandoned only if `patient`. The conversation is in use until `settle` or `release`.
        The caller holds the queue of the chat, unless the chat has no id.
        """
        # Taken before Letta is asked: a change of the memory meanwhile may not be in the prompt.
        version = agent.memory_version
        if turn.scratch and turn.asked.path[0].role == "assistant":
            await self._ended(self._chats.get(turn.unasked_marker))
        chat = self._chat(turn)
        await self._ended(chat)
        conversation, news = await self._take_place(agent, chat, turn, version, patient)
        chat.use(conversation)
        # All that is missing is sent now. A turn that is given up from here on came after this one.
        chat.unkept, chat.later = chat.missing, []
        self._in_use.add(conversation.id)
        self._chats.put(turn.marker, chat, chat.weight)
        past = conversation.past
        try:
            prompt = await self._compile(agent, conversation, version, bool(turn.asked.instructions))
            sent = identified(conversation.said, news, turn.ids, (turn.id, turn.made_at))
            await self._summaries.note_begun(turn, conversation, sent)
        except BaseException:
            self._free(conversation.id)
            raise
        instructions = Instructions(
            turn.asked.instructions, past.instructions_sent, prompt if turn.asked.instructions else ""
        )
        told = answers(turn, past.pending, sent)
        return conversation, Sending(
            sent, instructions, told.denied, told.results, told.approved, told.reason, turn.tools.tools, turn.options
        )

    async def question_of(self, agent: KnownAgent, turn: Turn) -> tuple[str, int]:
        """The turn whose calls wait for the answers that this one brings, as `turn_told`; empty if none waits.

        Raises UpstreamError.
        """
        await self._ended(self._chat(turn))
        for looks_again in (True, False):
            decision, known = self._decide(self._chat(turn), turn)
            if isinstance(decision, Append) and waits_for(turn.asked, past := known[decision.at].past):
                asked = next((message for message in reversed(past.messages) if message.role == "user"), None)
                return turn_told(asked.client_id if asked else "")
            if looks_again:
                await self._load(agent, self._chat(turn), turn, patient=False)
        return "", 0

    async def _ended(self, chat: Chat | None) -> None:
        """Wait until the turns of a chat that have their answers are settled.

        Chats without an id are not queued, and a program sends its next request as soon as it has an answer.
        """
        known = chat.known if chat else []
        await asyncio.gather(*(self._ending[one.id].wait() for one in known if one.id in self._ending))

    def _chat(self, turn: Turn) -> Chat:
        """The chat of a turn, the same for all turns of it that are under way at the same time."""
        chat = self._chats.get(turn.marker)
        if chat is None:
            chat = Chat()
            self._chats.put(turn.marker, chat, chat.weight)
        return chat

    async def _take_place(
        self, agent: KnownAgent, chat: Chat, turn: Turn, version: int, patient: bool
    ) -> tuple[KnownConversation, list[Message]]:
        """The conversation, for this turn alone among those of all gateways, and what is to be sent to it."""
        while True:
            conversation, news = await self._place(agent, chat, turn, version, patient)
            if not turn.scratch:
                # It has the place of its chat.
                return conversation, news
            stack = AsyncExitStack()
            try:
                taking = self._lines.place(line_of(conversation.id), None, SETTLING_SECONDS)
                place = await stack.enter_async_context(taking)
            except errors.QueueFull:
                chat.elsewhere.add(conversation.id)
            else:
                if place.is_unbroken or conversation not in chat.known:
                    self._places[conversation.id] = stack, place
                    chat.elsewhere.clear()
                    return conversation, news
                await stack.aclose()
            # Another gateway has, or has had, a turn in it.
            chat.stale = True

    async def _place(
        self, agent: KnownAgent, chat: Chat, turn: Turn, version: int, patient: bool
    ) -> tuple[KnownConversation, list[Message]]:
        """The conversation, and those of the messages that are to be sent to it."""
        looked_at = agent.id
        decision, free = self._decide(chat, turn)
        # A lone first message without a chat id always starts a conversation. Any other request that is not simply the
        # next message makes Letta be read again first: another gateway may have had a turn in this chat.
        begins = turn.scratch and turn.asked.lone and not turn.after
        simple = isinstance(decision, Append) and len(decision.news) <= 1
        if not begins and (chat.stale or not simple):
            await (self._load_place if turn.after and turn.scratch else self._load)(agent, chat, turn, patient)
            decision, free = self._decide(chat, turn)
        if decision is None:
            raise turn.missing
        if isinstance(decision, Start):
            # Only what has a conversation was spoken to, and only the agent that stays may be.
            await agent.settled()
            if agent.id != looked_at:
                return await self._place(agent, chat, turn, version, patient)
            return await self._create(agent, turn, version, decision.path)
        known = free[decision.at]
        answered = any(message.role == "assistant" for message in decision.news)
        if isinstance(decision, Append) and not (answered and self._upstream.capabilities.forks):
            return known, decision.news
        return await self._branch(agent, turn, version, decision, known.id, known.past.messages)

    def _decide(self, chat: Chat, turn: Turn) -> tuple[Decision | None, list[KnownConversation]]:
        """The decision, and the conversations among which it counts: those in which no turn is under way.

        None if the place that the turn names is nowhere.
        """
        if turn.after:
            return self._decide_after(turn.after, chat, turn)
        free = [known for known in chat.known if known.id not in self._in_use | chat.elsewhere]
        pasts = [known.past for known in free]
        asked, whole, matched = turn.asked, turn.keeps_history, [known.matched for known in free]
        return decide(asked, turn.ids, whole, pasts, chat.missing, not turn.scratch, turn.texts, matched), free

    def _decide_after(self, after: After, chat: Chat, turn: Turn) -> tuple[Decision | None, list[KnownConversation]]:
        """The decision for a turn that names the place; where another turn is under way, it is a branch."""
        known = chat.known
        unkept = [one.unkept for one in known] if turn.scratch else [chat.missing]
        gone = [one.summary.gone for one in known]
        decision = decide_after(after, turn.asked, [one.past for one in known], unkept, gone)
        busy = self._in_use | chat.elsewhere
        if isinstance(decision, Append) and known[decision.at].id in busy:
            decision = Branch(decision.at, len(known[decision.at].past.messages), decision.news)
        return decision, known

    async def _branch(
        self, agent: KnownAgent, turn: Turn, version: int, decision: Append | Branch, id: str, messages: list[Message]
    ) -> tuple[KnownConversation, list[Message]]:
        """Make another conversation, which begins with the part of `messages` that the decision keeps."""
        begun = messages[: decision.kept] if isinstance(decision, Branch) else messages
        if not self._upstream.capabilities.forks:
            begun = await self._with_pictures(agent, id, begun)
            begun = with_exchanges(begun, turn.asked.path) if turn.keeps_history else begun
        fork = Fork.of(id, begun) if self._upstream.capabilities.forks else None
        return await self._create(agent, turn, version, [*begun, *decision.news], fork)

    async def _with_pictures(self, agent: KnownAgent, id: str, messages: list[Message]) -> list[Message]:
        """The messages of a conversation with their pictures, which this process does not keep, to be sent again."""
        if not any(message.images for message in messages):
            return messages
        past = await self._upstream.read_conversation(agent.id, Conversation(id))
        whole = {message.id: message.images for message in past.messages}
        return [msgspec.structs.replace(m, images=whole.get(m.id, m.images)) for m in messages]

    async def _create(
        self, agent: KnownAgent, turn: Turn, version: int, path: list[Message], fork: Fork | None = None
    ) -> tuple[KnownConversation, list[Message]]:
        summary = turn.summary
        created = await self._upstream.create_conversation(agent.id, str(summary), path[:-1], fork)
        # Letta gives the messages of a fork ids of their own.
        heard = [msgspec.structs.replace(message, id="") for message in light_ones(path[: created.seeded])]
        told = (await self._upstream.read_conversation(agent.id, created)).instructions_sent if fork else ""
        compiled = None if fork else version
        return KnownConversation(created.id, summary, Past(heard, told), compiled), path[created.seeded :]

    async def _load(self, agent: KnownAgent, chat: Chat, turn: Turn, patient: bool) -> None:
        """Read the chat's conversations from Letta: the present one first, then the branches used last.

        Raises UpstreamError; NotFoundHere; and Abandoned, if `patient`, while a run that another gateway has begun is
        under way.
        """
        former = turn.former_markers(agent.former_scope)
        markers = [turn.marker, *former]
        lists = [await self._upstream.find_conversations(agent.id, marker) for marker in markers]
        ours = of_chat(markers, [one for listed in lists for one in listed], turn.missing)
        if any(summary.marker != turn.marker for _, summary in ours):
            for marker in former:
                self._former.put(marker, turn.marker)
        before = {known.id: known for known in chat.known}
        present = ours[:KNOWN_BRANCHES]
        loaded = [
            *await asyncio.gather(*(self._known(agent, one, summary, before.get(one.id)) for one, summary in present))
        ]
        if chat.unkept is None and loaded:
            noted = from_note(loaded[0].summary.note)
            if noted.begun and not is_kept(noted.messages, loaded[0].past):
                await self._end_run(agent, loaded[0], patient)
                loaded[0] = await self._known(agent, *present[0], None)
            chat.unkept = missing_in(loaded[0].past, noted.messages)
        if loaded and is_kept(chat.unkept or [], loaded[0].past):
            chat.unkept = []
        for known in loaded:
            known.past = msgspec.structs.replace(known.past, unfinished=[])
        chat.known, chat.stale = loaded, False

    async def _load_place(self, agent: KnownAgent, chat: Chat, turn: Turn, patient: bool) -> None:
        """Read the conversation from Letta that has the place which the turn names, in a chat without an id.

        Raises what `_load` does.
        """
        assert turn.after
        before = {known.id: known for known in chat.known}
        chat.known, chat.stale = [], False
        listed = await self._upstream.find_conversations(agent.id, turn.marker)
        for one, summary in that_may_hold(turn.after, turn.marker, listed):
            known = await self._known(agent, one, summary, before.get(one.id))
            noted = from_note(summary.note)
            if noted.begun and not is_kept(noted.messages, known.past):
                await self._end_run(agent, known, patient)
                known = await self._known(agent, one, summary, None)
            known.unkept = missing_in(known.past, noted.messages)
            if any(begins(turn.after.turn, message) for message in (*known.past.messages, *known.unkept)):
                chat.use(known)
                return

    async def _end_run(self, agent: KnownAgent, conversation: KnownConversation, patient: bool) -> None:
        """End a run that another gateway has begun, and perhaps left behind; if `patient`, raise Abandoned instead."""
        if await self._upstream.is_running(conversation.id):
            if patient:
                raise errors.Abandoned("a run of the conversation is under way that was begun elsewhere")
            await self._upstream.cancel(agent.id, conversation.id)

    async def _known(
        self, agent: KnownAgent, one: Conversation, summary: Summary, before: KnownConversation | None
    ) -> KnownConversation:
        if before and one.id in self._in_use:
            return before
        past = await self._upstream.read_conversation(agent.id, one)
        past = msgspec.structs.replace(past, messages=light_ones(past.messages))
        return KnownConversation(one.id, summary, past, before.compiled if before else None)

    async def _compile(
        self, agent: KnownAgent, conversation: KnownConversation, version: int, needs_prompt: bool
    ) -> str:
        """Have Letta compile the conversation's system prompt again if it may be old; returns the agent's prompt.

        Letta compiles it once: a changed prompt, or a changed memory, is not in it.
        """
        known = agent.prompt_version == version
        # A turn that waits for answers to its calls goes on with the prompt that it has begun with.
        if conversation.past.pending and not (needs_prompt and not known):
            return agent.prompt
        if conversation.compiled != version or (needs_prompt and not known):
            agent.prompt = await self._upstream.recompile(conversation.id)
            agent.prompt_version = conversation.compiled = version
        return agent.prompt

    async def settle(
        self,
        turn: Turn,
        conversation: KnownConversation,
        sending: Sending,
        answer: str,
        well: bool,
        pending: tuple[PendingCall, ...] = (),
    ) -> None:
        """Note that a turn has ended, and free its conversation. Raises nothing.

        Unless it ended `well`, Letta is taken to have kept nothing of it: its messages are `unkept`, if the client
        does not send them again. `pending` are the calls whose answers it waits for.
        """
        chat = self._chat(turn)
        chat.use(conversation)
        if well:
            conversation.add(sending, answer, pending)
            chat.unkept = []
        elif turn.is_told_once:
            chat.unkept = [*sending.messages, *([Message("assistant", answer)] if answer else [])]
        try:
            if not turn.scratch:
                await self._summaries.mark(chat, conversation)
            elif turn.keeps:
                await self._summaries.note(conversation, [] if well else chat.unkept or [])
            elif well and not pending:
                await self._name(turn, conversation)
        except errors.UpstreamError as error:
            logger.warning("a conversation could not be marked: %s: %s", type(error).__name__, error)
        finally:
            if not well:
                # The turn has no end: Letta is asked what it has kept of it before the next turn.
                chat.drop(conversation)
            self._chats.put(turn.marker, chat, chat.weight)
            self._free(conversation.id)

    def keep_for_later(self, turn: Turn) -> None:
        """Keep the messages of a turn that was given up, or failed, before anything was sent.

        Does nothing if its client sends the whole chat with every request.
        """
        chat = self._chat(turn)
        if not turn.keeps_history and not is_same(chat.missing[-1:], turn.asked.news[:1]):
            chat.later = [*chat.later, *turn.asked.news]
            self._chats.put(turn.marker, chat, chat.weight)

    def release(self, turn: Turn, conversation: KnownConversation) -> None:
        """Free a conversation to which nothing was sent after all, and read it again before the next turn.

        What Letta tells of it then may show why nothing could be sent.
        """
        self._free(conversation.id)
        self._chat(turn).drop(conversation)

    async def _name(self, turn: Turn, conversation: KnownConversation) -> None:
        """Give a chat without an id the marker made of the first message that its client will send of it."""
        marker = turn.marker_after(conversation.past.messages)
        if marker == turn.marker:
            return
        chat = self._chats.get(marker) or Chat()
        chat.use(conversation)
        self._chats.put(marker, chat, chat.weight)
        await self._summaries.rename(conversation, msgspec.structs.replace(conversation.summary, marker=marker))

    def look_again(self, marker: str) -> None:
        """Have a chat read again from Letta before its next turn: another gateway may have had one in it."""
        if chat := self._chats.get(marker):
            chat.stale, chat.unkept = True, None

    def check(self, conversation_id: str) -> None:
        """Return if no other gateway can have gone on in a conversation in use. Raises Overtaken."""
        if taken := self._places.get(conversation_id):
            taken[1].check()

    def forget(self, marker: str) -> None:
        """Forget a chat's conversations, and so ask Letta for them again: it does not know one of them any more."""
        self._chats.drop(self._former.get(marker) or marker)

    def answered(self, conversation_id: str) -> None:
        """Note that the turn of a conversation in use has its answer; `settle` follows in a moment."""
        self._ending.setdefault(conversation_id, asyncio.Event())

    def _free(self, conversation_id: str) -> None:
        self._in_use.discard(conversation_id)
        if taken := self._places.pop(conversation_id, None):
            leaving = asyncio.create_task(taken[0].aclose())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        if ending := self._ending.pop(conversation_id, None):
            ending.set()

    def is_in_use(self, conversation_id: str) -> bool:
        return conversation_id in self._in_use
