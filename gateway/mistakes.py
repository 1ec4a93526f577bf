"""The mistakes of a configuration that one field alone does not show. Performs no I/O."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.settings import (
    DEFAULT_ADDRESSES,
    TASK_MODEL,
    AgentType,
    Key,
    Letta,
    Secret,
    Settings,
    Tasks,
    UpstreamKind,
    digest_of,
    is_loopback,
)

# The fields of an agent type that say how its agents are made.
TEMPLATE_FIELDS = ("model", "embedding", "system", "tools", "memory")
# The provider whose models an App Server does not know to see pictures or not.
BLIND_PROVIDER = "openai-compatible"

# An id tells what a guess of its secret must give: it must not be one that can be tried out.
SHORTEST_SECRET = 16
TRACES_ENDPOINT = "http://127.0.0.1:4318/v1/traces"
REDIS_ADDRESS, REDIS_TLS_ADDRESS = "redis://127.0.0.1:6379/0", "rediss://user:password@redis.example.org:6379/0"


def mistakes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every mistake that one field alone does not show, as the field and the words for it.

    `("tasks.model", "missing: expected the name of the model that answers background tasks")`
    """
    if settings.open and not is_loopback(settings.server.host):
        yield (
            "server.host",
            f"`{settings.server.host}`: expected a loopback address: without [[keys]] (or GATEWAY_API_KEY) "
            "everyone who reaches the gateway may use it",
        )
    if settings.metrics.port and settings.metrics.port == settings.server.port:
        yield "metrics.port", f"`{settings.metrics.port}`: expected another port than that of [server]"
    if settings.traces.endpoint and not _is_address(settings.traces.endpoint):
        yield "traces.endpoint", f"`{settings.traces.endpoint}`: expected an address such as `{TRACES_ENDPOINT}`"
    yield from _secret_mistakes(settings.server.id_secret)
    if settings.shared.url and not _is_redis_address(settings.shared.url.reveal()):
        # The address is not repeated: it may hold a password.
        yield "shared.url", f"expected an address such as `{REDIS_ADDRESS}` or `{REDIS_TLS_ADDRESS}`"
    if settings.server.workers != 1 and not settings.shared.url:
        yield (
            "server.workers",
            f"`{settings.server.workers}`: expected `[shared] url`, the address of a Redis: several processes must "
            "agree on whose turn it is in a chat, and on what a key may still ask for",
        )
    if settings.server.state is None and settings.letta.kind != "embedded" and not settings.shared.url:
        yield from _budget_mistakes(settings.keys)
    yield from _letta_mistakes(settings.letta)
    if settings.provider and settings.provider.id != BLIND_PROVIDER and settings.provider.vision is not None:
        yield "provider.vision", f"expected nothing: what models of `{settings.provider.id}` see, Letta knows"
    if settings.letta.kind == "rest":
        yield from _model_mistakes(settings.agent_types)
    yield from _task_mistakes(settings.tasks)
    yield from _type_mistakes(settings.agent_types)
    yield from _key_mistakes(settings.keys, [agent_type.id for agent_type in settings.agent_types])


def _is_redis_address(address: str) -> bool:
    """True for what Redis' client takes: https://redis.readthedocs.io/en/stable/connections.html"""
    try:
        url = urlsplit(address)
        _ = url.port
    except ValueError:
        return False
    number = url.path.removeprefix("/")
    return url.scheme in ("redis", "rediss") and bool(url.hostname) and (not number or number.isdecimal())


def _budget_mistakes(keys: tuple[Key, ...]) -> Iterator[tuple[str, str]]:
    """The mistakes of budgets that a restart would forget."""
    for i, key in enumerate(keys):
        if key.has_budget:
            yield (
                "server.state",
                f"missing: expected a directory to keep in what is used of the tokens of keys[{i}], `{key.name}`",
            )


SCHEMES: dict[UpstreamKind, tuple[str, ...]] = {"rest": ("http", "https"), "app-server": ("ws", "wss")}


def _secret_mistakes(secrets: tuple[Secret, ...]) -> Iterator[tuple[str, str]]:
    for i, secret in enumerate(secrets):
        if len(secret.reveal()) < SHORTEST_SECRET:
            yield f"server.id_secret[{i}]", f"expected {SHORTEST_SECRET} characters or more"


