"""The component and the route of `deploy/clients.md`, built and used in a real browser, in front of a real Letta."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.clients.node import link
from tests.clients.snippets import ADDRESS, SECRETS, SNIPPETS, serving
from tests.frontend import Said
from tests.integration.words import someone, unheard
from tests.servers.app_server import AppServer
from tests.servers.scripted_model import THOUGHT, ScriptedModel

SERVE, SERVE_RESUMED = (Path(__file__).parent / name for name in ("serve_chat.mjs", "serve_resumed_chat.mjs"))
# In milliseconds: an agent is made for the first message.
SOON = 30_000


@contextmanager
def serving_chat(directory: Path, node_modules: Path, gateway_url: str, serve: Path, *snippets: str) -> Iterator[str]:
    """The page with the component on it; gives its address."""
    link(node_modules, directory)
    files = {
        serve.name: serve.read_text(encoding="utf-8"),
        **{name: SNIPPETS[name].replace(ADDRESS, gateway_url) for name in snippets},
        "package.json": '{"type": "module"}',
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    environ = os.environ | SECRETS
    with subprocess.Popen(
        ["node", serve.name],
        cwd=directory,
        env=environ,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # The AI SDK tells every error there, too.
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        yield process.stdout.readline().strip()


@pytest.fixture
def page(browser: Browser, app_server: AppServer, node_modules: Path, tmp_path: Path) -> Iterator[Page]:
    """The component in a browser."""
    with (
        serving(app_server, tmp_path, someone()) as url,
        serving_chat(tmp_path, node_modules, url, SERVE, "route.js", "Chat.jsx") as address,
        browser.new_context() as context,
    ):
        opened = context.new_page()
        opened.goto(address)
        yield opened


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def send(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    button(page, "Send")


def await_answer(page: Page, number: int) -> None:
    """Returns when there is something of the answer of this number, and nothing more of it is to come."""
    expect(page.locator("article.assistant p")).to_have_count(number, timeout=SOON)
    expect(page.get_by_role("button", name="Stop")).to_be_disabled(timeout=SOON)


def on_screen(page: Page) -> list[Said]:
    articles = page.locator("article").all()
    return [(one.get_attribute("class") or "", _words(one.locator("p").inner_text())) for one in articles]


def heard(said: list[Said]) -> list[Said]:
    return [(role, _words(text)) for role, text in said]


def _words(text: str) -> str:
    return " ".join(text.split())


def test_the_agent_hears_what_is_on_screen(page: Page, model: ScriptedModel) -> None:
    one, two, three = unheard("one"), unheard("two"), unheard("three")
    send(page, one)
    await_answer(page, 1)
    send(page, two)
    await_answer(page, 2)
    with page.expect_response("**/api/chat") as answering:
        button(page, "Regenerate")
    answering.value.finished()
    await_answer(page, 2)
    assert [heard(said) for said in model.said(two)] == [on_screen(page)[:-1]] * 2

    send(page, f"!slow 60\n!say Once upon a time {'there was ' * 60}{unheard()}")
    expect(page.locator("article.assistant").last).to_contain_text("upon", timeout=SOON)
    button(page, "Stop")
    await_answer(page, 3)
    path = on_screen(page)
    send(page, three)
    await_answer(page, 4)
    assert [heard(said) for said in model.said(three)] == [[*path, ("user", three)]]


def test_thoughts_are_folded_and_errors_shown(page: Page) -> None:
    send(page, unheard("hello"))
    await_answer(page, 1)
    thoughts = page.locator("details")
    expect(thoughts).not_to_contain_text(THOUGHT.strip(), use_inner_text=True)
    thoughts.locator("summary").click()
    expect(thoughts).to_contain_text(THOUGHT.strip(), use_inner_text=True)

    send(page, "!fail 500")
    expect(page.get_by_role("alert")).to_have_text(
        "The model's provider failed (status 500, `server_error`).", timeout=SOON
    )


@pytest.fixture
def resumed(browser: Browser, app_server: AppServer, node_modules: Path, tmp_path: Path) -> Iterator[Page]:
    """The component that goes on after a reload, in a browser."""
    with (
        serving(app_server, tmp_path, someone()) as url,
        serving_chat(tmp_path, node_modules, url, SERVE_RESUMED, "resumed_route.js", "ResumedChat.jsx") as address,
        browser.new_context() as context,
    ):
        opened = context.new_page()
        opened.goto(f"{address}#kitchen")
        yield opened


def test_an_answer_goes_on_after_a_reload_and_can_still_be_stopped(resumed: Page, model: ScriptedModel) -> None:
    page, words = resumed, [unheard(f"word{number}") for number in range(30)]
    asked = f"!slow 100\n!say Once upon a time {' '.join(words)}"
    send(page, asked)
    expect(page.locator("article.assistant")).to_contain_text("upon", timeout=SOON)
    page.reload()
    expect(page.locator("article.assistant")).to_contain_text(words[0], timeout=SOON)
    expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    await_answer(page, 1)
    assert on_screen(page)[1][1] == f"Once upon a time {' '.join(words)}"
    page.reload()
    assert on_screen(page)[1][1] == f"Once upon a time {' '.join(words)}"

    path, more = on_screen(page), unheard("more")
    send(page, more)
    await_answer(page, 2)
    assert [heard(said) for said in model.said(more)] == [[*path, ("user", more)]]

    send(page, f"!slow 100\n!say Twice upon a time {' '.join(words)}{unheard()}")
    expect(page.locator("article.assistant").last).to_contain_text("Twice", timeout=SOON)
    page.reload()
    expect(page.locator("article.assistant").last).to_contain_text("Twice", timeout=SOON)
    button(page, "Stop")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled(timeout=SOON)
    expect(page.locator("article.assistant").last).not_to_contain_text(words[-1])
