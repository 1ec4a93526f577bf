"""The driver of an App Server's turns: sockets, timers and tasks around each turn's machine."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any

import msgspec

from gateway.domain import errors
from gateway.domain.events import PING, Event
from gateway.domain.messages import PendingCall
from gateway.letta.app_server import memory
from gateway.letta.app_server.connection import AppServerConnection, OpenSocket
from gateway.letta.app_server.conversations import AppServerConversations
from gateway.letta.app_server.frames import Arrival, ControlRequest, OutgoingFrame, Runtime, ServerAnswer, ToolRequest
from gateway.letta.app_server.input import LONGEST_INPUT_BYTES, LONGEST_WAIT_SECONDS, client_ids, to_input, to_payload
from gateway.letta.app_server.memory_tools import MemoryTools
from gateway.letta.app_server.turn_machine import TurnMachine, TurnState
from gateway.letta.undisturbed import undisturbed
from gateway.letta.upstream import Sending, Take

logger = logging.getLogger(__name__)
# How long a turn may stay queued while the loop does nothing.
STUCK_SECONDS = 2.0
# How long a turn may say nothing before the App Server is asked whether it can write at all.
SILENT_SECONDS = 5.0
# How long a turn may take to end once it was given up.
ENDING_SECONDS = 10.0


class OpenTurn:
    """A turn that has begun and is not over, with what belongs to it and ends with it.

    All that arrives goes to its machine at once, in order; who follows the turn is handed the events in the same call.
    """

    def __init__(self, connection: AppServerConnection, machine: TurnMachine) -> None:
        self.machine = machine
        self.socket: OpenSocket | None = None
        """The socket that it is heard over, and that its calls are asked over; they can be answered over no other."""
        self.stack = ExitStack()
        """The things that end with the turn."""
        self.limit: asyncio.TimerHandle | None = None
        """The time limit of its client, while it waits for that."""
        self.altered = False
        """True while its conversation's model settings are not its agent's."""
        self.is_queued = False
        """True: it was taken behind another turn of its conversation."""
        self.context = copy_context()
        """The context of the request that runs it: what arrives, arrives in another."""
        self.heard_at = 0.0
        """The moment at which something arrived last, by the loop's clock."""
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._take: Take | None = None
        self._events: list[Event] = []
        """The events that nobody has taken."""
        self._has_news = False
        """True: something has arrived that nobody was told of."""
        self._resting = asyncio.Event()
        self._fault: Exception | None = None
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def conversation_id(self) -> str:
        return self.machine.runtime.conversation_id or ""

    @property
    def waits_in_queue(self) -> bool:
        return self.is_queued and self.machine.state is TurnState.SENT

    def hear(self, arrival: Arrival) -> None:
        """Feed what arrives to the machine. Raises nothing: others hear over the same connection."""
        self.heard_at = self._loop.time()
        try:
            self._hand_on(self.machine.receive(arrival))
        except Exception as error:
            self._fault = error
            self._resting.set()

    def _hand_on(self, events: list[Event]) -> None:
        if self._take is None:
            self._has_news, self._events = True, [*self._events, *events]
        elif events:
            self._take(events)
        elif self.machine.model_asked and not self.machine.failure and not self.waits_in_queue:
            # However long the model says nothing now, the turn can be cancelled.
            self._take([PING])
        if self.machine.rests:
            self._resting.set()

    def take_call(self, request: ToolRequest) -> None:
        self.machine.take_call(request)
        self._send_answers()

    def take_question(self, asked: ControlRequest) -> None:
        self.machine.take_question(asked)
        self._send_answers()

    def answer(self, sending: Sending, client_message_ids: list[str]) -> None:
        """Answer the calls that wait, now or once each is asked for; the turn goes on."""
        self._resting.clear()
        self._hand_on(self.machine.answer(sending, client_message_ids))
        self._send_answers()

    def give_up(self) -> None:
        """Answer that there is no answer: until then a turn that was aborted does not end."""
        self._resting.clear()
        self._hand_on(self.machine.give_up())
        self._send_answers()

    def _send_answers(self) -> None:
        for answer in self.machine.answers_to_send():
            telling = asyncio.create_task(self._tell(answer))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _tell(self, answer: OutgoingFrame) -> None:
        try:
            await self._connection.tell(answer)
        except errors.UpstreamError as error:
            logger.warning("an answer to a call could not be told: %s", error)

    def begin_following(self, take: Take) -> None:
        """Have `take` called with all events that nobody has taken, and with those to come."""
        self.heard_at = self._loop.time()
        self._take = take
        if self._has_news:
            events, self._events = self._events, []
            self._hand_on(events)

    def end_following(self) -> None:
        self._take, self._has_news = None, False

    async def rests(self) -> bool:
        """Return True once the turn is over or waits for its client, and False once it is silent for too long.

        Raises what taking its events did.
        """
        while not self._resting.is_set():
            seconds = STUCK_SECONDS if self.waits_in_queue else SILENT_SECONDS
            try:
                async with asyncio.timeout_at(self.heard_at + seconds):
                    await self._resting.wait()
            except TimeoutError:
                if self._loop.time() >= self.heard_at + seconds:
                    self.heard_at = self._loop.time()
                    return False
        if self._fault:
            raise self._fault
        return True

    async def over(self) -> bool:
        """Return once the turn is over: True if it has its end, False if that cannot be heard of any more."""
        while not self.machine.is_over:
            await self._resting.wait()
            if self._fault:
                raise self._fault
        return self.machine.state in (TurnState.ENDED, TurnState.CUT_OFF)


