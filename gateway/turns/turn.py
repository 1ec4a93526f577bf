"""The turn that a request asks for: the parts of the request that an agent's turn needs. Performs no I/O."""

from functools import cached_property

import msgspec
from msgspec import Struct

from gateway.domain.errors import NotFoundHere
from gateway.domain.json_format import JsonFormat
from gateway.domain.messages import Message
from gateway.domain.places import short_digest
from gateway.domain.request import NO_OPTIONS, NO_TOOLS, ClientTools, Options
from gateway.domain.texts.client_texts import PLAIN_TEXTS, ClientTexts
from gateway.letta.notes import GO_AHEAD
from gateway.settings import AgentType, Key
from gateway.turns.chats.exact import NONE_WAITS, After
from gateway.turns.chats.markers import (
    KEPT_WITHOUT_ID,
    SCRATCH,
    TEMPORARY,
    Summary,
    agent_name,
    conversation_marker,
    pictures_of,
    scratch_marker,
    thread_marker,
    user_digest,
)
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import NO_IDS, Ids
from gateway.turns.people.identity import Caller, keeps_history


class Turn(Struct, frozen=True, dict=True):
    """A turn of an agent: the agent type and caller, the chat's path as requested, and how it is to be answered."""

    agent_type: AgentType
    caller: Caller
    asked: RequestedPath
    ids: Ids = NO_IDS
    keeps_history: bool = True
    """True: `asked` is the whole chat. False: only its new messages count."""
    tools: ClientTools = NO_TOOLS
    """The client's tools, which the agent may call beside its own."""
    options: Options = NO_OPTIONS
    json: JsonFormat | None = None
    """The form of JSON that an answer in words must have; None: any text will do."""
    texts: ClientTexts = PLAIN_TEXTS
    """The functions that read the texts of its client."""
    id: str = ""
    """16 hex digits by which it is found again in Letta; empty where nobody will look for it."""
    made_at: int = 0
    """The second at which it was asked for."""
    part: str = ""
    """The digest of the calls whose answers it brings; empty where it has a message of its own."""
    given: str = ""
    """The marker of the chat, where the request names one of the gateway's own ids."""
    after: After | None = None
    """The only place where it may go on; None: its chat and its messages tell."""
    keeps: bool = False
    """True: a chat without an id is kept, for its responses may be gone on with."""
    outlives: bool = False
    """True: its run goes on to its end, whether or not somebody reads it."""

    @property
    def agent_name(self) -> str:
        """The name of its agent in Letta, or the id of the agent that everybody shares."""
        type, user = self.agent_type, self.caller.user
        return type.agent or agent_name(type.id, user.scope, user.id)

    @property
    def scratch(self) -> bool:
        """True if the chat has no id: only its history tells which chat it is."""
        of_history = (KEPT_WITHOUT_ID, SCRATCH)
        named = not self.given.startswith(of_history) if self.given else self.caller.chat is not None
        return not named and self.agent_type.conversations == "chat"

    @cached_property
    def marker(self) -> str:
        """The name of the chat in Letta, `gw1:…`; chats without an id that begin alike share one."""
        return self.given or self._marker(self.caller.user.scope, self.caller.user.id, self.caller.chat)

    @property
    def is_told_once(self) -> bool:
        """True: its client may not send its messages again."""
        return not self.keeps_history or self.keeps

    @property
    def digits(self) -> str:
        """The first eight hex digits of its chat's name in Letta: those who watch tell chats apart by them."""
        return self.marker.rpartition(":")[2][:8]

    @property
    def missing(self) -> NotFoundHere:
        """The error of a turn whose place is nowhere."""
        if not self.after:
            return NotFoundHere("conversation", "conversation")
        return NotFoundHere("previous_response", self.after.place, NONE_WAITS if self.asked.only_results else "")

    @property
    def summary(self) -> Summary:
        """The summary of a new conversation of its chat."""
        is_given = bool(self.given) and not self.given.startswith(KEPT_WITHOUT_ID)
        user, type_id = self.caller.user, self.agent_type.id
        whose = f"{short_digest(type_id)}.{user_digest(user.scope, user.id)}" if is_given else ""
        return Summary(self.marker, temporary=self.temporary, whose=whose)

    def former_markers(self, scope: str = "") -> list[str]:
        """The markers that earlier versions gave the chat; `scope` is that of its agent then, empty if it is the same.

        There are none if they gave it the one that it has.
        """
        if self.given or (self.keeps and self.scratch):
            return []
        caller = self.caller
        user, former_user = caller.user.id, caller.user.former_id or caller.user.id
        names = {
            self._marker(each, *name)
            for each in {scope or caller.user.scope, caller.user.scope}
            for name in ((user, caller.chat), (former_user, caller.former_chat or caller.chat))
        }
        return sorted(names - {self.marker})

    def _marker(self, scope: str, user: str, chat: str | None) -> str:
        type_id = self.agent_type.id
        if self.agent_type.conversations == "single":
            return thread_marker(type_id, scope, user)
        if chat is None:
            return self._scratch_marker(self.asked.path[0], scope, user)
        return conversation_marker(type_id, scope, user, chat)

    @property
    def unasked_marker(self) -> str:
        """The marker of chats without an id that an answer begins, for as long as that answer is not given."""
        return self._scratch_marker(Message("user", GO_AHEAD), self.caller.user.scope, self.caller.user.id)

    def marker_after(self, said: list[Message]) -> str:
        """The marker of the chat once these messages were said in it.

        It changes for a chat without an id that an answer began: clients send such a chat from that answer on.
        """
        if self.marker != self.unasked_marker or len(said) < 2:
            return self.marker
        first = Message("assistant", said[1].content.strip())
        return self._scratch_marker(first, self.caller.user.scope, self.caller.user.id)

    def _scratch_marker(self, first: Message, scope: str, user: str) -> str:
        # A temporary chat and a kept one are two, though they begin alike.
        begins = self.texts.bare(first.content) + pictures_of(first) + f" {TEMPORARY}" * self.temporary
        return scratch_marker(self.agent_type.id, scope, user, begins, self.keeps and not self.temporary)

    def told(self, words: str) -> "Turn":
        """The turn with `words` added to its system text."""
        instructions = "\n\n".join(text for text in (self.asked.instructions, words) if text)
        return msgspec.structs.replace(self, asked=msgspec.structs.replace(self.asked, instructions=instructions))

    @property
    def temporary(self) -> bool:
        return self.caller.temporary and self.agent_type.conversations == "chat"


def forwards_tools(key: Key, agent_type: AgentType) -> bool:
    """True if agents may call the tools that a request brings; else the request is read as if it had brought none."""
    return (key.client_tools or agent_type.client_tools) == "forward"


def to_turn(
    key: Key,
    agent_type: AgentType,
    caller: Caller,
    asked: RequestedPath,
    ids: Ids,
    tools: ClientTools = NO_TOOLS,
    options: Options = NO_OPTIONS,
    json: JsonFormat | None = None,
    texts: ClientTexts = PLAIN_TEXTS,
) -> Turn:
    """The turn that a request asks for."""
    whole = keeps_history(key, caller, asked)
    if agent_type.conversations == "single":
        # A client shows no more than a part of the one thread: only its last message is new, wherever it stands.
        asked, ids, whole = msgspec.structs.replace(asked, path=asked.path[-1:], new=1), NO_IDS, False
    return Turn(agent_type, caller, asked, ids, whole, tools, options, json, texts)
