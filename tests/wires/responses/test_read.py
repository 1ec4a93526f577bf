"""The neutral request of a request for a response: its messages, their places, tools, format, where it goes on."""

from typing import Any

import pytest

from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.domain.request import (
    ApprovalDecision,
    ClientTool,
    ClientTools,
    GoesOn,
    Options,
    RequestMessage,
    ShownPicture,
    ToldCall,
    Unusable,
)
from gateway.turns.chats.path import read_path
from gateway.wires.responses.read import OWN_CALL
from tests.wires.responses.bodies import (
    PIXEL,
    Json,
    answered,
    asked,
    called,
    custom,
    function,
    namespace,
    referred,
    returned,
    said,
)


def text(value: str, kind: str = "input_text") -> Json:
    return {"type": kind, "text": value}


def picture(url: str | None = PIXEL, **more: Any) -> Json:
    return {"type": "input_image", "image_url": url, **more}


OTHER = "this gateway takes parts of the types `input_text` and `input_image` only"
WEATHER = ToldCall("call_1", "weather", "{}")
# input -> messages
MESSAGES: dict[str, tuple[Any, list[RequestMessage]]] = {
    "a text": ("Hello", [RequestMessage("user", ("Hello",), "input")]),
    "a message without a type": ([said("Hello")], [RequestMessage("user", ("Hello",), "input[0]")]),
    "a message with one": ([said("Hello", type="message")], [RequestMessage("user", ("Hello",), "input[0]")]),
    "every role": (
        [said("a", "system"), said("b", "developer"), said("c", "assistant", phase="commentary"), said("d")],
        [
            RequestMessage("system", ("a",), "input[0]"),
            RequestMessage("developer", ("b",), "input[1]"),
            RequestMessage("assistant", ("c",), "input[2]"),
            RequestMessage("user", ("d",), "input[3]"),
        ],
    ),
    "parts, with a picture": (
        [said([text("What is it?"), picture(detail="low"), picture(detail="original"), text("b", "text")])],
        [
            RequestMessage(
                "user",
                (
                    "What is it?",
                    ShownPicture(PIXEL, "input[0].content[1].image_url", "low"),
                    ShownPicture(PIXEL, "input[0].content[2].image_url", "high"),
                    "b",
                ),
                "input[0]",
            )
        ],
    ),
    "parts of an answer": (
        [said([text("Hi.", "output_text"), {"type": "refusal", "refusal": "No."}], "assistant"), said("b")],
        [RequestMessage("assistant", ("Hi.", "No."), "input[0]"), RequestMessage("user", ("b",), "input[1]")],
    ),
    "parts of system text": ([said([text("a")], "system")], [RequestMessage("system", ("a",), "input[0]")]),
    "what nobody is given": (
        [said([{"type": "input_file", "file_id": "f"}, picture(None, file_id="f"), picture(detail="close")])],
        [
            RequestMessage(
                "user",
                (
                    Unusable(
                        "input[0].content[0]",
                        OTHER,
                    ),
                    Unusable(
                        "input[0].content[1]",
                        "this gateway keeps no files: expected an `image_url`",
                        is_picture=True,
                    ),
                    Unusable(
                        "input[0].content[2].detail", "expected one of auto, low, high, original", is_picture=True
                    ),
                ),
                "input[0]",
            )
        ],
    ),
    "a call and its output": (
        [answered("Hi."), called(), returned()],
        [
            RequestMessage("assistant", ("Hi.",), "input[0]", calls=(WEATHER,)),
            RequestMessage("tool", ("12 degrees",), "input[2]", call_id="call_1"),
        ],
    ),
    "two calls at once, before and after a text, with thoughts between": (
        [called(), {"type": "reasoning", "summary": []}, answered("Hi."), called("call_2"), returned("call_2")],
        [
            RequestMessage("assistant", ("Hi.",), "input[2]", calls=(WEATHER, ToldCall("call_2", "weather", "{}"))),
            RequestMessage("tool", ("12 degrees",), "input[4]", call_id="call_2"),
        ],
    ),
    "calls alone": (
        [called(), called("call_2"), returned(), returned("call_2")],
        [
            RequestMessage("assistant", ("",), "input[0]", calls=(WEATHER, ToldCall("call_2", "weather", "{}"))),
            RequestMessage("tool", ("12 degrees",), "input[2]", call_id="call_1"),
            RequestMessage("tool", ("12 degrees",), "input[3]", call_id="call_2"),
        ],
    ),
    "texts of one answer": (
        [answered("Well."), answered("Hi."), called(), returned()],
        [
            RequestMessage("assistant", ("Well.",), "input[0]"),
            RequestMessage("assistant", ("Hi.",), "input[1]", calls=(WEATHER,)),
            RequestMessage("tool", ("12 degrees",), "input[3]", call_id="call_1"),
        ],
    ),
    "an output of parts": (
        [called(), returned(output=[text("a"), picture(), {"type": "input_file", "file_data": "x"}])],
        [
            RequestMessage("assistant", ("",), "input[0]", calls=(WEATHER,)),
            RequestMessage(
                "tool",
                (
                    "a",
                    ShownPicture(PIXEL, "input[1].output[1].image_url"),
                    Unusable(
                        "input[1].output[2]",
                        OTHER,
                    ),
                ),
                "input[1]",
                call_id="call_1",
            ),
        ],
    ),
    "a custom call": (
        [
            {"type": "custom_tool_call", "call_id": "call_1", "name": "patch", "input": 'say "a"\n'},
            {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"},
        ],
        [
            RequestMessage(
                "assistant", ("",), "input[0]", calls=(ToldCall("call_1", "patch", r'{"input":"say \"a\"\n"}'),)
            ),
            RequestMessage("tool", ("done",), "input[1]", call_id="call_1"),
        ],
    ),
    "what Letta did by itself": (
        [
            {"type": "mcp_list_tools", "server_label": "letta", "tools": []},
            {"type": "mcp_call", "id": "mcp_1", "name": "search", "arguments": "{}", "output": "found"},
            called(f"{OWN_CALL}call_1", "search"),
            returned(f"{OWN_CALL}call_1", "found"),
            said("b"),
        ],
        [RequestMessage("user", ("b",), "input[4]")],
    ),
    "only what comes after the last reference": (
        [said("a"), referred("rs_1"), referred("msg_1"), {"id": "fc_1"}, returned(), said("b")],
        [
            RequestMessage("tool", ("12 degrees",), "input[4]", call_id="call_1"),
            RequestMessage("user", ("b",), "input[5]"),
        ],
    ),
}


@pytest.mark.parametrize(("input", "messages"), MESSAGES.values(), ids=MESSAGES)
def test_items_become_messages_with_the_names_of_their_places(input: Any, messages: list[RequestMessage]) -> None:
    request = asked(input)

    assert [*request.messages] == messages
    assert (request.place, request.call_id_field) == ("input", "call_id")


def test_instructions_come_first() -> None:
    first, second = asked("Hi", instructions="Be kind.").messages

    assert first == RequestMessage("system", ("Be kind.",), "instructions")
    assert second.text == "Hi"


NOTHING_NEW: dict[str, list[Json]] = {
    "thoughts": [{"type": "reasoning", "summary": []}],
    "a reference": [said("a"), referred("msg_1")],
    "the output of a tool of Letta's own": [returned(f"{OWN_CALL}call_1")],
}


@pytest.mark.parametrize("input", NOTHING_NEW.values(), ids=NOTHING_NEW)
def test_a_request_with_nothing_new_is_refused(input: list[Json]) -> None:
    with pytest.raises(InvalidRequest, match="nothing to answer") as refused:
        asked(input, previous_response_id="resp_1")

    assert refused.value.param == "input"


# fields, with an input of a reference and a message -> the place where it goes on
PLACES: dict[str, tuple[Json, list[Json], GoesOn | None]] = {
    "nowhere": ({}, [said("b")], None),
    "a response": ({"previous_response_id": "resp_1"}, [said("b")], GoesOn("resp_1", "previous_response_id")),
    "a conversation": ({"conversation": "conv_1"}, [said("b")], GoesOn("conv_1", "conversation")),
    "a conversation as an object": ({"conversation": {"id": "conv_1"}}, [said("b")], GoesOn("conv_1", "conversation")),
    "the last reference": ({}, [referred("msg_1"), referred("fc_1"), said("b")], GoesOn("fc_1", "input[1].id")),
    "a response before a reference": (
        {"previous_response_id": "resp_1"},
        [referred("msg_1"), said("b")],
        GoesOn("resp_1", "previous_response_id"),
    ),
}


@pytest.mark.parametrize(("fields", "input", "place"), PLACES.values(), ids=PLACES)
def test_a_request_says_where_it_goes_on(fields: Json, input: list[Json], place: GoesOn | None) -> None:
    request = asked(input, **fields)

    assert request.goes_on == place
    assert request.messages[-1].text == "b"


def test_an_approval_is_a_decision_about_what_was_asked_and_no_message() -> None:
    yes = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    no = {"type": "mcp_approval_response", "approval_request_id": "mcpr_2", "approve": False, "reason": "too late"}
    request = asked([referred("mcpr_2"), yes, no])

    assert request.decisions == (ApprovalDecision("mcpr_1", True), ApprovalDecision("mcpr_2", False, "too late"))
    assert request.messages == ()
    assert request.goes_on == GoesOn("mcpr_2", "input[0].id")


ONE_STRING = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
WEATHER_TOOL = ClientTool("weather", "Tells it.", {"type": "object"}, strict=True)
PATCH_TOOL = ClientTool("patch", "Patches.", ONE_STRING)
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
BOTH = [function(description="Tells it.", strict=True), custom(description="Patches.")]
# tools, tool_choice, parallel_tool_calls -> tools
TOOLS: dict[str, tuple[Json, ClientTools]] = {
    "none": ({}, ClientTools()),
    "both kinds": ({"tools": BOTH}, ClientTools((WEATHER_TOOL, PATCH_TOOL))),
    "auto": ({"tools": BOTH, "tool_choice": "auto"}, ClientTools((WEATHER_TOOL, PATCH_TOOL))),
    "no choice": ({"tools": BOTH, "tool_choice": "none"}, ClientTools()),
    "any": ({"tools": BOTH, "tool_choice": "required"}, ClientTools((WEATHER_TOOL, PATCH_TOOL), required=True)),
    "a function": (
        {"tools": BOTH, "tool_choice": {"type": "function", "name": "weather"}},
        ClientTools((WEATHER_TOOL,), required=True),
    ),
    "a custom tool": (
        {"tools": BOTH, "tool_choice": {"type": "custom", "name": "patch"}},
        ClientTools((PATCH_TOOL,), required=True),
    ),
    "those that are allowed": (
        {
            "tools": BOTH,
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "custom", "name": "patch"}, {"type": "mcp", "server_label": "x"}],
            },
        },
        ClientTools((PATCH_TOOL,)),
    ),
    "one of those that are allowed": (
        {
            "tools": BOTH,
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "weather"}],
            },
        },
        ClientTools((WEATHER_TOOL,), required=True),
    ),
    "one at a time": (
        {"tools": BOTH, "parallel_tool_calls": False},
        ClientTools((WEATHER_TOOL, PATCH_TOOL), parallel=False),
    ),
    "a tool that is off": (
        {"tools": [{"type": "web_search", "external_web_access": False}, *BOTH]},
        ClientTools((WEATHER_TOOL, PATCH_TOOL)),
    ),
    "a grammar, which the model is told": (
        {"tools": [custom(description="Patches.", format=GRAMMAR)]},
        ClientTools(
            (ClientTool("patch", "Patches.\n\nThe input must obey this lark grammar:\nstart: /a+/", ONE_STRING),)
        ),
    ),
    "a tool without parameters": (
        {"tools": [{"type": "function", "name": "clock"}]},
        ClientTools((ClientTool("clock", parameters={"type": "object", "properties": {}}),)),
    ),
}


