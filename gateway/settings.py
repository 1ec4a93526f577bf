"""The settings of the gateway: one frozen tree of Structs. `gateway.configuration` reads it; performs no I/O."""

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
# The scope in which earlier versions kept the people of `letta-gateway demo`; they are those of DEFAULT_KEY_NAME now.
DEMO_SCOPE = "demo"
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
    """One place of a request that may name the user: `UserSource("header:X-OpenWebUI-User-Id")`.

    The places are `header:NAME`, `jwt:NAME` (a header with a signed token), `body:user` and
    `body:safety_identifier`. Raises ValueError for anything else.
    """

    __slots__ = ("kind", "name")

    def __init__(self, text: str) -> None:
        kind, _, name = text.partition(":")
        if not (kind in ("header", "jwt") and name) and text not in ("body:user", "body:safety_identifier"):
            raise ValueError("Expected `header:NAME`, `jwt:NAME`, `body:user` or `body:safety_identifier`")
        self.kind = kind
        self.name = name.lower()


# The headers that a connection of Open WebUI must send, so that a request says its kind and its place in the chat;
# Open WebUI fills in the braces.
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
    """The address to listen on; without keys only a loopback one."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one."""
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
    shutdown_seconds: Annotated[float, Meta(ge=0)] = 5.0
    """The time for which answers under way may go on after SIGTERM."""
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


class AgentType(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of agent: `/v1/models` lists it, and the `model` of a request names it."""

    id: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\s,]+\Z")]
    """The name by which the `model` of a request means it."""
    name: str | None = None
    """The name shown to people; absent: the id."""
    description: str = ""
    """The description shown to people."""
    agent: Annotated[str, Meta(pattern="^agent-")] | None = None
    """The id of an agent that exists: everyone who may use this type shares it."""
    model: str | None = None
    """Letta's model handle; absent (App Server): the first that Letta lists."""
    embedding: str | None = None
    """Letta's embedding handle; absent: Letta's default."""
    system: str | None = None
    """The system prompt; absent: Letta's own."""
    system_file: str | None = None
    """A file that holds the system prompt; its path is relative to the configuration file."""
    tools: tuple[str, ...] = ()
    """The names of Letta tools that its agents have, beside those that every agent has."""
    memory: dict[str, str] | UnsetType = UNSET
    """The first values of the memory blocks by label; absent: `persona` and `human`."""
    reasoning: Reasoning = "think_tags"
    """The way in which thoughts are shown."""
    client_tools: ClientToolUse = "forward"
    """`forward`: agents may call the tools that a request brings; `ignore`: they may not."""
    approvals: Approvals | None = None
    """`ask`: the person is asked in the chat about a tool that needs approval; `deny`: such a tool is denied.

    Absent: `deny` for a shared agent, else `ask`.
    """
    conversations: Literal["chat", "single"] = "chat"
    """`chat`: a conversation for each chat; `single`: one endless thread for each user."""

    @property
    def title(self) -> str:
        return self.name or self.id

    @property
    def asks(self) -> bool:
        """True if people are asked to approve what their agent may not do alone."""
        return (self.approvals or ("deny" if self.agent else "ask")) == "ask"

    @property
    def blocks(self) -> dict[str, str]:
        return DEFAULT_MEMORY if self.memory is UNSET else self.memory


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key of callers: the agent types that it opens, and the way in which its requests name their user."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    """The key's name in logs and in the output of `check`."""
    key: Secret | None = None
    """The bearer key itself."""
    user: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    """The one user to whom the key is bound, whatever a request says; absent: requests name their user."""
    user_from: Annotated[tuple[UserSource, ...], Meta(min_length=1)] = BODY_SOURCES
    """The places where requests name their user, in order; the first source present decides."""
    user_means: Literal["person", "conversation", "ignored"] = "person"
    """The meaning of the named user: a person, a chat, or nobody."""
    jwt_secret: Secret | None = None
    """The secret with which the tokens of a `jwt:` source are signed (HS256)."""
    default_user: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    """The user of a request that names nobody; absent: such a request is refused."""
    models: tuple[str, ...] | UnsetType = UNSET
    """The agent types this key may use; absent: all."""
    scope: Annotated[str, Meta(min_length=1)] | None = None
    """The name of a group of keys that share users; absent: the key's name."""
    reasoning: Reasoning | None = None
    """The way in which thoughts are shown; absent: the agent type's own."""
    client_tools: ClientToolUse | None = None
    """`forward`: agents may call tools that its requests bring; `ignore`: they may not; absent: as the type says."""
    tool_activity: ToolActivity = "thoughts"
    """The way in which tools are shown; `rich` is for Open WebUI, and as `thoughts` to any other client."""
    origins: tuple[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]*://[^/\s]+\Z")], ...] = ()
    """The origins of web pages, and programs made of them, that may use this key from a browser (CORS)."""
    history: Literal["full", "new"] | None = None
    """`full`: requests tell the whole chat; `new`: only new messages; absent: as chat id and messages look."""
    task_header: HeaderName = "x-task"
    """The header in which a request names the background task that it is; present and empty for a real turn."""
    message_id_header: HeaderName = "x-message-id"
    """The header in which a request names the message that will be its answer."""
    user_message_id_header: HeaderName = "x-user-message-id"
    """The header in which a request names the message that is answered."""
    parent_id_header: HeaderName = "x-parent-id"
    """The header in which a request names the answer before that; present and empty for a chat's first message."""

    @property
    def user_scope(self) -> str:
        return self.scope or self.name

    def may_use(self, agent_type: AgentType) -> bool:
        return self.models is UNSET or agent_type.id in self.models


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of the gateway."""

    server: Server = Server()
    letta: Letta = Letta()
    chats: Chats = Chats()
    tasks: Tasks = Tasks()
    images: Images = Images()
    provider: Provider | None = None
    """The provider of an embedded Letta's models; absent: the offline model."""
    agent_types: Annotated[tuple[AgentType, ...], Meta(min_length=1)]
    keys: tuple[Key, ...] = ()

    @property
    def open(self) -> bool:
        """True if no key is configured: anyone who reaches the gateway may use it."""
        return not self.keys

    def former_scope(self, key: Key) -> str:
        """The scope in which an earlier version kept the people of this key; empty if there is none but the key's own.

        Only an embedded Letta has had a demo. A scope that a key has now is that key's.
        """
        shared = key.user_scope == DEFAULT_KEY_NAME and self.letta.kind == "embedded"
        return DEMO_SCOPE if shared and all(other.user_scope != DEMO_SCOPE for other in self.keys) else ""

    def types_for(self, key: Key) -> list[AgentType]:
        return [agent_type for agent_type in self.agent_types if key.may_use(agent_type)]


# Without keys the gateway is for its own machine. The name is that of the key which the environment makes,
# so that setting GATEWAY_API_KEY later leaves everyone their agents.
OPEN_KEY = Key(name=DEFAULT_KEY_NAME, user_from=(UserSource("body:user"),), default_user="me")


def is_loopback(host: str) -> bool:
    """True if `host` (a name or an address, no port) is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
