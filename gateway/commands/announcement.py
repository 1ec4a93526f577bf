"""The words of `serve` and `demo` about themselves: which Letta, models, agent types and keys, and the address."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from urllib.parse import urlsplit, urlunsplit

from gateway.configuration import MODEL_VARIABLE
from gateway.domain import errors
from gateway.letta.embedded.directory import state_of
from gateway.letta.upstream import Upstream
from gateway.settings import Provider, Settings
from gateway.turns.people.scopes import find_left_out

# A Letta that has not answered by then is not waited for: the gateway serves without it, too.
LIST_SECONDS = 3.0
# The most names that a line lists.
MAX_NAMES = 12


def before(settings: Settings) -> Iterator[str]:
    """The lines that are true before anything has begun: the start of a Letta of the gateway's own takes a moment."""
    match settings.letta.kind:
        case "embedded":
            yield f"Letta: one of the gateway's own; agents and memory are kept in {state_of(settings.letta.state)}"
            yield f"Models: {_provider(settings.provider)}"
        case "app-server":
            yield f"Letta: an App Server at {plain_address(settings.letta.address)}"
        case "rest":
            yield f"Letta: a V1 server or Letta Cloud at {plain_address(settings.letta.address)}"
    if settings.shared.url:
        address, prefix = plain_address(settings.shared.url.reveal()), settings.shared.prefix
        yield f"Shared: with all gateways that have the prefix `{prefix}` in the Redis at {address}"


async def model_line(settings: Settings, upstream: Upstream) -> str:
    """The line about the models that new agents have: `Model: openai/gpt-4.1, the first of 95 (another: …)`."""
    named = sorted({each.model for each in settings.agent_types if each.model})
    unnamed = [each for each in settings.agent_types if not each.model and not each.agent]
    if settings.letta.kind == "rest" or not (named or unnamed):
        return f"Model: {listed(named)}" if named else ""
    try:
        async with asyncio.timeout(LIST_SECONDS):
            models = await upstream.list_models()
    except (errors.UpstreamError, TimeoutError):
        return "Model: not known yet, for Letta does not answer"
    if not unnamed:
        lacking = [each for each in named if each not in models]
        return f"Model: {listed(named)}" + (f" (Letta lists no {listed(lacking)})" if lacking else "")
    if not models:
        return "Model: none, for Letta has no model: is a provider connected, and does it answer? (`check` tells)"
    others = f" of {len(models)}" if len(models) > 1 else ""
    line = f"Model: {models[0]}, the first{others} (another: --model HANDLE, or {MODEL_VARIABLE}; `check` lists them)"
    return f"{line}; and {listed(named)}" if named else line


def after(settings: Settings, address: str) -> Iterator[str]:
    """The lines of a gateway that serves at `address`."""
    yield f"Agent types: {listed(each.id for each in settings.agent_types)}"
    keys = listed(key.name for key in settings.keys)
    yield f"Keys: {keys}" if keys else "Keys: none, so it answers this machine only"
    if settings.server.chat_page:
        yield f"Page to chat on: {address}/"
    else:
        yield f"Page to chat on: none (--chat-page adds one); {address}/ says how to connect"
    yield f"Serving at {address}/v1 (Ctrl+C ends it)"


async def left_out(settings: Settings, upstream: Upstream) -> AsyncIterator[str]:
    """The warnings about people whom no key reaches any more; none where Letta does not answer."""
    try:
        async with asyncio.timeout(LIST_SECONDS):
            found = await find_left_out(upstream, settings)
    except (errors.UpstreamError, TimeoutError):
        return
    for scope, count in sorted(found.items()):
        agents = "an agent" if count == 1 else f"{count} agents or more"
        yield (
            f"Letta has {agents} of people in the scope `{scope}`, which no key has: with the keys that there are they "
            "are strangers, and begin with new agents. To keep them, add "
            f'`scope = "{scope}"` to the key whose people they are.'
        )


def waiting(answers: int, seconds: float) -> str:
    """The words of a gateway that was told to end."""
    if not answers:
        return "Ending."
    them, have = ("An answer is", "has") if answers == 1 else (f"{answers} answers are", "have")
    return (
        f"Ending: nothing new is taken. {them} under way, and {have} {seconds:g} s to come to an end "
        "(Ctrl+C, or a second SIGTERM, ends it at once)."
    )


def ended(answers: int) -> str:
    """The words of a gateway that has waited long enough."""
    them, are = ("an answer was", "is") if answers == 1 else (f"{answers} answers were", "are")
    return f"Ending: {them} still under way, and {are} ended with an error."


def listed(names: Iterable[str]) -> str:
    """Names in a line, and how many more there are: `a, b and 3 more`."""
    every = list(names)
    more = f" and {len(every) - MAX_NAMES} more" if len(every) > MAX_NAMES else ""
    return ", ".join(every[:MAX_NAMES]) + more


def plain_address(address: str) -> str:
    """An address without what may be a secret in it: `https://user:password@host/v1?key=1` → `https://host/v1`."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _provider(provider: Provider | None) -> str:
    if provider:
        return f"of {provider.id}" + (f" at {plain_address(provider.base_url)}" if provider.base_url else "")
    return (
        "the offline model, which can only repeat and remember "
        "(set OPENAI_API_KEY, ANTHROPIC_API_KEY, OPENROUTER_API_KEY, OLLAMA_BASE_URL or OPENAI_BASE_URL for a real one)"
    )
