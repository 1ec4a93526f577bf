"""Who is here: where a name is asked for, what it changes, and what of a nobody's chats comes along."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from gateway.settings import Key, Secret
from gateway.turns.chats.markers import agent_tags
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, gateway
from tests.integration.words import someone, unheard
from tests.servers.app_server import AppServer
from tests.servers.fake_letta import FakeLetta
from tests.servers.scripted_model import ScriptedModel

# A key that takes whoever is named, and answers everybody else as one.
ANYBODY = Key(name="anybody", key=Secret(KEY), default_user="nobody")


@pytest.fixture
def nobody(page: Page, letta: FakeLetta) -> Iterator[ChatPage]:
    """The page of somebody who has given no name, with a key that wants none."""
    with gateway(letta.base_url, chat_page=True, keys=(ANYBODY,)) as url, ChatPage(page, url).opened(KEY) as chat:
        yield chat


@pytest.fixture
def refused(page: Page, url: str) -> Iterator[ChatPage]:
    """The page of somebody who has given no name, with a key that needs one."""
    with ChatPage(page, url).opened(KEY) as chat:
        chat.send("Hello")
        expect(chat.last.get_by_role("alert")).to_contain_text("This key needs to know who is asking")
        yield chat


def question(chat: ChatPage) -> Locator:
    """The question who is here, where it is asked."""
    return chat.page.get_by_label("Who are you?").filter(visible=True)


def who(chat: ChatPage, name: str, press: str = "That’s me") -> None:
    """Answer it."""
    question(chat).fill(name)
    chat.press(press)


def answer_along(chat: ChatPage, press: str) -> None:
    chat.press(press, chat.page.get_by_role("dialog"))
    expect(chat.page.get_by_role("dialog")).to_have_count(0)


def owners(chat: ChatPage) -> dict[str, str]:
    """Whose the kept chats are, by their titles."""
    kept = [json.loads(text) for name, text in chat.kept().items() if name.startswith("letta-gateway.chat.")]
    return {one["title"]: one["owner"] for one in kept}


def test_the_empty_page_asks_who_is_here_and_goes_without(nobody: ChatPage, letta: FakeLetta) -> None:
    expect(question(nobody)).to_be_in_viewport()
    expect(question(nobody)).to_have_value("")
    expect(nobody.page.locator("#who")).to_contain_text("Another name is another person")
    expect(nobody.page.get_by_label("Your name")).to_have_value("")
    assert nobody.page.get_by_label("Your name").get_attribute("placeholder") is None

    nobody.say("Hello")
    assert nobody.texts() == ["Hello", "Hello"]
    assert [tuple(agent["tags"]) for agent in letta.agents] == [agent_tags("tutor", "anybody", "nobody")]


def test_who_says_so_is_greeted_and_can_change_it_at_the_side(nobody: ChatPage, letta: FakeLetta) -> None:
    nobody.say_field.fill("Half a thought")
    who(nobody, "  Ada ")
    expect(nobody.page.locator("#greeting")).to_have_text("Hello, Ada")
    expect(question(nobody)).to_have_count(0)
    expect(nobody.page.get_by_label("Your name")).to_have_value("Ada")
    expect(nobody.say_field).to_be_focused()
    expect(nobody.say_field).to_have_value("Half a thought")
    nobody.say("Hello")
    assert [tuple(agent["tags"]) for agent in letta.agents] == [agent_tags("tutor", "anybody", "Ada")]

    nobody.enter_name("")
    expect(question(nobody)).to_have_value("")
    expect(nobody.chats).to_have_count(0)


def test_an_empty_answer_to_who_is_here_says_nothing(nobody: ChatPage) -> None:
    who(nobody, "  ")

    expect(question(nobody)).to_be_focused()
    expect(nobody.page.locator("#greeting")).to_have_text("Hello")


def test_a_key_that_needs_a_name_asks_where_the_message_stands_and_sends_it_then(
    refused: ChatPage, letta: FakeLetta
) -> None:
    expect(question(refused)).to_be_focused()
    assert letta.said == []
    refused.say_field.fill("What I write next")
    who(refused, "Ada", "Send it")
    refused.wait()

    assert refused.texts() == ["Hello", "Hello"]
    assert letta.said == [["Hello"]]
    expect(refused.say_field).to_have_value("What I write next")
    expect(refused.chats).to_have_text("Hello")
    expect(refused.page.get_by_role("alert").filter(visible=True)).to_have_count(0)
    assert owners(refused) == {"Hello": "Ada"}


def test_a_name_that_is_given_elsewhere_sends_the_message_too(refused: ChatPage, letta: FakeLetta) -> None:
    refused.enter_name("Ada")
    expect(refused.answers.locator(".body > .md")).to_have_text("Hello")
    refused.wait()

    assert letta.said == [["Hello"]]
    expect(refused.page.get_by_role("dialog")).to_have_count(0)


def test_who_writes_on_while_a_message_is_refused_goes_on_there(page: Page, url: str) -> None:
    held: list[Route] = []
    with ChatPage(page, url).opened(KEY) as chat:
        page.route("**/v1/responses", lambda route: held.append(route))
        with page.expect_request("**/v1/responses"):
            chat.send("Hello")
        chat.say_field.press_sequentially("And m")
        held[0].continue_()
        expect(chat.last.get_by_role("alert")).to_be_visible()
        page.keyboard.type("ore")
        expect(chat.say_field).to_have_value("And more")
        expect(question(chat)).to_have_value("")


def test_another_chat_that_was_refused_is_offered_and_asked_again_on_demand(refused: ChatPage) -> None:
    refused.press("New chat")
    refused.send("Another")
    expect(question(refused)).to_be_focused()
    who(refused, "Ada", "Send it")
    answer_along(refused, "Take it along")
    refused.wait()
    assert refused.texts() == ["Another", "Hello"]
    refused.chats.filter(has_text="Hello").click()
    expect(question(refused)).to_have_count(0)
    refused.press("Try again")
    refused.wait()

    assert refused.texts() == ["Hello", "Hello"]


# What is pressed -> what comes along, and what is then on screen
ALONG = {
    "Take all 2": ({"One": "Ada", "Two": "Ada"}, ["Two", "Hello"]),
    "Only this one": ({"One": "", "Two": "Ada"}, ["Two", "Hello"]),
    "Leave them": ({"One": "", "Two": ""}, []),
}


@pytest.mark.parametrize(("press", "then"), ALONG.items(), ids=ALONG)
def test_a_name_that_is_given_late_takes_along_the_chats_that_are_wanted(
    nobody: ChatPage, press: str, then: tuple[dict[str, str], list[str]]
) -> None:
    nobody.say("One")
    nobody.press("New chat")
    nobody.say("Two")
    nobody.enter_name("Ada")
    expect(nobody.page.get_by_role("dialog")).to_contain_text("You had them before you said that you are Ada.")
    answer_along(nobody, press)

    assert owners(nobody) == then[0]
    assert nobody.texts() == then[1]
    mine = [title for title in ("Two", "One") if then[0][title] == "Ada"]
    expect(nobody.chats).to_have_text(mine)
    # What is left is found again.
    nobody.enter_name("")
    expect(nobody.chats).to_have_text([title for title in ("Two", "One") if title not in mine])


@pytest.mark.parametrize("press", ["Leave it", "Escape"])
def test_one_chat_can_be_left_where_it_is(nobody: ChatPage, press: str) -> None:
    nobody.say("One")
    nobody.say_field.fill("More of one")
    nobody.enter_name("Ada")
    expect(nobody.page.get_by_role("dialog")).to_contain_text("Take your chat along?")
    expect(nobody.page.get_by_role("button", name="Only this one")).to_be_hidden()
    if press == "Escape":
        nobody.page.keyboard.press("Escape")
    else:
        answer_along(nobody, press)
    expect(nobody.messages).to_have_count(0)
    nobody.say("I am new")
    expect(nobody.chats).to_have_text("I am new")

    nobody.enter_name("")
    nobody.chats.click()
    assert nobody.texts() == ["One", "Hello"]
    expect(nobody.say_field).to_have_value("More of one")


def test_who_had_a_name_is_asked_nothing(nobody: ChatPage) -> None:
    who(nobody, "Ada")
    nobody.say("One")
    nobody.enter_name("Bob")

    expect(nobody.messages).to_have_count(0)
    expect(nobody.page.get_by_role("dialog")).to_have_count(0)


def test_what_comes_along_is_told_to_the_agent_of_the_name(nobody: ChatPage, letta: FakeLetta) -> None:
    nobody.say("One")
    nobody.enter_name("Ada")
    answer_along(nobody, "Take it along")
    nobody.say("Two")

    assert [tuple(agent["tags"]) for agent in letta.agents] == [
        agent_tags("tutor", "anybody", "nobody"),
        agent_tags("tutor", "anybody", "Ada"),
    ]
    (first,), told = letta.said
    assert (first, told[0], told[-1]) == ("One", "One", "Two")
    assert [one["agent_id"] for one in letta.conversations] == ["agent-0", "agent-1"]


def test_an_agent_hears_the_whole_chat_that_comes_along_and_the_other_keeps_its_memory(
    page: Page, app_server: AppServer, model: ScriptedModel
) -> None:
    # The nobody of this test is nobody else's.
    key = Key(name="anybody", key=Secret(KEY), default_user=someone())
    name, one, two, three = someone(), unheard("one"), unheard("two"), unheard("three")
    with gateway(app_server, chat_page=True, keys=(key,)) as url, ChatPage(page, url).opened(KEY) as chat:
        chat.say("My name is Ada.")
        chat.say(one)
        seen = chat.texts()
        chat.enter_name(name)
        answer_along(chat, "Take it along")
        chat.say(two)
        chat.press("New chat")
        chat.say("What is my name?")
        assert chat.texts()[-1] == "I do not know your name."
        chat.enter_name("")
        chat.say(three)
        chat.say("What is my name?")
        assert chat.texts()[-1] == "Your name is Ada."

    told = [("user", seen[0]), ("assistant", seen[1]), ("user", one), ("assistant", seen[3]), ("user", two)]
    assert model.said(two) == [told]
