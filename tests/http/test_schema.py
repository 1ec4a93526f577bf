"""Whatever a client sends, it gets what OpenAI's reference describes, and no failure of the gateway's."""

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateways import chat, gateway, http
from tests.http.bodies import TEXTS, Body, Json, allowed, mutated, values
from tests.openai_schema import REQUEST, validator
from tests.readme import PARAMETERS
from tests.servers.fake_letta import ANSWER, PING, THOUGHT, USAGE, FakeLetta, Step

URL = "/v1/chat/completions"
COMPLETION, CHUNK = validator("CreateChatCompletionResponse"), validator("CreateChatCompletionStreamResponse")
ERROR, MODEL, MODELS = validator("ErrorResponse"), validator("Model"), validator("ListModelsResponse")
CALL = {"tool_call_id": "call-1", "name": "weather", "arguments": '{"city": "Oslo"}'}
CALLS: list[Step] = [
    *(PING, THOUGHT),
    {"message_type": "approval_request_message", "step_id": "s1", "tool_call": CALL, "tool_calls": [CALL]},
    {"message_type": "stop_reason", "stop_reason": "requires_approval"},
    USAGE,
]
# What README says of the parameters that the gateway does nothing about.
IGNORED = [
    name
    for row in PARAMETERS.splitlines()
    if row.endswith(("| accepted and ignored |", "accepted and ignored: the agent's model settings in Letta hold |"))
    for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])
]
# What README says is refused: what asks for it.
REFUSED: dict[str, Json] = {
    "n": 2,
    "functions": [{"name": "weather"}],
    "logprobs": True,
    "top_logprobs": 1,
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "mp3"},
    "tools": [{"type": "custom", "custom": {"name": "weather"}}],
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakeLetta, httpx.Client]]:
    """One gateway for all examples."""
    with FakeLetta() as letta, gateway(letta.base_url, letta_settle_seconds=0) as url, http(url) as client:
        yield letta, client


def send(client: httpx.Client, body: Json) -> httpx.Response:
    """As other languages write it: with halves of characters, and numbers that are none."""
    return client.post(URL, content=json.dumps(body), headers={"content-type": "application/json"})


def payloads(response: httpx.Response) -> list[Json]:
    """The JSON of an answer, or of each chunk of a streamed one."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        return [response.json()]
    *frames, done = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    assert frames
    assert done == "[DONE]"
    return [json.loads(frame) for frame in frames]


def check(response: httpx.Response, body: Json) -> None:
    """An answer is what the reference says of its status; what is refused is refused for the client's sake."""
    told = payloads(response)
    if response.status_code == 200:
        check_answer(told, streamed="text/event-stream" in response.headers["content-type"], body=body)
    elif response.status_code == 502:
        check_broken_demand(told.pop(), body)
    else:
        assert response.status_code in (400, 404)
        ERROR.validate(told[0])
        assert told[0]["error"]["type"] == "invalid_request_error"


def check_answer(told: list[Json], streamed: bool, body: Body) -> None:
    assert streamed == (body.get("stream") is True)
    if streamed and "error" in told[-1]:
        check_broken_demand(told.pop(), body)
    for payload in told:
        (CHUNK if streamed else COMPLETION).validate(payload)


def check_broken_demand(told: Json, body: Body) -> None:
    """The one failure that there may be: the agent, not the gateway, did not call what it was told to call."""
    ERROR.validate(told)
    assert told["error"]["code"] == "invalid_model_output"
    match body["tool_choice"]:
        case "required" | {"type": "function"} | {"allowed_tools": {"mode": "required"}}:
            return
    raise AssertionError("nothing was demanded")


def may_call(body: Json) -> bool:
    tools = body.get("tools") if isinstance(body, dict) else None
    return bool(tools) and body.get("tool_choice") != "none"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ignored=st.fixed_dictionaries({name: values(REQUEST[name]) for name in IGNORED}))
def test_what_readme_says_is_ignored_changes_nothing(served: tuple[FakeLetta, httpx.Client], ignored: Body) -> None:
    letta, client = served
    letta.steps = ANSWER
    response = send(client, chat(**ignored))

    assert len(IGNORED) > 10
    check(response, ignored)
    assert response.json()["choices"][0]["message"]["content"] == "<think>Hm. </think>Hello"


EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EXAMPLES
@given(body=allowed(), calls=st.booleans())
def test_what_the_reference_allows_is_answered_or_refused_by_name(
    served: tuple[FakeLetta, httpx.Client], body: Body, calls: bool
) -> None:
    letta, client = served
    letta.steps = CALLS if calls and may_call(body) else ANSWER
    response = send(client, body)

    check(response, body)
    if response.status_code == 400:
        error = response.json()["error"]
        assert error["code"] == "user_required" or error["param"].split(".")[0].split("[")[0] in body


@EXAMPLES
@given(body=mutated())
def test_what_the_reference_does_not_allow_breaks_nothing(served: tuple[FakeLetta, httpx.Client], body: Json) -> None:
    letta, client = served
    letta.steps = ANSWER
    check(send(client, body), body)


@settings(max_examples=50)
@given(name=TEXTS.filter(lambda name: name.strip("/.")))
def test_models_are_told_as_the_reference_says(served: tuple[FakeLetta, httpx.Client], name: str) -> None:
    _, client = served
    MODELS.validate(client.get("/v1/models").json())
    response = client.get(f"/v1/models/{quote(name, safe='')}")

    (MODEL if response.status_code == 200 else ERROR).validate(response.json())
    assert response.status_code == (200 if name in ("tutor", "task") else 404)


@pytest.mark.parametrize("param", REFUSED)
def test_what_no_agent_can_do_is_refused_by_name(served: tuple[FakeLetta, httpx.Client], param: str) -> None:
    _, client = served
    response = send(client, chat(**{param: REFUSED[param]}))

    check(response, {})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert response.json()["error"]["param"].startswith(param)
