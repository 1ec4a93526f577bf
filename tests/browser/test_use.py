"""How the page is used: by keyboard alone, on narrow screens, by day and night, after a reload, in two tabs."""

import json
import threading

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chat_page import ChatPage, name_of, shown
from tests.gateways import KEY, gateway
from tests.servers.fake_letta import ANSWER, STOP, WORD, FakeLetta, Hold

WIDE = "WWWWWWWWWW" * 20
TABLE = f"|a|b|\n|-|-|\n|{WIDE}|{WIDE}|"
EVERYTHING = f"# {WIDE}\n\n{WIDE}\n\n`{WIDE}`\n\n```\n{WIDE}\n```\n\n- - {WIDE}\n\n> {WIDE}\n\n{TABLE}"


def focused(page: Page) -> str:
    """The name of what has the keyboard."""
    name: str = page.evaluate("""() => {
        const at = document.activeElement;
        return at.ariaLabel || at.labels?.[0]?.textContent || at.textContent;
    }""")
    return name.strip()


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    """Press Tab until what has this name has the keyboard."""
    for _ in range(40):
        if name_of(name).match(focused(page)):
            return
        page.keyboard.press(key)
    raise AssertionError(f"Tab does not lead to {name}")


def test_everything_is_done_by_keyboard_alone(page: Page, url: str, letta: FakeLetta) -> None:
    keyboard = page.keyboard
    with ChatPage(page, url).opened() as chat:
        expect(chat.key_dialog).to_be_visible()
        keyboard.type(KEY + "\n")
        expect(chat.key_dialog).to_be_hidden()
        tab_to(page, "Your name", "Shift+Tab")
        keyboard.type("Ada\n")
        expect(page.locator("#greeting")).to_have_text("Hello, Ada")
        tab_to(page, "Your message")
        keyboard.type("One")
        keyboard.press("Shift+Enter")
        keyboard.type("line\n")
        expect(chat.answers).to_have_count(1)
        chat.wait()
        assert chat.texts() == ["One\nline", "Hello"]

        tab_to(page, "Regenerate", "Shift+Tab")
        keyboard.press("Enter")
        expect(chat.last.locator(".versions")).to_have_text("2/2")
        chat.wait()
        tab_to(page, "Previous version", "Shift+Tab")
        keyboard.press("Space")
        expect(chat.last.locator(".versions")).to_have_text("1/2")
        assert focused(page) == "Next version of the answer to “One line”"
        tab_to(page, "Edit", "Shift+Tab")
        keyboard.press("Enter")
        assert focused(page) == "Edit your message"
        keyboard.press("Escape")
        assert focused(page) == "Edit your message “One line”"
        keyboard.press("Enter")
        keyboard.press("Control+End")
        keyboard.type(" or two\n")
        expect(chat.messages.first.locator(".versions")).to_have_text("2/2")
        chat.wait()
        assert chat.texts() == ["One\nline or two", "Hello"]

        letta.steps = [WORD, Hold()]
        tab_to(page, "Your message")
        keyboard.type("Two\n")
        expect(chat.answers).to_have_count(2)
        expect(chat.last).to_contain_text("Hello")
        keyboard.type("Three\n")
        tab_to(page, "Edit the waiting message", "Shift+Tab")
        keyboard.press("Enter")
        assert focused(page) == "Your message"
        keyboard.press("Escape")
        expect(chat.last.locator(".note")).to_have_text("Stopped.")
        expect(chat.say_field).to_have_value("Three")
        tab_to(page, "Temporary chat", "Shift+Tab")
        keyboard.press("Space")
        expect(page.locator("#greeting")).to_have_text("A temporary chat")
        tab_to(page, "New chat", "Shift+Tab")
        keyboard.press("Enter")
        expect(chat.messages).to_have_count(0)
        tab_to(page, "Search chats", "Shift+Tab")
        keyboard.type("nothing of the kind")
        expect(chat.chats).to_have_count(0)
        keyboard.press("Escape")
        keyboard.type("line")
        keyboard.press("ArrowDown")
        assert focused(page) == "One line"
        keyboard.press("F2")
        keyboard.type("Lines\n")
        assert focused(page) == "Lines"
        keyboard.press("Enter")
        expect(chat.answers).to_have_count(2)
        expect(chat.chats).to_have_text("Lines")
        tab_to(page, "Lines", "Shift+Tab")
        keyboard.press("Delete")
        expect(chat.chats).to_have_count(0)
        tab_to(page, "Undo")
        keyboard.press("Enter")
        expect(chat.chats).to_have_count(1)


