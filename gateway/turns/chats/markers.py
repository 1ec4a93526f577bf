"""The names under which Letta keeps what is a user's: tags of agents, markers of conversations. Performs no I/O.

Users and chats appear in them as hashes only: others can list tags and summaries.
"""

import uuid
from collections.abc import Iterable
from hashlib import sha256

from msgspec import Struct

from gateway.domain.messages import Message

GATEWAY_TAG = "gateway"
# What every marker begins with; `gw1` is its version.
MARKER = "gw1:"
SCRATCH = f"{MARKER}scratch:"
REPLACED, TEMPORARY = "(replaced)", "(temporary)"
SUMMARY_TITLE = "Letta Gateway"


def _digest(*parts: str) -> str:
    """32 hex digits of SHA-256 over the parts, each after its length: ("a", "bc") and ("ab", "c") differ."""
    return sha256(b"".join(map(_framed, parts))).hexdigest()[:32]


def _framed(part: str) -> bytes:
    encoded = part.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(encoded), encoded)


def agent_tags(type_id: str, scope: str, user: str) -> tuple[str, str, str]:
    """The tags that together name the agent of one user of one type."""
    return GATEWAY_TAG, type_id, f"gw-user:{_digest(scope, user)}"


def conversation_marker(type_id: str, scope: str, user: str, chat: str) -> str:
    """The marker of the chat with this id."""
    return f"{MARKER}{_digest(scope, user, type_id, chat)}"


def thread_marker(type_id: str, scope: str, user: str) -> str:
    """The marker of a user's one thread, where the agent type has no other."""
    return f"{MARKER}{_digest(scope, user, type_id)}"


def scratch_marker(type_id: str, scope: str, user: str, first: str) -> str:
    """The marker of a chat without an id, of which only what was said first is known."""
    return f"{SCRATCH}{_digest(scope, user, type_id, first)}"


class Summary(Struct, frozen=True):
    """What the summary of one of the gateway's conversations says."""

    marker: str
    replaced: bool = False
    """Whether the chat goes on elsewhere."""
    temporary: bool = False
    note: str = ""
    """A JSON array of what was said in the chat and is not in the conversation."""
    title: str = SUMMARY_TITLE
    """For people who look into Letta, and may change it."""

    def __str__(self) -> str:
        states = [REPLACED] * self.replaced + [TEMPORARY] * self.temporary
        return " ".join([self.title, *states, *([self.note] if self.note else []), self.marker])


def parse_summary(summary: str | None) -> Summary | None:
    """None for a conversation that is not the gateway's."""
    told, space, marker = (summary or "").rpartition(" ")
    if not space or not marker.startswith(MARKER) or marker == MARKER or marker.split() != [marker]:
        return None
    told, note = _without_note(told)
    told, temporary = _without(told, f" {TEMPORARY}")
    told, replaced = _without(told, f" {REPLACED}")
    return Summary(marker, replaced, temporary, note, told)


def _without_note(text: str) -> tuple[str, str]:
    """A note begins with the first bracket, and is the last thing told."""
    title, bracket, rest = text.partition(" [")
    return (title, f"[{rest}") if bracket and rest.endswith("]") else (text, "")


def _without(text: str, end: str) -> tuple[str, bool]:
    return text.removesuffix(end), text.endswith(end)


class ClientId(Struct, frozen=True):
    """What the client id of a user message tells: digests of the frontend's ids, empty where it sent none.

    Its text is `gw1-ANSWER-PARENT-PATH-NONCE`, with pictures `gw1-ANSWER-PARENT-PATH-PICTURES-NONCE`; the nonce makes
    it new for every send.
    """

    answer: str = ""
    """The message that answers it."""
    parent: str = ""
    """The message that it follows."""
    path: str = ""
    """All that was said up to it."""
    pictures: str = ""
    """What was shown with it."""

    def new(self) -> str:
        pictures = [self.pictures] if self.pictures else []
        return "-".join(["gw1", self.answer, self.parent, self.path, *pictures, uuid.uuid4().hex[:12]])


def parse_client_id(text: str) -> ClientId:
    """Empty for an id that is not the gateway's."""
    parts = text.split("-")
    return ClientId(*parts[1:-1]) if parts[0] == "gw1" and len(parts) in (5, 6) else ClientId()


def id_digest(chat: str | None, id: str) -> str:
    """What stands for a frontend's message id in a client id."""
    return _digest(chat or "", id)[:16]


class PathDigest:
    """What stands for a path in a client id, while the path grows: each text is read once."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._read = sha256()
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        self._read.update(_framed(text))

    def __str__(self) -> str:
        return self._read.hexdigest()[:16]


def pictures_of(message: Message) -> str:
    """What stands for the pictures of a message, as they were sent: Letta may make others of them."""
    if pictures := parse_client_id(message.client_id).pictures:
        return pictures
    return _digest(*(image.digest for image in message.images))[:16] if message.images else ""
