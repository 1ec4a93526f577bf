"""Requests that bring tools: what a program gets of a call, whole and streamed, and what Letta gets of its result."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from gateway.settings import AgentType
from tests.gateways import FRONTEND, TUTOR, chat, gateway, http
from tests.servers.fake_letta import PING, THOUGHT, USAGE, FakeLetta, Step
from tests.wires.oracle import check_stream

URL = "/v1/chat/completions"
WHO = {"X-OpenWebUI-User-Id": "ada", "X-Chat-Id": "chat"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": SCHEMA}}
ARGUMENTS = '{"city": "Oslo"}'
HI = {"role": "user", "content": "hello"}


def wanted(name: str | None, arguments: str, id: str = "call-1") -> dict[str, Any]:
    call = {"name": name, "tool_call_id": id, "arguments": arguments}
    return {"message_type": "approval_request_message", "step_id": "s1", "tool_call": call, "tool_calls": call}


WAITS = {"message_type": "stop_reason", "stop_reason": "requires_approval"}
CALLING: list[Step] = [
    PING,
    THOUGHT,
    wanted("weather", ""),
    wanted(None, '{"city": '),
    wanted(None, '"Oslo"}'),
    WAITS,
    USAGE,
]
BASH: list[Step] = [PING, wanted("Bash", '{"command": "true"}'), WAITS, USAGE]


def ask(url: str, *more: dict[str, Any], **fields: Any) -> httpx.Response:
    with http(url, "sk-front") as client:
        return client.post(URL, json=chat(**{"messages": [HI, *more], "tools": [TOOL], **fields}), headers=WHO)


def called(id: str = "call-1") -> dict[str, Any]:
    function = {"name": "weather", "arguments": ARGUMENTS}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": id, "type": "function", "function": function}]}


def result(id: str = "call-1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "sunny"}


def test_a_call_is_told_whole_and_in_pieces_alike(letta: FakeLetta) -> None:
    letta.steps = CALLING
    with gateway(letta.base_url) as url:
        (choice,) = ask(url).json()["choices"]
        stream = check_stream(ask(url, stream=True).content)

    function = {"name": "weather", "arguments": ARGUMENTS}
    assert choice["message"]["tool_calls"] == [{"id": "call-1", "type": "function", "function": function}]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("<think>Hm. </think>", "tool_calls")
    assert stream.calls == [("call-1", "weather", ARGUMENTS)]
    assert (stream.content, stream.finish_reason) == ("<think>Hm. </think>", "tool_calls")


def test_an_answer_of_nothing_but_calls_has_no_content(letta: FakeLetta) -> None:
    letta.steps = CALLING
    with gateway(letta.base_url, keys=(msgspec.structs.replace(FRONTEND, reasoning="hidden"),)) as url:
        (choice,) = ask(url).json()["choices"]

    assert choice["message"]["content"] is None


def test_letta_gets_the_tools_and_then_the_result_of_the_call(letta: FakeLetta) -> None:
    letta.coming = [CALLING]
    with gateway(letta.base_url) as url:
        ask(url)
        answer = ask(url, called(), result())
    begun, gone_on = letta.runs

    tool = {"name": "weather", "description": "Of a city.", "parameters": SCHEMA}
    assert begun["client_tools"] == gone_on["client_tools"] == [tool]
    returned = {"tool_return": [{"type": "text", "text": "sunny"}], "status": "success"}
    assert gone_on["messages"] == [
        {"type": "approval", "approvals": [{"type": "tool", "tool_call_id": "call-1", **returned}]}
    ]
    assert answer.json()["choices"][0]["message"]["content"].endswith("Hello")
    assert len(letta.conversations) == 1


IGNORING: dict[str, dict[str, Any]] = {
    "the key": {"keys": (msgspec.structs.replace(FRONTEND, client_tools="ignore"),)},
    "the agent type": {"types": (msgspec.structs.replace(TUTOR, client_tools="ignore"),)},
}


@pytest.mark.parametrize("tools", [[TOOL], [{"type": "custom", "custom": {"name": "x"}}]], ids=["good", "others"])
@pytest.mark.parametrize("settings", IGNORING.values(), ids=IGNORING)
def test_tools_that_are_to_be_ignored_are_neither_offered_nor_refused(
    letta: FakeLetta, settings: dict[str, Any], tools: list[Any]
) -> None:
    with gateway(letta.base_url, **settings) as url:
        assert ask(url, tools=tools, tool_choice="required").status_code == 200

    assert "client_tools" not in letta.runs[0]


# request -> param of the refusal
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a custom tool": ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
    "a choice that is not there": ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
    "a result of no call": ({"messages": [HI, result()]}, "messages[1].tool_call_id"),
    "calls without results": ({"messages": [HI, called()]}, "messages"),
}


@pytest.mark.parametrize(("fields", "param"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_before_letta_hears_of_it(
    letta: FakeLetta, fields: dict[str, Any], param: str
) -> None:
    with gateway(letta.base_url) as url:
        answer = ask(url, **fields)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert letta.runs == []


# Approvals


def answered(response: httpx.Response) -> tuple[str, str | None]:
    """Content and finish reason of an answer, whole or streamed."""
    if response.headers["content-type"].startswith("text/event-stream"):
        stream = check_stream(response.content)
        return stream.content, stream.finish_reason
    (choice,) = response.json()["choices"]
    return choice["message"]["content"], choice["finish_reason"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_person_is_asked_and_a_yes_allows(letta: FakeLetta, stream: bool) -> None:
    letta.coming = [BASH]
    with gateway(letta.base_url) as url:
        question, finish_reason = answered(ask(url, tools=[], stream=stream))
        more = ({"role": "assistant", "content": question}, {"role": "user", "content": "Yes!"})
        assert answered(ask(url, *more, tools=[], stream=stream))[0].endswith("Hello")

    assert "- run `Bash` with" in question
    assert finish_reason == "stop"
    answers, said = letta.runs[-1]["messages"]
    assert answers["approvals"] == [{"type": "approval", "tool_call_id": "call-1", "approve": True}]
    assert said["content"] == "Yes!"


def test_nobody_is_asked_about_everybody_s_agent(letta: FakeLetta) -> None:
    letta.coming = [BASH]
    shared = AgentType(id="tutor", agent="agent-shared")
    with gateway(letta.base_url, types=(shared,)) as url:
        message = ask(url, tools=[]).json()["choices"][0]["message"]

    assert "Bash needs an approval, which nobody can give here." in message["content"]
    (denial,) = letta.runs[1]["messages"]
    assert [(one["approve"], one["reason"]) for one in denial["approvals"]] == [
        (False, "Nobody is here who could allow it.")
    ]
    assert json.dumps(denial).count("call-1") == 1
