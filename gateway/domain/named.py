"""The names in a request: its user, chat and messages, before anybody decides by the key what they mean.

Performs no I/O.
"""

from msgspec import Struct


class Id(Struct, frozen=True):
    """An id as it came, and where it stands: `Id("c0ffee", "x-chat-id")`."""

    value: str
    place: str
    """The name of the header or field; its errors name it."""
    former: str = ""
    """The id as an earlier version read it; empty where it read the same."""


class Claims(Struct, frozen=True):
    """The user of a token that was verified: `Claims("42", "Ada", "ada@school.example")`."""

    sub: str
    name: str = ""
    email: str = ""


class Named(Struct, frozen=True):
    """The user, chat and messages that headers, token and body of a request name.

    `Named({("header", "x-user"): Id("42", "x-user")}, "Ada", chat=Id("c0ffee", "x-chat-id"))`
    """

    users: dict[tuple[str, str], Id] = {}
    """The users that are named, by the kind and name of the source that says so: `("header", "x-user")`."""
    name: str = ""
    email: str = ""
    """Of a user told by header or token; empty where nobody says."""
    chat: Id | None = None
    shows_chat: bool = False
    """True: the chat is one of a frontend that shows it, and sends all of it every time."""
    shows_temporary: bool = False
    """True: that frontend keeps the chat nowhere; it ends with its window."""
    temporary: bool = False
    """True: the request itself says that its chat is temporary."""
    answer: Id | None = None
    """The message that will be the answer; this and the next two may be empty, or None where none is sent."""
    question: Id | None = None
    """The message that is answered."""
    parent: Id | None = None
    """The answer before that; empty for the first message of a chat."""
    user_place: str = "user"
    """The field of a request that would name its user."""


NOBODY = Named()
