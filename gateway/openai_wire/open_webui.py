"""What Open WebUI takes within a stream beside chunks: status lines and tool cards. Performs no I/O.

Any other client takes each frame for a chunk, and breaks at one of these.
"""

from typing import Literal

from msgspec import Struct


class Status(Struct, frozen=True):
    description: str
    done: bool


# https://docs.openwebui.com/features/plugin/events
class StatusEvent(Struct, frozen=True):
    """A line above the answer; it shimmers until one is done."""

    data: Status
    type: Literal["status"] = "status"


class StatusFrame(Struct, frozen=True):
    event: StatusEvent


class FunctionCall(Struct, frozen=True):
    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: Literal["in_progress", "completed"] = "in_progress"
    type: Literal["function_call"] = "function_call"


class OutputText(Struct, frozen=True):
    text: str
    type: Literal["input_text"] = "input_text"


class FunctionCallOutput(Struct, frozen=True):
    """`failed` is a word of Open WebUI's own."""

    id: str
    call_id: str
    output: tuple[OutputText, ...] = ()
    status: Literal["in_progress", "completed", "failed"] = "in_progress"
    type: Literal["function_call_output"] = "function_call_output"


# https://platform.openai.com/docs/api-reference/responses-streaming/response/output_item
class OutputItemFrame(Struct, frozen=True):
    """A piece of a tool card. Without an index: Open WebUI counts items that it has made itself, too."""

    item: FunctionCall | FunctionCallOutput
    type: Literal["response.output_item.added", "response.output_item.done"]


Addition = StatusFrame | OutputItemFrame


def status(description: str, done: bool) -> StatusFrame:
    return StatusFrame(StatusEvent(Status(description, done)))


def tool_card(id: str, name: str, arguments: str, output: str, failed: bool) -> list[OutputItemFrame]:
    """A call and what came of it; `id` is like no other's in the chat.

    All of it at once: a call without its output has Open WebUI run the tool itself, and ask again.
    """
    call = FunctionCall(f"fc_{id}", f"call_{id}", name)
    called = FunctionCall(call.id, call.call_id, name, arguments, "completed")
    result = FunctionCallOutput(f"fco_{id}", call.call_id)
    returned = FunctionCallOutput(result.id, call.call_id, (OutputText(output),), "failed" if failed else "completed")
    return [
        OutputItemFrame(call, "response.output_item.added"),
        OutputItemFrame(called, "response.output_item.done"),
        OutputItemFrame(result, "response.output_item.added"),
        OutputItemFrame(returned, "response.output_item.done"),
    ]
