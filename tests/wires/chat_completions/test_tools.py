"""What a request's `tool_choice` lets the agent call, and when it demands a call."""

from typing import Any

import pytest

from gateway.domain.errors import InvalidRequest
from gateway.wires.chat_completions.tools import Function, Tool, to_client_tools

TOOLS = [Tool(function=Function("weather")), Tool(function=Function("clock"))]
WEATHER = {"type": "function", "function": {"name": "weather"}}


def allowed(mode: str, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


# tool_choice -> what may be called, whether something must be
CHOICES: dict[str, tuple[Any, set[str], bool]] = {
    "nothing": (None, {"weather", "clock"}, False),
    "auto": ("auto", {"weather", "clock"}, False),
    "none": ("none", set(), False),
    "required": ("required", {"weather", "clock"}, True),
    "a name": (WEATHER, {"weather"}, True),
    "one that is allowed": (allowed("auto", WEATHER), {"weather"}, False),
    "one that is allowed, and required": (allowed("required", WEATHER), {"weather"}, True),
    "none that is allowed": (allowed("auto"), set(), False),
}


@pytest.mark.parametrize(("choice", "names", "required"), CHOICES.values(), ids=CHOICES)
def test_a_choice_says_what_may_and_what_must_be_called(choice: Any, names: set[str], required: bool) -> None:
    tools = to_client_tools(TOOLS, choice, None)

    assert tools.names == names
    assert tools.required is required


UNKNOWN = {"type": "function", "function": {"name": "map"}}
IMPOSSIBLE = {
    "a name": UNKNOWN,
    "allowed": allowed("required", UNKNOWN),
    "a word": "any",
    "no name": {"type": "function"},
}


@pytest.mark.parametrize("choice", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_call_that_cannot_be_is_not_demanded(choice: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        to_client_tools(TOOLS, choice, None)

    assert refused.value.param == "tool_choice"
