"""The bodies of responses: a response, its items, and the events of a stream; and their frames. Performs no I/O.

Every event has its place in the stream in `sequence_number`, which the encoder gives it.
https://developers.openai.com/api/reference/resources/responses/streaming-events
https://github.com/openresponses/openresponses (2026-04-24)
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.wires.envelope import Error

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]
# The server of tools that an agent is, as far as its clients are concerned.
SERVER_LABEL = "letta"


class TextPart(Struct, frozen=True, tag="output_text"):
    text: str
    annotations: tuple[None, ...] = ()
    logprobs: tuple[None, ...] = ()


class OutputMessage(Struct, frozen=True, tag="message"):
    """A text of the answer."""

    id: str
    status: ItemStatus
    content: tuple[TextPart, ...]
    phase: Phase | UnsetType = UNSET
    """Absent where nobody can tell yet whether more will be said."""
    role: Literal["assistant"] = "assistant"


class SummaryText(Struct, frozen=True, tag="summary_text"):
    text: str


class ReasoningOutput(Struct, frozen=True, tag="reasoning"):
    """A block of thoughts."""

    id: str
    summary: tuple[SummaryText, ...]
    encrypted_content: UnsetType | None = UNSET
    """None where the request asks for it: nothing is encrypted. Else absent, as Open Responses has it."""


class FunctionCallItem(Struct, frozen=True, tag="function_call"):
    """A call of a function of the client's; to Open WebUI also one of a tool of Letta's own."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class InputTextPart(Struct, frozen=True, tag="input_text"):
    text: str


class FunctionOutputItem(Struct, frozen=True, tag="function_call_output"):
    """The text that a tool of Letta's own returned, where its call was told as one of a function.

    In a part: Open WebUI fails over a text alone.
    """

    id: str
    call_id: str
    output: tuple[InputTextPart]
    status: ItemStatus


class CustomCallItem(Struct, frozen=True, tag="custom_tool_call"):
    """A call of a custom tool of the client's."""

    id: str
    call_id: str
    name: str
    input: str
    namespace: str | UnsetType = UNSET


class McpExecutionError(Struct, frozen=True, tag="mcp_tool_execution_error"):
    content: tuple[dict[str, str], ...]


class McpCallItem(Struct, frozen=True, tag="mcp_call"):
    """A call of a tool of Letta's own."""

    id: str
    name: str
    arguments: str
    output: str | None
    error: McpExecutionError | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    server_label: str = SERVER_LABEL
    approval_request_id: None = None


class McpApprovalItem(Struct, frozen=True, tag="mcp_approval_request"):
    """The question whether a tool of Letta's own may be called."""

    id: str
    name: str
    arguments: str
    server_label: str = SERVER_LABEL


OutputItem = (
    OutputMessage
    | ReasoningOutput
    | FunctionCallItem
    | FunctionOutputItem
    | CustomCallItem
    | McpCallItem
    | McpApprovalItem
)


class InputTokensDetails(Struct, frozen=True):
    """A part of `input_tokens`."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(Struct, frozen=True):
    """A part of `output_tokens`."""

    reasoning_tokens: int = 0


class ResponseUsage(Struct, frozen=True):
    """The tokens of a whole run."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseFailure(Struct, frozen=True):
    """The error of a response that has failed."""

    code: str
    """One of OpenAI's own: clients refuse any other."""
    message: str


class IncompleteDetails(Struct, frozen=True):
    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ConversationRef(Struct, frozen=True):
    id: str


class ResponseResource(Struct, frozen=True):
    """A response, done or under way; all of its fields are there in every state."""

    id: str
    created_at: int
    status: ResponseStatus
    model: str
    output: list[OutputItem]
    completed_at: int | None = None
    error: ResponseFailure | None = None
    incomplete_details: IncompleteDetails | None = None
    usage: ResponseUsage | None = None
    # What the request asked for, as `Echo` has it.
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: ConversationRef | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    max_tool_calls: int | None = None
    text: dict[str, Any] = {}
    reasoning: dict[str, str | None] = {}
    temperature: float = 1.0
    top_p: float = 1.0
    max_output_tokens: int | None = None
    metadata: dict[str, str] = {}
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str = "default"
    truncation: str = "disabled"
    store: bool = True
    background: bool = False
    # What no agent has.
    top_logprobs: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    object: Literal["response"] = "response"


