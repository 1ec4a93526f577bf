"""The client's own tools, as a request brings them: their definitions, its choice, the calls it tells. Performs no I/O.

https://developers.openai.com/api/docs/guides/function-calling
"""

from typing import Any

from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import ClientTool, ClientTools, no_parameters
from gateway.wires.bodies import missing
from gateway.wires.offered_tools import ToolChoice, check_tool, check_tool_count, to_offered


class Function(Struct, frozen=True):
    """The function that a tool is: its name, and what it takes."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, frozen=True):
    type: str = "function"
    function: Function | None = None


class CalledFunction(Struct, frozen=True):
    name: str = ""
    arguments: str = ""


class ToolCall(Struct, frozen=True):
    """A call that an answer made, as the client tells it again."""

    id: str = ""
    type: str = "function"
    function: CalledFunction = CalledFunction()


def to_client_tools(tools: list[Tool] | None, choice: Any, parallel: bool | None) -> ClientTools:
    """`tools`, `tool_choice` and `parallel_tool_calls`. Raises InvalidRequest for what no agent can be given."""
    check_tool_count(tools or ())
    offered = [(_to_client_tool(tool, f"tools[{i}]"), f"tools[{i}].function") for i, tool in enumerate(tools or ())]
    return to_offered(offered, _to_choice(choice), parallel is not False)


def _to_client_tool(tool: Tool, place: str) -> ClientTool:
    if tool.type != "function":
        raise InvalidRequest(
            f"`{place}.type`: this gateway takes tools of the type `function` only.", place, "unsupported_parameter"
        )
    function = tool.function
    if function is None:
        raise missing(f"{place}.function")
    parameters = function.parameters or no_parameters()
    offered = ClientTool(function.name, function.description or "", parameters, bool(function.strict))
    check_tool(offered, f"{place}.function")
    return offered


def _to_choice(choice: Any) -> ToolChoice | None:
    match choice:
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice(frozenset())
        case "required":
            return ToolChoice(required=True)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice(frozenset({name}), required=True)
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(allowed), **more}}:
            names = frozenset(name for one in allowed if isinstance(name := _named(one), str))
            return ToolChoice(names, required=more.get("mode") == "required")
    return None


def _named(allowed: Any) -> Any:
    match allowed:
        case {"function": {"name": name}}:
            return name
    return None
