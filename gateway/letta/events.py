"""What Letta says during a run, in Letta's words, and the decoder of its event stream. Performs no I/O."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.errors import BrokenStream
from gateway.halves import decode, decode_pieces

MAX_SHOWN = 20_000


class ToolCall(Struct, frozen=True):
    """A call of a tool, or a piece of one: the name comes first, the arguments in pieces."""

    name: str | None = None
    tool_call_id: str | None = None
    arguments: str | None = None


class ToolReturn(Struct, frozen=True):
    """What came of a call: a text, however it came, and not more of it than a person reads."""

    tool_call_id: str | None = None
    status: str | None = None
    tool_return: Any = None

    def __post_init__(self) -> None:
        # A tool may return megabytes, and events are kept as long as their run.
        msgspec.structs.force_setattr(self, "tool_return", shortened(text_of(self.tool_return)))

    @property
    def failed(self) -> bool:
        return self.status == "error"


class Event(Struct, frozen=True):
    """One thing Letta says during a run; `message_type` tells which, the other fields depend on it.

    Types and fields that nobody here knows are left out; so a new one is skipped, never fatal.
    """

    message_type: str = ""
    step_id: str | None = None
    run_id: str | None = None
    # assistant_message: a text, or a list of parts. (user_message and system_message carry one, too.)
    content: Any = None
    # reasoning_message
    reasoning: str | None = None
    # tool_call_message, approval_request_message; `tool_calls` is a list only where pieces are not streamed
    # status, where the gateway tells of a call that is not allowed
    tool_call: ToolCall | None = None
    tool_calls: list[ToolCall] | ToolCall | None = None
    # tool_return_message
    tool_returns: list[ToolReturn] | None = None
    # stop_reason
    stop_reason: str | None = None
    # error_message; status, a line for the person that the gateway itself may write
    error_type: str | None = None
    message: str | None = None
    detail: Any = None
    # usage_statistics
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def text(self) -> str:
        return text_of(self.content)

    @property
    def calls(self) -> list[ToolCall]:
        if isinstance(self.tool_calls, list) and self.tool_calls:
            return self.tool_calls
        call = self.tool_call or self.tool_calls
        return [call] if isinstance(call, ToolCall) else []


def text_of(content: Any) -> str:
    """The text of a message's content, whether it came whole or in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def shortened(text: str) -> str:
    """`text`, without what is beyond MAX_SHOWN characters; it says so itself."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… [shortened: {len(text)} characters]"


class _Named(Struct, frozen=True):
    message_type: str = ""


PING = "ping"
# The types that an answer is made of: one that does not have its shape is a broken stream, not a new type.
READ = frozenset(
    {
        "assistant_message",
        "reasoning_message",
        "tool_call_message",
        "approval_request_message",
        "stop_reason",
        "error_message",
        "usage_statistics",
    }
)
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(Event).decode


class EventDecoder:
    """Bytes of a `text/event-stream` in, events out. Lines may be split anywhere between two `feed`s.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, of which Letta
    uses `data:` lines of one JSON value each; `event:` lines and comments say nothing that the data does not.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        """The pieces of the line that has not ended."""
        self.broken: BrokenStream | None = None
        """What is wrong with the stream, once a data line was not an event; to be raised after what came before it."""
        self.halved = False
        """Whether texts of its events have held half of a surrogate pair; then a `Joiner` is to have them."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, up to the line that breaks the stream."""
        first, *more = data.split(b"\n")
        self._rest.append(first)
        if not more:
            return []
        *lines, rest = b"".join(self._rest), *more
        self._rest = [rest]
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                try:
                    event = self._event(line[5:])
                except BrokenStream as error:
                    self.broken = error
                    break
                if event:
                    events.append(event)
        return events

    def _event(self, payload: bytes) -> Event | None:
        """Raises BrokenStream."""
        if payload.strip() == b"[DONE]":
            return None
        try:
            return _decode(payload)
        except UNREADABLE:
            return self._unread(payload)

    def _unread(self, payload: bytes) -> Event | None:
        """An event with halves; one of a type that nobody here reads is skipped, whatever its fields look like."""
        try:
            event = decode_pieces(payload, Event)
        except UNREADABLE:
            self._check_unknown(payload)
            return None
        self.halved = True
        return event

    def _check_unknown(self, payload: bytes) -> None:
        """Raises BrokenStream for what is not an event of a type that nobody here reads."""
        try:
            named = decode(payload, _Named)
        except UNREADABLE:
            raise BrokenStream("a data line that is no event") from None
        if named.message_type in READ:
            raise BrokenStream(f"a {named.message_type} of an unknown shape")

    def feed_eof(self) -> None:
        """Raises BrokenStream if the stream ended within a line."""
        if b"".join(self._rest).strip():
            raise BrokenStream("half a line at the end")
