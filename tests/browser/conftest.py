"""A page of a browser for each test, and gateways with the chat page."""

from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, gateway
from tests.servers.app_server import AppServer
from tests.servers.fake_letta import FakeLetta

# A turn of a real App Server takes some seconds where everything else runs beside it.
SECONDS = 30


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own, with nothing kept from any other."""
    expect.set_options(timeout=SECONDS * 1000)
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(SECONDS * 1000)
    try:
        yield context.new_page()
    finally:
        context.close()


@pytest.fixture
def letta() -> Iterator[FakeLetta]:
    with FakeLetta() as fake:
        yield fake


@pytest.fixture
def url(letta: FakeLetta) -> Iterator[str]:
    """A gateway in front of the fake Letta."""
    with gateway(letta.base_url, chat_page=True) as base_url:
        yield base_url


@pytest.fixture
def chat(page: Page, url: str) -> Iterator[ChatPage]:
    """Ada's chat page in front of the fake Letta."""
    with ChatPage(page, url).opened(KEY, "Ada") as chat_page:
        yield chat_page
    # An answer that it still listens to would keep the gateway from its end.
    page.close()


@pytest.fixture(scope="module")
def real_url(app_server: AppServer) -> Iterator[str]:
    """A gateway in front of a real App Server."""
    with gateway(app_server, chat_page=True) as base_url:
        yield base_url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of a failed test, with what its page showed: it is gone before anybody can look."""
    report = yield
    shown = getattr(item, "funcargs", {}).get("page")
    if call.when == "call" and report.failed and isinstance(shown, Page):
        try:
            words = shown.locator("body").aria_snapshot(timeout=SECONDS * 100)
        except Error as error:
            words = f"It could not be read: {error}"
        report.sections.append(("The page", words))
    return report
