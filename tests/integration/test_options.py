"""What a request asks of the model and of its answer, on every real Letta, by what the model received."""

import json
from typing import Any

import pytest
from openai import APIError, InternalServerError, OpenAI
from pydantic import BaseModel, ValidationError

from tests.gateways import chat
from tests.integration.words import someone, unheard
from tests.programs import CALLS, TOOLS, Talk, called
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

JSON = '{"city": "Oslo"}'


class Place(BaseModel):
    city: str


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}


def asked(model: ScriptedModel, text: str) -> dict[str, Any]:
    """The last request of the model's in which a person says `text`, without its messages and tools."""
    request = [one for one in model.requests if text in json.dumps(one["messages"][-1])][-1]
    return {name: value for name, value in request.items() if name not in ("messages", "tools")}


def instructions(model: ScriptedModel, text: str) -> str:
    """All that this request tells, in words."""
    return json.dumps([one for one in model.requests if text in json.dumps(one["messages"][-1])][-1]["messages"])


def test_the_length_of_an_answer_is_the_request_s_and_of_no_other(client: OpenAI, model: ScriptedModel) -> None:
    long, other, user = unheard("long"), unheard("other"), someone()
    client.chat.completions.create(**chat(long, user=user, max_completion_tokens=55))
    client.chat.completions.create(**chat(other, user=user))

    assert asked(model, long)["max_completion_tokens"] == 55
    assert asked(model, other)["max_completion_tokens"] > 1000


def test_temperature_and_form_are_the_request_s_where_letta_can_apply_them(
    client: OpenAI, letta: RealLetta, model: ScriptedModel
) -> None:
    text = f"!say {JSON}\n{unheard()}"
    answer: Any = client.chat.completions.create(
        **chat(text, user=someone(), temperature=0.25, response_format=FORMAT, reasoning_effort="low")
    )
    sent = asked(model, text.split("\n")[1])

    assert answer.choices[0].message.content == JSON
    if letta.name == "v1":
        assert (sent["temperature"], sent["response_format"]) == (0.25, FORMAT)
        assert "JSON Schema" not in instructions(model, text.split("\n")[1])
    else:
        assert "response_format" not in sent
        assert "JSON Schema" in instructions(model, text.split("\n")[1])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_parsed_answers_are_parsed(client: OpenAI, stream: bool) -> None:
    body: Any = {**chat(f"!say {JSON}", user=someone()), "response_format": Place}
    if stream:
        with client.chat.completions.stream(**body) as events:
            assert events.get_final_completion().choices[0].message.parsed == Place(city="Oslo")
    else:
        assert client.chat.completions.parse(**body).choices[0].message.parsed == Place(city="Oslo")


def test_an_answer_that_does_not_match_a_strict_schema_is_an_error_where_it_is_checked(
    client: OpenAI, letta: RealLetta, model: ScriptedModel
) -> None:
    text = f'!say {{"town": "Oslo"}}\n{unheard()}'
    body: Any = {**chat(text, user=someone()), "response_format": Place}
    if letta.name == "v1":
        # Its model's provider promises it, and is believed: the client's own check fails.
        with pytest.raises(ValidationError):
            client.chat.completions.parse(**body)
        return
    with pytest.raises(InternalServerError) as refused:
        client.chat.completions.parse(**body)

    assert (refused.value.status_code, refused.value.code) == (502, "invalid_model_output")
    assert len(model.said(text)) == 2


def test_an_answer_that_is_not_as_demanded_is_asked_for_once_more_and_then_an_error(
    client: OpenAI, letta: RealLetta, model: ScriptedModel
) -> None:
    text = unheard("no JSON")
    body: Any = {**chat(text, user=someone()), "response_format": {"type": "json_object"}}
    if letta.name == "v1":
        # Its model is told so, and is believed.
        assert "no JSON" in (client.chat.completions.create(**body).choices[0].message.content or "")
        return
    with pytest.raises(InternalServerError) as refused:
        client.chat.completions.create(**body)

    assert (refused.value.status_code, refused.value.code) == (502, "invalid_model_output")
    assert len(model.said(text)) == 2
    assert all(len(said) == 1 for said in model.said(text))


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=["any", "named"]
)
def test_a_call_can_be_demanded(client: OpenAI, model: ScriptedModel, choice: Any) -> None:
    calls, words = f"{CALLS}\n{unheard()}", unheard("!say words")
    names = [name for name, _ in called(Talk(client, tool_choice=choice, tools=TOOLS).say(calls))]
    assert names == (["weather", "clock"] if choice == "required" else ["weather"])

    with pytest.raises(APIError) as refused:
        Talk(client, True, tool_choice=choice).say(words)
    assert refused.value.code == "invalid_model_output"
    assert len(model.said(words)) == 2
    assert "You must answer with a call of the tool" in instructions(model, words)


STRICT = {**TOOLS[0], "function": {**TOOLS[0]["function"], "parameters": SCHEMA, "strict": True}}
# arguments that do not match
MISMATCHES = {"a value of another type": '{"city": 7}', "a name that is missing": "{}"}


@pytest.mark.parametrize("wrong", MISMATCHES.values(), ids=MISMATCHES)
def test_arguments_of_a_strict_function_that_do_not_match_are_asked_for_once_more(
    client: OpenAI, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    text = f"!tool weather {wrong}\n{unheard()}"
    right = f"!tool weather {JSON}"

    def mend(request: dict[str, Any]) -> str | None:
        *_, last = request["messages"]
        return right if last["role"] == "tool" and "sunny" not in str(last["content"]) else None

    monkeypatch.setattr(model, "rule", mend)
    talk = Talk(client, tools=[STRICT])
    assert called(talk.say(text)) == [("weather", {"city": "Oslo"})]
    assert "sunny" in (talk.give(weather="sunny").content or "")

    told = [message["content"] for message in heard_by(model, text) if message["role"] == "tool"]
    assert len(told) == 2
    assert "weather" in str(told[0])


def test_arguments_of_a_strict_function_that_do_not_match_twice_are_an_error(
    client: OpenAI, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, more = f'!tool weather {{"city": 7}}\n{unheard()}', unheard("and more")
    monkeypatch.setattr(
        model, "rule", lambda asked: '!tool weather {"city": 8}' if asked["messages"][-1]["role"] == "tool" else None
    )
    talk = Talk(client, tools=[STRICT])
    with pytest.raises(InternalServerError) as refused:
        talk.say(text)
    assert (refused.value.status_code, refused.value.code) == (502, "invalid_model_output")

    monkeypatch.setattr(model, "rule", None)
    assert more in (talk.say(more).content or "")


def heard_by(model: ScriptedModel, text: str) -> list[dict[str, Any]]:
    """The messages of the last request in which a person says `text`."""
    told: list[dict[str, Any]] = [
        one for one in model.requests if json.dumps(text)[1:-1] in json.dumps(one["messages"])
    ][-1]["messages"]
    return told
