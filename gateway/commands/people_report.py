"""`letta-gateway check --users` and `--user ID`: the people and agents in Letta, and the way from a person to an agent.

Letta knows people by digests alone. Who has typed an id is shown its digest; it is written into no log.
"""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC

from msgspec import Struct, field

from gateway.domain import errors
from gateway.letta.upstream import Agent, Upstream
from gateway.settings import OPEN_KEY, Key, Settings
from gateway.turns.chats.markers import GATEWAY_TAG, agent_tags, parse_agent
from gateway.turns.people.template import applied

HOW = "A person is known in Letta by a tag: `gw-user:` and 32 hex digits of a digest of the key's scope and the id."


class PeopleAsked(Struct, frozen=True):
    """The question about people: `PeopleAsked("ada", "open-webui")`, or `PeopleAsked()` about all of them."""

    user: str | None = None
    """The id of a person, as requests give it; None: all people and agents are counted."""
    key: str | None = None
    """The name of the key that its requests come with; None for every key."""


async def tell_people(upstream: Upstream, settings: Settings, asked: PeopleAsked) -> AsyncIterator[str]:
    """Print what Letta has of people; yields the problems."""
    try:
        if asked.user is None:
            for line in await _counted(upstream, settings):
                print(line)
            return
        keys = [key for key in settings.keys or (OPEN_KEY,) if asked.key in (None, key.name)]
        if not keys:
            yield f"no key is called `{asked.key}`: there are {', '.join(f'`{key.name}`' for key in settings.keys)}."
        print(HOW)
        for (scope, user), theirs in _people(settings, keys, asked.user).items():
            others = "" if user == asked.user else ", whoever its requests name"
            names = ", ".join(key.name for key in theirs)
            print(f"{'key' if len(theirs) == 1 else 'keys'} {names}: scope {scope}, id {user}{others}")
            async for line in _agents_of(upstream, settings, theirs, scope, user):
                print(f"  {line}")
    except errors.UpstreamError as error:
        yield f"Letta failed to list agents ({type(error).__name__}, {error})."


async def _pages(upstream: Upstream, *tags: str) -> AsyncIterator[list[Agent]]:
    """Every agent with these tags, once, a page at a time. Raises UpstreamError."""
    seen: set[str] = set()
    after = ""
    while page := await upstream.find_agents(tags, after):
        new = [agent for agent in page if agent.id not in seen]
        # An App Server has those first that were used last: while it is asked, an agent may come to stand elsewhere.
        if not new:
            return
        seen.update(agent.id for agent in new)
        after = page[-1].id
        yield new


class _Type(Struct):
    """The count of one agent type."""

    agents: int = 0
    digests: set[str] = field(default_factory=set)
    """Those of the agents' people."""
    scopes: Counter[str] = field(default_factory=Counter)
    """The agents by the scopes that are noted with them; empty for none."""

    def count(self, agent: Agent, digest: str) -> None:
        scope = applied(agent.metadata).get("scope")
        self.agents += 1
        self.digests.add(digest)
        self.scopes[scope if isinstance(scope, str) else ""] += 1

    def __str__(self) -> str:
        """`3 agents of 3 people (scope open-webui: 2, scope scripts: 1)`."""
        if not self.agents:
            return _count(0, "agent")
        told = f"{_count(self.agents, 'agent')} of {_count(len(self.digests), 'person', 'people')}"
        known = [f"scope {scope}: {count}" for scope, count in sorted(self.scopes.items()) if scope]
        return f"{told} ({', '.join(known)})" if known else told


async def _counted(upstream: Upstream, settings: Settings) -> list[str]:
    """The lines about all agents of the gateway's, by type. Raises UpstreamError."""
    types = {each.id: _Type() for each in settings.agent_types}
    shared = {each.id: each.agent for each in settings.agent_types if each.agent}
    configured = frozenset(types)
    async for page in _pages(upstream, GATEWAY_TAG):
        for agent in page:
            type, digest = parse_agent(agent.tags, agent.name, configured)
            types.setdefault(type, _Type()).count(agent, digest)
    people = set().union(*(each.digests for each in types.values()))
    agents = sum(each.agents for each in types.values())
    lines = [f"People and agents: {_count(len(people), 'person', 'people')}, {_count(agents, 'agent')}"]
    lines += [f"  {type}: everybody shares the agent {agent}" for type, agent in shared.items()]
    for type, each in types.items():
        if type in shared and not each.agents:
            continue
        unused = type in shared or type not in configured
        lines.append(f"  {type or '(no type told)'}: {each}{', which no agent type uses any more' if unused else ''}")
    return lines


def _people(settings: Settings, keys: list[Key], user: str) -> dict[tuple[str, str], list[Key]]:
    """The scopes and ids of whoever calls himself `user`, those of an earlier version included → the keys for which."""
    found: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        id = key.person_of(user)
        for scope in filter(None, (key.user_scope, settings.former_scope(key))):
            found.setdefault((scope, id), []).append(key)
    return found


async def _agents_of(
    upstream: Upstream, settings: Settings, keys: list[Key], scope: str, user: str
) -> AsyncIterator[str]:
    """The lines about one person. Raises UpstreamError."""
    types = [each for each in settings.agent_types if any(key.may_use(each) for key in keys)]
    yield agent_tags("", scope, user)[2]
    for each in types:
        if each.agent:
            yield f"{each.id}: {each.agent}, which everybody shares"
            continue
        found = [agent async for page in _pages(upstream, *agent_tags(each.id, scope, user)) for agent in page]
        yield f"{each.id}: {'; '.join(map(_described, found)) or 'no agent yet'}"


def _described(agent: Agent) -> str:
    """`agent-1, named tutor-1f2e3d4c5b6a, made 2026-11-29 14:00 UTC`."""
    name = f", named {agent.name}" if agent.name else ""
    made = f", made {agent.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if agent.created_at else ""
    return f"{agent.id}{name}{made}"


def _count(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or f'{one}s'}"
