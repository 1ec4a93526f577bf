"""An answer goes on after a reload: what was said so far, and the rest as it comes."""

import json
import threading

import msgspec
from playwright.sync_api import Page, expect

from gateway.settings import Chats, Responses
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, PROGRAMS, gateway
from tests.servers.fake_letta import ANSWER, PING, STOP, THOUGHT, USAGE, FakeLetta, Hold, Step
from tests.servers.proxy import Proxy

TOOL: Step = {
    "message_type": "tool_call_message",
    "step_id": "s1",
    "tool_call": {"name": "web_search", "tool_call_id": "call-1", "arguments": "{}"},
}
AT_ONCE = Chats(grace_seconds=0)


def word(text: str) -> Step:
    return {"message_type": "assistant_message", "step_id": "s1", "content": text}


def send_half(chat: ChatPage, letta: FakeLetta) -> threading.Event:
    """Send a message of which half the answer comes, and the rest once the event is set."""
    rest = threading.Event()
    letta.coming = [[THOUGHT, TOOL, word("Half an"), rest, word(" answer."), STOP, USAGE]]
    chat.send("Hello")
    expect(chat.last).to_contain_text("Half an")
    return rest


def is_whole(chat: ChatPage, letta: FakeLetta) -> None:
    expect(chat.last).to_contain_text("Half an answer.")
    chat.wait()
    assert chat.texts() == ["Hello", "Half an answer."]
    assert chat.last.locator(".body > *").all_inner_texts() == ["Thoughts", "Used web_search", "Half an answer."]
    expect(chat.last.locator(".usage")).to_have_text("5 tokens")
    expect(chat.last.locator(".note")).to_be_empty()
    assert letta.said == [["Hello"]]
    assert not letta.cancelled.is_set()


