"""Users whom a frontend vouches for by a signed token."""

import time
from typing import Any

import jwt
import pytest

from gateway.settings import AgentType, Key, Secret, UserSource
from tests.gateways import MODEL_HANDLE, chat, gateway, http
from tests.servers.fake_letta import FakeLetta

URL, HEADER = "/v1/chat/completions", "X-OpenWebUI-User-Jwt"
SECRET = "0123456789abcdef0123456789abcdef"
SIGNED = Key(name="owui", key=Secret("sk-owui"), user_from=(UserSource(f"jwt:{HEADER}"),), jwt_secret=Secret(SECRET))
PLAIN = Key(name="owui", key=Secret("sk-owui"), user_from=(UserSource("header:X-OpenWebUI-User-Id"),))
TYPE = AgentType(id="tutor", model=MODEL_HANDLE, system="{user}, {user_name}, {user_email}")
CLAIMS = {"sub": "ada-1", "name": "Ada Löwe", "email": "ada@example.org", "role": "user", "iss": "open-webui"}
PRETENDED = {"X-OpenWebUI-User-Id": "bob-1", "X-OpenWebUI-User-Name": "Bob", "X-OpenWebUI-User-Email": "bob@b.org"}


def token(*, secret: str = SECRET, algorithm: str = "HS256", seconds: float = 300, **claims: Any) -> str:
    """A token as Open WebUI signs it; a claim of None is left out."""
    said = {**CLAIMS, "exp": int(time.time() + seconds), **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, secret, algorithm)


def ask(letta: FakeLetta, headers: dict[str, str], key: Key = SIGNED) -> tuple[int, dict[str, Any]]:
    with gateway(letta.base_url, types=(TYPE,), keys=(key,)) as url, http(url, "sk-owui") as client:
        response = client.post(URL, json=chat(), headers=headers)
    return response.status_code, response.json().get("error", {})


def test_a_token_says_who_asks_and_plain_headers_say_nothing(letta: FakeLetta) -> None:
    assert ask(letta, {**PRETENDED, HEADER: token()}) == (200, {})
    assert [agent["system"] for agent in letta.agents] == ["ada-1, Ada Löwe, ada@example.org"]


def test_a_token_names_the_same_user_as_the_plain_header_did(letta: FakeLetta) -> None:
    assert ask(letta, {"X-OpenWebUI-User-Id": "ada-1"}, PLAIN) == (200, {})
    assert ask(letta, {HEADER: token()}) == (200, {})
    assert len(letta.agents) == 1


def test_half_a_surrogate_pair_in_a_token_is_replaced(letta: FakeLetta) -> None:
    assert ask(letta, {HEADER: token(sub="ada\ud83d", name="Ada \ud83d", email="\ud83d@b")}) == (200, {})
    assert [agent["system"] for agent in letta.agents] == ["ada\ufffd, Ada \ufffd, \ufffd@b"]


def test_a_user_without_a_name_is_called_by_the_id(letta: FakeLetta) -> None:
    assert ask(letta, {HEADER: token(name=None, email=7)}) == (200, {})
    assert [agent["system"] for agent in letta.agents] == ["ada-1, ada-1, "]


def test_plain_headers_alone_name_nobody(letta: FakeLetta) -> None:
    status, error = ask(letta, PRETENDED)

    assert (status, error["code"]) == (400, "user_required")
    assert HEADER.lower() in error["message"]
    assert letta.requests == []


def test_clocks_may_differ_by_half_a_minute(letta: FakeLetta) -> None:
    assert ask(letta, {HEADER: token(seconds=-20)}) == (200, {})


REFUSED = {
    "another secret": token(secret="f" * 32),
    "another issuer": token(iss="somebody"),
    "no issuer": token(iss=None),
    "expired": token(seconds=-40),
    "no end": token(exp=None),
    "no user": token(sub=None),
    "a user that is no text": token(sub=5),
    "another algorithm": token(secret="f" * 64, algorithm="HS512"),
    "the right secret with another algorithm": token(secret=SECRET * 2, algorithm="HS512"),
    "no signature": token(secret="", algorithm="none"),
    "half a token": token().rpartition(".")[0],
    "no token": "ada-1",
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_any_other_token_is_refused_and_not_repeated(
    letta: FakeLetta, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, error = ask(letta, {**PRETENDED, HEADER: value})

    assert (status, error["type"], error["code"]) == (401, "authentication_error", "invalid_user_token")
    assert value not in error["message"] + caplog.text
    assert letta.requests == []


def test_a_bound_key_needs_no_token(letta: FakeLetta) -> None:
    bound = Key(
        name="owui", key=Secret("sk-owui"), user="carl", user_from=SIGNED.user_from, jwt_secret=SIGNED.jwt_secret
    )

    assert ask(letta, {}, bound) == (200, {})
    assert [agent["system"] for agent in letta.agents] == ["carl, carl, "]


def test_an_empty_subject_names_nobody(letta: FakeLetta) -> None:
    status, error = ask(letta, {HEADER: token(sub="")})

    assert (status, error["code"]) == (400, "user_required")
