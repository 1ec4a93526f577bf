"""The agents of users: each user has one of each agent type. It is found by its tags, else created, once.

Several processes may make an agent for one user at the same moment. Those that share a Redis stand in line for it, and
the first alone makes one. Others agree on one of theirs by listing, and nobody speaks to another: only in the agent
that stays is a conversation made, and that is how others see that it stays.
"""

import asyncio
from collections.abc import Callable

from gateway.domain import errors
from gateway.domain.cache import Cache
from gateway.letta.upstream import Agent, Template, Upstream, age
from gateway.settings import AgentType
from gateway.shared.lines import Lines, OwnLines, Place
from gateway.turns.chats.markers import agent_tags
from gateway.turns.people.identity import User
from gateway.turns.people.template import applied, is_applied, to_template

CACHED_AGENTS = 50_000
# The part of `settle_seconds` after which an agent stays if no other is listed beside it.
ALONE = 0.4
# For so long one waits for another gateway that makes the same agent.
MAKING_SECONDS = 60.0
Tags = tuple[str, ...]


class KnownAgent:
    """An agent, with all that this process knows of it."""

    def __init__(self, id: str, agent_type: AgentType, former_scope: str = "") -> None:
        self.agent_type = agent_type
        """Its type, as it was when the agent was last brought up to date with it."""
        self.id = id
        """Another's, should it have lost to that one before it was `settled`."""
        self.former_scope = former_scope
        """The scope in which an earlier version made it, and named its chats; empty if that is its user's scope."""
        self.tools: frozenset[str] | None = None
        """The names of its own tools; None while Letta was not asked for them."""
        self.is_unused = False
        """True: it was made just now, and no run has taken it yet."""
        self.memory_version = 0
        """A number that goes up when a turn may have changed the memory; prompts compiled before do not show it."""
        self.prompt = ""
        """Its compiled system prompt; empty if Letta does not tell it."""
        self.prompt_version = -1
        """A version of the memory: the prompt shows it, or a later one; -1 while there is no prompt."""
        self.settling: asyncio.Task[None] | None = None
        """Finds out if it stays; None once it does."""

    async def settled(self) -> None:
        """Return when it is sure which agent stays; its `id` is that one's then. Raises UpstreamError.

        Before, it may be looked at, and nothing may be put into it.
        """
        if self.settling:
            await asyncio.shield(self.settling)


