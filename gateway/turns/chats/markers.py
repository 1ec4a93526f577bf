"""The names by which a user's things are found in Letta: tags of agents, markers of conversations. Performs no I/O.

Users and chats appear in them as hashes only: others can list tags and summaries.
"""

import re
import sys
import uuid
from collections.abc import Collection, Iterable
from hashlib import sha256

from msgspec import Struct

from gateway.domain.messages import Message

GATEWAY_TAG, USER_TAG = "gateway", "gw-user:"
# The beginning of every marker; `gw1` is its version.
MARKER = "gw1:"
SCRATCH = f"{MARKER}scratch:"
# Chats without an id that are kept: responses of them may be gone on with.
KEPT_WITHOUT_ID = f"{MARKER}kept:"
REPLACED, TEMPORARY, WITH_GAP, ABOUT = "(replaced)", "(temporary)", "(deleted", "(about"
SUMMARY_TITLE = "Letta Gateway"
_TURN = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{1,12})\.[0-9a-f]+")
_GONE = re.compile(r" \(deleted ([0-9a-f]{16}(?:\.[0-9a-f]{1,12})?)\)\Z")
_ABOUT = re.compile(r" \(about ([0-9a-f]{8}\.[0-9a-f]{32})(?:\.([A-Za-z0-9_-]+))?\)\Z")
# The turn that is named where all of a chat was deleted.
EVERY_TURN = "0" * 16


def _digest(*parts: str) -> str:
    """32 hex digits of SHA-256 over the parts, each after its length: ("a", "bc") and ("ab", "c") differ."""
    return sha256(b"".join(map(_framed, parts))).hexdigest()[:32]


def _framed(part: str) -> bytes:
    encoded = part.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(encoded), encoded)


def user_digest(scope: str, user: str) -> str:
    """The digest that stands for a user wherever the id itself must not stand: 32 hex digits."""
    return _digest(scope, user)


def agent_tags(type_id: str, scope: str, user: str) -> tuple[str, str, str]:
    """The tags that together name the agent of one user of one type."""
    return GATEWAY_TAG, type_id, f"{USER_TAG}{user_digest(scope, user)}"


def agent_name(type_id: str, scope: str, user: str) -> str:
    """The name of this agent, by which people find it in Letta: its type, and the beginning of its user's digest."""
    return f"{type_id}-{user_digest(scope, user)[:12]}"


def parse_agent(tags: Iterable[str], name: str | None, type_ids: Collection[str]) -> tuple[str, str]:
    """The type of one of the gateway's agents, and the digest that stands for its user; empty if nobody can tell.

    `type_ids` are the types there are; another can be told from the agent's name.
    """
    others = [tag for tag in tags if not tag.startswith("gw-")]
    digest = next((tag.removeprefix(USER_TAG) for tag in tags if tag.startswith(USER_TAG)), "")
    named = (name or "").removesuffix(f"-{digest[:12]}") if digest else ""
    types = [*(tag for tag in (named, *others) if tag in type_ids and tag in others), named]
    return next((type for type in types if type in others), ""), digest


def conversation_marker(type_id: str, scope: str, user: str, chat: str) -> str:
    """The marker of the chat with this id."""
    return f"{MARKER}{_digest(scope, user, type_id, chat)}"


def thread_marker(type_id: str, scope: str, user: str) -> str:
    """The marker of a user's only conversation with an agent type of `conversations = "single"`."""
    return f"{MARKER}{_digest(scope, user, type_id)}"


def scratch_marker(type_id: str, scope: str, user: str, first: str, keeps: bool = False) -> str:
    """The marker of a chat without an id, made of its first message, `first`; `keeps`: it is kept for ever."""
    return f"{KEPT_WITHOUT_ID if keeps else SCRATCH}{_digest(scope, user, type_id, first)}"


def given_marker(scope: str, nonce: str, type_id: str = "", user: str = "") -> str:
    """The marker of a chat to which the gateway has given its id, in the agent of a type; `user` is a digest.

    Whose it is the id need not tell, nor which agent's: without these two it is the beginning of all its markers.
    """
    begins = f"{MARKER}{_digest('given', scope, nonce)[:16]}"
    return f"{begins}{_digest(type_id, user)[:16]}" if type_id else begins


class Summary(Struct, frozen=True):
    """The content of the summary (Letta's name for a title) of one of the gateway's conversations.

    `str(Summary("gw1:1f…", replaced=True))` is `Letta Gateway (replaced) gw1:1f…`.
    """

    marker: str
    replaced: bool = False
    """True: the chat goes on in another conversation."""
    temporary: bool = False
    note: str = ""
    """A JSON array of the messages of the chat that the conversation lacks; empty if it lacks none."""
    gone: str = ""
    """The turn that was deleted, and the second at which it was (`gone_at`): nobody goes on behind it, or behind what
    came after it until then."""
    whose: str = ""
    """The agent type's `short_digest` and the user's digest, `0b1c2d3e.5e…`, of a chat that the gateway gave its id."""
    about: str = ""
    """The content of `About`, of such a chat; empty where nobody has said anything about it."""
    title: str = SUMMARY_TITLE
    """The title for people who look into Letta; they may change it."""

    def __str__(self) -> str:
        states = [REPLACED] * self.replaced + [TEMPORARY] * self.temporary
        states += [f"{WITH_GAP} {self.gone})"] if self.gone else []
        states += [f"{ABOUT} {'.'.join(filter(None, (self.whose, self.about)))})"] if self.whose else []
        return " ".join([self.title, *states, *([self.note] if self.note else []), self.marker])


