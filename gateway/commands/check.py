"""The command `letta-gateway check`: says in plain words what is configured, what is wrong, and how to mend it."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from gateway.choices import state_for, upstream_for
from gateway.commands import announcement
from gateway.commands.check_shared import check_shared
from gateway.commands.people_report import PeopleAsked, tell_people
from gateway.domain import errors
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.embedded.directory import state_of
from gateway.letta.embedded.lock import StateInUse
from gateway.letta.embedded.provider import ask, ask_compatible
from gateway.letta.embedded.upstream import EmbeddedUpstream, of_gateway
from gateway.letta.upstream import Upstream
from gateway.limits.counters import CannotKeep
from gateway.limits.usage_file import FILE_NAME, UsageFile
from gateway.settings import AgentType, Key, Settings
from gateway.turns.chats.pruning import SEARCHES, find_left_behind

# So many are listed without being asked for.
MAX_MODELS = 12


async def check(settings: Settings, people: PeopleAsked | None = None, every_model: bool = False) -> bool:
    """Print the findings, and about `people`; returns True if there is no problem (warnings are none).

    `every_model`: list all models.
    """
    async with AsyncExitStack() as opened:
        found = [problem async for problem in _find_problems(settings, opened, people, every_model)]
    shared = [finding async for finding in check_shared(settings)]
    problems = [*_check_usage(settings), *found, *(each.words for each in shared if each.is_problem)]
    for warning in (*_warnings(settings), *(each.words for each in shared if not each.is_problem)):
        print(f"warning: {warning}")
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{len(problems)} problem(s)." if problems else "Everything is in order.")
    return not problems


async def _find_problems(
    settings: Settings, opened: AsyncExitStack, people: PeopleAsked | None, every_model: bool
) -> AsyncIterator[str]:
    for line in announcement.before(settings):
        print(line)
    failing = [problem async for problem in _check_providers(settings)]
    for problem in failing:
        yield problem
    upstream = upstream_for(settings)
    opened.push_async_callback(upstream.aclose)
    if settings.letta.kind == "rest":
        from gateway.letta.rest.upstream import RestUpstream

    if settings.letta.kind == "rest" and isinstance(upstream, RestUpstream):
        print(f"  a turn's calls go {f'through letta-client: {upstream.detour}' if upstream.detour else 'directly'}")
    if isinstance(upstream, EmbeddedUpstream):
        for problem in await _check_files(upstream):
            yield problem
    try:
        upstream = await _start(upstream, settings, opened)
        await upstream.check_health()
        models = await upstream.list_models()
    except errors.UpstreamError as error:
        yield _explain(error, settings)
        return
    _tell_models(models, len(models) if every_model else MAX_MODELS)
    async for problem in _check_content(settings, upstream, models, people):
        yield problem
    if not (models or failing) and not all(each.agent or each.model for each in settings.agent_types):
        yield "Letta has no model: connect a provider of models to it."


async def _check_files(upstream: EmbeddedUpstream) -> list[str]:
    try:
        return await upstream.find_garbled()
    except OSError as error:
        return [f"the state directory cannot be read by who runs this: {error.filename}: {error.strerror}."]


async def _check_content(
    settings: Settings, upstream: Upstream, models: list[str], people: PeopleAsked | None
) -> AsyncIterator[str]:
    """Look at what Letta has of the gateway's: conversations, people, and what the agent types need."""
    try:
        counts = [f"{len(await find_left_behind(upstream, kind))} {kind}" for kind in SEARCHES]
        print(f"  conversations that will be deleted in time: {', '.join(counts)}")
    except errors.UpstreamError as error:
        yield f"Letta failed to list conversations ({type(error).__name__}, {error})."
    async for warning in announcement.left_out(settings, upstream):
        print(f"warning: {warning}")
    print("Agent types:")
    for agent_type in settings.agent_types:
        uses = agent_type.agent or agent_type.model or (models[0] if models else "no model")
        print(f"  {agent_type.id}: {agent_type.title}, {uses}")
        async for problem in _check_type(agent_type, models, upstream):
            yield f"agent type {agent_type.id}: {problem}"
    if people:
        async for problem in tell_people(upstream, settings, people):
            yield problem


async def _start(upstream: Upstream, settings: Settings, opened: AsyncExitStack) -> Upstream:
    """The Letta to ask: where a gateway runs that has one of its own, that one, as any other gateway's App Server.

    Raises UpstreamError.
    """
    try:
        await upstream.start()
    except StateInUse as error:
        if not error.letta:
            raise
        print(f"  {error}")
        theirs = AppServerUpstream(settings.letta, of_gateway(state_of(settings.letta.state), error.letta))
        opened.push_async_callback(theirs.aclose)
        return theirs
    return upstream


