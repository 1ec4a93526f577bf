"""What the gateway is told: one frozen tree of Structs. `gateway.configuration` reads it; performs no I/O."""

import ipaddress
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.domain.look import Reasoning, ToolActivity

Seconds = Annotated[float, Meta(gt=0)]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+\Z")]
ClientToolUse = Literal["forward", "ignore"]
Approvals = Literal["ask", "deny"]
UpstreamKind = Literal["rest", "app-server", "embedded"]
ProviderId = Literal["openai-compatible", "openai", "anthropic", "openrouter", "ollama"]
DEFAULT_ADDRESSES: dict[UpstreamKind, str] = {
    "rest": "http://127.0.0.1:8283",
    "app-server": "ws://127.0.0.1:4500",
    "embedded": "",
}

DEFAULT_MEMORY = {
    "persona": "I remember the person I talk to, and what matters to them.",
    "human": "What I know about the person I talk to:",
}
DEFAULT_KEY_NAME = "default"
# The model that answers background tasks and nothing else; no agent type can have its name.
TASK_MODEL = "task"


class Secret:
    """A value that is used and never shown: its `repr` and `str` are `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class UserSource:
    """One place of a request that may name the user.

    `header:NAME`, `jwt:NAME` (a header with a signed token), `body:user` or `body:safety_identifier`. Raises
    ValueError for anything else.
    """

    __slots__ = ("kind", "name")

    def __init__(self, text: str) -> None:
        kind, _, name = text.partition(":")
        if not (kind in ("header", "jwt") and name) and text not in ("body:user", "body:safety_identifier"):
            raise ValueError("Expected `header:NAME`, `jwt:NAME`, `body:user` or `body:safety_identifier`")
        self.kind = kind
        self.name = name.lower()


# What an Open WebUI connection is to send, so that a request says what it is and where it belongs; it fills in the
# braces.
OPEN_WEBUI_HEADERS = {
    "X-Task": "{{TASK}}",
    "X-Message-Id": "{{MESSAGE_ID}}",
    "X-User-Message-Id": "{{USER_MESSAGE_ID}}",
    "X-Parent-Id": "{{USER_MESSAGE_PARENT_ID}}",
}
BODY_SOURCES = (UserSource("body:user"), UserSource("body:safety_identifier"))


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway listens and how long it waits."""

    host: str = "127.0.0.1"
    """Address to listen on; without keys only a loopback one."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one."""
    ping_seconds: Seconds = 10.0
    """A comment breaks every silence of this length."""
    first_event_seconds: Seconds = 0.9
    """For so long the first event is awaited, so that an early failure is an HTTP status."""
    silence_seconds: Seconds = 300.0
    """Nothing but pings for so long: the run is cancelled and the answer is a 504."""
    max_body_mb: Annotated[int, Meta(ge=1, le=1024)] = 32
    """The largest request body, in MiB, decoded if it comes compressed; a larger one is a 413."""
    max_connections: Annotated[int, Meta(ge=1)] = 5000
    """Connections of clients at one time; one more is a 503."""
    max_streams: Annotated[int, Meta(ge=1)] = 2000
    """Chat completions under way at one time, streamed or not; one more is a 503."""
    shutdown_seconds: Annotated[float, Meta(ge=0)] = 5.0
    """How long answers under way may go on after SIGTERM."""
    chat_page: bool = False
    """Whether `/` is a page to chat on; else it says how to connect."""


