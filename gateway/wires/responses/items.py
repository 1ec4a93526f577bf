"""The items of a response while they come: each opens, grows by deltas, and closes with events. Performs no I/O."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from gateway.domain.request import NO_ARGUMENTS
from gateway.domain.texts.halves import Mender
from gateway.wires.responses.custom_input import CustomInput
from gateway.wires.responses.response import (
    ContentPartAdded,
    ContentPartDone,
    CustomCallItem,
    CustomInputDelta,
    CustomInputDone,
    FunctionArgumentsDelta,
    FunctionArgumentsDone,
    FunctionCallItem,
    ItemAdded,
    ItemDone,
    ItemStatus,
    McpArgumentsDelta,
    McpArgumentsDone,
    McpCallCompleted,
    McpCallFailed,
    McpCallInProgress,
    McpCallItem,
    McpExecutionError,
    OutputItem,
    OutputMessage,
    Phase,
    ReasoningOutput,
    ResponseEvent,
    SummaryPartAdded,
    SummaryPartDone,
    SummaryText,
    SummaryTextDelta,
    SummaryTextDone,
    TextDelta,
    TextDone,
    TextPart,
    encode_json,
    type_of,
)

DeltaEvent = TextDelta | SummaryTextDelta | FunctionArgumentsDelta | CustomInputDelta | McpArgumentsDelta
# The end of a delta that has neither a text nor a number yet.
_EMPTY = b'"","sequence_number":0}'


class OpenItem:
    """An item that grows; `item` is how it stands, and how it will stand once it is closed."""

    delta_event: type[TextDelta | SummaryTextDelta | FunctionArgumentsDelta | CustomInputDelta | McpArgumentsDelta]

    def __init__(self, id: str, index: int) -> None:
        self.id = id
        self.index = index
        """Its place in the output."""
        self.pieces: list[str] = []
        self.delta_type = type_of(self.delta_event)
        self.prefix = encode_json(self.delta_event(id, index)).removesuffix(_EMPTY)
        """The JSON of a delta up to its text: all that its deltas have in common."""

    @property
    def text(self) -> str:
        """All that has come."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def read(self, text: str) -> str:
        """The text of a delta, made of what has come; empty where there is none yet."""
        return text

    def rest(self) -> str:
        """The text of the last delta; empty where nothing is left."""
        return ""

    def item(self, status: ItemStatus) -> OutputItem:
        raise NotImplementedError

    def opening(self) -> Sequence[ResponseEvent]:
        """The events with which it begins."""
        return [ItemAdded(self.index, self.item("in_progress"))]

    def closing(self, status: ItemStatus) -> Sequence[ResponseEvent]:
        """The events with which it ends, of which the last has the item."""
        raise NotImplementedError


class OpenMessage(OpenItem):
    """A text of the answer."""

    delta_event = TextDelta

    def __init__(self, id: str, index: int) -> None:
        super().__init__(id, index)
        self.phase: Phase | None = None
        self._has_part = False

    def item(self, status: ItemStatus) -> OutputMessage:
        content = (TextPart(self.text),) if self._has_part else ()
        return OutputMessage(self.id, status, content, self.phase or UNSET)

    def opening(self) -> Sequence[ResponseEvent]:
        added = ItemAdded(self.index, self.item("in_progress"))
        self._has_part = True
        return [added, ContentPartAdded(self.id, self.index, 0, TextPart(""))]

    def closing(self, status: ItemStatus) -> Sequence[ResponseEvent]:
        text = self.text
        return [
            TextDone(self.id, self.index, 0, text),
            ContentPartDone(self.id, self.index, 0, TextPart(text)),
            ItemDone(self.index, self.item(status)),
        ]


