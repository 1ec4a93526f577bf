"""One chat on the page: what is shown of an answer, of errors, and of the key."""

import json
import re
import threading

import pytest
from playwright.sync_api import Page, Route, expect

from gateway.settings import AgentType, Chats, Key, Secret
from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, MODEL_HANDLE, gateway
from tests.servers.fake_letta import ANSWER, STOP, THOUGHT, USAGE, WORD, Cut, FakeLetta, Hold, Step

TOOL: Step = {
    "message_type": "tool_call_message",
    "step_id": "s1",
    "tool_call": {"name": "web_search", "tool_call_id": "call-1", "arguments": "{}"},
}


def word(text: str) -> Step:
    return {**WORD, "content": text}


def test_an_answer_is_shown_as_it_comes(chat: ChatPage, letta: FakeLetta) -> None:
    more, rest = threading.Event(), threading.Event()
    letta.steps = [THOUGHT, more, word("It **streams"), rest, word("** indeed."), STOP, USAGE]
    chat.send("Hello")

    expect(chat.last.locator("summary")).to_have_text("Thinking…Hm.")
    more.set()
    expect(chat.last.locator(".body > .md")).to_have_text("It **streams")
    expect(chat.stop_button).to_be_visible()
    rest.set()
    expect(chat.last.locator(".body > .md strong")).to_have_text("streams")
    expect(chat.last.locator(".usage")).to_have_text("5 tokens")
    expect(chat.stop_button).to_be_hidden()
    assert letta.said == [["Hello"]]


def test_thoughts_are_folded_and_open_on_demand(chat: ChatPage) -> None:
    chat.say("Hello")

    expect(chat.last.get_by_text("Hm.")).to_be_hidden()
    chat.last.get_by_text("Thoughts").click()
    expect(chat.last.get_by_text("Hm.")).to_be_visible()
    assert chat.texts() == ["Hello", "Hello"]


def test_a_tool_is_a_line_between_the_thoughts(chat: ChatPage, letta: FakeLetta) -> None:
    searched = threading.Event()
    letta.steps = [THOUGHT, TOOL, searched, {**THOUGHT, "step_id": "s2", "reasoning": "Found it."}, WORD, STOP]
    chat.send("Look it up")

    expect(chat.last.locator(".tool")).to_have_text("Using web_search…")
    searched.set()
    expect(chat.last.locator(".tool")).to_have_text("Used web_search")
    chat.wait()
    assert chat.last.locator(".body > *").all_inner_texts() == ["Thoughts", "Used web_search", "Thoughts", "Hello"]


def test_thoughts_in_a_field_of_their_own_are_thoughts_too(page: Page, letta: FakeLetta) -> None:
    key = Key(name="scripts", key=Secret(KEY), reasoning="reasoning_content")
    letta.steps = [THOUGHT, TOOL, {**THOUGHT, "reasoning": "<think>"}, word("Hi"), STOP]
    with gateway(letta.base_url, chat_page=True, keys=(key,)) as url, ChatPage(page, url).opened(KEY, "Ada") as chat:
        chat.say("Hello")

        assert chat.last.locator(".body > *").all_inner_texts() == ["Thoughts", "Used web_search", "Thoughts", "Hi"]
        assert chat.last.locator("details .md").all_text_contents() == ["Hm.", "<think>"]


