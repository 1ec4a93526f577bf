"""`/v1/conversations`: made, described, added to, listed, gone on with, and deleted."""

from typing import Any

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.conversations import Conversation, ConversationDeletedResource, ConversationItem, ConversationItemList
from pydantic import TypeAdapter

from gateway.domain.places import ResponsePlace
from gateway.http.responses.listing import added_items
from gateway.settings import Key, Secret, UserSource
from gateway.turns.about import Added
from gateway.wires.responses.ids import Seal
from tests.gateways import KEY, TUTOR, gateway, http, sdk
from tests.servers.fake_letta import PING, WORD, FakeLetta, Hold
from tests.workers import by_three_too

ADA = {"user": "ada"}
HELLO: list[Any] = [{"type": "message", "role": "user", "content": "Hello?"}]
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Rome"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "12 degrees"}
STRICT: dict[str, TypeAdapter[Any]] = {
    "conversation": TypeAdapter(Conversation),
    "list": TypeAdapter(ConversationItemList),
    "conversation.deleted": TypeAdapter(ConversationDeletedResource),
}


def checked(answer: httpx.Response) -> Any:
    """The body of an answer, which is of its type of OpenAI's in every point."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    adapter: TypeAdapter[Any] = STRICT.get(body.get("object")) or TypeAdapter(ConversationItem)
    adapter.validate_json(answer.content, strict=True)
    return body


def say(client: OpenAI, text: str, conversation: str, **more: Any) -> Any:
    return client.responses.create(**{"model": "tutor", "input": text, "conversation": conversation, **ADA, **more})


def texts(items: list[Any]) -> list[str]:
    return [part.get("text", "") for item in items for part in item.get("content", [])]


def listed(client: httpx.Client, id: str, **query: Any) -> list[Any]:
    items: list[Any] = checked(client.get(f"/v1/conversations/{id}/items", params={"order": "asc", **query}))["data"]
    return items


def test_a_conversation_is_nothing_in_letta_until_it_is_used(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        made = checked(client.post("/v1/conversations", json={}))
        shown = checked(client.get(f"/v1/conversations/{made['id']}"))
        items = client.get(f"/v1/conversations/{made['id']}/items").json()

    assert made == shown
    assert (made["metadata"], items["data"], items["has_more"]) == ({}, [], False)
    assert (letta.agents, letta.conversations) == ([], [])


def test_its_items_are_those_of_its_responses_with_their_ids(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as plain:
        id = client.conversations.create().id
        first, second = say(client, "One", id), say(client, "Two", id)
        items = listed(plain, id)

    assert texts(items) == ["One", "Hello", "Two", "Hello"]
    assert [item["id"] for item in items if item.get("role") != "user"] == [
        item.id for one in (first, second) for item in one.output
    ]


def test_what_it_is_made_with_is_told_to_the_agent_and_listed(letta: FakeLetta) -> None:
    answer = {"role": "assistant", "content": "Hi!"}
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as plain:
        made = checked(
            plain.post("/v1/conversations", json={"items": [*HELLO, answer], "metadata": {"topic": "a"}, **ADA})
        )
        before = listed(plain, made["id"])
        say(client, "One", made["id"])
        after = listed(plain, made["id"])
        shown = checked(plain.get(f"/v1/conversations/{made['id']}"))

    assert letta.said == [["Hello?", "Hi!", "One"]]
    assert made["metadata"] == shown["metadata"] == {"topic": "a"}
    assert texts(before) == ["Hello?", "Hi!"]
    assert after[:2] == before
    assert texts(after) == ["Hello?", "Hi!", "One", "Hello"]


def test_items_are_added_without_a_run_and_stay_where_they_were(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as plain:
        id = client.conversations.create().id
        say(client, "One", id)
        added = [
            checked(plain.post(f"/v1/conversations/{id}/items", json={"items": items, **ADA}))["data"]
            for items in (HELLO, [CALL], [OUTPUT], [{"role": "assistant", "content": "Cold."}])
        ]
        say(client, "Two", id)
        say(client, "Three", id)
        items = listed(plain, id)
        alone = checked(plain.get(f"/v1/conversations/{id}/items/{added[2][0]['id']}"))

    assert len(letta.runs) == 3
    assert [type(one) for one in letta.said] == [list] * 3
    assert texts(items) == ["One", "Hello", "Hello?", "Cold.", "Two", "Hello", "Three", "Hello"]
    kinds = [item["type"] for item in items if item["type"] != "reasoning"]
    assert kinds[2:6] == ["message", "function_call", "function_call_output", "message"]
    assert [item for one in added for item in one] == [item for item in items if item in [i for o in added for i in o]]
    assert alone == added[2][0]
    sent = letta.runs[1]["messages"]
    assert '"result":"12 degrees"' in str(sent)
    assert [one["role"] for one in sent] == ["user", "assistant", "user"]


def test_items_come_a_page_at_a_time(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as plain:
        items: list[Any] = [{"role": "user", "content": str(i)} for i in range(5)]
        id = client.conversations.create(items=items, extra_body=ADA).id
        newest = checked(plain.get(f"/v1/conversations/{id}/items", params={"limit": 2}))
        every = [*client.conversations.items.list(id, limit=2, order="asc")]

    assert (texts(newest["data"]), newest["has_more"]) == (["4", "3"], True)
    assert [item.content[0].text for item in every] == ["0", "1", "2", "3", "4"]


def test_metadata_is_changed_and_outlives_turns(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        id = client.conversations.create().id
        client.conversations.update(id, metadata={"a": "1"}, extra_body=ADA)
        say(client, "One", id)
        kept = client.conversations.retrieve(id).metadata
        client.conversations.update(id, metadata={"b": "ü 2"})
        say(client, "Two", id)
        changed = client.conversations.retrieve(id).metadata
        client.conversations.update(id, metadata={})
        emptied = client.conversations.retrieve(id).metadata

    assert (kept, changed, emptied) == ({"a": "1"}, {"b": "ü 2"}, {})
    assert letta.said == [["One"], ["Two"]]


def test_an_item_that_was_not_told_is_taken_out_and_one_that_was_told_is_not(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as plain:
        id = client.conversations.create(items=HELLO, extra_body=ADA).id
        added = client.conversations.items.create(id, items=[{"role": "user", "content": "Not this"}]).data[0]
        client.conversations.items.delete(str(added.id), conversation_id=id)
        with pytest.raises(NotFoundError):
            client.conversations.items.retrieve(str(added.id), conversation_id=id)
        say(client, "One", id)
        told = [item["id"] for item in listed(plain, id)]
        refused = [plain.delete(f"/v1/conversations/{id}/items/{one}") for one in told]

    assert letta.said == [["Hello?", "One"]]
    assert {(one.status_code, one.json()["error"]["param"]) for one in refused} == {(400, "item_id")}


def test_a_deleted_conversation_is_nowhere(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as plain:
        id = client.conversations.create().id
        response = say(client, "One", id)
        checked(plain.delete(f"/v1/conversations/{id}"))
        calls = [
            plain.get(f"/v1/conversations/{id}"),
            plain.get(f"/v1/conversations/{id}/items"),
            plain.post(f"/v1/conversations/{id}", json={"metadata": {}, **ADA}),
            plain.post(f"/v1/conversations/{id}/items", json={"items": HELLO, **ADA}),
            plain.post("/v1/responses", json={"model": "tutor", "input": "Two", "conversation": id, **ADA}),
        ]
        shown = plain.get(f"/v1/responses/{response.id}")
        again = plain.post(
            "/v1/responses", json={"model": "tutor", "input": "Two", "previous_response_id": response.id, **ADA}
        )

    assert {(one.status_code, one.json()["error"]["code"]) for one in calls} == {(404, "conversation_not_found")}
    assert (shown.status_code, shown.json()["error"]["code"]) == (404, "response_not_found")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "previous_response_not_found")
    assert letta.said == [["One"]]


@by_three_too
def test_what_is_under_way_in_a_deleted_conversation_ends_wherever_it_is(letta: FakeLetta) -> None:
    letta.steps = [PING, WORD, Hold()]
    with gateway(letta.base_url) as url, sdk(url) as client:
        for _ in range(4):
            letta.cancelled.clear()
            letta.run_begun.clear()
            id = client.conversations.create().id
            say(client, "One", id, background=True)
            assert letta.run_begun.wait(10)
            with http(url) as other:
                checked(other.delete(f"/v1/conversations/{id}"))
            assert letta.cancelled.wait(10)


def test_one_that_was_never_used_is_deleted_as_well(letta: FakeLetta) -> None:
    key = Key(name="bound", key=Secret(KEY), user="ada")
    with gateway(letta.base_url, keys=(key,)) as url, sdk(url) as client:
        id = client.conversations.create().id
        client.conversations.delete(id)
        with pytest.raises(NotFoundError):
            client.conversations.retrieve(id)


def test_nobody_s_conversation_is_each_user_s_own(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as plain:
        id = client.conversations.create().id
        say(client, "Ada's", id)
        say(client, "Bob's", id, user="bob")
        told = {user: texts(listed(plain, id, user=user)) for user in ("ada", "bob", "eve")}

    assert told == {"ada": ["Ada's", "Hello"], "bob": ["Bob's", "Hello"], "eve": []}
    assert letta.said == [["Ada's"], ["Bob's"]]


def test_one_that_was_made_for_a_model_and_a_user_is_for_no_other(letta: FakeLetta) -> None:
    other = TUTOR.__class__(id="coach", name="Coach", model=TUTOR.model)
    with gateway(letta.base_url, types=(TUTOR, other)) as url, sdk(url) as client:
        id = client.conversations.create(items=HELLO, extra_body={**ADA, "model": "coach"}).id
        with pytest.raises(BadRequestError) as model:
            say(client, "One", id)
        with pytest.raises(NotFoundError) as user:
            say(client, "One", id, model="coach", user="bob")
        say(client, "One", id, model="coach")

    assert model.value.param == "conversation"
    assert user.value.code == "conversation_not_found"
    assert letta.said == [["Hello?", "One"]]


REFUSED: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "items of nobody": ({"items": HELLO}, "user", "user_required"),
    "21 items": ({"items": HELLO * 21, **ADA}, "items", None),
    "a model that is none": ({"items": HELLO, "model": "gpt-5", **ADA}, "model", "model_not_found"),
    "17 pairs": ({"metadata": {str(i): "" for i in range(17)}, **ADA}, "metadata", None),
    "a long name": ({"metadata": {"a" * 65: ""}, **ADA}, "metadata", None),
    "a long value": ({"metadata": {"a": "b" * 513}, **ADA}, "metadata", None),
    "a number": ({"metadata": {"a": 1}, **ADA}, "metadata[...]", None),
    "system text": ({"items": [{"role": "system", "content": "Hi"}], **ADA}, "items[0].role", "unsupported_parameter"),
    "a reference": ({"items": [{"type": "item_reference", "id": "msg_1"}], **ADA}, "items[0]", "unsupported_parameter"),
    "an unknown type": ({"items": [{"type": "compaction"}], **ADA}, "items[0]", "unsupported_parameter"),
    "a call without a name": (
        {"items": [{"type": "function_call", "call_id": "1", "arguments": ""}], **ADA},
        "items[0].name",
        None,
    ),
    "a file": (
        {"items": [{"role": "user", "content": [{"type": "input_file", "file_id": "1"}]}], **ADA},
        "items[0].content[0]",
        None,
    ),
    "thoughts that are a number": ({"items": [{"type": "reasoning", "summary": 5}], **ADA}, "items[0].summary", None),
    "thoughts without a text": (
        {"items": [*HELLO, {"type": "reasoning", "summary": [{"text": "a"}, {"text": 5}]}], **ADA},
        "items[1].summary[1]",
        None,
    ),
    "a picture without an address": (
        {"items": [{**OUTPUT, "output": [{"type": "input_image", "file_id": "f"}]}, *HELLO], **ADA},
        "items[0].output[0]",
        None,
    ),
    "a picture of a message without one": (
        {"items": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}, *HELLO], **ADA},
        "items[0].content[0]",
        None,
    ),
    "thoughts that pack to nothing": (
        {"items": [{"type": "reasoning", "summary": [{"text": "a" * 9_000_000}]}], **ADA},
        "items",
        "conversation_too_large",
    ),
    "too much": (
        {"items": [{"role": "user", "content": "a" * 100_001}], **ADA},
        "items",
        "conversation_too_large",
    ),
}


@pytest.mark.parametrize(("body", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_by_name(
    letta: FakeLetta, body: dict[str, Any], param: str, code: str | None
) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        answer = client.post("/v1/conversations", json=body)

    error = answer.json()["error"]
    assert answer.status_code == (404 if code == "model_not_found" else 400)
    assert (error["param"], error["code"]) == (param, code)
    assert letta.conversations == []


KEPT_BEFORE: dict[str, dict[str, Any]] = {
    "thoughts that are a number": {"type": "reasoning", "summary": 5},
    "a picture without an address": {**OUTPUT, "output": [{"type": "input_image", "file_id": "f"}]},
    "parts that are none": {**OUTPUT, "output": [5]},
}


@pytest.mark.parametrize("item", KEPT_BEFORE.values(), ids=KEPT_BEFORE)
def test_what_was_kept_before_it_was_refused_is_listed(item: dict[str, Any]) -> None:
    ids = Seal((b"secret",)).ids_of(ResponsePlace("5e" * 16, "0b1c2d3e", "9f86d081", "chat", "1f" * 16, "c" * 16))
    (listed,) = added_items(ids, Added("c" * 16, 1, (), [item]))

    assert listed.id


def test_a_user_of_another_key_has_no_part_in_it(letta: FakeLetta) -> None:
    keys = (
        Key(name="one", key=Secret(KEY), user_from=(UserSource("header:X-User-Id"),)),
        Key(name="two", key=Secret("sk-two"), user_from=(UserSource("header:X-User-Id"),)),
    )
    with gateway(letta.base_url, keys=keys) as url, http(url) as one, http(url, "sk-two") as two:
        ada = {"X-User-Id": "ada"}
        id = one.post("/v1/conversations", json={}, headers=ada).json()["id"]

        assert one.get(f"/v1/conversations/{id}", headers=ada).status_code == 200
        assert one.get(f"/v1/conversations/{id}", headers={"X-User-Id": "bob"}).status_code == 404
        assert two.get(f"/v1/conversations/{id}", headers=ada).status_code == 404
        assert one.get(f"/v1/conversations/{id}").json()["error"]["code"] == "user_required"
