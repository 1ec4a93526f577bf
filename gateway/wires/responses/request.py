"""`ResponsesRequest`: the body of a request for a response, as far as the gateway reads it. Performs no I/O.

Fields it does not name are accepted and ignored; deploy/guide/responses.md has the table.
https://developers.openai.com/api/reference/resources/responses/methods/create
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from gateway.domain.errors import InvalidRequest
from gateway.wires.bodies import decode_body, missing
from gateway.wires.limits import MESSAGES, PARTS, check_count

ItemRole = Literal["user", "assistant", "system", "developer"]
Limit = Annotated[int, Meta(ge=-1)]
"""A number of tokens or calls; 0 and -1 are no limit, as programs say that send every option."""


class InputPart(Struct, frozen=True, gc=False):
    """A part of a message, or of a call's output."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None


# One Struct for all types of items: each has some of these fields. Without the collector, for the reason of `Message`.
class InputItem(Struct, frozen=True, gc=False):
    """A message, a call, its output, or whatever else an input may hold."""

    type: str | None = None
    """None: a message, or a reference."""
    id: str | None = None
    role: ItemRole | None = None
    content: str | list[InputPart] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[InputPart] | None = None
    approval_request_id: str | None = None
    approve: bool | None = None
    reason: str | None = None

    @property
    def kind(self) -> str:
        """Its type; empty where it has none, and none can be guessed."""
        if self.type or self.role or not self.id:
            return self.type or ("message" if self.role else "")
        return REFERENCE


class OfferedTool(Struct, frozen=True):
    """A tool of any type: a function in the flat form, a custom tool, several of them, or one that nobody here has."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: Any = None
    tools: "list[OfferedTool] | None" = None
    """Those of a namespace."""
    external_web_access: Any = None

    # https://github.com/openai/codex: it sends `web_search` where the search is off, too.
    @property
    def is_off(self) -> bool:
        """True: the client itself says that it may not be used."""
        return self.external_web_access is False


class TextOptions(Struct, frozen=True):
    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Struct, frozen=True):
    effort: str | None = None
    summary: str | None = None


class ConversationNamed(Struct, frozen=True):
    id: str


class ResponsesRequest(Struct, frozen=True):
    model: str
    input: str | list[InputItem] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationNamed | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Limit | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_output_tokens: Limit | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    truncation: Literal["auto", "disabled"] | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    include: Any = None
    top_logprobs: Any = None
    prompt: Any = None

    @property
    def conversation_id(self) -> str | None:
        named = self.conversation
        return named.id if isinstance(named, ConversationNamed) else named

    @property
    def most_tokens(self) -> int | None:
        """The limit of each of the model's answers; None where there is none."""
        return _limit(self.max_output_tokens)

    @property
    def most_calls(self) -> int | None:
        return _limit(self.max_tool_calls)

    @property
    def asks_for_encrypted(self) -> bool:
        """True if the thoughts are asked for in a form that OpenAI alone can read."""
        return isinstance(self.include, list) and "reasoning.encrypted_content" in self.include

    @property
    def format(self) -> dict[str, Any] | None:
        return self.text.format if self.text else None

    @property
    def effort(self) -> str | None:
        return self.reasoning.effort if self.reasoning else None


def _limit(number: int | None) -> int | None:
    return number if number and number > 0 else None


MESSAGE, REFERENCE, APPROVAL = "message", "item_reference", "mcp_approval_response"
CALLS = frozenset({"function_call", "custom_tool_call"})
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
# Thoughts, and what a server did by itself, in an earlier answer.
IGNORED_ITEMS = frozenset(
    {
        *("reasoning", "mcp_call", "mcp_list_tools", "mcp_approval_request"),
        *("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
    }
)
# The fields that an item of each type must have.
_NEEDED: dict[str, tuple[str, ...]] = {
    MESSAGE: ("role",),
    REFERENCE: ("id",),
    APPROVAL: ("approval_request_id", "approve"),
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call_output": ("call_id", "output"),
    **{kind: () for kind in IGNORED_ITEMS},
}
# What would change the answer, and no agent can do: the values that ask for it, and why it is not there.
_UNSUPPORTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "prompt": (lambda prompt: True, "is not taken: this gateway keeps no prompts; an agent has its own"),
    "top_logprobs": (bool, "cannot be given: an agent's answer may be made of several of its model's"),
}


def decode_request(body: bytes) -> ResponsesRequest:
    """The request in `body`. Raises InvalidRequest, with `param` where one is at fault."""
    request = decode_body(body, ResponsesRequest, "a request for a response", get_args(ItemRole))
    for param, (asks, why) in _UNSUPPORTED.items():
        value = getattr(request, param)
        if value is not None and asks(value):
            raise InvalidRequest(f"`{param}` {why}.", param, "unsupported_parameter")
    if request.previous_response_id is not None and request.conversation is not None:
        raise InvalidRequest(
            "`previous_response_id` and `conversation` both say where the chat goes on: expected one of them.",
            "conversation",
            "mutually_exclusive_parameters",
        )
    if request.background and request.store is False:
        raise InvalidRequest("`background` needs `store`: nobody could ask for the response.", "background")
    if request.input is None:
        raise missing("input")
    if not request.input:
        raise InvalidRequest("`input` is empty: expected a text, or at least one item.", "input")
    if isinstance(request.input, list):
        check_items(request.input)
    return request


def check_items(items: list[InputItem], place: str = "input") -> None:
    """Check the items in the field `place`. Raises InvalidRequest."""
    check_count(len(items), MESSAGES, place, "items")
    check_count(sum(_parts(item.content) + _parts(item.output) for item in items), PARTS, place, "parts")
    for i, item in enumerate(items):
        kind = item.kind
        needed = _NEEDED.get(kind)
        if not kind:
            raise missing(f"{place}[{i}].type")
        if needed is None:
            # The type is repeated only where it is a name.
            named = f" `{kind}`" if kind.isidentifier() and len(kind) <= 40 else ""
            where = f"{place}[{i}]"
            raise InvalidRequest(
                f"`{where}`: this gateway takes no items of the type{named}.", where, "unsupported_parameter"
            )
        for field in needed:
            if getattr(item, field) is None:
                raise missing(f"{place}[{i}].{field}")


def _parts(content: str | list[InputPart] | None) -> int:
    return len(content) if isinstance(content, list) else 0
