"""The frames that Open WebUI takes beside chunks: status lines, and the items of an answer. Performs no I/O.

Any other client takes each frame for a chunk, and breaks at one of these.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class Status(Struct, frozen=True):
    """The line that a status event shows: `Status("Using web_search…", done=False)`."""

    description: str
    done: bool


# https://docs.openwebui.com/features/plugin/events
class StatusEvent(Struct, frozen=True):
    """A line above the answer; it shimmers until one is done."""

    data: Status
    type: Literal["status"] = "status"


class StatusFrame(Struct, frozen=True):
    """The frame of a status event."""

    event: StatusEvent


class FunctionCall(Struct, frozen=True):
    """The call of a tool, the upper half of a card."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: Literal["in_progress", "completed"] = "in_progress"
    type: Literal["function_call"] = "function_call"


class InputText(Struct, frozen=True):
    """The text that a tool gave."""

    text: str
    type: Literal["input_text"] = "input_text"


class FunctionCallOutput(Struct, frozen=True):
    """The result of a call, the lower half of a card; `failed` is a word of Open WebUI's own."""

    id: str
    call_id: str
    output: tuple[InputText, ...] = ()
    status: Literal["in_progress", "completed", "failed"] = "in_progress"
    type: Literal["function_call_output"] = "function_call_output"


class OutputText(Struct, frozen=True):
    """The text of a `MessageItem`."""

    text: str
    annotations: tuple[None, ...] = ()
    type: Literal["output_text"] = "output_text"


class MessageItem(Struct, frozen=True):
    """A text of the agent's answer."""

    id: str
    content: tuple[OutputText, ...]
    status: Literal["in_progress", "completed"] = "in_progress"
    role: Literal["assistant"] = "assistant"
    type: Literal["message"] = "message"


class ReasoningText(Struct, frozen=True):
    """The text of a `ReasoningItem`."""

    text: str
    type: Literal["reasoning_text"] = "reasoning_text"


class ReasoningItem(Struct, frozen=True):
    """A block of its thoughts; `duration`, in seconds, is Open WebUI's own."""

    id: str
    content: tuple[ReasoningText, ...]
    status: Literal["in_progress", "completed"] = "in_progress"
    duration: int | UnsetType = UNSET
    summary: tuple[None, ...] = ()
    type: Literal["reasoning"] = "reasoning"


Item = FunctionCall | FunctionCallOutput | MessageItem | ReasoningItem


# https://developers.openai.com/api/reference/resources/responses/streaming-events
class OutputItemFrame(Struct, frozen=True):
    """An item begins, or is whole. Its index is its place among all of the answer's."""

    output_index: int
    item: Item
    type: Literal["response.output_item.added", "response.output_item.done"]


class OutputTextDelta(Struct, frozen=True):
    """More of the text of an item."""

    output_index: int
    item_id: str
    delta: str
    type: Literal["response.output_text.delta", "response.reasoning_text.delta"]
    content_index: int = 0


ItemFrame = OutputItemFrame | OutputTextDelta


def status(description: str, done: bool) -> StatusFrame:
    """Frame a status line."""
    return StatusFrame(StatusEvent(Status(description, done)))


def tool_card(id: str, name: str, arguments: str, output: str, failed: bool, index: int) -> list[OutputItemFrame]:
    """Frame a call and its result, two items from `index` on; `id` is like no other's in the chat.

    All of it at once: a call without its output has Open WebUI run the tool itself, and ask again.
    """
    call = FunctionCall(f"fc_{id}", f"call_{id}", name)
    called = FunctionCall(call.id, call.call_id, name, arguments, "completed")
    result = FunctionCallOutput(f"fco_{id}", call.call_id)
    returned = FunctionCallOutput(result.id, call.call_id, (InputText(output),), "failed" if failed else "completed")
    return [
        OutputItemFrame(index, call, "response.output_item.added"),
        OutputItemFrame(index, called, "response.output_item.done"),
        OutputItemFrame(index + 1, result, "response.output_item.added"),
        OutputItemFrame(index + 1, returned, "response.output_item.done"),
    ]
