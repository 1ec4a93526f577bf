"""What the App Server answers to requests, as far as it is read. Performs no I/O."""

from msgspec import Struct

from gateway.letta.app_server.transcript import Listed
from gateway.letta.upstream import Conversation


class Answer(Struct, frozen=True):
    """What every answer tells; those with a body are subclasses."""

    success: bool = True
    accepted: bool = True
    disposition: str | None = None
    error: str | None = None


class KeptAgent(Struct, frozen=True):
    id: str
    tags: list[str] = []
    model: str | None = None


class Agents(Answer, frozen=True):
    agents: list[KeptAgent] = []


class OneAgent(Answer, frozen=True):
    agent: KeptAgent | None = None


class Conversations(Answer, frozen=True):
    conversations: list[Conversation] = []


class OneConversation(Answer, frozen=True):
    conversation: Conversation | None = None


class Messages(Answer, frozen=True):
    messages: list[Listed] = []


class File(Answer, frozen=True):
    content: str | None = None


class Model(Struct, frozen=True):
    handle: str
    label: str | None = None


class Models(Answer, frozen=True):
    entries: list[Model] = []


class Connected(Struct, frozen=True):
    is_connected: bool = False


class KnownProvider(Struct, frozen=True):
    id: str
    connected: Connected = Connected()


class Providers(Answer, frozen=True):
    providers: list[KnownProvider] = []


class Info(Answer, frozen=True):
    protocol_version: int = 0
