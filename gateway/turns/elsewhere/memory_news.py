"""The news of memories: a turn in one process may change the memory of an agent that others know, too."""

import msgspec

from gateway.shared.redis_link import RedisLink
from gateway.turns.people.agents import Agents, Tags


class MemoryNews:
    """Tells other processes of memories that may have changed, and hears of theirs."""

    def __init__(self, link: RedisLink, agents: Agents) -> None:
        self._link = link
        self._agents = agents
        agents.tell_memory = self._tell
        link.hear("memory", self._hear)
        link.when_deaf(agents.hear_nothing)

    def _tell(self, key: Tags) -> None:
        self._link.drop_letter("all", "memory", key)

    def _hear(self, sender: str, content: msgspec.Raw) -> None:
        if sender != self._link.process:
            self._agents.hear_memory(msgspec.msgpack.decode(content, type=tuple[str, ...]))
