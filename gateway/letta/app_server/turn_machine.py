"""One turn of an App Server's conversation as a machine: frames go in, events and answers come out. Performs no I/O.

A turn goes from its first message to its end, over any number of requests: while it waits for its client, it is parked.
The App Server asks for the answer to each call by itself, one after the other: before there is one, or after.

    machine = TurnMachine(Runtime("agent-1", "conv-1"), ["gw-1"], clients=["weather"])
    events = machine.receive(frame)     for each frame of the conversation, in the order in which they arrive
    frames = machine.answers_to_send()  after each call
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto

import msgspec

from gateway.domain import errors
from gateway.domain.events import (
    PROGRESS,
    CallPiece,
    CallRefused,
    CallWaits,
    Event,
    Remark,
    Stop,
    StopReason,
    Text,
    Thought,
    ToolCalled,
)
from gateway.domain.messages import PendingCall
from gateway.domain.texts.joining import Joiner
from gateway.letta.app_server.frames import (
    Arrival,
    ControlRequest,
    Frame,
    LoopStatus,
    OutgoingFrame,
    Runtime,
    StreamDelta,
    ToolRequest,
    offered_name,
)
from gateway.letta.app_server.input import CallReply, merged, to_result
from gateway.letta.error_words import from_loop_error, from_provider, innermost_message
from gateway.letta.notes import CLIENT_GAVE_NO_ANSWER, NOT_AVAILABLE, denial
from gateway.letta.stream_messages import content_text, to_events, to_stop
from gateway.letta.upstream import Sending


class TurnState(Enum):
    """The states of a turn."""

    SENT = auto()  # its messages are on their way, or queued behind another turn: no run has taken them
    RUNNING = auto()  # a run has taken them, and the agent is at work
    PARKED = auto()  # calls wait for the client's results, or for an approval; what arrives is kept for later
    ENDING = auto()  # nobody answered its calls in time: it was given up, and its end is waited for
    ENDED = auto()  # it has its end, and an answer
    CUT_OFF = auto()  # it has its end without an answer: it was cancelled, or failed
    FAILED = auto()  # it fails; its end is not waited for, because the App Server would try on and on
    LOST = auto()  # the connection broke, and the turn with it


class TurnChange(Enum):
    """The changes that take a turn from one state to another."""

    TAKEN = auto()  # a run has taken its messages
    CALLS_WAIT = auto()  # a step has called what somebody else than the gateway must answer
    ANSWERED = auto()  # all that waits has an answer
    GIVEN_UP = auto()  # what waits will have none
    END = auto()  # the App Server ends it, with an answer
    CUT = auto()  # the App Server ends it, without one
    FAIL = auto()  # the loop or the model's provider fails
    BREAK = auto()  # the connection breaks


_OVER = {
    TurnChange.END: TurnState.ENDED,
    TurnChange.CUT: TurnState.CUT_OFF,
    TurnChange.FAIL: TurnState.FAILED,
    TurnChange.BREAK: TurnState.LOST,
}
TRANSITIONS: dict[TurnState, dict[TurnChange, TurnState]] = {
    TurnState.SENT: {TurnChange.TAKEN: TurnState.RUNNING, TurnChange.CALLS_WAIT: TurnState.PARKED, **_OVER},
    TurnState.RUNNING: {TurnChange.TAKEN: TurnState.RUNNING, TurnChange.CALLS_WAIT: TurnState.PARKED, **_OVER},
    TurnState.PARKED: {TurnChange.ANSWERED: TurnState.RUNNING, TurnChange.GIVEN_UP: TurnState.ENDING},
    # Answers that come now are too late, and are told all the same.
    TurnState.ENDING: {
        **dict.fromkeys(
            (TurnChange.TAKEN, TurnChange.CALLS_WAIT, TurnChange.ANSWERED, TurnChange.GIVEN_UP), TurnState.ENDING
        ),
        **_OVER,
    },
    **{state: {} for state in _OVER.values()},
}


class IllegalTurnChange(Exception):
    """A change that the state of a turn does not allow: a fault of the gateway's."""


