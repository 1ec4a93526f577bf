"""The page for people who hear it, who see it large, or in colours of their own."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.attached import attach_one
from tests.browser.chat_page import ChatPage, shown
from tests.browser.kept import keep, kept
from tests.environments import npm_environment
from tests.gateways import KEY
from tests.pictures.drawn import picture
from tests.servers.fake_letta import STOP, THOUGHT, WORD, FakeLetta, Hold, Step

HERE = Path(__file__).parent
TOOL: Step = {
    "message_type": "tool_call_message",
    "step_id": "s1",
    "tool_call": {"name": "web_search", "tool_call_id": "call-1", "arguments": "{}"},
}
EVERYTHING = """
# One

Some *text* with `code`, a [link](https://example.com) and

```python
print("hello")
```

```
another
```

| a | b |
|---|--:|
| 1 | 2 |

> quoted

1. one
   - two
"""
RICH: list[Step] = [THOUGHT, TOOL, {**WORD, "content": EVERYTHING}, STOP]
TELEPHONE = ViewportSize(width=360, height=640)
# 1280 x 1024 at 400 %: https://www.w3.org/WAI/WCAG22/Understanding/reflow.html
LARGE = ViewportSize(width=320, height=256)


def test_messages_are_articles_with_the_names_of_who_said_them(chat: ChatPage) -> None:
    chat.say("Hello")
    chat.say("And now?")

    articles = chat.page.get_by_role("article")
    expect(articles).to_have_count(4)
    for i, name in enumerate(["You", "Tutor", "You", "Tutor"]):
        expect(articles.nth(i)).to_have_accessible_name(name)
    # They are still a list, of which one knows how long it is.
    expect(chat.page.get_by_role("list", name="Messages").get_by_role("listitem")).to_have_count(4)


def test_every_button_has_a_name_of_its_own(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, kept("One", "Hi", "Hello"), kept("Two", "Hi", "Hello"))
    letta.steps = RICH
    chat.say("Show me everything that there is to be shown, please")
    chat.press("Regenerate", chat.last)
    chat.wait()
    letta.steps = [WORD, Hold()]
    chat.send("And  more\n")
    expect(chat.last).to_contain_text("Hello")
    chat.page.keyboard.press("Escape")
    expect(chat.last.locator(".note")).to_have_text("Stopped.")

    snapshot = chat.page.locator("body").aria_snapshot()
    names = [name.replace('\\"', '"') for name in re.findall(r'- button "(.*?)"(?: \[|:|$)', snapshot, re.MULTILINE)]
    assert [name for name in names if names.count(name) > 1] == []
    assert {
        "Copy your message “And more”",
        "Edit your message “And more”",
        "Regenerate the answer to “And more”",
        "Continue the answer to “And more”",
        "Previous version of the answer to “Show me everything that there is to be…”",
        "Copy the code “another”",
        "More about “Two”",
        'Copy the code “print("hello")”',
    } <= set(names)


def settle(page: Page) -> None:
    """Wait for the end of what moves: it is half seen until then."""
    page.evaluate("""Promise.all(document.getAnimations()
        .filter((each) => each.effect.getComputedTiming().iterations !== Infinity).map(({ finished }) => finished))""")


def out_of_reach(page: Page, within: str) -> list[str]:
    """What of a part of the page can be used and cannot be brought into sight; it is asked of the whole of it."""
    script = """(within) => {
        const found = [];
        for (const node of document.querySelectorAll(within)) {
            if (!node.checkVisibility({ visibilityProperty: true }) || node.disabled) continue;
            node.scrollIntoView({ block: "nearest" });
            const { left, top, right, bottom } = node.getBoundingClientRect();
            const at = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
            // Pages are scrolled by whole points of the screen.
            const seen = left > -1 && top > -1 && right < innerWidth + 1 && bottom < innerHeight + 1;
            if (!seen || !(node.contains(at) || at?.contains(node))) found.push(node.outerHTML.slice(0, 80));
        }
        return found;
    }"""
    found: list[str] = page.evaluate(script, within)
    return found


def test_everything_is_within_reach_at_400_percent(browser: Browser, url: str, letta: FakeLetta) -> None:
    letta.steps = RICH
    with shown(browser, url, "Ada", viewport=LARGE) as chat:
        keep(chat, *(kept(f"Chat {i}", "Hi", "Hello") for i in range(20)))
        chat.say("Hello")
        assert out_of_reach(chat.page, "main :is(button, select, textarea, a, summary, pre)") == []
        assert chat.page.locator("#scroll").evaluate("(node) => node.clientHeight") > LARGE["height"] / 3

        chat.open_drawer()
        settle(chat.page)
        assert out_of_reach(chat.page, "#sidebar :is(button, input, a)") == []
        chat.page.keyboard.press("Escape")
        chat.page.evaluate("document.querySelector('#change-key').click()")
        expect(chat.key_dialog).to_be_visible()
        assert out_of_reach(chat.page, "#key-dialog :is(button, input)") == []


def test_messages_are_within_reach_at_400_percent_while_others_wait(
    browser: Browser, url: str, letta: FakeLetta
) -> None:
    with shown(browser, url, "Ada", viewport=LARGE) as chat:
        attach_one(chat, picture(300, 300))
        chat.say("Look")
        # A picture is as high as it is once it is read, and the end stays in sight.
        expect(chat.page.get_by_role("button", name="To the latest message")).to_be_hidden()
        expect(chat.last.locator(".actions")).to_be_in_viewport()
        waiting(chat, letta)
        assert chat.page.locator("#scroll").evaluate("(node) => node.clientHeight") > LARGE["height"] / 4
        assert out_of_reach(chat.page, "main :is(button, select, textarea, a, summary, pre)") == []


# What is told by a ground elsewhere has a border or an outline, where all grounds are alike.
BORDERED = (
    *("#new-chat", "#search", ".choices", "#composer", "#send"),
    *(".bubble", ".question .icon", ".code", ".copy-code"),
)


def test_forced_colours_leave_borders(browser: Browser, url: str, letta: FakeLetta) -> None:
    letta.steps = RICH
    with shown(browser, url, "Ada", forced_colors="active") as chat:
        keep(chat, kept("One", "Hi", "Hello"))
        chat.say("Hello")
        chat.press("More about “Hello”")
        edges = {
            part: chat.page.locator(part).first.evaluate(
                "(node) => [getComputedStyle(node).borderTopStyle, getComputedStyle(node).borderTopWidth]"
            )
            for part in BORDERED
        }
        assert edges == dict.fromkeys(BORDERED, ["solid", "1px"])
        current, other = (
            chat.page.locator(f"#chats li{which}").evaluate("(node) => getComputedStyle(node).borderInlineStartColor")
            for which in (":has([aria-current])", ":not(:has([aria-current]))")
        )
        assert current != other
        # In the menu, in the field, and in the list.
        assert focus_outline(chat) == "solid"
        chat.page.keyboard.press("Escape")
        assert focus_outline(chat) == "solid"
        chat.say_field.focus()
        assert chat.page.locator("#composer").evaluate("(node) => getComputedStyle(node).outlineStyle") == "solid"


def focus_outline(chat: ChatPage) -> str:
    style: str = chat.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    return style


@pytest.fixture(scope="session")
def axe() -> str:
    """The program of https://github.com/dequelabs/axe-core, which finds what keeps people from using a page."""
    package = npm_environment("axe", HERE / "package.json") / "node_modules" / "axe-core"
    return (package / "axe.min.js").read_text(encoding="utf-8")


def findings(page: Page, axe: str) -> list[str]:
    """What axe finds, each with where."""
    settle(page)
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    nodes = [(one["id"], node) for one in found["violations"] for node in one["nodes"]]
    return [f"{name}: {node['html'][:120]} {node['failureSummary']}" for name, node in nodes]


def welcome(chat: ChatPage, letta: FakeLetta) -> None:
    expect(chat.page.locator("#greeting")).to_be_visible()


def rich_chat(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, kept("One", "Hi", "Hello"))
    letta.steps = RICH
    chat.say("Show me")
    chat.last.locator("summary").first.click()
    chat.press("Regenerate", chat.last)
    chat.wait()
    letta.steps = [500]
    chat.send("And more")
    expect(chat.last.get_by_role("alert")).to_be_visible()


def key_dialog(chat: ChatPage, letta: FakeLetta) -> None:
    chat.press("Change the key")
    chat.key_dialog.get_by_label("Key", exact=True).fill("sk-wrong")
    chat.page.keyboard.press("Enter")
    expect(chat.key_dialog.get_by_role("alert")).to_have_text("Incorrect API key provided.")


def search(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, kept("One", "Green tea", "Hello"), kept("Two", "Hi", "Hello"))
    chat.open_drawer()
    chat.search_field.fill("tea")
    expect(chat.page.locator("#chats .excerpt")).to_have_text("Green tea")


def menu(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, kept("One", "Hi", "Hello"), kept("Two", "Hi", "Hello"))
    chat.open_drawer()
    chat.press("More about “One”")
    expect(chat.page.get_by_role("menu")).to_be_visible()


def title(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, kept("One", "Hi", "Hello"))
    chat.open_drawer()
    chat.choose("One", "Rename")


def deleted(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, kept("One", "Hi", "Hello"))
    chat.choose("One", "Delete")
    expect(chat.page.locator("#toast")).to_be_visible()


def who(chat: ChatPage, letta: FakeLetta) -> None:
    chat.open_drawer()
    chat.enter_name("")
    expect(chat.page.get_by_label("Who are you?")).to_be_visible()


def refused(chat: ChatPage, letta: FakeLetta) -> None:
    who(chat, letta)
    chat.send("Hello")
    expect(chat.last.get_by_role("alert")).to_be_visible()


def pictures(chat: ChatPage, letta: FakeLetta) -> None:
    for name in ("one.png", "two.png"):
        attach_one(chat, picture(), name)
    chat.say("Look")
    attach_one(chat, picture())
    chat.press("Edit", chat.messages.first)


def large_picture(chat: ChatPage, letta: FakeLetta) -> None:
    attach_one(chat, picture(100, 50))
    chat.press("Show cat.png")
    expect(chat.page.get_by_role("dialog", name="cat.png")).to_be_visible()


def approval(chat: ChatPage, letta: FakeLetta) -> None:
    call = {"name": "delete_file", "tool_call_id": "call-1", "arguments": "{}"}
    asks: Step = {"message_type": "approval_request_message", "step_id": "s1", "tool_call": call}
    letta.steps = [asks, {"message_type": "stop_reason", "stop_reason": "requires_approval"}]
    chat.say("Delete it")
    expect(chat.page.get_by_role("form", name="Your approval")).to_be_visible()


def waiting(chat: ChatPage, letta: FakeLetta) -> None:
    chat.press("Temporary chat")
    letta.steps = [WORD, Hold()]
    chat.send("First")
    expect(chat.last).to_contain_text("Hello")
    chat.send("Second")
    attach_one(chat, picture())
    chat.send("Third")
    expect(chat.page.get_by_role("list", name="Messages that wait").get_by_role("listitem")).to_have_count(2)


DARK = {"color_scheme": "dark"}
ON_A_TELEPHONE = {"viewport": TELEPHONE, "has_touch": True, "is_mobile": True}
# A state of the page, and how it is looked at
STATES: dict[str, tuple[Callable[[ChatPage, FakeLetta], None], dict[str, Any]]] = {
    "the empty page": (welcome, {}),
    "the empty page by night": (welcome, DARK),
    "a chat": (rich_chat, {}),
    "a chat by night": (rich_chat, DARK),
    "a chat on a telephone": (rich_chat, ON_A_TELEPHONE),
    "a chat at 400 %": (rich_chat, {"viewport": LARGE}),
    "the key": (key_dialog, {}),
    "the key by night": (key_dialog, DARK),
    "a search": (search, {}),
    "a search by night on a telephone": (search, {**ON_A_TELEPHONE, **DARK}),
    "the menu of a chat": (menu, {}),
    "the menu of a chat on a telephone": (menu, ON_A_TELEPHONE),
    "the menu of a chat by night on a telephone": (menu, {**ON_A_TELEPHONE, **DARK}),
    "a title": (title, ON_A_TELEPHONE),
    "a chat that was deleted": (deleted, {}),
    "the question who is here": (who, {}),
    "the question who is here by night on a telephone": (who, {**ON_A_TELEPHONE, **DARK}),
    "a message that was refused for want of a name": (refused, {}),
    "pictures": (pictures, {}),
    "pictures by night on a telephone": (pictures, {**ON_A_TELEPHONE, **DARK}),
    "a large picture": (large_picture, {}),
    "an approval": (approval, {}),
    "an approval by night on a telephone": (approval, {**ON_A_TELEPHONE, **DARK}),
    "messages that wait in a temporary chat": (waiting, {}),
    "messages that wait at 400 % by night": (waiting, {"viewport": LARGE, **DARK}),
}


@pytest.mark.parametrize(("reach", "look"), STATES.values(), ids=STATES)
def test_axe_finds_nothing(
    browser: Browser,
    url: str,
    letta: FakeLetta,
    axe: str,
    reach: Callable[[ChatPage, FakeLetta], None],
    look: dict[str, Any],
) -> None:
    with shown(browser, url, "Ada", **look) as chat:
        reach(chat, letta)

        assert findings(chat.page, axe) == []


def test_axe_finds_nothing_where_the_page_asks_for_a_key(page: Page, url: str, axe: str) -> None:
    with ChatPage(page, url).opened() as chat:
        expect(chat.key_dialog).to_be_visible()
        assert findings(page, axe) == []
        chat.enter_key(KEY)
