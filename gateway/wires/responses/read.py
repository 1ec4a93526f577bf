"""The neutral request that a request for a response is. Performs no I/O."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.domain.request import (
    ApprovalDecision,
    ClientTools,
    GoesOn,
    Options,
    Piece,
    Request,
    RequestMessage,
    ShownPicture,
    ToldCall,
    Unusable,
)
from gateway.wires.json_format import to_json_format
from gateway.wires.responses.request import (
    APPROVAL,
    CALLS,
    MESSAGE,
    OUTPUTS,
    REFERENCE,
    InputItem,
    InputPart,
    ResponsesRequest,
)
from gateway.wires.responses.tools import custom_arguments, full_name, to_offered_tools

# How the id of a call begins by which a tool of Letta's own is shown as a function: its client tells it again.
OWN_CALL = "letta_"
_OTHER = "this gateway takes parts of the types `input_text` and `input_image` only"
_NO_FILES = "this gateway keeps no files: expected an `image_url`"
# `original` is OpenAI's word for all that there is to see.
_DETAILS = {"auto": "auto", "low": "low", "high": "high", "original": "high"}
# The fields that may say who asks.
_WHO_ASKS = ("user", "safety_identifier")


def to_request(asked: ResponsesRequest) -> Request:
    """The neutral request; what is wrong with it is an error where it matters.

    The calls that it decides about have the ids of the items that asked (`ids.Seal.read_approval`). Raises
    InvalidRequest where nothing is new.
    """
    items = asked.input if isinstance(asked.input, list) else []
    # All up to the last reference is known: a client that refers to earlier answers tells its own messages again.
    known = max((i for i, item in enumerate(items) if item.kind == REFERENCE), default=-1)
    messages = _instructions(asked)
    if isinstance(asked.input, str):
        messages.append(RequestMessage("user", (asked.input,), "input"))
    messages += _Path(items, known + 1).messages
    decisions = tuple(_decision(item) for item in items[known + 1 :] if item.kind == APPROVAL)
    if not messages and not decisions:
        raise InvalidRequest("`input` holds nothing to answer, but only what was said before.", "input")
    return Request(
        model=asked.model,
        messages=tuple(messages),
        place="input",
        tools=_tools(asked),
        json=_json(asked),
        options=_options(asked),
        decisions=decisions,
        stream=bool(asked.stream),
        include_usage=True,
        hides_reasoning=asked.effort == "none",
        users={name: value for name in _WHO_ASKS if (value := getattr(asked, name))},
        metadata=dict(asked.metadata or {}),
        goes_on=_goes_on(asked, items, known),
        keeps=asked.store is not False,
        background=bool(asked.background),
        call_id_field="call_id",
    )


def _instructions(asked: ResponsesRequest) -> list[RequestMessage]:
    return [RequestMessage("system", (asked.instructions,), "instructions")] if asked.instructions else []


def _goes_on(asked: ResponsesRequest, items: Sequence[InputItem], known: int) -> GoesOn | None:
    if asked.previous_response_id is not None:
        return GoesOn(asked.previous_response_id, "previous_response_id")
    if asked.conversation_id is not None:
        return GoesOn(asked.conversation_id, "conversation")
    return GoesOn(items[known].id or "", f"input[{known}].id") if known >= 0 else None


def _decision(item: InputItem) -> ApprovalDecision:
    return ApprovalDecision(item.approval_request_id or "", bool(item.approve), item.reason or "")


def _tools(asked: ResponsesRequest) -> ClientTools | InvalidRequest:
    try:
        return to_offered_tools(asked.tools, asked.tool_choice, asked.parallel_tool_calls)
    except InvalidRequest as error:
        return error


def _json(asked: ResponsesRequest) -> JsonFormat | InvalidRequest | None:
    try:
        return to_json_format(nested_format(asked.format), "text.format", "text.format.schema")
    except InvalidRequest as error:
        return error


def nested_format(flat: dict[str, Any] | None) -> dict[str, Any] | None:
    """`text.format` in the form of `response_format`, which has the schema within an object of its own."""
    if flat is None or flat.get("type") != "json_schema":
        return flat
    return {"type": "json_schema", "json_schema": {name: value for name, value in flat.items() if name != "type"}}


def _options(asked: ResponsesRequest) -> Options:
    """The model's settings that a request asks for; where no Letta can apply one, the agent's own holds."""
    wanted = nested_format(asked.format)
    wants_json = wanted is not None and wanted.get("type") in ("json_object", "json_schema")
    # Who wants no thoughts to be shown says nothing about thinking.
    effort = asked.effort if asked.effort != "none" else None
    return Options(asked.temperature, asked.most_tokens, wanted if wants_json else None, effort)


def to_messages(items: Sequence[InputItem], place: str) -> tuple[RequestMessage, ...]:
    """The messages that items of the field `place` are."""
    return tuple(_Path(items, 0, place).messages)


class _Path:
    """The messages of a path, made of items from a place on.

    What an answer said and called are items beside each other; all of its calls belong to the last of its messages.
    """

    def __init__(self, items: Sequence[InputItem], start: int, place: str = "input") -> None:
        self.messages: list[RequestMessage] = []
        self._calls: list[ToldCall] = []
        self._answer: list[RequestMessage] = []
        """The messages of the answer that is being read."""
        self._place = ""
        for i in range(start, len(items)):
            self._add(items[i], f"{place}[{i}]")
        self._end_answer()

    def _add(self, item: InputItem, place: str) -> None:
        kind = item.kind
        if kind in CALLS and not _is_own(item):
            self._place = self._place or place
            arguments = item.arguments if kind == "function_call" else custom_arguments(item.input or "")
            self._calls.append(
                ToldCall(item.call_id or "", full_name(item.namespace, item.name or ""), arguments or "")
            )
        elif kind == MESSAGE and item.role == "assistant":
            self._answer.append(RequestMessage("assistant", _said(item.content), place))
        elif kind == MESSAGE and item.role:
            self._end_answer()
            pieces = _shown(item.content, f"{place}.content") if item.role == "user" else _said(item.content)
            self.messages.append(RequestMessage(item.role, pieces, place))
        elif kind in OUTPUTS and not _is_own(item):
            self._end_answer()
            pieces = _shown(item.output, f"{place}.output")
            self.messages.append(RequestMessage("tool", pieces, place, call_id=item.call_id or ""))

    def _end_answer(self) -> None:
        if self._calls:
            last = self._answer.pop() if self._answer else RequestMessage("assistant", ("",), self._place)
            self._answer.append(RequestMessage("assistant", last.pieces, last.place, calls=tuple(self._calls)))
        self.messages += self._answer
        self._answer, self._calls, self._place = [], [], ""


def _is_own(item: InputItem) -> bool:
    """True of the call of a tool of Letta's own, and of its output."""
    return bool(item.call_id and item.call_id.startswith(OWN_CALL))


def _said(content: str | list[InputPart] | None) -> tuple[Piece, ...]:
    if isinstance(content, list):
        return tuple(part.text or part.refusal or "" for part in content)
    return (content or "",)


def _shown(content: str | list[InputPart] | None, place: str) -> tuple[Piece, ...]:
    return tuple(_pieces_of(content, place)) if isinstance(content, list) else (content or "",)


def _pieces_of(content: list[InputPart], place: str) -> Iterator[Piece]:
    for i, part in enumerate(content):
        where = f"{place}[{i}]"
        if part.type == "input_image":
            yield _picture(part, where)
        elif part.text is not None or part.refusal is not None:
            yield part.text or part.refusal or ""
        else:
            yield "" if part.type in ("input_text", "output_text", "text") else Unusable(where, _OTHER)


def _picture(part: InputPart, place: str) -> Piece:
    detail = _DETAILS.get(part.detail) if part.detail else None
    if part.image_url is None:
        return Unusable(place, _NO_FILES, is_picture=True)
    if part.detail and not detail:
        return Unusable(f"{place}.detail", f"expected one of {', '.join(_DETAILS)}", is_picture=True)
    return ShownPicture(part.image_url, f"{place}.image_url", detail)
