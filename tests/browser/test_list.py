"""The list of chats: groups by day, search, titles, files, the menu of a row, and all of it by keyboard or touch."""

import json
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.browser.chat_page import ChatPage, saved, shown
from tests.browser.kept import DAY, keep, kept
from tests.gateways import gateway
from tests.servers.fake_letta import STOP, WORD, FakeLetta, Hold

# What the page says of chats that were last used at these times, and it is 29 November at noon there.
DAYS = {
    "now": ((2026, 11, 29, 12, 0), "Today"),
    "a clock that is ahead": ((2026, 11, 30, 9, 0), "Today"),
    "the first moment of the day": ((2026, 11, 29, 0, 0), "Today"),
    "the last one of the day before": ((2026, 11, 28, 23, 59), "Yesterday"),
    "the first one of the day before": ((2026, 11, 28, 0, 0), "Yesterday"),
    "the day before that": ((2026, 11, 27, 23, 59), "Previous 7 days"),
    "a week ago": ((2026, 11, 22, 0, 0), "Previous 7 days"),
    "more than a week ago": ((2026, 11, 21, 23, 59), "Previous 30 days"),
    "30 days ago": ((2026, 10, 30, 0, 0), "Previous 30 days"),
    "more than 30 days ago": ((2026, 10, 29, 23, 59), "October 2026"),
    "last year": ((2025, 11, 29, 12, 0), "November 2025"),
}
# Clocks are put back on 1 November in one, on 25 October in another, and nowhere near either in the third.
PLACES = ("America/New_York", "Europe/Berlin", "Asia/Tokyo")


def rows(chat: ChatPage) -> list[str]:
    return chat.page.locator("#chats .title").all_inner_texts()


def focused(page: Page) -> str:
    """The words of the row, or of the choice, that has the keyboard."""
    words: str = page.evaluate("document.activeElement.querySelector('.title, span')?.textContent ?? ''")
    return words


@pytest.mark.parametrize("place", PLACES)
def test_chats_are_grouped_by_the_day_on_which_they_were_used(browser: Browser, url: str, place: str) -> None:
    script = """async (times) => {
        const { byDay } = await import(new URL("web/days.js", location));
        const at = ([year, month, ...rest]) => new Date(year, month - 1, ...rest).getTime();
        return times.map((time) => byDay([{ used: at(time) }], at([2026, 11, 29, 12, 0]))[0].name);
    }"""
    with browser.new_context(timezone_id=place) as context:
        page = context.new_page()
        page.goto(url)
        names = page.evaluate(script, [list(time) for time, _ in DAYS.values()])

    assert dict(zip(DAYS, names, strict=True)) == {name: group for name, (_, group) in DAYS.items()}


def test_groups_stand_in_the_list_with_their_names(chat: ChatPage) -> None:
    noon = chat.page.evaluate("new Date(2026, 10, 29, 12).getTime()")
    chat.page.clock.set_fixed_time(noon / 1000)
    days = {"new": 0, "too": 0, "last": 1, "week": 5, "month": 20, "old": 60}
    keep(chat, *(kept(name, "Hi", "Hello", used=noon - days * DAY - i) for i, (name, days) in enumerate(days.items())))

    groups = chat.page.locator("#chats section")
    expect(groups).to_have_count(5)
    assert [group.splitlines() for group in groups.all_inner_texts()] == [
        ["Today", "new", "too"],
        ["Yesterday", "last"],
        ["Previous 7 days", "week"],
        ["Previous 30 days", "month"],
        ["September 2026", "old"],
    ]
    chat.chats.filter(has_text="old").click()
    chat.say("Again")
    assert rows(chat) == ["old", "new", "too", "last", "week", "month"]
    assert chat.page.locator("#chats h2").all_inner_texts()[-1] == "Previous 30 days"


