"""The sides that the contract is shown on: real Lettas, and stand-ins that do as the offline model does."""

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Condition
from typing import Any, Literal, Protocol

import msgspec

from gateway.letta.upstream import Upstream
from gateway.offline.request import ChatRequest
from gateway.offline.script import Script, to_script
from gateway.settings import AgentType, Chats
from tests.contract.deeds import AllowedDeed, Deed, RealDeed
from tests.gateways import TUTOR, gateway
from tests.pictures.drawn import name_of
from tests.programs import heard
from tests.servers.real_letta import RealLetta, upstream_to
from tests.servers.scripted_model import ScriptedModel

WRITER = AgentType(id="tutor", model="m/one", system="You write.", tools=("Write",))
Words = list[tuple[str, str]]
"""What is said in a chat: roles and texts."""


class Side(Protocol):
    """A Letta of some kind, whose model does what the offline model does (`gateway.offline`)."""

    kind: Literal["v1", "app-server"]
    model: str
    """The handle of its model."""
    tools: tuple[str, str]
    """Two tools of its own."""
    writer: AgentType
    """Agents that can do a deed."""

    def upstream(self) -> Upstream:
        """A way of its own to the Letta, as another process of the gateway has one; not yet started."""
        ...

    def heard(self, text: str) -> list[Words]:
        """For each run whose last message contains `text`, what its model was shown of the chat."""
        ...

    def wait_for(self, text: str) -> None:
        """Returns when a run has begun whose last message contains `text`."""
        ...

    def exchanged(self, text: str) -> Words:
        """The same of the last in which a person says `text`, with the names of calls, by commas, and their results."""
        ...

    def gateway(self, **changes: Any) -> AbstractContextManager[str]:
        """A gateway in front of it, whose agents see pictures; gives its address. For `changes` see `gateways`."""
        ...

    def deed(self, file: Path) -> Deed:
        """One that was not done yet; if it is to write a file, then this."""
        ...

    def conversations(self, tags: Iterable[str]) -> list[str]:
        """The ids of the conversations of the one agent that carries all of `tags`."""
        ...


class RealSide:
    """A real Letta, in front of the scripted model."""

    def __init__(self, letta: RealLetta, scripted: ScriptedModel) -> None:
        self.letta = letta
        self.scripted = scripted
        self.kind: Literal["v1", "app-server"] = "v1" if letta.name == "v1" else "app-server"
        self.model = letta.model
        self.tools = letta.tools
        self.writer = TUTOR if self.kind == "v1" else WRITER

    def upstream(self) -> Upstream:
        return upstream_to(self.letta)

    def heard(self, text: str) -> list[Words]:
        return self.scripted.said(text)

    def wait_for(self, text: str) -> None:
        self.scripted.wait_for(text)

    def exchanged(self, text: str) -> Words:
        return heard(self.scripted, text)

    def gateway(self, **changes: Any) -> AbstractContextManager[str]:
        return gateway(self.letta, **{"model": self.letta.seeing, **changes})

    def deed(self, file: Path) -> Deed:
        return RealDeed(self.letta, file)

    def conversations(self, tags: Iterable[str]) -> list[str]:
        (agent,) = self.letta.agents(tags)
        return self.letta.conversations(agent)


def in_front_of(letta: str, upstream: Upstream | None = None, **changes: Any) -> AbstractContextManager[str]:
    """A gateway in front of a stand-in, by its address or this way to it; quick with whoever waits or leaves."""
    changes = {"chats": Chats(grace_seconds=0.1), "first_event_seconds": 0.1, **changes}
    types = tuple(msgspec.structs.replace(type, model="m/first") for type in changes.pop("types", (TUTOR,)))
    return gateway(letta, upstream=upstream, types=types, **changes)


def shown(parts: Iterable[dict[str, Any]]) -> str:
    """The texts of a message's parts, in Letta's words, and the names of its pictures."""
    return "\n".join(part["text"] if part["type"] == "text" else _name(part.get("source", part)) for part in parts)


def _name(source: dict[str, Any]) -> str:
    kind = source.get("media_type") or source["mimeType"]
    return name_of(f"data:{kind};base64,{source['data']}")


def pieces(script: Script) -> list[str]:
    """What a model says at once, where it pauses in between; else all of it."""
    return re.findall(r"\S+\s*", script.answer) if script.pause else [script.answer]


class Heard:
    """What the model of a stand-in was shown, and what it does then."""

    def __init__(self) -> None:
        self.allowed: list[str] = []
        """The arguments of the calls that a person has allowed."""
        self._contexts: list[Words] = []
        self._asks = Condition()
        self._arguments: dict[str, str] = {}

    def script(self, context: Words) -> Script:
        """The answer of the model to a chat, or to the results of the tools that it has called last."""
        with self._asks:
            self._contexts.append(context)
            self._asks.notify_all()
        said = [{"role": role, "content": text} for role, text in context]
        request = {"model": "offline", "messages": [{"role": "system", "content": "You are one."}, *said]}
        script = to_script(msgspec.convert(request, ChatRequest))
        self._arguments |= {call.id: call.arguments for call in script.calls}
        return script

    def allow(self, *calls: str) -> None:
        """A person has allowed the calls of these ids, which the model has made last."""
        self.allowed += [self._arguments[call] for call in calls]

    def of(self, text: str) -> list[Words]:
        return [context for context in self._contexts if text in context[-1][1]]

    def wait_for(self, text: str) -> None:
        with self._asks:
            assert self._asks.wait_for(lambda: self.of(text), 30)

    def last(self, text: str) -> Words:
        """The last in which a person says `text`."""
        return [context for context in self._contexts if any(text in said for role, said in context if role == "user")][
            -1
        ]


class StandIn:
    """What all stand-ins have in common."""

    model = "m/first"
    writer = TUTOR

    def __init__(self, model: Heard) -> None:
        self._model = model

    def heard(self, text: str) -> list[Words]:
        return self._model.of(text)

    def wait_for(self, text: str) -> None:
        self._model.wait_for(text)

    def exchanged(self, text: str) -> Words:
        return self._model.last(text)

    def deed(self, file: Path) -> Deed:
        return AllowedDeed(self._model.allowed)
