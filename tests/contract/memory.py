"""The side of the Letta in memory, of either kind."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any, Literal

from gateway.domain import errors
from gateway.domain.messages import Image, Message
from gateway.letta.notes import EXCHANGED, NO_ANSWER, denial, note
from gateway.letta.upstream import Sending, Take, Upstream
from gateway.offline.script import Script
from tests.contract.sides import Heard, StandIn, Words, in_front_of, pieces
from tests.events import answer, approval_request, error, ping, stop, usage
from tests.pictures.drawn import name_of
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.store import KeptConversation, Store
from tests.turns.virtual_time import Gate

Exchanges = defaultdict[str, list[tuple[int, Words]]]
"""By conversation, what tools were called for and gave, and after how many messages."""


class MemorySide(StandIn):
    def __init__(self, forks: bool) -> None:
        super().__init__(Heard())
        self.kind: Literal["v1", "app-server"] = "app-server" if forks else "v1"
        self.tools = ("one", "two")
        self._store = Store(forks)
        self._exchanges: Exchanges = defaultdict(list)

    def upstream(self) -> Upstream:
        return _Answering(self._store, self._model, self._exchanges)

    def gateway(self, **changes: Any) -> AbstractContextManager[str]:
        return in_front_of("http://127.0.0.1:9", self.upstream(), **changes)

    def conversations(self, tags: Iterable[str]) -> list[str]:
        (agent,) = [id for id, kept in self._store.agents.items() if set(tags) <= set(kept.agent.tags)]
        return [id for id, kept in self._store.conversations.items() if (kept.agent_id, kept.hidden) == (agent, False)]


class _Answering(MemoryLetta):
    """A way to the Letta in memory, whose runs do what the model says."""

    def __init__(self, store: Store, model: Heard, exchanges: Exchanges) -> None:
        super().__init__(store)
        self._model = model
        self._exchanges = exchanges

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        if kept := self.store.conversations.get(conversation_id):
            self._note_answers(kept, sending)
            script = self._model.script(self._context(kept, sending))
            self.scripts = [_steps(script, self.store.forks)]
        await super().run(agent_id, conversation_id, sending, tools, take)

    def _note_answers(self, kept: KeptConversation, sending: Sending) -> None:
        if kept.pending:
            why_not = denial(sending.reason, bool(sending.messages), NO_ANSWER)
            self._model.allow(*sending.approved)
            gave = dict.fromkeys(sending.approved, "done")
            gave |= {result.tool_call_id: result.text for result in sending.results}
            names = ",".join(call.name for call in kept.pending)
            told = [("tool", gave.get(call.tool_call_id, why_not)) for call in kept.pending]
            self._exchanges[kept.conversation.id].append((len(kept.heard), [("assistant", names), *told]))

    def _context(self, kept: KeptConversation, sending: Sending) -> Words:
        said: list[Words] = [[(message.role, _words(message))] for message in kept.heard]
        for place, exchange in reversed(self._exchanges[kept.conversation.id]):
            said.insert(place, exchange)
        return [*chain.from_iterable(said), *((message.role, _words(message)) for message in sending.messages)]


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
    notes = [note(EXCHANGED, message.exchanged)] if message.exchanged else []
    said = [piece if isinstance(piece, str) else _name(piece) for piece in message.pieces() if piece]
    return "\n".join([*notes, *said])


def _name(image: Image) -> str:
    return name_of(f"data:{image.media_type};base64,{image.data}")
