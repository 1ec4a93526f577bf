"""Places that ids of responses and conversations name: whose they are, in which chat, after which turn.

All of it is known before Letta is asked, and found again in Letta by what it keeps: markers and client ids. Only
digests are in it. Performs no I/O.
"""

from hashlib import sha256
from typing import Literal

from msgspec import Struct

ChatKind = Literal["chat", "scratch", "kept"]


class ResponsePlace(Struct, frozen=True):
    """The place of a response: `ResponsePlace("5e…", "0b1c2d3e", "9f86d081", "chat", "1f…", "c0ffee0123456789")`."""

    owner: str
    """The digest of its user within the scope, 32 hex digits."""
    scope: str
    """The `short_digest` of the scope of its key."""
    agent_type: str
    """The `short_digest` of the id of its agent type."""
    kind: ChatKind
    """The kind of its chat: one that has an id, one that only its history tells, or one of these that is kept."""
    chat: str
    """The 32 hex digits of the chat's marker."""
    turn: str
    """16 hex digits that the client id of the message has which it answers."""
    results: str = ""
    """The `short_digest` of the calls whose results it was given; empty where it answers the message itself."""
    made_at: int = 0
    """The second at which its turn was asked for; for all parts of that the same."""


class ConversationPlace(Struct, frozen=True):
    """A chat that the gateway has given an id: `ConversationPlace("0b1c2d3e", "c0ffee0123456789", owner="5e…")`."""

    scope: str
    """The `short_digest` of the scope of its key."""
    nonce: str
    """16 hex digits that no other has."""
    owner: str = ""
    """The digest of its user within the scope, 32 hex digits; empty where it was nobody's yet when it was made."""
    made_at: int = 0
    """The second at which it was made."""
    agent_type: str = ""
    """The `short_digest` of the id of its agent type, where it was made for one; empty where any may go on with it."""


def short_digest(*parts: str) -> str:
    """8 hex digits that stand for texts where they need only be told apart from few others."""
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
