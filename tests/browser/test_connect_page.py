"""The page that says how to connect, in a real browser."""

import pytest
from playwright.sync_api import Page

from tests.gateways import gateway
from tests.servers.fake_letta import FakeLetta

WIDTHS = {"wide": 1280, "narrow": 375}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_page_is_seen_in_its_style_and_fits(page: Page, width: int) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.set_viewport_size({"width": width, "height": 800})
    with FakeLetta() as letta, gateway(letta.base_url) as url:
        page.goto(url)

        assert page.get_by_role("heading", level=1).inner_text() == "Letta Gateway"
        assert page.evaluate("getComputedStyle(document.body).maxWidth") == "736px"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [line for line in said if "favicon" not in line] == []