def _letta_mistakes(letta: Letta) -> Iterator[tuple[str, str]]:
    if letta.base_url is None:
        return
    if letta.kind == "embedded":
        yield "letta.base_url", f"`{letta.base_url}`: expected nothing: an embedded Letta gets an address of its own"
    elif not _is_address(letta.base_url) or letta.base_url.partition(":")[0] not in SCHEMES[letta.kind]:
        yield "letta.base_url", f"`{letta.base_url}`: expected an address such as `{DEFAULT_ADDRESSES[letta.kind]}`"


def _model_mistakes(types: tuple[AgentType, ...]) -> Iterator[tuple[str, str]]:
    for i, agent_type in enumerate(types):
        if agent_type.agent is None and not agent_type.model:
            yield (
                f"agent_types[{i}].model",
                "missing: expected a Letta model handle such as `openai/gpt-4o-mini` "
                "(for all agent types that name none: --model, or GATEWAY_MODEL in the environment)",
            )


def _task_mistakes(tasks: Tasks) -> Iterator[tuple[str, str]]:
    if not _is_address(tasks.base_url):
        yield "tasks.base_url", f"`{tasks.base_url}`: expected an address such as `{Tasks().base_url}`"
    if tasks.answer == "model" and not tasks.model:
        yield "tasks.model", "missing: expected the name of the model that answers background tasks"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, a port that is none
        return False


def _type_mistakes(types: tuple[AgentType, ...]) -> Iterator[tuple[str, str]]:
    for i, agent_type in enumerate(types):
        field = f"agent_types[{i}]"
        if agent_type.id in [other.id for other in types[:i]]:
            yield f"{field}.id", f"`{agent_type.id}`: expected a name no other agent type has"
        # The id becomes a tag of the agent in Letta, beside the gateway's own tags, which it must not equal.
        if agent_type.id == "gateway" or agent_type.id.startswith("gw-"):
            yield f"{field}.id", f"`{agent_type.id}`: expected a name other than the gateway's own tags"
        if agent_type.id == TASK_MODEL:
            yield f"{field}.id", f"`{agent_type.id}`: expected a name other than that of the model for background tasks"
        defaults = AgentType(id=agent_type.id)
        for name in TEMPLATE_FIELDS if agent_type.agent else ():
            if getattr(agent_type, name) != getattr(defaults, name):
                yield f"{field}.{name}", "expected nothing: `agent` names an agent that has its own"


def _key_mistakes(keys: tuple[Key, ...], type_ids: list[str]) -> Iterator[tuple[str, str]]:
    for i, key in enumerate(keys):
        field = f"keys[{i}]"
        if key.key is None and not key.sha256:
            yield f"{field}.key", "missing: expected the key's value, best as `${NAME}`, or `sha256`"
        yield from _token_mistakes(key, field)
        if key.name in [other.name for other in keys[:i]]:
            yield f"{field}.name", f"`{key.name}`: expected a name no other key has"
        others = {digest for other in keys[:i] for digest in other.digests}
        if key.key and digest_of(key.key.reveal().encode()) in others:
            yield f"{field}.key", "expected a value no other key has"
        for j, hashed in enumerate(key.sha256):
            if hashed.hash in others or hashed.hash in [*key.digests][: j + (key.key is not None)]:
                yield f"{field}.sha256[{j}]", "expected the digest of a value that stands nowhere else"
        for model in key.models or ():
            if model not in type_ids:
                yield f"{field}.models", f"`{model}`: expected agent types: {', '.join(type_ids)}"


# In bytes: as long as a hash of SHA-256, or longer. https://www.rfc-editor.org/rfc/rfc7518#section-3.2
SHORTEST_JWT_SECRET = 32


def _token_mistakes(key: Key, field: str) -> Iterator[tuple[str, str]]:
    kinds = {source.kind for source in key.user_from}
    if "jwt" in kinds and key.jwt_secret is None:
        yield f"{field}.jwt_secret", "missing: expected what the tokens of the `jwt:` source are signed with"
    if key.jwt_secret and "jwt" not in kinds:
        yield f"{field}.jwt_secret", "expected a `jwt:` source in `user_from` to go with it"
    if key.jwt_secret and len(key.jwt_secret.reveal().encode()) < SHORTEST_JWT_SECRET:
        yield f"{field}.jwt_secret", f"expected at least {SHORTEST_JWT_SECRET} bytes: `openssl rand -hex 32` makes them"
    if {"jwt", "header"} <= kinds:
        yield f"{field}.user_from", "expected no `header:` source beside a `jwt:` one: anybody can write a plain header"
