"""Addresses at which there is nothing: what a client is told that was meant for another."""

from collections.abc import Iterator

import httpx
import pytest

from tests.gateways import gateway
from tests.servers.fake_letta import FakeLetta

# path -> what its 404 names
PATHS: dict[str, tuple[str, ...]] = {
    "/v1/completions": ("ChatOpenAI", "openai/"),
    "/v1/embeddings": ("embeddings",),
    "/v1/assistants": ("responses",),
    "/v1/threads/t/runs": ("responses",),
    "/v1/audio/speech": ("speech",),
    "/v1/audio/transcriptions": ("speech",),
    "/v1/realtime": ("chat completions",),
    "/v1/images/generations": ("image generation",),
    "/v1/moderations": ("moderation",),
    "/v1/files": ("data URLs",),
    "/v1/batches": ("/v1/chat/completions",),
    "/chat/completions": ("ends with /v1",),
    "/models": ("ends with /v1",),
    "/responses": ("ends with /v1",),
    "/responses/resp_1": ("ends with /v1",),
    "/v1/v1/models": ("ends with /v1",),
    "/v1/chat/completions/chat/completions": ("ends with /v1",),
    "/v1/responsesx": ("nothing at this address",),
    "/v1": ("base URL itself", "adds /chat/completions or /responses"),
    "/v1/": ("base URL itself",),
    "//models": ("ends with /v1",),
    "/chat/completions/": ("ends with /v1",),
    "//chat//completions": ("ends with /v1",),
    "/embeddings": ("ends with /v1",),
    "/conversations": ("ends with /v1",),
    "/v1/chat": ("ends with /v1",),
    "/v1/chat/chat/completions": ("ends with /v1",),
    "/V1/Chat/Completions": ("small letters",),
    "/v1/chat/completions%20": ("without a space",),
    "/%20v1/models": ("without a space",),
    "/api/chat/completions": ("right behind",),
    "/openai/v1/models": ("right behind",),
    "/openai/deployments/gpt/chat/completions": ("right behind",),
    "/v1beta/openai/chat/completions": ("right behind",),
    "/v1/messages": ("Anthropic",),
    "/api/tags": ("Ollama", "connect the gateway as an OpenAI API"),
    "/api/version": ("Ollama",),
    "/wp-login.php": ("nothing at this address",),
    "/v1/%F0%9F%98%80": ("nothing at this address",),
    f"/v1/{'x' * 5000}": ("nothing at this address",),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("path", "named"), PATHS.items(), ids=[path[:40] for path in PATHS])
def test_a_path_that_is_not_served_is_told_what_is(
    unserved: str, method: str, path: str, named: tuple[str, ...]
) -> None:
    response = httpx.request(method, f"{unserved}{path}")

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "unknown_url")
    assert [words for words in named if words not in error["message"]] == []
    assert error["message"].endswith(
        "The gateway serves /v1/chat/completions, /v1/responses, /v1/conversations and /v1/models."
    )
    assert len(error["message"]) < 600


# method and path -> what its 405 names
METHODS: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/"): ("base URL ends with /v1", "missing"),
    ("POST", "//"): ("base URL ends with /v1",),
    ("GET", "/v1/chat/completions"): ("takes POST",),
    ("GET", "//v1/chat/completions/"): ("takes POST",),
    ("DELETE", "/v1/chat/completions"): ("takes POST",),
    ("GET", "/v1/responses"): ("takes POST",),
    ("POST", "/v1/responses/resp_1"): ("The gateway serves",),
    ("POST", "/v1/models"): ("takes GET",),
    ("GET", "/v1/conversations"): ("takes POST",),
    ("POST", "/v1/models/chat/completions"): ("base URL ends with /v1",),
    ("POST", "/healthz"): ("The gateway serves",),
}


@pytest.mark.parametrize(("asked", "named"), METHODS.items(), ids=[" ".join(asked) for asked in METHODS])
def test_a_method_that_is_not_served_is_told_what_is(
    unserved: str, asked: tuple[str, str], named: tuple[str, ...]
) -> None:
    method, path = asked
    response = httpx.request(method, f"{unserved}{path}")

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (405, "method_not_supported")
    assert response.headers["allow"]
    assert error["message"].startswith(f"This address does not take {method} requests. ")
    assert [words for words in named if words not in error["message"]] == []


@pytest.mark.parametrize("path", ["compact", "compact/", "input_tokens"])
def test_what_could_be_an_id_is_not_found_either(unserved: str, path: str) -> None:
    response = httpx.post(f"{unserved}/v1/responses/{path}", json={})

    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_url")
    assert "here: " in response.json()["error"]["message"]


@pytest.fixture(scope="module")
def unserved() -> Iterator[str]:
    with FakeLetta() as letta, gateway(letta.base_url) as url:
        yield url
