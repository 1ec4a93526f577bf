"""What a V1 server and Letta Cloud answer, as far as it is needed. Performs no I/O."""

from typing import Any

from msgspec import Struct


class NamedObject(Struct, frozen=True):
    id: str
    name: str | None = None


class AgentBody(Struct, frozen=True):
    """The parts of an agent that are needed once, when its template changes or it is deleted."""

    blocks: tuple[NamedObject, ...] = ()
    tools: tuple[NamedObject, ...] = ()


class AgentSettings(Struct, frozen=True):
    """Of an agent: what its model is called with."""

    model_settings: dict[str, Any] | None = None
    model: str | None = None


class ModelHandle(Struct, frozen=True):
    handle: str | None = None
