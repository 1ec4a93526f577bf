"""The side of the Letta in memory, of either kind."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from gateway.domain import errors
from gateway.domain.messages import Image, Message
from gateway.letta.upstream import Sending, Take, Upstream
from gateway.offline.script import Script
from tests.contract.sides import Heard, Words, in_front_of, pieces
from tests.events import answer, approval_request, error, ping, stop, usage
from tests.pictures.drawn import name_of
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.store import Store
from tests.turns.virtual_time import Gate


class MemorySide:
    def __init__(self, forks: bool) -> None:
        self.kind: Literal["v1", "app-server"] = "app-server" if forks else "v1"
        self.model = "m/first"
        self.tools = ("one", "two")
        self._store = Store(forks)
        self._model = Heard()

    def upstream(self) -> Upstream:
        return _Answering(self._store, self._model)

    def heard(self, text: str) -> list[Words]:
        return self._model.of(text)

    def gateway(self, **changes: Any) -> AbstractContextManager[str]:
        return in_front_of("http://127.0.0.1:9", self.upstream(), **changes)

    def conversations(self, tags: Iterable[str]) -> list[str]:
        (agent,) = [id for id, kept in self._store.agents.items() if set(tags) <= set(kept.agent.tags)]
        return [id for id, kept in self._store.conversations.items() if (kept.agent_id, kept.hidden) == (agent, False)]


class _Answering(MemoryLetta):
    """A way to the Letta in memory, whose runs do what the model says."""

    def __init__(self, store: Store, model: Heard) -> None:
        super().__init__(store)
        self._model = model

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        if kept := self.store.conversations.get(conversation_id):
            context: Words = [(message.role, _words(message)) for message in [*kept.heard, *sending.messages]]
            script = self._model.script(context, [result.text for result in sending.results])
            self.scripts = [_steps(script, self.store.forks)]
        await super().run(agent_id, conversation_id, sending, tools, take)


def _steps(script: Script, forks: bool) -> Sequence[Step]:
    if script.status != 200:
        # An App Server's upstream raises what a V1 server tells of in an event.
        failure = errors.RateLimited("429")
        return [failure] if forks else [[stop("llm_api_error")], [error("llm_rate_limit")]]
    if script.hangs_at_once:
        return [[ping()], Gate()]
    if script.ends == "hanging":
        return [[ping()], [answer(script.answer)], Gate()]
    if script.calls:
        calls = [approval_request(call.name, call.id, arguments=call.arguments) for call in script.calls]
        return [[ping()], calls, [stop("requires_approval"), usage()]]
    said = [[answer(piece)] for piece in pieces(script)]
    paused = [step for piece in said for step in (script.pause, piece)] if script.pause else said
    return [[ping()], *paused, [stop(), usage()]]


def _words(message: Message) -> str:
    return "\n".join(piece if isinstance(piece, str) else _name(piece) for piece in message.pieces() if piece)


def _name(image: Image) -> str:
    return name_of(f"data:{image.media_type};base64,{image.data}")
