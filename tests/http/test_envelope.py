"""Every refusal in OpenAI's envelope, in the order the README promises, and nothing told that should not be."""

import json
import logging
from typing import Any

import httpx
import pytest

from gateway.turns.chats.markers import agent_tags
from tests.gateways import KEY, chat, gateway, http
from tests.pictures.drawn import picture
from tests.servers.fake_letta import FakeLetta

JSON = {"content-type": "application/json"}
CHAT_URL = "/v1/chat/completions"
GOOD = json.dumps(chat()).encode()


def asks_with(url: str | None) -> bytes:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": url}}]
    return json.dumps(chat(messages=[{"role": "user", "content": parts}])).encode()


# method, path, body, headers (None: the good key and JSON) -> status, code, param
REFUSALS: dict[str, tuple[str, str, bytes, dict[str, str] | None, int, str | None, str | None]] = {
    "no key": ("POST", CHAT_URL, b"{", {"authorization": ""}, 401, "invalid_api_key", None),
    "a wrong key": ("POST", CHAT_URL, b"{", {"authorization": "Bearer no"}, 401, "invalid_api_key", None),
    "no key for the models": ("GET", "/v1/models", b"", {"authorization": ""}, 401, "invalid_api_key", None),
    "a web form": ("POST", CHAT_URL, GOOD, {"content-type": "text/plain"}, 400, "invalid_content_type", None),
    "no content type": ("POST", CHAT_URL, GOOD, {"content-type": ""}, 400, "invalid_content_type", None),
    "bad JSON": ("POST", CHAT_URL, b'{"model":', None, 400, None, None),
    "invalid UTF-8": ("POST", CHAT_URL, b'{"model": "\xff"}', None, 400, None, None),
    "an empty body": ("POST", CHAT_URL, b"", None, 400, None, None),
    "a list": ("POST", CHAT_URL, b"[]", None, 400, None, None),
    "no model": ("POST", CHAT_URL, b'{"messages": []}', None, 400, None, "model"),
    "no messages": ("POST", CHAT_URL, b'{"model": "tutor"}', None, 400, None, "messages"),
    "a wrong type": ("POST", CHAT_URL, b'{"model": "tutor", "messages": "hi"}', None, 400, None, "messages"),
    "a body of 2 MiB": ("POST", CHAT_URL, b" " * 2**21, None, 413, "request_too_large", None),
    "an unknown model": (
        "POST", CHAT_URL, json.dumps(chat(model="gpt")).encode(), None, 404, "model_not_found", "model",
    ),
    "an unknown model of any length": (
        "POST", CHAT_URL, json.dumps(chat(model="g" * 500_000)).encode(), None, 404, "model_not_found", "model",
    ),
    "a format that is none before an unknown model": (
        "POST", CHAT_URL, json.dumps(chat(model="gpt", response_format={"type": "poem"})).encode(), None, 400, None,
        "response_format",
    ),
    "an unknown model and no user": (
        "POST", CHAT_URL, json.dumps(chat(model="gpt", user=None)).encode(), None, 404, "model_not_found", "model",
    ),
    "bad content before an unknown model": (
        "POST", CHAT_URL, json.dumps(chat("", model="gpt")).encode(), None, 400, None, "messages",
    ),
    "a picture elsewhere": (
        "POST", CHAT_URL, asks_with("https://example.org/a.png"), None, 400, None,
        "messages[0].content[1].image_url.url",
    ),
    "a picture that is none": (
        "POST", CHAT_URL, asks_with("data:image/png;base64,AAAA"), None, 400, None,
        "messages[0].content[1].image_url.url",
    ),
    "a picture without an address": (
        "POST", CHAT_URL, asks_with(None), None, 400, None, "messages[0].content[1].image_url.url",
    ),
    "no user": ("POST", CHAT_URL, json.dumps(chat(user=None)).encode(), None, 400, "user_required", "user"),
    "a model nobody knows": ("GET", "/v1/models/gpt", b"", None, 404, "model_not_found", "model"),
    "an unknown path": ("GET", "/v1/nothing", b"", None, 404, "unknown_url", None),
    "an unknown path, posted": ("POST", "/v1/completions", GOOD, None, 404, "unknown_url", None),
    "below the root": ("GET", "/v2", b"", None, 404, "unknown_url", None),
    "the root, posted": ("POST", "/", GOOD, None, 405, "method_not_supported", None),
    "a wrong method": ("GET", CHAT_URL, b"", None, 405, "method_not_supported", None),
    "another wrong method": ("DELETE", "/v1/models", b"", None, 405, "method_not_supported", None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code", "param"), REFUSALS.values(), ids=REFUSALS
)
def test_a_refusal_is_an_openai_error(
    letta: FakeLetta,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str] | None,
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    with gateway(letta.base_url, max_body_mb=1) as url, http(url) as client:
        response = client.request(method, path, content=body, headers={**JSON, **(headers or {})})

    error = response.json()["error"]
    assert (status, code, param) == (response.status_code, error["code"], error["param"])
    assert {"message", "type", "param", "code"} == set(error)
    assert 0 < len(error["message"]) < 600
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    assert letta.requests == []


def test_a_wrong_method_is_told_the_right_one(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        assert "POST" in client.get(CHAT_URL).headers["allow"]


def test_every_response_has_a_request_id_of_its_own(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        ids = [
            client.get("/healthz").headers["x-request-id"],
            client.post(CHAT_URL, json=chat()).headers["x-request-id"],
            client.post(CHAT_URL, json=chat(stream=True)).headers["x-request-id"],
        ]

    assert len(set(ids)) == 3


def test_a_body_too_large_is_refused_however_it_comes(letta: FakeLetta) -> None:
    with gateway(letta.base_url, max_body_mb=1) as url, http(url) as client:
        response = client.post(CHAT_URL, content=(b" " * 2**18 for _ in range(8)), headers=JSON)

    assert response.status_code == 413


def test_an_answer_of_lettas_that_makes_no_sense_is_an_error_that_tells_nothing(letta: FakeLetta) -> None:
    tags = agent_tags("tutor", "programs", "ada")
    letta.agents = [{"id": "agent-0", "created_at": "secret", "tags": tags}]
    with gateway(letta.base_url) as url, http(url) as client:
        response = client.post(CHAT_URL, json=chat())

    assert response.status_code == 502
    assert "secret" not in response.text


SECRETS = ["prompt-secret", "user-secret", "name-secret", "chat-secret", KEY]


@pytest.mark.parametrize("steps", [None, [500], [{"message_type": "stop_reason", "stop_reason": "llm_api_error"}]])
@pytest.mark.parametrize("stream", [True, False])
def test_logs_hold_no_prompt_no_key_and_no_user(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture, steps: Any, stream: bool
) -> None:
    letta.steps = steps or letta.steps
    body = chat("prompt-secret", user="user-secret", metadata={"chat_id": "chat-secret"}, stream=stream)
    with caplog.at_level(logging.DEBUG, logger="gateway"), gateway(letta.base_url) as url, http(url) as client:
        response = client.post(CHAT_URL, json=body, headers={"X-OpenWebUI-User-Name": "name-secret"})
        client.get("/v1/nothing/user-secret")

    assert "POST /v1/chat/completions" in caplog.text
    assert response.headers["x-request-id"] in caplog.text
    told = "".join(record.getMessage() for record in caplog.records if record.name.startswith("gateway"))
    assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize("url", [picture().url, "data:image/png;base64,c2VjcmV0", "https://secret.example/a.png"])
def test_logs_and_errors_hold_nothing_of_a_picture(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    with (
        caplog.at_level(logging.DEBUG, logger="gateway"),
        gateway(letta.base_url) as base_url,
        http(base_url) as client,
    ):
        response = client.post(CHAT_URL, content=asks_with(url), headers=JSON)

    told = [record.getMessage() for record in caplog.records if record.name.startswith("gateway")]
    assert response.headers["x-request-id"] in "".join(told)
    assert url[-16:] not in "".join([*told, response.text])


OPEN: dict[str, tuple[dict[str, str], int, str | None]] = {
    "by address": ({}, 200, None),
    "by name": ({"host": "localhost:8000"}, 200, None),
    "by IPv6": ({"host": "[::1]:8000"}, 200, None),
    "from a page of this machine": ({"origin": "http://localhost:3000"}, 200, None),
    "with any key": ({"authorization": "Bearer whatever"}, 200, None),
    "by another name": ({"host": "gateway.example"}, 403, "host_not_allowed"),
    "by a name that begins like one": ({"host": "localhost.example"}, 403, "host_not_allowed"),
    "by no name": ({"host": ""}, 403, "host_not_allowed"),
    "by another loopback address": ({"host": "127.0.0.2"}, 403, "host_not_allowed"),
    "by nonsense": ({"host": "[::1"}, 403, "host_not_allowed"),
    "from a page elsewhere": ({"origin": "https://page.example"}, 403, "origin_not_allowed"),
    "from a page without an origin": ({"origin": "null"}, 403, "origin_not_allowed"),
}


@pytest.mark.parametrize(("headers", "status", "code"), OPEN.values(), ids=OPEN)
def test_without_keys_the_gateway_is_for_its_own_machine(
    letta: FakeLetta, headers: dict[str, str], status: int, code: str | None
) -> None:
    with gateway(letta.base_url, keys=()) as url, httpx.Client(base_url=url, headers=headers) as client:
        response = client.get("/v1/models")

    assert status == response.status_code
    assert code == response.json().get("error", {}).get("code")


def test_without_keys_a_request_that_names_nobody_is_me(letta: FakeLetta) -> None:
    with gateway(letta.base_url, keys=()) as url, httpx.Client(base_url=url) as client:
        statuses = [client.post(CHAT_URL, json=chat(user=user)).status_code for user in (None, "me", "somebody")]

    assert statuses == [200, 200, 200]
    assert len(letta.agents) == 2
