"""Chats on the page in front of a real App Server: whatever a person does there, the model receives what is seen."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from gateway.settings import AgentType
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, gateway
from tests.integration.words import someone, unheard
from tests.servers.app_server import AppServer
from tests.servers.scripted_model import INTRODUCTION, ScriptedModel


@pytest.fixture
def chat(page: Page, real_url: str) -> Iterator[ChatPage]:
    """The chat page of somebody nobody has heard of."""
    with ChatPage(page, real_url).opened(KEY, someone()) as chat_page:
        yield chat_page


def answer(text: str, *, first: bool = False) -> str:
    return f"{INTRODUCTION if first else ''}You said: {text}"


def get_half_an_answer(chat: ChatPage) -> None:
    chat.send(f"!hang-after Half an answer\n{unheard()}")
    expect(chat.last).to_contain_text("Half an answer")


def heard_after_the_first(model: ScriptedModel, last: str) -> list[tuple[str, str]]:
    """What the model received after the first message, with the one request that ended with `last`."""
    ((_, *said),) = model.said(last)
    return said


def test_the_next_message_adds_to_what_is_on_screen(chat: ChatPage, model: ScriptedModel) -> None:
    one, two = unheard("one"), unheard("two")
    chat.say(one)
    chat.say(two)

    assert chat.texts() == [one, answer(one, first=True), two, answer(two)]
    assert model.said(two) == [[("user", one), ("assistant", answer(one, first=True)), ("user", two)]]


def test_memory_is_a_tool_line_and_every_chat_of_a_person_knows(chat: ChatPage) -> None:
    chat.say("My name is Ada.")
    expect(chat.last.locator(".tool")).to_have_text("Used memory_insert")
    chat.press("New chat")
    chat.say("What is my name?")

    assert chat.texts() == ["What is my name?", "Your name is Ada."]


def test_another_name_is_another_person_with_another_agent_and_chats_of_their_own(chat: ChatPage) -> None:
    chat.say("My name is Ada.")
    ada = chat.page.get_by_label("Your name").input_value()
    chat.enter_name(someone())
    expect(chat.chats).to_have_count(0)
    chat.say("What is my name?")
    assert chat.texts() == ["What is my name?", "I do not know your name."]

    chat.enter_name(ada)
    expect(chat.chats).to_have_text("My name is Ada.")
    chat.chats.click()
    chat.say("What is my name?")
    assert chat.texts()[-1] == "Your name is Ada."


def test_regenerate_asks_the_same_again_and_keeps_both_answers(chat: ChatPage, model: ScriptedModel) -> None:
    one, two = unheard("one"), unheard("two")
    chat.say(one)
    chat.press("Regenerate", chat.last)
    expect(chat.last.locator(".versions")).to_have_text("2/2")
    chat.wait()
    assert model.said(one) == [[("user", one)]] * 2

    chat.say(two)
    assert model.said(two) == [[("user", one), ("assistant", answer(one, first=True)), ("user", two)]]


def test_an_edit_branches_and_the_way_back_is_followed(chat: ChatPage, model: ScriptedModel) -> None:
    one, other, after = unheard("one"), unheard("other"), unheard("after")
    chat.say(one)
    chat.press("Edit")
    chat.edit_field.fill(other)
    chat.page.keyboard.press("Enter")
    expect(chat.messages.first).to_contain_text(other)
    chat.wait()
    assert model.said(other) == [[("user", other)]]

    chat.press("Previous version", chat.messages.first)
    assert chat.texts() == [one, answer(one, first=True)]
    chat.say(after)
    assert model.said(after) == [[("user", one), ("assistant", answer(one, first=True)), ("user", after)]]
    chat.press("Next version", chat.messages.first)
    assert chat.texts() == [other, answer(other, first=True)]


def test_a_stopped_answer_is_known_as_far_as_it_was_seen(chat: ChatPage, model: ScriptedModel) -> None:
    two = unheard("two")
    get_half_an_answer(chat)
    chat.stop_button.click()
    expect(chat.last.locator(".note")).to_have_text("Stopped.")
    chat.say(two)

    assert heard_after_the_first(model, two) == [("assistant", "Half an answer"), ("user", two)]


def test_chats_that_are_answered_at_the_same_time_do_not_mix(chat: ChatPage) -> None:
    words = [" ".join(f"{name}{i}" for i in range(30)) for name in ("ant", "bee", "cat")]
    for said in words:
        chat.press("New chat")
        chat.send(f"!slow 60\n!say {said}")
        expect(chat.stop_button).to_be_visible()
    assert chat.page.get_by_role("img", name="(answering)").count() == 3

    for i, said in enumerate(words):
        chat.chats.filter(has_text=said[:5]).click()
        chat.wait()
        assert chat.texts()[1] == said, i
    expect(chat.chats).to_have_count(3)


def test_models_are_agents_of_their_own(page: Page, app_server: AppServer, model: ScriptedModel) -> None:
    types = (AgentType(id="tutor", name="Tutor", system="Teach."), AgentType(id="cook", name="Cook", system="Cook."))
    one, two = unheard("one"), unheard("two")
    with (
        gateway(app_server, chat_page=True, types=types) as url,
        ChatPage(page, url).opened(KEY, someone()) as chat,
    ):
        chat.say(one)
        page.get_by_label("Model").select_option("Cook")
        chat.say(two)

        assert page.locator(".who").all_inner_texts() == ["Tutor", "Cook"]
    (to_tutor,), (to_cook,) = model.received(one), model.received(two)
    assert (to_tutor[0][1].partition(".")[0], to_cook[0][1].partition(".")[0]) == ("Teach", "Cook")


def test_an_answer_that_is_stopped_after_a_reload_is_what_the_agent_knows_of_it(
    chat: ChatPage, model: ScriptedModel
) -> None:
    two = unheard("two")
    get_half_an_answer(chat)
    chat.page.reload()
    expect(chat.last).to_contain_text("Half an answer")
    chat.stop_button.click()
    expect(chat.last.locator(".note")).to_have_text("Stopped.")
    assert chat.texts()[1] == "Half an answer"
    chat.say(two)

    assert heard_after_the_first(model, two) == [("assistant", "Half an answer"), ("user", two)]


def test_a_model_that_fails_within_its_answer_is_told_and_asked_again_on_demand(chat: ChatPage) -> None:
    chat.send("!cut-after Half an answer")
    expect(chat.last.get_by_role("alert")).to_be_visible()
    assert chat.texts()[1].startswith("Half")
    chat.press("Try again")
    expect(chat.last.locator(".versions")).to_have_text("2/2")
    expect(chat.last.get_by_role("alert")).to_be_visible()