# A loop that waits for input runs nothing: what it queues meanwhile, it will never run.
IDLE = "WAITING_ON_INPUT"
# One that has asked the model has found agent and conversation, and taken the messages.
ASKED = frozenset({"WAITING_FOR_API_RESPONSE", "PROCESSING_API_RESPONSE"})
# Reasons to stop after which the turn stands as it is.
STANDS = frozenset({"end_turn", "max_steps", "max_tokens_exceeded", "tool_rule", "no_tool_call"})


class TurnMachine:
    """One turn, told apart from others of its conversation by the ids of the messages sent."""

    def __init__(
        self,
        runtime: Runtime,
        client_message_ids: Iterable[str],
        builtin: Iterable[str] = (),
        own: Iterable[str] = (),
        clients: Iterable[str] = (),
    ) -> None:
        """The agent may use `builtin` tools of the App Server's, the gateway's `own`, and those of its client's."""
        ids = [*client_message_ids]
        self.runtime = runtime
        self.state = TurnState.SENT
        self.failure: errors.UpstreamError | None = None
        """The error that ended the turn; to be raised after the events that came before it."""
        self.waiting: dict[str, str] = {}
        """Calls that somebody else than the gateway must answer, and the names of their tools."""
        self.began_with = ids[0] if ids else ""
        """The client id of its first message."""
        self.loop_idles = False
        """True while the loop says that it does nothing."""
        self.model_asked = False
        """True once the loop has asked the model, in this turn or in one that this one is queued behind."""
        self._ids = frozenset(ids)
        self._builtin = frozenset(builtin)
        self._clients = {offered_name(name): name for name in clients}
        """The names of its client's tools, by those that they are offered under."""
        self._external = frozenset(own) | self._clients.keys()
        """Tools that the App Server does not carry out itself."""
        self._twins: dict[str, list[str]] = {}
        """By the id of a client's call, the ids given to those of its step to which the model gave the same one."""
        self._step: dict[str, ToolCalled] = {}
        """The calls of the step whose classification has not come."""
        self._runs: set[str] = set()
        self._shown = False
        self._joiner: Joiner | None = None
        """There once a frame of the turn was halved."""
        self._later: list[Arrival] = []
        """All that arrived while the turn was parked."""
        self._asked: dict[str, Callable[[CallReply], OutgoingFrame]] = {}
        """Calls that the App Server waits for, and how each is answered."""
        self._given: dict[str, CallReply] = {}
        """Replies to calls that it has not asked for yet."""
        self._to_send: list[OutgoingFrame] = []

    @property
    def is_over(self) -> bool:
        """True once nothing follows."""
        return not TRANSITIONS[self.state]

    @property
    def rests(self) -> bool:
        """True once nothing follows, or not before its client has answered."""
        return self.state is TurnState.PARKED or self.is_over

    @property
    def waits(self) -> bool:
        """True while its calls wait for its client."""
        return self.state in (TurnState.PARKED, TurnState.ENDING)

    @property
    def pending(self) -> tuple[PendingCall, ...]:
        """The calls that wait for somebody else than the gateway."""
        return tuple(PendingCall(id, name) for id, name in self.waiting.items())

    @property
    def calls_clients(self) -> bool:
        """True where a tool of the client's is among what waits."""
        return not frozenset(self._clients.values()).isdisjoint(self.waiting.values())

    def receive(self, arrival: Arrival) -> list[Event]:
        """The events that a frame makes; none once the turn is over, or while it is parked."""
        if self.state is TurnState.PARKED:
            self._later.append(arrival)
            return []
        if self.is_over:
            return []
        if isinstance(arrival, errors.UpstreamError):
            self._fail(TurnChange.BREAK, arrival)
            return []
        if self._joiner is None and type(arrival) is Frame:
            return self._events(arrival)
        joiner = self._joiner = self._joiner or Joiner()
        events = joiner.join(self._events(arrival))
        return [*events, *joiner.end()] if self.is_over else events

    def answers_to_send(self) -> list[OutgoingFrame]:
        """The answers to calls that are to be sent now; each is given once."""
        sent, self._to_send = self._to_send, []
        return sent

    def take_call(self, request: ToolRequest) -> None:
        """The App Server asks for the result of a client's tool."""
        self._wait(request.tool_call_id, lambda reply: to_result(request.request_id, reply))

    def take_question(self, asked: ControlRequest) -> None:
        """The App Server asks if a tool may be used: the agent's list of tools decides, or the person is asked."""
        if self.state is TurnState.SENT:
            # Nothing of this turn can have asked: it is another gateway's.
            return
        name, id = asked.request.tool_name, asked.request.tool_call_id
        if name in self._external:
            self._to_send.append(self._to_decision(asked.request_id, CallReply()))
        elif name in self._builtin:
            self._wait(id, lambda reply: self._to_decision(asked.request_id, reply))
        else:
            self._to_send.append(self._to_decision(asked.request_id, CallReply(NOT_AVAILABLE, failed=True)))

    def answer(self, sending: Sending, client_message_ids: Iterable[str]) -> list[Event]:
        """Reply to all that waits, and go on; `client_message_ids` are of messages sent with the answers.

        Gives the events of what arrived meanwhile.
        """
        why_not = denial(sending.reason, bool(sending.messages), CLIENT_GAVE_NO_ANSWER)
        replies = {id: CallReply(why_not, failed=True) for id in self.waiting}
        replies |= {one.tool_call_id: CallReply(one.said.content, images=one.images) for one in sending.results}
        replies |= {id: CallReply() for id in sending.approved}
        # Of calls with one id the App Server asks for one result, and its model has no other way to hear of the rest.
        replies |= {id: merged([replies[one] for one in (id, *twins)]) for id, twins in self._twins.items()}
        self._reply(replies)
        self._ids |= frozenset(client_message_ids)
        self.waiting, self._twins = {}, {}
        return self._go_on(TurnChange.ANSWERED)

    def give_up(self) -> list[Event]:
        """Reply that there is no answer to all that waits: a turn that was aborted does not end before.

        Gives the events of what arrived meanwhile.
        """
        self._reply({id: CallReply(CLIENT_GAVE_NO_ANSWER, failed=True) for id in [*self.waiting, *self._asked]})
        return self._go_on(TurnChange.GIVEN_UP)

    def _change(self, change: TurnChange) -> None:
        """Raises IllegalTurnChange."""
        state = TRANSITIONS[self.state].get(change)
        if state is None:
            raise IllegalTurnChange(f"{change.name} of a turn that is {self.state.name}")
        self.state = state

    def _fail(self, change: TurnChange, failure: errors.UpstreamError) -> None:
        self._change(change)
        self.failure = failure

    def _go_on(self, change: TurnChange) -> list[Event]:
        self._change(change)
        later, self._later = self._later, []
        return [event for arrival in later for event in self.receive(arrival)]

    # Frames

    def _events(self, frame: Frame) -> list[Event]:
        if frame.loop_status:
            self._follow(frame.loop_status)
        elif frame.type == "turn_finished":
            return self._finish(frame)
        elif frame.delta and not frame.subagent_id:
            return self._read(frame.delta)
        return []

    def _follow(self, loop: LoopStatus) -> None:
        taken = {run for run, ids in loop.client_message_ids_by_run_id.items() if not self._ids.isdisjoint(ids)}
        if taken:
            self._runs |= taken
            self._change(TurnChange.TAKEN)
        self.loop_idles = loop.status == IDLE
        self.model_asked = self.model_asked or loop.status in ASKED

    def _finish(self, frame: Frame) -> list[Event]:
        if frame.run_id and frame.run_id not in self._runs:
            return []
        reason = frame.stop_reason or "error"
        if frame.error and reason not in (*STANDS, "cancelled"):
            self._fail(TurnChange.CUT, from_loop_error(innermost_message(frame.error)))
            return []
        self._change(TurnChange.END if reason in STANDS else TurnChange.CUT)
        return [to_stop(reason)]

    def _read(self, delta: StreamDelta) -> list[Event]:
        if not self._is_ours(delta):
            return []
        match delta.message_type:
            case "assistant_message":
                self._shown = True
                return [Text(content_text(delta.content), delta.run_id)]
            case "reasoning_message":
                self._shown = True
                return [Thought(delta.reasoning or "", delta.run_id)]
            case "approval_request_message" | "tool_call_message":
                self._shown = True
                return [event for call in delta.calls for event in self._call(call.piece, delta.run_id)]
            case "approval_classification_end":
                return self._classify(delta)
            case "tool_return_message":
                # What a tool prints looks like its result, all of it, each time; it is a sign of life, no more.
                return [PROGRESS] if delta.is_printed else [*to_events(delta)]
            case "usage_statistics":
                return [delta.tokens_counted]
            case "event_message" | "retry":
                return self._retry(delta)
            case "error_message" | "loop_error":
                self._fail(TurnChange.FAIL, from_loop_error(innermost_message(delta.message or "")))
        return []

    def _is_ours(self, delta: StreamDelta) -> bool:
        if delta.run_id:
            return delta.run_id in self._runs
        return not self._ids.isdisjoint(delta.client_message_ids)

    def _call(self, call: CallPiece, step: str | None) -> list[Event]:
        """The events of a call, which comes whole; the end of its step tells if one of the App Server's tools waits."""
        if name := self._clients.get(call.name):
            call = self._apart(msgspec.structs.replace(call, name=name))
            self.waiting[call.id] = call.name
            return [CallWaits(call, step)]
        event = ToolCalled(call, step)
        if call.name in self._builtin:
            self._step[call.id] = event
            return []
        if not call.name and not call.id:
            # What is left of a call that came with the id of another: the App Server has lost the rest.
            return []
        if not call.name or call.name in self._external:
            return [event]
        return [CallRefused(call, f"{call.name} is not allowed here: nothing was done.", step)]

    def _apart(self, call: CallPiece) -> CallPiece:
        """The call with an id of its own, which clients tell calls apart by."""
        if call.id not in self.waiting:
            return call
        twins = self._twins.setdefault(call.id, [])
        twins.append(f"{call.id}~{len(twins) + 2}")
        return msgspec.structs.replace(call, id=twins[-1])

    def _classify(self, delta: StreamDelta) -> list[Event]:
        """The calls of a step are known, and which of them wait; if any does, so does the turn."""
        calls, self._step = self._step, {}
        events: list[Event] = [event for id, event in calls.items() if id not in delta.user_input_tool_call_ids]
        for id in delta.user_input_tool_call_ids:
            if called := calls.get(id):
                self.waiting[id] = called.call.name
                events.append(CallWaits(called.call, delta.run_id))
        if self.waiting:
            self._change(TurnChange.CALLS_WAIT)
            events.append(Stop(StopReason.WAITING))
        return events

    def _retry(self, delta: StreamDelta) -> list[Event]:
        """Fail at the first retry: the App Server would try 16 times, and store the message four times."""
        if delta.message_type == "event_message" and delta.event_type != "retry":
            return []
        data = delta.event_data or {}
        self._fail(TurnChange.FAIL, from_provider(str(data.get("message") or delta.message or "")))
        # What was shown already cannot become an HTTP status any more.
        return [Remark("The model's provider failed.", delta.run_id)] if self._shown else []

    # Calls

    def _wait(self, id: str, answer: Callable[[CallReply], OutgoingFrame]) -> None:
        """Answer a call that is asked for, now or once there is a reply to it."""
        reply = self._given.pop(id, None)
        if reply:
            self._to_send.append(answer(reply))
        else:
            self._asked[id] = answer

    def _reply(self, replies: dict[str, CallReply]) -> None:
        for id, reply in replies.items():
            answer = self._asked.pop(id, None)
            if answer:
                self._to_send.append(answer(reply))
            else:
                self._given[id] = reply

    def _to_decision(self, request_id: str, reply: CallReply) -> OutgoingFrame:
        decision = {"behavior": "deny", "message": reply.text} if reply.failed else {"behavior": "allow"}
        payload = {"kind": "approval_response", "request_id": request_id, "decision": decision}
        return {"type": "input", "runtime": self.runtime, "payload": payload}
