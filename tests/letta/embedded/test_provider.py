"""The question to a model's provider whether it is there, and takes its key."""

from typing import Any

import pytest

from gateway.letta.embedded.provider import Found, ask, ask_compatible
from gateway.settings import Provider, ProviderId, Secret
from tests.servers.threads import served

pytestmark = pytest.mark.anyio


class Endpoint:
    """A provider that answers everything with one status, and writes down how it was asked."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.asked.append((scope["path"], headers))
            await send({"type": "http.response.start", "status": self.status})
            await send({"type": "http.response.body", "body": b"{}"})


BEARER = {"authorization": "Bearer sk-1"}
WAYS: dict[ProviderId, tuple[str, dict[str, str]]] = {
    "openai-compatible": ("/v1/models", BEARER),
    "openai": ("/v1/models", BEARER),
    "anthropic": ("/v1/models", {"x-api-key": "sk-1", "anthropic-version": "2023-06-01"}),
    "openrouter": ("/v1/key", BEARER),
    "ollama": ("/v1/models", BEARER),
}


@pytest.mark.parametrize("id", WAYS)
async def test_each_is_asked_in_its_own_way_with_its_key(id: ProviderId) -> None:
    endpoint = Endpoint(200)
    path, headers = WAYS[id]
    with served(endpoint) as url:
        found = await ask(Provider(id=id, base_url=f"{url}/v1/", api_key=Secret("sk-1")))

    assert found == Found(f"{url}/v1")
    ((asked, sent),) = endpoint.asked
    assert asked == path
    assert sent.items() >= headers.items()


# Its status, whether it is sent a key → what is wrong
ANSWERS: dict[str, tuple[int, bool, str]] = {
    "its models": (200, True, ""),
    "no such list": (404, True, ""),
    "too many questions": (429, True, ""),
    "the key refused": (401, True, "it refuses the key (HTTP 401)"),
    "the key not enough": (403, True, "it refuses the key (HTTP 403)"),
    "a key asked for": (401, False, "it asks for a key (HTTP 401)"),
    "a failure": (503, True, "it fails (HTTP 503)"),
}


@pytest.mark.parametrize(("status", "keyed", "problem"), ANSWERS.values(), ids=ANSWERS)
async def test_what_is_wrong_is_told_from_what_is_none_of_our_business(status: int, keyed: bool, problem: str) -> None:
    with served(Endpoint(status)) as url:
        found = await ask_compatible(f"{url}/v1", Secret("sk-1") if keyed else None)

    assert found == Found(f"{url}/v1", problem)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://127.0.0.1:9/\x7f"])
async def test_one_that_is_not_there_is_told(url: str) -> None:
    found = await ask_compatible(url, Secret("sk-1"))

    assert found.problem.startswith("nothing answers there (")


async def test_a_key_that_no_header_can_hold_is_no_crash() -> None:
    assert (await ask_compatible("http://127.0.0.1:9/v1", Secret("sk-…"))).problem
