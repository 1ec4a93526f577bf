"""The neutral request that a chat completion is. Performs no I/O."""

from collections.abc import Iterator

from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.domain.request import (
    ClientTools,
    Options,
    Piece,
    Request,
    RequestMessage,
    RequestRole,
    ShownPicture,
    ToldCall,
    Unusable,
)
from gateway.wires.chat_completions.request import (
    ChatCompletionRequest,
    ChatMessage,
    ContentPart,
)
from gateway.wires.chat_completions.tools import to_client_tools
from gateway.wires.json_format import to_json_format

OTHER_PART = "this gateway takes parts of the types `text` and `image_url` only"
# The fields that may say who asks.
USER_FIELDS = ("user", "safety_identifier")


def to_request(chat: ChatCompletionRequest) -> Request:
    """The neutral request; what is wrong with it is an error where it matters."""
    users = {name: value for name in USER_FIELDS if (value := getattr(chat, name))}
    return Request(
        model=chat.model,
        messages=tuple(to_message(message, f"messages[{i}]") for i, message in enumerate(chat.messages)),
        tools=_tools(chat),
        json=_json(chat),
        options=_options(chat),
        stream=bool(chat.stream),
        include_usage=chat.include_usage,
        hides_reasoning=chat.hides_reasoning,
        users=users,
        metadata=chat.metadata or {},
    )


def _tools(chat: ChatCompletionRequest) -> ClientTools | InvalidRequest:
    try:
        return to_client_tools(chat.tools, chat.tool_choice, chat.parallel_tool_calls)
    except InvalidRequest as error:
        return error


def _json(chat: ChatCompletionRequest) -> JsonFormat | InvalidRequest | None:
    try:
        return to_json_format(chat.response_format)
    except InvalidRequest as error:
        return error


def _options(chat: ChatCompletionRequest) -> Options:
    """The model's settings that a request asks for; where no Letta can apply one, the agent's own holds."""
    # Who wants no thoughts to be shown says nothing about thinking.
    effort = chat.reasoning_effort if chat.reasoning_effort != "none" else None
    return Options(
        chat.temperature,
        chat.most_tokens,
        chat.response_format if chat.wants_json else None,
        effort if isinstance(effort, str) else None,
    )


def to_message(message: ChatMessage, place: str) -> RequestMessage:
    calls = [ToldCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    content = message.content
    # Of a long chat nearly all messages are texts.
    parts = tuple(_pieces(message.role, content, f"{place}.content")) if isinstance(content, list) else (content or "",)
    return RequestMessage(message.role, parts, place, message.name or "", tuple(calls), message.tool_call_id or "")


def _pieces(role: RequestRole, content: list[ContentPart], place: str) -> Iterator[Piece]:
    for i, part in enumerate(content):
        if role == "user":
            yield _piece_of_a_person(part, f"{place}[{i}]")
        elif role == "tool":
            yield _piece_of_a_result(part, f"{place}[{i}]")
        else:
            yield part.text or part.refusal or ""


def _piece_of_a_person(part: ContentPart, place: str) -> Piece:
    if part.type == "image_url" and part.image_url:
        return ShownPicture(part.image_url.url, f"{place}.image_url.url", part.image_url.detail)
    if part.type != "text":
        return Unusable(place, OTHER_PART, part.text or "")
    return part.text or ""


def _piece_of_a_result(part: ContentPart, place: str) -> Piece:
    if part.image_url:
        return ShownPicture(part.image_url.url, f"{place}.image_url.url", part.image_url.detail)
    text = part.text or part.refusal or ""
    return text if text or part.type == "text" else Unusable(place, OTHER_PART)
