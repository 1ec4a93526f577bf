"""The connection, as an administrator of a real Open WebUI sees it, and as its people do."""

import json
import re

import pytest
from playwright.sync_api import Browser, expect

from gateway.settings import OPEN_WEBUI_HEADERS
from tests.e2e.person import Person, TakePicture
from tests.servers.open_webui import OpenWebUI

pytestmark = pytest.mark.e2e


def test_the_dialog_of_the_connection_holds_what_the_variables_say(
    browser: Browser, open_webui: OpenWebUI, gateway_url: str, take_picture: TakePicture
) -> None:
    with browser.new_context(locale="en-GB") as context:
        root = Person(context, open_webui, open_webui.administrator)
        root.page.goto(f"{open_webui.base_url}/admin/settings/connections")
        root.click("Configure")
        dialog = root.page.get_by_role("dialog").last
        dialog.get_by_text("Advanced").click()

        expect(dialog.get_by_placeholder("API Base URL")).to_have_value(f"{gateway_url}/v1")
        headers = dialog.get_by_label("Enter additional headers in JSON format").input_value()
        assert json.loads(headers) == OPEN_WEBUI_HEADERS
        take_picture(root.page, "")


def test_people_may_choose_the_agents_and_nothing_else(ada: Person) -> None:
    ada.click("Selected model: Letta")

    expect(ada.page.get_by_role("option")).to_have_text([re.compile("Letta")])
