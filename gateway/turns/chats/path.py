"""The path of a chat, as a request shows it: all of its messages, and which of them are new. Performs no I/O."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.messages import Image, Message, ToolResult, last_answer, message_of
from gateway.domain.request import SYSTEM_ROLES, ApprovalDecision, Request, RequestMessage, Unusable
from gateway.domain.texts.client_texts import PLAIN_TEXTS, ClientTexts
from gateway.letta.notes import CONTINUE, GO_AHEAD
from gateway.turns.chats.tool_history import results_of, tool_notes


class RequestedPath(Struct, frozen=True):
    """The chat as its person sees it, and what the request wants done: `RequestedPath([Message("user", "Hi")])`."""

    path: list[Message]
    """All messages, none of them empty; the last one is to be answered."""
    instructions: str = ""
    """The client's system text."""
    new: int = 1
    """The number of messages at the end of the path that came after the last answer."""
    goes_on: bool = False
    """True: the last answer is to be continued; the path then ends with CONTINUE."""
    results: tuple[ToolResult, ...] = ()
    """The results of the calls that the last answer made."""
    only_results: bool = False
    """True: nothing else is new."""
    decisions: tuple[ApprovalDecision, ...] = ()
    """The calls that the request decides about by their ids."""
    called: frozenset[str] = frozenset()
    """The ids of all calls in the request's messages."""
    was_asked: bool = False
    """True: the last answer asks for an approval."""

    @property
    def answered(self) -> frozenset[str]:
        """The ids of the calls whose results or decisions it brings."""
        return frozenset(result.tool_call_id for result in self.results) | {one.call_id for one in self.decisions}

    @property
    def lone(self) -> bool:
        """True: nothing was said before, as far as the client tells."""
        return len(self.path) == 1 and not self.results

    @property
    def news(self) -> list[Message]:
        """The messages that came after the last answer."""
        return self.path[len(self.path) - self.new :]

    @property
    def before_results(self) -> int:
        """The number of messages of the path that were said before the calls whose results came were made."""
        return len(self.path) - len(self.beside_results)

    @property
    def beside_results(self) -> list[Message]:
        """The messages that were said after the calls whose results came."""
        return [] if self.only_results else self.news


def read_path(request: Request, texts: ClientTexts = PLAIN_TEXTS) -> RequestedPath:
    """The path of a request; its pictures must have been read before (`pictures.shown.look_at`).

    Raises InvalidRequest if there is nothing to answer, or a new message holds a part that the gateway cannot pass on.
    Letta takes no tool calls and no tool results of a client's history: they are told in words (`exchanged`) beside
    the message that they served to answer, should that message have to be sent again.
    """
    messages, place = request.messages, request.place
    if not messages and request.decisions:
        return RequestedPath([Message("user", GO_AHEAD)], only_results=True, decisions=request.decisions)
    request.check_calls()
    # Where it goes on with something, nothing that it tells was said there before.
    answered = -1 if request.goes_on else last_answer(messages)
    last, told = messages[-1], tool_notes(messages, texts)
    said = [_message(message, i > answered, told.get(i, ""), texts) for i, message in enumerate(messages)]
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
            f"`{place}` holds nothing to answer: expected a user message with text or a picture, or system text, last.",
            place,
        )
    return RequestedPath(
        path,
        "\n\n".join(_instructions(messages)),
        new=max(1, sum(message is not None for message in said[answered + 1 :])),
        goes_on=goes_on,
        results=results_of(messages, request.goes_on is not None),
        only_results=last.role == "tool",
        decisions=request.decisions,
        called=frozenset(call.id for message in messages for call in message.calls),
        was_asked=answered >= 0 and texts.asks(messages[answered].text),
    )


def read_said(messages: Sequence[RequestMessage], texts: ClientTexts = PLAIN_TEXTS) -> list[Message]:
    """The messages that are added to a chat without being answered: they begin with a user's.

    Their pictures must have been read before. Raises InvalidRequest for a part that the gateway cannot pass on.
    """
    if not messages:
        return []
    told = tool_notes(messages, texts)
    said = _joined([one for i, m in enumerate(messages) if (one := _message(m, True, told.get(i, ""), texts))])
    if messages[-1].role == "tool" and said and said[-1].role == "assistant":
        # What was said with calls is told with their results.
        said.pop()
    if told.get(-1) or (said and said[0].role == "assistant"):
        said.insert(0, Message("user", GO_AHEAD, exchanged=told.get(-1, "")))
    return said


def _speaks_unasked(last: RequestMessage, path: list[Message]) -> bool:
    """True if no person asks for an answer: the client's system text has the agent speak, or had it make calls."""
    if path and path[-1].role == "user":
        return False
    return last.role == "tool" or (last.role in SYSTEM_ROLES and bool(last.text.strip()))


def _joined(messages: list[Message]) -> list[Message]:
    """The messages with the parts of each answer, between which tool calls came, as one message."""
    if all(not one.role == other.role == "assistant" for one, other in pairwise(messages)):
        return messages
    path: list[Message] = []
    for role, group in groupby(messages, lambda message: message.role):
        if role == "user":
            path += group
        else:
            path.append(Message("assistant", "\n\n".join(message.content for message in group)))
    return path


def _instructions(messages: Sequence[RequestMessage]) -> list[str]:
    texts = [message.text for message in messages if message.role in SYSTEM_ROLES]
    return [text for text in texts if text.strip()]


def _message(message: RequestMessage, new: bool, exchanged: str, texts: ClientTexts) -> Message | None:
    """The message for Letta; None if it says and shows nothing. Raises InvalidRequest, but only for a `new` one."""
    if message.role == "assistant":
        text = texts.visible(message.text)
        return Message("assistant", text) if text else None
    if message.role != "user":
        return None
    if len(message.pieces) == 1 and isinstance(message.pieces[0], str):
        said = Message("user", message.pieces[0])
    else:
        said = message_of("user", _pieces(message, new))
    if not (said.content.strip() or said.images):
        return None
    return msgspec.structs.replace(said, name=message.name, exchanged=exchanged) if message.name or exchanged else said


def _pieces(message: RequestMessage, new: bool) -> Iterator[str | Image]:
    """The texts and pictures of a person's message. Raises InvalidRequest for an unusable part of a `new` one."""
    for piece in message.pieces:
        if isinstance(piece, Unusable):
            if new:
                raise InvalidRequest(f"`{piece.place}`: {piece.problem}.", piece.place)
            yield piece.text
        elif isinstance(piece, str | Image):
            yield piece
