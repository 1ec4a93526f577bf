"""A V1 server's tools: a client's are offered, several called at once, and answers that come too late are told."""

import json
from typing import Any

import httpx
import pytest

from gateway.domain import errors
from gateway.domain.events import Event, Failure
from gateway.domain.messages import Message, ToolResult
from gateway.domain.request import ClientTool
from gateway.letta.error_words import from_error_message
from gateway.letta.rest.upstream import RestUpstream
from gateway.letta.upstream import Agent, Sending
from gateway.settings import Chats, Letta
from gateway.turns.runs.means import means_of
from tests.events import ping, stop
from tests.letta.rest.test_upstream import BARE, TEMPLATE, FakeLetta
from tests.turns.calling import CALLED, SUNNY, last, request, result, user, waits
from tests.turns.memory_letta import MemoryLetta, Step
from tests.turns.turns import play, spoken

pytestmark = pytest.mark.anyio

# What a V1 server keeps of an agent's model; what is left out of a change goes back to a default.
SETTINGS = {
    "provider_type": "openai",
    "temperature": 0.2,
    "max_output_tokens": 4096,
    "parallel_tool_calls": False,
    "reasoning": {"reasoning_effort": "high"},
}
PARALLEL = {**SETTINGS, "parallel_tool_calls": True}
PATCH = "PATCH /v1/agents/agent-1"


# Several calls at once


async def test_a_new_agent_may_call_several_tools_at_once_and_keeps_all_else() -> None:
    letta = FakeLetta({"POST /v1/agents/": {"id": "agent-1", "model_settings": SETTINGS}, PATCH: {"id": "agent-1"}})
    await letta.upstream.create_agent(TEMPLATE)

    assert letta.calls == ["POST /v1/agents/", PATCH]
    assert letta.body == {"model_settings": PARALLEL}


async def test_an_agent_that_gets_another_template_may_call_several_tools_at_once_with_its_new_model() -> None:
    letta = FakeLetta(
        {
            "GET /v1/agents/agent-1": {"id": "agent-1", "model_settings": {"provider_type": "old"}},
            PATCH: {"id": "agent-1", "model_settings": SETTINGS},
        }
    )
    await letta.upstream.apply_template(Agent("agent-1"), BARE, [])

    assert letta.calls == ["GET /v1/agents/agent-1", PATCH, PATCH]
    assert "model_settings" not in json.loads(letta.requests[1].content)
    assert letta.body == {"model_settings": PARALLEL}


NO_SETTING = {
    "no settings": {},
    "settings of null": {"model_settings": None},
    "a provider that cannot be told": {"model_settings": {"provider_type": "ollama"}},
}


@pytest.mark.parametrize("told", NO_SETTING.values(), ids=NO_SETTING)
async def test_an_agent_whose_model_cannot_be_told_so_is_left_as_it_is(told: dict[str, Any]) -> None:
    letta = FakeLetta({"POST /v1/agents/": {"id": "agent-1", **told}})
    await letta.upstream.create_agent(TEMPLATE)

    assert letta.calls == ["POST /v1/agents/"]


async def test_a_change_of_the_settings_may_be_sent_again_but_no_agent_is_made_twice() -> None:
    letta = FakeLetta({"POST /v1/agents/": {"id": "agent-1", "model_settings": SETTINGS}, PATCH: 500})
    agent = await letta.upstream.create_agent(TEMPLATE)

    # It calls one tool at a time, and is an agent all the same.
    assert agent.id == "agent-1"
    assert letta.calls == ["POST /v1/agents/", PATCH, PATCH]


# Whose names are taken


async def test_an_agent_s_own_tools_are_those_that_letta_tells_of() -> None:
    tools = [{"id": "tool-1", "name": "web_search"}, {"id": "tool-2", "name": None}, {"id": "tool-3"}]
    letta = FakeLetta({"GET /v1/agents/agent-1": {"id": "agent-1", "tools": tools}})

    assert await letta.upstream.tool_names("agent-1", ["run_code"]) == {"web_search"}
    assert letta.requests[0].url.params.get_list("include") == ["agent.blocks", "agent.tools"]


# A run


async def sent(sending: Sending) -> Any:
    """The body of a run."""
    bodies: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"data: [DONE]\n\n")

    upstream = RestUpstream(Letta(base_url="http://letta"), httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    events: list[Event] = []
    await upstream.run("agent-1", "conv-1", sending, ("run_code",), events.extend)
    assert events == []
    return bodies[0]


async def test_a_run_offers_the_client_s_tools() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    body = await sent(Sending([Message("user", "Hi")], tools=(ClientTool("weather", "Of a city.", schema),)))

    assert body["client_tools"] == [{"name": "weather", "description": "Of a city.", "parameters": schema}]


async def test_a_run_without_tools_of_the_client_s_offers_none() -> None:
    assert "client_tools" not in await sent(Sending([Message("user", "Hi")]))


async def test_a_run_may_begin_with_nothing_but_answers() -> None:
    body = await sent(Sending([], results=(ToolResult("c1", "sunny"),), denied=("c2",)))
    (answers,) = body["messages"]

    assert [one["tool_call_id"] for one in answers["approvals"]] == ["c1", "c2"]


# Answers that nothing waits for

# detail of an internal error -> what it is
DETAILS: dict[str, tuple[Any, type[errors.UpstreamError]]] = {
    "nothing waits": ("Cannot process approval response: No tool call is currently awaiting approval.", errors.Stuck),
    "others wait": ("Invalid tool call IDs. Expected '['c1']', but received '['c2']'", errors.Stuck),
    "within other words": ("It said: Cannot process approval response", errors.RunFailed),
    "something else": ("boom", errors.RunFailed),
    "nothing": (None, errors.RunFailed),
    "no text": ({"a": 1}, errors.RunFailed),
}


@pytest.mark.parametrize(("detail", "kind"), DETAILS.values(), ids=DETAILS)
def test_the_detail_of_an_error_tells_whether_anything_waits(detail: Any, kind: type[errors.UpstreamError]) -> None:
    failure = from_error_message("internal_error", "An unknown error occurred.", detail)

    assert type(failure) is kind
    assert failure.taken is (kind is errors.RunFailed)
    assert str(detail) not in str(failure)


def too_late() -> list[Step]:
    detail = "Cannot process approval response: No tool call is currently awaiting approval."
    return [[ping()], [stop("error")], [Failure(from_error_message("internal_error", "An error occurred.", detail))]]


async def test_answers_that_letta_finds_nothing_for_lead_to_one_new_look_and_are_told_in_words() -> None:
    letta = MemoryLetta()
    means = means_of(letta, 0.01, 300.0, Chats())
    letta.scripts = [waits("weather")]
    await play(means, request(user("Hi")))
    # Another program has answered them, which nobody here knows.
    script = too_late()
    letta.scripts = [script]
    events = await play(means, request(user("Hi"), CALLED, result("c1")))

    assert spoken(events) == "Hello"
    assert [sending.results for _, sending in letta.sent] == [(), SUNNY, ()]
    assert "sunny" in last(letta).messages[0].exchanged
    assert not [event for event in events if isinstance(event, Failure)]
    assert "cancel" not in [call for call, _ in letta.calls]
