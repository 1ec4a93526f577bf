"""Every configuration that is printed, served as it is with a Letta of its own: each of its keys is answered."""

import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from gateway.configuration import PROVIDERS
from gateway.settings import Key
from tests.gateways import GatewayProcess, said
from tests.printed import Configuration, configurations
from tests.servers.app_server import AppServer

PRINTED = configurations()
# Those that name an agent of somebody's Letta have a test of their own.
# So have digests: nobody knows the keys.
ALONE = {name: one for name, one in PRINTED.items() if "agent = " not in one.text and "sha256" not in one.text}
NO_PROVIDER = {variable: "" for variable, _, _ in PROVIDERS}


def named(key: Key) -> dict[str, Any]:
    """The part of a request that names its user in the first way of the key."""
    source = key.user_from[0]
    match source.kind:
        case "jwt":
            assert key.jwt_secret
            claims = {"sub": "ada", "iss": "open-webui", "exp": int(time.time()) + 300}
            return {"headers": {source.name: jwt.encode(claims, key.jwt_secret.reveal(), "HS256")}}
        case "header":
            return {"headers": {source.name: "ada"}}
        case _:
            return {"body": {source.name: "ada"}}


def ask(url: str, key: Key, model: str) -> str:
    """What is said to somebody who has the key."""
    assert key.key
    request = {"headers": {}, "body": {}} | named(key)
    headers = {"authorization": f"Bearer {key.key.reveal()}", **request["headers"]}
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **request["body"]}
    response = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    return said(response.text)["content"].rpartition("</think>")[2]


@pytest.mark.parametrize("one", ALONE.values(), ids=ALONE)
def test_each_key_is_answered(one: Configuration, tmp_path: Path) -> None:
    settings, environ = one.settings(tmp_path), NO_PROVIDER | one.environment()
    here = ("--host", "127.0.0.1", "--state", str(tmp_path / "state"))
    with GatewayProcess(one.written(tmp_path), *here, **environ) as process:
        answers = [ask(process.base_url, key, type.id) for key in settings.keys for type in settings.types_for(key)]

    assert answers
    assert all(answer.endswith("You said: hello") for answer in answers)


def test_readme_s_lines_for_an_app_server_serve_one(app_server: AppServer, tmp_path: Path) -> None:
    one = PRINTED["README.md 1"].in_front_of("App Server", app_server.base_url, app_server.api_key)
    settings = one.settings(tmp_path)
    with GatewayProcess(one.written(tmp_path), **one.environment()) as process:
        answers = [ask(process.base_url, key, "tutor") for key in settings.keys]

    assert all(answer.endswith("You said: hello") for answer in answers)
