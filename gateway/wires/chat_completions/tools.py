"""The client's own tools, as a request brings them: their definitions, its choice, the calls it tells. Performs no I/O.

https://developers.openai.com/api/docs/guides/function-calling
"""

import re
from collections.abc import Collection, Container
from typing import Any

from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import ClientTool, ClientTools, no_parameters
from gateway.wires.chat_completions.limits import TOOLS, check_count, check_depth
from gateway.wires.schemas import check_expansions

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


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
    check_count(len(tools or ()), TOOLS, "tools", "tools")
    functions = [_function(tool, f"tools[{i}]") for i, tool in enumerate(tools or ())]
    names: dict[str, None] = {}
    for i, function in enumerate(functions):
        if function.name in names:
            raise InvalidRequest(f"`tools[{i}].function.name`: another tool has this name.", "tools")
        names[function.name] = None
    chosen = _chosen(choice, names)
    return ClientTools(
        tuple(_to_client_tool(function) for function in functions if function.name in chosen),
        required=_is_required(choice),
        parallel=parallel is not False,
    )


def _to_client_tool(function: Function) -> ClientTool:
    parameters = function.parameters or no_parameters()
    return ClientTool(function.name, function.description or "", parameters, bool(function.strict))


def _function(tool: Tool, param: str) -> Function:
    if tool.type != "function":
        raise InvalidRequest(
            f"`{param}.type`: this gateway takes tools of the type `function` only.", param, "unsupported_parameter"
        )
    if tool.function is None:
        raise InvalidRequest(f"`{param}.function` is missing.", f"{param}.function")
    if not _NAME.fullmatch(tool.function.name):
        raise InvalidRequest(
            f"`{param}.function.name`: expected 1 to 64 letters, digits, `_` or `-`.", f"{param}.function.name"
        )
    check_depth(tool.function.parameters, f"{param}.function.parameters")
    if tool.function.strict and tool.function.parameters:
        check_expansions(tool.function.parameters, f"{param}.function.parameters")
    return tool.function


def _chosen(choice: Any, names: Collection[str]) -> Container[str]:
    """The names of the tools that may be called. Raises InvalidRequest."""
    match choice:
        case None | "auto":
            return names
        case "none":
            return []
        case "required" if names:
            return names
        case {"type": "function", "function": {"name": str(name)}} if name in names:
            return [name]
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(allowed)}}:
            named = {name for one in allowed if isinstance(name := _named(one), str)}
            if named.intersection(names) or not _is_required(choice):
                return named
    raise InvalidRequest(
        "`tool_choice`: expected `auto`, `none`, `required` or the name of one of `tools`.", "tool_choice"
    )


def _is_required(choice: Any) -> bool:
    match choice:
        case "required" | {"type": "function"} | {"allowed_tools": {"mode": "required"}}:
            return True
    return False


def _named(allowed: Any) -> Any:
    match allowed:
        case {"function": {"name": name}}:
            return name
    return None
