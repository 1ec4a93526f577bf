"""Messages on the page: wide tables and code that are scrolled, and one's own words as they were written."""

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.chat_page import ChatPage, shown
from tests.servers.fake_letta import STOP, WORD, FakeLetta

SENTENCE = "A sentence that goes on for a while, and says rather little in many words."
ROW = f"|one|two words|{SENTENCE}|{SENTENCE}|12.50|\n"
TABLE = f"|Name|Kind|What it is|Where it grows|Price|\n|-|-|-|-|-:|\n{ROW * 3}"
CODE = f"```py\nprint({'x' * 300!r})\n```"
WIDTHS = [320, 360, 768, 1280]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_is_scrolled_and_its_words_stay_whole(browser: Browser, url: str, letta: FakeLetta, width: int) -> None:
    letta.steps = [{**WORD, "content": f"{TABLE}\n{CODE}"}, STOP]
    with shown(browser, url, viewport={"width": width, "height": 700}) as chat:
        chat.page.evaluate("localStorage.setItem('letta-gateway.name', 'Ada')")
        chat.page.reload()
        chat.say("Tell me")
        lines: list[float] = chat.last.locator("tbody tr:first-child td").evaluate_all(
            """(cells) => cells.map((cell) => {
                const around = document.createRange();
                around.selectNodeContents(cell);
                return new Set([...around.getClientRects()].map(({top}) => Math.round(top))).size;
            })"""
        )

        assert [lines[i] for i in (0, 1, 4)] == [1, 1, 1]
        assert max(lines) <= 6
        if width < 700:
            assert scrolls(chat.last.locator(".table"))
        assert scrolls(chat.last.locator("pre"))
        assert chat.page.locator("#scroll").evaluate("(node) => node.scrollWidth <= node.clientWidth")


def scrolls(area: Locator) -> bool:
    """True if there is more of it to the right, and a shade at the edge says so."""
    found: bool = area.evaluate("""(area) => {
        const { backgroundImage, backgroundAttachment } = getComputedStyle(area);
        const shades = backgroundImage.split("gradient").length - 1;
        const moves = backgroundAttachment === "local, local, scroll, scroll";
        area.scrollLeft = 10_000;
        return area.scrollLeft > 0 && shades === 4 && moves;
    }""")
    return found


def test_one_s_own_code_is_shown_as_code_and_all_else_to_the_letter(chat: ChatPage) -> None:
    text = "Why does **this** fail?\n\n    # 1. <b>\nUse `ls *` and\n```sh\n*rm* -r\n```\n\n\nThen [this](https://a.example)"
    chat.send(text)
    expect(chat.answers).to_have_count(1)
    chat.wait()
    bubble = chat.page.locator(".bubble")

    assert bubble.locator(".plain").all_inner_texts() == [
        "Why does **this** fail?\n\n    # 1. <b>\nUse ls * and",
        "Then [this](https://a.example)",
    ]
    assert bubble.locator("code").all_inner_texts() == ["ls *", "*rm* -r"]
    assert bubble.locator(":is(strong, em, a, b, h1, h3, ul)").count() == 0
    chat.press("Copy", bubble.locator(".code"))
    assert chat.page.evaluate("navigator.clipboard.readText()") == "*rm* -r"
    chat.page.locator(".question").hover()
    chat.press("Copy", chat.page.locator(".question .actions"))
    chat.page.wait_for_function("async (text) => await navigator.clipboard.readText() === text", arg=text)


# a message -> whether it is folded
LONG = {
    "fifteen lines": ("\n".join(["line"] * 15), False),
    "sixteen lines": ("\n".join(["line"] * 16), True),
    "some letters": ("word " * 299, False),
    "many letters": ("word " * 400 + "end", True),
}


@pytest.mark.parametrize(("text", "folds"), LONG.values(), ids=LONG)
def test_a_long_message_of_one_s_own_is_folded(chat: ChatPage, text: str, folds: bool) -> None:
    chat.send(text)
    expect(chat.answers).to_have_count(1)
    chat.wait()
    bubble = chat.page.locator(".bubble")
    high = bubble.evaluate("(node) => node.scrollHeight > node.clientHeight")
    assert high == folds
    if not folds:
        expect(chat.page.get_by_role("button", name="Show all")).to_have_count(0)
        return
    button = chat.page.get_by_role("button", name="Show all")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    assert bubble.evaluate("(node) => node.scrollHeight <= node.clientHeight")
    chat.press("Show less")
    expect(button).to_be_visible()


def test_who_comes_into_a_folded_message_by_keyboard_sees_it_whole(chat: ChatPage) -> None:
    chat.send("\n".join(["line"] * 20) + "\n```\ncode\n```")
    expect(chat.answers).to_have_count(1)
    chat.wait()
    expect(chat.page.get_by_role("button", name="Show all")).to_be_visible()
    chat.page.locator(".bubble pre").focus()

    expect(chat.page.get_by_role("button", name="Show less")).to_be_visible()
    expect(chat.page.locator(".bubble pre")).to_be_in_viewport()


def test_a_picture_elsewhere_is_a_link_that_loads_nothing(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [{**WORD, "content": "![A cup](https://example.com/cup.png)"}, STOP]
    chat.say("Show me a cup")
    link = chat.last.get_by_role("link", name="Picture: A cup (example.com)")

    expect(link).to_have_attribute("href", "https://example.com/cup.png")
    assert chat.page.locator("#messages img").count() == 0