def test_the_focus_is_seen(chat: ChatPage) -> None:
    chat.say("Hello")
    seen = []
    for _ in range(12):
        chat.page.keyboard.press("Shift+Tab")
        seen.append(chat.page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))

    assert set(seen) == {"solid"}


def test_enter_sends_nothing_while_letters_are_composed(chat: ChatPage) -> None:
    chat.say_field.fill("にほ")
    chat.say_field.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True})
    expect(chat.messages).to_have_count(0)
    expect(chat.say_field).to_have_value("にほ")
    chat.say("にほんご")

    assert chat.texts() == ["にほんご", "Hello"]


def test_what_happens_is_told_to_who_does_not_see_it(chat: ChatPage, letta: FakeLetta) -> None:
    spoken, rest = chat.page.locator("#spoken"), threading.Event()
    letta.steps = [WORD, rest, {**WORD, "content": " **there**"}, STOP]
    chat.send("Hi")
    expect(chat.last).to_contain_text("Hello")
    # Not letter by letter.
    expect(spoken).to_have_text("Waiting for the answer.")
    rest.set()
    expect(spoken).to_have_text("Hello there")
    assert chat.page.locator("#messages [aria-live], #messages [role=log]").count() == 0


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, url: str, letta: FakeLetta, width: int) -> None:
    letta.steps = [{**WORD, "content": EVERYTHING}, STOP]
    with shown(browser, url, viewport={"width": width, "height": 700}) as chat:
        chat.open_drawer()
        chat.enter_name("Ada")
        chat.say(WIDE)
        expect(chat.last.locator("table")).to_be_visible()
        letta.steps = [WORD, Hold()]
        chat.send("And more")
        expect(chat.last).to_contain_text("Hello")
        chat.send(WIDE)

        for area in ("html", "#scroll", "#sidebar", "#messages", "#waiting"):
            assert chat.page.locator(area).evaluate("(node) => node.scrollWidth <= node.clientWidth"), area
        assert chat.page.locator("#composer").evaluate("(node) => node.getBoundingClientRect().right") <= width
        expect(chat.page.get_by_role("button", name="Delete the waiting message")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("height", [256, 640])
def test_the_empty_page_begins_at_its_beginning(browser: Browser, url: str, height: int) -> None:
    with shown(browser, url, viewport={"width": 320, "height": height}) as chat:
        expect(chat.page.locator("#greeting")).to_be_in_viewport(ratio=1)
        expect(chat.page.get_by_role("button", name="To the latest message")).to_be_hidden()
        expect(chat.say_field).to_be_in_viewport()


def test_on_a_narrow_screen_the_chats_are_a_drawer(browser: Browser, url: str) -> None:
    with shown(browser, url, viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True) as chat:
        menu = chat.page.get_by_role("button", name="Chats", exact=True)
        expect(chat.page.get_by_role("button", name="New chat")).to_be_hidden()
        menu.tap()
        expect(menu).to_have_attribute("aria-expanded", "true")
        expect(chat.page.locator("main")).to_have_js_property("inert", True)
        chat.enter_name("Ada")
        chat.send("Hello")
        expect(chat.answers).to_have_count(1)
        chat.wait()
        menu.tap()
        chat.page.keyboard.press("Escape")
        expect(menu).to_have_attribute("aria-expanded", "false")
        menu.tap()
        chat.press("New chat")
        expect(chat.messages).to_have_count(0)
        expect(menu).to_have_attribute("aria-expanded", "false")


def test_the_page_is_dark_where_people_want_it_dark(browser: Browser, url: str) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        with shown(browser, url, color_scheme=scheme) as chat:
            grounds.append(chat.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert grounds == ["rgb(251, 250, 248)", "rgb(23, 22, 20)"]


def test_chats_are_kept_by_name_over_a_reload_and_can_be_deleted(chat: ChatPage) -> None:
    chat.say("One")
    chat.press("New chat")
    chat.say("Two")
    chat.page.reload()
    expect(chat.chats).to_have_text(["Two", "One"])
    expect(chat.answers).to_have_count(1)
    assert chat.texts() == ["Two", "Hello"]

    chat.enter_name("Bob")
    expect(chat.chats).to_have_count(0)
    chat.enter_name("Ada")
    chat.choose("One", "Delete")
    chat.page.reload()
    expect(chat.chats).to_have_text(["Two"])
    assert "One" not in json.dumps(chat.kept())


def test_a_draft_is_kept_over_a_reload_and_belongs_to_its_chat(chat: ChatPage) -> None:
    chat.say("One")
    chat.say_field.fill("More of one")
    chat.press("New chat")
    chat.say_field.fill("Something new")
    chat.page.reload()
    expect(chat.say_field).to_have_value("Something new")
    chat.chats.click()
    expect(chat.say_field).to_have_value("More of one")


def test_a_chat_that_is_deleted_while_it_is_answered_stays_deleted(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [WORD, Hold()]
    chat.send("Hello")
    expect(chat.last).to_contain_text("Hello")
    chat.choose("Hello", "Delete")
    assert letta.cancelled.wait(30)
    chat.page.reload()

    expect(chat.chats).to_have_count(0)


def test_what_one_tab_keeps_the_other_shows(chat: ChatPage) -> None:
    other = ChatPage(chat.page.context.new_page(), chat.url)
    with other.opened(KEY):
        other.say("From the other tab")
        expect(chat.chats).to_have_text("From the other tab")
        chat.chats.click()
        assert chat.texts() == ["From the other tab", "Hello"]
        other.say("And again")
        expect(chat.messages).to_have_count(4)


def test_what_is_written_in_a_chat_that_another_tab_deletes_stays(chat: ChatPage) -> None:
    chat.say("One")
    chat.say_field.fill("More")
    other = ChatPage(chat.page.context.new_page(), chat.url)
    with other.opened(KEY):
        other.choose("One", "Delete")
        expect(chat.messages).to_have_count(0)
        expect(chat.say_field).to_have_value("More")
        chat.page.reload()
        expect(chat.say_field).to_have_value("More")


def test_a_browser_without_room_says_so_and_goes_on(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = ANSWER
    chat.page.evaluate("localStorage.setItem('x', 'x'.repeat(5_200_000))")
    chat.say("y" * 60_000)

    expect(chat.page.locator("#hint")).to_contain_text("no more room")
    assert chat.texts()[1] == "Hello"


def test_who_reads_above_is_left_there_and_led_back_on_demand(chat: ChatPage, letta: FakeLetta) -> None:
    rest = threading.Event()
    letta.steps = [{**WORD, "content": "line\n\n" * 60}, rest, {**WORD, "content": "line\n\n" * 60}, STOP]
    chat.send("Long")
    expect(chat.last.locator(".md p")).to_have_count(60)
    latest = chat.page.get_by_role("button", name="To the latest message")
    expect(latest).to_be_hidden()
    chat.page.evaluate("document.querySelector('#scroll').scrollTop = 100")
    expect(latest).to_be_visible()
    rest.set()
    chat.wait()
    assert chat.page.evaluate("document.querySelector('#scroll').scrollTop") == 100
    latest.click()
    expect(latest).to_be_hidden()
    expect(chat.last.locator(".usage")).to_be_in_viewport()


def test_the_page_leads_to_how_to_connect(page: Page, letta: FakeLetta) -> None:
    with gateway(letta.base_url, chat_page=True, keys=()) as url, ChatPage(page, url).opened():
        page.get_by_role("link", name="How to connect").click()
        expect(page.get_by_role("heading", name="Connect Open WebUI")).to_be_visible()
        page.go_back()
