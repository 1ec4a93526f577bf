"""The turns of an App Server's conversations: begun, followed, held while they wait for their client, ended."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import msgspec

from gateway.domain import errors
from gateway.domain.events import PING, Event
from gateway.domain.messages import PendingCall
from gateway.domain.request import ClientTool
from gateway.letta.app_server import memory
from gateway.letta.app_server.connection import AppServerConnection, OpenSocket
from gateway.letta.app_server.conversations import AppServerConversations
from gateway.letta.app_server.frames import ControlRequest, Frame, Runtime, ServerAnswer, ToolRequest, TurnReader
from gateway.letta.app_server.input import Input, to_input
from gateway.letta.app_server.memory_tools import MEMORY_TIMEOUT_MS, MemoryTools
from gateway.letta.app_server.open_turn import OpenTurn
from gateway.letta.parts import described
from gateway.letta.undisturbed import undisturbed
from gateway.letta.upstream import Sending, Take

logger = logging.getLogger(__name__)
# How long a turn may stay queued while the loop does nothing.
STUCK_SECONDS = 2.0
# How long a turn may say nothing before the App Server is asked whether it can write at all.
SILENT_SECONDS = 5.0
# How long the App Server waits for the answer to a call at most, and how long before that the gateway gives it up.
LONGEST_CALL_SECONDS = 300.0
CALL_MARGIN_SECONDS = 10.0
# What is longer than 21 MiB with what it adds itself (`MAX_DURABLE_QUEUED_INPUT_BYTES` in
# `letta_code/_payload/app/letta.js`) it does not queue; it does not say why.
LONGEST_INPUT_BYTES = 20 * 1024 * 1024
# How long a turn may take to end once it was given up.
ENDING_SECONDS = 10.0


class Turns:
    def __init__(
        self,
        connection: AppServerConnection,
        conversations: AppServerConversations,
        memory_tools: MemoryTools,
        tool_wait_seconds: float,
    ) -> None:
        self._connection = connection
        self._conversations = conversations
        self._memory_tools = memory_tools
        self._tool_wait_seconds = tool_wait_seconds
        self._turns: dict[str, OpenTurn] = {}
        """By conversation, those that are under way here, or wait for their client."""
        self._endings: dict[str, asyncio.Task[None]] = {}

    def pending(self, conversation_id: str) -> tuple[PendingCall, ...]:
        """The calls that wait for an answer which can be given here."""
        turn = self._turns.get(conversation_id)
        return turn.pending if turn and turn.reader.parked else ()

    def is_under_way(self, conversation_id: str) -> bool:
        """Whether a turn of the conversation is under way here."""
        turn = self._turns.get(conversation_id)
        return turn is not None and not turn.reader.parked

    @property
    def under_way(self) -> bool:
        """Whether a turn runs, or waits for its client."""
        return bool(self._turns)

    def call(self, data: bytes) -> None:
        """A call of a tool of the gateway's, or of its client's."""
        request = msgspec.json.decode(data, type=ToolRequest)
        turn = self._turns.get(request.runtime.conversation_id or "")
        if turn and request.tool_name not in memory.MEMORY_TOOL_NAMES:
            turn.take(request)
        else:
            self._memory_tools.answer(request)

    def ask(self, data: bytes) -> None:
        """What an agent may do was said with its turn; of some of it the person is asked."""
        asked = msgspec.json.decode(data, type=ControlRequest)
        turn = self._turns.get(asked.conversation_id or "")
        # Before a turn has started, what is asked for is another gateway's.
        if turn and turn.reader.started:
            turn.ask(asked)

    async def run(self, runtime: Runtime, sending: Sending, tools: Iterable[str], take: Take) -> None:
        """As `Upstream.run`."""
        sent = to_input(sending)
        payload = _payload(sent, [*tools], sending.tools)
        turn = await self._waiting_turn(runtime.conversation_id or "")
        if turn is None and (sending.resumes or not sent):
            raise errors.Stuck("nothing waits for these answers")
        if turn:
            queued = await self._resume(turn, sending, payload)
        else:
            turn, queued = await self._begin(runtime, sending, payload)
        try:
            await self._follow(turn, queued, take)
        finally:
            self._rest(turn)
            if not turn.reader.parked:
                await undisturbed(self._reset(turn))

    async def _begin(self, runtime: Runtime, sending: Sending, payload: dict[str, Any]) -> tuple[OpenTurn, bool]:
        """A new turn, and whether it is queued behind another."""
        ids = [message["client_message_id"] for message in payload["messages"]]
        names = [tool.name for tool in sending.tools]
        builtin = payload["client_toolset"]["include"]
        reader = TurnReader(ids, builtin, memory.MEMORY_TOOL_NAMES, names)
        with ExitStack() as stack:
            inbox = stack.enter_context(self._connection.inbox(runtime.conversation_id or ""))
            socket = await self._subscribe(runtime, sending.tools, asks=bool(builtin))
            turn = OpenTurn(self._connection, socket, runtime, reader, inbox)
            self._turns[turn.conversation_id] = turn
            stack.callback(self._turns.pop, turn.conversation_id, None)
            answer = await self._send_first(turn, sending, payload)
            turn.stack = stack.pop_all()
        return turn, answer.disposition == "queued"

    async def _send_first(self, turn: OpenTurn, sending: Sending, payload: dict[str, Any]) -> ServerAnswer:
        """What a turn begins with; should it not be taken, nothing is left of what it was to be called with."""
        try:
            if most := sending.options.max_tokens:
                turn.altered = True
                await self._set(turn.conversation_id, {"max_tokens": most})
            self._conversations.begin(turn.conversation_id, turn.began_with)
            return await self._send(turn.runtime, payload)
        except BaseException:
            await undisturbed(self._reset(turn))
            raise

    async def _set(self, conversation_id: str, model_settings: dict[str, Any]) -> None:
        """What a conversation's model is called with; nothing for what its agent has set."""
        body = {"model_settings": model_settings}
        await self._connection.request("conversation_update", ServerAnswer, conversation_id=conversation_id, body=body)

    async def _reset(self, turn: OpenTurn) -> None:
        """Have the conversation as it was before the turn. Raises nothing."""
        if not turn.altered:
            return
        try:
            await self._set(turn.conversation_id, {})
        except errors.UpstreamError as error:
            logger.warning("a conversation's settings could not be reset: %s: %s", type(error).__name__, error)

    async def _resume(self, turn: OpenTurn, sending: Sending, payload: dict[str, Any]) -> bool:
        """Go on with a turn that waits; what is said beside the answers comes after them, in the same turn."""
        self._conversations.begin(turn.conversation_id, turn.began_with)
        try:
            if payload["messages"]:
                await self._send(turn.runtime, payload)
        except BaseException:
            self._rest(turn)
            raise
        turn.answer(sending, [message["client_message_id"] for message in payload["messages"]])
        return False

    def _rest(self, turn: OpenTurn) -> None:
        """No request listens any more: a turn that waits for its client goes on doing so, for a while."""
        if not turn.reader.parked:
            turn.close()
            return
        # It is no turn without an end: what was said in it stands.
        self._conversations.end(turn.conversation_id)
        seconds = self._tool_wait_seconds
        if turn.reader.calls_clients:
            seconds = min(seconds, LONGEST_CALL_SECONDS - CALL_MARGIN_SECONDS)
        turn.limit = asyncio.get_running_loop().call_later(seconds, self._expire, turn)

    def _expire(self, turn: OpenTurn) -> None:
        ending = asyncio.create_task(self._end_waiting(turn))
        self._endings[turn.conversation_id] = ending
        ending.add_done_callback(lambda _: self._endings.pop(turn.conversation_id, None))

    async def _waiting_turn(self, conversation_id: str) -> OpenTurn | None:
        """The turn of the conversation that waits for its client, if one does and can still be answered."""
        if ending := self._endings.get(conversation_id):
            await asyncio.wait([ending])
        turn = self._turns.get(conversation_id)
        if turn is None or not turn.reader.parked:
            return None
        if turn.socket is not await self._connection.open_socket():
            # The App Server has ended it.
            turn.close()
            await self._reset(turn)
            return None
        if turn.limit:
            turn.limit.cancel()
        return turn

    async def _end_waiting(self, turn: OpenTurn) -> None:
        """End a turn that waits. The agent sees its calls as interrupted; the conversation goes on. Raises nothing."""
        ended = False
        try:
            await self._abort(turn.runtime)
            turn.give_up()
            async with asyncio.timeout(ENDING_SECONDS):
                ended = await turn.ended()
        except (errors.UpstreamError, TimeoutError) as error:
            logger.warning("a turn that waited for its client could not be ended: %s", type(error).__name__)
        finally:
            turn.close()
        await self._reset(turn)
        if not ended:
            self._conversations.begin(turn.conversation_id, turn.began_with)
            await self._conversations.tag_unfinished(turn.conversation_id)

    async def _send(self, runtime: Runtime, payload: dict[str, Any]) -> ServerAnswer:
        """Raises UpstreamError, `taken` where the message may have arrived."""
        try:
            return await self._connection.request("input", ServerAnswer, runtime=runtime, payload=payload)
        except (errors.TimedOut, errors.BrokenStream) as error:
            raise type(error)(str(error), taken=True) from error
        except errors.Refused as error:
            if type(error) is errors.Refused and len(msgspec.json.encode(payload)) > LONGEST_INPUT_BYTES:
                raise errors.TooLong("an input longer than its queue takes") from error
            # It does not say that it could not keep the message.
            await self._check_room(runtime, taken=False)
            raise

    async def _subscribe(self, runtime: Runtime, tools: tuple[ClientTool, ...], asks: bool) -> OpenSocket:
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

    async def _follow(self, turn: OpenTurn, queued: bool, take: Take) -> None:
        """Have the events of a turn taken, those of the frames that came at once in one list. Raises UpstreamError."""
        reader, conversation_id = turn.reader, turn.conversation_id
        while not (reader.finished or reader.parked):
            waiting = queued and not reader.started
            try:
                async with asyncio.timeout(STUCK_SECONDS if waiting else SILENT_SECONDS):
                    frames = [await turn.inbox.get()]
            except TimeoutError:
                await (
                    self._check_queue(turn.runtime, reader) if waiting else self._check_room(turn.runtime, taken=True)
                )
                continue
            while not turn.inbox.empty():
                frames.append(turn.inbox.get_nowait())
            events, failure = _read(reader, frames)
            if events:
                take(events)
            elif reader.asked and not waiting and not failure:
                # However long the model says nothing now, the turn can be cancelled.
                take([PING])
            if failure:
                if reader.failure:
                    await self._leave(conversation_id, reader.failure)
                raise failure
        if reader.parked:
            return
        if reader.ended_well:
            self._conversations.end(conversation_id)
        else:
            await self._conversations.tag_unfinished(conversation_id)

    async def _leave(self, conversation_id: str, failure: errors.UpstreamError) -> None:
        """Have it known that the conversation is of no use any more."""
        if isinstance(failure, errors.Stuck):
            # It is an earlier turn that has no end.
            self._conversations.begin(conversation_id, None)
        await self._conversations.tag_unfinished(conversation_id)

    async def _check_queue(self, runtime: Runtime, reader: TurnReader) -> None:
        """Another gateway's turn is waited for; a loop that does nothing will never come to this one. Raises Stuck."""
        if not reader.idle:
            return
        self._conversations.begin(runtime.conversation_id or "", None)
        await self._abort(runtime)
        raise errors.Stuck("queued behind a turn without an end")

    async def _check_room(self, runtime: Runtime, taken: bool) -> None:
        """A loop that cannot write any more says nothing more either. Raises NoSpace."""
        try:
            await self._conversations.files.check_room(runtime.agent_id or "")
        except errors.NoSpace as error:
            raise errors.NoSpace(str(error), taken=taken) from error
        except errors.UpstreamError as error:
            logger.warning("whether there is room could not be told: %s: %s", type(error).__name__, error)

    async def _abort(self, runtime: Runtime) -> None:
        await self._connection.request("abort_message", ServerAnswer, runtime=runtime)

    async def cancel(self, runtime: Runtime) -> None:
        """As `Upstream.cancel`."""
        conversation_id = runtime.conversation_id or ""
        turn = self._turns.get(conversation_id)
        if turn and turn.reader.parked:
            await self._end_waiting(turn)
            return
        # Its end is not waited for, which a silent model would put off for ever: the chat goes on in a fork.
        await self._abort(runtime)
        await self._conversations.tag_unfinished(conversation_id)

    async def aclose(self) -> None:
        """End the turns that wait for their client: nobody could answer them any more."""
        waiting = [turn for id, turn in self._turns.items() if turn.reader.parked and id not in self._endings]
        await asyncio.gather(*self._endings.values(), *map(self._end_waiting, waiting))


