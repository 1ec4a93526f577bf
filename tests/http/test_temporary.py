"""Temporary chats over the API: how any program says so, and what the gateway makes of it in Letta."""

from typing import Any

import httpx
import pytest

from gateway.settings import AgentType
from tests.gateways import MODEL_HANDLE, chat, gateway, http
from tests.servers.fake_letta import FakeLetta

URL = "/v1/chat/completions"
# What a request says beside its message -> whether the conversation is marked, so that it is deleted in time
SAID: dict[str, tuple[dict[str, str], dict[str, Any], bool]] = {
    "nothing": ({"X-Chat-Id": "c1"}, {}, False),
    "a header": ({"X-Chat-Id": "c1", "X-Temporary-Chat": "true"}, {}, True),
    "metadata": ({}, {"metadata": {"chat_id": "c1", "temporary": "true"}}, True),
    "a header, without a chat": ({"X-Temporary-Chat": "true"}, {}, True),
    "that it is kept": ({"X-Chat-Id": "c1", "X-Temporary-Chat": "false"}, {}, False),
}


def summaries(letta: FakeLetta) -> list[str]:
    return [conversation["summary"] for conversation in letta.conversations]


@pytest.mark.parametrize(("headers", "body", "marked"), SAID.values(), ids=SAID)
def test_a_request_may_say_that_its_chat_is_temporary(
    letta: FakeLetta, headers: dict[str, str], body: dict[str, Any], marked: bool
) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        assert client.post(URL, json=chat(**body), headers=headers).status_code == 200

    assert ["(temporary)" in summary for summary in summaries(letta)] == [marked]


def test_chats_without_an_id_that_begin_alike_are_kept_or_not_each_as_it_says(letta: FakeLetta) -> None:
    both: tuple[dict[str, str], ...] = ({}, {"X-Temporary-Chat": "true"})
    with gateway(letta.base_url) as url, http(url) as client:
        answers = [client.post(URL, json=chat(), headers=headers).json() for headers in both]
        for answer, headers in zip(answers, both, strict=True):
            said = [*chat()["messages"], answer["choices"][0]["message"], {"role": "user", "content": "more"}]
            assert client.post(URL, json=chat(messages=said), headers=headers).status_code == 200

    assert ["(temporary)" in summary for summary in summaries(letta)] == [False, True]
    assert letta.said == [["hello"], ["hello"], ["more"], ["more"]]


def test_agents_with_one_thread_know_no_temporary_chats(letta: FakeLetta) -> None:
    endless = AgentType(id="tutor", model=MODEL_HANDLE, conversations="single")
    with gateway(letta.base_url, types=(endless,)) as url, http(url) as client:
        for said in ("true", "false"):
            assert client.post(URL, json=chat(), headers={"X-Temporary-Chat": said}).status_code == 200

    assert len(summaries(letta)) == 1


def test_what_cannot_be_understood_is_refused_before_anything_is_kept(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url:
        response = httpx.post(
            f"{url}{URL}", json=chat(), headers={"authorization": "Bearer sk-test", "X-Temporary-Chat": "yes"}
        )

    error = response.json()["error"]
    assert (response.status_code, error["param"], error["type"]) == (400, "x-temporary-chat", "invalid_request_error")
    assert "yes" not in error["message"]
    assert letta.requests == []
