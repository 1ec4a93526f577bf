"""The fields of a request that its response repeats."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidRequest
from gateway.domain.events import Stop, StopReason, Text
from gateway.wires.responses.echo import LARGEST_ECHO, Echo, to_echo
from gateway.wires.responses.request import decode_request
from tests.wires.responses.bodies import Json, body, custom, decoded, function, namespace
from tests.wires.responses.oracle import play_response
from tests.wires.responses.test_request import JSON

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": None,
    "parameters": {"type": "object"},
    "strict": False,
}
PATCH = {"type": "custom", "name": "patch", "description": "Patches."}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
SCHEMA = {"type": "json_schema", "name": "city", "schema": {"type": "object"}}
# fields -> what a response says
REPEATED: dict[str, tuple[Json, Json]] = {
    "nothing": (
        {},
        {
            "instructions": None,
            "tools": [],
            "tool_choice": "auto",
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "reasoning": {"effort": None, "summary": None},
            "temperature": 1.0,
            "store": True,
            "background": False,
        },
    ),
    "instructions": ({"instructions": "Be kind."}, {"instructions": "Be kind."}),
    "a place": ({"previous_response_id": "resp_1"}, {"previous_response_id": "resp_1"}),
    "a conversation": ({"conversation": "conv_1"}, {"conversation": {"id": "conv_1"}}),
    "tools": (
        {"tools": [function(), custom(description="Patches.", format=GRAMMAR)]},
        {"tools": [WEATHER, {**PATCH, "format": GRAMMAR}]},
    ),
    "a format that is none": ({"tools": [custom(description="Patches.", format="?")]}, {"tools": [PATCH]}),
    "tools in a namespace": (
        {"tools": [namespace(function(), custom(description="Patches."))]},
        {"tools": [{**namespace(), "tools": [WEATHER, PATCH]}]},
    ),
    "tools that are off": ({"tools": [{"type": "web_search", "external_web_access": False}]}, {"tools": []}),
    "a choice": (
        {"tools": [function()], "tool_choice": {"type": "function", "name": "weather", "more": 1}},
        {"tool_choice": {"type": "function", "name": "weather"}},
    ),
    "some of the tools": (
        {
            "tools": [function()],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather"}],
            },
        },
        {
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather"}],
            }
        },
    ),
    "a choice that is none": ({"tool_choice": {"type": "mood"}}, {"tool_choice": "auto"}),
    "one at a time": (
        {"parallel_tool_calls": False, "max_tool_calls": 3},
        {"parallel_tool_calls": False, "max_tool_calls": 3},
    ),
    "a schema": (
        {"text": {"format": SCHEMA, "verbosity": "low"}},
        {"text": {"format": {**SCHEMA, "description": None, "strict": False}, "verbosity": "low"}},
    ),
    "reasoning": (
        {"reasoning": {"effort": "low", "summary": "auto"}},
        {"reasoning": {"effort": "low", "summary": "auto"}},
    ),
    "reasoning nobody knows": ({"reasoning": {"effort": "great"}}, {"reasoning": {"effort": None, "summary": None}}),
    "the model's settings": (
        {"temperature": 0, "top_p": 0.5, "max_output_tokens": 7},
        {"temperature": 0.0, "top_p": 0.5, "max_output_tokens": 7},
    ),
    "no limit": ({"max_output_tokens": -1}, {"max_output_tokens": None}),
    "metadata": ({"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
    "who asks": ({"user": "ada", "safety_identifier": "a1"}, {"user": "ada", "safety_identifier": "a1"}),
    "a cache's key": ({"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
    "a tier": ({"service_tier": "flex"}, {"service_tier": "flex"}),
    "a tier nobody knows": ({"service_tier": "gold"}, {"service_tier": "default"}),
    "how it is kept": (
        {"store": False, "truncation": "auto"},
        {"store": False, "truncation": "auto", "background": False},
    ),
    "in the background": ({"background": True}, {"background": True}),
}


def repeated(echo: Echo) -> Json:
    """The fields of a response to a request, which both specifications take."""
    end: Json = play_response([Text("a"), Stop(StopReason.END)], echo=echo).end
    return end


@pytest.mark.parametrize(("fields", "told"), REPEATED.values(), ids=REPEATED)
def test_a_response_repeats_its_request(fields: Json, told: Json) -> None:
    end = repeated(to_echo(decoded(**fields)))

    assert {name: end[name] for name in told} == told


def test_the_names_of_custom_tools_stay_with_the_echo_and_are_told_nobody() -> None:
    echo = to_echo(decoded(tools=[custom("a"), function("b"), custom("c")]))

    assert echo.custom_tools == ("a", "c")
    assert "custom_tools" not in echo.repeated()


LARGE = "a" * 2 * LARGEST_ECHO
TOO_LARGE: dict[str, tuple[Json, Json]] = {
    "instructions": ({"instructions": LARGE}, {"instructions": None}),
    "tools": ({"tools": [function(description=LARGE)]}, {"tools": []}),
    "a schema": (
        {"text": {"format": {**SCHEMA, "schema": {"description": LARGE}}}},
        {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
    ),
    "metadata": ({"metadata": {"a": LARGE}}, {"metadata": {}}),
    "a key": ({"prompt_cache_key": LARGE}, {"prompt_cache_key": None}),
}


@pytest.mark.parametrize(("fields", "told"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_too_large_is_not_repeated_and_all_else_is(fields: Json, told: Json) -> None:
    echo = to_echo(decoded(**{"user": "ada", "temperature": 0.5, **fields}))
    end = repeated(echo)

    assert {name: end[name] for name in told} == told
    assert (end["user"], end["temperature"]) == ("ada", 0.5)
    assert len(msgspec.msgpack.encode(echo)) <= LARGEST_ECHO


def test_two_that_are_large_together_are_not_both_repeated() -> None:
    half = "a" * (LARGEST_ECHO // 2)
    end = repeated(to_echo(decoded(instructions=half + "a" * 100, metadata={"a": half})))

    assert end["instructions"] is None
    assert end["metadata"] == {"a": half}


@given(st.dictionaries(st.sampled_from([name for name in Echo.__struct_fields__ if name != "custom_tools"]), JSON))
def test_an_echo_goes_to_another_process_and_back(fields: Json) -> None:
    echo = to_echo(_read({"model": "tutor", **fields}))

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(echo), type=Echo) == echo
    assert msgspec.json.decode(msgspec.json.encode(echo), type=Echo) == echo


def _read(fields: Json) -> Any:
    """The request of these fields; one without them where it is refused."""
    try:
        return decode_request(body(**fields))
    except (InvalidRequest, TypeError):
        return decoded()


ENCRYPTED = ["reasoning.encrypted_content"]


@pytest.mark.parametrize(("include", "encrypted"), [(None, False), ("all", False), ([7], False), (ENCRYPTED, True)])
def test_encrypted_thoughts_are_asked_for_by_one_word(include: Any, encrypted: bool) -> None:
    assert to_echo(decoded(include=include)).encrypted == encrypted


def test_tools_in_a_namespace_are_known_by_the_names_that_the_agent_has_for_them() -> None:
    echo = to_echo(decoded(tools=[namespace(function("find"), custom("patch")), function("find"), namespace(name="x")]))

    assert echo.namespaces == {"crm__find": ("crm", "find"), "crm__patch": ("crm", "patch")}
    assert echo.custom_tools == ("crm__patch",)
