"""Who is told of tools in which way: frames that are no chunks are for Open WebUI alone."""

import threading
from itertools import product
from typing import Any, get_args

import httpx
import msgspec
import pytest

from gateway.domain.look import Reasoning, ToolActivity
from gateway.settings import Chats, Key
from tests.frontends.open_webui.cards import part
from tests.gateways import FRONTEND, PROGRAMS, chat, gateway, http
from tests.servers.fake_letta import PING, STOP, THOUGHT, USAGE, WORD, FakeLetta, Hold, Step
from tests.wires.oracle import check_stream

URL = "/v1/chat/completions"
CALL = {"tool_call_id": "call-1", "name": "web_search", "arguments": '{"q": "tea"}'}
CALLED = {"message_type": "tool_call_message", "step_id": "s1", "tool_call": CALL, "tool_calls": CALL}
RETURN = {"tool_call_id": "call-1", "status": "success", "tool_return": "3 pages"}
RETURNED = {"message_type": "tool_return_message", "step_id": "s1", "tool_returns": [RETURN]}
FAILED = {"message_type": "error_message"}
USED: list[Step] = [PING, THOUGHT, CALLED, RETURNED, WORD, STOP, USAGE]
WHO = {"X-OpenWebUI-User-Id": "ada"}
OPEN_WEBUI = {**WHO, "X-OpenWebUI-Chat-Id": "c"}
OTHERS = {
    "no chat": WHO,
    "a chat of another client": {**WHO, "X-Chat-Id": "c"},
    "an empty chat": {**WHO, "X-OpenWebUI-Chat-Id": ""},
    "a program that calls Open WebUI's API, with a chat and no message": {**OPEN_WEBUI, "X-Message-Id": ""},
}
RICH = msgspec.structs.replace(FRONTEND, tool_activity="rich")
LINE = "Using web_search…\n"
CARD = '[web_search {"q": "tea"} gave 3 pages]'


def key(tools: ToolActivity, reasoning: Reasoning = "think_tags") -> Key:
    return msgspec.structs.replace(FRONTEND, tool_activity=tools, reasoning=reasoning)


def ask(url: str, headers: dict[str, str], **more: Any) -> httpx.Response:
    with http(url, "sk-front") as client:
        return client.post(URL, json=chat(**more), headers=headers)


def test_open_webui_is_told_by_status_lines_and_cards(letta: FakeLetta) -> None:
    letta.steps = USED
    with gateway(letta.base_url, keys=(RICH,)) as url:
        parted = part(ask(url, OPEN_WEBUI, stream=True).content)

    assert parted.timeline == [
        *("<think>", "Hm. ", "(Using web_search…)", "</think>", "(Used web_search.)", CARD, "Hello", "= stop"),
    ]


LITERAL = "Run `print('<think>')` or `print('</think>')`."
BEGUN = [
    {"role": "user", "content": "How?"},
    {"role": "assistant", "content": LITERAL},
    {"role": "user", "content": "!"},
]


@pytest.mark.parametrize(
    ("headers", "heard"),
    [(OPEN_WEBUI, LITERAL), (WHO, "Run `print('')`.")],
    ids=["Open WebUI, which tells no thoughts again", "another client, which has tags of thoughts"],
)
def test_an_agent_hears_again_what_it_said_of_tags_where_thoughts_come_as_items(
    letta: FakeLetta, headers: dict[str, str], heard: str
) -> None:
    with gateway(letta.base_url, keys=(RICH,)) as url:
        assert ask(url, headers, messages=BEGUN).status_code == 200

    assert letta.said == [["How?", heard, "!"]]


# What is asked of a key: for tools, for thoughts; by which client
COMBINATIONS = {
    f"{tools}, {reasoning}, {client}": (key(tools, reasoning), headers)
    for tools, reasoning, (client, headers) in product(
        get_args(ToolActivity),
        get_args(Reasoning),
        {**OTHERS, "Open WebUI": OPEN_WEBUI}.items(),
    )
    if (tools, client) != ("rich", "Open WebUI")
}