@pytest.mark.parametrize(("fields", "tools"), TOOLS.values(), ids=TOOLS)
def test_tools_and_the_choice_among_them_are_read(fields: Json, tools: ClientTools) -> None:
    assert asked(**fields).checked_tools() == tools


# fields -> words, param, code
REFUSED: dict[str, tuple[Json, str, str, str | None]] = {
    "a tool of OpenAI's": (
        {"tools": [function(), {"type": "web_search"}]},
        "not `web_search`",
        "tools[1]",
        "unsupported_parameter",
    ),
    "a server's tools": (
        {"tools": [{"type": "mcp", "server_label": "x", "server_url": "http://x"}]},
        "not `mcp`",
        "tools[0]",
        "unsupported_parameter",
    ),
    "a tool of a type that is no name": (
        {"tools": [{"type": "<b>"}]},
        "`custom` only.",
        "tools[0]",
        "unsupported_parameter",
    ),
    "a search that is on": (
        {"tools": [{"type": "web_search", "external_web_access": True}]},
        "web_search",
        "tools[0]",
        "unsupported_parameter",
    ),
    "a function without a name": ({"tools": [{"type": "function"}]}, "is missing", "tools[0].name", None),
    "a function within a function": (
        {"tools": [{"type": "function", "function": {"name": "x"}}]},
        "is missing",
        "tools[0].name",
        None,
    ),
    "a name that is none": ({"tools": [function("a b")]}, "expected 1 to 64 letters", "tools[0].name", None),
    "two of a name": ({"tools": [function(), custom("weather")]}, "`tools[1].name`: another", "tools", None),
    "a choice of what is not there": (
        {"tools": BOTH, "tool_choice": {"type": "function", "name": "clock"}},
        "expected `auto`",
        "tool_choice",
        None,
    ),
    "a choice of a server's tool": (
        {"tools": BOTH, "tool_choice": {"type": "mcp", "server_label": "x"}},
        "expected `auto`",
        "tool_choice",
        None,
    ),
    "any of none": ({"tool_choice": "required"}, "expected `auto`", "tool_choice", None),
}


