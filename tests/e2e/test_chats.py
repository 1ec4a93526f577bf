"""Chats in a real Open WebUI, by what people see and by what the agent's model received."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.person import Person
from tests.integration.words import unheard
from tests.pictures.drawn import picture
from tests.servers.scripted_model import ScriptedModel

pytestmark = pytest.mark.e2e

LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z"


def requests_with(model: ScriptedModel, text: str) -> int:
    return sum(text in str(request["messages"]) for request in model.requests)


def test_two_people_have_agents_of_their_own_that_know_them_in_every_chat(
    somebody: Callable[[str], Person], model: ScriptedModel
) -> None:
    ada, bob = somebody("Ada"), somebody("Bob")
    question = "What is my name?"
    assert ada.say("My name is Ada.") == "I will remember that."
    assert bob.say(question) == "I do not know your name."
    ada.open_new_chat()
    assert ada.say(question) == "Your name is Ada."
    assert ada.screen()[:-1] == [question]

    (bobs, adas) = model.received(question)[-2:]
    assert "You talk to Bob." in bobs[0][1]
    assert "You talk to Ada." in adas[0][1]
    assert "Their name is Ada." in adas[0][1]
    assert "My name is Ada." not in str(adas)


def test_an_agent_remembers_the_turn_before(ada: Person, model: ScriptedModel) -> None:
    first, second = unheard("first"), unheard("second")
    answer = ada.say(first)
    ada.say(second)

    assert model.said(second) == [[("user", first), ("assistant", answer), ("user", second)]]


def test_a_chat_has_a_title_and_the_agent_hears_nothing_of_it(ada: Person, model: ScriptedModel) -> None:
    text = unheard("Wombats")
    ada.say(text)

    expect(ada.page.get_by_role("heading", level=1)).to_have_text(text)
    assert requests_with(model, text) == 1


def test_regenerate_asks_the_same_again_without_the_old_answer(ada: Person, model: ScriptedModel) -> None:
    first, second = unheard("first"), unheard("second")
    answer = ada.say(first)
    ada.say(second)
    ada.regenerate()

    expect(ada.answer).to_contain_text("2/2")
    assert model.said(second) == [[("user", first), ("assistant", answer), ("user", second)]] * 2


def test_an_edit_takes_the_place_of_the_message_and_the_old_branch_can_be_gone_on_with(
    ada: Person, model: ScriptedModel
) -> None:
    first, second, edited, third = unheard("first"), unheard("second"), unheard("edited"), unheard("third")
    answer, old = ada.say(first), ada.say(second)
    ada.edit(ada.messages.nth(2), edited)
    assert model.said(edited) == [[("user", first), ("assistant", answer), ("user", edited)]]

    ada.click("Previous message", ada.messages.nth(2))
    expect(ada.messages.filter(has_text=second).first).to_be_visible()
    ada.say(third)
    before = [("user", first), ("assistant", answer), ("user", second), ("assistant", old)]
    assert model.said(third) == [[*before, ("user", third)]]


def test_after_stop_the_agent_knows_what_was_seen_of_its_answer(ada: Person, model: ScriptedModel) -> None:
    stopped, then = f"!slow 300\n!say {LETTERS}", unheard("then")
    ada.write(stopped)
    expect(ada.answer).to_contain_text("d e")
    ada.click("Stop")
    seen = ada.read()
    ada.say(then)

    assert seen in LETTERS
    (said,) = model.said(then)
    assert said == [("user", stopped), ("assistant", seen), ("user", then)]


def test_continue_goes_on_with_the_answer_on_screen(ada: Person, model: ScriptedModel) -> None:
    text, then = unheard("begin"), unheard("then")
    begun = ada.say(text)
    ada.click("Continue Response", ada.answer)
    expect(ada.answer.get_by_label("Regenerate")).to_be_hidden()
    whole = ada.read()
    assert whole.startswith(f"{begun}\nYou said: Continue")
    ada.say(then)

    assert len(ada.screen()) == 4
    (said,) = model.said(then)
    assert [words for role, words in said if role == "assistant"] == whole.split("\n")
    assert (said[0], said[-1]) == (("user", text), ("user", then))


def test_a_page_loaded_again_while_the_agent_answers_shows_the_whole_answer(ada: Person, model: ScriptedModel) -> None:
    mark = unheard()
    ada.write(f"!slow 300\n!say {LETTERS} {mark}")
    expect(ada.answer).to_contain_text("a b")
    ada.page.reload()

    assert ada.read() == f"{LETTERS} {mark}"
    assert requests_with(model, mark) == 1


def test_a_message_sent_while_the_agent_answers_waits_for_its_turn(ada: Person, model: ScriptedModel) -> None:
    slow, queued = f"!slow 200\n!say {LETTERS}", unheard("queued")
    ada.write(slow)
    expect(ada.answer).to_contain_text("a b")
    ada.write(queued)
    expect(ada.messages).to_have_count(4)
    ada.read()

    assert model.said(queued) == [[("user", slow), ("assistant", LETTERS), ("user", queued)]]


def test_a_temporary_chat_goes_on_while_it_is_open_and_is_not_kept(ada: Person, model: ScriptedModel) -> None:
    first, second = unheard("first"), unheard("second")
    ada.click("Temporary Chat")
    answer = ada.say(first)
    ada.say(second)
    assert model.said(second) == [[("user", first), ("assistant", answer), ("user", second)]]

    ada.open_new_chat()
    ada.click("Open Sidebar")
    expect(ada.page.get_by_text(first)).to_have_count(0)


def test_the_text_of_a_file_reaches_the_agent_and_the_search_for_it_does_not(
    ada: Person, model: ScriptedModel, tmp_path: Path
) -> None:
    fact, question = unheard("The wombat is called"), unheard("What is it called?")
    file = tmp_path / "wombat.txt"
    file.write_text(fact)
    ada.attach(file)
    ada.say(question)

    (received,) = model.received(question)
    assert fact in received[-1][1]
    assert requests_with(model, question) == 1


def test_the_model_sees_a_picture_once_however_often_open_webui_sends_it(
    ada: Person, model: ScriptedModel, tmp_path: Path
) -> None:
    look, again = unheard("Look at this."), unheard("And now?")
    file = tmp_path / "wombat.png"
    file.write_bytes(picture(64, 64).data)
    ada.attach(file)
    ada.say(look)
    ada.say(again)

    expect(ada.messages.first.locator("img")).to_be_visible()
    (said,) = model.said(again)
    pictures = [text.count("[image/") for _, text in said]
    assert pictures == [1, 0, 0]
    assert look in said[0][1]
