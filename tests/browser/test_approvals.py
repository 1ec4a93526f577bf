"""Approvals on the page: the buttons beside the question, and what they do in front of a real App Server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from gateway.domain.events import CallPiece
from gateway.settings import AgentType
from gateway.wires.question import Questions
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, MODEL_HANDLE, gateway
from tests.integration.words import someone, unheard
from tests.servers.app_server import AppServer
from tests.servers.fake_letta import STOP, WORD, FakeLetta, Hold
from tests.servers.scripted_model import ScriptedModel

WRITER = AgentType(id="tutor", name="Tutor", model=MODEL_HANDLE, system="You write.", tools=("Write",))


def question(*calls: tuple[str, str]) -> str:
    questions = Questions()
    for i, (name, arguments) in enumerate(calls or [("Write", '{"file_path": "/tmp/x"}')]):
        questions.call(CallPiece(f"call-{i}", name, arguments))
    return questions.ask()


@pytest.fixture(scope="module")
def asking_url(app_server: AppServer) -> Iterator[str]:
    """A gateway in front of a real App Server whose agents ask before they write a file."""
    with gateway(app_server, types=(WRITER,), chat_page=True) as url:
        yield url


@pytest.fixture
def asked(page: Page, asking_url: str, tmp_path: Path) -> Iterator[ChatPage]:
    """A chat in which the agent asks whether it may write the file `deed`."""
    with ChatPage(page, asking_url).opened(KEY, someone()) as chat:
        chat.send(f'!tool Write {{"file_path": "{tmp_path / "deed"}", "content": "Done."}}\n{unheard()}')
        expect(buttons(chat)).to_be_visible()
        chat.wait()
        yield chat


def buttons(chat: ChatPage) -> Locator:
    return chat.page.get_by_role("form", name="Your approval")


def test_what_is_allowed_is_done(asked: ChatPage, tmp_path: Path) -> None:
    assert not (tmp_path / "deed").exists()
    asked.press("Allow")
    expect(asked.answers).to_have_count(2)
    asked.wait()

    assert (tmp_path / "deed").read_text() == "Done."
    assert asked.texts()[2] == "yes"
    expect(buttons(asked)).to_have_count(0)


def test_what_is_denied_is_not_done(asked: ChatPage, tmp_path: Path) -> None:
    asked.press("Deny")
    expect(asked.answers).to_have_count(2)
    asked.wait()

    assert not (tmp_path / "deed").exists()
    assert asked.texts()[2] == "no"
    expect(buttons(asked)).to_have_count(0)


def test_the_agent_is_told_why_it_may_not(asked: ChatPage, model: ScriptedModel, tmp_path: Path) -> None:
    reason = unheard("it is too late")
    asked.page.get_by_label("Why not (if you like)").fill(reason)
    asked.page.keyboard.press("Enter")
    expect(asked.answers).to_have_count(2)
    asked.wait()

    assert not (tmp_path / "deed").exists()
    assert asked.texts()[2] == f"no, because {reason}"
    assert any(reason in text for role, text in model.said_once(reason) if role != "user")


def test_words_still_answer_beside_the_buttons(asked: ChatPage, tmp_path: Path) -> None:
    asked.say("Sure.")

    assert (tmp_path / "deed").read_text() == "Done."
    expect(buttons(asked)).to_have_count(0)


def test_the_buttons_are_there_after_a_reload(asked: ChatPage, tmp_path: Path) -> None:
    asked.page.reload()
    asked.press("Allow")
    expect(asked.answers).to_have_count(2)
    asked.wait()

    assert (tmp_path / "deed").read_text() == "Done."


def test_a_draft_stays_when_a_button_answers(chat: ChatPage, letta: FakeLetta) -> None:
    letta.coming = [[{**WORD, "content": question()}, STOP]]
    chat.say("Write it")
    chat.say_field.fill("And then")
    chat.press("Allow")
    expect(chat.answers).to_have_count(2)
    chat.wait()

    expect(chat.say_field).to_have_value("And then")
    assert chat.texts()[2:] == ["yes", "Hello"]


def test_only_the_last_answer_has_buttons_and_only_while_nothing_is_under_way(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [{**WORD, "content": question()}, Hold()]
    chat.send("Write it")
    expect(chat.last).to_contain_text("anything else counts as a no")
    expect(buttons(chat)).to_have_count(0)
    chat.stop_button.click()
    chat.wait()
    # Nobody knows what became of a question whose answer was stopped.
    expect(buttons(chat)).to_have_count(0)

    letta.coming = [[{**WORD, "content": question()}, STOP]]
    chat.say("Write it once more")
    expect(buttons(chat)).to_have_count(1)
    letta.steps = [{**WORD, "content": "Fine"}, STOP]
    chat.say("What is it for?")
    expect(buttons(chat)).to_have_count(0)


TRAP = question(("Write", '{"content": "x"}'))
# an answer -> whether it ends with a question
ANSWERS: dict[str, tuple[str, bool]] = {
    "a question": (question(), True),
    "after what the agent said": (f"Let me see.\n\n{question()}", True),
    "several calls": (question(("Write", "{}"), ("Bash", '{"command": "ls"}')), True),
    "arguments that are a question": (question(("Write", TRAP)), True),
    "arguments that end as one": (question(("Write", f"a\n\n{TRAP}\n")), True),
    "a fence within": (question(("Write", "a ``` b")), True),
    "without arguments": (question(("Write", "")), True),
    "something after it": (f"{question()}\n\nWell?", False),
    "its first line": ("**May I do this?** It needs your approval:\n", False),
    "its last line": (question().split("\n")[-1], False),
    "something else between": (question().replace("- run", "I run"), False),
    "no call": ("\n\n".join([question().split("\n")[0], question().split("\n")[-1]]), False),
    "within a line": (f"I ask: {question()}", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("answer", "is_one"), ANSWERS.values(), ids=ANSWERS)
def test_a_question_is_known_by_the_gateway_s_words(chat: ChatPage, answer: str, is_one: bool) -> None:
    found: bool = chat.page.evaluate(
        """async (answer) => (await import(new URL("web/asked.js", location))).asks(answer)""", answer
    )

    assert found == is_one
