"""Answers that come compressed, on the chat page: a browser reads each word at once."""

import pytest
from msgspec.structs import replace
from playwright.sync_api import Page, expect

from tests.browser.chat_page import ChatPage
from tests.gateways import KEY, PROGRAMS, gateway
from tests.one_by_one import OneByOne
from tests.servers.fake_letta import FakeLetta

COMPRESSING = replace(PROGRAMS, compress=True)
# What Chromium accepts by itself, and what is left where a proxy in between changes that.
ACCEPTED = {"zstd": {}, "gzip": {"accept-encoding": "gzip"}}


@pytest.mark.parametrize("encoding", ACCEPTED)
def test_every_word_is_shown_before_the_next_one_is_said(page: Page, letta: FakeLetta, encoding: str) -> None:
    answer = OneByOne(20)
    letta.steps = answer.steps
    page.set_extra_http_headers(ACCEPTED[encoding])
    with gateway(letta.base_url, chat_page=True, keys=(COMPRESSING,)) as url, ChatPage(page, url).opened(KEY) as chat:
        chat.enter_name("Ada")
        with page.expect_response("**/v1/responses") as answered:
            chat.send("Hello")
        for count, word in enumerate(answer.words, 1):
            expect(chat.last).to_contain_text(word.strip())
            answer.let(count)
        chat.wait()

    assert answered.value.headers["content-encoding"] == encoding
    assert chat.texts() == ["Hello", "".join(answer.words).strip()]
