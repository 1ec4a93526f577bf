"""Messages that wait while an answer comes, and the last message, edited from the field."""

import json
import threading

import pytest
from playwright.sync_api import Locator, Page, expect

from gateway.settings import AgentType
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, MODEL_HANDLE, gateway
from tests.servers.fake_letta import ANSWER, STOP, WORD, FakeLetta, Hold, Step

APPROVAL: Step = {
    "message_type": "approval_request_message",
    "step_id": "s1",
    "tool_call": {"name": "delete_file", "tool_call_id": "call-1", "arguments": "{}"},
}
ASKS: Step = {"message_type": "stop_reason", "stop_reason": "requires_approval"}


def waiting(chat: ChatPage) -> Locator:
    return chat.page.get_by_role("list", name="Messages that wait").get_by_role("listitem")


def send_while_answered(chat: ChatPage, letta: FakeLetta, *texts: str) -> threading.Event:
    """Send a message, and these while its answer comes; it ends once the event is set."""
    rest = threading.Event()
    letta.coming = [[WORD, rest, STOP]]
    chat.send("First")
    expect(chat.last).to_contain_text("Hello")
    for text in texts:
        chat.send(text)
    expect(waiting(chat)).to_have_text(list(texts))
    return rest


def test_messages_wait_for_the_answer_and_are_sent_one_after_the_other(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_while_answered(chat, letta, "Second", "Third")
    expect(chat.say_field).to_have_value("")
    expect(chat.page.locator("#hint")).to_have_text("What waits is sent when the answer has ended.")
    chat.say_field.fill("Fourth")
    rest.set()
    expect(chat.answers).to_have_count(3)
    chat.wait()

    assert chat.texts() == ["First", "Hello", "Second", "Hello", "Third", "Hello"]
    assert letta.said == [["First"], ["Second"], ["Third"]]
    expect(waiting(chat)).to_have_count(0)
    expect(chat.page.locator("#hint")).to_be_empty()
    # What is not sent yet stays.
    expect(chat.say_field).to_have_value("Fourth")


def test_a_message_can_be_sent_to_wait_without_a_keyboard(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_while_answered(chat, letta)
    send = chat.page.get_by_role("button", name="Send", exact=True)
    expect(send).to_be_hidden()
    chat.say_field.fill("Second")
    expect(chat.stop_button).to_be_visible()
    send.click()
    expect(waiting(chat)).to_have_text(["Second"])
    expect(send).to_be_hidden()
    rest.set()
    expect(chat.answers).to_have_count(2)
    chat.wait()

    assert chat.texts() == ["First", "Hello", "Second", "Hello"]


def test_a_message_that_waits_can_be_edited_and_taken_back(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_while_answered(chat, letta, "Second", "Third", "Fourth")
    chat.press("Delete the waiting message", waiting(chat).nth(1))
    expect(waiting(chat)).to_have_text(["Second", "Fourth"])
    chat.say_field.fill("and more")
    chat.press("Edit the waiting message", waiting(chat).first)
    expect(waiting(chat)).to_have_text(["Fourth"])
    expect(chat.say_field).to_be_focused()
    expect(chat.say_field).to_have_value("Second\n\nand more")
    chat.say_field.fill("Changed")
    chat.say_field.press("Enter")
    expect(waiting(chat)).to_have_text(["Fourth", "Changed"])
    rest.set()
    expect(chat.answers).to_have_count(3)
    chat.wait()

    assert letta.said == [["First"], ["Fourth"], ["Changed"]]


# What becomes of the answer
ENDS: dict[str, list[Step]] = {
    "it fails": [{"message_type": "error_message", "error_type": "llm_error"}],
    "it asks for an approval": [APPROVAL, ASKS],
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_waits_is_a_draft_again_where_sending_it_could_be_wrong(
    chat: ChatPage, letta: FakeLetta, end: list[Step]
) -> None:
    rest = threading.Event()
    letta.coming = [[WORD, rest, *end]]
    chat.send("First")
    expect(chat.last).to_contain_text("Hello")
    chat.send("Second")
    chat.send("Third")
    chat.say_field.fill("Fourth")
    rest.set()
    chat.wait()

    expect(chat.say_field).to_have_value("Second\n\nThird\n\nFourth")
    expect(waiting(chat)).to_have_count(0)
    expect(chat.messages).to_have_count(2)
    assert letta.said == [["First"]]


@pytest.mark.parametrize("how", ["Stop", "Escape"])
def test_stop_gives_back_what_waits(chat: ChatPage, letta: FakeLetta, how: str) -> None:
    letta.steps = [WORD, Hold()]
    chat.send("First")
    expect(chat.last).to_contain_text("Hello")
    chat.send("Second")
    expect(waiting(chat)).to_have_text(["Second"])
    if how == "Stop":
        chat.stop_button.click()
    else:
        chat.page.keyboard.press("Escape")
    expect(chat.last.locator(".note")).to_have_text("Stopped.")
    expect(chat.say_field).to_have_value("Second")
    letta.steps = ANSWER
    chat.say_field.press("Enter")
    expect(chat.answers).to_have_count(2)
    chat.wait()

    assert chat.texts() == ["First", "Hello", "Second", "Hello"]


def test_a_message_waits_in_its_chat_whichever_is_on_screen(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_while_answered(chat, letta, "Second")
    chat.say_field.fill("Draft of the first")
    chat.press("New chat")
    expect(waiting(chat)).to_have_count(0)
    expect(chat.say_field).to_have_value("")
    chat.say("Elsewhere")
    chat.chats.filter(has_text="First").click()
    expect(waiting(chat)).to_have_text(["Second"])
    expect(chat.say_field).to_have_value("Draft of the first")
    chat.chats.filter(has_text="Elsewhere").click()
    rest.set()
    expect(chat.page.get_by_role("img", name="(answering)")).to_have_count(0)
    assert chat.texts() == ["Elsewhere", "Hello"]

    chat.chats.filter(has_text="First").click()
    expect(chat.answers).to_have_count(2)
    chat.wait()
    assert chat.texts() == ["First", "Hello", "Second", "Hello"]
    expect(chat.say_field).to_have_value("Draft of the first")


def test_a_message_that_waits_has_its_chat_s_model(page: Page, letta: FakeLetta) -> None:
    types = tuple(AgentType(id=name, model=MODEL_HANDLE) for name in ("tutor", "cook"))
    with gateway(letta.base_url, chat_page=True, types=types) as url, ChatPage(page, url).opened(KEY, "Ada") as chat:
        page.get_by_label("Model").select_option("cook")
        rest = send_while_answered(chat, letta, "Second")
        chat.press("New chat")
        page.get_by_label("Model").select_option("tutor")
        rest.set()
        expect(page.get_by_role("img", name="(answering)")).to_have_count(0)
        chat.chats.click()
        expect(chat.answers).to_have_count(2)
        chat.wait()

        assert page.locator(".who").all_inner_texts() == ["cook", "cook"]
    assert len(letta.agents) == 1


def test_a_message_follows_the_answer_that_it_waited_for(chat: ChatPage, letta: FakeLetta) -> None:
    chat.say("First")
    rest = threading.Event()
    letta.coming = [[{**WORD, "content": "Another"}, rest, STOP]]
    chat.press("Edit", chat.messages.first)
    chat.edit_field.fill("Changed")
    chat.page.keyboard.press("Enter")
    expect(chat.last).to_contain_text("Another")
    chat.send("Second")
    chat.press("Previous version", chat.messages.first)
    assert chat.texts() == ["First", "Hello"]
    rest.set()
    expect(chat.answers).to_have_count(2)
    chat.wait()

    assert chat.texts() == ["Changed", "Another", "Second", "Hello"]


def test_a_reload_keeps_what_waits_as_a_draft(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [WORD, Hold()]
    chat.send("First")
    expect(chat.last).to_contain_text("Hello")
    chat.send("Second")
    chat.send("Third")
    chat.say_field.fill("Fourth")
    chat.page.reload()

    expect(chat.say_field).to_have_value("Second\n\nThird\n\nFourth")
    expect(chat.messages).to_have_count(2)
    assert "Second" not in json.dumps(chat.kept())


def test_a_chat_that_is_deleted_sends_nothing_more(chat: ChatPage, letta: FakeLetta) -> None:
    send_while_answered(chat, letta, "Second")
    chat.choose("First", "Delete")
    assert letta.cancelled.wait(30)
    chat.press("Undo")
    expect(chat.last.locator(".note")).to_have_text("Stopped.")

    expect(chat.say_field).to_have_value("Second")
    assert letta.said == [["First"]]


def test_arrow_up_in_an_empty_field_edits_the_last_message(chat: ChatPage, letta: FakeLetta) -> None:
    chat.say("One")
    chat.say("Two")
    editing = chat.edit_field.filter(visible=True)
    chat.say_field.press("ArrowUp")
    expect(editing).to_be_focused()
    expect(editing).to_have_value("Two")
    chat.page.keyboard.press("Escape")
    expect(editing).to_have_count(0)
    expect(chat.say_field).to_be_focused()

    chat.page.keyboard.press("ArrowUp")
    editing.fill("Three")
    chat.page.keyboard.press("Enter")
    expect(chat.messages.nth(2).locator(".versions")).to_have_text("2/2")
    chat.wait()
    assert chat.texts() == ["One", "Hello", "Three", "Hello"]
    expect(chat.say_field).to_be_focused()


def test_arrow_up_takes_back_the_last_message_that_waits(chat: ChatPage, letta: FakeLetta) -> None:
    rest = send_while_answered(chat, letta, "Second", "Third")
    chat.say_field.press("ArrowUp")
    expect(chat.say_field).to_have_value("Third")
    expect(waiting(chat)).to_have_text(["Second"])
    rest.set()
    expect(chat.answers).to_have_count(2)


# What is in the field, and how the key is pressed
LEFT_ALONE: dict[str, tuple[str, str]] = {
    "in a text": ("Text", "ArrowUp"),
    "with Shift": ("", "Shift+ArrowUp"),
    "with Alt": ("", "Alt+ArrowUp"),
}


@pytest.mark.parametrize(("text", "key"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_arrow_up_edits_nothing_otherwise(chat: ChatPage, text: str, key: str) -> None:
    chat.say("One")
    chat.say_field.fill(text)
    chat.say_field.press(key)

    expect(chat.edit_field.filter(visible=True)).to_have_count(0)


def test_arrow_up_where_nothing_can_be_edited_does_nothing(chat: ChatPage, letta: FakeLetta) -> None:
    chat.say_field.press("ArrowUp")
    expect(chat.messages).to_have_count(0)
    rest = send_while_answered(chat, letta)
    chat.say_field.press("ArrowUp")
    expect(chat.edit_field.filter(visible=True)).to_have_count(0)
    expect(chat.say_field).to_be_focused()
    rest.set()
    chat.wait()
