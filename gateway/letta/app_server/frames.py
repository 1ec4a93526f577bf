"""The App Server's words: its frames, and the state machine that makes one turn's events of them. Performs no I/O.

The protocol is declared in the package `letta` (`letta_code/_payload/app/dist/types/types/protocol_v2.d.ts`).
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

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
    TokensCounted,
    ToolCalled,
)
from gateway.domain.halves import decode
from gateway.domain.joining import Joiner
from gateway.letta import error_words
from gateway.letta.parts import from_parts
from gateway.letta.stream_messages import (
    UNREADABLE,
    StreamedCall,
    StreamMessage,
    content_text,
    to_events,
    to_stop,
    to_tokens,
)
from gateway.letta.upstream import Conversation

PROTOCOL_VERSION = 1
# How many agents or conversations it is asked for at once.
PAGE = 100
# The App Server itself knows these models by their ids alone, and shows pictures to none of them.
BLIND_PREFIX = "openai-compatible/"
# The gateway's own mod ends the names of those of them so that are shown pictures.
SEES_MARK = " (sees pictures)"
# A loop that waits for input runs nothing: what it queues meanwhile, it will never run.
IDLE = "WAITING_ON_INPUT"
# One that has asked the model has found agent and conversation, and taken the messages.
ASKED = frozenset({"WAITING_FOR_API_RESPONSE", "PROCESSING_API_RESPONSE"})
# Ids of what a tool prints while it runs: `createToolExecutionOutputEmitter` in `letta_code/_payload/app/letta.js`.
PRINTED = "synthetic-tool-return-stream-"
ENDED_WELL = frozenset({"end_turn", "max_steps", "max_tokens_exceeded", "tool_rule", "no_tool_call", "cancelled"})


class Runtime(Struct, frozen=True):
    """Whose conversation a frame is about."""

    agent_id: str | None = None
    conversation_id: str | None = None


class Head(Struct, frozen=True):
    """What every frame may carry, enough to tell who reads it."""

    type: str = ""
    request_id: str | None = None


class LoopStatus(Struct, frozen=True):
    """What a conversation's loop does, and which of its runs took which messages."""

    status: str = ""
    client_message_ids_by_run_id: dict[str, list[str]] = {}


class StreamDelta(StreamMessage, frozen=True):
    """One message of a turn: one of Letta's, or of the App Server's own loop."""

    id: str | None = None
    run_id: str | None = None
    event_type: str | None = None
    event_data: dict[str, Any] | None = None
    client_message_ids: list[str] = []
    # approval_classification_end: of the calls of a step, those that are not done without asking
    user_input_tool_call_ids: list[str] = []


class Frame(Struct, frozen=True):
    """A frame of a runtime; `type` tells which of the other fields it has."""

    type: str = ""
    runtime: Runtime | None = None
    # stream_delta; with a `subagent_id` it is not the agent who speaks
    delta: StreamDelta | None = None
    subagent_id: str | None = None
    # update_loop_status
    loop_status: LoopStatus | None = None
    # turn_finished
    stop_reason: str | None = None
    run_id: str | None = None
    error: str | None = None


class HalvedFrame(Frame, frozen=True):
    """A frame whose texts may hold half of a surrogate pair."""


class ToolRequest(Struct, frozen=True):
    """`external_tool_call_request`: the agent calls a tool of the gateway's, or of its client's."""

    request_id: str
    tool_name: str
    input: Any
    runtime: Runtime
    tool_call_id: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the model gave by name; nothing where it gave something else, which only clients' tools may take."""
        return self.input if isinstance(self.input, dict) else {}


class PermissionAsked(Struct, frozen=True):
    """What a `control_request` is about."""

    tool_name: str = ""
    tool_call_id: str = ""


class ControlRequest(Struct, frozen=True):
    """`control_request`: the agent wants what nobody has allowed yet."""

    request_id: str
    agent_id: str | None = None
    conversation_id: str | None = None
    request: PermissionAsked = PermissionAsked()


class DeviceStatus(Struct, frozen=True):
    """`device_status` of `update_device_status`, as far as it is needed."""

    memory_directory: str | None = None


class DeviceUpdate(Struct, frozen=True):
    device_status: DeviceStatus = DeviceStatus()


# Answers to requests, as far as they are read.


class ServerAnswer(Struct, frozen=True):
    """What every answer tells; those with a body are subclasses."""

    success: bool = True
    accepted: bool = True
    disposition: str | None = None
    error: str | None = None


class KeptAgent(Struct, frozen=True):
    id: str
    tags: list[str] = []
    model: str | None = None


class AgentsListed(ServerAnswer, frozen=True):
    agents: list[KeptAgent] = []


class OneAgent(ServerAnswer, frozen=True):
    agent: KeptAgent | None = None


class ConversationsListed(ServerAnswer, frozen=True):
    conversations: list[Conversation] = []


class OneConversation(ServerAnswer, frozen=True):
    conversation: Conversation | None = None


