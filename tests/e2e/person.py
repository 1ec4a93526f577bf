"""Somebody in front of Open WebUI: what they click and type, and what they then see."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.servers.open_webui import Account, OpenWebUI

TakePicture = Callable[[Page, str], None]
# A page of Open WebUI is some 10 MB of scripts, and the machine has other work.
SECONDS = 60
expect.set_options(timeout=SECONDS * 1000)


class Person:
    """One account in one browser, signed in, with a new chat before them."""

    def __init__(self, context: BrowserContext, server: OpenWebUI, account: Account) -> None:
        self.name = account.name
        self._home = server.base_url
        context.set_default_timeout(SECONDS * 1000)
        context.add_init_script(f"localStorage.token = {account.token!r}")
        self.page = context.new_page()
        self.messages = self.page.locator("#messages-container [role=listitem]")
        self.open_new_chat()

    @property
    def answer(self) -> Locator:
        """The last message of the chat."""
        return self.messages.last

    def open_new_chat(self) -> None:
        self.page.goto(self._home)
        expect(self.page.locator("#chat-input")).to_be_visible()

    def say(self, text: str) -> str:
        """The next message; gives the answer, whole."""
        count = self.messages.count()
        self.write(text)
        expect(self.messages).to_have_count(count + 2)
        return self.read()

    def write(self, text: str) -> None:
        """Send a message, whatever comes of it."""
        self.page.locator("#chat-input").fill(text)
        self.page.keyboard.press("Enter")

    def read(self) -> str:
        """The last answer, when it has ended."""
        expect(self.answer.get_by_label("Regenerate")).to_be_visible()
        return self.screen()[-1]

    def screen(self) -> list[str]:
        """The text of each message; of an answer, what is not folded."""
        return ["\n".join(message.locator("p").all_inner_texts()) for message in self.messages.all()]

    def click(self, label: str, message: Locator | None = None) -> None:
        """Click a button, of one message or of the page; those of messages show under the mouse."""
        if message:
            message.hover()
        (message or self.page).get_by_role("button", name=label, exact=True).first.click()

    def regenerate(self, how: str = "Try Again") -> str:
        self.click("Regenerate", self.answer)
        self.page.get_by_role("button", name=how).click()
        # What was there goes at once: until then it would be read as the new answer.
        expect(self.answer.get_by_label("Regenerate")).to_be_hidden()
        return self.read()

    def edit(self, message: Locator, text: str) -> str:
        """Write another message in the place of an earlier one; gives the answer to it."""
        self.click("Edit", message)
        message.locator("textarea").fill(text)
        self.click("Send", message)
        expect(self.messages.filter(has_text=text)).to_be_visible()
        return self.read()

    def switch_on(self, feature: str) -> None:
        """One of the switches below the next message."""
        self.click("Integrations")
        self.page.get_by_text(feature, exact=True).click()
        self.page.keyboard.press("Escape")
        expect(self._switch(feature)).to_be_visible()

    def switch_off(self, feature: str) -> None:
        self._switch(feature).click()
        expect(self._switch(feature)).to_be_hidden()

    def _switch(self, feature: str) -> Locator:
        """What stands beside the next message while a switch is on."""
        return self.page.get_by_role("button", name=feature, pressed=True)

    def copy(self, what: Locator) -> str:
        """What a button to copy puts on the clipboard."""
        self.page.evaluate("navigator.clipboard.writeText('')")
        what.click()
        return str(self.page.wait_for_function("navigator.clipboard.readText()").json_value())

    def attach(self, file: Path) -> None:
        """Put a file to the next message, and wait until it is uploaded."""
        self.page.locator("input[type=file][multiple]").set_input_files(file)
        expect(self.page.get_by_text(file.name)).to_be_visible()
        expect(self.page.get_by_text(re.compile("Uploading|Processing"))).to_be_hidden()
