"""Pictures on their way with their message: while it waits, is refused, or belongs to a chat that is kept nowhere."""

import threading

import pytest
from playwright.sync_api import Locator, Page, expect

from gateway.settings import Key, Secret
from tests.browser.attached import as_letta_has, attach_one, attached, contents, kept_pictures, seen, shown
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, gateway
from tests.pictures.drawn import Picture, picture
from tests.servers.fake_letta import STOP, WORD, FakeLetta, Hold, Step

# A key that takes whoever is named, and answers everybody else as one.
ANYBODY = Key(name="anybody", key=Secret(KEY), default_user="nobody")
# An answer that asks for an approval.
ASKS: list[Step] = [
    {
        "message_type": "approval_request_message",
        "step_id": "s1",
        "tool_call": {"name": "delete_file", "tool_call_id": "call-1", "arguments": "{}"},
    },
    {"message_type": "stop_reason", "stop_reason": "requires_approval"},
]


def waiting(chat: ChatPage) -> Locator:
    return chat.page.get_by_role("list", name="Messages that wait").get_by_role("listitem")


def answering(chat: ChatPage, letta: FakeLetta, *end: Step) -> threading.Event:
    """Have an answer come, which ends so once the event is set."""
    rest = threading.Event()
    letta.coming = [[WORD, rest, *(end or [STOP])]]
    chat.send("First")
    expect(chat.last).to_contain_text("Hello")
    return rest


def send(chat: ChatPage, text: str, one: Picture, name: str = "cat.png") -> None:
    attach_one(chat, one, name)
    chat.send(text)
    expect(attached(chat)).to_have_count(0)


def test_messages_that_wait_bring_their_pictures(chat: ChatPage, letta: FakeLetta) -> None:
    one, other = picture(20, 10), picture(10, 20)
    rest = answering(chat, letta)
    send(chat, "Second", one)
    send(chat, "", other)
    expect(waiting(chat)).to_have_text(["Second", ""])
    assert seen(waiting(chat).locator(".picture")) == [[20, 10], [10, 20]]
    rest.set()
    expect(chat.answers).to_have_count(3)
    chat.wait()

    sent = [run["messages"][-1]["content"] for run in letta.runs]
    assert sent[1:] == [as_letta_has("Second", one), as_letta_has("", other)]
    assert seen(shown(chat)) == [[20, 10], [10, 20]]
    assert len(kept_pictures(chat.page)) == 2


def test_a_message_that_waits_is_edited_with_its_pictures_and_deleted_with_them(
    chat: ChatPage, letta: FakeLetta
) -> None:
    one, other, third = picture(20, 10), picture(10, 20), picture(30, 30)
    rest = answering(chat, letta)
    send(chat, "Second", one)
    send(chat, "Third", other)
    attach_one(chat, third)
    chat.press("Edit the waiting message", waiting(chat).first)
    assert seen(attached(chat)) == [[20, 10], [30, 30]]
    chat.press("Delete the waiting message", waiting(chat))
    chat.say_field.press("Enter")
    expect(waiting(chat)).to_have_text(["Second"])
    rest.set()
    expect(chat.answers).to_have_count(2)
    chat.wait()

    assert contents(letta) == [as_letta_has("Second", one, third)]


