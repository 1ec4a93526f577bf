"""A Letta in memory: the `Upstream` protocol over dicts, for several gateways at once, in a time of its own.

`Store` is what Letta keeps; `MemoryLetta` is one gateway's way to it, with a record of its calls and of what it sent,
and with gates, delays and errors in that way.
"""

import asyncio
import selectors
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from gateway.letta import errors
from gateway.letta.events import Event
from gateway.letta.upstream import Agent, Conversation, Message, Template
from tests.events import answer, ping, stop, usage

START = datetime(2026, 1, 1, tzinfo=UTC)


class _SkippingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits, and nothing will ever happen"
        self.now += timeout
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next thing to do: seconds pass in no time, and always in the same order."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


async def idle() -> None:
    """Returns when everybody else has done what can be done without waiting for time to pass."""
    await asyncio.sleep(0.001)


class Gate:
    """Holds up whoever comes to it until it is opened."""

    def __init__(self) -> None:
        self._arrivals = asyncio.Semaphore(0)
        self._opened = asyncio.Event()

    async def pass_through(self) -> None:
        self._arrivals.release()
        await self._opened.wait()

    async def reached(self, times: int = 1) -> None:
        """Returns when somebody is held up, or so many are."""
        for _ in range(times):
            await self._arrivals.acquire()

    def open(self) -> None:
        self._opened.set()


Step = list[Event] | Gate | Exception | float
"""What a run does next: tell events, wait for a gate, fail, or let seconds pass."""
ANSWER: Sequence[Step] = ([ping()], [answer("Hello")], [stop(), usage()])


class KeptAgent(Struct):
    """An agent as Letta keeps it."""

    agent: Agent
    model: str = ""
    system: str | None = None
    tools: tuple[str, ...] = ()
    blocks: dict[str, str] = {}


class KeptConversation(Struct):
    """A conversation as Letta keeps it, with what its agent has heard in it."""

    conversation: Conversation
    agent_id: str
    heard: list[Message] = []


