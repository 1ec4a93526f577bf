"""The content of a conversation, from an App Server's listing of it. Performs no I/O."""

from collections.abc import Iterable

import msgspec
from msgspec import structs

from gateway.domain.events import CallPiece, CallWaits, Event, Stop, Text, Thought, ToolCalled
from gateway.domain.messages import Image, Message, ToolResult, message_of
from gateway.domain.texts.halves import UNREADABLE
from gateway.letta.app_server import memory
from gateway.letta.app_server.frames import BUILTIN_TOOLS, KeptMessage, client_name
from gateway.letta.app_server.input import EarlierLine
from gateway.letta.notes import (
    CLIENT_GAVE_NO_ANSWER,
    CLIENT_REMINDER,
    EARLIER_REMINDER,
    NO_ANSWER,
    NOBODY_ALLOWS,
    SAID,
    SAID_ELSE,
    WENT_ON,
    WITHDRAWN,
    looks_like_a_note,
    told_in,
)
from gateway.letta.parts import from_parts
from gateway.letta.past import WORDS, OpenExchange, Transcript, says_anything
from gateway.letta.stream_messages import StreamedReturn, to_returned
from gateway.letta.upstream import Exchange, Past, Verdict

# The words that stand for the result of a client's tool which gave none: those of the gateway's, and the App Server's.
_NO_RESULT = frozenset({WENT_ON, SAID_ELSE, NO_ANSWER, CLIENT_GAVE_NO_ANSWER, NOBODY_ALLOWS, "Interrupted by user"})


def to_past(listed: list[KeptMessage]) -> Past:
    """The content of a conversation, from its listing, the oldest message first."""
    transcript = _read(one for one in listed if one.message_type in WORDS)
    told = transcript.instructed
    return Past(transcript.messages(), "" if told == WITHDRAWN else told)


def to_exchanges(
    listed: list[KeptMessage], waiting: frozenset[str] = frozenset(), ended: bool = True
) -> list[Exchange]:
    """The exchanges of a conversation, from its listing, the oldest message first.

    `waiting` are the ids of calls that wait now; `ended` is False where the last exchange has no end. An App Server
    does not keep which calls were asked about before they were carried out, so that these look like any others; nor
    that one of the gateway's own tools has failed.
    """
    exchanges = _read(listed, waiting).exchanges()
    if exchanges and not ended:
        *before, last = exchanges
        events = [event for event in last.events if not isinstance(event, Stop)]
        return [*before, structs.replace(last, events=events)]
    return exchanges


def _read(listed: Iterable[KeptMessage], waiting: frozenset[str] = frozenset()) -> Transcript:
    reading = _Reading(waiting)
    for one in listed:
        reading.add(one)
    return reading.transcript


