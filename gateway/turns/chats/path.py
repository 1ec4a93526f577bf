"""What a request's messages ask of an agent, in Letta's words. Performs no I/O."""

from collections.abc import Iterator
from itertools import groupby

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.messages import Image, Message, ToolResult, message_of
from gateway.letta.notes import CONTINUE, GO_AHEAD
from gateway.settings import Images
from gateway.turns.chats.tool_history import check_calls, exchanged, results_of
from gateway.turns.chats.visible_text import without_thoughts
from gateway.wires.chat_completions.images import to_image
from gateway.wires.chat_completions.request import ChatMessage, ContentPart, text_of
from gateway.wires.question import asks

SYSTEM_ROLES = ("system", "developer")
DEFAULT_IMAGES = Images()


class Asked(Struct, frozen=True):
    """The chat as its person sees it, and what is to be done."""

    path: list[Message]
    """All that was said, the last of it to be answered; none empty."""
    instructions: str = ""
    """The client's system text."""
    new: int = 1
    """How many messages at the end of the path came after the last answer."""
    goes_on: bool = False
    """Whether the last answer is to be continued; the path then ends with CONTINUE."""
    results: tuple[ToolResult, ...] = ()
    """What came of the calls that the last answer made."""
    only_results: bool = False
    """Whether that is all that is new."""
    called: frozenset[str] = frozenset()
    """The ids of all calls that it tells of."""
    was_asked: bool = False
    """Whether the last answer asks for an approval."""

    @property
    def lone(self) -> bool:
        """Whether nothing was said before, as far as the client tells."""
        return len(self.path) == 1 and not self.results

    @property
    def news(self) -> list[Message]:
        """What came after the last answer."""
        return self.path[len(self.path) - self.new :]

    @property
    def before_results(self) -> int:
        """How much of the path was said when the calls were made whose results came."""
        return len(self.path) - len(self.beside_results)

    @property
    def beside_results(self) -> list[Message]:
        """What was said after the calls whose results came."""
        return [] if self.only_results else self.news


def to_asked(messages: list[ChatMessage], images: Images = DEFAULT_IMAGES) -> Asked:
    """Raises InvalidRequest where there is nothing to answer, or something the gateway cannot pass on.

    Letta takes no tool calls and no tool results of a client's history: they are told in words beside the message that
    they served to answer, should that have to be sent again.
    """
    check_calls(messages)
    last, told = messages[-1], exchanged(messages)
    last_answer = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    said = [
        _message(message, f"messages[{i}].content", i > last_answer, told.get(i, ""), images)
        for i, message in enumerate(messages)
    ]
    path = _joined([message for message in said if message])
    while last.role == "tool" and path and path[-1].role == "assistant":
        path.pop()
    goes_on = last.role == "assistant" and bool(path) and path[-1].role == "assistant"
    if goes_on:
        path.append(Message("user", CONTINUE))
    elif _speaks_unasked(last, path):
        path.append(Message("user", GO_AHEAD, exchanged=told.get(-1, "")))
    if not path or path[-1].role != "user" or last.role == "function":
        raise InvalidRequest(
            "`messages` holds nothing to answer: expected a user message with text or a picture, or system text, last.",
            "messages",
        )
    new = max(1, sum(message is not None for message in said[last_answer + 1 :]))
    return Asked(
        path,
        "\n\n".join(_instructions(messages)),
        new,
        goes_on,
        results_of(messages, images),
        only_results=last.role == "tool",
        called=frozenset(call.id for message in messages for call in message.tool_calls or ()),
        was_asked=last_answer >= 0 and asks(text_of(messages[last_answer].content)),
    )


def _speaks_unasked(last: ChatMessage, path: list[Message]) -> bool:
    """Whether no person has said what the agent is to answer: the client's system text has it speak, or had it call."""
    if path and path[-1].role == "user":
        return False
    return last.role == "tool" or (last.role in SYSTEM_ROLES and bool(text_of(last.content).strip()))


def _joined(messages: list[Message]) -> list[Message]:
    """The parts of one answer, which tool calls came between, as one message."""
    path: list[Message] = []
    for role, group in groupby(messages, lambda message: message.role):
        if role == "user":
            path += group
        else:
            path.append(Message("assistant", "\n\n".join(message.content for message in group)))
    return path


def _instructions(messages: list[ChatMessage]) -> list[str]:
    texts = [text_of(message.content) for message in messages if message.role in SYSTEM_ROLES]
    return [text for text in texts if text.strip()]


def _message(message: ChatMessage, param: str, new: bool, exchanged: str, images: Images) -> Message | None:
    """The message for Letta; None if it has nothing of use. Only new ones are refused for what they hold."""
    if message.role == "assistant":
        text = without_thoughts(text_of(message.content))
        return Message("assistant", text) if text else None
    if message.role != "user":
        return None
    said = message_of("user", _pieces(message.content, param, new, images))
    if not (said.content.strip() or said.images):
        return None
    named = message.name or ""
    return msgspec.structs.replace(said, name=named, exchanged=exchanged) if named or exchanged else said


def _pieces(content: str | list[ContentPart] | None, param: str, new: bool, images: Images) -> Iterator[str | Image]:
    """What a user's message says and shows. Raises InvalidRequest for what is no part of a new one."""
    if content is None or isinstance(content, str):
        yield content or ""
        return
    for i, part in enumerate(content):
        try:
            yield _piece(part, f"{param}[{i}]", images)
        except InvalidRequest:
            if new:
                raise
            yield part.text or ""


def _piece(part: ContentPart, param: str, images: Images) -> str | Image:
    if part.type == "image_url" and part.image_url:
        return to_image(part.image_url, param, images.max_mb)
    if part.type != "text":
        raise InvalidRequest(f"`{param}`: this gateway takes parts of the types `text` and `image_url` only.", param)
    return part.text or ""
