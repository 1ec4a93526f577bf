"""The chat page as a person uses it, and what a person never sees."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Dialog, Locator, Page, Request, expect

from tests.gateways import KEY

# Whatever runs that must not says so here.
WATCH = """
    window.ran = [];
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


def name_of(does: str) -> re.Pattern[str]:
    """The name of a button that does this. Those of messages go on to say of which: `Copy your message “Hello”`."""
    return re.compile(rf"^{re.escape(does)}(:? (to )?(your message|the answer|the code).*| (of |“).*)?$")


class ChatPage:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.mistakes: list[str] = []
        """Programs that failed, boxes that sprang up, requests that went elsewhere."""
        self.messages = page.locator("#messages > li")
        self.answers = page.locator("#messages > .answer")
        self.last = self.answers.last
        self.say_field = page.get_by_label("Your message", exact=True)
        self.edit_field = page.get_by_label("Edit your message", exact=True)
        self.stop_button = page.get_by_role("button", name="Stop", exact=True)
        self.key_dialog = page.get_by_role("dialog", name="Your key")
        self.chats = page.locator("#chats .chat")
        self.search_field = page.get_by_label("Search chats")
        page.add_init_script(WATCH)
        page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        page.on("dialog", self._on_dialog)
        page.on("request", self._on_request)

    @contextmanager
    def opened(self, key: str = "", name: str = "") -> Iterator[Self]:
        """The page with `key` and `name` entered; at the end nothing has happened that must not."""
        self.page.goto(self.url)
        if key:
            self.enter_key(key)
        if name:
            self.enter_name(name)
        yield self
        self.check()

    def check(self) -> None:
        """Nothing ran that must not, nothing went elsewhere, and no policy was needed to keep it from that."""
        assert self.mistakes == []
        assert self.page.evaluate("[ran, violations]") == [[], []]

    def enter_key(self, key: str) -> None:
        self.key_dialog.get_by_label("Key", exact=True).fill(key)
        self.page.keyboard.press("Enter")
        expect(self.key_dialog).to_be_hidden()

    def enter_name(self, name: str) -> None:
        self.page.get_by_label("Your name").fill(name)
        self.page.keyboard.press("Enter")

    def send(self, text: str) -> None:
        """Send a message, and do not wait."""
        self.say_field.fill(text)
        self.say_field.press("Enter")

    def say(self, text: str) -> None:
        """Send a message, and wait for the end of its answer."""
        count = self.answers.count()
        self.send(text)
        expect(self.answers).to_have_count(count + 1)
        self.wait()

    def wait(self) -> None:
        """Wait until nothing is being answered on this page."""
        expect(self.stop_button).to_be_hidden()
        expect(self.page.locator(".answer[aria-busy=true]")).to_have_count(0)

    def press(self, name: str, inside: Locator | None = None) -> None:
        self.button(name, inside).click()

    def button(self, does: str, inside: Locator | None = None) -> Locator:
        """The button that does this."""
        return (inside or self.page).get_by_role("button", name=name_of(does))

    def open_drawer(self) -> None:
        """See the list of chats, where it is a drawer."""
        drawer = self.page.get_by_role("button", name="Chats", exact=True)
        if drawer.is_visible():
            drawer.click()

    def choose(self, title: str, choice: str) -> None:
        """Take a choice of a chat's menu."""
        self.press(f"More about “{title}”")
        self.page.get_by_role("menuitem", name=choice).click()

    def texts(self) -> list[str]:
        """The visible text of every message, without its buttons, thoughts and tools."""
        return [text.strip() for text in self.page.locator(".bubble, .body > .md").all_inner_texts()]

    def kept(self) -> dict[str, Any]:
        """All that the browser keeps."""
        kept: dict[str, Any] = self.page.evaluate("({...localStorage})")
        return kept

    def _on_dialog(self, dialog: Dialog) -> None:
        self.mistakes.append(f"a box: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        # What the page itself has, or a text, comes from nowhere.
        address = urlsplit(request.url.removeprefix("blob:"))
        if address.scheme != "data" and address.netloc != urlsplit(self.url).netloc:
            self.mistakes.append(f"a request to {request.url}")


@contextmanager
def shown(browser: Browser, url: str, name: str = "", **look: Any) -> Iterator[ChatPage]:
    """The page on a screen of its own: of some size, by night, in forced colours, …"""
    context = browser.new_context(**look)
    try:
        with ChatPage(context.new_page(), url).opened(KEY) as chat:
            if name:
                chat.open_drawer()
                chat.enter_name(name)
            yield chat
    finally:
        context.close()


def saved(chat: ChatPage, title: str, choice: str) -> tuple[str, str]:
    """The name of the file that a choice of a chat's menu has the browser save, and the text in it."""
    with chat.page.expect_download() as download:
        chat.choose(title, choice)
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")
