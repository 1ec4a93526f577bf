"""The decoder of a run's event stream, as V1 servers and Letta Cloud send it. Performs no I/O."""

import msgspec
from msgspec import Struct

from gateway.domain.errors import BrokenStream
from gateway.domain.events import Event
from gateway.domain.texts.halves import UNREADABLE, decode, decode_pieces
from gateway.domain.texts.joining import Joiner
from gateway.letta.stream_messages import StreamMessage, to_events
from gateway.letta.upstream import Take


class _Named(Struct, frozen=True):
    message_type: str = ""


# The types that an answer is made of: one that does not have its shape is a broken stream, not a new type.
ANSWER_TYPES = frozenset(
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

_decode = msgspec.json.Decoder(StreamMessage).decode


class EventDecoder:
    """Bytes of a `text/event-stream` in, events out. Lines may be split anywhere between two `feed`s.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, of which Letta
    uses `data:` lines of one JSON value each; `event:` lines and comments say nothing that the data does not.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        """The pieces of the line that has not ended."""
        self.broken: BrokenStream | None = None
        """The fault of the stream, once a data line was not an event; to be raised after the events before it."""
        self.halved = False
        """True once a text has held half of a surrogate pair: then a `Joiner` is to have the events."""

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes, up to the line that breaks the stream."""
        first, *more = data.split(b"\n")
        self._rest.append(first)
        if not more:
            return []
        *lines, rest = b"".join(self._rest), *more
        self._rest = [rest]
        events: list[Event] = []
        for line in lines:
            if line.startswith(b"data:"):
                try:
                    said = self._message(line[5:])
                except BrokenStream as error:
                    self.broken = error
                    break
                if said:
                    events += to_events(said)
        return events

    def _message(self, payload: bytes) -> StreamMessage | None:
        """Raises BrokenStream."""
        if payload.strip() == b"[DONE]":
            return None
        try:
            return _decode(payload)
        except UNREADABLE:
            return self._unread(payload)

    def _unread(self, payload: bytes) -> StreamMessage | None:
        """A message with halves; one of a type that nobody here reads is skipped, whatever its fields look like."""
        try:
            said = decode_pieces(payload, StreamMessage)
        except UNREADABLE:
            self._check_unknown(payload)
            return None
        self.halved = True
        return said

    def _check_unknown(self, payload: bytes) -> None:
        """Raises BrokenStream for what is not an event of a type that nobody here reads."""
        try:
            named = decode(payload, _Named)
        except UNREADABLE:
            raise BrokenStream("a data line that is no event") from None
        if named.message_type in ANSWER_TYPES:
            raise BrokenStream(f"a {named.message_type} of an unknown shape")

    def feed_eof(self) -> None:
        """Raises BrokenStream if the stream ended within a line."""
        if b"".join(self._rest).strip():
            raise BrokenStream("half a line at the end")


class RunReading:
    """A run's event stream as it is read: `take` gets the events of each piece of it at once, with whole characters."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._decoder, self._joiner = EventDecoder(), Joiner()

    def feed(self, data: bytes) -> None:
        """Read a piece. Raises BrokenStream, after the events before the fault, and what `take` raises."""
        decoder = self._decoder
        events = decoder.feed(data)
        if decoder.halved:
            events = self._joiner.join(events)
        if events:
            self._take(events)
        if decoder.broken:
            self._take_rest()
            raise decoder.broken

    def end(self) -> None:
        """Note that the stream has ended. Raises BrokenStream if it did so within a line, and what `take` raises."""
        self._take_rest()
        self._decoder.feed_eof()

    def _take_rest(self) -> None:
        if rest := self._joiner.end():
            self._take(rest)
