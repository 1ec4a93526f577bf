"""The beginning of a path that a conversation was found to hold, so that it is not compared again. Performs no I/O."""

from collections.abc import Sequence

from gateway.domain.messages import Message, Role
from gateway.turns.chats.markers import pictures_of


class Matched:
    """The beginning of the path that was last compared with a conversation, up to a question of the person's.

    Clients send all of a chat with every request. What stands before a question is compared without a look at what
    follows it, on both sides: so this stays true while the conversation grows, and for every path that begins so.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self.weight = 0
        """About the number of characters that it holds beside those of the conversation."""
        self._kept = 0
        self._texts: list[str] = []
        self._roles: list[Role] = []
        self._pictures: dict[int, str] = {}

    def skip(self, kept: Sequence[Message], path: Sequence[Message]) -> tuple[int, int]:
        """The numbers of messages of the conversation and of the path that need not be compared: the same ones."""
        count = len(self._texts)
        begun = path[:count]
        if (
            0 < self._kept <= len(kept)
            and [message.content for message in begun] == self._texts
            and [message.role for message in begun] == self._roles
            and _pictures(begun) == self._pictures
        ):
            return self._kept, count
        return 0, 0

    def note(self, kept: Sequence[Message], path: Sequence[Message], since: int, now: tuple[int, int]) -> None:
        """Note that after the `since` messages that were skipped `now` so many were found to be the same."""
        if not since:
            self._forget()
        between, count = self._kept - since, now[1]
        for i in range(since, count):
            text, there = path[i].content, kept[i + between].content if i + between < len(kept) else ""
            # Of two equal texts only that of the conversation is held.
            self._texts.append(there if there == text else text)
            self.weight += 0 if there == text else len(text)
        self._roles += [message.role for message in path[since:count]]
        self._pictures |= _pictures(path[since:count], since)
        self._kept = now[0]


def _pictures(messages: Sequence[Message], first: int = 0) -> dict[int, str]:
    """The pictures of messages by their places, of which the first is number `first`."""
    return {i: pictures_of(message) for i, message in enumerate(messages, first) if message.images}
