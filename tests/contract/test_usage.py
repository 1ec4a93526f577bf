"""What is counted of a person, with a gateway in front of each side: all that its Letta tells."""

import time

import httpx
from openai import OpenAI

from tests.contract.scene import Scene
from tests.gateways import http
from tests.integration.words import someone, unheard

SECONDS = 30
LOOK_SECONDS = 0.02


def used(scene: Scene, headers: dict[str, str], answers: int) -> dict[str, int]:
    """What a person is told of today, once so many runs are counted."""
    until = time.monotonic() + SECONDS
    with http(scene.url, "sk-front") as client:
        while True:
            told: dict[str, int] = client.get("/v1/usage", headers=headers).raise_for_status().json()["today"]
            if told["answers"] >= answers:
                return told
            assert time.monotonic() < until, told
            time.sleep(LOOK_SECONDS)


def test_what_a_person_has_used_is_what_was_told_with_each_answer(scene: Scene, client: OpenAI) -> None:
    ada, bob = ({"X-OpenWebUI-User-Id": someone()} for _ in range(2))
    told = []
    for text in (unheard("one"), "Remember that I play the cello.", unheard("three")):
        answer = client.chat.completions.create(
            model="tutor", messages=[{"role": "user", "content": text}], extra_headers=ada
        )
        assert answer.usage
        told.append((answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens))
    counted = used(scene, ada, len(told))

    sums = tuple(map(sum, zip(*told, strict=True)))
    assert (counted["input_tokens"], counted["output_tokens"], counted["total_tokens"]) == sums
    assert counted["total_tokens"] > 0
    assert counted["estimated_tokens"] == 0
    assert used(scene, bob, 0)["answers"] == 0


def test_a_person_who_has_asked_nothing_has_used_nothing(scene: Scene) -> None:
    told = used(scene, {"X-OpenWebUI-User-Id": someone()}, 0)

    assert (told["answers"], told["total_tokens"]) == (0, 0)


def test_nobody_is_told_without_saying_who_asks(scene: Scene) -> None:
    with http(scene.url, "sk-front") as client:
        assert client.get("/v1/usage").status_code == httpx.codes.BAD_REQUEST