SEARCHED = (
    kept("Breakfast", "I like green tea.", "So do I, every morning: with naïve milk, at the Café."),
    kept(
        "Numbers",
        "Which are prime?",
        "Two, three, five, and the other GREEN ones.",
        "And in Straßburg?",
        "Say <\u200bthink>.",
    ),
    kept("Words", "日本語の文章", "これは文です"),
    kept("Greek", "ΟΔΟΣ", "τέλος"),
    kept("Bob's", "Green tea for Bob", "Here", owner="Bob"),
)
# What is looked for -> the chats it is found in
QUERIES = {
    "a word of a title": ("break", ["Breakfast"]),
    "a word of a message": ("prime", ["Numbers"]),
    "a word of an answer": ("milk", ["Breakfast"]),
    "words in several chats": ("green", ["Breakfast", "Numbers"]),
    "words in title and text": ("numbers green", ["Numbers"]),
    "words of several messages": ("tea café", ["Breakfast"]),
    "words of several chats": ("tea prime", []),
    "capital letters": ("GREEN TEA", ["Breakfast"]),
    "without accents": ("naive cafe", ["Breakfast"]),
    "with accents of its own": ("grèen téa", ["Breakfast"]),
    "a letter that has no capital": ("strassburg", ["Numbers"]),
    "a letter with an ending form": ("οδος", ["Greek"]),
    "letters without words": ("文章", ["Words"]),
    "a sign": ("2?", []),
    "a tag as it is shown": ("<think>", ["Numbers"]),
    "thoughts": ("Hm.", []),
    "spaces": ("   ", ["Breakfast", "Numbers", "Words", "Greek"]),
}


@pytest.fixture(scope="module")
def many(browser: Browser) -> Iterator[ChatPage]:
    """Ada's chats to look through, which no test changes."""
    with (
        FakeLetta() as letta,
        gateway(letta.base_url, chat_page=True) as url,
        shown(browser, url, "Ada") as chat_page,
    ):
        keep(chat_page, *SEARCHED)
        yield chat_page


@pytest.mark.parametrize(("query", "found"), QUERIES.values(), ids=QUERIES)
def test_a_chat_is_found_by_its_words(many: ChatPage, query: str, found: list[str]) -> None:
    many.search_field.fill(query)

    expect(many.page.locator("#chats .title")).to_have_text(found)
    expect(many.page.locator("#found")).to_have_text(told_of(found) if query.strip() else "")


def told_of(found: list[str]) -> str:
    return f"{len(found)} found" if found else "No chat has these words."


def test_words_are_shown_where_they_were_found(many: ChatPage) -> None:
    many.search_field.fill("milk")

    expect(many.page.locator("#chats .excerpt")).to_have_text("…morning: with naïve milk, at the Café.")
    many.search_field.fill("breakfast")
    expect(many.page.locator("#chats .excerpt")).to_have_text("")


FIND = """async ({text, query}) => {
    const { Search } = await import(new URL("web/search.js", location));
    const chat = { id: "one", title: "", messages: [{ role: "user", text }] };
    return (await new Search().find([chat], query)).get("one") ?? null;
}"""
# A long text, which is read in pieces -> the words that are found, or none
LONG = {
    "across two pieces": ("a" * 32760 + " greatest", "greatest", "greatest"),
    "a letter torn between two": ("a" * 32766 + " 🍵 tea", "🍵", "🍵 tea"),
    "an accent in the next piece": ("a" * 32766 + " e\u0301clair", "éclair", "e\u0301clair"),
    "after letters that grow": ("ﷺ" * 3000 + " tea for two", "two", "tea for two"),
    "after letters that vanish": ("a\u0301\u0301" * 3000 + " tea for two", "two", "tea for two"),
    "at the end of many": ("word " * 50_000 + "needle", "needle", "word word word word needle"),
    "nowhere": ("word " * 50_000, "needle", None),
}


@pytest.mark.parametrize(("text", "query", "found"), LONG.values(), ids=LONG)
def test_a_long_text_is_looked_through_to_its_end(many: ChatPage, text: str, query: str, found: str | None) -> None:
    place = many.page.evaluate(FIND, {"text": text, "query": query})

    assert place == (found and f"…{found}")


def test_a_search_is_ended_by_the_next_one(many: ChatPage) -> None:
    script = """async () => {
        const { Search } = await import(new URL("web/search.js", location));
        const [search, chats] = [new Search(), [{ id: "one", title: "tea", messages: [] }]];
        const found = await Promise.all([search.find(chats, "tea"), search.find(chats, "te")]);
        return found.map((each) => each && [...each.keys()]);
    }"""

    assert many.page.evaluate(script) == [None, ["one"]]


