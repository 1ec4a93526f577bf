"""`POST /v1/responses`, and a response that is asked for again: whole, as a stream, in the background."""

import json
import threading
from typing import Any

import pytest
from openai import NotFoundError, OpenAI
from openai.types.responses import Response

from tests.gateways import gateway, http, sdk
from tests.servers.fake_letta import ANSWER, PING, THOUGHT, WORD, FakeLetta

ASKED: dict[str, Any] = {"model": "tutor", "input": "Hi", "user": "ada"}


def events_of(client: OpenAI, **more: Any) -> list[Any]:
    return [*client.responses.create(**ASKED, stream=True, **more)]


def last(events: list[Any]) -> Response:
    response: Response = events[-1].response
    return response


def test_a_stream_and_a_whole_response_are_the_same(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        whole = client.responses.create(**ASKED)
        events = events_of(client)

    streamed = last(events)
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
    assert streamed.output_text == whole.output_text == "Hello"
    assert (streamed.status, streamed.usage) == (whole.status, whole.usage)


def test_a_response_that_is_asked_for_is_what_was_told(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        whole = client.responses.create(**ASKED, metadata={"a": "b"}, instructions="Be kind.")
        streamed = last(events_of(client))

        assert client.responses.retrieve(whole.id) == whole
        assert client.responses.retrieve(streamed.id) == streamed


def test_a_stream_is_gone_on_with_from_any_number(letta: FakeLetta) -> None:
    letta.steps = [PING, THOUGHT, *[WORD] * 5, *ANSWER[-2:]]
    with gateway(letta.base_url) as url, sdk(url) as client:
        told = events_of(client)
        id = last(told).id
        for number in range(len(told)):
            rest = [*client.responses.retrieve(id, stream=True, starting_after=number)]
            text = "".join(event.delta for event in rest if event.type == "response.output_text.delta")
            had = "".join(event.delta for event in told[: number + 1] if event.type == "response.output_text.delta")

            assert had + text == "Hello" * 5
            assert [event.sequence_number for event in rest] == sorted({event.sequence_number for event in rest})
            assert all(event.sequence_number > number for event in rest)
            assert not rest or rest[-1] == told[-1]


def test_a_response_in_the_background_is_there_though_nobody_waits_for_it(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.steps = [PING, WORD, go_on, *ANSWER[-2:]]
    with gateway(letta.base_url) as url, sdk(url) as client:
        begun = client.responses.create(**ASKED, background=True)
        assert begun.status == "queued"
        assert letta.run_begun.wait(10)
        assert client.responses.retrieve(begun.id).status in ("queued", "in_progress")
        go_on.set()
        *_, ended = client.responses.retrieve(begun.id, stream=True)
        assert client.responses.retrieve(begun.id).output_text == "Hello"

    assert ended.type == "response.completed"


def test_a_request_that_is_sent_again_has_one_response(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        first, second = (
            client.responses.create(**ASKED, background=True, extra_headers={"Idempotency-Key": "one"})
            for _ in range(2)
        )
        [*client.responses.retrieve(first.id, stream=True)]

    assert first.id == second.id
    assert len(letta.runs) == 1


FORGED = {
    "cut": lambda id: id[:-1],
    "another letter": lambda id: id[:-1] + ("A" if id[-1] != "A" else "B"),
    "none": lambda id: "resp_1",
    "another prefix": lambda id: id.replace("resp_", "msg_"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_an_id_that_the_gateway_has_not_made_is_not_there(letta: FakeLetta, forge: Any) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        id = forge(client.responses.create(**ASKED).id)
        with pytest.raises(NotFoundError) as raised:
            client.responses.retrieve(id)
        with pytest.raises(NotFoundError) as continued:
            client.responses.create(**ASKED, previous_response_id=id)

    assert (raised.value.code, continued.value.code) == ("response_not_found", "previous_response_not_found")


def test_what_is_not_kept_is_not_there_for_anybody(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        id = client.responses.create(**ASKED, store=False).id
        with pytest.raises(NotFoundError):
            client.responses.retrieve(id)
        with pytest.raises(NotFoundError):
            client.responses.create(**ASKED, previous_response_id=id)


@pytest.mark.parametrize("key", ["sk-test", "sk-front"], ids=["another user", "another key"])
def test_another_person_s_response_is_not_there(letta: FakeLetta, key: str) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, http(url) as others:
        id = client.responses.create(**ASKED).id
        headers = {"authorization": f"Bearer {key}", "X-OpenWebUI-User-Id": "bob"}
        asked = others.post("/v1/responses", json={**ASKED, "user": "bob", "previous_response_id": id}, headers=headers)
        shown = others.get(f"/v1/responses/{id}", headers=headers)

    assert (asked.status_code, asked.json()["error"]["code"]) == (404, "previous_response_not_found")
    # A key whose users come by a body may name anybody: the id says whose it is.
    assert shown.status_code == (200 if key == "sk-test" else 404)


@pytest.mark.parametrize(
    "history",
    [
        "Hi",
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        [{"role": "user", "content": "Hi"}, {"type": "reasoning", "id": "rs_1", "summary": []}],
    ],
    ids=["a text", "a message", "items"],
)
def test_a_history_that_is_compacted_comes_back_and_can_be_sent(letta: FakeLetta, history: Any) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        compacted = client.post("/responses/compact", body={**ASKED, "input": history}, cast_to=object)
        assert isinstance(compacted, dict)
        output = compacted["output"]
        answer = client.responses.create(**{**ASKED, "input": output})

    assert (compacted["object"], compacted["usage"]["total_tokens"]) == ("response.compaction", 0)
    assert output == history or [part["text"] for item in output for part in item["content"]] == ["Hi"]
    assert answer.output_text == "Hello"


@pytest.mark.parametrize(
    "text", ["a\ud800b", [{"role": "user", "content": [{"type": "input_text", "text": "a\ud800b"}]}]]
)
def test_half_of_a_pair_is_replaced_in_a_history_that_is_compacted(letta: FakeLetta, text: Any) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        body = json.dumps({**ASKED, "input": text})
        answer = client.post("/v1/responses/compact", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 200
    assert [part["text"] for item in answer.json()["output"] for part in item["content"]] == ["a\ufffdb"]


def test_a_chat_that_letta_has_is_not_compacted(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url) as client:
        id = client.post("/v1/responses", json=ASKED).json()["id"]
        refused = client.post("/v1/responses/compact", json={**ASKED, "previous_response_id": id}).json()

    assert (refused["error"]["code"], refused["error"]["param"]) == ("unsupported_parameter", "previous_response_id")
