"""Background tasks over HTTP: answered in every form, and no agent hears of them."""

import json
import threading
from typing import Any

import msgspec
import pytest
from openai import APIStatusError, InternalServerError, NotFoundError

from gateway.settings import Key, Secret, Tasks
from tests.gateways import FRONTEND, chat, gateway, http, said, sdk
from tests.recorded import DECISIONS, KEY, RECORDED, Recorded
from tests.servers.fake_letta import FakeLetta
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served

URL = "/v1/chat/completions"
OPEN_WEBUI = msgspec.structs.replace(KEY, key=Secret("sk-owui"))
TITLE = {"X-Task": "title_generation"}
# What each of the recorded tasks is answered.
ANSWERS: dict[str, Any] = {
    "title_generation": {"title": "Hello first message"},
    "follow_up_generation": {"follow_ups": []},
    "tags_generation": {"tags": ["General"]},
    "query_generation": {"queries": ["What is in this file?"]},
    "autocomplete_generation": {"text": ""},
    "image_prompt_generation": {"prompt": "hello from api"},
    "emoji_generation": "🙂",
    "moa_response_generation": "a\n\n---\n\nb",
}


def of(kind: str) -> list[Recorded]:
    return [recorded for recorded in RECORDED if DECISIONS[recorded.name].startswith(kind)]


@pytest.fixture
def plain(model: ScriptedModel) -> ScriptedModel:
    """The scripted model, as the plain one that answers tasks."""
    return model


def answered_by(model: ScriptedModel) -> Tasks:
    return Tasks(answer="model", base_url=model.base_url, model="offline")


@pytest.mark.parametrize("recorded", of("task: "), ids=lambda recorded: recorded.name)
def test_what_open_webui_asks_in_the_background_reaches_no_agent(letta: FakeLetta, recorded: Recorded) -> None:
    with gateway(letta.base_url, keys=(OPEN_WEBUI,)) as url, http(url, "sk-owui") as client:
        body = {**(recorded.body or {}), "model": "tutor"}
        answer = client.post(URL, json=body, headers=recorded.headers).json()
    content = answer["choices"][0]["message"]["content"]
    expected = ANSWERS[DECISIONS[recorded.name].removeprefix("task: ")]

    assert content == expected if isinstance(expected, str) else json.loads(content) == expected
    assert (answer["model"], answer["choices"][0]["finish_reason"]) == ("tutor", "stop")
    assert answer["usage"]["total_tokens"] == 0
    assert letta.requests == []


@pytest.mark.parametrize("recorded", of("404"), ids=lambda recorded: recorded.name)
def test_what_open_webui_asks_of_other_servers_is_not_there(letta: FakeLetta, recorded: Recorded) -> None:
    with gateway(letta.base_url, keys=(OPEN_WEBUI,)) as url, http(url, "sk-owui") as client:
        response = client.post(recorded.path, json=recorded.body, headers=recorded.headers)

    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_url")
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("recorded", of("response"), ids=lambda recorded: recorded.name)
def test_what_open_webui_asks_of_a_connection_for_responses_is_answered(letta: FakeLetta, recorded: Recorded) -> None:
    with gateway(letta.base_url, keys=(OPEN_WEBUI,)) as url, http(url, "sk-owui") as client:
        body = {**(recorded.body or {}), "model": "tutor", "stream": False}
        response = client.post(recorded.path, json=body, headers=recorded.headers)

    assert response.status_code == 200
    assert [item["content"][0]["text"] for item in response.json()["output"] if item["type"] == "message"] == ["Hello"]
    assert len(letta.runs) == 1


@pytest.mark.parametrize("recorded", of("400"), ids=lambda recorded: recorded.name)
def test_what_cannot_be_answered_is_refused_by_its_name(letta: FakeLetta, recorded: Recorded) -> None:
    with gateway(letta.base_url, keys=(OPEN_WEBUI,)) as url, http(url, "sk-owui") as client:
        body = {**(recorded.body or {}), "model": "tutor"}
        response = client.post(URL, json=body, headers=recorded.headers)

    assert response.status_code == 400
    assert f"400: {response.json()['error']['param']}" == DECISIONS[recorded.name]