def test_a_search_is_cleared_by_escape_and_goes_on_with_new_words(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, *SEARCHED)
    letta.steps = [WORD, Hold()]
    chat.send("Nothing of the kind")
    expect(chat.last).to_contain_text("Hello")
    chat.search_field.fill("kind")
    expect(chat.chats).to_have_text(["Nothing of the kind"])
    chat.search_field.press("Escape")

    expect(chat.search_field).to_have_value("")
    expect(chat.chats).to_have_count(5)
    # Escape was not for the answer.
    chat.stop_button.click()
    expect(chat.last.locator(".note")).to_have_text("Stopped.")
    chat.search_field.fill("tea")
    expect(chat.chats).to_have_count(1)
    chat.chats.click()
    letta.steps = [{**WORD, "content": "A word about Lisbon"}, STOP]
    chat.say("And now?")
    chat.search_field.fill("lisbon")
    expect(chat.page.locator("#chats .title")).to_have_text(["Breakfast"])


def test_the_list_is_left_alone_while_an_answer_comes(chat: ChatPage, letta: FakeLetta) -> None:
    keep(chat, *SEARCHED)
    more, rest = threading.Event(), threading.Event()
    letta.steps = [WORD, more, *({**WORD, "content": f" {i}"} for i in range(50)), rest, STOP]
    chat.send("Count")
    expect(chat.last).to_contain_text("Hello")
    chat.page.evaluate("""() => {
        window.changes = 0;
        const watched = { subtree: true, childList: true, attributes: true, characterData: true };
        const observer = new MutationObserver((records) => (changes += records.length));
        observer.observe(document.querySelector("#chats"), watched);
    }""")
    more.set()
    expect(chat.last).to_contain_text("49")

    assert chat.page.evaluate("changes") == 0
    rest.set()
    chat.wait()


def test_a_chat_is_given_another_title_in_its_place(chat: ChatPage) -> None:
    keep(chat, *SEARCHED)
    chat.choose("Numbers", "Rename")
    field = chat.page.get_by_label("New title of “Numbers”")
    expect(field).to_be_focused()
    chat.page.keyboard.type("Primes\n")

    expect(field).to_have_count(0)
    assert rows(chat) == ["Breakfast", "Primes", "Words", "Greek"]
    assert focused(chat.page) == "Primes"
    chat.page.keyboard.press("F2")
    chat.page.keyboard.type("Something else")
    chat.page.keyboard.press("Escape")
    assert focused(chat.page) == "Primes"
    chat.page.keyboard.press("F2")
    chat.page.keyboard.press("Delete")
    chat.page.keyboard.press("Enter")
    assert rows(chat)[1] == "Primes"
    chat.page.keyboard.press("F2")
    chat.page.keyboard.type("  Prime numbers ")
    chat.say_field.click()
    expect(chat.say_field).to_be_focused()
    chat.page.reload()
    expect(chat.chats).to_have_text(["Breakfast", "Prime numbers", "Words", "Greek"])


def test_a_title_runs_nothing_and_stays_when_the_chat_goes_on(chat: ChatPage) -> None:
    odd = "<img src=x onerror=ran.push(1)>"
    chat.say("Hello")
    chat.choose("Hello", "Rename")
    chat.page.keyboard.type(f"{odd}\n")
    chat.say("And more")

    expect(chat.chats).to_have_text([odd])
    expect(chat.page).to_have_title(f"{odd} – Letta Gateway")
    chat.check()


