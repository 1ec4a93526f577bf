"""Sayings in, events of a response out, or the response whole. Performs no I/O.

https://developers.openai.com/api/reference/resources/responses/streaming-events
https://github.com/openresponses/openresponses

Each saying becomes some events, and each event a frame. An item closes before another begins, but for the client's
calls, whose arguments may come beside each other: they close at the end. The events are the same however the texts of
a run are joined: a delta of several pieces has the number of the last of them. The ids are given to the encoder.
"""

from collections.abc import Iterable
from typing import TypeVar

from gateway.domain.errors import GatewayError
from gateway.domain.events import (
    CallPiece,
    CallRefused,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.look import ToolActivity
from gateway.wires.envelope import to_response
from gateway.wires.responses.echo import Echo
from gateway.wires.responses.failures import to_failure
from gateway.wires.responses.ids import ItemIds, ItemKind
from gateway.wires.responses.items import (
    OpenCall,
    OpenCustomCall,
    OpenItem,
    OpenMcpCall,
    OpenMessage,
    OpenOwnCall,
    OpenThoughts,
    OpenUnencryptedThoughts,
)
from gateway.wires.responses.read import OWN_CALL
from gateway.wires.responses.response import (
    ErrorEvent,
    Framing,
    FunctionOutputItem,
    IncompleteDetails,
    InputTextPart,
    InputTokensDetails,
    ItemAdded,
    ItemDone,
    ItemStatus,
    McpApprovalItem,
    OutputItem,
    OutputTokensDetails,
    Phase,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    ResponseFailed,
    ResponseFailure,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseQueued,
    ResponseResource,
    ResponseStatus,
    ResponseUsage,
    encode_json,
    event_frame,
    type_of,
)
from gateway.wires.sayings import (
    ApprovalAsked,
    BrokenOff,
    ClientCallBegun,
    ClientCallContinued,
    Finished,
    Saying,
    TextPaused,
    ThoughtsClosed,
    ThoughtsOpened,
    ToolsOver,
)

# The output of a call that has not returned: Open WebUI carries out itself whatever has none.
NOT_RETURNED = "(did not return)"
T = TypeVar("T", bound=OpenItem)


class ResponsesEncoder:
    """The `Encoder` of one response.

    `ResponsesEncoder(ids=seal.ids_of(place), created_at=1_790_000_000, echo=to_echo(request))`
    """

    def __init__(
        self,
        *,
        ids: ItemIds,
        created_at: int,
        echo: Echo,
        tool_activity: ToolActivity = "thoughts",
        framing: Framing = event_frame,
        after: int = -1,
    ) -> None:
        """`after`: no frames are made of the events up to this number; their client has had them.

        No delta may stand for pieces on both sides of it: whoever follows from there splits the text.
        """
        self._ids, self._created_at, self._echo = ids, created_at, echo
        self._custom, self._namespaces = frozenset(echo.custom_tools), echo.namespaces
        self._thoughts = OpenUnencryptedThoughts if echo.encrypted else OpenThoughts
        self._rich = tool_activity == "rich"
        self._framing, self._after = framing, after
        self.number = 0
        """The number of the next event."""
        self._frames: list[bytes] = []
        self._status: ResponseStatus = "queued" if echo.background else "in_progress"
        self._ends_as: ResponseStatus = "completed"
        self._completed_at: int | None = None
        self._ended_at = 0
        self._failure: ResponseFailure | None = None
        self._usage: ResponseUsage | None = None
        self._output: list[OutputItem | None] = []
        """The items; None for those that are open."""
        self._open: dict[int, OpenItem] = {}
        """The items that are open, by their places."""
        self._text: OpenItem | None = None
        """The one of them that grows by texts or thoughts."""
        self._calls: dict[int, OpenCall] = {}
        """Those that are calls of the client's tools, by the places of the calls among all."""
        self._own_calls: dict[str, OpenOwnCall] = {}
        """Those that are calls of Letta's own tools, by the calls' ids."""

    @property
    def response(self) -> ResponseResource:
        """The response as it stands at this moment, with what has come of its items."""
        output = [done or self._open[i].item("in_progress") for i, done in enumerate(self._output)]
        return ResponseResource(
            id=self._ids.response,
            created_at=self._created_at,
            status=self._status,
            output=output,
            completed_at=self._completed_at,
            error=self._failure,
            incomplete_details=IncompleteDetails() if self._status == "incomplete" else None,
            usage=self._usage,
            **self._echo.repeated(),
        )

    def begin(self) -> bytes:
        """The frames that begin a stream; they need not wait for the run."""
        self._tell(ResponseCreated(self.response))
        if self._status == "queued":
            self._tell(ResponseQueued(self.response))
        self._status = "in_progress"
        self._tell(ResponseInProgress(self.response))
        return self._taken()

    def encode(self, sayings: Iterable[Saying]) -> bytes:
        for saying in sayings:
            self._say(saying)
        return self._taken()

    def fail(self, error: GatewayError) -> bytes:
        if not self.number:
            envelope = to_response(error).error
            self._tell(ErrorEvent(envelope.message, envelope.code, envelope.param, envelope))
            return self._taken()
        self._close_all("incomplete")
        self._status, self._failure = "failed", to_failure(error)
        self._tell(ResponseFailed(self.response))
        return self._taken()

    def end(self) -> bytes:
        self._complete()
        is_whole = self._status == "completed"
        self._tell(ResponseCompleted(self.response) if is_whole else ResponseIncomplete(self.response))
        return self._taken()

    def whole(self, sayings: Iterable[Saying]) -> ResponseResource:
        self.encode(sayings)
        self._complete()
        return self.response

    def _complete(self) -> None:
        self._status = self._ends_as
        self._completed_at = (self._ended_at or None) if self._status == "completed" else None

    def _say(self, saying: Saying) -> None:
        # Almost every saying is one of the first two.
        match saying:
            case Text(text, _, pieces):
                message = self._text
                if type(message) is not OpenMessage:
                    message = self._begin_text("msg", OpenMessage)
                self._grow(message, text, pieces)
            case Thought(text, _, pieces):
                self._grow(self._text or self._begin_text("rs", self._thoughts), text, pieces)
            case ThoughtsOpened():
                self._begin_text("rs", self._thoughts)
            case Finished(reason, at):
                self._ended_at = at
                self._finish(reason)
            case BrokenOff():
                self._close_all("incomplete")
            case TokensCounted():
                self._usage = to_response_usage(saying)
            case ThoughtsClosed() | TextPaused():
                self._close_text()
            case _:
                self._say_call(saying)

    def _say_call(self, saying: Saying) -> None:
        match saying:
            case ClientCallBegun(index, id, name):
                # Its client goes on with the answer.
                self._close_text("commentary")
                self._calls[index] = self._begin_call(id, name)
            case ClientCallContinued(index, arguments):
                self._close_text("commentary")
                self._grow(self._calls[index], arguments)
            case ToolCalled(call):
                self._call_own(call, "")
            case CallRefused(call, reason):
                self._call_own(call, reason)
            case ToolReturned():
                self._return_own(saying)
            case ApprovalAsked(call):
                self._ask(call)
            case ToolsOver():
                self._end_own_calls()

    def _begin_text(self, kind: ItemKind, open: type[T]) -> T:
        self._close_text()
        item = self._begin(open(self._ids.item(kind, len(self._output)), len(self._output)))
        self._text = item
        return item

    def _close_text(self, phase: Phase | None = None, status: ItemStatus = "completed") -> None:
        text = self._text
        if text is None:
            return
        self._text = None
        if isinstance(text, OpenMessage):
            text.phase = phase
        self._close(text, status)

    def _begin_call(self, id: str, name: str) -> OpenCall:
        index = len(self._output)
        namespace, told = self._namespaces.get(name, (None, name))
        if name in self._custom:
            return self._begin(OpenCustomCall(self._ids.item("ctc", index), index, id, told, namespace))
        return self._begin(OpenCall(self._ids.item("fc", index), index, id, told, namespace))

    def _call_own(self, call: CallPiece, refusal: str) -> None:
        """Tell a call of a tool of Letta's own, or a piece of one."""
        own = self._own_calls.get(call.id)
        if call.name and not (own and call.id):
            self._close_text()
            index = len(self._output)
            if self._rich:
                own = OpenOwnCall(self._ids.item("fc", index), index, OWN_CALL + call.id, call.name)
            else:
                own = OpenMcpCall(self._ids.item("mcp", index), index, call.id, call.name)
            self._own_calls[call.id] = self._begin(own)
        if own:
            own.refusal = own.refusal or refusal
            self._grow(own, call.arguments)

    def _return_own(self, returned: ToolReturned) -> None:
        self._close_text()
        if own := self._own_calls.pop(returned.call_id, None):
            own.failed = returned.failed or bool(own.refusal)
            self._close_own(own, returned.text, "completed")

    def _end_own_calls(self) -> None:
        """Close the calls that never return: refused ones, and those that an end of the run has cut."""
        self._own_calls.clear()
        for own in [item for item in self._open.values() if isinstance(item, OpenOwnCall)]:
            own.failed = bool(own.refusal)
            self._close_own(own, own.refusal or None, "incomplete")

    def _close_own(self, own: OpenOwnCall, output: str | None, status: ItemStatus) -> None:
        own.returned = output
        self._close(own, status)
        if self._rich:
            told = NOT_RETURNED if output is None else output
            id = self._ids.item("fco", len(self._output))
            self._add(FunctionOutputItem(id, own.call_id, (InputTextPart(told),), status))

    def _ask(self, call: CallPiece) -> None:
        self._close_text("commentary")
        id = self._ids.approval(len(self._output), call.id)
        self._add(McpApprovalItem(id, call.name, call.arguments))

    def _finish(self, reason: StopReason) -> None:
        """Close what is open, for the answer is whole."""
        is_cut = reason is StopReason.LIMIT
        if is_cut:
            self._ends_as = "incomplete"
        self._close_text("final_answer" if reason is StopReason.END else None, "incomplete" if is_cut else "completed")
        self._close_all("completed")

    def _close_all(self, status: ItemStatus) -> None:
        self._close_text(status=status)
        self._end_own_calls()
        for item in [*self._open.values()]:
            self._close(item, status)

    def _begin(self, item: T) -> T:
        for event in item.opening():
            self._tell(event)
        self._open[item.index] = item
        self._output.append(None)
        return item

    def _grow(self, item: OpenItem, text: str, pieces: int = 1) -> None:
        text = item.read(text)
        if text:
            self._tell_delta(item, text, pieces)

    def _close(self, item: OpenItem, status: ItemStatus) -> None:
        if rest := item.rest():
            self._tell_delta(item, rest, 1)
        for event in item.closing(status):
            self._tell(event)
        del self._open[item.index]
        self._output[item.index] = item.item(status)

    def _add(self, item: OutputItem) -> None:
        """Tell an item that comes whole."""
        index = len(self._output)
        self._output.append(item)
        self._tell(ItemAdded(index, item))
        self._tell(ItemDone(index, item))

    def _tell_delta(self, item: OpenItem, text: str, pieces: int) -> None:
        item.pieces.append(text)
        number = self.number + pieces - 1
        self.number = number + 1
        if number > self._after:
            data = b'%b%b,"sequence_number":%d}' % (item.prefix, encode_json(text), number)
            self._frames.append(self._framing(item.delta_type, data))

    def _tell(self, event: ResponseEvent) -> None:
        number = self.number
        self.number = number + 1
        if number > self._after:
            event.sequence_number = number
            self._frames.append(self._framing(type_of(event), encode_json(event)))

    def _taken(self) -> bytes:
        frames = b"".join(self._frames)
        self._frames.clear()
        return frames


def to_response_usage(tokens: TokensCounted) -> ResponseUsage:
    """The usage of a run in the words of Responses."""
    return ResponseUsage(
        tokens.prompt,
        InputTokensDetails(tokens.cached),
        tokens.completion,
        OutputTokensDetails(tokens.reasoning),
        tokens.total,
    )