def test_the_same_task_streamed_is_the_same_answer(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        stream = client.chat.completions.create(
            **chat("USER: I like tea", stream=True, stream_options={"include_usage": True}), extra_headers=TITLE
        )
        chunks = list(stream)

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == '{"title":"I like tea"}'
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 0
    assert letta.requests == []


def test_a_task_needs_no_user(letta: FakeLetta) -> None:
    with gateway(letta.base_url, keys=(FRONTEND,)) as url, sdk(url, "sk-front") as client:
        answer = client.chat.completions.create(**chat("USER: I like tea"), extra_headers=TITLE)

    assert answer.choices[0].message.content == '{"title":"I like tea"}'


def test_an_empty_header_is_a_real_turn(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        client.chat.completions.create(**chat("hello"), extra_headers={"X-Task": ""})

    assert letta.said == [["hello"]]


def test_a_task_for_a_model_that_is_not_there_is_refused(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, pytest.raises(NotFoundError, match="nothing"):
        client.chat.completions.create(**chat(model="nothing"), extra_headers=TITLE)


def test_the_model_for_tasks_is_open_to_every_key_and_answers_with_a_title(letta: FakeLetta) -> None:
    key = Key(name="one", key=Secret("sk-one"), models=())
    with gateway(letta.base_url, keys=(key,)) as url, sdk(url, "sk-one") as client:
        answer = client.chat.completions.create(**chat("Name this: tea", model="task"))

    assert (answer.model, answer.choices[0].message.content) == ("task", "Name this: tea")
    assert letta.requests == []


def test_tasks_may_be_switched_off(letta: FakeLetta) -> None:
    with gateway(letta.base_url, tasks=Tasks(answer="off")) as url, sdk(url) as client:
        answer = client.chat.completions.create(**chat("USER: I like tea"), extra_headers=TITLE)

    assert answer.choices[0].message.content == '{"title":""}'
    assert letta.requests == []


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_plain_model_may_answer_tasks(letta: FakeLetta, plain: ScriptedModel, streamed: bool) -> None:
    body = chat(
        f"!say Tea is a good title {streamed}", stream=streamed, max_tokens=50, temperature=0, metadata={"a": "b"}
    )
    with gateway(letta.base_url, tasks=answered_by(plain)) as url, http(url) as client:
        response = client.post(URL, json=body, headers=TITLE)
    asked = next(one for one in plain.requests if one["messages"] == body["messages"])

    assert said(response.text)["content"] == body["messages"][0]["content"].removeprefix("!say ")
    assert {name: asked[name] for name in asked if name not in ("messages", "stream", "stream_options")} == {
        "model": "offline",
        "max_tokens": 50,
        "temperature": 0,
    }
    assert letta.requests == []


def test_a_plain_model_may_cut_characters_in_two(letta: FakeLetta, plain: ScriptedModel) -> None:
    body = json.dumps(chat("!units 1\n!say a🦊\ud83d"))
    headers = {**TITLE, "content-type": "application/json"}
    with gateway(letta.base_url, tasks=answered_by(plain)) as url, http(url) as client:
        response = client.post(URL, content=body, headers=headers)

    # The half in the request is replaced before the model is asked.
    assert said(response.text)["content"] == "a🦊\ufffd"


@pytest.mark.parametrize("most", [0, -1])
def test_a_plain_model_is_told_no_limit_that_is_none(letta: FakeLetta, plain: ScriptedModel, most: int) -> None:
    body = chat(f"!say No limit of {most}", max_tokens=most, max_completion_tokens=most)
    with gateway(letta.base_url, tasks=answered_by(plain)) as url, http(url) as client:
        client.post(URL, json=body, headers=TITLE).raise_for_status()
    asked = next(one for one in plain.requests if one["messages"] == body["messages"])

    assert {"max_tokens", "max_completion_tokens"}.isdisjoint(asked)


def test_the_usage_of_a_plain_model_is_told(letta: FakeLetta, plain: ScriptedModel) -> None:
    with gateway(letta.base_url, tasks=answered_by(plain)) as url, sdk(url) as client:
        answer = client.chat.completions.create(**chat("!say Tea"), extra_headers=TITLE)

    assert answer.choices[0].message.content == "Tea"
    assert answer.usage
    assert answer.usage.total_tokens > 0


# a script of the plain model -> what the log tells of its failure
FAILING = {
    "!fail 400": "HTTP 400 invalid_request_error",
    "!fail 401": "HTTP 401 authentication_error",
    "!cut-after Tea": "APIError",
}


@pytest.mark.parametrize("script", FAILING)
def test_a_plain_model_that_fails_is_an_error_without_its_words(
    letta: FakeLetta, plain: ScriptedModel, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing = chat(f"{script}\na secret")
    with (
        gateway(letta.base_url, tasks=answered_by(plain)) as url,
        sdk(url) as client,
        pytest.raises(InternalServerError) as caught,
    ):
        client.chat.completions.create(**failing, extra_headers=TITLE)

    assert (caught.value.status_code, caught.value.code) == (502, "task_model_error")
    assert "secret" not in caught.value.message + caplog.text
    assert f"the model for background tasks failed: {FAILING[script]}\n" in caplog.text


def test_a_plain_model_that_is_not_there_is_an_error(letta: FakeLetta) -> None:
    tasks = Tasks(answer="model", base_url="http://127.0.0.1:9/v1", model="none")
    with gateway(letta.base_url, tasks=tasks) as url, sdk(url) as client, pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(**chat(), extra_headers=TITLE)

    assert (caught.value.status_code, caught.value.code) == (502, "task_model_error")


# What a server may send that is no answer, after a chunk that is.
CHUNK = b'data: {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}\n\n'
BROKEN = {"no end": b"", "no JSON": b"data: {tea\n\n"}


@pytest.mark.parametrize("rest", BROKEN.values(), ids=BROKEN)
def test_a_plain_model_that_breaks_off_is_an_error(letta: FakeLetta, rest: bytes) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": CHUNK + rest})

    with served(broken) as model:
        tasks = Tasks(answer="model", base_url=f"{model}/v1", model="m")
        with gateway(letta.base_url, tasks=tasks) as url, sdk(url) as client, pytest.raises(APIStatusError) as caught:
            client.chat.completions.create(**chat(), extra_headers=TITLE)

    assert (caught.value.status_code, caught.value.code) == (502, "task_model_error")


def test_a_client_that_leaves_leaves_the_plain_model(letta: FakeLetta) -> None:
    begun, left = threading.Event(), threading.Event()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        while (await receive()).get("more_body"):
            pass
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    with served(silent) as model:
        tasks = Tasks(answer="model", base_url=f"{model}/v1", model="m")
        with gateway(letta.base_url, tasks=tasks) as url, http(url) as client:
            with client.stream("POST", URL, json=chat(stream=True), headers=TITLE):
                assert begun.wait(30)
            assert left.wait(30)