def test_a_chat_is_saved_as_it_is_on_screen_or_with_all_there_is(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [{**WORD, "content": "# One\n\n- <thi"}, {**WORD, "content": "nk>\n"}, STOP]
    chat.say("Say\nsomething")
    letta.steps = [{**WORD, "content": "Two"}, STOP]
    chat.press("Regenerate", chat.last)
    chat.wait()
    chat.press("Previous version", chat.last)

    name, text = saved(chat, "Say something", "Export as Markdown")
    assert (name, text) == (
        "Say something.md",
        "# Say something\n\n## Ada\n\nSay\nsomething\n\n## Tutor\n\n# One\n\n- <think>\n",
    )
    name, text = saved(chat, "Say something", "Export as JSON")
    (all_of_it,) = (json.loads(value) for key, value in chat.kept().items() if key.startswith("letta-gateway.chat."))
    assert (name, json.loads(text)) == ("Say something.json", all_of_it)
    texts = [part["text"] for message in all_of_it["messages"] for part in message.get("parts", [])]
    assert "Two" in texts


# A title -> the name of its file
FILES = {
    "words": ("Green tea", "Green tea.md"),
    "letters that no file may have": ('a/b\\c:d*e?f"g<h>i|j', "a b c d e f g h i j.md"),
    "a way out": ("../../etc/passwd", "etc passwd.md"),
    "dots": (". . .", "chat.md"),
    "a sentence": ("And then …", "And then ….md"),
    "a hidden file": (".bashrc", "bashrc.md"),
    "letters of the world": ("日本語 Ünï 🍵", "日本語 Ünï 🍵.md"),
    "nothing": ("", "Chat without words.md"),
    "a long one": ("x" * 200, f"{'x' * 80}.md"),
}


@pytest.mark.parametrize(("title", "name"), FILES.values(), ids=FILES)
def test_a_file_is_called_as_its_chat_is(many: ChatPage, title: str, name: str) -> None:
    script = """async (title) => {
        const { download } = await import(new URL("web/export.js", location));
        download({ title }, "md", "text/markdown", "");
    }"""
    with many.page.expect_download() as download:
        many.page.evaluate(script, title)

    assert download.value.suggested_filename == name


def test_the_list_is_one_stop_of_the_tab_key_and_arrows_go_through_it(chat: ChatPage) -> None:
    keyboard = chat.page.keyboard
    keep(chat, *(kept(f"Chat {i}", "Hi", "Hello") for i in range(1, 31)))
    # A search that finds none leaves no row, and then they are other ones.
    chat.search_field.fill("nothing")
    expect(chat.chats).to_have_count(0)
    keyboard.press("Escape")
    expect(chat.chats).to_have_count(30)
    keyboard.press("Tab")
    assert focused(chat.page) == "Chat 1"
    keyboard.press("Tab")
    expect(chat.page.get_by_label("Your name")).to_be_focused()
    keyboard.press("Shift+Tab")

    went = []
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "End", "ArrowDown", "ArrowUp", "Home", "ArrowUp", "ArrowDown"):
        keyboard.press(key)
        went.append(focused(chat.page).removeprefix("Chat "))
    assert went == ["2", "3", "2", "30", "30", "29", "1", "1", "2"]
    # It comes back to where it was.
    keyboard.press("Tab")
    keyboard.press("Shift+Tab")
    assert focused(chat.page) == "Chat 2"
    keyboard.press("Enter")
    expect(chat.messages).to_have_count(2)
    expect(chat.page.locator("#chats [aria-current] .title")).to_have_text("Chat 2")


def test_delete_deletes_and_goes_on_with_the_next_chat(chat: ChatPage) -> None:
    keyboard = chat.page.keyboard
    keep(chat, *(kept(name, "Hi", "Hello") for name in ("One", "Two", "Three")))
    chat.chats.filter(has_text="Two").focus()
    keyboard.press("Delete")
    expect(chat.chats).to_have_text(["One", "Three"])
    assert focused(chat.page) == "Three"
    keyboard.press("Delete")
    assert focused(chat.page) == "One"
    keyboard.press("Control+Delete")
    expect(chat.chats).to_have_text(["One"])
    keyboard.press("Delete")
    expect(chat.page.get_by_role("button", name="New chat")).to_be_focused()
    chat.press("Undo")
    expect(chat.chats).to_have_text(["One"])
    expect(chat.messages).to_have_count(2)