class ResponseEvent(Struct, kw_only=True):
    """An event of a stream; its type is its tag."""

    sequence_number: int = 0


class _OfResponse(ResponseEvent):
    response: ResponseResource


class ResponseCreated(_OfResponse, tag="response.created"):
    pass


class ResponseQueued(_OfResponse, tag="response.queued"):
    pass


class ResponseInProgress(_OfResponse, tag="response.in_progress"):
    pass


class ResponseCompleted(_OfResponse, tag="response.completed"):
    pass


class ResponseIncomplete(_OfResponse, tag="response.incomplete"):
    pass


class ResponseFailed(_OfResponse, tag="response.failed"):
    pass


class ErrorEvent(ResponseEvent, tag="error"):
    """An error in place of a response. OpenAI's types have its fields here, Open Responses has them in `error`."""

    message: str
    code: str | None
    param: str | None
    error: Error


class ItemAdded(ResponseEvent, tag="response.output_item.added"):
    output_index: int
    item: OutputItem


class ItemDone(ResponseEvent, tag="response.output_item.done"):
    output_index: int
    item: OutputItem


class _OfItem(ResponseEvent):
    item_id: str
    output_index: int


class _OfPart(_OfItem):
    content_index: int
    part: TextPart


class ContentPartAdded(_OfPart, tag="response.content_part.added"):
    pass


class ContentPartDone(_OfPart, tag="response.content_part.done"):
    pass


# In the events of pieces `delta` comes last but for the number: what stands before is written once an item.
class TextDelta(_OfItem, tag="response.output_text.delta"):
    content_index: int = 0
    logprobs: tuple[None, ...] = ()
    delta: str = ""


class TextDone(_OfItem, tag="response.output_text.done"):
    content_index: int
    text: str
    logprobs: tuple[None, ...] = ()


class _OfSummary(_OfItem):
    summary_index: int
    part: SummaryText


class SummaryPartAdded(_OfSummary, tag="response.reasoning_summary_part.added"):
    pass


class SummaryPartDone(_OfSummary, tag="response.reasoning_summary_part.done"):
    pass


class SummaryTextDelta(_OfItem, tag="response.reasoning_summary_text.delta"):
    summary_index: int = 0
    delta: str = ""


class SummaryTextDone(_OfItem, tag="response.reasoning_summary_text.done"):
    summary_index: int
    text: str


class _Delta(_OfItem):
    delta: str = ""


class FunctionArgumentsDelta(_Delta, tag="response.function_call_arguments.delta"):
    pass


class CustomInputDelta(_Delta, tag="response.custom_tool_call_input.delta"):
    pass


class McpArgumentsDelta(_Delta, tag="response.mcp_call_arguments.delta"):
    pass


class FunctionArgumentsDone(_OfItem, tag="response.function_call_arguments.done"):
    arguments: str


class CustomInputDone(_OfItem, tag="response.custom_tool_call_input.done"):
    input: str


class McpArgumentsDone(_OfItem, tag="response.mcp_call_arguments.done"):
    arguments: str


class _Plain(_OfItem):
    pass


class McpCallInProgress(_Plain, tag="response.mcp_call.in_progress"):
    pass


class McpCallCompleted(_Plain, tag="response.mcp_call.completed"):
    pass


class McpCallFailed(_Plain, tag="response.mcp_call.failed"):
    pass


Framing = Callable[[bytes, bytes], bytes]
"""The frame of an event, made of its type and its JSON."""
encode_json = msgspec.json.Encoder().encode


def event_frame(type: bytes, data: bytes) -> bytes:
    """Write one server-sent event, which has its type as its name."""
    return b"event: " + type + b"\ndata: " + data + b"\n\n"


def text_frame(type: bytes, data: bytes) -> bytes:
    """Write one message of a WebSocket: a line of JSON."""
    return data + b"\n"


def type_of(event: Struct | type[Struct]) -> bytes:
    """The type of an event, or of all events of a class."""
    return str(event.__struct_config__.tag).encode()