# How the answer ends
ENDS: dict[str, list[Step]] = {
    "it fails": [{"message_type": "error_message", "error_type": "llm_error"}],
    "it asks for an approval": ASKS,
    "it is stopped": [Hold()],
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_pictures_that_waited_are_in_the_field_again_where_sending_them_could_be_wrong(
    chat: ChatPage, letta: FakeLetta, end: list[Step]
) -> None:
    one, other = picture(20, 10), picture(10, 20)
    rest = answering(chat, letta, *end)
    send(chat, "Second", one)
    attach_one(chat, other)
    rest.set()
    if end is ENDS["it is stopped"]:
        chat.stop_button.click()
    chat.wait()
    expect(chat.say_field).to_have_value("Second")
    expect(waiting(chat)).to_have_count(0)
    assert seen(attached(chat)) == [[20, 10], [10, 20]]
    assert len(letta.runs) == 1

    letta.steps = [WORD, STOP]
    chat.say("Second")
    assert contents(letta)[-1] == as_letta_has("Second", one, other)


def test_the_buttons_of_an_approval_leave_what_waited_in_the_field(chat: ChatPage, letta: FakeLetta) -> None:
    rest = answering(chat, letta, *ASKS)
    send(chat, "Second", picture(20, 10))
    rest.set()
    chat.press("Allow")
    expect(chat.answers).to_have_count(2)
    chat.wait()

    assert chat.texts()[2] == "yes"
    expect(chat.say_field).to_have_value("Second")
    assert seen(attached(chat)) == [[20, 10]]


def test_a_chat_that_is_deleted_comes_back_with_the_pictures_that_waited(chat: ChatPage, letta: FakeLetta) -> None:
    answering(chat, letta, Hold())
    send(chat, "Second", picture(20, 10))
    chat.choose("First", "Delete")
    expect(attached(chat)).to_have_count(0)
    chat.press("Undo")

    expect(chat.say_field).to_have_value("Second")
    assert seen(attached(chat)) == [[20, 10]]


def test_a_message_that_was_refused_for_want_of_a_name_is_sent_with_its_pictures(
    page: Page, url: str, letta: FakeLetta
) -> None:
    one = picture(20, 10)
    with ChatPage(page, url).opened(KEY) as chat:
        send(chat, "Look", one)
        expect(chat.last.get_by_role("alert")).to_be_visible()
        chat.enter_name("Ada")
        expect(chat.answers.locator(".body > .md")).to_have_text("Hello")
        chat.wait()

        assert contents(letta) == [as_letta_has("Look", one)]


def test_chats_that_come_along_with_a_name_keep_their_pictures(page: Page, letta: FakeLetta) -> None:
    one = picture(20, 10)
    with gateway(letta.base_url, chat_page=True, keys=(ANYBODY,)) as url, ChatPage(page, url).opened(KEY) as chat:
        attach_one(chat, one)
        chat.say("Look")
        chat.enter_name("Ada")
        chat.press("Take it along", page.get_by_role("dialog"))
        page.reload()
        expect(chat.answers).to_have_count(1)
        assert seen(shown(chat)) == [[20, 10]]
        chat.say("And now?")

        told = contents(letta)
        assert as_letta_has("Look", one) in told
        assert told[-1] == "And now?"


def test_nothing_of_a_temporary_chat_s_pictures_is_kept(chat: ChatPage, letta: FakeLetta) -> None:
    one, other = picture(20, 10), picture(10, 20)
    attach_one(chat, one)
    chat.press("Temporary chat")
    assert seen(attached(chat)) == [[20, 10]]
    chat.say("Between us")
    attach_one(chat, other)
    chat.say("And this")
    assert seen(shown(chat)) == [[20, 10], [10, 20]]
    chat.choose("Between us", "Delete")
    chat.press("Undo")
    assert seen(shown(chat)) == [[20, 10], [10, 20]]
    assert kept_pictures(chat.page) == []

    chat.press("New chat")
    expect(attached(chat)).to_have_count(0)
    attach_one(chat, one)
    chat.say("To be kept")
    assert len(kept_pictures(chat.page)) == 1


def test_another_tab_shows_the_pictures_of_a_chat_and_keeps_what_is_attached_there(chat: ChatPage) -> None:
    attach_one(chat, picture(20, 10))
    chat.say("Look")
    tab = ChatPage(chat.page.context.new_page(), chat.url)
    with tab.opened(KEY):
        tab.chats.click()
        assert seen(shown(tab)) == [[20, 10]]
        attach_one(chat, picture(10, 20))
        chat.say("And this")
        expect(tab.answers).to_have_count(2)
        assert seen(shown(tab)) == [[20, 10], [10, 20]]

        tab.say_field.fill("Not sent yet")
        attach_one(tab, picture(30, 30))
        chat.choose("Look", "Delete")
        expect(tab.messages).to_have_count(0)
        expect(tab.say_field).to_have_value("Not sent yet")
        assert seen(attached(tab)) == [[30, 30]]
