"""The settings of the gateway: one frozen tree of Structs. `gateway.configuration` reads it; performs no I/O."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.settings.agent_types import AgentType
from gateway.settings.keys import DEFAULT_KEY_NAME, Key
from gateway.settings.values import Seconds, Secret

UpstreamKind = Literal["rest", "app-server", "embedded"]
ProviderId = Literal["openai-compatible", "openai", "anthropic", "openrouter", "ollama"]
DEFAULT_ADDRESSES: dict[UpstreamKind, str] = {
    "rest": "http://127.0.0.1:8283",
    "app-server": "ws://127.0.0.1:4500",
    "embedded": "",
}
# The scope in which earlier versions kept the people of `letta-gateway demo`; they are those of DEFAULT_KEY_NAME now.
DEMO_SCOPE = "demo"


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway listens and how long it waits."""

    host: str = "127.0.0.1"
    """The address to listen on; without keys only a loopback one."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one."""
    workers: Annotated[int, Meta(ge=0, le=256)] = 1
    """The number of processes that share the port; 0: one for each core. More than one takes `[shared] url`."""
    ping_seconds: Seconds = 10.0
    """The length of silence in a stream after which a comment is sent, again and again."""
    first_event_seconds: Seconds = 0.9
    """The time for which the first event of an answer is awaited, so that an early failure is an HTTP status."""
    silence_seconds: Seconds = 300.0
    """The time with nothing but pings after which the run is cancelled, and the answer is a 504."""
    max_body_mb: Annotated[int, Meta(ge=1, le=1024)] = 32
    """The largest request body, in MiB, decoded if it comes compressed; a larger one is a 413."""
    max_connections: Annotated[int, Meta(ge=1)] = 5000
    """The most connections of clients at one time; one more is a 503."""
    max_streams: Annotated[int, Meta(ge=1)] = 2000
    """The most chat completions under way at one time, streamed or not; one more is a 503."""
    drain_seconds: Annotated[float, Meta(ge=0)] = 300.0
    """The time for which answers under way may go on after SIGTERM; an agent may work for minutes."""
    id_secret: tuple[Secret, ...] = ()
    """The secret that seals the ids of responses and conversations; of two the first seals, and both are read. Absent:
    the gateway's own, or one made of the address of Letta and the key to it."""
    state: str | None = None
    """The directory of the gateway's own state, which is what its users have used; absent: an embedded Letta's."""
    chat_page: bool = False
    """True: `/` is a page to chat on. False: it says how to connect."""


