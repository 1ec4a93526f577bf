"""One turn: find agent and conversation, send, pass on what Letta says; and end it when nobody listens any more.

The run lives in a task of its own, apart from the response that shows it: the response may end at any moment,
but a run that has begun must be cancelled, and awaited, before the next turn of its conversation.
"""

import asyncio
import logging
from enum import Enum, auto

from msgspec import Struct

from gateway.letta import errors
from gateway.letta.events import PING, Event
from gateway.letta.upstream import Message, Upstream
from gateway.settings import AgentType
from gateway.turns.agents import Agents, KnownAgent
from gateway.turns.conversations import Conversations, KnownConversation
from gateway.turns.history import History
from gateway.turns.identity import Caller
from gateway.turns.names import conversation_marker

logger = logging.getLogger(__name__)
# What follows the reason to stop (usage, the end) follows at once, or never.
DRAIN_SECONDS = 5.0
# How often a silent run is looked at before it counts as hanging.
LOOKS = 4
CLOSE_SECONDS = 10.0


class Turn(Struct, frozen=True):
    """One request, as far as a run needs it."""

    agent_type: AgentType
    caller: Caller
    history: History

    @property
    def marker(self) -> str | None:
        user, chat = self.caller.user, self.caller.chat
        return conversation_marker(self.agent_type.id, user.scope, user.id, chat) if chat else None


class Stage(Enum):
    PREPARING = auto()  # waiting, or looking up: may be given up at any point
    SENDING = auto()  # Letta is taking the message; until it names a run, there is none to cancel
    RUNNING = auto()  # Letta is answering
    STOPPED = auto()  # Letta gave its reason to stop, or the run failed: nothing is left to give up


class Run:
    """A turn under way. One reader calls `next` until it gives None or raises; then, or before, it calls `leave`."""

    def __init__(self, turn: Turn, runs: "Runs") -> None:
        self._turn = turn
        self._runs = runs
        self._news: asyncio.Queue[list[Event] | Exception | None] = asyncio.Queue()
        self._stage = Stage.PREPARING
        self._left = False
        self._hanging = False
        self._used_memory = False
        self._events = 0
        self._watching: asyncio.TimerHandle | None = None
        self.task = asyncio.create_task(self._drive())

    async def next(self) -> list[Event] | None:
        """What Letta said since the last call, None at the end. Raises UpstreamError for a run that failed."""
        news = await self._news.get()
        if isinstance(news, Exception):
            raise news
        return news

    def leave(self) -> None:
        """Nobody reads any more: give up what is prepared, cancel what runs. Returns at once."""
        if self._left:
            return
        self._left = True
        if self._stage in (Stage.PREPARING, Stage.RUNNING):
            self.task.cancel()

    def stop(self) -> None:
        """End the run from this side; its reader is told."""
        self._news.put_nowait(errors.Stopped("the gateway is shutting down"))
        self.leave()

    async def _drive(self) -> None:
        try:
            async with self._runs.conversations.lock(self._turn.marker):
                await self._answer()
        except Exception as error:
            self._news.put_nowait(error)
        finally:
            self._news.put_nowait(None)

    async def _answer(self) -> None:
        """Send and read; once more from the start where Letta has lost what was found before, or is stuck in it."""
        try:
            await self._send(*await self._find())
        except (errors.NotFound, errors.Stuck):
            self._runs.forget(self._turn)
            # Where something was told already, its reader has the error as well.
            if self._left or self._stage is Stage.STOPPED:
                raise
            self._stage = Stage.PREPARING
            await self._send(*await self._find())

    async def _find(self) -> tuple[KnownAgent, KnownConversation]:
        turn, runs = self._turn, self._runs
        agent = await runs.agents.get(turn.agent_type, turn.caller.user)
        return agent, await runs.conversations.get(agent, turn.marker, turn.history.old)

    async def _send(self, agent: KnownAgent, conversation: KnownConversation) -> None:
        history = self._turn.history
        self._stage = Stage.SENDING
        self._watch_for(self._runs.silence_seconds)
        try:
            await self._read(agent, conversation, history.path if conversation.new else history.news)
        except (Exception, asyncio.CancelledError) as error:
            failure, goes_on = self._failure(error), self._may_go_on(error)
            if goes_on:
                self._stage = Stage.STOPPED
            self._unwatch()
            # The turn has no end: what Letta keeps of it is looked at before the next.
            self._runs.conversations.forget(self._turn.marker)
            if goes_on:
                # The reader need not wait for the cancel; the next turn of the chat must.
                if isinstance(failure, Exception):
                    self._news.put_nowait(failure)
                await self._cancel(agent, conversation)
            raise failure from None
        finally:
            self._unwatch()
            agent.memory_version += self._used_memory

    def _failure(self, error: BaseException) -> BaseException:
        """What ended the run: `error`, or its silence, which ends it by a cancellation of the task."""
        if self._hanging and isinstance(error, asyncio.CancelledError):
            self.task.uncancel()
            return errors.TimedOut("no event but pings")
        return error

    def _may_go_on(self, error: BaseException) -> bool:
        """Whether Letta may go on with a run that nobody listens to, and that would lose a turn sent beside it."""
        if self._stage is Stage.SENDING and isinstance(error, errors.UpstreamError):
            return error.taken
        return self._stage is not Stage.STOPPED

    async def _read(self, agent: KnownAgent, conversation: KnownConversation, messages: list[Message]) -> None:
        tools = self._turn.agent_type.tools
        async with self._runs.upstream.run(agent.id, conversation.id, messages, tools) as batches:
            async for events in batches:
                self._note(events, conversation)
                self._news.put_nowait(events)
                if self._left and self._stage is Stage.RUNNING:
                    raise asyncio.CancelledError

    def _note(self, events: list[Event], conversation: KnownConversation) -> None:
        """Keep what the run itself needs to know of the events."""
        if self._stage is Stage.SENDING:
            self._stage = Stage.RUNNING
        for event in events:
            kind = event.message_type
            self._events += kind != PING
            if kind == "stop_reason":
                self._stage = Stage.STOPPED
                self._watch_for(DRAIN_SECONDS)
                if event.stop_reason in errors.STOP_REASONS:
                    self._runs.conversations.forget(self._turn.marker)
                else:
                    conversation.new = False
            elif kind == "tool_call_message":
                self._used_memory |= any("memory" in (call.name or "") for call in event.calls)

    async def _cancel(self, agent: KnownAgent, conversation: KnownConversation) -> None:
        try:
            await self._runs.upstream.cancel(agent.id, conversation.id)
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


class Runs:
    """Starts runs and knows those under way, with the agents and conversations they found."""

    def __init__(self, upstream: Upstream, settle_seconds: float, silence_seconds: float) -> None:
        self.upstream = upstream
        self.agents = Agents(upstream, settle_seconds)
        self.conversations = Conversations(upstream)
        self.silence_seconds = silence_seconds
        self._under_way: set[Run] = set()

    def start(self, turn: Turn) -> Run:
        run = Run(turn, self)
        self._under_way.add(run)
        run.task.add_done_callback(lambda _: self._under_way.discard(run))
        return run

    def forget(self, turn: Turn) -> None:
        """Look agent and conversation up again: Letta does not know one of them any more."""
        self.agents.forget(turn.agent_type, turn.caller.user)
        self.conversations.forget(turn.marker)

    def stop(self) -> None:
        """End every run under way; their readers are told."""
        for run in list(self._under_way):
            run.stop()

    async def aclose(self) -> None:
        """Returns when every run has ended, cancelled in Letta where it had to be; or when that took too long."""
        self.stop()
        if tasks := [run.task for run in self._under_way]:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