def _check_usage(settings: Settings) -> Iterator[str]:
    """Open what is kept of usage, if there is something already."""
    # With a Redis that is shared it is not used.
    state = None if settings.shared.url else state_for(settings)
    if state and (state / FILE_NAME).exists():
        try:
            UsageFile(state / FILE_NAME).close()
        except CannotKeep as error:
            yield str(error)


async def _check_providers(settings: Settings) -> AsyncIterator[str]:
    """Ask the providers of models that the gateway itself is told of, whether they are there and take their keys."""
    asked = []
    if (provider := settings.provider) and settings.letta.kind == "embedded":
        remedy = "Set its address and key ([provider], or the variables of the environment) to those that it has."
        asked.append((f"the provider {provider.id}", await ask(provider), remedy))
    if settings.tasks.answer == "model":
        found = await ask_compatible(settings.tasks.base_url, settings.tasks.api_key)
        remedy = "Set [tasks] base_url and api_key to those that it has."
        asked.append(("the model for background tasks", found, remedy))
    for who, found, remedy in asked:
        if found.problem:
            yield f"{who} at {announcement.plain_address(found.address)}: {found.problem}. {remedy}"


def _tell_models(models: list[str], at_most: int) -> None:
    count = "1 model" if len(models) == 1 else f"{len(models)} models"
    print(f"  it answers, and has {count}{':' if models else ''}")
    for model in models[:at_most]:
        print(f"    {model}")
    if len(models) > at_most:
        print(f"    and {len(models) - at_most} more, which `check --models` lists")


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
        yield from _expiry_warnings(key, datetime.now(UTC))
        yield from _key_warnings(key)
        yield from _stop_warnings(key)
        yield from _scope_warnings(key, settings.keys)
    yield from _twin_warnings(settings.keys)


# So long before it expires the last value of a key is told of.
WARNING_DAYS = 14


def _expiry_warnings(key: Key, now: datetime) -> Iterator[str]:
    """The warning about a key of which every value has expired, or soon will have."""
    ends = [*key.digests.values()]
    if not ends or None in ends:
        return
    last = max(end for end in ends if end)
    if last <= now:
        yield f"key {key.name}: it has expired on {last:%Y-%m-%d %H:%M %Z}, and opens nothing."
    elif last <= now + timedelta(days=WARNING_DAYS):
        yield f"key {key.name}: it expires on {last:%Y-%m-%d %H:%M %Z} (`letta-gateway key new` makes another value)."


# The fields of a key that say which values are right, and its name.
OWN_FIELDS = ("name", "key", "sha256", "expires")
ONE_ENTRY = 'one entry holds several, `sha256 = ["…", "…"]`.'
SUFFIX = re.compile(r"[\s_.-]?\(?(?:old|new|next|copy|v?\d{1,3})\)?\Z")


def _twin_warnings(keys: tuple[Key, ...]) -> Iterator[str]:
    """The warnings about two entries that look like one key whose value was exchanged."""
    for i, key in enumerate(keys):
        for other in keys[:i]:
            fields = (field for field in key.__struct_fields__ if field not in OWN_FIELDS)
            if not all(getattr(key, field) == getattr(other, field) for field in fields):
                continue
            words = f"keys {other.name} and {key.name} look like one key with two values"
            if key.scope is not None:
                yield f"{words}: {ONE_ENTRY}"
            elif _without_suffix(key.name) == _without_suffix(other.name):
                yield f"{words}, but they are two, each with people, agents and chats of its own: {ONE_ENTRY}"


def _without_suffix(name: str) -> str:
    """A name without what tells two of a kind apart: `scripts-2` and `scripts (new)` are `scripts`."""
    return SUFFIX.sub("", name.lower())


def _key_warnings(key: Key) -> Iterator[str]:
    if key.user is None and len({source.kind for source in key.user_from}) > 1:
        yield (
            f"key {key.name}: `user_from` mixes header and body sources, so that callers of a frontend "
            "could speak for each other: give the frontend and the programs a key each."
        )


# A header in which a frontend says who asks -> the frontend; their Stop closes the connection, and says nothing more.
FRONTENDS = {"x-openwebui-": "Open WebUI", "x-user-id": "LibreChat"}


def _stop_warnings(key: Key) -> Iterator[str]:
    """The warning about a key of a frontend whose Stop would end nothing."""
    named = [source.name.lower() for source in key.user_from if key.user is None and source.kind in ("header", "jwt")]
    if key.on_disconnect != "finish" or not (named or key.tool_activity == "rich"):
        return
    known = {frontend for name in named for begin, frontend in FRONTENDS.items() if name.startswith(begin)}
    if key.tool_activity == "rich":
        known.add("Open WebUI")
    where = " and ".join(sorted(known)) or "its frontend"
    yield (
        f'key {key.name}: with `on_disconnect = "finish"` Stop in {where} ends no answer: '
        "the gateway is told of it by nothing but a closed connection. Leave it out for this key."
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
