"""Long chats, which their clients send whole with every message."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.http.incoming.body import LONG, let_others
from tests.gateways import gateway, http
from tests.servers.fake_letta import FakeLetta

URL = "/v1/chat/completions"
COUNT = 600
TEXT = "and so on " * 25


def told(count: int, *more: str) -> dict[str, Any]:
    """A chat without an id, longer than what is worked through at once."""
    texts = [*(f"{i} {TEXT}".strip() for i in range(count)), *more]
    return {
        "model": "tutor",
        "user": "ada",
        "messages": [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)],
    }


@pytest.mark.parametrize(("size", "order"), [(LONG, "aba"), (LONG - 1, "aab")], ids=["long", "short"])
def test_others_are_let_in_between_the_parts_of_the_work_on_a_long_body(size: int, order: str) -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append("a")
        await let_others(bytes(size))
        seen.append("a")

    async def other() -> None:
        seen.append("b")

    async def both() -> None:
        await asyncio.gather(work(), other())

    asyncio.run(both())

    assert "".join(seen) == order


def test_of_two_requests_at_once_of_a_long_chat_without_an_id_each_has_its_own_past(letta: FakeLetta) -> None:
    begun = told(COUNT | 1)
    with gateway(letta.base_url) as url, http(url) as client, ThreadPoolExecutor() as pool:
        answer = client.post(URL, json=begun).json()["choices"][0]["message"]["content"]
        asked = ["To the left?", "To the right?"]
        both = [pool.submit(client.post, URL, json=told(COUNT | 1, answer, question)) for question in asked]
        statuses = [one.result(30).status_code for one in both]

    assert statuses == [200, 200]
    first, *rest = letta.said
    assert len(first) == COUNT | 1
    # One goes on where the chat was, the other in a conversation of its own, to which all is told.
    assert sorted(map(len, rest)) == [1, len(first) + 2]
    assert sorted(said[-1] for said in rest) == asked
    assert len(letta.conversations) == 2
