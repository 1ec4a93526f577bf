"""The bodies of calls about conversations, and what answers them. Performs no I/O.

https://developers.openai.com/api/reference/resources/conversations
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.texts.halves import decode
from gateway.wires.bodies import decode_body, missing
from gateway.wires.limits import check_count
from gateway.wires.responses.request import (
    CALLS,
    IGNORED_ITEMS,
    MESSAGE,
    OUTPUTS,
    InputItem,
    ItemRole,
    check_items,
)

# https://developers.openai.com/api/reference/resources/conversations/methods/create
MOST_ITEMS = 20
MOST_PAIRS, LONGEST_PAIR_NAME, LONGEST_PAIR_VALUE = 16, 64, 512
REASONING = "reasoning"
# The fields that are kept of an item of each type.
_KEPT: dict[str, tuple[str, ...]] = {
    MESSAGE: ("role", "content", "phase"),
    REASONING: ("summary",),
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
    **dict.fromkeys(sorted(OUTPUTS), ("call_id", "output")),
}
_CANNOT_BE_ADDED = "is of no use without a run: send it as `input` of a response"


class ConversationBody(Struct, frozen=True):
    """The body of any call about a conversation."""

    items: list[InputItem] | None = None
    metadata: dict[str, str] | None = None
    model: str | None = None
    """The agent type; no field of OpenAI's."""
    user: str | None = None
    """The user; no field of OpenAI's."""
    safety_identifier: str | None = None

    @property
    def users(self) -> dict[str, str]:
        """The users that it names, by its fields."""
        named = {"user": self.user, "safety_identifier": self.safety_identifier}
        return {field: value for field, value in named.items() if value}


class _Items(Struct, frozen=True):
    """The items of such a body, as they came."""

    items: list[dict[str, Any]] | None = None


class ConversationResource(Struct, frozen=True):
    id: str
    created_at: int
    metadata: dict[str, str]
    object: Literal["conversation"] = "conversation"


class DeletedConversation(Struct, frozen=True):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


def decode_conversation(body: bytes, needed: str = "") -> tuple[ConversationBody, list[dict[str, Any]]]:
    """The body of a call, which must have the field `needed`; and its items, as they are kept.

    Raises InvalidRequest.
    """
    asked = decode_body(body, ConversationBody, "a request about a conversation", get_args(ItemRole))
    if needed and getattr(asked, needed) is None:
        raise missing(needed)
    _check_pairs(asked.metadata or {})
    items = asked.items or []
    check_count(len(items), MOST_ITEMS, "items", "items")
    check_items(items, "items")
    for i, item in enumerate(items):
        _check_addable(item, f"items[{i}]")
    came = decode(body.decode(), _Items).items or []
    for i, (item, fields) in enumerate(zip(items, came, strict=True)):
        if item.kind == REASONING:
            _check_summary(fields.get("summary"), f"items[{i}].summary")
    return asked, [*_kept(items, came)]


def _check_pairs(metadata: dict[str, str]) -> None:
    """Raises InvalidRequest."""
    check_count(len(metadata), MOST_PAIRS, "metadata", "pairs")
    if any(len(name) > LONGEST_PAIR_NAME or len(value) > LONGEST_PAIR_VALUE for name, value in metadata.items()):
        what = f"names of at most {LONGEST_PAIR_NAME} characters, and values of at most {LONGEST_PAIR_VALUE}"
        raise InvalidRequest(f"`metadata`: expected {what}.", "metadata")


def _check_addable(item: InputItem, place: str) -> None:
    """Raises InvalidRequest."""
    if item.kind not in {MESSAGE, *CALLS, *OUTPUTS, *IGNORED_ITEMS}:
        raise InvalidRequest(f"`{place}`: `{item.kind}` {_CANNOT_BE_ADDED}.", place, "unsupported_parameter")
    if item.kind == MESSAGE and item.role not in ("user", "assistant"):
        raise InvalidRequest(
            f"`{place}.role`: system text is not kept in a conversation: send it as `instructions` of each response.",
            f"{place}.role",
            "unsupported_parameter",
        )
    shown = {"output": item.output} if item.kind in OUTPUTS else {"content": item.content}
    for field, parts in shown.items():
        for i, part in enumerate(parts if isinstance(parts, list) else ()):
            if part.type == "input_image" and part.image_url is None:
                where = f"{place}.{field}[{i}]"
                raise InvalidRequest(f"`{where}`: this gateway keeps no files: expected an `image_url`.", where)


def _check_summary(summary: Any, place: str) -> None:
    """Check the summary of thoughts, which no request for a response reads. Raises InvalidRequest."""
    if not isinstance(summary, list | None):
        raise InvalidRequest(f"`{place}`: expected an array.", place)
    for i, part in enumerate(summary or ()):
        if not (isinstance(part, dict) and isinstance(part.get("text"), str)):
            raise InvalidRequest(f"`{place}[{i}]`: expected an object with a `text`.", f"{place}[{i}]")


def _kept(items: list[InputItem], came: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of the items that stay, each with its type and what counts of it."""
    for item, fields in zip(items, came, strict=True):
        if names := _KEPT.get(item.kind):
            yield {"type": item.kind, **{name: fields[name] for name in names if fields.get(name) is not None}}
