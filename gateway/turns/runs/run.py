"""One turn: find agent and conversation, send, pass on what Letta says; and end it when nobody listens any more.

The run lives in a task of its own, apart from the responses that show it: a response may end at any moment, and
another may take its place, but a run that has begun must be cancelled, and awaited, before the next turn of its chat.
"""

import asyncio
import logging
from contextlib import nullcontext
from enum import Enum, auto

import msgspec

from gateway.domain import errors
from gateway.domain.errors import GatewayError, InvalidModelOutput, PicturesUnseen, ToolNamesTaken
from gateway.domain.events import CallRefused, CallWaits, Event, Failure, SignOfLife, Stop, StopReason, ToolCalled
from gateway.domain.messages import PendingCall
from gateway.letta.notes import NOBODY_ALLOWS
from gateway.letta.upstream import Sending, Upstream
from gateway.settings import Chats
from gateway.turns.chats.conversations import Conversations, KnownConversation
from gateway.turns.people.agents import Agents, KnownAgent
from gateway.turns.runs.log import Reader, Telling
from gateway.turns.runs.queues import Lines
from gateway.turns.runs.requirements import Demand, Withheld
from gateway.turns.runs.schemas import Schemas
from gateway.turns.runs.strict import StrictCalls
from gateway.turns.turn import Turn

logger = logging.getLogger(__name__)
# What follows the reason to stop (usage, the end) follows at once, or never.
DRAIN_SECONDS = 5.0
# How often a silent run is looked at before it counts as hanging.
LOOKS = 4
# Each is a run of its own in Letta, with its own limit of steps.
MOST_DENIALS = 10
# How long another run of the conversation, which is not the gateway's, is given before the next try.
BUSY_SECONDS = 0.25


class Stage(Enum):
    PREPARING = auto()  # waiting, or looking up: may be given up at any point
    SENDING = auto()  # Letta is taking the message; until it names a run, there is none to cancel
    RUNNING = auto()  # Letta is answering
    STOPPED = auto()  # Letta gave its reason to stop, or the run failed: nothing is left to give up


class Means:
    """What all runs use."""

    def __init__(self, upstream: Upstream, settle_seconds: float, silence_seconds: float, chats: Chats) -> None:
        self.upstream = upstream
        self.agents = Agents(upstream, settle_seconds)
        self.conversations = Conversations(upstream)
        self.lines = Lines(chats.queue_length, chats.queue_seconds)
        self.schemas = Schemas()
        self.silence_seconds = silence_seconds
        self.grace_seconds = chats.grace_seconds
        self.queue_seconds = chats.queue_seconds

    def forget(self, turn: Turn) -> None:
        """Look agent and conversation up again: Letta does not know one of them any more."""
        self.agents.forget(turn.agent_type, turn.caller.user)
        self.conversations.forget(turn.marker)