def parse_summary(summary: str | None) -> Summary | None:
    """The summary of a conversation, read; None for a conversation that is not the gateway's."""
    told, space, marker = (summary or "").rpartition(" ")
    if not space or not marker.startswith(MARKER) or marker == MARKER or marker.split() != [marker]:
        return None
    told, note = _without_note(told)
    told, whose, about = _without_about(told)
    told, gone = _without_gone(told)
    told, temporary = _without(told, f" {TEMPORARY}")
    told, replaced = _without(told, f" {REPLACED}")
    return Summary(marker, replaced, temporary, note, gone, whose, about, told)


def _without_note(text: str) -> tuple[str, str]:
    """A text without its note, and the note, which begins with the first bracket and ends the text."""
    title, bracket, rest = text.partition(" [")
    return (title, f"[{rest}") if bracket and rest.endswith("]") else (text, "")


def _without_gone(text: str) -> tuple[str, str]:
    """A text without what it says of a deleted turn at its end, and the id of that."""
    found = _GONE.search(text)
    return (text[: found.start()], found[1]) if found else (text, "")


def _without_about(text: str) -> tuple[str, str, str]:
    """A text without what it says about the chat at its end, and that: whose it is, and the rest."""
    found = _ABOUT.search(text)
    return (text[: found.start()], found[1], found[2] or "") if found else (text, "", "")


def _without(text: str, end: str) -> tuple[str, bool]:
    return text.removesuffix(end), text.endswith(end)


class ClientId(Struct, frozen=True):
    """The content of the client id of a user message: digests, of the frontend's ids among others, or empty.

    Its text is `gw1-ANSWER-PARENT-PATH-NONCE`, with pictures `gw1-ANSWER-PARENT-PATH-PICTURES-NONCE`; the nonce makes
    it new for every send. That of a turn with an id begins with it, and with the second, in hexadecimal digits, at
    which it was asked for: `TURN.SECOND.NONCE`.
    """

    answer: str = ""
    """The message that answers it."""
    parent: str = ""
    """The message that it follows."""
    path: str = ""
    """All texts of the chat up to it; empty where the frontend sent ids."""
    pictures: str = ""
    """The pictures shown with it; empty if it has none."""
    turn: str = ""
    """The id of the turn that it begins; empty where the turn has none."""
    made_at: int = 0
    """The second at which that turn was asked for."""

    def new(self) -> str:
        pictures = [self.pictures] if self.pictures else []
        nonce = f"{self.turn}.{self.made_at:x}.{uuid.uuid4().hex[:6]}" if self.turn else uuid.uuid4().hex[:12]
        return "-".join(["gw1", self.answer, self.parent, self.path, *pictures, nonce])


def gone_at(turn: str, second: int) -> str:
    """The words of a summary about a turn that is deleted at a second."""
    return f"{turn}.{second:x}"


def read_gone(gone: str) -> tuple[str, int]:
    """The turn that was deleted, and the second of it; a second that never comes where there is none."""
    turn, dot, second = gone.partition(".")
    return turn, int(second, 16) if dot else sys.maxsize


def turn_id(client_id: str) -> str:
    """The id of the turn that the message with this client id begins: 16 hex digits; empty for one that is not ours."""
    return turn_told(client_id)[0]


def turn_told(client_id: str) -> tuple[str, int]:
    """The same, and the second at which that turn was asked for; 0 where nobody has given the turn its id."""
    if not client_id.startswith("gw1-"):
        return "", 0
    told = parse_client_id(client_id)
    return (told.turn, told.made_at) if told.turn else (_digest(client_id)[:16], 0)


def parse_client_id(text: str) -> ClientId:
    """The content of a client id; all of it empty for an id that is not the gateway's."""
    parts = text.split("-")
    if parts[0] != "gw1" or len(parts) not in (5, 6):
        return ClientId()
    pictures = parts[4] if len(parts) == 6 else ""
    named = _TURN.fullmatch(parts[-1])
    turn, made_at = (named[1], int(named[2], 16)) if named else ("", 0)
    return ClientId(parts[1], parts[2], parts[3], pictures, turn, made_at)


def id_digest(chat: str | None, id: str) -> str:
    """The digest that stands for a frontend's message id in a client id."""
    return _digest(chat or "", id)[:16]


class PathDigest:
    """The digest that stands for a path in a client id; the path may grow, and each of its texts is read once."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._read = sha256()
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        self._read.update(_framed(text))

    def add_messages(self, messages: Iterable[Message]) -> None:
        """Add messages, each by its text and its pictures."""
        for message in messages:
            self.add(message.content + pictures_of(message))

    def copy(self) -> "PathDigest":
        other = PathDigest()
        other._read = self._read.copy()
        return other

    def __str__(self) -> str:
        return self._read.hexdigest()[:16]


def pictures_of(message: Message) -> str:
    """The digest of a message's pictures as they were sent (Letta may change them); empty if it has none."""
    if pictures := parse_client_id(message.client_id).pictures:
        return pictures
    return _digest(*(image.digest for image in message.images))[:16] if message.images else ""
