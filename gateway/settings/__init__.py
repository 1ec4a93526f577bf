"""The settings of the gateway, as all rooms import them. `gateway.configuration` reads them."""

from gateway.settings.agent_types import DEFAULT_MEMORY, TASK_MODEL, AgentType, Approvals, ClientToolUse
from gateway.settings.keys import (
    BODY_SOURCES,
    DEFAULT_KEY_NAME,
    OPEN_KEY,
    OPEN_WEBUI_HEADERS,
    Allowance,
    Key,
)
from gateway.settings.tree import (
    DEFAULT_ADDRESSES,
    DEMO_SCOPE,
    Chats,
    Images,
    Letta,
    Provider,
    ProviderId,
    Server,
    Settings,
    Tasks,
    UpstreamKind,
)
from gateway.settings.values import HeaderName, Seconds, Secret, UserSource, is_loopback

__all__ = [
    "BODY_SOURCES",
    "DEFAULT_ADDRESSES",
    "DEFAULT_KEY_NAME",
    "DEFAULT_MEMORY",
    "DEMO_SCOPE",
    "OPEN_KEY",
    "OPEN_WEBUI_HEADERS",
    "TASK_MODEL",
    "AgentType",
    "Allowance",
    "Approvals",
    "Chats",
    "ClientToolUse",
    "HeaderName",
    "Images",
    "Key",
    "Letta",
    "Provider",
    "ProviderId",
    "Seconds",
    "Secret",
    "Server",
    "Settings",
    "Tasks",
    "UpstreamKind",
    "UserSource",
    "is_loopback",
]
