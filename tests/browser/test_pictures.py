"""Pictures that a person shows on the page: attached, seen, sent, kept, and what is told of those that cannot be."""

import base64
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.browser.attached import (
    GIVE,
    IN_DATABASE,
    as_letta_has,
    attach,
    attached,
    contents,
    file,
    kept_pictures,
    seen,
    shown,
)
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, gateway
from tests.integration.words import someone, unheard
from tests.pictures.drawn import GIF, JPEG, WEBP, Picture, picture
from tests.servers.app_server import AppServer
from tests.servers.fake_letta import FakeLetta
from tests.servers.scripted_model import ScriptedModel

# How they come


def test_pictures_are_attached_by_a_button_and_sent_in_their_order(chat: ChatPage, letta: FakeLetta) -> None:
    one, other = picture(20, 10), picture(10, 20)
    attach(chat, file(one, "one.png"), file(other, "other.png"))
    expect(attached(chat)).to_have_count(2)
    assert seen(attached(chat)) == [[20, 10], [10, 20]]
    chat.say("Which is wider?")

    assert contents(letta) == [as_letta_has("Which is wider?", one, other)]
    expect(attached(chat)).to_have_count(0)
    assert seen(shown(chat)) == [[20, 10], [10, 20]]


@pytest.mark.parametrize("how", ["pasted", "dropped"])
def test_pictures_are_pasted_and_dropped(chat: ChatPage, letta: FakeLetta, how: str) -> None:
    one, other = picture(), picture()
    files = [{"name": f"{i}.png", "text": shown.base64} for i, shown in enumerate((one, other))]
    chat.page.evaluate(GIVE, [how, files])
    expect(attached(chat)).to_have_count(2)
    chat.say("Look")

    assert contents(letta) == [as_letta_has("Look", one, other)]
    expect(chat.page.locator(".dropping")).to_have_count(0)


def test_words_that_bring_a_picture_of_themselves_along_are_pasted_as_words(chat: ChatPage) -> None:
    left: bool = chat.page.evaluate("""() => {
        const data = new DataTransfer();
        data.setData("text/plain", "a cell");
        data.items.add(new File(["x"], "cell.png", {type: "image/png"}));
        const event = new ClipboardEvent("paste", {bubbles: true, cancelable: true, clipboardData: data});
        return document.querySelector("#say").dispatchEvent(event);
    }""")

    assert left
    expect(attached(chat)).to_have_count(0)


def test_a_picture_is_removed_again_before_it_is_sent(chat: ChatPage, letta: FakeLetta) -> None:
    one, other = picture(), picture()
    attach(chat, file(one, "one.png"), file(other, "other.png"))
    chat.press("Remove one.png")
    expect(chat.page.get_by_role("button", name="Add pictures")).to_be_focused()
    chat.say("Look")

    assert contents(letta) == [as_letta_has("Look", other)]


def test_a_picture_alone_is_a_message(chat: ChatPage, letta: FakeLetta) -> None:
    one = picture()
    expect(chat.page.locator("#send")).to_be_disabled()
    attach(chat, file(one))
    expect(attached(chat)).to_have_count(1)
    expect(chat.page.locator("#send")).to_be_enabled()
    chat.say_field.press("Enter")
    expect(chat.answers).to_have_count(1)
    chat.wait()

    assert contents(letta) == [as_letta_has("", one)]
    expect(chat.chats).to_have_text("A picture")
    expect(chat.page.locator(".bubble")).to_be_hidden()


KINDS = {
    "PNG": picture(),
    "JPEG": Picture(JPEG, "image/jpeg"),
    "GIF": Picture(GIF, "image/gif"),
    "WebP": Picture(WEBP, "image/webp"),
}


@pytest.mark.parametrize("one", KINDS.values(), ids=KINDS)
def test_a_picture_is_told_by_its_bytes_and_sent_as_it_is(chat: ChatPage, letta: FakeLetta, one: Picture) -> None:
    attach(chat, file(one, "picture.bmp"))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")

    assert contents(letta) == [as_letta_has("Look", one)]


