"""The client's own tools, as its requests offer them, whichever the wire. Performs no I/O.

https://developers.openai.com/api/docs/guides/function-calling
"""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import ClientTool, ClientTools
from gateway.wires.limits import TOOLS, check_count, check_depth
from gateway.wires.schemas import check_expansions

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolChoice(Struct, frozen=True):
    """The tools among which a model is to choose: `ToolChoice(frozenset({"weather"}), required=True)`."""

    names: frozenset[str] | None = None
    """Their names, as the request tells them; None for all."""
    required: bool = False
    """True: one of them must be called."""


def check_tool(tool: ClientTool, place: str) -> None:
    """Check what a tool takes, and its name, at a `place` of the request. Raises InvalidRequest."""
    if not _NAME.fullmatch(tool.name):
        raise InvalidRequest(f"`{place}.name`: expected 1 to 64 letters, digits, `_` or `-`.", f"{place}.name")
    check_depth(tool.parameters, f"{place}.parameters")
    if tool.strict:
        check_expansions(tool.parameters, f"{place}.parameters")


def check_tool_count(tools: Sequence[object]) -> None:
    """Raises InvalidRequest for more than a request may offer."""
    check_count(len(tools), TOOLS, "tools", "tools")


def to_offered(tools: Iterable[tuple[ClientTool, str]], choice: ToolChoice | None, parallel: bool) -> ClientTools:
    """The tools that may be called; each comes with its place, None is a choice that nobody can follow.

    Raises InvalidRequest.
    """
    offered: dict[str, ClientTool] = {}
    for tool, place in tools:
        if tool.name in offered:
            raise InvalidRequest(f"`{place}.name`: another tool has this name.", "tools")
        offered[tool.name] = tool
    if choice:
        chosen = tuple(tool for tool in offered.values() if choice.names is None or tool.name in choice.names)
        if chosen or not choice.required:
            return ClientTools(chosen, required=choice.required, parallel=parallel)
    raise InvalidRequest(
        "`tool_choice`: expected `auto`, `none`, `required` or the name of one of `tools`.", "tool_choice"
    )