def test_tags_that_the_agent_writes_itself_are_text(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [THOUGHT, word("Say <thi"), word("nk>so</think> aloud"), STOP]
    chat.say("Hello")
    chat.press("Copy", chat.last)

    assert chat.texts()[1] == "Say <think>so</think> aloud"
    assert chat.page.evaluate("navigator.clipboard.readText()") == "Say <think>so</think> aloud"


def test_stop_cancels_the_run_and_keeps_what_came(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [word("Half an"), Hold()]
    chat.send("Hello")
    expect(chat.last).to_contain_text("Half an")
    chat.stop_button.click()

    expect(chat.last.locator(".note")).to_have_text("Stopped.")
    assert letta.cancelled.wait(30)
    assert chat.texts()[1] == "Half an"
    expect(chat.say_field).to_be_focused()


def test_an_answer_that_was_stopped_goes_on_where_it_was(chat: ChatPage, letta: FakeLetta) -> None:
    letta.steps = [word("Half an"), Hold()]
    chat.send("Hello")
    expect(chat.last).to_contain_text("Half an")
    chat.page.keyboard.press("Escape")
    expect(chat.last.locator(".note")).to_have_text("Stopped.")
    letta.steps = [THOUGHT, word(" answer."), STOP]
    chat.press("Continue", chat.last)
    chat.wait()

    assert chat.last.locator(".body > *").all_inner_texts() == ["Thoughts", "Half an answer."]
    expect(chat.last.get_by_role("button", name="Continue")).to_be_hidden()


QUICK = Chats(queue_seconds=0.1)
# What Letta does -> what the person reads
FAILURES: dict[str, tuple[list[Step], str]] = {
    "at once": ([500], "Letta failed to answer."),
    "busy": ([409], "The agent is still busy in this chat."),
    "within the stream": ([word("Half"), {"message_type": "error_message", "error_type": "llm_error"}], "provider"),
    "a lost connection to Letta": ([word("Half"), Cut()], "The connection to Letta broke before the answer's end."),
}


@pytest.mark.parametrize(("steps", "words"), FAILURES.values(), ids=FAILURES)
def test_an_error_is_told_in_the_gateway_s_words_and_can_be_tried_again(
    page: Page, letta: FakeLetta, steps: list[Step], words: str
) -> None:
    with (
        gateway(letta.base_url, chat_page=True, first_event_seconds=0.1, chats=QUICK) as url,
        ChatPage(page, url).opened(KEY, "Ada") as chat,
    ):
        letta.steps = steps
        chat.send("Hello")
        expect(chat.last.get_by_role("alert")).to_contain_text(words)
        letta.steps = ANSWER
        chat.press("Try again")
        chat.wait()

        assert chat.texts()[-1] == "Hello"
        expect(chat.page.get_by_role("alert").filter(visible=True)).to_have_count(0)


def test_a_gateway_that_is_gone_is_told_and_the_text_is_not_lost(page: Page, letta: FakeLetta) -> None:
    with gateway(letta.base_url, chat_page=True) as url:
        chat = ChatPage(page, url)
        with chat.opened(KEY, "Ada"):
            pass
    chat.send("Hello?")
    expect(chat.last.get_by_role("alert")).to_contain_text("The gateway cannot be reached.")

    assert chat.texts() == ["Hello?"]


def test_a_connection_that_is_lost_within_an_answer_is_told(page: Page, letta: FakeLetta) -> None:
    letta.steps = [word("Half an"), Hold()]
    with gateway(letta.base_url, chat_page=True) as url:
        chat = ChatPage(page, url)
        with chat.opened(KEY, "Ada"):
            # The network goes, and not the gateway, which would say so.
            page.route(
                "**/v1/responses", lambda route: route.fulfill(body='data: {"type": "response.in_progress"}\n\n')
            )
            chat.send("Hello")
            expect(chat.last.get_by_role("alert")).to_contain_text("The connection was lost before the answer's end.")


def test_somebody_else_s_answer_is_told_by_its_status(chat: ChatPage) -> None:
    chat.page.route("**/v1/responses", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    chat.send("Hello")

    expect(chat.last.get_by_role("alert")).to_contain_text("answered with HTTP 502")


def test_the_page_asks_for_a_key_until_it_is_right_and_keeps_it_in_the_tab(page: Page, url: str) -> None:
    with ChatPage(page, url).opened() as chat:
        field = chat.key_dialog.get_by_label("Key", exact=True)
        expect(field).to_be_focused()
        field.fill("sk-wrong")
        page.keyboard.press("Enter")
        expect(chat.key_dialog.get_by_role("alert")).to_have_text("Incorrect API key provided.")
        field.fill("с кириллицей")
        page.keyboard.press("Enter")
        expect(chat.key_dialog.get_by_role("alert")).to_contain_text("no spaces")
        chat.enter_key(KEY)

        assert KEY in page.evaluate("Object.values(sessionStorage)")
        chat.enter_name("Ada")
        chat.say("Hello")
        assert KEY not in json.dumps(chat.kept())
        page.reload()
        expect(chat.answers).to_have_count(1)
        expect(chat.key_dialog).to_be_hidden()


def test_another_tab_has_not_got_the_key(chat: ChatPage) -> None:
    with chat.page.context.new_page() as other, ChatPage(other, chat.url).opened() as second:
        expect(second.key_dialog).to_be_visible()


def test_a_key_that_is_wrong_by_now_is_asked_for_again_and_the_message_kept(chat: ChatPage) -> None:
    chat.page.route("**/v1/responses", with_an_old_key)
    chat.send("Hello")
    expect(chat.key_dialog).to_contain_text("Incorrect API key provided.")
    chat.page.unroute_all()
    chat.enter_key(KEY)
    chat.press("Try again")
    chat.wait()

    assert chat.texts() == ["Hello", "Hello"]


def with_an_old_key(route: Route) -> None:
    route.continue_(headers={**route.request.headers, "authorization": "Bearer sk-old"})


def test_without_a_key_entered_the_page_says_so_and_asks_on_demand(page: Page, url: str) -> None:
    with ChatPage(page, url).opened() as chat:
        chat.press("Cancel")
        expect(page.locator("#banner")).to_contain_text("Not connected")
        chat.send("Hello")
        expect(chat.key_dialog).to_be_visible()
        chat.enter_key(KEY)
        expect(chat.say_field).to_have_value("Hello")


def test_who_writes_elsewhere_while_the_dialog_of_the_key_closes_goes_on_there(page: Page, url: str) -> None:
    with ChatPage(page, url).opened() as chat:
        expect(chat.key_dialog).to_be_visible()
        page.evaluate("""() => {
            const [dialog, name] = ["key-dialog", "name"].map((id) => document.getElementById(id));
            const told = new Promise((resolve) => dialog.addEventListener("close", () => queueMicrotask(resolve)));
            new MutationObserver(() => dialog.open || name.focus()).observe(dialog, { attributeFilter: ["open"] });
            window.focusedThen = told.then(() => document.activeElement.id);
        }""")
        chat.enter_key(KEY)

        assert page.evaluate("focusedThen") == "name"


def test_what_is_sent_before_the_gateway_has_said_which_models_there_are_is_answered(
    page: Page, letta: FakeLetta
) -> None:
    held: list[Route] = []
    page.route("**/v1/models", lambda route: held.append(route))
    with gateway(letta.base_url, chat_page=True, keys=()) as url, ChatPage(page, url).opened() as chat:
        chat.send("Hello")
        chat.say_field.press("Enter")
        expect(chat.say_field).to_have_value("Hello")
        (models,) = held
        models.continue_()
        expect(chat.answers).to_have_count(1)
        chat.wait()

        assert chat.texts() == ["Hello", "Hello"]


def test_a_key_that_was_cancelled_while_it_was_tried_is_not_taken(chat: ChatPage) -> None:
    held: list[Route] = []
    chat.page.route("**/v1/models", lambda route: held.append(route))
    chat.press("Change the key")
    chat.key_dialog.get_by_label("Key", exact=True).fill("sk-wrong")
    with chat.page.expect_request("**/v1/models"):
        chat.page.keyboard.press("Enter")
    chat.press("Cancel")
    (tried,) = held
    with chat.page.expect_response("**/v1/models"):
        tried.continue_()
    chat.say("Hello")

    expect(chat.key_dialog).to_be_hidden()
    assert chat.texts() == ["Hello", "Hello"]


def test_a_gateway_without_keys_asks_for_none(page: Page, letta: FakeLetta) -> None:
    with gateway(letta.base_url, chat_page=True, keys=()) as url, ChatPage(page, url).opened() as chat:
        chat.say("Hello")

        expect(chat.key_dialog).to_be_hidden()
        expect(page.get_by_role("button", name="Change the key")).to_be_hidden()
        assert page.evaluate("sessionStorage.getItem('letta-gateway.key')") is None


def test_the_demo_s_key_is_there_and_is_kept_nowhere(page: Page, letta: FakeLetta) -> None:
    with (
        gateway(letta.base_url, chat_page=True, page_key=Secret(KEY)) as url,
        ChatPage(page, url).opened(name="Ada") as chat,
    ):
        chat.say("Hello")

        expect(chat.key_dialog).to_be_hidden()
        assert KEY not in json.dumps([chat.kept(), page.evaluate("({...sessionStorage})")])


def test_models_are_chosen_by_their_names(page: Page, letta: FakeLetta) -> None:
    types = (
        AgentType(id="tutor", name="Tutor", model=MODEL_HANDLE, description="Patient"),
        AgentType(id="cook", name="Cook", model=MODEL_HANDLE, description="Hungry"),
    )
    with gateway(letta.base_url, chat_page=True, types=types) as url, ChatPage(page, url).opened(KEY, "Ada") as chat:
        expect(page.locator("#model-about")).to_have_text("Patient")
        assert page.get_by_label("Model").locator("option").all_inner_texts() == ["Tutor", "Cook"]
        page.get_by_label("Model").select_option("Cook")
        expect(page.locator("#model-about")).to_have_text("Hungry")
        chat.say("What is for dinner?")
        page.reload()
        expect(chat.last.locator(".who")).to_have_text("Cook")
        expect(page.get_by_label("Model")).to_have_value("cook")

    (agent,) = letta.agents
    assert [tag for tag in agent["tags"] if re.search("cook", tag)]


PAYLOADS = {
    "a script": "<script>ran.push(1)</script>",
    "an image": "<img src=x onerror=\"ran.push(1)\">",
    "a picture": "<svg onload='ran.push(1)'><a xlink:href='javascript:ran.push(1)'>x</a></svg>",
    "a link": "[press](javascript:ran.push(1))",
    "a link in disguise": "[press](JaVa\tScript:ran.push(1)) [press]( javascript:ran.push(1) )",
    "an address": "<javascript:ran.push(1)> <a href=javascript:ran.push(1)>press</a>",
    "a link to data": "[press](data:text/html,<script>ran.push(1)</script>)",
    "a title": "[press](https://example.com \"\\\" onmouseover=ran.push(1) x=\\\"\")",
    "an image of Markdown": "![x](https://example.com/spy.png) ![x\" onerror=\"ran.push(1)](x)",
    "a fence": "```html\"><script>ran.push(1)</script>\n<img src=x onerror=ran.push(1)>\n```",
    "code": "`<img src=x onerror=ran.push(1)>`",
    "a table": "|<b>a</b>|b|\n|-|-|\n|<img src=x onerror=ran.push(1)>|[x](javascript:ran.push(1))|",
    "entities": "&lt;script&gt;ran.push(1)&lt;/script&gt;",
    "a tag of the page's": "</li></ol><base href=https://example.com><meta http-equiv=refresh content=0>",
}  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_what_a_model_or_a_person_says_runs_nothing(chat: ChatPage, letta: FakeLetta, payload: str) -> None:
    letta.steps = [{**THOUGHT, "reasoning": payload}, word(payload), STOP]
    chat.say(payload)
    chat.last.locator("summary").first.click()
    for anchor in chat.page.locator("#messages a").all():
        assert anchor.get_attribute("href") == "https://example.com/" or "spy.png" in str(anchor.get_attribute("href"))
        assert (anchor.get_attribute("rel"), anchor.get_attribute("target")) == ("noopener noreferrer", "_blank")
        anchor.hover()
    chat.page.reload()
    expect(chat.answers).to_have_count(1)

    foreign = (
        "#messages :is(script, img, svg:not([aria-hidden]), base, meta, iframe, b), [onerror], [onload], [onmouseover]"
    )
    assert chat.page.locator(foreign).count() == 0
    chat.check()


def test_names_of_models_people_and_errors_run_nothing(page: Page, letta: FakeLetta) -> None:
    odd = "<img/src=x/onerror=ran.push(1)>"
    types = (AgentType(id=odd, name=odd, description=odd, model=MODEL_HANDLE),)
    with gateway(letta.base_url, chat_page=True, types=types) as url, ChatPage(page, url).opened(KEY, odd) as chat:
        expect(page.locator("#greeting")).to_have_text(f"Hello, {odd}")
        chat.say(odd)
        expect(chat.last.locator(".who")).to_have_text(odd)
        expect(chat.chats).to_have_text(odd)
        error = json.dumps({"error": {"message": odd, "type": odd, "param": None, "code": odd}})
        page.route("**/v1/responses", lambda route: route.fulfill(status=400, body=error))
        chat.send("again")
        expect(chat.last.get_by_role("alert")).to_contain_text(odd)

        assert page.locator("img").count() == 0
