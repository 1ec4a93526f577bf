"""Limits and usage of two gateways on one Redis, as their clients meet them."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.gateways import ForkedGateway, chat
from tests.servers.fake_letta import USAGE, FakeLetta
from tests.servers.redis_server import RedisServer

COST = int(str(USAGE["total_tokens"]))
CONFIG = """
[letta]
base_url = "{letta}"
settle_seconds = 0.05

[shared]
url = "{redis}"

[[agent_types]]
id = "tutor"
model = "m/one"

[[keys]]
name = "k"
key = "sk-k"
user_limits = {{requests_per_minute = 4, tokens_per_day = {tokens}}}
"""


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def clients(redis: RedisServer, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """Clients of two gateways, with one key."""
    config = tmp_path / "gateway.toml"
    with ExitStack() as stack:
        letta = stack.enter_context(FakeLetta())
        config.write_text(CONFIG.format(letta=letta.base_url, redis=redis.url, tokens=2 * COST))
        gateways = [stack.enter_context(ForkedGateway(config)) for _ in range(2)]
        yield [
            stack.enter_context(
                httpx.Client(base_url=one.base_url, headers={"Authorization": "Bearer sk-k"}, timeout=30)
            )
            for one in gateways
        ]


def ask(client: httpx.Client, user: str) -> tuple[int, str]:
    answer = client.post("/v1/chat/completions", json=chat(user=user))
    return answer.status_code, "" if answer.is_success else answer.json()["error"]["code"]


def used(client: httpx.Client, user: str, tokens: int) -> bool:
    """True once that is what this gateway tells of a person."""
    for _ in range(500):
        body = client.get("/v1/usage", params={"user": user}).raise_for_status().json()
        if body["today"]["total_tokens"] == body["month"]["total_tokens"] == tokens:
            return True
        time.sleep(0.01)
    return False


def test_what_is_used_at_one_gateway_counts_at_the_other_over_a_restart_of_redis(
    clients: list[httpx.Client], redis: RedisServer
) -> None:
    first, second = clients
    assert ask(first, "ada") == (200, "")
    assert used(second, "ada", COST)
    assert ask(second, "ada") == (200, "")
    assert used(first, "ada", 2 * COST)
    assert ask(first, "ada") == ask(second, "ada") == (429, "insufficient_quota")
    assert ask(second, "bob") == (200, "")

    redis.stop()
    assert ask(first, "ada") == ask(second, "ada") == (429, "insufficient_quota")
    assert ask(first, "bob") == (200, "")
    redis.start()
    assert used(second, "bob", 2 * COST)
    assert used(second, "ada", 2 * COST)
    assert ask(second, "ada") == (429, "insufficient_quota")
    assert first.get("/v1/usage", params={"user": "ada"}).json()["counted_since"] is None
