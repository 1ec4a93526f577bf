"""A real Open WebUI that is connected by the Responses API: `api_type`, in the variable that operators copy."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import connected
from tests.e2e.person import Person
from tests.integration.words import unheard
from tests.servers.open_webui import OpenWebUI, deployed_environment
from tests.servers.scripted_model import ScriptedModel

pytestmark = pytest.mark.e2e
LETTERS = " ".join("abcdefghijklmnopqrstuvwxyz")


@pytest.fixture(scope="module")
def open_webui(gateway_url: str, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWebUI]:
    configs = json.loads(deployed_environment()["OPENAI_API_CONFIGS"])
    configs["0"]["api_type"] = "responses"
    changed = {"OPENAI_API_CONFIGS": json.dumps(configs)}
    with connected(tmp_path_factory.mktemp("open-webui"), gateway_url, model, **changed) as server:
        yield server


def test_a_chat_goes_on_is_edited_and_answered_anew(ada: Person, model: ScriptedModel) -> None:
    one, two, three = unheard("one"), unheard("two"), unheard("three")
    answer = ada.say(one)
    ada.say(two)
    assert model.said_once(two) == [("user", one), ("assistant", answer), ("user", two)]

    ada.edit(ada.messages.nth(2), three)
    ada.regenerate()
    assert model.said(three) == [[("user", one), ("assistant", answer), ("user", three)]] * 2


def test_thoughts_are_folded_and_a_tool_has_a_card(ada: Person) -> None:
    assert ada.say("Remember that I play the cello.") == "I will remember that."
    ada.answer.get_by_text("Explored memory_insert").click()
    thoughts = ada.answer.get_by_text("Thought", exact=True)
    expect(thoughts).to_have_count(2)
    thoughts.first.click()
    expect(ada.answer.get_by_text("I should remember this: I play the cello.")).to_be_visible()
    ada.answer.get_by_text("View Result from memory_insert").click()
    expect(ada.answer.get_by_text("Done: your memory has been changed.")).to_be_visible()


def test_after_stop_the_agent_knows_what_was_seen_of_its_answer(ada: Person, model: ScriptedModel) -> None:
    stopped, then = f"!slow 300\n!say {LETTERS}", unheard("then")
    ada.write(stopped)
    expect(ada.answer).to_contain_text("c d")
    ada.click("Stop")
    seen = ada.read()
    ada.say(then)

    assert seen != LETTERS
    assert model.said_once(then) == [("user", stopped), ("assistant", seen), ("user", then)]


def test_a_failure_is_told_in_place_of_the_answer(ada: Person) -> None:
    ada.write("!fail 500")

    expect(ada.answer).to_contain_text("The model's provider failed (status 500, `server_error`).")