class Store:
    """What Letta keeps. `coming` are ids and dates of the agents made next; else they are numbered and dated now."""

    def __init__(self) -> None:
        self.agents: dict[str, KeptAgent] = {}
        self.conversations: dict[str, KeptConversation] = {}
        self.coming: list[tuple[str, float | None]] = []
        self._made = 0

    def add_agent(
        self,
        tags: tuple[str, ...],
        id: str = "agent-old",
        created: float | None = 0.0,
        tools: tuple[str, ...] = (),
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.agents[id] = KeptAgent(Agent(id, date(created), tags, metadata), tools=tools)

    def add_conversation(
        self,
        agent_id: str,
        summary: str | None = None,
        id: str = "conv-old",
        created: float | None = 0.0,
        heard: Sequence[Message] = (),
    ) -> None:
        self.conversations[id] = KeptConversation(Conversation(id, date(created), summary), agent_id, list(heard))

    def new_agent(self, template: Template) -> KeptAgent:
        """An agent with its id and date, which no listing shows before it is put into `agents`."""
        id, created = self.coming.pop(0) if self.coming else (self.number("agent"), now())
        agent = Agent(id, date(created), template.tags, template.metadata)
        return KeptAgent(agent, template.model, template.system, template.tools, template.blocks)

    def number(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"


def now() -> float:
    return asyncio.get_running_loop().time()


def ended_well(event: Event) -> bool:
    return event.message_type == "stop_reason" and event.stop_reason not in errors.STOP_REASONS


def date(seconds: float | None) -> datetime | None:
    return None if seconds is None else START + timedelta(seconds=seconds)


class MemoryLetta:
    """One gateway's way to a Letta.

    By the name of a call: `gates` hold it up, `failures` are what it raises, one each time, and `delay` tells how
    long it takes. `commit` is the time between the date of a new agent and its first showing in a listing,
    `created` that until its maker is told. `scripts` are what the runs do, one each; then every run is `ANSWER`.
    With `takes_history` a conversation can be given what was said before. Only a turn that ended well is kept.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.calls: list[tuple[str, str]] = []
        self.sent: list[tuple[str, list[Message]]] = []
        self.tools: list[tuple[str, ...]] = []
        self.histories: list[list[Message]] = []
        self.models = ["m/first", "m/second"]
        self.takes_history = False
        self.made: list[str] = []
        self.gates: dict[str, Gate] = {}
        self.failures: dict[str, list[Exception]] = {}
        self.scripts: list[Sequence[Step]] = []
        self.delay: Callable[[str], float] | None = None

    def gate(self, call: str) -> Gate:
        """Hold up every call of this name from now on."""
        self.gates[call] = Gate()
        return self.gates[call]

    def fail(self, call: str, *failures: Exception) -> None:
        self.failures[call] = list(failures)

    def count(self, call: str) -> int:
        return len(self.subjects(call))

    def subjects(self, call: str) -> list[str]:
        """What each call of this name was about."""
        return [subject for name, subject in self.calls if name == call]

    async def _call(self, name: str, subject: str = "") -> None:
        self.calls.append((name, subject))
        await self._hold(name)
        if self.failures.get(name):
            raise self.failures[name].pop(0)

    async def _hold(self, name: str) -> None:
        if name in self.gates:
            await self.gates[name].pass_through()
        if self.delay:
            await asyncio.sleep(self.delay(name))

    async def start(self) -> None:
        await self._call("start")

    async def find_agents(self, tags: Iterable[str]) -> list[Agent]:
        await self._call("find_agents")
        wanted = set(tags)
        # The newest first: an order nobody was promised.
        return [kept.agent for kept in reversed(self.store.agents.values()) if wanted <= set(kept.agent.tags)]

    async def create_agent(self, template: Template) -> Agent:
        await self._call("create_agent", template.name)
        kept = self.store.new_agent(template)
        self.made.append(kept.agent.id)
        await self._hold("commit")
        self.store.agents[kept.agent.id] = kept
        await self._hold("created")
        return kept.agent

    async def apply_template(self, agent: Agent, template: Template, tools_before: Iterable[str]) -> None:
        await self._call("apply_template", agent.id)
        kept = self._agent(agent.id)
        others = [tool for tool in kept.tools if tool not in tools_before and tool not in template.tools]
        kept.model, kept.system, kept.tools = template.model, template.system, (*others, *template.tools)
        metadata = {**(agent.metadata or {}), **template.metadata}
        kept.agent = Agent(agent.id, agent.created_at, agent.tags, metadata)

    async def delete_agent(self, agent: Agent) -> None:
        await self._call("delete_agent", agent.id)
        self._agent(agent.id)
        del self.store.agents[agent.id]

    async def find_conversations(self, agent_id: str, summary: str) -> list[Conversation]:
        await self._call("find_conversations", summary)
        # All of the agent's, the newest first: no search is too coarse, nobody may rely on it.
        kept = reversed(self.store.conversations.values())
        return [one.conversation for one in kept if one.agent_id == agent_id]

    async def has_conversations(self, agent_id: str) -> bool:
        await self._call("has_conversations", agent_id)
        return any(kept.agent_id == agent_id for kept in self.store.conversations.values())

    async def create_conversation(self, agent_id: str, summary: str, history: list[Message]) -> Conversation:
        await self._call("create_conversation", summary)
        self._agent(agent_id)
        id = self.store.number("conv")
        self.store.add_conversation(agent_id, summary, id, now())
        return self._with_history(self.store.conversations[id], history)

    async def resume_conversation(
        self, agent_id: str, conversation: Conversation, history: list[Message]
    ) -> Conversation:
        await self._call("resume_conversation", conversation.id)
        return self._with_history(self._conversation(conversation.id), history)

    def _with_history(self, kept: KeptConversation, history: list[Message]) -> Conversation:
        self.histories.append(history)
        if self.takes_history and not kept.heard:
            kept.heard = list(history)
        return msgspec.structs.replace(kept.conversation, has_turns=bool(kept.heard))

    async def recompile(self, conversation_id: str) -> None:
        await self._call("recompile", conversation_id)
        self._conversation(conversation_id)

    @asynccontextmanager
    async def run(
        self, agent_id: str, conversation_id: str, messages: list[Message], tools: Iterable[str]
    ) -> AsyncIterator[AsyncGenerator[list[Event], None]]:
        self.sent.append((conversation_id, messages))
        self.tools.append(tuple(tools))
        await self._call("run", conversation_id)
        kept = self._conversation(conversation_id)
        yield self._events(self.scripts.pop(0) if self.scripts else ANSWER, kept, messages)

    async def _events(
        self, steps: Sequence[Step], kept: KeptConversation, messages: list[Message]
    ) -> AsyncGenerator[list[Event], None]:
        for step in steps:
            match step:
                case Gate():
                    await step.pass_through()
                case Exception():
                    raise step
                case float():
                    await asyncio.sleep(step)
                case _:
                    kept.heard += messages if any(ended_well(event) for event in step) else []
                    yield step

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        await self._call("cancel", conversation_id)

    async def check_health(self) -> None:
        await self._call("check_health")

    async def list_models(self) -> list[str]:
        await self._call("list_models")
        return self.models

    async def unknown_tools(self, names: Iterable[str]) -> list[str]:
        return list(names)

    async def check_agent(self, agent_id: str) -> None:
        self._agent(agent_id)

    async def aclose(self) -> None: ...

    def _agent(self, id: str) -> KeptAgent:
        if id not in self.store.agents:
            raise errors.NotFound("no such agent")
        return self.store.agents[id]

    def _conversation(self, id: str) -> KeptConversation:
        if id not in self.store.conversations:
            raise errors.NotFound("no such conversation")
        return self.store.conversations[id]
