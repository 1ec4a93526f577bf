"""An answer whose every word waits until its client has the one before: whoever holds one back gets no other."""

import threading
from collections.abc import Iterable

from tests.servers.fake_letta import PING, STOP, USAGE, WORD, Step

PATIENCE_SECONDS = 20


class Arrived(threading.Event):
    """Waited for by a Letta that says no more until it is set; a wait in vain breaks the answer."""

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(PATIENCE_SECONDS):
            raise TimeoutError("the word before has not arrived")
        return True


class OneByOne:
    """Words for a Letta to say, one by one."""

    def __init__(self, count: int) -> None:
        self.words = [f"w{i} " for i in range(count)]
        self._arrived = [Arrived() for _ in self.words]

    @property
    def steps(self) -> list[Step]:
        said: list[Step] = [PING]
        for word, arrived in zip(self.words, self._arrived, strict=True):
            said += [{**WORD, "content": word}, arrived]
        return [*said, STOP, USAGE]

    def hear(self, told: Iterable[str]) -> str:
        """All that a client hears; each word that has arrived lets the next one be said."""
        heard = ""
        for text in told:
            heard += text
            self.let(heard.count(" "))
        return heard

    def let(self, count: int) -> None:
        """So many words have arrived: the next one may be said."""
        for arrived in self._arrived[:count]:
            arrived.set()