def _payload(sent: list[Input], builtin: list[str], clients: Iterable[ClientTool]) -> dict[str, Any]:
    return {
        "kind": "create_message",
        "messages": sent,
        "client_toolset": {"base": "none", "include": builtin},
        "client_tool_allowlist": [*builtin, *memory.MEMORY_TOOL_NAMES, *(tool.name for tool in clients)],
        "exclude_interactive_tools": True,
    }


def external_tools(clients: Iterable[ClientTool]) -> list[dict[str, Any]]:
    """The tools that the App Server does not carry out itself: the gateway's, and those of its client."""
    # `auto_background` would end a slow call as a message of the user's, which starts a turn by itself.
    theirs = [{**described(tool), "timeout_ms": int(LONGEST_CALL_SECONDS * 1000)} for tool in clients]
    ours = [{**tool, "timeout_ms": MEMORY_TIMEOUT_MS} for tool in memory.MEMORY_TOOLS]
    return [{"tools": [{**tool, "auto_background": False} for tool in [*ours, *theirs]]}]


def _read(reader: TurnReader, frames: list[Frame | errors.UpstreamError]) -> tuple[list[Event], Any]:
    """The events of the frames, up to the failure if there is one."""
    events: list[Event] = []
    for frame in frames:
        if isinstance(frame, errors.UpstreamError):
            return events, None if reader.finished else frame
        events += reader.receive(frame)
        if reader.failure:
            break
    return events, reader.failure