class Letta(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Letta behind the gateway: its kind, its address, and the limits of talking to it."""

    upstream: UpstreamKind | None = None
    """`rest`: Letta Cloud and V1 servers; `app-server`; `embedded`: an App Server of the gateway's own."""
    base_url: Annotated[str, Meta(pattern="^(https?|wss?)://.")] | None = None
    """The address at which Letta answers; absent: the one in `DEFAULT_ADDRESSES`."""
    api_key: Secret | None = None
    """Letta's key, if it asks for one."""
    state: str | None = None
    """Embedded: the directory of agents, memory and log; absent: the user's data directory."""
    request_seconds: Seconds = 30.0
    """The longest time that a request to Letta may take, unless it is a run."""
    ping_seconds: Seconds = 20.0
    """The interval of pings to Letta; if three of them bring no sign of life, Letta is taken for dead."""
    settle_seconds: Seconds = 0.5
    """The time between the two equal listings that settle which of several new agents stays; one that is alone stays
    after two fifths of it."""
    max_connections: Annotated[int, Meta(ge=1)] = 10_000
    """REST: the most connections to Letta at one time; every stream holds one."""

    @property
    def kind(self) -> UpstreamKind:
        """The kind of Letta: the one that is named, else the one that the address shows, else the gateway's own."""
        if self.upstream or not self.base_url:
            return self.upstream or "embedded"
        return "app-server" if self.base_url.startswith("ws") else "rest"

    @property
    def address(self) -> str:
        """The address at which Letta answers; empty if the gateway starts it."""
        return self.base_url or DEFAULT_ADDRESSES[self.kind]


class Chats(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for keeping chats, and for requests of a chat that come twice or at the same time."""

    queue_length: Annotated[int, Meta(ge=0)] = 20
    """The most turns of one chat that may wait for the one under way; one more is a 429."""
    queue_seconds: Seconds = 120.0
    """The time for which a turn waits for those before it, or for a run that Letta has under way; then it is a 429."""
    grace_seconds: Annotated[float, Meta(ge=0)] = 1.0
    """The time for which a run goes on whose client has left, for the client may send its request again."""
    tool_wait_seconds: Seconds = 600.0
    """The time for which a turn waits for results of the client's tools; on an App Server, at most 290 s."""
    resend_seconds: Annotated[float, Meta(ge=0)] = 120.0
    """The time for which a finished answer is kept for a request that is sent again."""
    temporary_ttl: Seconds = 3600.0
    """The seconds without a turn after which conversations of temporary chats are deleted."""
    scratch_days: Annotated[float, Meta(gt=0)] = 7.0
    """The days without a turn after which conversations of chats without an id, and replaced ones, are deleted."""


class Responses(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The responses that may be asked for again."""

    keep_seconds: Annotated[float, Meta(ge=0)] = 600.0
    """The time after its end for which a stream of a response can be gone on with."""
    background_per_hour: Annotated[int, Meta(ge=0)] = 60
    """The most responses that one person may have begun in the background within an hour; one more is a 429."""


class Tasks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answers to background requests of frontends (titles, tags, …), which no agent ever sees."""

    answer: Literal["local", "model", "off"] = "local"
    """`local`: the gateway, without a model; `model`: a plain model; `off`: an empty answer in the right shape."""
    base_url: Annotated[str, Meta(pattern="^https?://.")] = "https://api.openai.com/v1"
    """The address at which the plain model answers, by OpenAI's API."""
    api_key: Secret | None = None
    """The plain model's key, if it asks for one."""
    model: str | None = None
    """The plain model's name."""
    list: bool = True
    """True: `/v1/models` lists the model `task`, for clients that can be pointed at one."""


class Images(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pictures that requests may show."""

    max_mb: Annotated[int, Meta(ge=1, le=100)] = 5
    """The largest picture, in MiB; a larger one is a 400."""
    fetch: bool = False
    """True: pictures shown by their addresses (`https://…`) are fetched, from the public internet only."""


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The provider of the models that an embedded Letta uses, in the App Server's words."""

    id: ProviderId
    """`openai-compatible`, `openai`, `anthropic`, `openrouter` or `ollama`."""
    base_url: Annotated[str, Meta(pattern="^https?://.")] | None = None
    """The address at which the models answer."""
    api_key: Secret | None = None
    """The provider's key."""
    vision: bool | None = None
    """`openai-compatible`: True if its models see pictures; absent: as the endpoint says of each."""


LogFormat = Literal["console", "json"]


class Log(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log that `serve` writes to stderr."""

    format: LogFormat = "console"
    """`console`: lines for people; `json`: an object a line, for programs."""


class Metrics(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address at which metrics are read without a key, beside the gateway's own."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """The port to listen on; 0 takes a free one; absent: there is no such address."""


class Traces(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The place where traces of answers go."""

    endpoint: Annotated[str, Meta(pattern="^https?://.")] | None = None
    """The address of a receiver of OTLP over HTTP, `http://127.0.0.1:4318/v1/traces`; absent: there are no traces."""


class Sharing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The place where several gateways in front of one Letta agree: a Redis, or a Valkey."""

    url: Secret | None = None
    """The address, `redis://user:password@host:6379/0`, or `rediss://` for TLS; absent: this gateway runs alone."""
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]+\Z", max_length=64)] = "letta-gateway"
    """The begin of the names of all keys there: one for each deployment."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of the gateway."""

    server: Server = Server()
    letta: Letta = Letta()
    chats: Chats = Chats()
    responses: Responses = Responses()
    tasks: Tasks = Tasks()
    images: Images = Images()
    log: Log = Log()
    metrics: Metrics = Metrics()
    traces: Traces = Traces()
    shared: Sharing = Sharing()
    provider: Provider | None = None
    """The provider of an embedded Letta's models; absent: the offline model."""
    agent_types: Annotated[tuple[AgentType, ...], Meta(min_length=1)]
    keys: tuple[Key, ...] = ()

    @property
    def open(self) -> bool:
        """True if no key is configured: anyone who reaches the gateway may use it."""
        return not self.keys

    @property
    def counts(self) -> bool:
        """True if somebody may read metrics, so that there are any."""
        return self.metrics.port is not None or self.open or any(key.metrics for key in self.keys)

    def former_scope(self, key: Key) -> str:
        """The scope in which an earlier version kept the people of this key; empty if there is none but the key's own.

        Only an embedded Letta has had a demo. A scope that a key has now is that key's.
        """
        shared = key.user_scope == DEFAULT_KEY_NAME and self.letta.kind == "embedded"
        return DEMO_SCOPE if shared and all(other.user_scope != DEMO_SCOPE for other in self.keys) else ""

    def types_for(self, key: Key) -> list[AgentType]:
        return [agent_type for agent_type in self.agent_types if key.may_use(agent_type)]