@pytest.mark.parametrize(("fields", "words", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_tools_that_no_agent_can_be_given_are_refused_where_they_matter(
    fields: Json, words: str, param: str, code: str | None
) -> None:
    request = asked(**fields)

    with pytest.raises(InvalidRequest) as refused:
        request.checked_tools()
    assert words in str(refused.value)
    assert (refused.value.param, refused.value.code) == (param, code)


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PLACE = ("text.format", "text.format.schema")
FLAT = {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}
NESTED = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
# text.format -> the format, and what a Letta is told
FORMATS: dict[str, tuple[Json | None, JsonFormat | None, Json | None]] = {
    "none": (None, None, None),
    "text": ({"type": "text"}, None, None),
    "an object": ({"type": "json_object"}, JsonFormat(None, *PLACE), {"type": "json_object"}),
    "a schema": (FLAT, JsonFormat(SCHEMA, *PLACE), NESTED),
}


@pytest.mark.parametrize(("format", "json", "told"), FORMATS.values(), ids=FORMATS)
def test_an_answer_may_be_wanted_as_json(format: Json | None, json: JsonFormat | None, told: Json | None) -> None:
    request = asked(text={"format": format})

    assert request.checked_json() == json
    assert request.options.format == told


@pytest.mark.parametrize("format", [{"type": "xml"}, {}, {"type": "json_schema", "json_schema": {"name": "x"}}])
def test_a_format_that_is_none_is_refused(format: Json) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(text={"format": format}).checked_json()

    assert refused.value.param == "text.format"


# Each of a request's other fields -> what is made of it
OTHERS: dict[str, tuple[Any, Any]] = {
    "model": (asked().model, "tutor"),
    "temperature": (asked(temperature=0.2).options, Options(0.2)),
    "max_output_tokens": (asked(max_output_tokens=7).options, Options(max_tokens=7)),
    "no max_output_tokens": (asked(max_output_tokens=0).options, Options()),
    "an effort": (asked(reasoning={"effort": "low"}).options, Options(reasoning_effort="low")),
    "no effort": (asked(reasoning={"effort": "none"}).options, Options()),
    "no effort hides": (asked(reasoning={"effort": "none"}).hides_reasoning, True),
    "a summary hides nothing": (asked(reasoning={"summary": "auto"}).hides_reasoning, False),
    "user": (asked(user="ada", safety_identifier="a1").users, {"user": "ada", "safety_identifier": "a1"}),
    "metadata": (asked(metadata={"chat_id": "c"}).metadata, {"chat_id": "c"}),
    "stream": (asked(stream=True).stream, True),
    "no stream": (asked().stream, False),
    "usage in any case": (asked().include_usage, True),
    "store": (asked(store=True).keeps, True),
    "no word on store": (asked().keeps, True),
    "no store": (asked(store=False).keeps, False),
    "background": (asked(background=True).background, True),
    "no background": (asked().background, False),
}


@pytest.mark.parametrize(("found", "expected"), OTHERS.values(), ids=OTHERS)
def test_every_other_field_is_read(found: Any, expected: Any) -> None:
    assert found == expected


# What an answer's items add up to for the core.
def test_a_history_of_items_is_a_path() -> None:
    history = [said("a"), answered("One."), called(), returned(), answered("Two."), said("b")]
    path = read_path(asked(history))

    assert [(message.role, message.content) for message in path.path] == [
        ("user", "a"),
        ("assistant", "One.\n\nTwo."),
        ("user", "b"),
    ]


def test_the_results_of_two_calls_are_found() -> None:
    history = [said("a"), answered("Well."), called(), called("call_2"), returned(), returned("call_2", "noon")]
    path = read_path(asked(history))

    assert [(result.tool_call_id, result.text) for result in path.results] == [
        ("call_1", "12 degrees"),
        ("call_2", "noon"),
    ]
    assert path.only_results


def test_a_file_in_a_new_message_is_refused_and_in_an_old_one_left_out() -> None:
    file = {"type": "input_file", "file_id": "f"}

    with pytest.raises(InvalidRequest) as refused:
        read_path(asked([said([text("a"), file])]))
    assert refused.value.param == "input[0].content[1]"
    assert read_path(asked([said([text("a"), file]), answered("Hi."), said("b")])).path[0].content.strip() == "a"


def test_an_output_of_a_call_that_nobody_made_is_refused_in_this_wire_s_words() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_path(asked([said("a"), returned("call_9")]))

    assert refused.value.param == "input[1].call_id"


def test_tools_in_a_namespace_are_offered_and_told_by_both_names() -> None:
    tools = [namespace(function(), custom("weather_2")), function()]
    request = asked([said("Hi"), {**called(), "namespace": "crm"}, returned()], tools=tools)

    assert [tool.name for tool in request.checked_tools().tools] == ["crm__weather", "crm__weather_2", "weather"]
    assert [call.name for message in request.messages for call in message.calls] == ["crm__weather"]


@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ([namespace(function(), function())], "tools[0].name"),
        ([function(), namespace({"type": "function"})], "tools[1].name"),
        ([namespace({"type": "mcp"})], "tools[0].type"),
        ([namespace(function(name="n" * 62))], "tools[0].name"),
    ],
    ids=["two of a name", "no name", "another type", "a name too long"],
)
def test_what_is_wrong_in_a_namespace_is_told_with_its_place(tools: list[Json], place: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(tools=tools).checked_tools()

    assert place in str(refused.value)