class KeptMessage(Struct, frozen=True):
    """A message of a conversation's listing, or a part of one."""

    id: str
    message_type: str = ""
    otid: str | None = None
    content: str | list[dict[str, Any]] = ""
    # approval_request_message
    tool_call: StreamedCall | None = None
    # tool_return_message
    tool_call_id: str | None = None

    @property
    def texts(self) -> list[str]:
        return [piece for piece in from_parts(self.content) if isinstance(piece, str)]


class MessagesListed(ServerAnswer, frozen=True):
    messages: list[KeptMessage] = []


class File(ServerAnswer, frozen=True):
    content: str | None = None


class ModelEntry(Struct, frozen=True):
    handle: str
    label: str | None = None


class ModelsListed(ServerAnswer, frozen=True):
    entries: list[ModelEntry] = []


class Connected(Struct, frozen=True):
    is_connected: bool = False


class KnownProvider(Struct, frozen=True):
    id: str
    connected: Connected = Connected()


class ProvidersListed(ServerAnswer, frozen=True):
    providers: list[KnownProvider] = []


class Info(ServerAnswer, frozen=True):
    protocol_version: int = 0


RUNTIME_FRAMES = frozenset({"stream_delta", "update_loop_status", "turn_finished"})


class TurnReader:
    """Makes the events of one turn of its frames, told apart from other turns by the ids of the messages sent."""

    def __init__(
        self,
        client_message_ids: Iterable[str],
        builtin: Iterable[str] = (),
        own: Iterable[str] = (),
        clients: Iterable[str] = (),
    ) -> None:
        """The agent may use `builtin` tools of the App Server's, the gateway's `own`, and those of its client's."""
        ids = [*client_message_ids]
        self._ids, self.first_id = frozenset(ids), ids[0] if ids else ""
        self.builtin, self._clients = frozenset(builtin), frozenset(clients)
        self.external = frozenset(own) | self._clients
        """Tools that the App Server does not carry out itself."""
        self.waiting: dict[str, str] = {}
        """Calls that somebody else than the gateway must answer, and the names of their tools."""
        self.twins: dict[str, list[str]] = {}
        """By the id of a client's call, those of the calls of its step that the model gave the same one."""
        self._calls: dict[str, ToolCalled] = {}
        """The calls of the step whose classification has not come."""
        self._runs: set[str] = set()
        self._shown = False
        self.started = False
        """Whether the App Server has begun with this turn; it may be queued until then."""
        self.idle = False
        """Whether the loop says that it does nothing."""
        self.asked = False
        """Whether the loop has asked the model, in this turn or in one that this one is queued behind."""
        self.finished = False
        """Whether the turn has its end; nothing follows."""
        self.ended_well = False
        self.parked = False
        """Whether it waits for the answers to `waiting`."""
        self.failure: errors.UpstreamError | None = None
        """What ended the turn badly; to be raised after the events that came before it."""
        self._joiner: Joiner | None = None
        """Once a frame of the turn was halved."""

    def receive(self, frame: Frame) -> list[Event]:
        """The events that `frame` makes; none once the turn is finished."""
        if self.finished or self.failure:
            return []
        if self._joiner is None and type(frame) is Frame:
            return self._events(frame)
        joiner = self._joiner = self._joiner or Joiner()
        events = joiner.join(self._events(frame))
        return [*events, *joiner.end()] if self.finished or self.failure else events

    def _events(self, frame: Frame) -> list[Event]:
        if frame.loop_status:
            self._follow(frame.loop_status)
        elif frame.type == "turn_finished":
            return self._finish(frame)
        elif frame.delta and not frame.subagent_id:
            return self._read(frame.delta)
        return []

    @property
    def calls_clients(self) -> bool:
        """Whether a tool of the client's is among what waits."""
        return not self._clients.isdisjoint(self.waiting.values())

    def resume(self, client_message_ids: Iterable[str]) -> None:
        """The calls are answered, and these messages were sent with the answers."""
        self._ids |= frozenset(client_message_ids)
        self.parked, self.waiting, self.twins = False, {}, {}

    def _follow(self, loop: LoopStatus) -> None:
        ours = {run for run, ids in loop.client_message_ids_by_run_id.items() if not self._ids.isdisjoint(ids)}
        self._runs |= ours
        self.started = self.started or bool(ours)
        self.idle = loop.status == IDLE
        self.asked = self.asked or loop.status in ASKED

    def _finish(self, frame: Frame) -> list[Event]:
        if frame.run_id and frame.run_id not in self._runs:
            return []
        self.finished = True
        reason = frame.stop_reason or "error"
        self.ended_well = reason in ENDED_WELL and reason != "cancelled"
        if frame.error and reason not in ENDED_WELL:
            self.failure = from_loop_error(_inner_message(frame.error))
            return []
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
                printed = (delta.id or "").startswith(PRINTED)
                return [PROGRESS] if printed else [*to_events(delta)]
            case "usage_statistics":
                return [_with_cached(to_tokens(delta), delta)]
            case "event_message" | "retry":
                return self._give_up(delta)
            case "error_message" | "loop_error":
                self.failure = from_loop_error(_inner_message(delta.message or ""))
        return []

    def _is_ours(self, delta: StreamDelta) -> bool:
        if delta.run_id:
            return delta.run_id in self._runs
        return not self._ids.isdisjoint(delta.client_message_ids)

    def _call(self, call: CallPiece, step: str | None) -> list[Event]:
        """A call comes whole. Whether it is one that waits is told at the end of its step."""
        if call.name in self._clients:
            call = self._apart(call)
            self.waiting[call.id] = call.name
            return [CallWaits(call, step)]
        event = ToolCalled(call, step)
        if call.name in self.builtin:
            self._calls[call.id] = event
            return []
        if not call.name and not call.id:
            # What is left of a call that came with the id of another: the App Server has lost the rest.
            return []
        if not call.name or call.name in self.external:
            return [event]
        return [CallRefused(call, f"{call.name} is not allowed here: nothing was done.", step)]

    def _apart(self, call: CallPiece) -> CallPiece:
        """The call with an id of its own, which clients tell calls apart by."""
        if call.id not in self.waiting:
            return call
        twins = self.twins.setdefault(call.id, [])
        twins.append(f"{call.id}~{len(twins) + 2}")
        return msgspec.structs.replace(call, id=twins[-1])

    def _classify(self, delta: StreamDelta) -> list[Event]:
        """The calls of a step are known, and which of them wait; if any does, so does the turn."""
        calls, self._calls = self._calls, {}
        events: list[Event] = [event for id, event in calls.items() if id not in delta.user_input_tool_call_ids]
        for id in delta.user_input_tool_call_ids:
            if called := calls.get(id):
                self.waiting[id] = called.call.name
                events.append(CallWaits(called.call, delta.run_id))
        if self.waiting:
            self.parked = True
            events.append(Stop(StopReason.WAITING))
        return events

    def _give_up(self, delta: StreamDelta) -> list[Event]:
        """Fail at the first retry: the App Server would try 16 times, and store the message four times."""
        if delta.message_type == "event_message" and delta.event_type != "retry":
            return []
        data = delta.event_data or {}
        self.failure = from_provider(str(data.get("message") or delta.message or ""))
        # What was shown already cannot become an HTTP status any more.
        return [Remark("The model's provider failed.", delta.run_id)] if self._shown else []


