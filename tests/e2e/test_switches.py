"""What people switch on for a chat in a real Open WebUI: the agent is offered it as a tool, which Open WebUI runs."""

import pytest
from playwright.sync_api import expect

from tests.e2e.person import Person
from tests.integration.words import unheard
from tests.servers.scripted_model import ScriptedModel
from tests.servers.search_engine import FOUND, SearchEngine

pytestmark = pytest.mark.e2e

OWN = {"memory_insert", "memory_replace"}


def test_a_plain_chat_brings_no_tool(ada: Person, model: ScriptedModel) -> None:
    text = unheard()
    ada.say(text)

    assert model.offered(text) == [OWN]


def test_web_search_is_a_tool_while_it_is_switched_on(
    ada: Person, model: ScriptedModel, search_engine: SearchEngine
) -> None:
    query = unheard("wombats")
    script = f'!tool search_web {{"query": "{query}"}}'
    ada.switch_on("Web Search")
    answer = ada.say(script)
    assert search_engine.queries[-1:] == [query]
    assert FOUND["snippet"] in answer
    expect(ada.answer.get_by_label("Toggle details")).to_have_text("Explored search_web")
    assert model.offered(query)[0] == OWN | {"search_web", "fetch_url"}

    ada.switch_off("Web Search")
    text = unheard("and now?")
    ada.say(text)
    assert model.offered(text) == [OWN]


def test_the_code_interpreter_is_a_tool_while_it_is_switched_on(ada: Person, model: ScriptedModel) -> None:
    mark = unheard()
    ada.switch_on("Code Interpreter")
    answer = ada.say(f'!tool execute_code {{"code": "print(6 * 7, \'{mark}\')"}}')

    assert f"42 {mark}" in answer
    expect(ada.answer.get_by_label("Toggle details")).to_have_text("Explored execute_code")
    assert model.offered(mark)[0] == OWN | {"execute_code"}
