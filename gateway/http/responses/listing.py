"""Lists of items, a page at a time: the input of a response, and the content of a conversation."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from litestar import Request
from msgspec import UNSET, Struct

from gateway.domain.errors import InvalidRequest, NotFoundHere
from gateway.domain.messages import Image, Message
from gateway.turns.about import Added, AddedItem
from gateway.turns.exchanged import KeptTurn
from gateway.wires.responses.conversations import REASONING
from gateway.wires.responses.ids import ItemKind, SealedIds
from gateway.wires.responses.request import MESSAGE
from gateway.wires.responses.response import (
    CustomCallItem,
    FunctionCallItem,
    OutputItem,
    OutputMessage,
    ReasoningOutput,
    SummaryText,
    TextPart,
)

DEFAULT_LIMIT, LARGEST_LIMIT = 20, 100
# The places of a response's input among its items, behind all of its output.
FIRST_INPUT = 0x8000
LONGEST_NUMBER = 19
_KINDS: dict[str, ItemKind] = {
    MESSAGE: "msg",
    REASONING: "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "fco",
}


class DeletedResponse(Struct, frozen=True):
    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class GivenText(Struct, frozen=True, tag="input_text"):
    text: str


class GivenImage(Struct, frozen=True, tag="input_image"):
    image_url: str
    detail: str = "auto"
    file_id: None = None


class GivenMessage(Struct, frozen=True, tag="message"):
    """A message of the input."""

    id: str
    content: tuple[GivenText | GivenImage, ...]
    role: Literal["user"] = "user"
    status: Literal["completed"] = "completed"


class CallOutput(Struct, frozen=True, tag="function_call_output"):
    """The result of a call of the client's tools, as it was given."""

    id: str
    call_id: str
    output: str | tuple[GivenText | GivenImage, ...]
    status: Literal["completed"] = "completed"


class CustomOutput(Struct, frozen=True, tag="custom_tool_call_output"):
    """The result of a call of a custom tool."""

    id: str
    call_id: str
    output: str | tuple[GivenText | GivenImage, ...]
    status: Literal["completed"] = "completed"


GivenItem = GivenMessage | CallOutput | CustomOutput
ListedItem = GivenItem | OutputItem


class ItemList(Struct, frozen=True):
    """A page of items."""

    data: Sequence[ListedItem]
    first_id: str
    """Empty where there is none: OpenAI's types have no null here."""
    last_id: str
    has_more: bool
    object: Literal["list"] = "list"


def input_items(ids: SealedIds, kept: KeptTurn) -> list[GivenItem]:
    """The items of what a turn was asked, in order."""
    items: list[GivenItem] = [GivenMessage("", tuple(_content(message))) for message in kept.asked]
    items += [CallOutput("", result.tool_call_id, result.text) for result in kept.results]
    return [_with_id(item, ids, FIRST_INPUT + i) for i, item in enumerate(items)]


def added_items(ids: SealedIds, added: Added) -> Iterator[ListedItem]:
    """The items that were added to a conversation, but those that were deleted."""
    for i, item in enumerate(added.items):
        if item is not None:
            kind = _KINDS[item["type"]]
            yield _added(item, ids.item(kind, FIRST_INPUT + i))


def _added(item: AddedItem, id: str) -> ListedItem:
    match item["type"]:
        case "function_call":
            return FunctionCallItem(id, item["call_id"], item["name"], item["arguments"], "completed")
        case "custom_tool_call":
            return CustomCallItem(id, item["call_id"], item["name"], item["input"])
        case "function_call_output":
            return CallOutput(id, item["call_id"], _output(item["output"]))
        case "custom_tool_call_output":
            return CustomOutput(id, item["call_id"], _output(item["output"]))
        case "reasoning":
            return ReasoningOutput(id, tuple(SummaryText(_text(part)) for part in _list(item.get("summary"))))
    content = item.get("content") or ""
    parts = [{"text": content}] if isinstance(content, str) else content
    if item["role"] == "assistant":
        phase = item.get("phase")
        known = phase if phase in ("commentary", "final_answer") else UNSET
        return OutputMessage(id, "completed", tuple(TextPart(_text(part)) for part in parts), known)
    return GivenMessage(id, tuple(map(_part, parts)))


def _output(output: str | list[Any]) -> str | tuple[GivenText | GivenImage, ...]:
    return output if isinstance(output, str) else tuple(map(_part, output))


def _list(parts: Any) -> list[Any]:
    """Parts, as they were kept; none of what has another form, which is not taken any more."""
    return parts if isinstance(parts, list) else []


def _part(part: Any) -> GivenText | GivenImage:
    """A part, as it was kept; a picture that nobody can show is an empty text."""
    if isinstance(part, dict) and part.get("type") == "input_image" and isinstance(part.get("image_url"), str):
        return GivenImage(part["image_url"], part.get("detail") or "auto")
    return GivenText(_text(part))


def _text(part: Any) -> str:
    """The text of a part; of one that has another form there is none."""
    text = part.get("text") or part.get("refusal") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def _with_id(item: GivenItem, ids: SealedIds, index: int) -> GivenItem:
    kind = _KINDS["message" if isinstance(item, GivenMessage) else "function_call_output"]
    return msgspec.structs.replace(item, id=ids.item(kind, index))


def _content(message: Message) -> Iterator[GivenText | GivenImage]:
    for piece in message.pieces():
        if isinstance(piece, Image):
            yield GivenImage(f"data:{piece.media_type};base64,{piece.data}", piece.detail or "auto")
        else:
            yield GivenText(piece)


def is_number(text: str) -> bool:
    """True of a number in a query, which no list is longer than: in the digits 0 to 9, without a sign."""
    return text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER


def paged(request: Request[Any, Any, Any], items: Sequence[ListedItem]) -> ItemList:
    """The page that a request asks for by `after`, `limit` and `order`. Raises InvalidRequest, NotFoundHere."""
    query = request.query_params
    order, limit, after = query.get("order", "desc"), query.get("limit", str(DEFAULT_LIMIT)), query.get("after")
    if order not in ("asc", "desc"):
        raise InvalidRequest("`order`: expected `asc` or `desc`.", "order")
    if not (is_number(limit) and 1 <= int(limit) <= LARGEST_LIMIT):
        raise InvalidRequest(f"`limit`: expected a number from 1 to {LARGEST_LIMIT}.", "limit")
    every = [*items] if order == "asc" else [*reversed(items)]
    begin = 0
    if after is not None:
        found = next((i for i, item in enumerate(every) if item.id == after), None)
        if found is None:
            raise NotFoundHere("item", "after")
        begin = found + 1
    page = every[begin : begin + int(limit)]
    first, last = (page[0].id, page[-1].id) if page else ("", "")
    return ItemList(page, first, last, begin + len(page) < len(every))
