"""The keys of callers. Performs no I/O."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.domain.look import ApprovalForm, Reasoning, ToolActivity
from gateway.settings.agent_types import AgentType, ClientToolUse
from gateway.settings.values import HeaderName, Secret, UserSource, digest_of

DEFAULT_KEY_NAME = "default"
# The headers that a connection of Open WebUI must send, so that a request says its kind and its place in the chat;
# Open WebUI fills in the braces.
OPEN_WEBUI_HEADERS = {
    "X-Task": "{{TASK}}",
    "X-Message-Id": "{{MESSAGE_ID}}",
    "X-User-Message-Id": "{{USER_MESSAGE_ID}}",
    "X-Parent-Id": "{{USER_MESSAGE_PARENT_ID}}",
}
BODY_SOURCES = (UserSource("body:user"), UserSource("body:safety_identifier"))


class HashedKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of a key, of which only the digest is known: nobody can use a configuration that holds it."""

    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}\\Z")]
    """The SHA-256 of the value, in 64 hexadecimal digits; `letta-gateway key new` makes both."""
    expires: datetime | None = None
    """The moment from which on this value is refused; absent: when the key expires."""


class Allowance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most that somebody may ask for; what is absent is not limited."""

    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    """The messages a minute: as many at once, then one whenever a minute's share of time has passed."""
    streams: Annotated[int, Meta(ge=1)] | None = None
    """The answers under way at one time, streamed or not."""
    tokens_per_day: Annotated[int, Meta(ge=1)] | None = None
    """The tokens of a day (UTC)."""
    tokens_per_month: Annotated[int, Meta(ge=1)] | None = None
    """The tokens of a calendar month (UTC)."""

    @property
    def is_budget(self) -> bool:
        """True: it limits tokens, which are counted over days and months."""
        return self.tokens_per_day is not None or self.tokens_per_month is not None


UNLIMITED = Allowance()


class Key(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key of callers: the agent types that it opens, and the way in which its requests name their user."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    """The key's name in logs and in the output of `check`."""
    key: Secret | None = None
    """The bearer key itself; absent: `sha256` says which values are right."""
    sha256: tuple[HashedKey, ...] = ()
    """The SHA-256 of each value that is right beside `key`: `["9f86…", {hash = "0b14…", expires = 2027-01-01}]`."""
    expires: datetime | None = None
    """The moment from which on the key is refused; a day begins at 00:00 UTC."""
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
    """The way in which tools are shown; `rich` is for Open WebUI, and as `thoughts` to any other client.

    `mcp_calls` is for responses, and as `thoughts` in chat completions.
    """
    approval_form: ApprovalForm = "chat"
    """The way in which a person is asked for an approval: in the chat, or of responses by `items` of their own."""
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    """The fate of an answer whose client has left: it is cancelled, or it goes on and is kept for who asks again."""
    origins: tuple[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]*://[^/\s]+\Z")], ...] = ()
    """The origins of web pages, and programs made of them, that may use this key from a browser (CORS)."""
    compress: bool = False
    """True: its answers are compressed, by zstd or gzip, for clients that accept one of them."""
    metrics: bool = False
    """True: the key reads `/metrics`, which tells of all keys' requests."""
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

    limits: Allowance = UNLIMITED
    """The most that all users of the key may ask for together."""
    user_limits: Allowance = UNLIMITED
    """The most that each user of the key may ask for."""

    @property
    def is_limited(self) -> bool:
        return self.limits != UNLIMITED or self.user_limits != UNLIMITED

    @property
    def has_budget(self) -> bool:
        return self.limits.is_budget or self.user_limits.is_budget

    @property
    def digests(self) -> dict[str, datetime | None]:
        """The SHA-256 of every value that is right, and the moment from which on it is refused."""
        own = {digest_of(self.key.reveal().encode()): self.expires} if self.key else {}
        return own | {each.hash: min(filter(None, (each.expires, self.expires)), default=None) for each in self.sha256}

    @property
    def user_scope(self) -> str:
        return self.scope or self.name

    def person_of(self, user: str) -> str:
        """The id of the person who asks where requests name this user."""
        return self.user or (user if self.user_means == "person" else self.name)

    def may_use(self, agent_type: AgentType) -> bool:
        return self.models is UNSET or agent_type.id in self.models


# Without keys the gateway is for its own machine. The name is that of the key which the environment makes,
# so that setting GATEWAY_API_KEY later leaves everyone their agents.
OPEN_KEY = Key(name=DEFAULT_KEY_NAME, user_from=(UserSource("body:user"),), default_user="me", metrics=True)
