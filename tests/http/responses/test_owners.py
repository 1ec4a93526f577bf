"""Who may ask for what by an id alone: kinds of keys × calls, with ids of one's own and of somebody else's.

deploy/guide/responses.md has the table.
"""

from typing import Any, NamedTuple

import httpx
import pytest

from gateway.settings import Key, Secret, UserSource
from tests.gateways import KEY, gateway, http
from tests.http.test_tokens import HEADER, SECRET, token
from tests.servers.fake_letta import FakeLetta

NAME = "X-User-Id"
BY_HEADER, BY_BODY = UserSource(f"header:{NAME}"), UserSource("body:user")


class Person(NamedTuple):
    """How somebody asks: with which key, and how they are named."""

    key: str = KEY
    headers: dict[str, str] = {}
    user: str | None = None

    @property
    def body(self) -> dict[str, str]:
        return {"user": self.user} if self.user else {}


class Kind(NamedTuple):
    """A kind of key: two people, and what a call answers that names nobody (with Ada's key)."""

    keys: tuple[Key, ...]
    ada: Person
    bob: Person
    nobody: int = 200
    by_body: bool = False
    """Whether its users come by a body, so that a call without one may name anybody."""


def key(name: str = "one", secret: str = KEY, **more: Any) -> Key:
    return Key(name=name, key=Secret(secret), **more)


HEADERS = {user: {NAME: user} for user in ("ada", "bob")}
KINDS = {
    "bound": Kind(
        (key(scope="x", user="ada"), key("two", "sk-two", scope="x", user="bob")), Person(), Person("sk-two")
    ),
    "header": Kind(
        (key(user_from=(BY_HEADER,)),), Person(headers=HEADERS["ada"]), Person(headers=HEADERS["bob"]), nobody=400
    ),
    "token": Kind(
        (key(user_from=(UserSource(f"jwt:{HEADER}"),), jwt_secret=Secret(SECRET)),),
        Person(headers={HEADER: token(sub="ada", seconds=86_400)}),
        Person(headers={HEADER: token(sub="bob", seconds=86_400)}),
        nobody=400,
    ),
    "body": Kind((key(user_from=(BY_BODY,)),), Person(user="ada"), Person(user="bob"), by_body=True),
    "body or a default user": Kind(
        (key(user_from=(BY_BODY,), default_user="eve"),), Person(user="ada"), Person(user="bob"), by_body=True
    ),
    "header or a default user": Kind(
        (key(user_from=(BY_HEADER,), default_user="eve"),),
        Person(headers=HEADERS["ada"]),
        Person(headers=HEADERS["bob"]),
        nobody=404,
    ),
    "users that mean chats": Kind(
        (key(scope="x", user_means="conversation"), key("two", "sk-two", scope="x", user_means="conversation")),
        Person(user="ada"),
        Person("sk-two", user="ada"),
    ),
    "users that are ignored": Kind(
        (key(scope="x", user_means="ignored"), key("two", "sk-two", scope="x", user_means="ignored")),
        Person(user="ada"),
        Person("sk-two", user="ada"),
    ),
    "header or body": Kind(
        (key(user_from=(BY_HEADER, BY_BODY)),),
        Person(headers=HEADERS["ada"]),
        Person(headers=HEADERS["bob"]),
    ),
}
# call -> its method, the end of its path, and its body
OF_RESPONSES: dict[str, tuple[str, str, Any]] = {
    "retrieve": ("GET", "", None),
    "input_items": ("GET", "/input_items", None),
    "cancel": ("POST", "/cancel", None),
    "delete": ("DELETE", "", None),
}
ITEMS = [{"role": "user", "content": "Hello?"}]
OF_CONVERSATIONS: dict[str, tuple[str, str, Any]] = {
    "retrieve": ("GET", "", None),
    "update": ("POST", "", {"metadata": {"a": "b"}}),
    "items": ("GET", "/items", None),
    "add items": ("POST", "/items", {"items": ITEMS}),
    "delete": ("DELETE", "", None),
}


def call(client: httpx.Client, person: Person, path: str, asked: tuple[str, str, Any]) -> tuple[int, str | None]:
    """The status that a call has, and the code of its error."""
    method, end, body = asked
    # A call without a body names the user in its query, if at all.
    more = {"json": {**body, **person.body}} if body is not None else {"params": person.body}
    headers = {"authorization": f"Bearer {person.key}", **person.headers}
    answer = client.request(method, f"{path}{end}", headers=headers, **more)
    return answer.status_code, (answer.json().get("error") or {}).get("code")


def made(client: httpx.Client, person: Person, path: str, body: dict[str, Any]) -> str:
    headers = {"authorization": f"Bearer {person.key}", **person.headers}
    answer = client.post(path, json={**body, **person.body}, headers=headers)
    assert answer.status_code == 200, answer.text
    id: str = answer.json()["id"]
    return f"{path}/{id}"


@pytest.mark.parametrize("asked", OF_RESPONSES.values(), ids=OF_RESPONSES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_response_is_for_whom_it_was_given(letta: FakeLetta, kind: Kind, asked: tuple[str, str, Any]) -> None:
    body = {"model": "tutor", "input": "Hi"}
    with gateway(letta.base_url, keys=kind.keys) as url, http(url) as client:
        path = made(client, kind.ada, "/v1/responses", body)
        by_another = call(client, kind.bob, path, asked)
        others = made(client, kind.bob, "/v1/responses", body)
        by_nobody, forged = call(client, Person(), others, asked), call(client, kind.ada, f"{path}x", asked)
        own = call(client, kind.ada, path, asked)

    assert own == (200, None)
    assert by_another == forged == (404, "response_not_found")
    expected = {200: None, 400: "user_required", 404: "response_not_found"}
    # Whoever is bound to a key is named by that, and so is Ada here.
    status = 404 if not kind.by_body and kind.ada.headers == {} else kind.nobody
    assert by_nobody == (status, expected[status])


@pytest.mark.parametrize("asked", OF_CONVERSATIONS.values(), ids=OF_CONVERSATIONS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_conversation_is_for_whom_it_was_made(letta: FakeLetta, kind: Kind, asked: tuple[str, str, Any]) -> None:
    with gateway(letta.base_url, keys=kind.keys) as url, http(url) as client:
        path, others = (made(client, one, "/v1/conversations", {"items": ITEMS}) for one in (kind.ada, kind.bob))
        by_another, by_nobody = call(client, kind.bob, path, asked), call(client, Person(), others, asked)
        forged, own = call(client, kind.ada, f"{path}x", asked), call(client, kind.ada, path, asked)
        gone_on = client.post(
            "/v1/responses",
            json={"model": "tutor", "input": "Hi", "conversation": path.rpartition("/")[2], **kind.bob.body},
            headers={"authorization": f"Bearer {kind.bob.key}", **kind.bob.headers},
        )

    assert own == (200, None)
    assert by_another == forged == (404, "conversation_not_found")
    expected = {200: None, 400: "user_required", 404: "conversation_not_found"}
    status = 404 if not kind.by_body and kind.ada.headers == {} else kind.nobody
    assert by_nobody == (status, expected[status])
    assert (gone_on.status_code, gone_on.json()["error"]["code"]) == (404, "conversation_not_found")
    assert letta.runs == []