def _with_cached(tokens: TokensCounted, said: StreamDelta) -> TokensCounted:
    """Its `prompt_tokens` leave out what the provider had in its cache; Letta's, like OpenAI's, are all of them."""
    if said.total_tokens is None:
        return tokens
    return msgspec.structs.replace(tokens, prompt=said.total_tokens - tokens.completion)


def _inner_message(text: str) -> str:
    """The innermost `message` of an error told as JSON within JSON, or the text as it is."""
    try:
        found: Any = decode(text, Any)
    except UNREADABLE:
        return text
    while isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    message = found.get("message") if isinstance(found, dict) else None
    return message if isinstance(message, str) else text


# What the words of an error tell, the first that fits. Statuses lead a provider's error: `429: {"message": …}`.
_WORDS: tuple[tuple[re.Pattern[str], type[errors.UpstreamError]], ...] = (
    (re.compile(r"already has an active run"), errors.Stuck),
    (re.compile(r"^Unknown bundled client tool"), errors.Refused),
    (re.compile(r"^Failed to prepare image"), errors.PictureRefused),
    (re.compile(r"^Unknown model"), errors.NotFound),
    (re.compile(r"^(?:Agent|Conversation) \S+ not found"), errors.NotFound),
    (re.compile(r"(?i)context.{0,20}(?:length|window)|maximum context|too many tokens"), errors.ContextOverflow),
    (re.compile(r"(?i)^429\b|rate.?limit"), errors.RateLimited),
    (re.compile(r"(?i)^402\b|insufficient_quota|insufficient.credits"), errors.OutOfCredits),
    (re.compile(r"(?i)^40[13]\b|api.?key|unauthorized"), errors.ModelRefused),
    (re.compile(r"(?i)^(?:408|504)\b|timed? ?out"), errors.ModelTimedOut),
    (re.compile(r"^[45]\d\d\b|(?i:connection|fetch failed|stream)"), errors.ModelFailed),
)


def from_loop_error(text: str) -> errors.UpstreamError:
    """The error that the App Server's loop tells of; its text is not repeated."""
    kind = error_words.no_space(text) or next((kind for words, kind in _WORDS if words.search(text)), errors.RunFailed)
    return kind(f"the App Server's loop failed: {_status(text)}")


def from_provider(text: str) -> errors.UpstreamError:
    """The error of a model's provider."""
    error = from_loop_error(text)
    return error if type(error) is not errors.RunFailed else errors.ModelFailed(f"the provider failed: {_status(text)}")


def _status(text: str) -> str:
    return text[:3] if re.match(r"\d{3}\b", text) else "no status"