class OpenThoughts(OpenItem):
    """A block of thoughts, told as the summary of some reasoning: this part has one name in every specification."""

    delta_event = SummaryTextDelta
    encrypted: UnsetType | None = UNSET

    def item(self, status: ItemStatus) -> ReasoningOutput:
        return ReasoningOutput(self.id, (SummaryText(self.text),) if self.pieces else (), self.encrypted)

    def opening(self) -> Sequence[ResponseEvent]:
        return [*super().opening(), SummaryPartAdded(self.id, self.index, 0, SummaryText(""))]

    def closing(self, status: ItemStatus) -> Sequence[ResponseEvent]:
        text = self.text
        return [
            SummaryTextDone(self.id, self.index, 0, text),
            SummaryPartDone(self.id, self.index, 0, SummaryText(text)),
            ItemDone(self.index, self.item(status)),
        ]


class OpenUnencryptedThoughts(OpenThoughts):
    """The same for a request that asks for encrypted ones."""

    encrypted = None


class OpenCall(OpenItem):
    """A call of a function of the client's; its arguments come mended."""

    delta_event: type[DeltaEvent] = FunctionArgumentsDelta

    def __init__(self, id: str, index: int, call_id: str, name: str, namespace: str | None = None) -> None:
        super().__init__(id, index)
        self.call_id, self.name = call_id, name
        self.namespace = UNSET if namespace is None else namespace

    def item(self, status: ItemStatus) -> OutputItem:
        return FunctionCallItem(self.id, self.call_id, self.name, self.text, status, self.namespace)

    def closing(self, status: ItemStatus) -> Sequence[ResponseEvent]:
        return [
            FunctionArgumentsDone(self.id, self.index, self.text),
            ItemDone(self.index, self.item(status)),
        ]


class OpenCustomCall(OpenCall):
    """A call of a custom tool of the client's: the one string among its arguments is its input."""

    delta_event = CustomInputDelta

    def __init__(self, id: str, index: int, call_id: str, name: str, namespace: str | None = None) -> None:
        super().__init__(id, index, call_id, name, namespace)
        self._input = CustomInput()

    def read(self, text: str) -> str:
        return self._input.feed(text)

    def rest(self) -> str:
        return self._input.flush()

    def item(self, status: ItemStatus) -> CustomCallItem:
        return CustomCallItem(self.id, self.call_id, self.name, self.text, self.namespace)

    def closing(self, status: ItemStatus) -> Sequence[ResponseEvent]:
        return [CustomInputDone(self.id, self.index, self.text), ItemDone(self.index, self.item(status))]


class OpenOwnCall(OpenCall):
    """A call of a tool of Letta's own, told as one of a function; its arguments are mended here."""

    def __init__(self, id: str, index: int, call_id: str, name: str) -> None:
        super().__init__(id, index, call_id, name)
        self._mender = Mender()
        self.refusal = ""
        """The reason why it is not allowed."""
        self.returned: str | None = None
        """The text that it returned; None if it has not."""
        self.failed = False

    def read(self, text: str) -> str:
        return self._mender.feed(text)

    def rest(self) -> str:
        rest = self._mender.flush()
        return rest if rest or self.pieces else NO_ARGUMENTS


class OpenMcpCall(OpenOwnCall):
    """A call of a tool of Letta's own, told as one of a server's."""

    delta_event = McpArgumentsDelta

    def item(self, status: ItemStatus) -> McpCallItem:
        if status == "in_progress":
            return McpCallItem(self.id, self.name, self.text, None, None, status)
        if not self.failed:
            return McpCallItem(self.id, self.name, self.text, self.returned, None, status)
        error = McpExecutionError(({"type": "text", "text": self.returned or ""},))
        return McpCallItem(self.id, self.name, self.text, None, error, "failed")

    def opening(self) -> Sequence[ResponseEvent]:
        return [*super().opening(), McpCallInProgress(self.id, self.index)]

    def closing(self, status: ItemStatus) -> Sequence[ResponseEvent]:
        is_whole = status == "completed" and not self.failed
        return [
            McpArgumentsDone(self.id, self.index, self.text),
            McpCallCompleted(self.id, self.index) if is_whole else McpCallFailed(self.id, self.index),
            ItemDone(self.index, self.item(status)),
        ]
