"""The driver of a run: carries out the course of one turn, with the tasks, timers and calls that it needs.

A run lives in a task of its own, apart from the responses that show it: a response may end at any moment, and another
may take its place, but a run that has begun must be cancelled, and awaited, before the next turn of its chat.

Who owns what: the course knows where the run is, the log what it has told, and the driver all tasks and timers. Letta
is told of a cancel in a task of its own and not in a `TaskGroup`: a group cancels its tasks with the run, and a cancel
that has begun must come to its end.
"""

import asyncio
import logging
import time
import uuid
from contextlib import suppress
from contextvars import copy_context

import msgspec

from gateway.domain import errors
from gateway.domain.errors import GatewayError, InvalidModelOutput, PicturesUnseen, ToolNamesTaken
from gateway.domain.events import Event, Stop, TokensCounted
from gateway.letta.notes import NOBODY_ALLOWS
from gateway.letta.upstream import Sending
from gateway.shared.lines import OWN_PLACE, Place
from gateway.turns.chats.known import KnownConversation
from gateway.turns.people.agents import KnownAgent, agent_key
from gateway.turns.runs.account import Account, untold
from gateway.turns.runs.course import Course, Heard
from gateway.turns.runs.log import Reader, RunLog
from gateway.turns.runs.means import Means, owner_of
from gateway.turns.runs.requirements import AnswerGate, Requirement
from gateway.turns.runs.strict import StrictCalls
from gateway.turns.turn import Turn
from gateway.watch import Watch

logger = logging.getLogger(__name__)
# What follows the reason to stop (usage, the end) follows at once, or never.
DRAIN_SECONDS = 5.0
# Every denial starts another run in Letta, with its own limit of steps.
MOST_DENIALS = 10
# How long another run of the conversation, which is not the gateway's, is given before the next try.
BUSY_SECONDS = 0.25


def new_run_id() -> str:
    """An id that no run has had."""
    return f"run_{uuid.uuid4().hex}"