def test_the_search_leads_to_what_it_found(chat: ChatPage) -> None:
    keep(chat, *SEARCHED)
    chat.search_field.fill("green")
    expect(chat.chats).to_have_count(2)
    chat.page.keyboard.press("ArrowDown")
    chat.page.keyboard.press("ArrowDown")
    chat.page.keyboard.press("Enter")

    expect(chat.messages.first).to_contain_text("Which are prime?")


def test_the_menu_of_a_chat_is_used_by_keyboard(chat: ChatPage, letta: FakeLetta) -> None:
    keyboard, menu = chat.page.keyboard, chat.page.get_by_role("menu")
    letta.steps = [WORD, Hold()]
    chat.send("Hello")
    expect(chat.last).to_contain_text("Hello")
    chat.chats.focus()
    keyboard.press("ArrowRight")
    more = chat.page.get_by_role("button", name="More about “Hello”")
    expect(more).to_be_focused()
    expect(more).to_have_attribute("aria-expanded", "false")
    keyboard.press("Enter")
    expect(menu).to_be_visible()
    expect(more).to_have_attribute("aria-expanded", "true")

    went = [focused(chat.page)]
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Home", "End"):
        keyboard.press(key)
        went.append(focused(chat.page))
    assert went == [
        *("Rename", "Export as Markdown", "Export as JSON", "Delete", "Rename", "Delete", "Rename", "Delete"),
    ]
    keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(more).to_be_focused()
    expect(more).to_have_attribute("aria-expanded", "false")
    # Escape was not for the answer.
    expect(chat.stop_button).to_be_visible()
    keyboard.press("ArrowLeft")
    keyboard.press("ContextMenu")
    expect(menu).to_be_visible()
    keyboard.press("Tab")
    expect(menu).to_be_hidden()
    chat.press("Stop")
    chat.wait()


def test_the_menu_of_a_chat_is_used_by_mouse(chat: ChatPage) -> None:
    menu = chat.page.get_by_role("menu")
    keep(chat, *SEARCHED)
    chat.press("More about “Words”")
    expect(menu).to_be_visible()
    chat.press("More about “Words”")
    expect(menu).to_be_hidden()
    chat.press("More about “Words”")
    expect(menu).to_have_accessible_name("More about “Words”")
    chat.say_field.click()
    expect(menu).to_be_hidden()
    chat.chats.filter(has_text="Numbers").click(button="right")
    expect(menu).to_have_accessible_name("More about “Numbers”")
    menu.get_by_role("menuitem", name="Delete").click()
    expect(chat.chats).to_have_text(["Breakfast", "Words", "Greek"])
    chat.press("Undo")
    assert rows(chat) == ["Breakfast", "Numbers", "Words", "Greek"]


def inside(part: Locator, width: int, height: int) -> bool:
    box = part.bounding_box()
    assert box
    return box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height


# On a telephone, on one on its side, and at 400 % of a window of 1280 x 1024.
SCREENS = {"upright": (360, 640), "on its side": (640, 360), "at 400 %": (320, 256)}


@pytest.mark.parametrize(("width", "height"), SCREENS.values(), ids=SCREENS)
def test_the_menu_of_a_chat_is_used_by_touch(browser: Browser, url: str, width: int, height: int) -> None:
    size = ViewportSize(width=width, height=height)
    with shown(browser, url, "Ada", viewport=size, has_touch=True, is_mobile=True) as chat:
        keep(chat, *(kept(f"Chat {i}", "Hi", "Hello") for i in range(1, 31)))
        drawer = chat.page.get_by_role("button", name="Chats", exact=True)
        for title in ("Chat 1", "Chat 15", "Chat 30"):
            drawer.tap()
            chat.page.get_by_role("button", name=f"More about “{title}”", exact=True).tap()
            assert inside(chat.page.get_by_role("menu"), width, height)
            chat.page.get_by_role("menuitem", name="Rename").tap()
            chat.page.get_by_label(f"New title of “{title}”").fill(f"The {title}")
            chat.page.keyboard.press("Enter")
            expect(drawer).to_have_attribute("aria-expanded", "true")
            chat.page.keyboard.press("Escape")
            expect(drawer).to_have_attribute("aria-expanded", "false")

        assert [title for title in rows(chat) if "The" in title] == ["The Chat 1", "The Chat 15", "The Chat 30"]
