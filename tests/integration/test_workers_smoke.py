"""The smoke of the whole way, through two worker processes with one Letta of the gateway's own, on a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.gateways import GatewayProcess
from tests.integration.several import WORKERS, scattered_sdk, shared
from tests.servers.redis_server import RedisServer
from tests.test_smoke import (
    NO_PROVIDER,
    Started,
    config_in,
    test_a_chat_is_streamed_with_its_thoughts_and_goes_on,
    test_a_person_is_asked_and_a_yes_alone_lets_it_be_done,
    test_a_tool_of_the_client_s_is_called_and_its_result_heard,
    test_after_a_restart_chat_and_memory_are_found_again,
    test_after_stop_the_chat_goes_on,
    test_what_one_chat_tells_the_others_of_that_person_know_and_nobody_else,
)

__all__ = [
    "test_a_chat_is_streamed_with_its_thoughts_and_goes_on",
    "test_a_person_is_asked_and_a_yes_alone_lets_it_be_done",
    "test_a_tool_of_the_client_s_is_called_and_its_result_heard",
    "test_after_a_restart_chat_and_memory_are_found_again",
    "test_after_stop_the_chat_goes_on",
    "test_what_one_chat_tells_the_others_of_that_person_know_and_nobody_else",
]


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    with RedisServer() as redis:

        def start(directory: Path) -> GatewayProcess:
            config = config_in(directory)
            config.write_text(shared(redis.url) + config.read_text())
            return GatewayProcess(config, "--workers", str(WORKERS), **NO_PROVIDER)

        yield start


@pytest.fixture(scope="module")
def client(started: Started, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    with started(tmp_path_factory.mktemp("smoke")) as process, scattered_sdk(process.base_url) as client:
        yield client
