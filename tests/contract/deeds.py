"""Something that an agent may do when it is allowed to."""

from pathlib import Path
from typing import Protocol

from tests.integration.words import unheard
from tests.programs import Talk
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta


class Deed(Protocol):
    @property
    def script(self) -> str:
        """What has the agent want to do it."""
        ...

    @property
    def done(self) -> bool: ...

    def prepare(self, talk: Talk) -> None:
        """Have the agent's tool need an approval."""
        ...


class RealDeed:
    """Of a real Letta's agent: it writes into its memory, or a file."""

    def __init__(self, letta: RealLetta, file: Path) -> None:
        self._letta = letta
        self._file = file
        self._text = unheard("the deed")
        self._agents: list[str] = []

    @property
    def script(self) -> str:
        if self._letta.name == "v1":
            return f'!tool memory_insert {{"label": "human", "new_string": "{self._text}"}}\n{unheard()}'
        return f'!tool Write {{"file_path": "{self._file}", "content": "{self._text}"}}\n{unheard()}'

    @property
    def done(self) -> bool:
        if isinstance(self._letta, LettaV1):
            return any(self._text in str(self._letta.memory(agent)) for agent in self._agents)
        return self._file.exists()

    def prepare(self, talk: Talk) -> None:
        before = set(self._letta.agents(["gateway"]))
        talk.say(unheard("hello"))
        self._agents = [agent for agent in self._letta.agents(["gateway"]) if agent not in before]
        if isinstance(self._letta, LettaV1):
            for agent in self._agents:
                self._letta.require_approval(agent, "memory_insert")


class AllowedDeed:
    """Of a stand-in's agent, which asks before each call that is not its client's: what it was allowed is done."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = allowed
        self._text = unheard("the deed")

    @property
    def script(self) -> str:
        return f'!tool memory_insert {{"label": "human", "new_string": "{self._text}"}}\n{unheard()}'

    @property
    def done(self) -> bool:
        return any(self._text in arguments for arguments in self._allowed)

    def prepare(self, talk: Talk) -> None:
        talk.say(unheard("hello"))
