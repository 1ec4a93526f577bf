"""The client's own tools, as a request brings them: what is offered, what must be called, and what is refused."""

from typing import Any

import msgspec
import pytest

from gateway.domain.errors import InvalidRequest
from gateway.domain.request import NO_TOOLS, ClientTool, ClientTools
from gateway.wires.chat_completions.tools import Tool, to_client_tools

Json = dict[str, Any]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def tool(name: str, **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, **more}}


def named(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def allowed(*names: str, mode: str = "auto") -> Json:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


def read(tools: list[Json] | None, choice: Any = None, parallel: bool | None = None) -> ClientTools:
    return to_client_tools(msgspec.convert(tools, list[Tool] | None), choice, parallel)


TWO = [tool("weather"), tool("clock")]


def test_a_tool_is_offered_with_all_that_its_client_says_of_it() -> None:
    (offered,) = read([tool("weather", description="Of a city.", parameters=SCHEMA, strict=True)]).tools

    assert offered == ClientTool("weather", "Of a city.", SCHEMA, strict=True)


def test_a_tool_needs_no_more_than_a_name() -> None:
    assert read([tool("weather")]).tools == (ClientTool("weather"),)


@pytest.mark.parametrize("tools", [None, []], ids=["absent", "empty"])
def test_no_tools_are_none(tools: list[Json] | None) -> None:
    assert read(tools) == NO_TOOLS
    assert read(tools, "none") == read(tools, "auto") == NO_TOOLS


# choice -> what is offered
CHOICES: dict[str, tuple[Any, list[str]]] = {
    "absent": (None, ["weather", "clock"]),
    "auto": ("auto", ["weather", "clock"]),
    "none": ("none", []),
    "required": ("required", ["weather", "clock"]),
    "one by its name": (named("clock"), ["clock"]),
    "some of them": (allowed("clock"), ["clock"]),
    "all, in another order": (allowed("clock", "weather"), ["weather", "clock"]),
    "some that are not there, too": (allowed("clock", "calendar"), ["clock"]),
    "none of them": (allowed(), []),
    "some, named in another way": (
        {"type": "allowed_tools", "allowed_tools": {"tools": ["clock", {"name": "clock"}, None]}},
        [],
    ),
}


@pytest.mark.parametrize(("choice", "offered"), CHOICES.values(), ids=CHOICES)
def test_the_choice_tells_which_tools_are_offered(choice: Any, offered: list[str]) -> None:
    tools = read(TWO, choice)

    assert [tool.name for tool in tools.tools] == offered
    assert tools.names == set(offered)


@pytest.mark.parametrize(
    ("choice", "required"), [(None, False), ("auto", False), ("required", True), (named("clock"), True)]
)
def test_the_choice_tells_whether_one_must_be_called(choice: Any, required: bool) -> None:
    assert read(TWO, choice).required is required


@pytest.mark.parametrize(("said", "parallel"), [(None, True), (True, True), (False, False)])
def test_several_may_be_called_at_once_unless_the_client_says_no(said: bool | None, parallel: bool) -> None:
    assert read(TWO, parallel=said).parallel is parallel


NAMES = {"a letter": "a", "all kinds of signs": "Aa0_-", "the longest": "x" * 64}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_may_be_what_openai_s_may(name: str) -> None:
    assert read([tool(name)]).names == {name}


# tools, choice -> param, code
REFUSED: dict[str, tuple[list[Json] | None, Any, str, str | None]] = {
    "a custom tool": ([*TWO, {"type": "custom", "custom": {"name": "x"}}], None, "tools[2]", "unsupported_parameter"),
    "a tool of OpenAI's own": ([{"type": "web_search"}], None, "tools[0]", "unsupported_parameter"),
    "no function": ([*TWO, {"type": "function"}], None, "tools[2].function", None),
    "an empty name": ([tool("")], None, "tools[0].function.name", None),
    "a name that is too long": ([tool("x" * 65)], None, "tools[0].function.name", None),
    "a name with a blank": ([tool("my tool")], None, "tools[0].function.name", None),
    "a name with a dot": ([*TWO, tool("my.tool")], None, "tools[2].function.name", None),
    "a name with a line's end": ([tool("weather\n")], None, "tools[0].function.name", None),
    "a name in other letters": ([tool("wetter_für")], None, "tools[0].function.name", None),
    "a name twice": ([*TWO, tool("weather")], None, "tools", None),
    "a tool that is not there": (TWO, named("calendar"), "tool_choice", None),
    "a tool of none": (None, named("clock"), "tool_choice", None),
    "a tool named as the Responses API does": (TWO, {"type": "function", "name": "clock"}, "tool_choice", None),
    "one must be called of none": (None, "required", "tool_choice", None),
    "one must be called of an empty list": ([], "required", "tool_choice", None),
    "a word nobody knows": (TWO, "any", "tool_choice", None),
    "a tool's name alone": (TWO, "clock", "tool_choice", None),
    "an empty object": (TWO, {}, "tool_choice", None),
    "a number": (TWO, 1, "tool_choice", None),
    "a list": (TWO, ["auto"], "tool_choice", None),
    "allowed tools that are no list": (
        TWO,
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": "clock"}},
        "tool_choice",
        None,
    ),
    "a custom tool that must be called": (TWO, {"type": "custom", "custom": {"name": "clock"}}, "tool_choice", None),
}


@pytest.mark.parametrize(("tools", "choice", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_what_no_agent_can_be_given_is_refused_by_name(
    tools: list[Json] | None, choice: Any, param: str, code: str | None
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(tools, choice)

    assert (refused.value.status_code, refused.value.param, refused.value.code) == (400, param, code)
    assert f"`{param}" in str(refused.value)


def test_the_second_of_two_tools_of_one_name_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"`tools\[2\].function.name`"):
        read([*TWO, tool("weather"), tool("clock")])
