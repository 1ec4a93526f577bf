"""The command `letta-gateway check`: says in plain words what is configured, what is wrong, and how to mend it."""

from collections.abc import AsyncIterator, Iterator

from gateway.app import upstream_for
from gateway.domain import errors
from gateway.letta.embedded.upstream import EmbeddedUpstream
from gateway.letta.upstream import Upstream
from gateway.people_report import PeopleAsked, tell_people
from gateway.settings import AgentType, Key, Settings
from gateway.turns.chats.pruning import SEARCHES, find_left_behind


async def check(settings: Settings, people: PeopleAsked | None = None) -> bool:
    """Print the findings, and about `people`; returns True if there is no problem (warnings are none)."""
    upstream = upstream_for(settings)
    try:
        problems = [problem async for problem in _find_problems(settings, upstream, people)]
    finally:
        await upstream.aclose()
    for warning in _warnings(settings):
        print(f"warning: {warning}")
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{len(problems)} problem(s)." if problems else "Everything is in order.")
    return not problems


async def _find_problems(
    settings: Settings, upstream: Upstream, people: PeopleAsked | None = None
) -> AsyncIterator[str]:
    print(f"Letta at {settings.letta.address}:" if settings.letta.address else "A Letta of the gateway's own:")
    if isinstance(upstream, EmbeddedUpstream):
        for problem in await upstream.find_garbled():
            yield problem
    try:
        await upstream.start()
        await upstream.check_health()
        models = await upstream.list_models()
    except errors.UpstreamError as error:
        yield _explain(error, settings)
        return
    print(f"  it answers, and has {len(models)} model(s): {', '.join(models) or 'none'}")
    if not models and not all(agent_type.agent or agent_type.model for agent_type in settings.agent_types):
        yield "Letta has no model: connect a provider of models to it."
    try:
        counts = [f"{len(await find_left_behind(upstream, kind))} {kind}" for kind in SEARCHES]
        print(f"  conversations that will be deleted in time: {', '.join(counts)}")
    except errors.UpstreamError as error:
        yield f"Letta failed to list conversations ({type(error).__name__}, {error})."
    print("Agent types:")
    for agent_type in settings.agent_types:
        uses = agent_type.agent or agent_type.model or (models[0] if models else "no model")
        print(f"  {agent_type.id}: {agent_type.title}, {uses}")
        async for problem in _check_type(agent_type, models, upstream):
            yield f"agent type {agent_type.id}: {problem}"
    if people:
        async for problem in tell_people(upstream, settings, people):
            yield problem


async def _check_type(agent_type: AgentType, models: list[str], upstream: Upstream) -> AsyncIterator[str]:
    try:
        if agent_type.agent:
            await upstream.check_agent(agent_type.agent)
            return
        for tool in await upstream.unknown_tools(agent_type.tools):
            yield f"Letta has no tool `{tool}`: take it out of `tools`, or make it in Letta."
    except errors.NotFound:
        yield f"Letta has no agent `{agent_type.agent}`: set `agent` to the id of one that exists."
    except errors.UpstreamError as error:
        yield f"Letta failed to tell of it ({type(error).__name__}, {error})."
    if agent_type.model and agent_type.model not in models:
        yield f"Letta has no model `{agent_type.model}`: set `model` to one of those listed above."


def _explain(error: errors.UpstreamError, settings: Settings) -> str:
    if isinstance(error, errors.CannotStart):
        return str(error)
    if settings.letta.kind == "embedded":
        return f"the gateway's own Letta failed ({type(error).__name__}, {error})."
    if isinstance(error, errors.Unreachable | errors.TimedOut):
        return (
            f"nothing answers at {settings.letta.address} ({error}): start Letta there, "
            "or set [letta] base_url (LETTA_BASE_URL) to where it is."
        )
    if isinstance(error, errors.KeyRefused):
        return f"Letta does not accept the key ({error}): set [letta] api_key (LETTA_API_KEY) to one that it gave out."
    return (
        f"Letta answers, but not as expected ({type(error).__name__}, {error}): is base_url really such a Letta server?"
    )


def _warnings(settings: Settings) -> Iterator[str]:
    if settings.open:
        yield "no keys are configured: only this machine may use the gateway."
    for key in settings.keys:
        yield from _key_warnings(key)
        yield from _scope_warnings(key, settings.keys)


def _key_warnings(key: Key) -> Iterator[str]:
    if key.user is None and len({source.kind for source in key.user_from}) > 1:
        yield (
            f"key {key.name}: `user_from` mixes header and body sources, so that callers of a frontend "
            "could speak for each other: give the frontend and the programs a key each."
        )


def _scope_warnings(key: Key, keys: tuple[Key, ...]) -> Iterator[str]:
    """The warning about a key that is one person itself, in a scope where other keys name theirs."""
    if key.user is not None or key.user_means == "person":
        return
    others = [
        other.name
        for other in keys
        if other.user_scope == key.user_scope and other.user is None and other.user_means == "person"
    ]
    if others:
        yield (
            f'key {key.name}: with `user_means = "{key.user_means}"` all its callers are one person, `{key.name}`, and '
            f"who names themselves so with {', '.join(others)}, in the same scope, is that person, too: "
            "give it a `scope` of its own."
        )