class Agents:
    """Finds and makes agents; remembers them until `forget`."""

    def __init__(self, upstream: Upstream, settle_seconds: float, lines: Lines | None = None) -> None:
        self._upstream = upstream
        self._lines = lines or OwnLines()
        self._settle_seconds = settle_seconds
        self._known: Cache[Tags, KnownAgent] = Cache(CACHED_AGENTS)
        self._first_model: str | None = None
        self._searches: dict[Tags, asyncio.Task[KnownAgent]] = {}
        self.tell_memory: Callable[[Tags], None] | None = None
        """Called with the key of an agent whose memory may have changed, for other gateways."""

    async def get(self, agent_type: AgentType, user: User) -> KnownAgent:
        """This user's agent of this type, which may not have settled yet. Raises UpstreamError."""
        tags = agent_key(agent_type, user)
        if (known := self._known.get(tags)) and known.agent_type == agent_type:
            return known
        if agent_type.agent:
            known = KnownAgent(agent_type.agent, agent_type)
            self._known.put(tags, known)
            return known
        # One search serves all requests that come meanwhile; it goes on if one of their clients leaves, so that no
        # agent is made and then left behind.
        search = self._searches.get(tags)
        if search is None:
            search = self._searches[tags] = asyncio.create_task(self._search(tags, agent_type, user, known))
            search.add_done_callback(lambda ended: self._searched(tags, ended))
        return await asyncio.shield(search)

    def _searched(self, tags: Tags, search: asyncio.Task[KnownAgent]) -> None:
        del self._searches[tags]
        # Whoever waited for it has its error; nobody may have.
        if not search.cancelled():
            search.exception()

    async def own_tools(self, agent: KnownAgent, agent_type: AgentType) -> frozenset[str]:
        """The names of an agent's own tools, without the client's. Raises UpstreamError."""
        if agent.tools is None:
            agent.tools = await self._upstream.tool_names(agent.id, agent_type.tools)
        return agent.tools

    def used_memory(self, agent: KnownAgent, turn_of: Tags) -> None:
        """A turn may have changed the agent's memory: no prompt that was compiled before need show it.

        `turn_of`: the `agent_key` of the turn's agent.
        """
        agent.memory_version += 1
        if self.tell_memory:
            self.tell_memory(turn_of)

    def hear_memory(self, key: Tags) -> None:
        """A turn of another gateway's may have changed the memory of the agent with this key."""
        if agent := self._known.get(key):
            agent.memory_version += 1

    def hear_nothing(self) -> None:
        """It is not known any more whose memory another gateway's turns have changed: it may be any."""
        for _, agent in self._known.items():
            agent.memory_version += 1

    def forget(self, agent_type: AgentType, user: User) -> None:
        """Forget the agent, and so look it up again for the next turn: Letta does not know it any more."""
        self._known.drop(agent_key(agent_type, user))

    async def _search(self, tags: Tags, agent_type: AgentType, user: User, before: KnownAgent | None) -> KnownAgent:
        """`before`: as it was known with another content of its type."""
        names = [tags, *(agent_tags(agent_type.id, *name) for name in user.formers)]
        model, listed = await asyncio.gather(self._get_model(agent_type), self._list_all(names))
        template = to_template(agent_type, user, model)
        agent = await self._find_certain(listed)
        if agent is None:
            # Of those who look for the same agent at once, one makes it.
            async with self._lines.place(":".join(("agent", *tags)), None, MAKING_SECONDS) as place:
                known = await self._find_or_make(names, listed, template, agent_type, user, place)
        else:
            known = await self._know(agent, template, agent_type, user)
        if before:
            # No prompt that was compiled until now shows the change.
            known.memory_version = before.memory_version + 1
        self._known.put(tags, known)
        return known

    async def _bring_up_to_date(self, agent: Agent, template: Template) -> None:
        if not is_applied(template, agent.metadata):
            await self._upstream.apply_template(agent, template, applied(agent.metadata).get("tools", []))

    async def _get_model(self, agent_type: AgentType) -> str:
        """The model of an agent type; Letta's first if it names none. Raises UpstreamError."""
        if agent_type.model:
            return agent_type.model
        if self._first_model is None:
            models = await self._upstream.list_models()
            if not models:
                raise errors.Refused("Letta has no model")
            self._first_model = models[0]
        return self._first_model

    async def _know(self, agent: Agent, template: Template, agent_type: AgentType, user: User) -> KnownAgent:
        await self._bring_up_to_date(agent, template)
        return KnownAgent(agent.id, agent_type, _former_scope(agent, agent_type, user))

    async def _find_or_make(
        self,
        names: list[Tags],
        listed: list[list[Agent]],
        template: Template,
        agent_type: AgentType,
        user: User,
        place: Place,
    ) -> KnownAgent:
        """The agent, as the first in its line; `listed` are those that there were before."""
        if place.is_shared:
            listed = await self._list_all(names)
        for tags, agents in zip(names, listed, strict=True):
            if agents and (found := await self._choose(tags, agents, place.is_agreed)):
                return await self._know(found, template, agent_type, user)
        if place.word and await self._is_there(place.word):
            # It was made a moment ago, and is not listed yet.
            return KnownAgent(place.word, agent_type)
        place.check()
        mine = await self._upstream.create_agent(template)
        place.leave_word(mine.id)
        await self._bring_up_to_date(mine, template)
        known = KnownAgent(mine.id, agent_type)
        known.is_unused = True
        if not (self._upstream.capabilities.owned or place.is_agreed):
            self._settle_new(known, mine, names[0], template)
        return known

    async def _is_there(self, agent_id: str) -> bool:
        try:
            await self._upstream.check_agent(agent_id)
        except errors.NotFound:
            return False
        return True

    async def _list_all(self, names: list[Tags]) -> list[list[Agent]]:
        """The agents with each of these tags."""
        return await asyncio.gather(*map(self._list, names))

    async def _find_certain(self, listed: list[list[Agent]]) -> Agent | None:
        """The agent that stays, of the first that were listed, if that is certain without waiting."""
        agents = next((agents for agents in listed if agents), [])
        return await (self._stays(agents) if self._upstream.capabilities.owned else self._find_spoken_to(agents))

    async def _choose(self, tags: Tags, agents: list[Agent], alone: bool) -> Agent | None:
        """The agent that stays, of some that were listed; `alone`: nobody else makes one now."""
        return await (self._stays(agents) if alone else self._settle(tags, agents))

    async def _find_spoken_to(self, agents: list[Agent]) -> Agent | None:
        """The first that has conversations: somebody was sure that it stays."""
        spoken_to = await asyncio.gather(*(self._upstream.has_conversations(agent.id) for agent in agents))
        return next((agent for agent, is_one in zip(agents, spoken_to, strict=True) if is_one), None)

    def _settle_new(self, known: KnownAgent, mine: Agent, tags: Tags, template: Template) -> None:
        """Find out if an agent that was just made stays, while its first turn is prepared."""

        def end(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is None:
                known.settling = None
            elif self._known.get(tags) is known:
                self._known.drop(tags)

        known.settling = asyncio.create_task(self._agree(known, mine, tags, template))
        known.settling.add_done_callback(end)

    async def _agree(self, known: KnownAgent, mine: Agent, tags: Tags, template: Template) -> None:
        """Make `known` the agent on which all processes agree; each deletes its own other."""
        winner = await self._settle(tags, [mine]) or mine
        if winner.id == mine.id:
            return
        if not await self._upstream.has_conversations(mine.id):
            await self._upstream.delete_agent(mine)
        await self._bring_up_to_date(winner, template)
        known.id, known.tools = winner.id, None

    async def _settle(self, tags: Tags, agents: list[Agent]) -> Agent | None:
        """The agent that stays, of those with these tags; `agents` were listed, or made, just now.

        It is the oldest, once two listings `settle_seconds` apart are the same: so all processes agree, if no agent is
        listed later than that after its date. An agent that is alone in two listings stays sooner, after the ALONE
        part of that time. Should an older one be listed only then, its maker sees both, waits the whole time, and
        yields to the one that was spoken to meanwhile. So all agree in that case, too, if what one listing has shown
        all later ones show, and if a turn's conversation is made within `settle_seconds` of the listing that was
        asked for last; one that took long to come is not enough.
        """
        loop, quick = asyncio.get_running_loop(), True
        while True:
            quick = quick and len(agents) == 1
            await asyncio.sleep(self._settle_seconds * (ALONE if quick else 1))
            began = loop.time()
            again = await self._list(tags)
            took_long = loop.time() - began > self._settle_seconds * ALONE
            if [agent.id for agent in again] == [agent.id for agent in agents] and not (quick and took_long):
                return await self._stays(again)
            agents, quick = again, not took_long

    async def _stays(self, agents: list[Agent]) -> Agent | None:
        found = await self._find_spoken_to(agents) if len(agents) > 1 else None
        return found or next(iter(agents), None)

    async def _list(self, tags: Tags) -> list[Agent]:
        """The agents with these tags, the oldest first."""
        agents = await self._upstream.find_agents(tags)
        return sorted(agents, key=age)


def agent_key(agent_type: AgentType, user: User) -> Tags:
    """The key by which an agent is known: the tags of the user's own, or the id of the one that everybody shares."""
    return (agent_type.agent,) if agent_type.agent else agent_tags(agent_type.id, user.scope, user.id)


def _former_scope(agent: Agent, agent_type: AgentType, user: User) -> str:
    """The scope in which an earlier version made this agent; empty if it was the user's own."""
    tags = [(scope, agent_tags(agent_type.id, scope, id)) for scope, id in user.formers if scope != user.scope]
    return next((scope for scope, each in tags if set(each) <= set(agent.tags)), "")
