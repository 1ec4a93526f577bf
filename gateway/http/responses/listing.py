"""Lists of items, a page at a time: the input of a response, and the content of a conversation."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from litestar import Request
from msgspec import Struct

from gateway.domain.errors import InvalidRequest, NotFoundHere
from gateway.domain.messages import Image, Message
from gateway.turns.exchanged import KeptTurn
from gateway.wires.responses.ids import ItemKind, SealedIds
from gateway.wires.responses.response import OutputItem

DEFAULT_LIMIT, LARGEST_LIMIT = 20, 100
# The places of a response's input among its items, behind all of its output.
FIRST_INPUT = 0x8000
LONGEST_NUMBER = 19


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
    output: str
    status: Literal["completed"] = "completed"


GivenItem = GivenMessage | CallOutput
ListedItem = GivenItem | OutputItem


class ItemList(Struct, frozen=True):
    """A page of items."""

    data: Sequence[ListedItem]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


def input_items(ids: SealedIds, kept: KeptTurn) -> list[GivenItem]:
    """The items of what a turn was asked, in order."""
    items: list[GivenItem] = [GivenMessage("", tuple(_content(message))) for message in kept.asked]
    items += [CallOutput("", result.tool_call_id, result.text) for result in kept.results]
    return [_with_id(item, ids, FIRST_INPUT + i) for i, item in enumerate(items)]


def _with_id(item: GivenItem, ids: SealedIds, index: int) -> GivenItem:
    kind: ItemKind = "msg" if isinstance(item, GivenMessage) else "fco"
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
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return ItemList(page, first, last, begin + len(page) < len(every))
