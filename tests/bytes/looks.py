"""The looks in which a client may have an answer: how thoughts and tools are shown, and how the answer comes."""

from itertools import product
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from gateway.domain.look import Reasoning, ToolActivity
from gateway.settings import AgentType, Key, Secret
from tests.gateways import chat

Way = Literal["streamed", "streamed with usage", "whole"]
Tool = Literal["no tool", "a tool of the request's", "a tool of the agent's"]
WAYS: dict[Way, dict[str, Any]] = {
    "streamed": {"stream": True},
    "streamed with usage": {"stream": True, "stream_options": {"include_usage": True}},
    "whole": {},
}
# Nobody but Open WebUI is told of tools as `rich` says.
OPEN_WEBUI = {
    "X-OpenWebUI-Chat-Id": "chat-{number}",
    "X-Message-Id": "answer-{number}",
    "X-User-Message-Id": "question-{number}",
    "X-Parent-Id": "",
    "X-Task": "",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


class Look(Struct, frozen=True):
    """One way to ask for an answer, and to have it."""

    reasoning: Reasoning
    tool_activity: ToolActivity
    way: Way
    tool: Tool = "no tool"
    """Whose the tool is that the recorded run calls."""

    @property
    def name(self) -> str:
        tool = "" if self.tool == "no tool" else f", {self.tool}"
        return f"thoughts {self.reasoning}, tools {self.tool_activity}, {self.way}{tool}"

    @property
    def key(self) -> Key:
        name = f"{self.reasoning}-{self.tool_activity}"
        return Key(name=name, key=Secret(name), reasoning=self.reasoning, tool_activity=self.tool_activity)

    def headers(self, number: int) -> dict[str, str]:
        """Those of the request; `number` tells its chat from others."""
        told = OPEN_WEBUI if self.tool_activity == "rich" else {}
        filled = {name: value.format(number=number) for name, value in told.items()}
        return {"authorization": f"Bearer {self.key.name}", **filled}

    def body(self, called: str) -> dict[str, Any]:
        """That of the request, where the recorded run calls the tool `called`."""
        body = chat(**WAYS[self.way])
        if self.tool == "a tool of the request's":
            body["tools"] = [{"type": "function", "function": {"name": called, "parameters": SCHEMA}}]
        return body | ({"model": "tutor-with-tool"} if self.tool == "a tool of the agent's" else {})


def agent_types(called: str) -> tuple[AgentType, ...]:
    """Those of the gateway: one that may use the tool `called`, and one that may not."""
    tutor = AgentType(id="tutor", agent="agent-0", approvals="ask")
    return tutor, msgspec.structs.replace(tutor, id="tutor-with-tool", tools=(called,))


def keys() -> tuple[Key, ...]:
    """Those of the gateway: one for each way to show thoughts and tools."""
    return tuple({look.key.name: look.key for look in looks()}.values())


def looks(*tools: Tool) -> list[Look]:
    """All there are, with the tool that is called being of each of these."""
    shown = product(get_args(Reasoning), get_args(ToolActivity), get_args(Way))
    return [
        Look(reasoning, tool_activity, way, tool)
        for tool, (reasoning, tool_activity, way) in product(("no tool", *tools), [*shown])
    ]
