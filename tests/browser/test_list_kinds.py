"""The list with chats of all kinds: with pictures, temporary ones, and those that came along with a name."""

import json

from playwright.sync_api import Page, expect

from gateway.settings import Key, Secret
from tests.browser.attached import attach_one
from tests.browser.chat_page import ChatPage, saved
from tests.gateways import KEY, gateway
from tests.pictures.drawn import picture
from tests.servers.fake_letta import FakeLetta

# A key that takes whoever is named, and answers everybody else as one.
ANYBODY = Key(name="anybody", key=Secret(KEY), default_user="nobody")


def test_a_chat_is_found_by_the_names_of_its_pictures(chat: ChatPage) -> None:
    attach_one(chat, picture(), "cat.png")
    chat.send("")
    expect(chat.answers).to_have_count(1)
    chat.press("New chat")
    chat.say("Another one")
    chat.search_field.fill("CAT.png")

    expect(chat.page.locator("#chats .title")).to_have_text(["A picture"])
    expect(chat.page.locator("#chats .excerpt")).to_have_text("cat.png")


def test_a_chat_is_saved_with_its_pictures(chat: ChatPage) -> None:
    one, other = picture(20, 10), picture(10, 20)
    attach_one(chat, one)
    attach_one(chat, other)
    chat.say("Look")

    _, text = saved(chat, "Look", "Export as Markdown")
    assert text.startswith("# Look\n\n## Ada\n\nLook\n\n*Picture: cat.png*\n\n*Picture: cat.png (2)*\n\n## Tutor")
    _, text = saved(chat, "Look", "Export as JSON")
    pictures = json.loads(text)["messages"][0]["pictures"]
    assert [each["url"] for each in pictures] == [one.url, other.url]
    assert one.url not in json.dumps(chat.kept())


def test_a_temporary_chat_is_found_renamed_and_saved_and_kept_nowhere(chat: ChatPage) -> None:
    chat.press("Temporary chat")
    chat.say("Between us")
    chat.search_field.fill("between")
    expect(chat.chats).to_have_text("Between ustemporary")
    chat.choose("Between us", "Rename")
    chat.page.keyboard.type("A secret\n")
    expect(chat.chats).to_have_text("A secretBetween ustemporary")
    chat.search_field.press("Escape")
    name, text = saved(chat, "A secret", "Export as Markdown")

    assert (name, text.splitlines()[0]) == ("A secret.md", "# A secret")
    assert "secret" not in json.dumps([chat.kept(), chat.page.evaluate("({...sessionStorage})")])
    chat.page.reload()
    expect(chat.page.locator("#greeting")).to_be_visible()
    expect(chat.chats).to_have_count(0)


def test_a_title_comes_along_with_a_name_that_is_given_while_it_is_written(page: Page, letta: FakeLetta) -> None:
    with gateway(letta.base_url, chat_page=True, keys=(ANYBODY,)) as url, ChatPage(page, url).opened(KEY) as chat:
        chat.say("Hello")
        chat.choose("Hello", "Rename")
        page.keyboard.type("A greeting")
        chat.enter_name("Ada")
        chat.press("Take it along", page.get_by_role("dialog"))
        page.reload()

        expect(chat.chats).to_have_text("A greeting")
        chat.chats.focus()
        page.keyboard.press("F2")
        expect(page.get_by_label("New title of “A greeting”")).to_be_focused()
