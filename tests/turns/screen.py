"""A chat as people see it: a tree of messages, of which one path is on screen, and the requests that show that path."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from gateway.domain.messages import Message, Role, image_of
from gateway.domain.request import NEVER_SENT, Resend
from gateway.http.texts import TEXTS
from gateway.letta.notes import CONTINUE
from gateway.settings import AgentType, Key, UserSource
from gateway.turns.chats.reconcile import answer_words
from gateway.turns.runs.resend import Sent, to_sent
from gateway.turns.turn import Turn, to_turn
from gateway.wires.chat_completions.request import ChatCompletionRequest, ChatMessage, ContentPart, ImageUrl
from tests.asking import called_by, path_shown
from tests.pictures.drawn import Picture

TUTOR = AgentType(id="tutor", model="m/one")
# A picture stands at the end of a text on screen as one of these.
PICTURES = {sign: Picture(b"\x89PNG\r\n\x1a\n" + sign.encode()) for sign in "◆◇"}
SIGNS = {image_of("image/png", picture.base64).digest: sign for sign, picture in PICTURES.items()}


class Client(NamedTuple):
    """What a program tells of its chats."""

    chat_header: str | None
    ids: bool
    key: Key

    @property
    def tells_all(self) -> bool:
        return self.key.history != "new"

    @property
    def lone_is_next(self) -> bool:
        """Whether a message alone is the next one, whatever the chat was before."""
        return not self.tells_all or (self.chat_header == "x-chat-id" and self.key.history is None)


KEY = Key(name="school", user_from=(UserSource("header:x-user"),))
CLIENTS = {
    "a frontend with message ids": Client("x-openwebui-chat-id", True, KEY),
    "a frontend without message ids": Client("x-openwebui-chat-id", False, KEY),
    "without a chat id": Client(None, False, KEY),
    "without a chat id, with message ids": Client(None, True, KEY),
    "a program with a chat id": Client("x-chat-id", False, KEY),
    "a program with a key for whole chats": Client(
        "x-chat-id", False, Key(name="school", user_from=KEY.user_from, history="full")
    ),
    "a program that keeps no history": Client(
        "x-chat-id", False, Key(name="school", user_from=KEY.user_from, history="new")
    ),
}


class Shown:
    """A message on screen, with the one before it."""

    def __init__(self, role: Role, text: str, parent: "Shown | None", id: str) -> None:
        self.role = role
        self.text = text
        self.parent = parent
        self.id = id
        self.held: frozenset[str] = frozenset()
        """Of an answer that may not be shown as it was: what the agent may have said."""
        self.cut = False
        """Of an answer: whether what is shown may be the beginning of another, which only an id tells apart."""
        self.replaced = False
        """Of an answer: whether it was another before; if it is the beginning of that, it is taken for cut."""
        self.ended_well = True
        self.lost = False
        """Whether the agent may have heard nothing of it."""

    @property
    def path(self) -> "list[Shown]":
        return [*(self.parent.path if self.parent else []), self]


class Line(NamedTuple):
    """A message as it is on screen at one moment."""

    role: str
    text: str
    held: frozenset[str] = frozenset()
    """What the agent may have heard instead."""
    longer: bool = False
    """Whether it may have heard anything that begins so."""
    lost: bool = False
    """Whether it may have heard nothing."""


class Request(NamedTuple):
    """What is sent, and what the agent is to hear of it."""

    turn: Turn
    sent: Sent
    resent: Sent
    """The same, sent again."""
    wanted: list[Line]


class Screen:
    """One chat of one user."""

    _numbers = itertools.count()

    def __init__(self, client: Client, user: str, chat: str) -> None:
        self.client = client
        self.user = user
        self.chat = chat
        self.last: Shown | None = None
        self.system = ""
        self.shown: list[Shown] = []
        """All messages of the chat, those of other branches, too."""

    @property
    def path(self) -> list[Shown]:
        return self.last.path if self.last else []

    def on_path(self, role: str) -> list[Shown]:
        return [message for message in self.path if message.role == role]

    def add(self, role: Role, text: str, parent: Shown | None) -> Shown:
        message = Shown(role, text, parent, f"message-{next(self._numbers)}")
        self.shown.append(message)
        self.last = message
        return message

    def clone(self, chat: str) -> "Screen":
        """The path on screen as a chat of its own; its messages keep their ids."""
        other = Screen(self.client, self.user, chat)
        for message in self.path:
            copy = Shown(message.role, message.text, other.last, message.id)
            copy.held, copy.cut, copy.replaced = message.held, message.cut, message.replaced
            copy.lost = message.lost
            other.shown.append(copy)
            other.last = copy
        return other

    def request(self, question: Shown, answer: Shown, more: Sequence[Shown] = (), goes_on: bool = False) -> Request:
        """Ask for `answer`; `more` follows the question, and may not be on the path. `goes_on`: for more of it."""
        path = [*question.path, *more] + [answer] * goes_on
        told = path if self.client.tells_all else path[-1:]
        messages = [ChatMessage(one.role, _content(one.text)) for one in told if one.text]
        if self.system:
            messages.insert(0, ChatMessage("system", self.system))
        headers = self._headers(question, answer)
        caller, ids = called_by(self.client.key, headers, ChatCompletionRequest("tutor", messages))
        turn = to_turn(self.client.key, TUTOR, caller, path_shown(messages), ids, texts=TEXTS)
        body = msgspec.json.encode(messages)
        sent, resent = (to_sent(self.client.key, self._counted(n), turn, body) for n in (0, 1))
        return Request(turn, sent, resent, [self._line(message) for message in path])

    def _counted(self, tries: int) -> Resend:
        """Programs say how often they have sent a request before; frontends do not."""
        return NEVER_SENT if self.client.ids else Resend(tries=tries)

    def _line(self, message: Shown) -> Line:
        longer = message.replaced or (message.cut and not self.client.ids)
        return Line(message.role, message.text, message.held, longer, message.lost)

    def _headers(self, question: Shown, answer: Shown) -> dict[str, str]:
        headers = {"x-user": self.user}
        if self.client.chat_header:
            headers[self.client.chat_header] = self.chat
        if self.client.ids:
            headers["x-message-id"], headers["x-user-message-id"] = answer.id, question.id
            headers["x-parent-id"] = question.parent.id if question.parent else ""
        return headers


def _content(text: str) -> str | list[ContentPart]:
    shown = [ContentPart("image_url", image_url=ImageUrl(PICTURES[sign].url)) for sign in text if sign in PICTURES]
    return [ContentPart("text", text.rstrip("".join(PICTURES))), *shown] if shown else text


class Heard(NamedTuple):
    role: str
    words: str


def heard(context: Sequence[Message]) -> list[Heard]:
    """What an agent has heard, in words without spaces; an answer that was continued is one."""
    return list(
        _joined(Heard(m.role, answer_words(m.content, TEXTS) + _signs(m)) for m in context if m.content != CONTINUE)
    )


def _signs(message: Message) -> str:
    """The pictures of a message; one that is told of in words is none."""
    return "".join(SIGNS[image.digest.removeprefix("again-")] if image.data else "gone" for image in message.images)


def _joined(said: Iterator[Heard]) -> Iterator[Heard]:
    for role, group in itertools.groupby(said, lambda one: one.role):
        words = [one.words for one in group]
        yield from [Heard(role, "".join(words))] if role == "assistant" else [Heard(role, one) for one in words]


def is_path(context: Sequence[Message], wanted: Sequence[Line]) -> bool:
    """Whether an agent has heard what is on screen, and nothing else."""
    said = heard(context)
    last = max((i for i, line in enumerate(wanted) if line.role == "assistant"), default=0)
    at = 0
    for i, line in enumerate(wanted):
        if at < len(said) and _fits(said[at], line, i == last):
            at += 1
        elif line.text and not line.lost:
            return False
    return at == len(said)


def _fits(said: Heard, line: Line, last: bool) -> bool:
    """An answer that is missing may only be one that was followed by what follows on screen."""
    words = answer_words(line.text, TEXTS)
    longer = line.longer and said.words.startswith(words) and (words != "" or not last)
    among = {words, *(answer_words(text, TEXTS) for text in line.held)} - {""}
    return said.role == line.role and (said.words in among or longer)