class Letta(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which Letta stands behind the gateway."""

    upstream: UpstreamKind | None = None
    """`rest`: Letta Cloud and V1 servers; `app-server`; `embedded`: an App Server of the gateway's own."""
    base_url: Annotated[str, Meta(pattern="^(https?|wss?)://.")] | None = None
    """Where Letta answers; absent: the address of `DEFAULT_ADDRESSES`."""
    api_key: Secret | None = None
    """Letta's key, if it asks for one."""
    state: str | None = None
    """Embedded: the directory of agents, memory and log; absent: the user's data directory."""
    request_seconds: Seconds = 30.0
    """Limit of every request to Letta but a run."""
    ping_seconds: Seconds = 20.0
    """Interval of pings; no sign of life for three of them is a dead upstream."""
    settle_seconds: Seconds = 0.5
    """Distance of the two equal listings that settle which of several new agents stays."""
    max_connections: Annotated[int, Meta(ge=1)] = 10_000
    """REST: connections to Letta at one time; every stream holds one."""

    @property
    def kind(self) -> UpstreamKind:
        """Which Letta is meant: the named one, else what the address says, else the gateway's own."""
        if self.upstream or not self.base_url:
            return self.upstream or "embedded"
        return "app-server" if self.base_url.startswith("ws") else "rest"

    @property
    def address(self) -> str:
        """Where Letta answers; empty where the gateway starts it."""
        return self.base_url or DEFAULT_ADDRESSES[self.kind]


class Chats(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How chats are kept, and what becomes of requests that come twice or at the same time."""

    queue_length: Annotated[int, Meta(ge=0)] = 20
    """So many turns of one chat may wait for the one under way; one more is a 429."""
    queue_seconds: Seconds = 120.0
    """For so long a turn waits for those before it, or for a run that Letta has under way; then it is a 429."""
    grace_seconds: Annotated[float, Meta(ge=0)] = 1.0
    """A run whose client has left goes on for so long, for the client may send its request again."""
    tool_wait_seconds: Seconds = 600.0
    """For so long a turn waits for the answers to its calls of the client's tools; an App Server's, at most 290 s."""
    resend_seconds: Annotated[float, Meta(ge=0)] = 120.0
    """For so long a finished answer is kept for a request that is sent again."""
    temporary_ttl: Seconds = 3600.0
    """Conversations of temporary chats are deleted after so many seconds without a turn."""
    scratch_days: Annotated[float, Meta(gt=0)] = 7.0
    """Conversations of chats without an id, and those replaced by others, are deleted after so many days."""


class Tasks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who answers the background requests of frontends (titles, tags, …), which no agent ever sees."""

    answer: Literal["local", "model", "off"] = "local"
    """`local`: the gateway, without a model; `model`: a plain model; `off`: an empty answer in the right shape."""
    base_url: Annotated[str, Meta(pattern="^https?://.")] = "https://api.openai.com/v1"
    """Where the plain model answers, in OpenAI's words."""
    api_key: Secret | None = None
    """Its key, if it asks for one."""
    model: str | None = None
    """Its name."""
    list: bool = True
    """Whether `/v1/models` lists the model `task`, for clients that can be pointed at one."""


class Images(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pictures requests may show."""

    max_mb: Annotated[int, Meta(ge=1, le=100)] = 5
    """The largest picture, in MiB; a larger one is a 400."""
    fetch: bool = False
    """Whether pictures that are shown by their addresses (`https://…`) are fetched, from the public internet only."""


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose models an embedded Letta uses, in the App Server's words."""

    id: ProviderId
    """`openai-compatible`, `openai`, `anthropic`, `openrouter` or `ollama`."""
    base_url: Annotated[str, Meta(pattern="^https?://.")] | None = None
    """Where the models answer."""
    api_key: Secret | None = None
    """The provider's key."""
    vision: bool | None = None
    """`openai-compatible`: whether its models see pictures; absent: as the endpoint says of each."""


class AgentType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of agent: what `/v1/models` lists and `model` names."""

    id: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\s,]+\Z")]
    """What `model` names."""
    name: str | None = None
    """Shown to people; absent: the id."""
    description: str = ""
    """Shown to people."""
    agent: Annotated[str, Meta(pattern="^agent-")] | None = None
    """An agent that exists: everyone who may use this type shares it."""
    model: str | None = None
    """Letta's model handle; absent (App Server): the first that Letta lists."""
    embedding: str | None = None
    """Letta's embedding handle; absent: Letta's default."""
    system: str | None = None
    """The system prompt; absent: Letta's own."""
    system_file: str | None = None
    """A file that holds it, relative to the configuration file."""
    tools: tuple[str, ...] = ()
    """Letta tools by name, beside those every agent has."""
    memory: dict[str, str] | UnsetType = UNSET
    """First values of the memory blocks by label; absent: `persona` and `human`."""
    reasoning: Reasoning = "think_tags"
    """How thoughts are shown."""
    client_tools: ClientToolUse = "forward"
    """Whether agents may call the tools that a request brings."""
    approvals: Approvals | None = None
    """Whether a tool that needs approval is asked about in the chat; absent: `deny` for a shared agent, else `ask`."""
    conversations: Literal["chat", "single"] = "chat"
    """`chat`: a conversation for each chat; `single`: one endless thread for each user."""

    @property
    def title(self) -> str:
        return self.name or self.id

    @property
    def asks(self) -> bool:
        """Whether people are asked to approve what their agent may not do alone."""
        return (self.approvals or ("deny" if self.agent else "ask")) == "ask"

    @property
    def blocks(self) -> dict[str, str]:
        return DEFAULT_MEMORY if self.memory is UNSET else self.memory


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A caller: what its key opens, and how its requests name their user."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    """Told in logs and by `check`."""
    key: Secret | None = None
    """The bearer key itself."""
    user: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    """Bound: whatever the request says, this is who asks."""
    user_from: Annotated[tuple[UserSource, ...], Meta(min_length=1)] = BODY_SOURCES
    """Where requests name their user, in order; the first source present decides."""
    user_means: Literal["person", "conversation", "ignored"] = "person"
    """What the named user is: a person, a chat, or nobody."""
    jwt_secret: Secret | None = None
    """What the tokens of a `jwt:` source are signed with (HS256)."""
    default_user: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    """Who asks when a request names nobody; absent: such a request is refused."""
    models: tuple[str, ...] | UnsetType = UNSET
    """The agent types this key may use; absent: all."""
    scope: Annotated[str, Meta(min_length=1)] | None = None
    """Keys of one scope share users; absent: the key's name."""
    reasoning: Reasoning | None = None
    """How thoughts are shown, before the agent type's own."""
    client_tools: ClientToolUse | None = None
    """Whether agents may call the tools that its requests bring, before the agent type's own."""
    tool_activity: ToolActivity = "thoughts"
    """How tools are shown; `rich` is for Open WebUI, and as `thoughts` to any other client."""
    origins: tuple[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]*://[^/\s]+\Z")], ...] = ()
    """Web pages, and programs made of them, that may use this key from a browser (CORS)."""
    history: Literal["full", "new"] | None = None
    """Whether requests tell the whole chat or what is new; absent: as their chat id and their messages look."""
    task_header: HeaderName = "x-task"
    """Where a request names the background task that it is; present and empty for a real turn."""
    message_id_header: HeaderName = "x-message-id"
    """Where a request names the message that will be its answer."""
    user_message_id_header: HeaderName = "x-user-message-id"
    """Where it names the message that is answered."""
    parent_id_header: HeaderName = "x-parent-id"
    """Where it names the answer before that; present and empty for the first message of a chat."""

    @property
    def user_scope(self) -> str:
        return self.scope or self.name

    def may_use(self, agent_type: AgentType) -> bool:
        return self.models is UNSET or agent_type.id in self.models


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything the gateway is told."""

    server: Server = Server()
    letta: Letta = Letta()
    chats: Chats = Chats()
    tasks: Tasks = Tasks()
    images: Images = Images()
    provider: Provider | None = None
    """Of an embedded Letta; absent: the offline model."""
    agent_types: Annotated[tuple[AgentType, ...], Meta(min_length=1)]
    keys: tuple[Key, ...] = ()

    @property
    def open(self) -> bool:
        """Whether anyone who reaches the gateway may use it: no key is configured."""
        return not self.keys

    def types_for(self, key: Key) -> list[AgentType]:
        return [agent_type for agent_type in self.agent_types if key.may_use(agent_type)]


# Without keys the gateway is for its own machine. The name is that of the key which the environment makes,
# so that setting GATEWAY_API_KEY later leaves everyone their agents.
OPEN_KEY = Key(name=DEFAULT_KEY_NAME, user_from=(UserSource("body:user"),), default_user="me")


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, no port) is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
