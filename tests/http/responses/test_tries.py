"""Whoever tries an id, a number or an item that is not theirs gets nothing of it, and Letta hears nothing."""

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from gateway.domain.places import ConversationPlace, ResponsePlace, short_digest
from gateway.settings import AgentType, Key, Secret, UserSource
from gateway.turns.chats.markers import user_digest
from gateway.wires.responses.ids import Seal, derived_secret
from tests.gateways import FRONTEND, PROGRAMS, TUTOR, gateway, http
from tests.servers.fake_letta import FakeLetta

COOK = AgentType(id="cook", model=TUTOR.model)
LIMITED = Key(name="limited", key=Secret("sk-limited"), models=("cook",), scope="programs")
TOKENS = Key(name="bound", key=Secret("sk-bound"), user="bob", user_from=(UserSource("body:user"),), scope="programs")
KEYS = (PROGRAMS, FRONTEND, LIMITED, TOKENS)
URL = "/v1/responses"
PLACE = ResponsePlace(
    user_digest("programs", "ada"), short_digest("programs"), short_digest("tutor"), "kept", "1" * 32, "2" * 16
)
Asked = dict[str, Any]


class Try(msgspec.Struct):
    """Somebody asks with something of Ada's response, or something like it."""

    make: Callable[[str, Seal], Asked]
    code: str
    key: str = "sk-test"
    user: str = "ada"
    model: str = "tutor"


def before(id: str) -> Asked:
    return {"previous_response_id": id}


def item(id: str) -> Asked:
    return {"input": [{"type": "item_reference", "id": id}, {"role": "user", "content": "and?"}]}


def approval(id: str) -> Asked:
    return {"input": [{"type": "mcp_approval_response", "approval_request_id": id, "approve": True}]}


def changed(seal: Seal, **fields: Any) -> str:
    return seal.response_id(msgspec.structs.replace(PLACE, **fields))


NOT_SEALED = Seal((b"another secret",))
PREVIOUS, ITEM, CONVERSATION = "previous_response_not_found", "item_not_found", "conversation_not_found"
TRIES: dict[str, Try] = {
    "another user's response": Try(lambda id, seal: before(id), PREVIOUS, user="bob"),
    "a response of another agent type": Try(lambda id, seal: before(id), PREVIOUS, model="cook"),
    "a response of another scope": Try(lambda id, seal: before(id), PREVIOUS, key="sk-front"),
    "a response by a key bound to another user": Try(lambda id, seal: before(id), PREVIOUS, key="sk-bound"),
    "a response with a letter more": Try(lambda id, seal: before(f"{id}A"), PREVIOUS),
    "a response cut short": Try(lambda id, seal: before(id[:-2]), PREVIOUS),
    "a response in capitals": Try(lambda id, seal: before(id.upper()), PREVIOUS),
    "padding behind a response": Try(lambda id, seal: before(f"{id}="), PREVIOUS),
    "an item as a response": Try(lambda id, seal: before(seal.item_id("msg", PLACE, 0)), PREVIOUS),
    "a response as an item": Try(lambda id, seal: item(id), ITEM),
    "a conversation as a response": Try(
        lambda id, seal: before(seal.conversation_id(ConversationPlace(PLACE.scope, "3" * 16))), PREVIOUS
    ),
    "a response that was sealed by somebody else": Try(lambda id, seal: before(changed(NOT_SEALED)), PREVIOUS),
    "OpenAI's own response": Try(lambda id, seal: before("resp_" + "0" * 48), PREVIOUS),
    "no response at all": Try(lambda id, seal: before("resp_"), PREVIOUS),
    "a response of nowhere": Try(lambda id, seal: before(changed(seal)), PREVIOUS),
    "a response that is not kept": Try(lambda id, seal: before(changed(seal, kind="scratch")), PREVIOUS),
    "another user's item": Try(lambda id, seal: item(seal.item_id("msg", PLACE, 1)), ITEM, user="bob"),
    "an item that was sealed by somebody else": Try(lambda id, seal: item(NOT_SEALED.item_id("msg", PLACE, 1)), ITEM),
    "another user's approval": Try(lambda id, seal: approval(seal.approval_id(PLACE, 0, "call_1")), ITEM, user="bob"),
    "an approval that nobody asked for": Try(lambda id, seal: approval("mcpr_1"), ITEM),
    "another user's conversation": Try(
        lambda id, seal: {"conversation": seal.conversation_id(ConversationPlace(PLACE.scope, "3" * 16, PLACE.owner))},
        CONVERSATION,
        user="bob",
    ),
    "a conversation of another scope": Try(
        lambda id, seal: {"conversation": seal.conversation_id(ConversationPlace(short_digest("x"), "3" * 16))},
        CONVERSATION,
    ),
    "a conversation that was sealed by somebody else": Try(
        lambda id, seal: {"conversation": NOT_SEALED.conversation_id(ConversationPlace(PLACE.scope, "3" * 16))},
        CONVERSATION,
    ),
    "a conversation and a response at once": Try(
        lambda id, seal: {**before(id), "conversation": "conv_1"}, "mutually_exclusive_parameters"
    ),
}


