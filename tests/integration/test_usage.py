"""What is counted on each kind of a real Letta: what it tells, and where it tells nothing, an estimate."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from gateway.limits.counters import Payer, Spent
from gateway.limits.periods import day_of
from gateway.limits.usage_file import FILE_NAME, UsageFile
from gateway.settings import Allowance, Key, Secret
from tests.gateways import KEY, ForkedGateway, GatewayProcess, chat, gateway, http, sdk
from tests.integration.test_processes import CONFIG
from tests.integration.words import someone
from tests.servers.real_letta import RealLetta
from tests.workers import also_in_threes

USAGE = "/v1/usage"
SECONDS = 30
# Who looks again and again takes from others what they are looked at for.
LOOK_SECONDS = 0.02
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def used(url: str, user: str, answers: int) -> dict[str, Any]:
    """What a user is told of today, once so many runs are counted."""
    until = time.monotonic() + SECONDS
    with http(url) as client:
        while True:
            today: dict[str, Any] = client.get(USAGE, params={"user": user}).raise_for_status().json()["today"]
            if today["answers"] >= answers:
                return today
            assert time.monotonic() < until, today
            time.sleep(LOOK_SECONDS)


def of_answer(client: OpenAI, text: str, user: str, **more: Any) -> tuple[int, int, int]:
    """The usage that an answer tells."""
    usage = client.chat.completions.create(**chat(text, user=user, **more)).usage
    assert usage
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


# what is asked
TOLD: dict[str, dict[str, Any]] = {
    "a plain answer": {"text": "!say well"},
    "thoughts": {"text": "!think Ponder.\n!say well"},
    "a tool of Letta's, in two steps": {"text": "Remember that I play the cello."},
    "a call of the client's": {"text": "!tool weather {}", "tools": [WEATHER]},
    "JSON": {"text": '!say {"a": 1}', "response_format": {"type": "json_object"}},
}


@pytest.mark.parametrize("asked", TOLD.values(), ids=TOLD)
def test_what_is_counted_is_what_letta_told(url: str, client: OpenAI, asked: dict[str, Any]) -> None:
    user = someone()
    told = of_answer(client, user=user, **asked)
    counted = used(url, user, 1)

    assert (counted["input_tokens"], counted["output_tokens"], counted["total_tokens"]) == told
    assert told[2] > 0
    assert counted["estimated_tokens"] == 0


def test_both_tries_of_an_answer_are_counted(letta: RealLetta, url: str, client: OpenAI) -> None:
    user = someone()
    with pytest.raises(openai.APIStatusError) as caught:
        of_answer(client, "!say no JSON", user, tool_choice="required", tools=[WEATHER])
    alone = of_answer(client, "!say no JSON", someone())
    counted = used(url, user, 1)

    assert caught.value.code == "invalid_model_output"
    assert counted["total_tokens"] >= 2 * alone[2]
    assert counted["estimated_tokens"] == 0


def stop(client: OpenAI, user: str) -> None:
    stream = client.chat.completions.create(**chat("!hang-after one two three", user=user, stream=True))
    for chunk in stream:
        if chunk.choices and "three" in (chunk.choices[0].delta.content or ""):
            break
    stream.close()


def fail(client: OpenAI, user: str) -> None:
    with pytest.raises((openai.APIError, httpx.HTTPError)):
        for _ in client.chat.completions.create(**chat("!cut-after one two three", user=user, stream=True)):
            pass


@also_in_threes
@pytest.mark.parametrize("end", [stop, fail], ids=["stopped", "failed"])
def test_what_letta_does_not_tell_is_estimated(url: str, client: OpenAI, end: Callable[[OpenAI, str], None]) -> None:
    user = someone()
    end(client, user)
    counted = used(url, user, 1)

    assert 0 < counted["estimated_tokens"] == counted["total_tokens"] < 100


@contextmanager
def serving(letta: RealLetta, directory: Path) -> Iterator[GatewayProcess]:
    config = directory / "gateway.toml"
    limits = f'user_limits = {{tokens_per_day = 1}}\n\n[server]\nstate = "{directory / "used"}"\n'
    config.write_text(CONFIG.format(letta=letta.config(directory), model=letta.model) + limits)
    with ForkedGateway(config, GATEWAY_TEST_KEY=KEY) as process:
        yield process


def kept(state: Path) -> list[tuple[Payer, Spent]]:
    """What the file has of today, beside the gateway that writes it."""
    file = UsageFile(state / FILE_NAME, writes=False)
    try:
        return file.payers(day_of(datetime.now(UTC)))
    finally:
        file.close()


def test_a_budget_that_is_spent_is_so_for_a_gateway_that_was_killed_and_started_again(
    letta: RealLetta, tmp_path: Path
) -> None:
    ada, bob = someone(), someone()
    with serving(letta, tmp_path) as process:
        with sdk(process.base_url) as client:
            of_answer(client, "!say well", ada)
            used(process.base_url, ada, 1)
        # What was counted is written within a second.
        until = time.monotonic() + SECONDS
        while not kept(tmp_path / "used"):
            assert time.monotonic() < until
            time.sleep(LOOK_SECONDS)
        process.kill()
    with serving(letta, tmp_path) as process, sdk(process.base_url) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            of_answer(client, "!say well", ada)
        of_answer(client, "!say well", bob)

    assert caught.value.code == "insufficient_quota"


@also_in_threes
def test_two_people_of_one_key_never_pay_for_each_other(letta: RealLetta) -> None:
    key = Key(name="programs", key=Secret(KEY), user_limits=Allowance(tokens_per_month=1, requests_per_minute=5))
    people = [someone() for _ in range(3)]
    with gateway(letta, keys=(key,)) as url, sdk(url) as client:
        for user in people:
            of_answer(client, "!say well", user)
        for user in people:
            with pytest.raises(openai.RateLimitError, match="Your 1 tokens for this month are used up"):
                of_answer(client, "!say well", user)
