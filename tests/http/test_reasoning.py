"""How the thoughts of an answer are shown: as its key says, and less where the request wants less."""

from typing import Any

import pytest

from gateway.domain.look import Reasoning
from gateway.settings import Key, Secret
from tests.gateways import KEY, chat, gateway, http, said
from tests.servers.fake_letta import FakeLetta

JSON_OBJECT = {"type": "json_object"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
TAGGED = ("<think>Hm. </think>Hello", None)
BARE = ("Hello", None)
BESIDE = ("Hello", "Hm. ")
# what the key says, what the request wants -> content, and thoughts beside it
SHOWN: dict[str, tuple[Reasoning, dict[str, Any], tuple[str, str | None]]] = {
    "tags": ("think_tags", {}, TAGGED),
    "tags, little effort": ("think_tags", {"reasoning_effort": "low"}, TAGGED),
    "tags, no effort": ("think_tags", {"reasoning_effort": "none"}, BARE),
    "tags, excluded": ("think_tags", {"reasoning": {"exclude": True}}, BARE),
    "tags, not included": ("think_tags", {"include_reasoning": False}, BARE),
    "tags, but JSON": ("think_tags", {"response_format": JSON_OBJECT}, BARE),
    "tags, but JSON of a schema": ("think_tags", {"response_format": SCHEMA}, BARE),
    "tags, and text": ("think_tags", {"response_format": {"type": "text"}}, TAGGED),
    "fields": ("reasoning_content", {}, BESIDE),
    "fields, no effort": ("reasoning_content", {"reasoning_effort": "none"}, BARE),
    "fields beside JSON": ("reasoning_content", {"response_format": JSON_OBJECT}, BESIDE),
    "hidden": ("hidden", {"include_reasoning": True, "reasoning_effort": "high"}, BARE),
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("reasoning", "wants", "shown"), SHOWN.values(), ids=SHOWN)
def test_a_request_may_want_fewer_thoughts_than_its_key_shows(
    letta: FakeLetta, reasoning: Reasoning, wants: dict[str, Any], shown: tuple[str, str | None], streamed: bool
) -> None:
    key = Key(name="programs", key=Secret(KEY), reasoning=reasoning)
    with gateway(letta.base_url, keys=(key,)) as url, http(url) as client:
        answer = said(client.post("/v1/chat/completions", json=chat(stream=streamed, **wants)).text)

    assert (answer["content"], answer.get("reasoning_content")) == shown
    assert answer.get("reasoning") == answer.get("reasoning_content")