@pytest.mark.parametrize(("key", "headers"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_any_other_client_gets_chunks_alone(letta: FakeLetta, key: Key, headers: dict[str, str]) -> None:
    letta.steps = USED
    with gateway(letta.base_url, keys=(key,)) as url:
        stream = check_stream(ask(url, headers, stream=True).content)

    assert stream.visible == "Hello"
    told = f"{stream.content}{stream.reasoning}"
    assert (LINE in told) == (key.tool_activity != "hidden" and key.reasoning != "hidden")
    assert ("Hm. " in told) == (key.reasoning != "hidden")


@pytest.mark.parametrize("tools", ["thoughts", "rich", "mcp_calls", "hidden"])
def test_a_whole_answer_is_one_completion(letta: FakeLetta, tools: ToolActivity) -> None:
    letta.steps = USED
    with gateway(letta.base_url, keys=(key(tools),)) as url:
        completion = ask(url, OPEN_WEBUI).json()

    line = "" if tools == "hidden" else f"\n{LINE}"
    assert completion["choices"][0]["message"]["content"] == f"<think>Hm. {line}</think>Hello"


def test_the_key_of_programs_tells_tools_in_the_thoughts(letta: FakeLetta) -> None:
    letta.steps = USED
    with gateway(letta.base_url, keys=(PROGRAMS, RICH)) as url, http(url) as client:
        stream = check_stream(client.post(URL, json=chat(stream=True), headers=OPEN_WEBUI).content)

    assert stream.thoughts == [f"Hm. \n{LINE}"]


# steps -> what Open WebUI is told at last
FAILURES: dict[str, tuple[list[Step], str]] = {
    "an error of Letta's": (
        [PING, CALLED, {**STOP, "stop_reason": "error"}, {**FAILED, "error_type": "llm_timeout"}],
        "! model_timeout",
    ),
    "an end without a reason": ([PING, CALLED], "! upstream_broken"),
    "an answer without a return": ([PING, CALLED, STOP, USAGE], "= stop"),
}


@pytest.mark.parametrize(("steps", "end"), FAILURES.values(), ids=FAILURES)
def test_a_call_that_never_returns_has_a_card_before_the_end(letta: FakeLetta, steps: list[Step], end: str) -> None:
    go_on = threading.Event()
    letta.steps = [*steps[:2], go_on, *steps[2:]]
    with (
        gateway(letta.base_url, keys=(RICH,)) as url,
        http(url, "sk-front") as client,
        client.stream("POST", URL, json=chat(stream=True), headers=OPEN_WEBUI) as response,
    ):
        pieces = response.iter_bytes()
        first = next(pieces)
        go_on.set()
        parted = part(first + b"".join(pieces))

    assert parted.timeline == [
        *("(Using web_search…)", "(web_search failed.)", '[web_search {"q": "tea"} failed Nothing came back.]', end),
    ]


def test_stop_within_a_tool_cancels_the_run(letta: FakeLetta) -> None:
    letta.steps = [PING, CALLED, Hold()]
    with gateway(letta.base_url, keys=(RICH,), chats=Chats(grace_seconds=0)) as url, http(url, "sk-front") as client:
        with client.stream("POST", URL, json=chat(stream=True), headers=OPEN_WEBUI) as response:
            assert b'"done":false' in next(response.iter_bytes())
        assert letta.cancelled.wait(10)


def test_a_request_that_is_sent_again_has_the_cards_too(letta: FakeLetta) -> None:
    letta.steps = USED
    again = {**OPEN_WEBUI, "Idempotency-Key": "k-1"}
    with gateway(letta.base_url, keys=(RICH,)) as url:
        first, second = (part(ask(url, again, stream=True).content) for _ in range(2))

    assert first.cards == second.cards
    assert first.lines == second.lines
    assert letta.said == [["hello"]]


def test_what_open_webui_makes_of_cards_goes_on_in_the_same_conversation(letta: FakeLetta) -> None:
    letta.steps = [PING, THOUGHT, {**WORD, "content": "Wait. "}, CALLED, RETURNED, WORD, STOP, USAGE]
    calls = [{"id": "call_1", "type": "function", "function": {"name": "web_search", "arguments": "{}"}}]
    expanded = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Wait. ", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "3 pages"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "and now?"},
    ]
    ids = {"X-Message-Id": "a-1", "X-User-Message-Id": "q-1", "X-Parent-Id": ""}
    with gateway(letta.base_url, keys=(RICH,)) as url:
        ask(url, {**OPEN_WEBUI, **ids}, stream=True)
        ask(url, {**OPEN_WEBUI, "X-Message-Id": "a-2", "X-Parent-Id": "a-1"}, stream=True, messages=expanded)
        ask(url, {**WHO, "X-OpenWebUI-Chat-Id": "other"}, stream=True)
        ask(url, {**WHO, "X-OpenWebUI-Chat-Id": "other"}, stream=True, messages=expanded)

    assert letta.said == [["hello"], ["and now?"]] * 2
    assert len(letta.conversations) == 2
