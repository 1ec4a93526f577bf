"""The conversations of an App Server: found, made, read, marked.

A turn without an end (failed, stopped, cut off) stays in its conversation, which would show it to the model, or lets
none begin. Such a conversation is left as it is, and what was said before can be had by a fork.
"""

import logging
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain import errors
from gateway.domain.messages import Message, PendingCall, last_answer
from gateway.domain.request import ClientTool
from gateway.letta.app_server.connection import AppServerConnection, OpenSocket
from gateway.letta.app_server.frames import (
    PAGE,
    ConversationsListed,
    KeptMessage,
    MessagesListed,
    OneConversation,
    Runtime,
    ServerAnswer,
)
from gateway.letta.app_server.history_files import HistoryFiles
from gateway.letta.app_server.input import external_tools
from gateway.letta.app_server.listing import calls_wait, to_exchanges, to_past, unfinished
from gateway.letta.upstream import Conversation, Exchange, Fork, Past

logger = logging.getLogger(__name__)
MOST_MESSAGES = 100_000
UNFINISHED_TAG = "gw-unfinished:"
DELETED = "Letta Gateway (deleted)"
KEPT_UNFINISHED = 10_000


class UnfinishedTurn(Struct, frozen=True):
    """A turn without an end: `UnfinishedTurn("gw1-…")`."""

    began_with: str | None = None
    """The client id of its first message; None where another gateway has begun it, and nobody here knows its id."""


STUCK = UnfinishedTurn()


