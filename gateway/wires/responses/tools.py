"""The client's own tools, as a request for a response brings them. Performs no I/O.

A custom tool takes a text of any form. Agents call functions only, so it is offered as a function of one string.
https://developers.openai.com/api/docs/guides/function-calling#custom-tools
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import ClientTool, ClientTools, no_parameters
from gateway.wires.bodies import missing
from gateway.wires.offered_tools import ToolChoice, check_tool, check_tool_count, to_offered
from gateway.wires.responses.request import OfferedTool

# The one argument of a function that a custom tool is offered as.
INPUT = "input"
NAMESPACE = "namespace"
# The longest type of a tool that an error repeats.
_LONGEST_TYPE = 40


def to_offered_tools(tools: list[OfferedTool] | None, choice: Any, parallel: bool | None) -> ClientTools:
    """`tools`, `tool_choice` and `parallel_tool_calls`. Raises InvalidRequest for what no agent can be given."""
    spread = [(one, f"tools[{i}]") for i, tool in enumerate(tools or ()) if takes(tool) for one in alone(tool)]
    check_tool_count(spread)
    offered = [(_to_client_tool(tool, place), place) for tool, place in spread]
    return to_offered(offered, read_choice(choice), parallel is not False)


def takes(tool: OfferedTool) -> bool:
    """False for a tool that no agent has, and that its client says is off. Others of its kind are an error."""
    return tool.type in ("function", "custom") or not tool.is_off


def alone(tool: OfferedTool) -> list[OfferedTool]:
    """The tools that a namespace has, by the names that the agent knows them by; of any other that tool."""
    if tool.type != NAMESPACE:
        return [tool]
    return [
        one if one.name is None else msgspec.structs.replace(one, name=full_name(tool.name, one.name))
        for one in tool.tools or ()
    ]


def full_name(namespace: str | None, name: str) -> str:
    """The name that the agent knows a tool by: agents have no namespaces."""
    return name if namespace is None else f"{namespace}__{name}"


def custom_names(tools: Iterable[OfferedTool]) -> tuple[str, ...]:
    """The names of the custom tools, as the agent knows them."""
    return tuple(one.name for tool in tools for one in alone(tool) if one.type == "custom" and one.name)


def names_in_namespaces(tools: Iterable[OfferedTool]) -> dict[str, tuple[str, str]]:
    """The namespace and the name in it of each tool that has one, by the names that the agent knows them by."""
    return {
        full_name(tool.name, one.name): (tool.name, one.name)
        for tool in tools
        for one in tool.tools or ()
        if tool.type == NAMESPACE and tool.name and one.name
    }


def custom_arguments(text: str) -> str:
    """The arguments of the function that a custom tool is, which was called with `text`."""
    return msgspec.json.encode({INPUT: text}).decode()


def _to_client_tool(tool: OfferedTool, place: str) -> ClientTool:
    if tool.type not in ("function", "custom"):
        # The type is repeated only where it is a name.
        named = f": not `{tool.type}`" if tool.type.isidentifier() and len(tool.type) <= _LONGEST_TYPE else ""
        raise InvalidRequest(
            f"`{place}.type`: this gateway takes tools of the types `function` and `custom` only{named}.",
            place,
            "unsupported_parameter",
        )
    if tool.name is None:
        raise missing(f"{place}.name")
    if tool.type == "custom":
        offered = ClientTool(tool.name, _described(tool), _one_string())
    else:
        parameters = tool.parameters or no_parameters()
        offered = ClientTool(tool.name, tool.description or "", parameters, bool(tool.strict))
    check_tool(offered, place)
    return offered


def _described(tool: OfferedTool) -> str:
    """The description of a custom tool, with the grammar that its input must obey: no Letta enforces one."""
    description = tool.description or ""
    match tool.format:
        case {"type": "grammar", "syntax": str(syntax), "definition": str(definition)}:
            return f"{description}\n\nThe input must obey this {syntax} grammar:\n{definition}".strip()
    return description


def _one_string() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {INPUT: {"type": "string"}},
        "required": [INPUT],
        "additionalProperties": False,
    }


def read_choice(choice: Any) -> ToolChoice | None:
    """The choice that `tool_choice` is; None for none of its forms."""
    match choice:
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice(frozenset())
        case "required":
            return ToolChoice(required=True)
        case {"type": "function" | "custom", "name": str(name)}:
            return ToolChoice(frozenset({name}), required=True)
        case {"type": "allowed_tools", "tools": list(allowed), **more}:
            named = (one.get("name") for one in allowed if isinstance(one, dict))
            names = frozenset(name for name in named if isinstance(name, str))
            return ToolChoice(names, required=more.get("mode") == "required")
    return None
