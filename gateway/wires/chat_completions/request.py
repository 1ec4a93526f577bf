"""`ChatCompletionRequest`: the body of a chat completion, as far as the gateway reads it. Performs no I/O.

Fields it does not name are accepted and ignored; deploy/guide/api.md has the table.
https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import RequestRole
from gateway.wires.bodies import decode_body
from gateway.wires.chat_completions.tools import Tool, ToolCall
from gateway.wires.limits import MESSAGES, PARTS, check_count

Detail = Literal["auto", "low", "high"]
# Programs that send every option say so by this, or by 0: https://lmstudio.ai/docs/app/api/endpoints/openai
NO_LIMIT = -1


class ImageUrl(Struct, frozen=True):
    url: str
    detail: str | None = None
    """A `Detail`, if it is to be used."""


class ContentPart(Struct, frozen=True):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None


# Without the collector, for the reason of `Message`.
class ChatMessage(Struct, frozen=True, gc=False):
    role: RequestRole
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class ChatCompletionRequest(Struct, frozen=True):
    model: str
    messages: list[ChatMessage]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, Any] | None = None
    n: int | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: Any = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=NO_LIMIT)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=NO_LIMIT)] | None = None
    reasoning_effort: Any = None
    reasoning: Any = None
    include_reasoning: Any = None
    functions: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    modalities: Any = None
    audio: Any = None

    @property
    def most_tokens(self) -> int | None:
        """The limit of each of the model's answers; None where there is none."""
        return next((most for most in (self.max_completion_tokens, self.max_tokens) if most and most > 0), None)

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def wants_json(self) -> bool:
        """True: the answer is to be JSON, and nothing beside it."""
        kind = self.response_format.get("type") if isinstance(self.response_format, dict) else None
        return kind in ("json_object", "json_schema")

    # https://openrouter.ai/docs/use-cases/reasoning-tokens: `reasoning` and `include_reasoning` are OpenRouter's.
    @property
    def hides_reasoning(self) -> bool:
        """True: the client wants to see no thoughts."""
        reasoning = self.reasoning if isinstance(self.reasoning, dict) else {}
        efforts = (self.reasoning_effort, reasoning.get("effort"))
        return "none" in efforts or self.include_reasoning is False or reasoning.get("exclude") is True


# What would change the answer, and no agent can do: the values that ask for it, and why it is not there.
_UNSUPPORTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n": (lambda n: n != 1, "must be 1: an agent gives one answer"),
    "functions": (bool, "is not taken: OpenAI has replaced it by `tools`"),
    "logprobs": (bool, "cannot be given: an agent's answer may be made of several of its model's"),
    "top_logprobs": (bool, "cannot be given: an agent's answer may be made of several of its model's"),
    "modalities": (lambda kinds: kinds != ["text"], "may be `text` only: agents do not speak"),
    "audio": (bool, "cannot be given: agents do not speak"),
}


def decode_request(body: bytes) -> ChatCompletionRequest:
    """The request in `body`. Raises InvalidRequest, with `param` where one is at fault."""
    request = decode_body(body, ChatCompletionRequest, "a chat completion request", get_args(RequestRole))
    if not request.messages:
        raise InvalidRequest("`messages` is empty: expected at least one message.", "messages")
    check_count(len(request.messages), MESSAGES, "messages", "messages")
    composed = [message for message in request.messages if message.tool_calls or isinstance(message.content, list)]
    check_count(sum(map(_parts, composed)), PARTS, "messages", "parts and calls")
    for param, (asks, why) in _UNSUPPORTED.items():
        value = getattr(request, param)
        if value is not None and asks(value):
            raise InvalidRequest(f"`{param}` {why}.", param, "unsupported_parameter")
    return request


def _parts(message: ChatMessage) -> int:
    """How many parts and calls there are in it."""
    parts = message.content if isinstance(message.content, list) else ()
    return len(parts) + len(message.tool_calls or ())
