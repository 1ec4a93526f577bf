"""A page of a browser for each test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own, with nothing kept from any other."""
    context = browser.new_context()
    try:
        yield context.new_page()
    finally:
        context.close()