class _Reading:
    """The exchanges as they are read, and the calls of the client's that have no result yet."""

    def __init__(self, waiting: frozenset[str]) -> None:
        self.transcript = Transcript()
        self._waiting = waiting
        self._open: set[str] = set()
        self._parked = False
        """True from a call of the client's to the first thing that comes of any call."""

    def add(self, one: KeptMessage) -> None:
        match one.message_type:
            case "user_message":
                self._add_words(one)
            case "assistant_message":
                if text := "".join(one.texts):
                    self._add(one, Text(text, one.step))
                    if text.strip():
                        self._present(one).answer_id = one.id
            case "reasoning_message":
                if one.reasoning:
                    self._add(one, Thought(one.reasoning, one.step))
            case "approval_request_message" | "tool_call_message":
                if one.tool_call:
                    self._add_call(one, one.tool_call.piece)
            case "tool_return_message":
                self._add_return(one)

    def _add(self, one: KeptMessage, event: Event) -> None:
        self._present(one).events.append(event)

    def _present(self, one: KeptMessage) -> OpenExchange:
        return self.transcript.present() or self.transcript.begin(one.made_at)

    def _add_words(self, one: KeptMessage) -> None:
        notes, said = _told_apart(one)
        instructed = None
        for one_note in notes:
            told, lines = told_in(one_note, CLIENT_REMINDER), told_in(one_note, EARLIER_REMINDER)
            instructed = instructed if told is None else told
            self._add_earlier(one, lines or "")
        asked = message_of("user", said, one.otid or "", one.id)
        if says_anything(asked):
            self.transcript.ask(asked, one.made_at)
            self._parked = False
        if instructed is not None:
            self._present(one).instructed = instructed

    def _add_earlier(self, one: KeptMessage, lines: str) -> None:
        """Take what was said elsewhere, and is told here in words: nothing of it has an id."""
        for said in _earlier(lines):
            if said.role == "user":
                self.transcript.ask(said, one.made_at)
            else:
                self._add(one, Text(said.content))

    def _add_call(self, one: KeptMessage, call: CallPiece) -> None:
        is_own = call.name in memory.MEMORY_TOOL_NAMES or call.name in BUILTIN_TOOLS
        if is_own and call.id not in self._waiting:
            self._add(one, ToolCalled(call, one.step))
            return
        self._open.add(call.id)
        self._parked = True
        self._add(one, CallWaits(structs.replace(call, name=client_name(call.name)), one.step))

    def _add_return(self, one: KeptMessage) -> None:
        if self._parked:
            self.transcript.begin(one.made_at)
            self._parked = False
        exchange, id = self._present(one), one.tool_call_id or ""
        returned = to_returned(StreamedReturn(id, one.status, one.tool_return))
        if id in self._open:
            self._open.discard(id)
            if returned.failed or returned.text in _NO_RESULT:
                exchange.decided[id] = Verdict(id, allowed=False, reason=returned.text)
            else:
                said = message_of("user", from_parts(one.tool_return))
                exchange.results[id] = ToolResult(id, said.content, said.images)
        exchange.events.append(returned)


def _told_apart(message: KeptMessage) -> tuple[list[str], list[str | Image]]:
    """The notes before a user's message, and the message; one that is nothing but a note is the App Server's own.

    The last part is the person's, whatever it looks like, where the message came from a gateway; so is what follows
    SAID.
    """
    pieces = list(from_parts(message.content))
    said = len(pieces) - 1 if (message.otid or "").startswith("gw") else len(pieces)
    if SAID in pieces[:said]:
        said = pieces.index(SAID) + 1
    before = pieces[:said]
    notes = [piece for piece in before if isinstance(piece, str) and looks_like_a_note(piece)]
    return notes, [piece for piece in before if piece not in notes] + pieces[said:]


def _earlier(lines: str) -> list[Message]:
    try:
        told = [msgspec.json.decode(line, type=EarlierLine) for line in lines.split("\n")]
    except UNREADABLE:
        return []
    return [Message(one.role, one.content, images=one.pictures) for one in told]


def unfinished(newest_first: list[KeptMessage], began_with: str | None, stuck: bool) -> int:
    """The number of the newest messages that belong to a turn without an end.

    It began with the message of the client id `began_with`, where that is known and was stored. Else it is what the
    user said last, with all that came of it, if nothing did or if the conversation is known to be `stuck` in it.
    """
    ids = [message.otid for message in newest_first]
    if began_with in ids and began_with:
        return ids.index(began_with) + 1
    kinds = [message.message_type for message in newest_first]
    said = next((i for i, kind in enumerate(kinds) if kind == "user_message"), len(kinds))
    if not stuck and any(kind != "reasoning_message" for kind in kinds[:said]):
        return 0
    return next((i for i in range(said, len(kinds)) if kinds[i] != "user_message"), len(kinds))


def calls_wait(newest_first: list[KeptMessage]) -> bool:
    """True if the last turn has calls without a result, of tools that the gateway does not carry out itself.

    Only the gateway that has begun such a turn can answer them.
    """
    said = next((i for i, one in enumerate(newest_first) if one.message_type == "user_message"), len(newest_first))
    returned = {one.tool_call_id for one in newest_first[:said]}
    calls = [one.tool_call for one in newest_first[:said] if one.message_type == "approval_request_message"]
    return any(
        call and call.tool_call_id not in returned and call.name not in memory.MEMORY_TOOL_NAMES for call in calls
    )
