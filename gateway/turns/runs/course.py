"""The course of a run: a machine that performs no I/O and knows no clock. `driver.py` carries out what it says.

A run is sent, heard, and stops; it may be left by its readers at any moment, refused before it has begun, and go on
again after it has stopped, without calls that nobody may make. STAGES has every way from one stage to another; any
other raises.
"""

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Protocol

from msgspec import Struct

from gateway.domain import errors
from gateway.domain.events import (
    CallRefused,
    CallWaits,
    Event,
    Failure,
    SignOfLife,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.messages import PendingCall
from gateway.turns.runs.account import Account


class Stage(Enum):
    PREPARING = auto()  # waiting, or looking up: may be given up at any point
    SENDING = auto()  # Letta is taking the message; until it says something, there is no run to cancel
    RUNNING = auto()  # Letta is answering
    CANCELLING = auto()  # nobody wants the answer: Letta is told so, and read on, for its end may have been near
    STOPPED = auto()  # Letta has given its reason to stop, or the run has failed: there is nothing left to give up


class Step(Enum):
    SEND = auto()  # the message goes to Letta
    HEAR = auto()  # Letta says something
    STOP = auto()  # Letta gives its reason to stop
    FAIL = auto()  # the run has failed, or is given up, while Letta may go on with it
    REFUSE = auto()  # Letta has not taken the message
    LEAVE = auto()  # nobody reads any more
    RESUME = auto()  # the run goes on without the calls that wait
    RETRY = auto()  # the turn begins once more


# The ways of a run: stage -> step -> the next stage.
STAGES: dict[Stage, dict[Step, Stage]] = {
    Stage.PREPARING: {Step.SEND: Stage.SENDING, Step.LEAVE: Stage.STOPPED, Step.RETRY: Stage.PREPARING},
    Stage.SENDING: {
        Step.HEAR: Stage.RUNNING,
        Step.STOP: Stage.STOPPED,
        Step.FAIL: Stage.STOPPED,
        Step.REFUSE: Stage.SENDING,
        Step.LEAVE: Stage.SENDING,
        Step.RETRY: Stage.PREPARING,
    },
    Stage.RUNNING: {
        Step.HEAR: Stage.RUNNING,
        Step.STOP: Stage.STOPPED,
        Step.FAIL: Stage.STOPPED,
        Step.REFUSE: Stage.SENDING,
        Step.LEAVE: Stage.CANCELLING,
        Step.RETRY: Stage.PREPARING,
    },
    Stage.CANCELLING: {
        Step.HEAR: Stage.CANCELLING,
        Step.STOP: Stage.STOPPED,
        Step.FAIL: Stage.STOPPED,
        Step.REFUSE: Stage.SENDING,
        Step.LEAVE: Stage.CANCELLING,
    },
    Stage.STOPPED: {
        Step.HEAR: Stage.STOPPED,
        Step.STOP: Stage.STOPPED,
        Step.FAIL: Stage.STOPPED,
        Step.LEAVE: Stage.STOPPED,
        Step.RESUME: Stage.RUNNING,
        Step.RETRY: Stage.PREPARING,
    },
}


class Filter(Protocol):
    """A stage of what is told: rare runs have some, which hold events back or change them."""

    @property
    def held(self) -> Sequence[Event]:
        """The events that are held back now."""
        ...

    def take(self, events: list[Event]) -> list[Event]:
        """The events that may be told now."""
        ...


class Heard(Struct, frozen=True):
    """The consequences of events that were heard."""

    told: list[Event] = []
    """The events that the run's readers are told."""
    stopped: bool = False
    """True: Letta has stopped: what follows that follows soon, or never."""
    refusing: bool = False
    """True: Letta has stopped before it said anything: why it did is yet to come."""
    cancels: bool = False
    """True: nobody wants the run, and now there is one to cancel."""


NOTHING_HEARD = Heard()


class Course:
    """The place of a run on its way through the stages.

    `denies_approvals`: nobody is asked, and only calls of the tools in `clients` wait. `account` is told of the calls,
    and of what they and all else have cost.
    """

    def __init__(
        self,
        denies_approvals: bool,
        clients: Iterable[str],
        filters: Sequence[Filter] = (),
        account: Account | None = None,
    ) -> None:
        self.stage = Stage.PREPARING
        self.left = False
        """True: nobody reads any more, nor ever will."""
        self.ended_well = False
        """True: Letta has stopped with an answer, or for calls that wait."""
        self.used_memory = False
        """True: a memory tool was called: prompts that were compiled before may be out of date."""
        self.heard_any = False
        """True: Letta has said more than that it lives, in this try."""
        self.progress = 0
        """Goes up with everything that is no mere ping; a run in which it does not is hanging."""
        self._waiting: dict[str, str] = {}
        """Calls that wait, by their ids, and the names of their tools; Letta tells of them before it stops."""
        self._held: list[Event] = []
        self._denies_approvals = denies_approvals
        self._clients = frozenset(clients)
        self._filters = filters
        self._account = account or Account()

    def _go(self, step: Step) -> None:
        self.stage = STAGES[self.stage][step]

    @property
    def may_be_dropped(self) -> bool:
        """True: nothing was sent, so that giving up leaves nothing behind."""
        return self.stage is Stage.PREPARING

    @property
    def is_stopped(self) -> bool:
        return self.stage is Stage.STOPPED

    @property
    def pending(self) -> tuple[PendingCall, ...]:
        """The calls that the run waits for."""
        return tuple(PendingCall(id, name) for id, name in self._waiting.items())

    @property
    def denies(self) -> bool:
        """True: the run waits for an approval that nobody is asked for."""
        return self._denies_approvals and bool(self._waiting) and self._clients.isdisjoint(self._waiting.values())

    def retry(self, anew: bool = False) -> None:
        """The turn is prepared once more; `anew`, after a whole answer that was thrown away."""
        self._go(Step.RETRY)
        if anew:
            self.ended_well = self.heard_any = False

    def send(self) -> None:
        self._go(Step.SEND)

    def leave(self) -> bool:
        """Nobody reads any more. True if a run is to be cancelled for that now."""
        self.left = True
        was = self.stage
        self._go(Step.LEAVE)
        return was is Stage.RUNNING

    def hear(self, events: list[Event]) -> Heard:
        """Letta says something. Raises Busy where it turns out that it has not taken the message."""
        if not self.heard_any:
            self._held += events
            return Heard(refusing=True) if self._is_refusing() else self.flush()
        return self._give([*self._held, *events] if self._held else events)

    def flush(self) -> Heard:
        """Give what was heard and not told yet."""
        if not self._held:
            return NOTHING_HEARD
        return self._give(self._held)

    def _give(self, events: list[Event]) -> Heard:
        self._held = []
        stopped = self._observe(events)
        cancels = self.left and self.stage is Stage.RUNNING
        if cancels:
            self._go(Step.LEAVE)
        told = self._without_denied(events) if self._waiting and self.denies else events
        for one in self._filters:
            told = one.take(told)
        return Heard(told, stopped, cancels=cancels)

    def resume(self) -> tuple[str, ...]:
        """The run goes on without the calls that wait: their ids."""
        self._go(Step.RESUME)
        denied, self._waiting, self.ended_well = tuple(self._waiting), {}, False
        return denied

    def is_not_begun(self, error: BaseException) -> bool:
        """True: Letta has refused what it was sent before the run said anything."""
        if isinstance(error, errors.Stuck):
            # Told by the loop itself, after its signs of life.
            return not self.heard_any
        return self.stage is Stage.SENDING and isinstance(error, errors.Busy | errors.NotFound | errors.TooLong)

    def fail(self, error: BaseException) -> bool:
        """The run has no end. True if Letta may go on with it: it would lose a turn that was sent beside it."""
        if self.stage is Stage.SENDING and isinstance(error, errors.UpstreamError) and not error.taken:
            return False
        if self.stage in (Stage.STOPPED, Stage.CANCELLING):
            return False
        self._go(Step.FAIL)
        return True

    def _is_refusing(self) -> bool:
        """True: Letta stops before it has said anything: what follows may be that it is busy. Raises Busy."""
        if not any(isinstance(event, Stop) and _has_failed(event) for event in self._held):
            return False
        failures = [event.error for event in self._held if isinstance(event, Failure)]
        for error in failures:
            if isinstance(error, errors.Busy):
                # What runs there is another's, and not to be cancelled.
                self._held = []
                self._go(Step.REFUSE)
                raise error
        return not failures

    def _observe(self, events: list[Event]) -> bool:
        """Keep what the run itself needs to know of the events; True if Letta stops with them."""
        if self.stage is not Stage.RUNNING:
            self._go(Step.HEAR)
        stopped = False
        for event in events:
            if isinstance(event, Text | Thought):
                self.heard_any = True
                self.progress += 1
                continue
            if isinstance(event, SignOfLife):
                self.heard_any |= event.progress
                self.progress += event.progress
                continue
            self.heard_any = True
            self.progress += 1
            if isinstance(event, Stop):
                stopped = True
                self._go(Step.STOP)
                self.ended_well = not _has_failed(event)
                if event.reason is not StopReason.WAITING:
                    self._waiting = {}
            elif isinstance(event, ToolCalled | CallWaits):
                self.used_memory |= "memory" in event.call.name
                self._account.called(event.call, clients=event.call.name in self._clients)
                if isinstance(event, CallWaits) and event.call.id:
                    self._waiting[event.call.id] = event.call.name or self._waiting.get(event.call.id, "")
            else:
                self._note(event)
        return stopped

    def _note(self, event: Event) -> None:
        """Note what only the account of the run needs to know."""
        if isinstance(event, TokensCounted):
            self._account.count(event)
        elif isinstance(event, ToolReturned):
            self._account.returned(event.call_id, event.failed)

    def _without_denied(self, events: list[Event]) -> list[Event]:
        """The run goes on: its readers are told of calls that are refused, and not that it has stopped."""
        told = [_refused(event) if isinstance(event, CallWaits) else event for event in events]
        return [event for event in told if not isinstance(event, Stop) and not _says_nothing(event)]


def _says_nothing(event: Event) -> bool:
    """True for a further piece of a call that was told as refused."""
    return isinstance(event, CallRefused) and not event.reason


def _has_failed(stop: Stop) -> bool:
    return stop.reason is StopReason.FAILED


def _refused(event: CallWaits) -> CallRefused:
    """A call that needs an approval which nobody can give, as it is told."""
    name = event.call.name
    line = f"{name} needs an approval, which nobody can give here." if name else ""
    return CallRefused(event.call, line, event.step)