class Run:
    """A turn under way, or one that has ended. Whoever reads it follows it from its beginning."""

    def __init__(
        self, turn: Turn, means: Means, requirement: Requirement | None = None, id: str = "", head: bytes = b""
    ) -> None:
        self.id = id or new_run_id()
        self.owner = owner_of(turn)
        self.turn = turn
        self.account = Account()
        self.log = RunLog(self._unread, head)
        self._means = means
        self._gate = AnswerGate(requirement)
        self._strict = StrictCalls(turn.tools.tools)
        # Most runs have neither, and their events pass nothing on their way to the log.
        self._filters = [one for one in (self._strict, self._gate) if one.is_needed]
        self._course = Course(not turn.agent_type.asks, turn.tools.names, self._filters, self.account)
        self._watch = Watch(self._hang)
        self._hanging = False
        self._where = "", ""
        """The ids of agent and conversation."""
        self._place: Place = OWN_PLACE
        """The place in the line of its chat, once it has that."""
        self._listening = False
        """True: Letta may still say something."""
        self._cancelling: asyncio.Task[None] | None = None
        self.is_let_go = False
        """True: Letta goes on with it alone."""
        self._grace: asyncio.TimerHandle | None = None
        self._context = copy_context()
        """The context of the request that has begun it: what Letta says comes in another."""
        self.task = asyncio.create_task(self._drive())
        self.task.add_done_callback(lambda _: self.account.close())

    # Its readers

    def follow(self, after: int = 0) -> Reader:
        """All that Letta says, but the first `after` events; a run that nobody reads any more has its reader again."""
        if self._grace:
            self._grace.cancel()
            self._grace = None
        return self.log.follow(after)

    @property
    def left(self) -> bool:
        """True: the run was given up."""
        return self._course.left

    @property
    def abandoned(self) -> bool:
        """True: nobody reads it now; somebody may come back."""
        return self._grace is not None

    @property
    def answered(self) -> bool:
        """True: somebody has had the whole answer, though Letta may not have closed its stream yet."""
        return self._course.ended_well and self.log.is_read

    def _unread(self) -> None:
        if not (self.task.done() or self.left or self.turn.outlives):
            self._grace = asyncio.get_running_loop().call_later(self._means.grace_seconds, self.leave)

    def leave(self) -> None:
        """Nobody will read any more: give up what is prepared, cancel what runs. Returns at once."""
        if self.left or self.task.done():
            return
        dropped = self._course.may_be_dropped
        cancels = self._course.leave()
        if dropped:
            # At once: the next turn of the chat may be about to begin.
            self._means.conversations.keep_for_later(self.turn)
            self.task.cancel()
        elif cancels:
            self._begin_cancel()

    def give_way(self) -> None:
        """Another turn of the chat waits: a run that nobody reads any more ends at once."""
        if self.abandoned:
            self.leave()

    def stop(self) -> None:
        """End the run from this side; its readers are told.

        One that outlives its readers goes on in a Letta that keeps it, and nobody here listens any more.
        """
        self.log.fail(errors.Stopped("the gateway is shutting down"))
        if self.turn.outlives and self._means.upstream.capabilities.keeps_runs and not self._course.may_be_dropped:
            self.is_let_go = True
            self.task.cancel()
        else:
            self.leave()

    def cancel(self) -> None:
        """End the run, for whoever asked for it does not want it any more; its readers are told."""
        self.log.fail(errors.Unwanted("its client has cancelled it"))
        self.leave()

    # From the turn down to one call of the upstream: each does one thing more than the next

    async def _drive(self) -> None:
        """The run in its chat's queue, to the end of its log."""
        turn, loop = self.turn, asyncio.get_running_loop()
        began = loop.time()
        try:
            async with self._means.place_of(turn, self.give_way) as self._place:
                self.account.queued_seconds = loop.time() - began
                if not (turn.scratch or self._place.is_unbroken):
                    self._means.conversations.look_again(turn.marker)
                await self._run_as_required()
        except Exception as error:
            # What was refused for what it says would be refused again, with all that comes after it.
            final = isinstance(error, errors.QueueFull | errors.TooLong | GatewayError)
            if self._course.may_be_dropped and not final:
                self._means.conversations.keep_for_later(turn)
            self.log.fail(error)
        finally:
            self.log.end()

    async def _run_as_required(self) -> None:
        """The whole turn; once more where the answer is not as required. Raises InvalidModelOutput."""
        turn = self.turn
        for words in self._gate.tries:
            self.turn = turn.told(words) if words else turn
            self._course.retry(anew=True)
            await self._run_with_patience()
            told = await self._gate.open_if_met(self._course.ended_well, self._means.schemas.fits)
            if told is not None:
                self._tell(told)
                return
        raise InvalidModelOutput

    async def _run_with_patience(self) -> None:
        """A run; again where Letta is busy, and once more where it has lost what was found before."""
        patience = asyncio.get_running_loop().time() + self._means.queue_seconds
        lost, patient = False, True
        while True:
            try:
                self._place.check()
                return await self._run_once(*await self._find(patient))
            except errors.UpstreamError as error:
                # Where something was told already, its readers have the error as well.
                if self.left or self._course.is_stopped:
                    raise
                self._course.retry()
                if isinstance(error, errors.Busy) and not isinstance(error, errors.Stuck):
                    patient = await self._be_patient(error, patience)
                elif isinstance(error, errors.NotFound | errors.Stuck) and not lost:
                    lost = True
                    self._means.forget(self.turn)
                else:
                    raise

    async def _be_patient(self, error: errors.Busy, until: float) -> bool:
        """True while there is time for more than one more try. Raises `error` if there is none, and no other way."""
        if asyncio.get_running_loop().time() + BUSY_SECONDS > until:
            if isinstance(error, errors.Abandoned):
                return False
            raise error
        await asyncio.sleep(BUSY_SECONDS)
        return True

    async def _find(self, patient: bool) -> tuple[KnownAgent, KnownConversation, Sending]:
        """Agent and conversation, and what is sent there. Raises GatewayError, UpstreamError."""
        turn, means = self.turn, self._means
        agent = await means.agents.get(turn.agent_type, turn.caller.user)
        if agent.is_unused:
            agent.is_unused, self.account.made_agent = False, True
        names = turn.tools.names
        if names and (taken := names & await means.agents.own_tools(agent, turn.agent_type)):
            raise ToolNamesTaken(taken)
        if any(message.images for message in turn.asked.news) and not await means.upstream.sees(agent.id):
            raise PicturesUnseen
        return agent, *await means.conversations.find(agent, turn, patient)

    async def _run_once(self, agent: KnownAgent, conversation: KnownConversation, sending: Sending) -> None:
        """One run of Letta's, with all that it goes on with, and what is kept of it."""
        self._course.send()
        self._where = self.account.agent, self.account.conversation = agent.id, conversation.id
        self._watch.start(self._means.silence_seconds)
        begun, before = self.log.count, self.account.tokens
        try:
            await self._listen(sending)
            await self._deny_approvals(sending)
            await self._check_calls(sending)
        except (Exception, asyncio.CancelledError) as error:
            if self._course.is_not_begun(error):
                self._means.conversations.release(self.turn, conversation)
                raise
            await self._give_up(error)
            self._count_untold(begun, before)
            await self._settle(conversation, sending)
            raise self._failure(error) from None
        else:
            self._count_untold(begun, before)
            await self._settle(conversation, sending)
        finally:
            self._watch.stop()
            if self._course.used_memory:
                turn = self.turn
                self._means.agents.used_memory(agent, agent_key(turn.agent_type, turn.caller.user))

    async def _listen(self, sending: Sending) -> None:
        """One call of the upstream, to its end. Raises Overtaken before it is sent anything."""
        self._check_place()
        self._listening = True
        try:
            await self._means.upstream.run(*self._where, sending, self.turn.agent_type.tools, self._hear)
            self._carry_out(self._course.flush())
        finally:
            self._listening = False
            if self._cancelling:
                await asyncio.wait([self._cancelling])

    def _check_place(self) -> None:
        """Return if no other gateway may have gone on with the chat meanwhile. Raises Overtaken."""
        self._place.check()
        self._means.conversations.check(self._where[1])

    # What Letta says

    def _hear(self, events: list[Event]) -> None:
        """Take what Letta says, in the callback in which it was read. Raises Busy."""
        self._carry_out(self._course.hear(events))

    def _carry_out(self, heard: Heard) -> None:
        self._watch.progress = self._course.progress
        if heard.stopped:
            self._watch.start(DRAIN_SECONDS)
            self._means.conversations.answered(self._where[1])
        elif heard.refusing:
            self._watch.start(DRAIN_SECONDS)
        if heard.cancels:
            self._begin_cancel()
        # At last: the readers are told within this call.
        if heard.told:
            self.log.append(_dated(heard.told) if heard.stopped else heard.told)

    def _tell(self, events: list[Event]) -> None:
        if events:
            self.log.append(_dated(events))

    # What a run goes on with

    async def _deny_approvals(self, sending: Sending) -> None:
        """Go on without approvals that nobody is asked for. Raises RunFailed where the agent asks on and on."""
        for _ in range(MOST_DENIALS):
            if not self._course.denies:
                return
            await self._go_on(sending, NOBODY_ALLOWS)
        if self._course.denies:
            raise errors.RunFailed("the agent asks for nothing but what nobody can allow")

    async def _check_calls(self, sending: Sending) -> None:
        """Go on once more where arguments do not match. Raises InvalidModelOutput where they still do not."""
        if fault := await self._fault():
            self._strict.release()
            await self._go_on(sending, fault)
            await self._deny_approvals(sending)
            if await self._fault():
                raise InvalidModelOutput
        self._tell(self._gate.take(self._strict.release()))

    async def _fault(self) -> str:
        """The reason why a call is not told; empty where all may be, and where nobody waits for them."""
        if not self._course.ended_well or self.left:
            return ""
        # Letta has said what it has to say; to judge it may take longer than it has for that.
        self._watch.stop()
        return await self._strict.find_fault(self._means.schemas.fits)

    async def _go_on(self, sending: Sending, reason: str) -> None:
        """Have the run go on without the calls that wait, which are denied for a `reason` that the agent is told."""
        denied = self._course.resume()
        self._watch.start(self._means.silence_seconds)
        rest = msgspec.structs.replace(sending, messages=[], results=(), approved=(), denied=denied, reason=reason)
        await self._listen(rest)

    # Its end

    async def _give_up(self, error: BaseException) -> None:
        """The run has no end: cancel it if it may go on. Its readers need not wait for that; the next turn must."""
        self._watch.stop()
        self._carry_out(self._course.flush())
        self._watch.stop()
        if self._course.fail(error) and not (self._cancelling or self.is_let_go):
            failure = self._failure(error)
            if isinstance(failure, Exception):
                self.log.fail(failure)
            await self._cancel()

    def _count_untold(self, begun: int, before: TokensCounted) -> None:
        """Add to the account what Letta has not told of a run that began after so many events, with that account."""
        account, asked, well = self.account, self.turn.asked, self._course.ended_well
        if well and account.tokens is not before:
            return
        events = self.log.since(begun) + [event for one in self._filters for event in one.held]
        characters = len(asked.instructions) + sum(len(message.content) for message in asked.path)
        more = untold(events, characters, cut=not well and (self.left or self._hanging))
        account.count(more, estimated=True)

    async def _settle(self, conversation: KnownConversation, sending: Sending) -> None:
        if self.is_let_go:
            self._means.conversations.release(self.turn, conversation)
            return
        well = self._course.ended_well
        answer = self.log.answer(whole=well) + self._gate.text
        with suppress(errors.Overtaken):
            self._check_place()
            await self._means.conversations.settle(self.turn, conversation, sending, answer, well, self._course.pending)
            return
        self._means.conversations.release(self.turn, conversation)

    def _failure(self, error: BaseException) -> BaseException:
        """The end of the run: `error`, or its silence, which ends it by a cancellation of the task."""
        if not self._hanging or not isinstance(error, asyncio.CancelledError):
            return error
        if self.task.cancelling():
            self.task.uncancel()
        return errors.TimedOut("no event but pings")

    def _hang(self) -> None:
        self._hanging = True
        self.task.cancel()

    def _begin_cancel(self) -> None:
        """Cancel the run, and read on: its end may have been near, and Letta then keeps the turn, until it says more.

        Letta looks only now and then whether a run is cancelled.
        """
        if not self._cancelling:
            self._cancelling = asyncio.create_task(self._cancel(), context=self._context)
            self._cancelling.add_done_callback(lambda _: self._listen_no_more())

    def _listen_no_more(self) -> None:
        """A model that has said nothing may go on doing so; one that speaks is soon cut off, or done."""
        seconds = DRAIN_SECONDS if self._course.heard_any else 0
        asyncio.get_running_loop().call_later(seconds, lambda: self._listening and self.task.cancel())

    async def _cancel(self) -> None:
        self.account.cancelled = True
        try:
            await self._means.upstream.cancel(*self._where)
        except errors.UpstreamError as error:
            logger.warning("a run could not be cancelled: %s: %s", type(error).__name__, error)


def _dated(events: list[Event]) -> list[Event]:
    """The events, in which the end of the run has its time."""
    now = int(time.time())
    return [msgspec.structs.replace(event, at=now) if isinstance(event, Stop) else event for event in events]
