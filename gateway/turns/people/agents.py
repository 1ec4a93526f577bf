"""The agents of users: each user has one of each agent type. It is found by its tags, else created, once."""

import asyncio

from gateway.domain import errors
from gateway.domain.cache import Cache
from gateway.letta.upstream import Agent, Template, Upstream, age
from gateway.settings import AgentType
from gateway.turns.chats.markers import agent_tags
from gateway.turns.people.identity import User
from gateway.turns.people.template import applied, is_applied, to_template

CACHED_AGENTS = 50_000
Tags = tuple[str, ...]


class KnownAgent:
    """An agent, with all that this process knows of it."""

    def __init__(self, id: str, former_scope: str = "") -> None:
        self.id = id
        self.former_scope = former_scope
        """The scope in which an earlier version made it, and named its chats; empty if that is its user's scope."""
        self.tools: frozenset[str] | None = None
        """The names of its own tools; None while Letta was not asked for them."""
        self.memory_version = 0
        """A number that goes up when a turn may have changed the memory; prompts compiled before do not show it."""
        self.prompt = ""
        """Its compiled system prompt; empty if Letta does not tell it."""
        self.prompt_version = -1
        """A version of the memory: the prompt shows it, or a later one; -1 while there is no prompt."""


class Agents:
    """Finds and makes agents; remembers them until `forget`."""

    def __init__(self, upstream: Upstream, settle_seconds: float) -> None:
        self._upstream = upstream
        self._settle_seconds = settle_seconds
        self._known: Cache[Tags, KnownAgent] = Cache(CACHED_AGENTS)
        self._first_model: str | None = None
        self._searches: dict[Tags, asyncio.Task[KnownAgent]] = {}

    async def get(self, agent_type: AgentType, user: User) -> KnownAgent:
        """This user's agent of this type. Raises UpstreamError."""
        tags = _cache_key(agent_type, user)
        if known := self._known.get(tags):
            return known
        if agent_type.agent:
            known = KnownAgent(agent_type.agent)
            self._known.put(tags, known)
            return known
        # One search serves all requests that come meanwhile; it goes on if one of their clients leaves, so that no
        # agent is made and then left behind.
        search = self._searches.get(tags)
        if search is None:
            search = self._searches[tags] = asyncio.create_task(self._search(tags, agent_type, user))
            search.add_done_callback(lambda _: self._searches.pop(tags))
        return await asyncio.shield(search)

    async def own_tools(self, agent: KnownAgent, agent_type: AgentType) -> frozenset[str]:
        """The names of an agent's own tools, without the client's. Raises UpstreamError."""
        if agent.tools is None:
            agent.tools = await self._upstream.tool_names(agent.id, agent_type.tools)
        return agent.tools

    def forget(self, agent_type: AgentType, user: User) -> None:
        """Forget the agent, and so look it up again for the next turn: Letta does not know it any more."""
        self._known.drop(_cache_key(agent_type, user))

    async def _search(self, tags: Tags, agent_type: AgentType, user: User) -> KnownAgent:
        template = to_template(agent_type, user, agent_type.model or await self._get_first_model())
        agent = await self._find(tags) or await self._find_former(agent_type, user)
        agent = agent or await self._create(tags, template)
        if not is_applied(template, agent.metadata):
            await self._upstream.apply_template(agent, template, applied(agent.metadata).get("tools", []))
        known = KnownAgent(agent.id, _former_scope(agent, agent_type, user))
        self._known.put(tags, known)
        return known

    async def _get_first_model(self) -> str:
        """The model of agent types that name none. Raises UpstreamError."""
        if self._first_model is None:
            models = await self._upstream.list_models()
            if not models:
                raise errors.Refused("Letta has no model")
            self._first_model = models[0]
        return self._first_model

    async def _find(self, tags: Tags) -> Agent | None:
        """The agent with these tags; None if there is none. One without conversations may still lose to another."""
        agents = await self._list(tags)
        if not agents:
            return None
        if await self._upstream.has_conversations(agents[0].id):
            return agents[0]
        return await self._settle(tags, agents)

    async def _find_former(self, agent_type: AgentType, user: User) -> Agent | None:
        """The agent of a user whom an earlier version knew by another name."""
        for name in user.formers:
            if agent := await self._find(agent_tags(agent_type.id, *name)):
                return agent
        return None

    async def _create(self, tags: Tags, template: Template) -> Agent:
        """Make an agent; if other processes do so at the same time, all agree on one and each deletes its own other."""
        mine = await self._upstream.create_agent(template)
        winner = await self._settle(tags, await self._list(tags)) or mine
        if winner.id != mine.id and not await self._upstream.has_conversations(mine.id):
            await self._upstream.delete_agent(mine)
        return winner

    async def _settle(self, tags: Tags, agents: list[Agent]) -> Agent | None:
        """The oldest agent, once two listings `settle_seconds` apart are the same."""
        while True:
            await asyncio.sleep(self._settle_seconds)
            again = await self._list(tags)
            if [agent.id for agent in again] == [agent.id for agent in agents]:
                return again[0] if again else None
            agents = again

    async def _list(self, tags: Tags) -> list[Agent]:
        """The agents with these tags, the oldest first."""
        agents = await self._upstream.find_agents(tags)
        return sorted(agents, key=age)


def _cache_key(agent_type: AgentType, user: User) -> Tags:
    """The tags of the user's own agent, or the one agent that everybody shares."""
    return (agent_type.agent,) if agent_type.agent else agent_tags(agent_type.id, user.scope, user.id)


def _former_scope(agent: Agent, agent_type: AgentType, user: User) -> str:
    """The scope in which an earlier version made this agent; empty if it was the user's own."""
    tags = [(scope, agent_tags(agent_type.id, scope, id)) for scope, id in user.formers if scope != user.scope]
    return next((scope for scope, each in tags if set(each) <= set(agent.tags)), "")
