"""What a request asks for beside its messages, whichever wire it came by. Performs no I/O."""

from typing import Any

from msgspec import Struct, field

NO_ARGUMENTS = "{}"


def no_parameters() -> dict[str, Any]:
    """The JSON Schema of a tool that takes nothing."""
    return {"type": "object", "properties": {}}


class ClientTool(Struct, frozen=True):
    """A tool that the client carries out: `ClientTool("weather", "Tells the weather.", {"type": "object", …})`."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=no_parameters)
    """The JSON Schema of its arguments."""
    strict: bool = False
    """True: a call whose arguments do not match is not told to the client."""


class ClientTools(Struct, frozen=True):
    """The client's tools that the agent may call: `ClientTools((ClientTool("weather"),), required=True)`."""

    tools: tuple[ClientTool, ...] = ()
    required: bool = False
    """True: one of them must be called."""
    parallel: bool = True
    """True: several may be called at once."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.tools)


NO_TOOLS = ClientTools()


class Options(Struct, frozen=True, omit_defaults=True):
    """What the model is called with for one run, where a Letta can be told so; None is the agent's own.

    `Options(temperature=0.2, max_tokens=500)`
    """

    temperature: float | None = None
    max_tokens: int | None = None
    """The limit of one call of the model, in tokens."""
    response_format: dict[str, Any] | None = None
    """In OpenAI's words."""
    reasoning_effort: str | None = None
    """In OpenAI's words: `minimal`, `low`, `medium`, `high`, …"""


NO_OPTIONS = Options()
