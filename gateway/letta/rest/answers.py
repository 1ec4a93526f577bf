"""The answers of a V1 server and of Letta Cloud, as far as they are needed. Performs no I/O."""

from typing import Any, TypeVar

from msgspec import Struct

from gateway.domain.errors import Refused
from gateway.domain.events import Stop
from gateway.domain.texts.halves import UNREADABLE, decode
from gateway.letta.stream_messages import to_stop

T = TypeVar("T")


class NamedObject(Struct, frozen=True):
    """A tool, a memory block or a run, as far as it is told from others."""

    id: str
    name: str | None = None


class RunState(Struct, frozen=True):
    """A run, as far as it is told if it has ended, and how: `RunState("run-1", "completed", "end_turn")`."""

    id: str
    status: str = ""
    stop_reason: str | None = None

    @property
    def stop(self) -> Stop | None:
        """Its end; None while it is under way."""
        if self.status in ("created", "running"):
            return None
        return to_stop(self.stop_reason or ("end_turn" if self.status == "completed" else "error"))


class AgentBody(Struct, frozen=True):
    """The parts of an agent that are needed once, when its template changes or it is deleted."""

    blocks: tuple[NamedObject, ...] = ()
    tools: tuple[NamedObject, ...] = ()


class AgentSettings(Struct, frozen=True):
    """The settings that an agent's model is called with."""

    model_settings: dict[str, Any] | None = None
    model: str | None = None


class ModelHandle(Struct, frozen=True):
    """A model, as far as it is named: `ModelHandle("openai/gpt-4.1")`."""

    handle: str | None = None


def decode_answer(content: bytes, kind: type[T]) -> T:
    """A body as one of these Structs, or a list of them. Raises Refused."""
    try:
        return decode(content, kind)
    except UNREADABLE as error:
        raise Refused("an answer of an unknown shape") from error
