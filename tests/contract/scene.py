"""A gateway in front of a side, for what people do in chats, and what is seen of it behind."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from gateway.turns.chats.markers import agent_tags
from tests.contract.sides import Side, Words


class Scene:
    """The gateway at `url` with a side behind it; frontends tell it the ids of their messages where `ids` says so."""

    def __init__(self, side: Side, ids: bool, url: str) -> None:
        self.side = side
        self.ids = ids
        self.url = url

    def another(self, **changes: Any) -> AbstractContextManager[str]:
        """Another gateway in front of the same side, as after a restart; gives its address."""
        return self.side.gateway(**changes)

    def said(self, text: str) -> list[Words]:
        """For each run whose last message contains `text`, what its model was shown of the chat."""
        return self.side.heard(text)

    def said_once(self, text: str) -> Words:
        (said,) = self.said(text)
        return said

    def heard(self, text: str) -> Words:
        """The same of the last run in which a person says `text`, with the names of calls and their results."""
        return self.side.exchanged(text)

    def wait_for(self, text: str) -> None:
        """Returns when a run has begun whose last message contains `text`."""
        self.side.wait_for(text)

    def conversations(self, user: str) -> list[str]:
        """Those of a frontend's user: one more, or another, and what was said was sent again."""
        return sorted(self.side.conversations(agent_tags("tutor", "frontend", user)))


@contextmanager
def scene_before(side: Side, ids: bool) -> Iterator[Scene]:
    with side.gateway() as url:
        yield Scene(side, ids, url)
