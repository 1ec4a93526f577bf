"""The bodies of responses: a chunk, a whole completion, the list of models; and their frames. Performs no I/O.

https://developers.openai.com/api/reference/resources/chat/subresources/completions/streaming-events
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

FinishReason = Literal["stop", "length", "tool_calls"]


class PromptTokensDetails(Struct, frozen=True):
    """A part of `prompt_tokens`."""

    cached_tokens: int = 0


class CompletionTokensDetails(Struct, frozen=True):
    """A part of `completion_tokens`."""

    reasoning_tokens: int = 0


class CompletionUsage(Struct, frozen=True):
    """The tokens of a whole run."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class FunctionChunk(Struct, frozen=True, omit_defaults=True):
    """The function of a `ToolCallChunk`, or a piece of its arguments."""

    arguments: str | None = None
    name: str | None = None


class ToolCallChunk(Struct, frozen=True, omit_defaults=True):
    """A call of a tool, or a piece of one; the first has its id and the tool's name."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionChunk = FunctionChunk()


# omit_defaults: the chunk with the finish reason must carry an empty delta, `{}`.
class ChunkDelta(Struct, frozen=True, omit_defaults=True):
    """The piece of the answer that a chunk brings: `ChunkDelta(content="Good morn")`."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    # Two names of one thing: DeepSeek's, and that of vLLM, Ollama and OpenRouter.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCallChunk, ...] | None = None


class ChunkChoice(Struct, frozen=True):
    """The one choice of a chunk; the finish reason comes with an empty delta."""

    delta: ChunkDelta
    finish_reason: FinishReason | None = None
    index: int = 0
    logprobs: None = None


class ChatCompletionChunk(Struct, frozen=True):
    """One event of a stream."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None | UnsetType = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class ChatCompletionFunction(Struct, frozen=True):
    """The function that a tool call of a whole answer names, with all its arguments."""

    name: str
    arguments: str


class ChatCompletionToolCall(Struct, frozen=True):
    """A call of a client's tool in a whole answer."""

    id: str
    function: ChatCompletionFunction
    type: Literal["function"] = "function"


class AssistantMessage(Struct, frozen=True):
    """The message of a whole answer; `content` is None where there is nothing but calls."""

    content: str | None
    tool_calls: list[ChatCompletionToolCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    annotations: list[None] = field(default_factory=list)


class Choice(Struct, frozen=True):
    """The one choice of a whole answer."""

    message: AssistantMessage
    finish_reason: FinishReason
    index: int = 0
    logprobs: None = None


class ChatCompletion(Struct, frozen=True):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage | UnsetType = UNSET
    object: Literal["chat.completion"] = "chat.completion"


class ModelCapabilities(Struct, frozen=True):
    """The abilities of a model, for programs that ask before they use them."""

    chat_completions: bool = True
    responses: bool = True
    streaming: bool = True
    background: bool = True
    """True: a response may be given in the background."""
    conversations: bool = True
    """True: responses go on with each other, and with conversations."""
    tools: bool = True
    """True: it calls tools that a request brings."""
    structured_outputs: bool = True
    reasoning: bool = True
    """True: its thoughts are shown."""


class ModelObject(Struct, frozen=True):
    """An agent type as a model; `name` and `info` are what Open WebUI reads besides."""

    id: str
    created: int
    name: str
    info: dict[str, dict[str, object]]
    capabilities: ModelCapabilities
    object: Literal["model"] = "model"
    owned_by: str = "letta"


class ModelList(Struct, frozen=True):
    """The models that a key may use."""

    data: list[ModelObject]
    object: Literal["list"] = "list"


_encode = msgspec.json.Encoder().encode
DONE_FRAME = b"data: [DONE]\n\n"


def frame(value: Struct) -> bytes:
    """Write one server-sent event."""
    return b"data: " + _encode(value) + b"\n\n"


def to_completion(frames: Iterable[Struct]) -> ChatCompletion:
    """Fold the whole answer from the chunks of a stream that ended well."""
    chunks = [one for one in frames if isinstance(one, ChatCompletionChunk)]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    content = "".join(choice.delta.content or "" for choice in choices)
    reasoning = "".join(choice.delta.reasoning_content or "" for choice in choices)
    finish_reason = next(choice.finish_reason for choice in reversed(choices) if choice.finish_reason)
    usage = next((chunk.usage for chunk in chunks if isinstance(chunk.usage, CompletionUsage)), UNSET)
    calls = _to_calls(piece for choice in choices for piece in choice.delta.tool_calls or ())
    said = content if content or not calls else None
    message = AssistantMessage(said, calls or UNSET, reasoning or UNSET, reasoning or UNSET)
    return ChatCompletion(
        id=chunks[0].id,
        created=chunks[0].created,
        model=chunks[0].model,
        choices=[Choice(message, finish_reason)],
        usage=usage,
    )


def _to_calls(pieces: Iterable[ToolCallChunk]) -> list[ChatCompletionToolCall]:
    """Put calls together from their pieces, of which the first of each call names it."""
    calls: dict[int, list[ToolCallChunk]] = {}
    for piece in pieces:
        calls.setdefault(piece.index, []).append(piece)
    return [_to_call(pieces_of_one) for pieces_of_one in calls.values()]


def _to_call(pieces: list[ToolCallChunk]) -> ChatCompletionToolCall:
    first, arguments = pieces[0], "".join(piece.function.arguments or "" for piece in pieces)
    return ChatCompletionToolCall(first.id or "", ChatCompletionFunction(first.function.name or "", arguments))
