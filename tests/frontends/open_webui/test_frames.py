"""Status lines and tool cards: Open WebUI's words, and OpenAI's for the items of a card."""

import json
from typing import Any

import pytest
from openai.types.responses import ResponseFunctionToolCall, ResponseFunctionToolCallOutputItem

from gateway.frontends.open_webui.frames import status, tool_card
from gateway.wires.chat_completions.response import frame


def card(failed: bool = False) -> list[dict[str, Any]]:
    frames = tool_card("1-1", "web_search", '{"q": "tea"}', "3 pages", failed, 2)
    return [json.loads(frame(one).removeprefix(b"data: ")) for one in frames]


@pytest.mark.parametrize(("done", "told"), [(False, b"false"), (True, b"true")])
def test_a_status_line_is_open_webui_s_to_the_byte(done: bool, told: bytes) -> None:
    expected = b'data: {"event":{"data":{"description":"Using x\xe2\x80\xa6","done":%b},"type":"status"}}\n\n' % told

    assert frame(status("Using x…", done)) == expected


def test_a_card_is_a_call_and_then_its_output_each_added_and_done() -> None:
    kinds = [(told["type"].rpartition(".")[2], told["item"]["type"], told["item"]["status"]) for told in card()]

    assert kinds == [
        ("added", "function_call", "in_progress"),
        ("done", "function_call", "completed"),
        ("added", "function_call_output", "in_progress"),
        ("done", "function_call_output", "completed"),
    ]
    assert {told["item"]["call_id"] for told in card()} == {"call_1-1"}
    assert [told["item"]["id"] for told in card()] == ["fc_1-1", "fc_1-1", "fco_1-1", "fco_1-1"]


def test_the_items_of_a_card_are_openai_s() -> None:
    _, call, _, output = card()
    called = ResponseFunctionToolCall.model_validate(call["item"], strict=True)
    ResponseFunctionToolCallOutputItem.model_validate(output["item"], strict=True)

    assert (called.name, called.arguments) == ("web_search", '{"q": "tea"}')
    assert output["item"]["output"] == [{"type": "input_text", "text": "3 pages"}]


def test_a_tool_that_failed_has_open_webui_s_own_word_for_it() -> None:
    _, call, _, output = card(failed=True)

    assert (call["item"]["status"], output["item"]["status"]) == ("completed", "failed")


def test_the_two_items_of_a_card_follow_one_another() -> None:
    assert [told["output_index"] for told in card()] == [2, 2, 3, 3]