class Run:
    """A turn under way, or one that has ended. Whoever reads it follows it from its beginning."""

    def __init__(self, turn: Turn, means: Means, demand: Demand | None = None) -> None:
        self.turn = turn
        self._withheld = Withheld(demand)
        self._strict = StrictCalls(turn.tools.tools)
        self.telling = Telling(self._unread)
        self._means = means
        self._stage = Stage.PREPARING
        self._left = False
        self._hanging = False
        self._used_memory = False
        self._ended_well = False
        self._waiting: dict[str, str] = {}
        """Calls that Letta tells of before it stops for them, by their ids, and the names of their tools."""
        self._held: list[Event] = []
        self._events = 0
        self._where = "", ""
        self._reading = False
        self._cancelling: asyncio.Task[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self.task = asyncio.create_task(self._drive())

    def follow(self) -> Reader:
        """All that Letta says, from the beginning; a run that nobody reads any more has its reader again."""
        if self._grace:
            self._grace.cancel()
            self._grace = None
        return self.telling.follow()

    @property
    def left(self) -> bool:
        """Whether the run was given up."""
        return self._left

    @property
    def abandoned(self) -> bool:
        """Whether nobody reads it now."""
        return self._grace is not None

    @property
    def answered(self) -> bool:
        """Whether somebody has had the whole answer, though Letta may not have closed its stream yet."""
        return self._ended_well and self.telling.is_read

    def _unread(self) -> None:
        """Nobody reads any more; somebody may come back."""
        if not self.task.done() and not self._left:
            self._grace = asyncio.get_running_loop().call_later(self._means.grace_seconds, self.leave)

    def leave(self) -> None:
        """Nobody will read any more: give up what is prepared, cancel what runs. Returns at once."""
        if self._left or self.task.done():
            return
        self._left = True
        if self._stage is Stage.PREPARING:
            # At once: the next turn of the chat may be about to begin.
            self._means.conversations.keep_for_later(self.turn)
            self.task.cancel()
        elif self._stage is Stage.RUNNING:
            self._begin_cancel()

    def stop(self) -> None:
        """End the run from this side; its readers are told."""
        self.telling.fail(errors.Stopped("the gateway is shutting down"))
        self.leave()

    async def _drive(self) -> None:
        turn = self.turn
        try:
            # Nobody else has a chat without an id.
            async with nullcontext() if turn.scratch else self._means.lines.turn(turn.marker):
                await self._do()
        except Exception as error:
            # What was refused for what it says would be refused again, with all that comes after it.
            if self._stage is Stage.PREPARING and not isinstance(
                error, errors.QueueFull | errors.TooLong | GatewayError
            ):
                self._means.conversations.keep_for_later(turn)
            self.telling.fail(error)
        finally:
            self.telling.end()

    async def _do(self) -> None:
        """The whole turn; once more where the answer is not as demanded. Raises InvalidModelOutput."""
        turn = self.turn
        for words in self._withheld.words:
            self.turn = turn.told(words)
            self._stage, self._ended_well, self._events = Stage.PREPARING, False, 0
            await self._take()
            left = await self._withheld.release(self._ended_well, self._means.schemas.fits)
            if left is not None:
                if left:
                    self.telling.tell(left)
                return
        raise InvalidModelOutput

    async def _take(self) -> None:
        """Send and read; again where Letta is busy, and once more where it has lost what was found before."""
        patience = asyncio.get_running_loop().time() + self._means.queue_seconds
        lost, patient = False, True
        while True:
            try:
                return await self._send(*await self._find(patient))
            except errors.UpstreamError as error:
                # Where something was told already, its readers have the error as well.
                if self._left or self._stage is Stage.STOPPED:
                    raise
                self._stage = Stage.PREPARING
                if isinstance(error, errors.Busy) and not isinstance(error, errors.Stuck):
                    patient = await self._be_patient(error, patience)
                elif isinstance(error, errors.NotFound | errors.Stuck) and not lost:
                    lost = True
                    self._means.forget(self.turn)
                else:
                    raise

    async def _be_patient(self, error: errors.Busy, until: float) -> bool:
        """Whether there is time for more than one more try. Raises `error` if there is none, and no other way."""
        if asyncio.get_running_loop().time() + BUSY_SECONDS > until:
            if isinstance(error, errors.Abandoned):
                return False
            raise error
        await asyncio.sleep(BUSY_SECONDS)
        return True

    async def _find(self, patient: bool) -> tuple[KnownAgent, KnownConversation, Sending]:
        turn, means = self.turn, self._means
        agent = await means.agents.get(turn.agent_type, turn.caller.user)
        names = turn.tools.names
        if names and (taken := names & await means.agents.own_tools(agent, turn.agent_type)):
            raise ToolNamesTaken(taken)
        if any(message.images for message in turn.asked.news) and not await means.upstream.sees(agent.id):
            raise PicturesUnseen
        return agent, *await means.conversations.find(agent, turn, patient)

    async def _send(self, agent: KnownAgent, conversation: KnownConversation, sending: Sending) -> None:
        self._stage = Stage.SENDING
        self._where = agent.id, conversation.id
        self._watch_for(self._means.silence_seconds)
        try:
            await self._read(sending)
            await self._deny(sending)
            await self._check_calls(sending)
        except (Exception, asyncio.CancelledError) as error:
            if self._is_not_begun(error):
                self._means.conversations.release(self.turn, conversation)
                raise
            await self._give_up(error)
            await self._settle(conversation, sending)
            raise self._failure(error) from None
        else:
            await self._settle(conversation, sending)
        finally:
            self._unwatch()
            agent.memory_version += self._used_memory

    def _is_not_begun(self, error: BaseException) -> bool:
        """Whether Letta has refused what it was sent before the run said anything."""
        if isinstance(error, errors.Stuck):
            # Told by the loop itself, after its signs of life.
            return not self._events
        return self._stage is Stage.SENDING and isinstance(error, errors.Busy | errors.NotFound | errors.TooLong)

    async def _settle(self, conversation: KnownConversation, sending: Sending) -> None:
        answer = self.telling.answer(whole=self._ended_well) + self._withheld.text
        pending = tuple(PendingCall(id, name) for id, name in self._waiting.items())
        await self._means.conversations.settle(self.turn, conversation, sending, answer, self._ended_well, pending)

    async def _deny(self, sending: Sending) -> None:
        """Go on without approvals that nobody is asked for. Raises RunFailed where the agent asks on and on."""
        for _ in range(MOST_DENIALS):
            if not self._denies():
                return
            await self._read(self._denial(sending, NOBODY_ALLOWS))
        if self._denies():
            raise errors.RunFailed("the agent asks for nothing but what nobody can allow")

    def _denies(self) -> bool:
        """Whether Letta waits for an approval that nobody is asked for."""
        if self.turn.agent_type.asks or not self._waiting:
            return False
        return self.turn.tools.names.isdisjoint(self._waiting.values())

    async def _check_calls(self, sending: Sending) -> None:
        """Go on once more where arguments do not match. Raises InvalidModelOutput where they still do not."""
        if fault := await self._fault():
            self._strict.release()
            await self._read(self._denial(sending, fault))
            await self._deny(sending)
            if await self._fault():
                raise InvalidModelOutput
        if held := self._strict.release():
            self._tell(held)

    async def _fault(self) -> str:
        """Why a call is not told; empty where all may be, and where nobody waits for them."""
        if not self._ended_well or self._left:
            return ""
        # Letta has said what it has to say; to judge it may take longer than it has for that.
        self._unwatch()
        return await self._strict.find_fault(self._means.schemas.fits)

    def _denial(self, sending: Sending, reason: str) -> Sending:
        """What the run goes on with, without the calls that wait."""
        denied, self._waiting = tuple(self._waiting), {}
        self._stage, self._ended_well = Stage.RUNNING, False
        self._watch_for(self._means.silence_seconds)
        return msgspec.structs.replace(sending, messages=[], results=(), approved=(), denied=denied, reason=reason)

    async def _give_up(self, error: BaseException) -> None:
        """The run has no end: cancel it if it may go on. Its readers need not wait for that; the next turn must."""
        self._unwatch()
        self._pass_on()
        if self._may_go_on(error):
            self._stage = Stage.STOPPED
            failure = self._failure(error)
            if isinstance(failure, Exception):
                self.telling.fail(failure)
            await self._cancel()

    def _failure(self, error: BaseException) -> BaseException:
        """What ended the run: `error`, or its silence, which ends it by a cancellation of the task."""
        if not self._hanging or not isinstance(error, asyncio.CancelledError):
            return error
        if self.task.cancelling():
            self.task.uncancel()
        return errors.TimedOut("no event but pings")

    def _may_go_on(self, error: BaseException) -> bool:
        """Whether Letta may go on with a run that nobody listens to, and that would lose a turn sent beside it."""
        if self._cancelling:
            return False
        if self._stage is Stage.SENDING and isinstance(error, errors.UpstreamError):
            return error.taken
        return self._stage is not Stage.STOPPED

    async def _read(self, sending: Sending) -> None:
        self._reading = True
        try:
            await self._means.upstream.run(*self._where, sending, self.turn.agent_type.tools, self._receive)
            self._pass_on()
        finally:
            self._reading = False
            if self._cancelling:
                await asyncio.wait([self._cancelling])

    def _receive(self, events: list[Event]) -> None:
        """Take what Letta says. Raises Busy."""
        self._held += events
        if self._is_refusal():
            self._watch_for(DRAIN_SECONDS)
        else:
            self._pass_on()
        if self._left and self._stage is Stage.RUNNING:
            self._begin_cancel()

    def _begin_cancel(self) -> None:
        """Cancel the run, and read on: its end may have been near, and Letta then keeps the turn, until it says more.

        Letta looks only now and then whether a run is cancelled.
        """
        if not self._cancelling:
            self._cancelling = asyncio.create_task(self._cancel())
            self._cancelling.add_done_callback(lambda _: self._read_on())

    def _read_on(self) -> None:
        """A model that has said nothing may go on doing so; one that speaks is soon cut off, or done."""
        seconds = DRAIN_SECONDS if self._events else 0
        asyncio.get_running_loop().call_later(seconds, lambda: self._reading and self.task.cancel())

    def _pass_on(self) -> None:
        """Tell what was held."""
        if self._held:
            held, self._held = self._held, []
            self._note(held)
            if self._denies():
                # It goes on: why it has stopped is nobody's business.
                held = [_refused(event) for event in held if not isinstance(event, Stop)]
                held = [event for event in held if not isinstance(event, CallRefused) or event.reason]
            self._tell(self._strict.take(held))

    def _tell(self, events: list[Event]) -> None:
        self.telling.tell(self._withheld.take(events))

    def _is_refusal(self) -> bool:
        """Whether Letta stops before it has said anything: what follows may be that it is busy. Raises Busy."""
        if self._events or not any(isinstance(event, Stop) and _has_failed(event) for event in self._held):
            return False
        told = [event for event in self._held if isinstance(event, Failure)]
        for event in told:
            if isinstance(event.error, errors.Busy):
                # What runs there is another's, and not to be cancelled.
                self._held, self._stage = [], Stage.SENDING
                raise event.error
        return not told

    def _note(self, events: list[Event]) -> None:
        """Keep what the run itself needs to know of the events."""
        if self._stage is Stage.SENDING:
            self._stage = Stage.RUNNING
        for event in events:
            self._events += not isinstance(event, SignOfLife) or event.progress
            if isinstance(event, Stop):
                self._stage = Stage.STOPPED
                self._watch_for(DRAIN_SECONDS)
                self._means.conversations.answered(self._where[1])
                self._ended_well = not _has_failed(event)
                if event.reason is not StopReason.WAITING:
                    self._waiting = {}
            elif isinstance(event, ToolCalled | CallWaits):
                self._used_memory |= "memory" in event.call.name
                if isinstance(event, CallWaits) and event.call.id:
                    self._waiting[event.call.id] = event.call.name or self._waiting.get(event.call.id, "")

    async def _cancel(self) -> None:
        try:
            await self._means.upstream.cancel(*self._where)
        except errors.UpstreamError as error:
            logger.warning("a run could not be cancelled: %s: %s", type(error).__name__, error)

    def _watch_for(self, seconds: float) -> None:
        """End the run once it says nothing but pings for so long, give or take a quarter.

        A timer looks now and then, so that an event costs nothing.
        """
        loop = asyncio.get_running_loop()
        seen, quiet = self._events, 0

        def look() -> None:
            nonlocal seen, quiet
            quiet = quiet + 1 if seen == self._events else 0
            seen = self._events
            if quiet < LOOKS:
                self._watching = loop.call_later(seconds / LOOKS, look)
            else:
                self._hanging = True
                self.task.cancel()

        self._unwatch()
        self._watching = loop.call_later(seconds / LOOKS, look)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching.cancel()


def _has_failed(stop: Stop) -> bool:
    return stop.reason is StopReason.FAILED


def _refused(event: Event) -> Event:
    """A call that needs an approval which nobody can give, as it is told."""
    if not isinstance(event, CallWaits):
        return event
    name = event.call.name
    line = f"{name} needs an approval, which nobody can give here." if name else ""
    return CallRefused(event.call, line, event.step)