# files -> what is told of them
REFUSED: dict[str, tuple[Sequence[FilePayload], str]] = {
    "a document": ([file(b"%PDF-1.7", "plan.pdf")], "“plan.pdf” is no picture that can be sent"),
    "a drawing": ([file(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg")], "it must be PNG, JPEG, GIF or WebP"),
    "another kind by a wrong name": ([file(b"BM" + b"\0" * 60, "cat.png")], "“cat.png” is no picture"),
    "nothing": ([file(b"", "empty.png")], "“empty.png” is no picture"),
    "half a picture": ([file(picture(50, 50, noise=True).data[:60])], "“cat.png” cannot be read: it may be damaged."),
}


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shown_is_told_in_words(chat: ChatPage, files: Sequence[FilePayload], words: str) -> None:
    attach(chat, *files)
    expect(chat.page.locator("#composer .told")).to_contain_text(words)
    expect(attached(chat)).to_have_count(0)
    attach(chat, file(picture()))
    expect(attached(chat)).to_have_count(1)
    expect(chat.page.locator("#composer .told")).to_have_text("")


def test_a_file_that_is_too_large_is_told_and_not_read(chat: ChatPage) -> None:
    words: str = chat.page.evaluate("""async () => {
        const { readPicture } = await import(new URL("web/pictures.js", location));
        const blob = new Blob([new Uint8Array(50 * 1024 * 1024 + 1)]);
        return readPicture(new File([blob], "sky.png")).catch((error) => error.message);
    }""")

    assert words == "“sky.png” is larger than 50 MB."


def test_a_message_holds_ten_pictures(chat: ChatPage, letta: FakeLetta) -> None:
    attach(chat, *(file(picture(), f"{i}.png") for i in range(11)))
    expect(chat.page.locator("#composer .told")).to_have_text("A message holds 10 pictures at most.")
    chat.say("Look")

    assert len(contents(letta)[0]) == 11


def test_a_large_picture_is_scaled_down_before_it_is_sent(chat: ChatPage, letta: FakeLetta) -> None:
    attach(chat, file(picture(3000, 1500)))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")
    source = contents(letta)[0][1]["source"]

    assert source["media_type"] == "image/png"
    assert seen(shown(chat)) == [[2000, 1000]]


def test_a_picture_of_many_bytes_is_sent_as_a_photograph(chat: ChatPage, letta: FakeLetta) -> None:
    attach(chat, file(picture(1000, 1000, noise=True)))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")
    source = contents(letta)[0][1]["source"]

    assert source["media_type"] == "image/jpeg"
    assert len(base64.b64decode(source["data"])) < 2 * 1024 * 1024
    assert seen(shown(chat)) == [[1000, 1000]]


# How they stay


def test_pictures_survive_a_reload_and_go_along_with_the_history(page: Page, app_server: AppServer) -> None:
    one = picture(20, 10)
    with (
        gateway(app_server, model=app_server.seeing, chat_page=True) as url,
        ChatPage(page, url).opened(KEY, someone()) as chat,
    ):
        attach(chat, file(one))
        expect(attached(chat)).to_have_count(1)
        chat.say(unheard("one"))
        page.reload()
        expect(chat.answers).to_have_count(1)

        assert seen(shown(chat)) == [[20, 10]]
        chat.press("Show cat.png")
        assert seen(page.get_by_role("dialog", name="cat.png").locator("img")) == [[20, 10]]
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_model_sees_each_picture_once_where_it_was_shown(
    page: Page, app_server: AppServer, model: ScriptedModel
) -> None:
    one, other = picture(), picture()
    first, second, third = unheard("first"), unheard("second"), unheard("third")
    with (
        gateway(app_server, model=app_server.seeing, chat_page=True) as url,
        ChatPage(page, url).opened(KEY, someone()) as chat,
    ):
        attach(chat, file(one))
        expect(attached(chat)).to_have_count(1)
        chat.say(first)
        attach(chat, file(other))
        expect(attached(chat)).to_have_count(1)
        chat.say(second)
        chat.say(third)

    said = [text for role, text in model.said_once(third) if role == "user"]
    assert said == [f"{first}\n{one.name}", f"{second}\n{other.name}", third]


def test_a_model_that_sees_nothing_says_so(page: Page, real_url: str) -> None:
    with ChatPage(page, real_url).opened(KEY, someone()) as chat:
        attach(chat, file(picture()))
        expect(attached(chat)).to_have_count(1)
        chat.send("Look")
        expect(chat.last.get_by_role("alert")).to_contain_text("is not shown pictures")


def test_an_edit_keeps_pictures_removes_them_and_adds_others(chat: ChatPage, letta: FakeLetta) -> None:
    one, other, third = picture(), picture(), picture()
    attach(chat, file(one, "one.png"), file(other, "other.png"))
    expect(attached(chat)).to_have_count(2)
    chat.say("Look")
    question = chat.page.locator(".question")
    question.hover()
    chat.press("Edit", question)
    expect(question.locator(".edit .attachments li")).to_have_count(2)
    chat.press("Remove one.png", question)
    attach(chat, file(third, "third.png"), inside=question)
    expect(question.locator(".edit .attachments li")).to_have_count(2)
    chat.press("Send", question)
    expect(question.locator(".versions")).to_have_text("2/2")
    chat.wait()

    assert contents(letta) == [as_letta_has("Look", other, third)]
    question.hover()
    chat.press("Previous version", question)
    expect(shown(chat)).to_have_count(2)
    expect(chat.page.get_by_role("button", name="Show one.png")).to_be_visible()


def test_pictures_that_wait_belong_to_their_chat(chat: ChatPage) -> None:
    chat.say("One")
    attach(chat, file(picture()))
    expect(attached(chat)).to_have_count(1)
    chat.press("New chat")
    expect(attached(chat)).to_have_count(0)
    chat.chats.click()
    expect(attached(chat)).to_have_count(1)


def test_the_pictures_of_a_chat_are_deleted_with_it_and_come_back_with_it(chat: ChatPage) -> None:
    attach(chat, file(picture(20, 10)))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")
    assert len(kept_pictures(chat.page)) == 1
    chat.page.reload()
    expect(chat.answers).to_have_count(1)
    chat.choose("Look", "Delete")
    expect(chat.messages).to_have_count(0)
    chat.page.wait_for_function(f"async () => !(await ({IN_DATABASE})('')).length")
    chat.press("Undo")
    assert seen(shown(chat)) == [[20, 10]]
    chat.page.wait_for_function(f"async () => (await ({IN_DATABASE})('')).length === 1")

    chat.page.evaluate("""() => {
        const key = new KeyboardEvent("keydown", { key: "Delete", bubbles: true });
        document.querySelector("#chats .chat").dispatchEvent(key);
        document.querySelector("#toast button").click();
    }""")
    chat.say("Again")
    assert len(kept_pictures(chat.page)) == 1


def test_a_picture_that_the_browser_has_lost_is_told_and_the_chat_goes_on(chat: ChatPage, letta: FakeLetta) -> None:
    attach(chat, file(picture()))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")
    kept_pictures(chat.page, "clear")
    chat.page.reload()
    expect(shown(chat)).to_have_text("This picture is not kept here any more")
    chat.say("And now?")

    assert chat.texts()[-1] == "Hello"


def test_pictures_that_no_chat_has_are_cleared_away_in_time(chat: ChatPage) -> None:
    attach(chat, file(picture()))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")
    (used,) = kept_pictures(chat.page)
    assert set(kept_pictures(chat.page, "put")) == {used, "nobody's"}
    chat.page.reload()
    expect(chat.answers).to_have_count(1)
    chat.page.wait_for_function(f"async () => (await ({IN_DATABASE})('')).length === 1")

    assert kept_pictures(chat.page) == [used]


def test_a_browser_without_room_for_a_picture_says_so_and_sends_it(chat: ChatPage, letta: FakeLetta) -> None:
    one = picture(300, 300, noise=True)
    quota = chat.page.context.new_cdp_session(chat.page)
    # https://chromedevtools.github.io/devtools-protocol/tot/Storage/#method-overrideQuotaForOrigin
    quota.send("Storage.overrideQuotaForOrigin", {"origin": chat.url, "quotaSize": 1000})
    attach(chat, file(one))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")

    expect(chat.page.locator("#hint")).to_contain_text("no more room")
    assert contents(letta) == [as_letta_has("Look", one)]


@pytest.fixture
def without_a_database(page: Page, url: str) -> Iterator[ChatPage]:
    """The page in a browser that keeps nothing in databases."""
    page.add_init_script("indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); };")
    with ChatPage(page, url).opened(KEY, "Ada") as chat:
        yield chat


def test_a_browser_that_keeps_no_pictures_says_so_and_goes_on(without_a_database: ChatPage) -> None:
    chat = without_a_database
    attach(chat, file(picture(20, 10)))
    expect(attached(chat)).to_have_count(1)
    chat.say("Look")
    expect(chat.page.locator("#hint")).to_contain_text("keeps no pictures")
    assert seen(shown(chat)) == [[20, 10]]
    chat.page.reload()
    expect(shown(chat)).to_have_text("This picture is not kept here any more")
    chat.say("And now?")


def test_the_newest_pictures_go_along_where_not_all_have_room(chat: ChatPage) -> None:
    found: list[str] = chat.page.evaluate("""async () => {
        const { Album } = await import(new URL("web/album.js", location));
        const album = new Album();
        const blob = new Blob([new Uint8Array(8 * 1024 * 1024)], {type: "image/png"});
        const pictures = ["one", "two", "three"].map((name) => album.add({blob}, name));
        const kept = await album.addresses(pictures);
        return pictures.filter(({id}) => kept.has(id)).map(({name}) => name);
    }""")

    assert found == ["two", "three"]