class AppServerTurns:
    """The turns that are under way here, or wait for their client; one at a time of each conversation."""

    def __init__(
        self,
        connection: AppServerConnection,
        conversations: AppServerConversations,
        memory_tools: MemoryTools,
        tool_wait_seconds: float,
        tell: Callable[[str, tuple[PendingCall, ...]], None],
    ) -> None:
        """`tell` is called with the conversation and calls of a turn that waits, and without any once it does not."""
        self._connection, self._tell = connection, tell
        self._conversations = conversations
        self._memory_tools = memory_tools
        self._tool_wait_seconds = tool_wait_seconds
        self._turns: dict[str, OpenTurn] = {}
        """The turns by the ids of their conversations."""
        self._endings: dict[str, asyncio.Task[None]] = {}
        """By conversation, the ends of turns that have waited for too long."""

    def pending(self, conversation_id: str) -> tuple[PendingCall, ...]:
        """The calls that wait for an answer which can be given here."""
        turn = self._turns.get(conversation_id)
        return turn.machine.pending if turn and turn.machine.waits else ()

    def is_under_way(self, conversation_id: str) -> bool:
        """Tell if a turn of the conversation is under way here; one that waits for its client is not."""
        turn = self._turns.get(conversation_id)
        return turn is not None and not turn.machine.waits

    @property
    def under_way(self) -> bool:
        """True while a turn runs, or waits for its client."""
        return bool(self._turns)

    def call(self, data: bytes) -> None:
        """Take an `external_tool_call_request`: for a tool of the gateway's, or of a turn's client."""
        request = msgspec.json.decode(data, type=ToolRequest)
        turn = self._turns.get(request.runtime.conversation_id or "")
        if turn and request.tool_name not in memory.MEMORY_TOOL_NAMES:
            turn.context.run(turn.take_call, request)
        else:
            (turn.context if turn else copy_context()).run(self._memory_tools.answer, request)

    def ask(self, data: bytes) -> None:
        """Take a `control_request`: a tool may be used, may not, or the person is asked."""
        asked = msgspec.json.decode(data, type=ControlRequest)
        if turn := self._turns.get(asked.conversation_id or ""):
            turn.context.run(turn.take_question, asked)

    async def run(self, runtime: Runtime, sending: Sending, tools: Iterable[str], take: Take) -> None:
        """Run a turn, or go on with one that waits, as `Upstream.run` says."""
        sent = to_input(sending)
        payload = to_payload(sent, [*tools], sending.tools)
        turn = await self._waiting_turn(runtime.conversation_id or "")
        if turn is None and (sending.resumes or not sent):
            raise errors.Stuck("nothing waits for these answers")
        if turn:
            await self._resume(turn, sending, payload)
        else:
            turn = await self._begin(runtime, sending, payload)
        try:
            await self._follow(turn, take)
        finally:
            turn.end_following()
            self._rest(turn)
            if turn.machine.state is not TurnState.PARKED:
                await undisturbed(self._reset(turn))

    async def _begin(self, runtime: Runtime, sending: Sending, payload: dict[str, Any]) -> OpenTurn:
        """Begin a new turn."""
        ids, names = client_ids(payload), [tool.name for tool in sending.tools]
        builtin = payload["client_toolset"]["include"]
        turn = OpenTurn(self._connection, TurnMachine(runtime, ids, builtin, memory.MEMORY_TOOL_NAMES, names))
        with ExitStack() as stack:
            stack.enter_context(self._connection.listening(turn.conversation_id, turn))
            turn.socket = await self._conversations.subscribe(runtime, sending.tools, asks=bool(builtin))
            self._turns[turn.conversation_id] = turn
            stack.callback(self._turns.pop, turn.conversation_id, None)
            answer = await self._send_first(turn, sending, payload)
            turn.is_queued = answer.disposition == "queued"
            turn.stack = stack.pop_all()
        return turn

    async def _send_first(self, turn: OpenTurn, sending: Sending, payload: dict[str, Any]) -> ServerAnswer:
        """Send what a turn begins with; should it not be taken, nothing is left of what it was to be called with."""
        try:
            if most := sending.options.max_tokens:
                turn.altered = True
                await self._conversations.set_model_settings(turn.conversation_id, {"max_tokens": most})
            self._conversations.begin(turn.conversation_id, turn.machine.began_with)
            return await self._send(turn.machine.runtime, payload)
        except BaseException:
            await undisturbed(self._reset(turn))
            raise

    async def _reset(self, turn: OpenTurn) -> None:
        """Put the conversation's model settings back as they were before the turn. Raises nothing."""
        if not turn.altered:
            return
        try:
            await self._conversations.set_model_settings(turn.conversation_id, {})
        except errors.UpstreamError as error:
            logger.warning("a conversation's settings could not be reset: %s: %s", type(error).__name__, error)

    async def _resume(self, turn: OpenTurn, sending: Sending, payload: dict[str, Any]) -> None:
        """Go on with a turn that waits; what is said beside the answers comes after them, in the same turn."""
        self._conversations.begin(turn.conversation_id, turn.machine.began_with)
        try:
            if payload["messages"]:
                await self._send(turn.machine.runtime, payload)
        except BaseException:
            self._rest(turn)
            raise
        turn.context = copy_context()
        turn.answer(sending, client_ids(payload))

    def _rest(self, turn: OpenTurn) -> None:
        """Let go of a turn that no request listens to: it is closed, unless it waits for its client, for a while."""
        if turn.machine.state is not TurnState.PARKED:
            turn.stack.close()
            return
        # It is no turn without an end: what was said in it stands.
        self._conversations.end(turn.conversation_id)
        most = LONGEST_WAIT_SECONDS if turn.machine.calls_clients else self._tool_wait_seconds
        seconds = min(self._tool_wait_seconds, most)
        turn.limit = asyncio.get_running_loop().call_later(seconds, self._expire, turn)
        self._tell(turn.conversation_id, turn.machine.pending)
        turn.stack.callback(turn.limit.cancel)
        turn.stack.callback(self._tell, turn.conversation_id, ())

    def _expire(self, turn: OpenTurn) -> None:
        ending = asyncio.create_task(self._end_waiting(turn))
        self._endings[turn.conversation_id] = ending
        ending.add_done_callback(lambda _: self._endings.pop(turn.conversation_id, None))

    async def _waiting_turn(self, conversation_id: str) -> OpenTurn | None:
        """The turn of the conversation that waits for its client, if one does and can still be answered."""
        await self._ending(conversation_id)
        turn = self._turns.get(conversation_id)
        if turn is None or not turn.machine.waits:
            return None
        socket = await self._connection.open_socket()
        if await self._ending(conversation_id):
            return None
        if turn.socket is not socket:
            # The App Server has ended it.
            turn.stack.close()
            await self._reset(turn)
            return None
        if turn.limit:
            turn.limit.cancel()
        return turn

    async def _ending(self, conversation_id: str) -> bool:
        """Wait for the end of a turn that has waited for too long; tell if there was one."""
        if ending := self._endings.get(conversation_id):
            await asyncio.wait([ending])
        return ending is not None

    async def _end_waiting(self, turn: OpenTurn) -> None:
        """End a turn that waits. The agent sees its calls as interrupted; the conversation goes on. Raises nothing."""
        ended = False
        try:
            await self._abort(turn.machine.runtime)
            turn.give_up()
            async with asyncio.timeout(ENDING_SECONDS):
                ended = await turn.over()
        except (errors.UpstreamError, TimeoutError) as error:
            logger.warning("a turn that waited for its client could not be ended: %s", type(error).__name__)
        finally:
            turn.stack.close()
        await self._reset(turn)
        if not ended:
            self._conversations.begin(turn.conversation_id, turn.machine.began_with)
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
            await self._conversations.check_room(runtime, taken=False)
            raise

    async def _follow(self, turn: OpenTurn, take: Take) -> None:
        """Have the events of a turn taken, until it is over or waits for its client. Raises UpstreamError."""
        machine = turn.machine
        turn.begin_following(take)
        while not await turn.rests():
            await self._look_after(machine, turn.waits_in_queue)
        if machine.failure:
            if machine.state is not TurnState.LOST:
                await self._conversations.leave(turn.conversation_id, machine.failure)
            raise machine.failure
        if machine.state is TurnState.ENDED:
            self._conversations.end(turn.conversation_id)
        elif machine.state is not TurnState.PARKED:
            await self._conversations.tag_unfinished(turn.conversation_id)

    async def _look_after(self, machine: TurnMachine, waiting: bool) -> None:
        """See to a turn that is silent. Raises NoSpace, and Stuck where it is queued and will never have its turn."""
        if not waiting:
            await self._conversations.check_room(machine.runtime, taken=True)
        # Another gateway's turn is waited for; a loop that does nothing will never come to this one.
        if not (waiting and machine.loop_idles):
            return
        self._conversations.begin(machine.runtime.conversation_id or "", None)
        await self._abort(machine.runtime)
        raise errors.Stuck("queued behind a turn without an end")

    async def _abort(self, runtime: Runtime) -> None:
        await self._connection.request("abort_message", ServerAnswer, runtime=runtime)

    async def cancel(self, runtime: Runtime) -> None:
        """End the turn of a conversation, as `Upstream.cancel` says."""
        conversation_id = runtime.conversation_id or ""
        if (turn := self._turns.get(conversation_id)) and turn.machine.waits:
            await self._end_waiting(turn)
            return
        # Its end is not waited for, which a silent model would put off for ever: the chat goes on in a fork.
        await self._abort(runtime)
        await self._conversations.tag_unfinished(conversation_id)

    async def aclose(self) -> None:
        """End the turns that wait for their client: nobody could answer them any more."""
        waiting = [turn for id, turn in self._turns.items() if turn.machine.waits and id not in self._endings]
        await asyncio.gather(*self._endings.values(), *map(self._end_waiting, waiting))
