"""What people see in a real Open WebUI of an agent's thoughts and tools."""

import pytest
from playwright.sync_api import expect

from tests.e2e.person import Person
from tests.integration.words import unheard
from tests.servers.scripted_model import ScriptedModel

pytestmark = pytest.mark.e2e


def test_thoughts_are_folded_and_unfold_on_a_click(ada: Person) -> None:
    assert ada.say("!think Ponder, ponder.\n!say Fine.") == "Fine."

    thoughts = ada.answer.get_by_text("Ponder, ponder.")
    expect(thoughts).to_have_count(0)
    ada.answer.get_by_text("Thought for").click()
    expect(thoughts).to_be_visible()


def test_a_tool_has_a_status_line_and_a_card_among_the_thoughts(ada: Person) -> None:
    assert ada.say("Remember that I play the cello.") == "I will remember that."
    expect(ada.answer.get_by_label("Toggle status history")).to_have_text("Used memory_insert.")
    card = ada.answer.get_by_label("Toggle details")
    expect(card).to_have_text("Explored memory_insert")

    card.click()
    thoughts = ada.answer.get_by_text("Thought for")
    expect(thoughts).to_have_count(2)
    thoughts.first.click()
    expect(ada.answer.get_by_text("I should remember this: I play the cello.")).to_be_visible()
    ada.answer.get_by_text("View Result from memory_insert").click()
    expect(ada.answer.get_by_text("new_string")).to_be_visible()
    expect(ada.answer.get_by_text("Done: your memory has been changed.")).to_be_visible()


# Open WebUI takes each of these for the beginning or the end of thoughts, where it looks for them.
TAGS = "<think> </think> <thinking> <reason> <|begin_of_solution|>"


def test_what_looks_like_a_tag_is_shown_copied_and_remembered_to_the_letter(ada: Person, model: ScriptedModel) -> None:
    code, then = f'print("{TAGS}")', unheard("then")
    text = f"{unheard('Run this:')}\n\n```python\n{code}\n```"
    ada.say(text)
    copies = ada.answer.get_by_role("button", name="Copy", exact=True)
    expect(copies).to_have_count(2)
    expect(ada.answer.locator(".cm-content")).to_have_text(code)
    assert ada.copy(copies.first) == code
    assert ada.copy(copies.last).endswith(f"You said: {text}")
    ada.say(then)

    (said,) = model.said(then)
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert said[1][1].endswith(f"You said: {text}")


def test_what_was_shown_of_a_tool_is_not_told_to_the_agent_again(ada: Person, model: ScriptedModel) -> None:
    first, second = unheard("Remember that I play the cello."), unheard("second")
    ada.say(first)
    ada.say(second)

    (said,) = model.said(second)
    assert [role for role, _ in said] == ["user", "assistant", "tool", "assistant", "user"]
    assert [text for role, text in said if role == "user"] == [first, second]