def asked_by(client: httpx.Client, one: Try, more: Asked) -> httpx.Response:
    headers = {"authorization": f"Bearer {one.key}", "x-openwebui-user-id": one.user}
    body = {"model": one.model, "input": "secret", "user": one.user, **more}
    return client.post(URL, json=body, headers=headers)


@pytest.mark.parametrize("one", TRIES.values(), ids=TRIES)
def test_what_is_not_theirs_is_not_there(letta: FakeLetta, one: Try) -> None:
    seal = Seal((derived_secret(letta.base_url, ""),))
    with gateway(letta.base_url, keys=KEYS, types=(TUTOR, COOK)) as url, http(url) as client:
        id = client.post(URL, json={"model": "tutor", "input": "Hi", "user": "ada"}).json()["id"]
        heard = len(letta.runs)
        answer = asked_by(client, one, one.make(id, seal))
        streamed = asked_by(client, one, {**one.make(id, seal), "stream": True})

    for refused in (answer, streamed):
        assert refused.status_code == (400 if one.code.startswith("mutually") else 404)
        assert refused.json()["error"]["code"] == one.code
    assert len(letta.runs) == heard


NUMBERS = {
    "below zero": ("-1", 400),
    "no number": ("one", 400),
    "a fraction": ("1.5", 400),
    "in other digits": ("\u0661", 400),
    "very long": ("9" * 40, 400),
    "behind the end": ("99999", 200),
    "the last one": ("14", 200),
}


@pytest.mark.parametrize(("number", "status"), NUMBERS.values(), ids=NUMBERS)
def test_a_stream_is_gone_on_with_from_a_number_only(letta: FakeLetta, number: str, status: int) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        id = client.post(URL, json={"model": "tutor", "input": "Hi", "user": "ada"}).json()["id"]
        answer = client.get(f"{URL}/{id}", params={"stream": "true", "starting_after": number})

    assert answer.status_code == status
    assert b"delta" not in answer.content


def test_a_secret_that_was_changed_reads_the_ids_of_the_one_before(letta: FakeLetta) -> None:
    old, new = Secret("an old secret of the gateway"), Secret("a new secret of the gateway")
    asked = {"model": "tutor", "input": "Hi", "user": "ada"}
    with gateway(letta.base_url, id_secret=(old,)) as url, http(url) as client:
        id = client.post(URL, json=asked).json()["id"]
    statuses = []
    for secrets in ((new, old), (new,)):
        with gateway(letta.base_url, id_secret=secrets) as url, http(url) as client:
            statuses.append(client.get(f"{URL}/{id}").status_code)

    # Nothing is left of its run, so it is what Letta has of it.
    assert statuses == [200, 404]


def test_another_key_of_the_scope_reads_the_ids_that_a_key_was_given(letta: FakeLetta) -> None:
    other = Key(name="new", key=Secret("sk-new"), scope="programs")
    with gateway(letta.base_url, keys=(PROGRAMS, other)) as url, http(url) as client:
        id = client.post(URL, json={"model": "tutor", "input": "Hi", "user": "ada"}).json()["id"]
        answer = client.get(f"{URL}/{id}", headers={"authorization": "Bearer sk-new"})

    assert answer.status_code == 200
