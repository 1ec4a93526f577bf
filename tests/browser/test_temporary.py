"""Temporary chats on the page: kept nowhere, and known as such to the gateway."""

import json

from playwright.sync_api import Locator, Page, expect

from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, gateway
from tests.integration.words import someone, unheard
from tests.servers.app_server import AppServer
from tests.servers.fake_letta import WORD, FakeLetta, Hold
from tests.servers.scripted_model import ScriptedModel

SECRET = "Between us"


def toggle(chat: ChatPage) -> Locator:
    return chat.page.get_by_role("button", name="Temporary chat", exact=True)


def everything_kept(chat: ChatPage) -> str:
    kept = chat.page.evaluate("[{...localStorage}, {...sessionStorage}]")
    return json.dumps(kept)


def summaries(letta: FakeLetta) -> list[str]:
    return [conversation["summary"] for conversation in letta.conversations]


def test_a_temporary_chat_goes_on_and_is_told_to_the_gateway(chat: ChatPage, letta: FakeLetta) -> None:
    expect(toggle(chat)).to_have_attribute("aria-pressed", "false")
    toggle(chat).click()
    expect(toggle(chat)).to_have_attribute("aria-pressed", "true")
    expect(chat.page.locator("#welcome")).to_contain_text("This page keeps nothing of it")
    chat.say(SECRET)
    chat.say("More")
    chat.press("Regenerate", chat.last)
    expect(chat.last.locator(".versions")).to_have_text("2/2")
    chat.wait()

    assert chat.texts() == [SECRET, "Hello", "More", "Hello"]
    assert letta.said[:2] == [[SECRET], ["More"]]
    assert all("(temporary)" in summary for summary in summaries(letta))


def test_nothing_of_a_temporary_chat_is_kept_and_a_reload_ends_it(chat: ChatPage, letta: FakeLetta) -> None:
    toggle(chat).click()
    chat.say_field.fill(SECRET)
    assert SECRET not in everything_kept(chat)
    chat.say(SECRET)
    chat.say_field.fill(f"{SECRET} still")
    chat.page.get_by_label("Model").dispatch_event("change")
    expect(chat.chats).to_have_text(f"{SECRET}temporary")

    assert SECRET not in everything_kept(chat)
    chat.page.reload()
    expect(chat.page.locator("#greeting")).to_have_text("Hello, Ada")
    expect(chat.messages).to_have_count(0)
    expect(chat.chats).to_have_count(0)
    expect(chat.say_field).to_have_value("")
    expect(toggle(chat)).to_have_attribute("aria-pressed", "false")


def test_a_reload_before_the_answer_s_end_keeps_nothing_either(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [WORD, Hold()]
    toggle(chat).click()
    chat.send(SECRET)
    expect(chat.last).to_contain_text("Hello")
    chat.send(f"{SECRET}, later")
    expect(chat.page.get_by_role("list", name="Messages that wait")).to_be_visible()
    chat.page.reload()
    expect(chat.page.locator("#greeting")).to_have_text("Hello, Ada")

    assert SECRET not in everything_kept(chat)
    expect(chat.chats).to_have_count(0)


def test_a_temporary_chat_is_found_again_until_then_and_can_be_deleted(chat: ChatPage) -> None:
    toggle(chat).click()
    chat.say(SECRET)
    chat.press("New chat")
    expect(toggle(chat)).to_have_attribute("aria-pressed", "false")
    chat.say("To be kept")
    assert "To be kept" in everything_kept(chat)
    chat.chats.filter(has_text=SECRET).click()
    expect(toggle(chat)).to_have_attribute("aria-pressed", "true")
    assert chat.texts() == [SECRET, "Hello"]

    chat.choose(SECRET, "Delete")
    expect(chat.chats).to_have_text("To be kept")
    chat.press("Undo")
    expect(chat.chats).to_have_count(2)
    assert SECRET not in everything_kept(chat)


def test_what_is_written_goes_along_to_the_other_kind_of_a_new_chat(chat: ChatPage) -> None:
    chat.say_field.fill("Half a thought")
    toggle(chat).click()
    expect(chat.say_field).to_have_value("Half a thought")
    assert "Half a thought" not in everything_kept(chat)
    toggle(chat).click()
    expect(chat.say_field).to_have_value("Half a thought")
    expect(toggle(chat)).to_have_attribute("aria-pressed", "false")
    chat.say("Kept")

    # A chat in which something is said stays what it is.
    chat.say_field.fill("More of it")
    toggle(chat).click()
    expect(chat.messages).to_have_count(0)
    expect(chat.say_field).to_have_value("")
    chat.chats.click()
    expect(chat.say_field).to_have_value("More of it")


def test_a_temporary_chat_is_another_person_s_with_a_name_and_still_kept_nowhere(page: Page, letta: FakeLetta) -> None:
    with gateway(letta.base_url, chat_page=True, keys=()) as url, ChatPage(page, url).opened() as chat:
        toggle(chat).click()
        chat.say(SECRET)
        chat.enter_name("Ada")
        chat.press("Take it along", page.get_by_role("dialog"))
        expect(chat.chats).to_have_text(f"{SECRET}temporary")

        assert SECRET not in everything_kept(chat)


def test_an_agent_knows_its_person_in_a_temporary_chat_which_another_does_not_hear_of(
    page: Page, app_server: AppServer, model: ScriptedModel
) -> None:
    one, two, three = unheard("one"), unheard("two"), unheard("three")
    with gateway(app_server, chat_page=True) as url, ChatPage(page, url).opened(KEY, someone()) as chat:
        chat.say("My name is Ada.")
        toggle(chat).click()
        chat.say("What is my name?")
        assert chat.texts()[-1] == "Your name is Ada."
        chat.say(one)
        chat.say(two)
        seen = chat.texts()
        chat.press("New chat")
        chat.say(three)

    said = [(role, text) for role, text in zip(["user", "assistant"] * 3, seen, strict=True)]
    assert model.said(two) == [said[:-1]]
    assert model.said(three) == [[("user", three)]]
