"""A Letta in memory: the `Upstream` protocol over a `Store`, for several gateways at once, in a time of its own.

`MemoryLetta` is one gateway's way to it, with a record of its calls and of what it sent, and with gates, delays and
errors in that way.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Literal

from gateway.domain import errors
from gateway.domain.events import CallWaits, Event, Stop, StopReason, Text
from gateway.domain.messages import Message, PendingCall
from gateway.letta.upstream import Agent, Capabilities, Conversation, Exchange, Fork, Past, Sending, Take, Template
from tests.events import answer, error, ping, stop, usage
from tests.turns.store import START, KeptAgent, KeptConversation, Store, UnderWay
from tests.turns.virtual_time import Gate, now

Step = list[Event] | Gate | Exception | float | Literal["deaf", "killed"]
"""What a run does next: tell events, wait for a gate, fail, let seconds pass, or hear of no cancel any more.

A run that is deaf and fails goes on in Letta, with the steps that follow, and nobody is told. So does one whose gateway
is killed, where Letta goes on without.
"""
ANSWER: Sequence[Step] = ([ping()], [answer("Hello")], [stop(), usage()])
CANCELLED = "cancelled"
# How many agents are listed at once.
PAGE = 50
# What Letta says where a call waits for an approval, or another run is under way.
CONFLICT: Sequence[Step] = ([stop("error")], [error("internal_error", "CONFLICT: Cannot send a new message")])


class MemoryLetta:
    """One gateway's way to a Letta.

    By the name of a call: `gates` hold it up, `failures` are what it raises, one each time, and `delay` tells how
    long it takes. `commit` is the time between the date of a new agent and its first showing in a listing,
    `created` that until its maker is told, `listed` that in which a listing grows old on its way; `lag` how old
    it is when it leaves, as to an agent. `scripts` are what the runs do, one each; then every run is `ANSWER`.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.calls: list[tuple[str, str]] = []
        self.sent: list[tuple[str, Sending]] = []
        self.tools: list[tuple[str, ...]] = []
        self.models = ["m/first", "m/second"]
        self.seeing = True
        self.owned = False
        self.made: list[str] = []
        self.gates: dict[str, Gate] = {}
        self.failures: dict[str, list[Exception]] = {}
        self.scripts: list[Sequence[Step]] = []
        self.delay: Callable[[str], float] | None = None
        self._said: asyncio.Queue[Sequence[Event]] = asyncio.Queue()
        self._playing, self._begun = 0, asyncio.Event()
        self.lag: Callable[[str], float] | None = None
        self.killed = False
        """Whether the gateway is gone: nothing that it does reaches Letta."""

    async def said(self, times: int = 1) -> None:
        """Returns when its run under way has said something so many times more, pings included."""
        await self._begun.wait()
        for _ in range(times):
            await self._said.get()

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

    def sent_texts(self) -> list[list[str]]:
        """The texts of each run's messages."""
        return [[message.content for message in sending.messages] for _, sending in self.sent]

    async def _call(self, name: str, subject: str = "") -> None:
        self.calls.append((name, subject))
        if self.killed:
            raise errors.Unreachable("the gateway is gone")
        await self._hold(name)
        if self.failures.get(name):
            raise self.failures[name].pop(0)

    async def _hold(self, name: str) -> None:
        if name in self.gates:
            await self.gates[name].pass_through()
        if self.delay:
            await asyncio.sleep(self.delay(name))

    @property
    def capabilities(self) -> Capabilities:
        applies = frozenset() if self.store.forks else frozenset({"format"})
        return Capabilities(self.store.forks, applies, keeps_runs=not self.store.forks, owned=self.owned)

    async def start(self) -> None:
        await self._call("start")

    async def find_agents(self, tags: Iterable[str], after: str = "") -> list[Agent]:
        await self._call("find_agents")
        wanted = set(tags)
        # The newest first: an order nobody was promised.
        found = [kept.agent for kept in reversed(self.store.agents.values()) if wanted <= set(kept.agent.tags)]
        if self.lag:
            found = [one for one in found if _age(one) >= self.lag(one.id)]
        await self._hold("listed")
        return found[[agent.id for agent in found].index(after) + 1 :][:PAGE] if after else found[:PAGE]

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

    async def find_conversations(self, agent_id: str | None, summary: str) -> list[Conversation]:
        await self._call("find_conversations", summary)
        # All of the agent's, the newest first: no search is too coarse, nobody may rely on it.
        kept = reversed(self.store.conversations.values())
        return [one.conversation for one in kept if agent_id in (None, one.agent_id)]

    async def has_conversations(self, agent_id: str) -> bool:
        await self._call("has_conversations", agent_id)
        return any(kept.agent_id == agent_id for kept in self.store.conversations.values())

    async def create_conversation(
        self, agent_id: str, summary: str, path: list[Message], fork: Fork | None = None
    ) -> Conversation:
        await self._call("create_conversation", summary)
        self._agent(agent_id)
        if fork:
            self._conversation(fork.conversation_id)
        return self.store.new_conversation(agent_id, summary, path, fork)

    async def read_conversation(self, agent_id: str, conversation: Conversation) -> Past:
        await self._call("read_conversation", conversation.id)
        return self.store.past(self._conversation(conversation.id))

    async def read_exchanges(self, agent_id: str, conversation: Conversation) -> list[Exchange]:
        await self._call("read_exchanges", conversation.id)
        return self.store.exchanges(self._conversation(conversation.id))

    async def rename_conversation(self, conversation_id: str, summary: str, hidden: bool) -> None:
        await self._call("rename_conversation", conversation_id)
        kept = self._conversation(conversation_id)
        self.store.touch(kept, summary=summary)
        kept.hidden = hidden

    async def delete_conversation(self, agent_id: str, conversation_id: str) -> None:
        await self._call("delete_conversation", conversation_id)
        self._conversation(conversation_id)
        del self.store.conversations[conversation_id]

    async def recompile(self, conversation_id: str) -> str:
        await self._call("recompile", conversation_id)
        kept = self._conversation(conversation_id)
        return "" if self.store.forks else self._agent(kept.agent_id).prompt

    async def run(
        self, agent_id: str, conversation_id: str, sending: Sending, tools: Iterable[str], take: Take
    ) -> None:
        self.sent.append((conversation_id, sending))
        self.tools.append(tuple(tools))
        try:
            await self._call("run", conversation_id)
        except errors.UpstreamError as failure:
            if failure.taken:
                self._begin(conversation_id, sending)
            raise
        run = self._begin(conversation_id, sending)
        if run is None:
            await self._play(CONFLICT, None, take)
        else:
            await self._play(self.scripts.pop(0) if self.scripts else ANSWER, run, take)

    def _begin(self, conversation_id: str, sending: Sending) -> UnderWay | None:
        """None where a call waits for an approval."""
        kept = self._conversation(conversation_id)
        if kept.run:
            raise errors.Busy("another run of the conversation is under way")
        answered = {*sending.denied, *sending.approved, *(result.tool_call_id for result in sending.results)}
        pending = {call.tool_call_id for call in kept.pending}
        # An App Server is not told of calls that go without an answer, unless they wait.
        told = answered if pending or sending.resumes or not self.store.forks else set()
        if told != pending and told:
            raise errors.Stuck("nothing waits for these answers")
        if told != pending:
            return None
        return self.store.begin(kept, sending)

    async def _play(self, steps: Sequence[Step], run: UnderWay | None, take: Take) -> None:
        if not self._playing:
            while not self._said.empty():
                self._said.get_nowait()
        self._playing += 1
        self._begun.set()
        try:
            await self._play_steps(steps, run, take)
        finally:
            self._playing -= 1
            if not self._playing:
                self._begun.clear()

    async def _play_steps(self, steps: Sequence[Step], run: UnderWay | None, take: Take) -> None:
        for i, step in enumerate(steps):
            match step:
                case "deaf" if run:
                    run.deaf = True
                case "killed" if run:
                    self.killed = True
                    self._leave_alone(run, steps[i + 1 :])
                    raise errors.BrokenStream("the gateway is gone")
                case Exception():
                    self._fail(step, steps[i + 1 :], run)
                    raise step
                case Gate() | float():
                    await self._wait(step, run)
                case list():
                    if run and run.cancelled.is_set() and not run.deaf:
                        break
                    self._keep(step, run)
                    take(step)
                    self._said.put_nowait(step)
                    # Whoever reads has this before more comes.
                    await asyncio.sleep(0)
        if run and run.cancelled.is_set() and not run.deaf:
            take([stop(CANCELLED)])
        elif run:
            run.over()

    async def _wait(self, step: Gate | float, run: UnderWay | None) -> None:
        """An agent that has begun to answer is cut off by a cancel; before, its model goes on saying nothing."""
        waiting = asyncio.ensure_future(step.pass_through() if isinstance(step, Gate) else asyncio.sleep(step))
        cut = asyncio.ensure_future(run.cancelled.wait()) if run and run.parts and not run.deaf else None
        both = [waiting, cut] if cut else [waiting]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()

    def _keep(self, events: Iterable[Event], run: UnderWay | None) -> None:
        for event in events if run else ():
            assert run
            run.events.append(event)
            if isinstance(event, Text):
                run.parts[event.step] = run.parts.get(event.step, "") + event.text
            elif isinstance(event, CallWaits):
                calls = [PendingCall(event.call.id, event.call.name)]
                self.store.wait_for_answers(run, (*run.kept.pending, *calls))
            elif isinstance(event, Stop) and run.kept.run is run:
                if event.reason is StopReason.FAILED:
                    run.over()
                else:
                    self.store.end(run)

    def _fail(self, failure: Exception, rest: Sequence[Step], run: UnderWay | None) -> None:
        """A run that Letta did not take is none; of one that it took, what it does now is not told."""
        if not run:
            return
        if run.deaf:
            for step in rest:
                self._keep(step if isinstance(step, list) else [], run)
        if not getattr(failure, "taken", True):
            run.over()

    def _leave_alone(self, run: UnderWay, rest: Sequence[Step]) -> None:
        if self.store.forks:
            self.store.break_off(run)
            return
        for step in rest:
            if isinstance(step, Gate):
                return
            self._keep(step if isinstance(step, list) else [], run)

    async def is_running(self, conversation_id: str) -> bool:
        await self._call("is_running", conversation_id)
        return self._conversation(conversation_id).run is not None

    async def cancel(self, agent_id: str, conversation_id: str) -> None:
        await self._call("cancel", conversation_id)
        kept = self.store.conversations.get(conversation_id)
        if kept and kept.run:
            kept.run.cancelled.set()
            if not kept.run.deaf:
                kept.run.over()

    async def sees(self, agent_id: str) -> bool:
        await self._call("sees", agent_id)
        return self.seeing

    async def tool_names(self, agent_id: str, tools: Iterable[str]) -> frozenset[str]:
        await self._call("tool_names", agent_id)
        return frozenset({"memory_insert", *tools})

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


def _age(agent: Agent) -> float:
    """In seconds of the virtual time."""
    return (START + timedelta(seconds=now()) - agent.created_at).total_seconds() if agent.created_at else 0.0