class AppServerConversations:
    """The calls about an App Server's conversations, and what is known of turns without an end."""

    def __init__(self, connection: AppServerConnection) -> None:
        self._connection = connection
        self.files = HistoryFiles(connection)
        self._unfinished: dict[str, UnfinishedTurn] = {}
        """By conversation, the turn that never ended."""

    async def subscribe(self, runtime: Runtime, tools: tuple[ClientTool, ...], asks: bool) -> OpenSocket:
        """Have the frames of a conversation come here, and the gateway's and its client's tools known in it."""
        socket, id = await self._connection.open_socket(), runtime.conversation_id or ""
        external, known = external_tools(tools), hash(tools and msgspec.json.encode(tools))
        if id not in socket.runtimes:
            await self._connection.request(
                "runtime_start",
                ServerAnswer,
                agent_id=runtime.agent_id,
                conversation_id=runtime.conversation_id,
                # What an agent may use at all is said turn by turn.
                mode="standard" if asks else "unrestricted",
                skill_sources=[],
                recover_approvals=False,
                force_device_status=False,
                external_tools=external,
            )
        elif socket.runtimes[id] != known:
            update = {"runtimes": [runtime], "external_tools": external}
            await self._connection.request("runtime_external_tools_update", ServerAnswer, updates=[update])
        socket.runtimes[id] = known
        return socket

    def subscribe_anew(self, conversation_id: str) -> None:
        """Have the tools told once more before the next turn of a conversation."""
        self._connection.forget_runtime(conversation_id)

    async def find(self, agent_id: str | None, summary: str) -> list[Conversation]:
        found: dict[str, Conversation] = {}
        about = {"agent_id": agent_id} if agent_id else {}
        while True:
            query = {**about, "summary_search": summary, "limit": PAGE, "include_hidden": True}
            if found:
                query["after"] = next(reversed(found))
            page = (await self._connection.request("conversation_list", ConversationsListed, query=query)).conversations
            new = {one.id: one for one in page if one.id not in found}
            found |= new
            if len(page) < PAGE or not new:
                return list(found.values())

    async def create(self, agent_id: str, summary: str, path: list[Message], fork: Fork | None) -> Conversation:
        """Make a conversation that begins with `path` up to its last answer; the messages after that can be sent."""
        made, kept = await self._make(agent_id, summary, fork), fork.kept if fork else 0
        last = last_answer(path) + 1
        if last > kept and await self.files.put(agent_id, made.id, path[kept:last]):
            kept = last
        return msgspec.structs.replace(made, seeded=kept)

    async def _make(self, agent_id: str, summary: str, fork: Fork | None) -> Conversation:
        if fork is None:
            body = {"agent_id": agent_id, "summary": summary}
            return _found(await self._connection.request("conversation_create", OneConversation, body=body))
        # A fork begins with the summary of what it is made of: should it not be finished, nobody may take it for that.
        cut = {"message_id": fork.message_id, "hidden": True}
        made = _found(
            await self._connection.request(
                "conversation_fork", OneConversation, conversation_id=fork.conversation_id, body=cut
            )
        )
        await self._update(made.id, summary=summary, hidden=False, tags=[])
        return made

    async def read(self, conversation: Conversation, waits: bool = False) -> Past:
        """Read a conversation; `waits` is True where a turn of it waits for answers that can be given here."""
        said, lost = await self._list(conversation, waits)
        past, unfinished = to_past(said), to_past(lost)
        appendable = not lost and conversation.id not in self._unfinished
        return msgspec.structs.replace(past, appendable=appendable, unfinished=unfinished.messages)

    async def read_exchanges(self, conversation: Conversation, pending: Iterable[PendingCall]) -> list[Exchange]:
        """Read the exchanges of a conversation, of which the calls `pending` wait for answers."""
        waiting = frozenset(call.tool_call_id for call in pending)
        said, lost = await self._list(conversation, bool(waiting))
        return [*to_exchanges(said, waiting), *to_exchanges(lost, ended=False)]

    async def _list(self, conversation: Conversation, waits: bool) -> tuple[list[KeptMessage], list[KeptMessage]]:
        """List the messages of a conversation, and those of a turn without an end, which come after them."""
        tagged = [tag.removeprefix(UNFINISHED_TAG) for tag in conversation.tags if tag.startswith(UNFINISHED_TAG)]
        if tagged:
            self.begin(conversation.id, tagged[0] or None)
        query = {"order": "desc", "limit": MOST_MESSAGES}
        answer = await self._connection.request(
            "conversation_messages_list", MessagesListed, conversation_id=conversation.id, query=query
        )
        known = self._unfinished.get(conversation.id)
        began_with = known.began_with if known else None
        stuck = known == STUCK or (not waits and calls_wait(answer.messages))
        cut = unfinished(answer.messages, began_with, stuck)
        return answer.messages[cut:][::-1], answer.messages[:cut][::-1]

    async def rename(self, conversation_id: str, summary: str, hidden: bool) -> None:
        await self._update(conversation_id, summary=summary, hidden=hidden)

    async def delete(self, agent_id: str, conversation_id: str) -> None:
        """Delete a conversation as far as an App Server can: nothing is left in it, and nobody finds it."""
        await self.files.erase(agent_id, conversation_id)
        await self._update(conversation_id, summary=DELETED, hidden=True, archived=True)

    async def set_model_settings(self, conversation_id: str, settings: dict[str, Any]) -> None:
        """Set what a conversation's model is called with, `{"max_tokens": 500}`; nothing for what its agent has set."""
        await self._update(conversation_id, model_settings=settings)

    async def check_room(self, runtime: Runtime, taken: bool) -> None:
        """Return unless the App Server is silent because its disk is full. Raises NoSpace, with `taken`."""
        try:
            await self.files.check_room(runtime.agent_id or "")
        except errors.NoSpace as error:
            raise errors.NoSpace(str(error), taken=taken) from error
        except errors.UpstreamError as error:
            logger.warning("whether there is room could not be told: %s: %s", type(error).__name__, error)

    async def _update(self, conversation_id: str, **body: object) -> None:
        await self._connection.request("conversation_update", ServerAnswer, conversation_id=conversation_id, body=body)

    def begin(self, conversation_id: str, began_with: str | None) -> None:
        """Note a turn that has no end yet; of too many the oldest are forgotten, as nobody may resume their chats."""
        self._unfinished[conversation_id] = UnfinishedTurn(began_with)
        if len(self._unfinished) > KEPT_UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]

    def end(self, conversation_id: str) -> None:
        """Note that a turn has ended well."""
        self._unfinished.pop(conversation_id, None)

    async def leave(self, conversation_id: str, failure: errors.UpstreamError) -> None:
        """Have it known that a conversation is of no use any more, for the failure of a turn. Raises nothing."""
        if isinstance(failure, errors.Stuck):
            # It is an earlier turn that has no end.
            self.begin(conversation_id, None)
        await self.tag_unfinished(conversation_id)

    async def tag_unfinished(self, conversation_id: str) -> None:
        """Have the App Server keep that a turn has no end: not all that it lists of one is what the model is shown."""
        began_with = self._unfinished.get(conversation_id, STUCK).began_with or ""
        try:
            await self._update(conversation_id, tags=[UNFINISHED_TAG + began_with])
        except errors.UpstreamError as error:
            logger.warning("a turn without an end could not be marked: %s", error)


def _found(answer: OneConversation) -> Conversation:
    if answer.conversation is None:
        raise errors.Refused("an answer without the conversation that was asked for")
    return answer.conversation