def test_what_was_said_is_there_and_the_rest_comes(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_half(chat, letta)
    for _ in range(2):
        chat.page.reload()
        expect(chat.last).to_contain_text("Half an")
        expect(chat.stop_button).to_be_visible()
    rest.set()
    is_whole(chat, letta)

    # What follows goes on behind it.
    letta.steps = ANSWER
    chat.say("More")
    assert letta.said == [["Hello"], ["More"]]


def test_an_answer_that_ended_while_the_page_was_away_is_there(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_half(chat, letta)
    chat.page.goto("about:blank")
    rest.set()
    chat.page.goto(chat.url)

    is_whole(chat, letta)


def test_an_answer_whose_events_are_gone_is_there_as_a_whole(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_half(chat, letta)
    chat.page.goto("about:blank")
    rest.set()
    gone = json.dumps({"error": {"message": "Too late.", "type": "invalid_request_error", "param": None, "code": None}})
    chat.page.route("**/v1/responses/*stream=true*", lambda route: route.fulfill(status=400, body=gone))
    chat.page.goto(chat.url)

    is_whole(chat, letta)


def test_stop_stops_it_after_a_reload(chat: ChatPage, letta: FakeLetta) -> None:
    send_half(chat, letta)
    chat.page.reload()
    chat.stop_button.click()
    expect(chat.last.locator(".note")).to_have_text("Stopped.")

    assert letta.cancelled.wait(30)
    assert chat.texts() == ["Hello", "Half an"]
    chat.page.reload()
    expect(chat.last.locator(".note")).to_have_text("Stopped.")


def test_stop_ends_the_run_at_once_though_others_would_wait_for_the_client(page: Page, letta: FakeLetta) -> None:
    with (
        gateway(letta.base_url, chat_page=True, chats=Chats(grace_seconds=600)) as url,
        ChatPage(page, url).opened(KEY, "Ada") as chat,
    ):
        send_half(chat, letta)
        chat.stop_button.click()
        assert letta.cancelled.wait(30)


def test_what_is_stopped_before_its_first_word_is_cancelled(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [PING, Hold()]
    chat.send("Hello")
    assert letta.run_begun.wait(30)
    chat.stop_button.click()
    expect(chat.last.locator(".note")).to_have_text("Stopped.")

    assert letta.cancelled.wait(30)


def test_a_continued_answer_goes_on_after_a_reload(chat: ChatPage, letta: FakeLetta) -> None:
    rest = threading.Event()
    letta.coming = [[word("One"), Hold()], [THOUGHT, word(" two"), rest, word(" three."), STOP]]
    chat.send("Hello")
    expect(chat.last).to_contain_text("One")
    chat.page.keyboard.press("Escape")
    expect(chat.last.locator(".note")).to_have_text("Stopped.")
    chat.press("Continue", chat.last)
    expect(chat.last).to_contain_text("One two")
    chat.page.reload()
    rest.set()
    expect(chat.last).to_contain_text("One two three.")
    chat.wait()

    assert chat.last.locator(".body > *").all_inner_texts() == ["Thoughts", "One two three."]


def test_a_connection_that_is_lost_is_made_again(page: Page, letta: FakeLetta) -> None:
    with (
        gateway(letta.base_url, chat_page=True, chats=AT_ONCE) as url,
        Proxy(url) as proxy,
        ChatPage(page, proxy.base_url).opened(KEY, "Ada") as chat,
    ):
        rest = send_half(chat, letta)
        proxy.cut()
        rest.set()
        is_whole(chat, letta)


def test_another_tab_shows_the_same_answer_and_may_stop_it(chat: ChatPage, letta: FakeLetta) -> None:
    send_half(chat, letta)
    with chat.page.context.new_page() as other, ChatPage(other, chat.url).opened(KEY) as second:
        second.chats.click()
        expect(second.last).to_contain_text("Half an")
        second.stop_button.click()
        expect(second.last.locator(".note")).to_have_text("Stopped.")
        expect(chat.last.locator(".note")).to_have_text("Stopped.")

    assert letta.cancelled.wait(30)


def test_an_answer_in_a_temporary_chat_ends_with_the_page(page: Page, letta: FakeLetta) -> None:
    with (
        gateway(letta.base_url, chat_page=True, chats=AT_ONCE) as url,
        ChatPage(page, url).opened(KEY, "Ada") as chat,
    ):
        chat.press("Temporary chat")
        send_half(chat, letta)
        page.reload()
        assert letta.cancelled.wait(30)


def test_who_has_begun_very_many_has_answers_that_end_with_the_page(page: Page, letta: FakeLetta) -> None:
    few = Responses(background_per_hour=1)
    with (
        gateway(letta.base_url, chat_page=True, responses=few, chats=AT_ONCE) as url,
        ChatPage(page, url).opened(KEY, "Ada") as chat,
    ):
        chat.say("One")
        chat.say("Two")
        assert letta.said == [["One"], ["Two"]]
        send_half(chat, letta)
        page.reload()
        assert letta.cancelled.wait(30)
        chat.wait()
        assert "Half an" in chat.texts()[-1]


APPROVAL: Step = {
    "message_type": "approval_request_message",
    "step_id": "s1",
    "tool_call": {"name": "delete_file", "tool_call_id": "call-1", "arguments": '{"path": "a"}'},
}
ASKS: Step = {"message_type": "stop_reason", "stop_reason": "requires_approval"}


def test_tools_and_questions_are_shown_however_a_key_is_told_of_them(page: Page, letta: FakeLetta) -> None:
    key = msgspec.structs.replace(PROGRAMS, tool_activity="mcp_calls", approval_form="items")
    returned: Step = {"message_type": "tool_return_message", "tool_call_id": "call-1", "tool_return": "{}"}
    letta.coming = [[THOUGHT, TOOL, returned, word("Well."), STOP], [word("So."), APPROVAL, ASKS]]
    with gateway(letta.base_url, chat_page=True, keys=(key,)) as url, ChatPage(page, url).opened(KEY, "Ada") as chat:
        chat.say("Hello")
        assert chat.last.locator(".body > *").all_inner_texts() == ["Thoughts", "Used web_search", "Well."]
        chat.say("Delete it")
        expect(chat.last).to_contain_text("May I do this?")
        expect(chat.last).to_contain_text("delete_file")
        letta.steps = ANSWER
        chat.press("Allow")
        chat.wait()

    assert letta.runs[-1]["messages"][0]["type"] == "approval"
