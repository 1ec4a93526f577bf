"""The calls around a run, through the real letta-client: what Letta is sent, and what its answers become."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.domain import errors
from gateway.domain.events import Stop, StopReason, Text
from gateway.domain.messages import Message, PendingCall
from gateway.letta.rest.upstream import FULL_PAGE, RestUpstream
from gateway.letta.stream_messages import to_stop
from gateway.letta.upstream import Agent, Conversation, Fork, Past, Template
from gateway.settings import Letta

pytestmark = pytest.mark.anyio

REST = Letta(upstream="rest")
TEMPLATE = Template(
    model="openai/gpt-4o-mini",
    tags=("gateway", "tutor", "gw-user:0123"),
    name="tutor",
    system="You are a tutor.",
    tools=("web_search", "run_code"),
    blocks={"persona": "I help.", "human": "Alice"},
    embedding="openai/text-embedding-3-small",
    metadata={"gateway": {"tools": ["web_search", "run_code"]}},
)
BARE = Template(
    model="m/x", tags=("gateway",), name="bare", system=None, tools=(), blocks={}, embedding=None, metadata={}
)
TOOLS = [{"id": f"tool-{name}", "name": name} for name in ("web_search", "run_code", "memory_insert")]


class FakeLetta:
    """Answers by method and path, and keeps what it received.

    An answer is a JSON value, a status, or what makes a value of the query.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers
        self.requests: list[httpx.Request] = []
        self.upstream = RestUpstream(
            Letta(base_url="http://letta/"), httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[f"{request.method} {request.url.path}"]
        if isinstance(answer, int):
            # The header: letta-client waits for less than a millisecond before it asks again.
            return httpx.Response(answer, json={"detail": "secret"}, headers={"retry-after-ms": "0.1"})
        return httpx.Response(200, json=answer(dict(request.url.params)) if callable(answer) else answer)

    @property
    def calls(self) -> list[str]:
        return [f"{request.method} {request.url.path}" for request in self.requests]

    @property
    def query(self) -> list[tuple[str, str]]:
        return sorted(self.requests[-1].url.params.multi_items())

    @property
    def body(self) -> Any:
        return json.loads(self.requests[-1].content)


def after(kept: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
    """The page of `kept` that a query asks for."""
    start = [one["id"] for one in kept].index(query["after"]) + 1 if "after" in query else 0
    return kept[start : start + int(query["limit"])]


async def test_agents_are_found_by_all_of_their_tags() -> None:
    letta = FakeLetta(
        {
            "GET /v1/agents/": [
                {"id": "agent-1", "created_at": "2026-11-21T01:49:46Z", "tags": ["a", "b"], "metadata": {"x": 1}},
                {"id": "agent-2", "created_at": None, "new_field": {"a": []}},
            ]
        }
    )

    assert await letta.upstream.find_agents(["a", "b"]) == [
        Agent("agent-1", datetime(2026, 11, 21, 1, 49, 46, tzinfo=UTC), ("a", "b"), {"x": 1}),
        Agent("agent-2"),
    ]
    assert {("tags", "a"), ("tags", "b"), ("match_all_tags", "true"), ("order", "asc")} <= set(letta.query)


async def test_no_agent_is_found() -> None:
    assert await FakeLetta({"GET /v1/agents/": []}).upstream.find_agents(["a"]) == []


async def test_an_agent_is_made_of_its_template() -> None:
    letta = FakeLetta({"POST /v1/agents/": {"id": "agent-1", "tags": ["gateway"]}})

    assert await letta.upstream.create_agent(TEMPLATE) == Agent("agent-1", tags=("gateway",))
    body = letta.body
    ((making,),) = {tuple(block.pop("tags")) for block in body["memory_blocks"]}
    assert making.startswith("gw-making:")
    assert body == {
        "name": "tutor",
        "model": "openai/gpt-4o-mini",
        "embedding": "openai/text-embedding-3-small",
        "system": "You are a tutor.",
        "tags": ["gateway", "tutor", "gw-user:0123"],
        "tools": ["web_search", "run_code"],
        "memory_blocks": [{"label": "persona", "value": "I help."}, {"label": "human", "value": "Alice"}],
        "metadata": {"gateway": {"tools": ["web_search", "run_code"]}},
    }


# what the making of an agent ends with, whether what it leaves is taken away
REFUSED: dict[str, tuple[int, bool]] = {
    "an unknown tool": (400, True),
    "an unknown model": (404, True),
    "what Letta cannot read": (422, True),
    "a failure of Letta's": (500, True),
    "no answer in time": (504, False),
}


@pytest.mark.parametrize(("status", "taken_away"), REFUSED.values(), ids=REFUSED)
async def test_the_memory_of_an_agent_that_was_refused_is_taken_away(status: int, taken_away: bool) -> None:
    asked: list[dict[str, str]] = []
    blocks = [{"id": "block-1"}, {"id": "block-2"}]

    def listed(query: dict[str, str]) -> list[dict[str, str]]:
        asked.append(query)
        return blocks

    letta = FakeLetta(
        {
            "POST /v1/agents/": status,
            "GET /v1/blocks/": listed,
            **{f"DELETE /v1/blocks/{block['id']}": None for block in blocks},
        }
    )
    with pytest.raises(errors.UpstreamError, match=f"HTTP {status}"):
        await letta.upstream.create_agent(TEMPLATE)
    made = json.loads(letta.requests[0].content)["memory_blocks"][0]["tags"]

    assert [call for call in letta.calls if call.startswith("DELETE")] == (
        ["DELETE /v1/blocks/block-1", "DELETE /v1/blocks/block-2"] if taken_away else []
    )
    # Those of an agent that was made after all are its own.
    assert [(query["tags"], query["connected_to_agents_count_eq"]) for query in asked] == [(made[0], "0")] * taken_away


async def test_what_cannot_be_taken_away_either_does_not_hide_why(caplog: pytest.LogCaptureFixture) -> None:
    letta = FakeLetta({"POST /v1/agents/": 400, "GET /v1/blocks/": 500})
    with pytest.raises(errors.Refused, match="HTTP 400"):
        await letta.upstream.create_agent(TEMPLATE)

    assert "what is left of an agent stays" in caplog.text


async def test_what_a_template_leaves_out_is_letta_s_choice() -> None:
    letta = FakeLetta({"POST /v1/agents/": {"id": "agent-1"}})
    await letta.upstream.create_agent(BARE)

    assert not {"embedding", "system", "tools"} & letta.body.keys()


def _living(*tools: str) -> FakeLetta:
    """A Letta with one agent that has these tools."""
    has = [tool for tool in TOOLS if tool["name"] in tools]
    return FakeLetta(
        {
            "GET /v1/agents/agent-1": {"id": "agent-1", "tools": has},
            "PATCH /v1/agents/agent-1": {"id": "agent-1"},
            "GET /v1/tools/": TOOLS,
        }
    )


async def test_a_template_is_applied_to_a_living_agent_but_not_to_its_memory() -> None:
    letta = _living("web_search")
    await letta.upstream.apply_template(Agent("agent-1", metadata={"kept": 1, "gateway": {}}), TEMPLATE, ["web_search"])

    assert letta.calls[-1] == "PATCH /v1/agents/agent-1"
    assert letta.body == {
        "model": "openai/gpt-4o-mini",
        "system": "You are a tutor.",
        "tool_ids": ["tool-web_search", "tool-run_code"],
        "metadata": {"kept": 1, "gateway": {"tools": ["web_search", "run_code"]}},
    }


async def test_a_template_without_a_system_prompt_leaves_the_agent_s() -> None:
    letta = _living()
    await letta.upstream.apply_template(Agent("agent-1"), BARE, [])

    assert letta.body == {"model": "m/x", "tool_ids": [], "metadata": {}}


# tools the agent has, tools of the template before -> tools of the agent after, with web_search and run_code listed
APPLIED: dict[str, tuple[list[str], list[str], list[str]]] = {
    "nothing new": (["web_search", "run_code"], ["web_search", "run_code"], ["web_search", "run_code"]),
    "a new one": (["web_search"], ["web_search"], ["web_search", "run_code"]),
    "one of the agent's own stays": (
        ["web_search", "memory_insert"],
        ["web_search"],
        ["web_search", "memory_insert", "run_code"],
    ),
    "one no longer listed goes": (["web_search", "memory_insert"], ["memory_insert"], ["web_search", "run_code"]),
    "one that is gone already": ([], ["memory_insert"], ["web_search", "run_code"]),
}


@pytest.mark.parametrize(("has", "before", "after"), APPLIED.values(), ids=APPLIED)
async def test_a_living_agent_gets_new_tools_and_loses_those_no_longer_listed(
    has: list[str], before: list[str], after: list[str]
) -> None:
    letta = _living(*has)
    await letta.upstream.apply_template(Agent("agent-1"), TEMPLATE, before)

    assert letta.body["tool_ids"] == [f"tool-{name}" for name in after]


async def test_a_tool_that_letta_does_not_have_is_refused_before_anything_changes() -> None:
    letta = FakeLetta({"GET /v1/agents/agent-1": {"id": "agent-1"}, "GET /v1/tools/": []})

    with pytest.raises(errors.Refused, match="web_search"):
        await letta.upstream.apply_template(Agent("agent-1"), TEMPLATE, [])
    assert not any(call.startswith("PATCH") for call in letta.calls)


async def test_a_deleted_agent_takes_its_blocks_along() -> None:
    letta = FakeLetta(
        {
            "GET /v1/agents/agent-1": {"id": "agent-1", "blocks": [{"id": "block-1"}, {"id": "block-2"}]},
            "DELETE /v1/agents/agent-1": {},
            "DELETE /v1/blocks/block-1": {},
            "DELETE /v1/blocks/block-2": {},
        }
    )
    await letta.upstream.delete_agent(Agent("agent-1"))

    assert letta.requests[0].url.params.get_list("include") == ["agent.blocks", "agent.tools"]
    assert letta.calls[1:] == [
        "DELETE /v1/agents/agent-1",
        "DELETE /v1/blocks/block-1",
        "DELETE /v1/blocks/block-2",
    ]


async def test_conversations_are_found_by_agent_and_summary() -> None:
    letta = FakeLetta(
        {
            "GET /v1/conversations/": [
                {"id": "conv-1", "summary": "A chat gw1:0123"},
                {
                    "id": "conv-2",
                    "summary": None,
                    "agent_id": "agent-1",
                    "created_at": "2026-11-21T01:49:46+00:00",
                    "updated_at": "2026-11-21T01:49:47+00:00",
                    "last_message_at": None,
                },
            ]
        }
    )

    at = datetime(2026, 11, 21, 1, 49, 46, tzinfo=UTC)
    assert await letta.upstream.find_conversations("agent-1", "gw1:0123") == [
        Conversation("conv-1", summary="A chat gw1:0123"),
        Conversation("conv-2", at, at + timedelta(seconds=1), agent_id="agent-1"),
    ]
    assert {("agent_id", "agent-1"), ("summary_search", "gw1:0123"), ("order", "asc")} <= set(letta.query)


async def test_conversations_are_found_page_by_page() -> None:
    kept = [{"id": f"conv-{i}", "summary": "gw1:0123"} for i in range(120)]
    letta = FakeLetta({"GET /v1/conversations/": lambda query: after(kept, query)})
    found = await letta.upstream.find_conversations(None, "gw1:0123")

    assert [one.id for one in found] == [one["id"] for one in kept]
    assert [request.url.params.get("after") for request in letta.requests] == [None, "conv-49", "conv-99"]
    assert not any("agent_id" in request.url.params for request in letta.requests)


@pytest.mark.parametrize("there", [[], [{"id": "conv-1"}]], ids=["none", "one"])
async def test_an_agent_has_conversations_or_not(there: list[dict[str, str]]) -> None:
    letta = FakeLetta({"GET /v1/conversations/": there})

    assert await letta.upstream.has_conversations("agent-1") == bool(there)
    assert letta.query == [("agent_id", "agent-1"), ("limit", "1")]


PATHS: dict[str, tuple[list[Message], Fork | None]] = {
    "nothing said before": ([], None),
    "a path": ([Message("user", "Hi"), Message("assistant", "Hello")], None),
    "the beginning of another": ([Message("user", "Hi"), Message("assistant", "Hello")], Fork("conv-0", "m-2", 2)),
}


@pytest.mark.parametrize(("path", "fork"), PATHS.values(), ids=PATHS)
async def test_a_conversation_is_made_in_which_nothing_was_heard(path: list[Message], fork: Fork | None) -> None:
    letta = FakeLetta({"POST /v1/conversations/": {"id": "conv-1", "summary": "gw1:0123"}})
    made = await letta.upstream.create_conversation("agent-1", "gw1:0123", path, fork)

    assert made == Conversation("conv-1", summary="gw1:0123", seeded=0)
    assert (letta.query, letta.body) == ([("agent_id", "agent-1")], {"summary": "gw1:0123"})
    assert not letta.upstream.capabilities.forks


MESSAGES = "GET /v1/conversations/conv-1/messages"


async def test_a_conversation_is_read_from_its_beginning() -> None:
    listing = [
        {"id": "m-1", "message_type": "user_message", "content": "Hi", "otid": "gw1-a-b-c-d"},
        {"id": "m-2", "message_type": "assistant_message", "content": "Hello"},
        {
            "id": "m-3",
            "message_type": "approval_request_message",
            "tool_call": {"name": "weather", "arguments": "{}", "tool_call_id": "call-1"},
            "tool_calls": [{"name": "weather", "arguments": "{}", "tool_call_id": "call-1"}],
        },
    ]
    letta = FakeLetta({MESSAGES: listing})
    past = await letta.upstream.read_conversation("agent-1", Conversation("conv-1"))

    said = [Message("user", "Hi", "gw1-a-b-c-d", "m-1"), Message("assistant", "Hello", id="m-2")]
    assert past == Past(said, pending=(PendingCall("call-1", "weather"),))
    assert ("order", "asc") in letta.query


async def test_a_long_conversation_is_read_page_by_page() -> None:
    kept = [{"id": f"m-{i}", "message_type": "user_message", "content": f"{i}"} for i in range(2 * FULL_PAGE + 1)]
    letta = FakeLetta({MESSAGES: lambda query: after(kept, query)})
    past = await letta.upstream.read_conversation("agent-1", Conversation("conv-1"))

    assert [message.content for message in past.messages] == [one["content"] for one in kept]
    assert letta.calls == [MESSAGES] * 3


RUNS = "GET /v1/runs/"
ASKED = {"id": "m-1", "message_type": "user_message", "content": "Hi", "otid": "gw1-a-b-c-d", "run_id": "run-1"}
ANSWERED = {"id": "m-2", "message_type": "assistant_message", "content": "Hello", "run_id": "run-1", "step_id": "s1"}


def states(*told: tuple[str, str | None]) -> list[dict[str, str | None]]:
    """A run at one moment after the other."""
    return [{"id": "run-1", "status": status, "stop_reason": reason} for status, reason in told]


# the state of the run -> how its exchange ends
ENDS: dict[str, tuple[tuple[str, str | None], list[Stop]]] = {
    "it ended well": (("completed", "end_turn"), [Stop(StopReason.END)]),
    "it ended, nobody knows why": (("completed", None), [Stop(StopReason.END)]),
    "it reached a limit": (("completed", "max_steps"), [Stop(StopReason.LIMIT)]),
    "its calls wait": (("completed", "requires_approval"), [Stop(StopReason.WAITING)]),
    "it was cancelled": (("cancelled", "cancelled"), [to_stop("cancelled")]),
    "it failed": (("failed", None), [to_stop("error")]),
    "it is under way": (("running", None), []),
}


@pytest.mark.parametrize(("state", "ends"), ENDS.values(), ids=ENDS)
async def test_an_exchange_ends_as_letta_says_of_its_run(state: tuple[str, str | None], ends: list[Stop]) -> None:
    letta = FakeLetta({RUNS: states(state), MESSAGES: [ASKED, ANSWERED]})
    (exchange,) = await letta.upstream.read_exchanges("agent-1", Conversation("conv-1"))

    assert repr(exchange.events) == repr([Text("Hello", "s1"), *ends])
    assert (exchange.asked, exchange.run_id) == (Message("user", "Hi", "gw1-a-b-c-d", "m-1"), "run-1")
    # Else an end could be told of what was not listed yet.
    assert letta.calls == [RUNS, MESSAGES]


async def test_all_runs_of_a_long_conversation_are_asked_for() -> None:
    kept = [{"id": f"run-{i}", "status": "completed", "stop_reason": "max_steps"} for i in range(FULL_PAGE + 2)]
    last = {**ANSWERED, "run_id": f"run-{FULL_PAGE + 1}"}
    letta = FakeLetta({RUNS: lambda query: after(kept, query), MESSAGES: [last]})
    (exchange,) = await letta.upstream.read_exchanges("agent-1", Conversation("conv-1"))

    assert exchange.events[-1] == Stop(StopReason.LIMIT)


async def test_a_conversation_is_renamed() -> None:
    letta = FakeLetta({"PATCH /v1/conversations/conv-1": {"id": "conv-1"}})
    await letta.upstream.rename_conversation("conv-1", "gw1:0123", hidden=True)

    assert (letta.calls, letta.body) == (["PATCH /v1/conversations/conv-1"], {"summary": "gw1:0123"})


async def test_a_conversation_is_deleted() -> None:
    letta = FakeLetta({"DELETE /v1/conversations/conv-1": None})
    await letta.upstream.delete_conversation("agent-1", "conv-1")

    assert letta.calls == ["DELETE /v1/conversations/conv-1"]


async def test_a_recompiled_conversation_tells_its_agent_s_prompt() -> None:
    letta = FakeLetta({"POST /v1/conversations/conv-1/recompile": "the system prompt"})

    assert await letta.upstream.recompile("conv-1") == "the system prompt"
    assert letta.calls == ["POST /v1/conversations/conv-1/recompile"]


CANCEL = "POST /v1/conversations/conv-1/cancel"


@pytest.mark.parametrize("answer", [{"run-1": "cancelled"}, 404, 409], ids=["cancelled", "no chat", "no run"])
async def test_a_cancel_returns_when_nothing_runs_any_more(answer: Any) -> None:
    letta = FakeLetta({CANCEL: answer})
    await letta.upstream.cancel("agent-1", "conv-1")

    assert letta.calls == [CANCEL]


@pytest.mark.parametrize("status", [400, 401, 402, 408, 422, 429, 500, 503, 504])
async def test_a_cancel_that_fails_is_told_and_not_tried_again(status: int) -> None:
    letta = FakeLetta({CANCEL: status})
    with pytest.raises(errors.UpstreamError) as raised:
        await letta.upstream.cancel("agent-1", "conv-1")

    assert not raised.value.taken
    assert letta.calls == [CANCEL]


async def test_the_models_are_listed_by_handle() -> None:
    letta = FakeLetta({"GET /v1/models/": [{"handle": "openai/gpt-4o", "name": "gpt-4o"}, {"handle": None}, {}]})

    assert await letta.upstream.list_models() == ["openai/gpt-4o"]


async def test_tools_that_letta_does_not_have_are_named() -> None:
    letta = FakeLetta({"GET /v1/tools/": TOOLS})

    assert await letta.upstream.unknown_tools(["web_search", "web_sear", "fetch"]) == ["web_sear", "fetch"]
    assert ("names", "fetch") in letta.query


async def test_health_and_an_agent_can_be_looked_at() -> None:
    letta = FakeLetta({"GET /v1/health/": {"status": "ok"}, "GET /v1/agents/agent-1": {"id": "agent-1"}})
    await letta.upstream.check_health()
    await letta.upstream.check_agent("agent-1")

    assert letta.calls == ["GET /v1/health/", "GET /v1/agents/agent-1"]


# What makes something is sent once. What does not may be sent once more: it changes nothing the second time.
Call = Callable[[RestUpstream], Awaitable[Any]]
SENT: dict[str, tuple[Call, int]] = {
    "POST /v1/agents/": (lambda letta: letta.create_agent(TEMPLATE), 1),
    "POST /v1/conversations/": (lambda letta: letta.create_conversation("agent-1", "s", []), 1),
    "POST /v1/conversations/conv-1/cancel": (lambda letta: letta.cancel("agent-1", "conv-1"), 1),
    "GET /v1/health/": (lambda letta: letta.check_health(), 1),
    "GET /v1/agents/": (lambda letta: letta.find_agents(["a"]), 2),
    "GET /v1/agents/agent-1": (lambda letta: letta.check_agent("agent-1"), 2),
    "GET /v1/conversations/": (lambda letta: letta.find_conversations("agent-1", "s"), 2),
    "GET /v1/models/": (lambda letta: letta.list_models(), 2),
    "GET /v1/tools/": (lambda letta: letta.unknown_tools(["a"]), 2),
    "POST /v1/conversations/conv-1/recompile": (lambda letta: letta.recompile("conv-1"), 2),
    MESSAGES: (lambda letta: letta.read_conversation("agent-1", Conversation("conv-1")), 2),
    "PATCH /v1/conversations/conv-1": (lambda letta: letta.rename_conversation("conv-1", "s", hidden=False), 2),
    "DELETE /v1/conversations/conv-1": (lambda letta: letta.delete_conversation("agent-1", "conv-1"), 2),
}


@pytest.mark.parametrize("call", SENT)
async def test_what_makes_something_is_sent_once(call: str) -> None:
    do, times = SENT[call]
    letta = FakeLetta({call: 500, "GET /v1/blocks/": []})
    with pytest.raises(errors.RunFailed) as raised:
        await do(letta.upstream)

    assert str(raised.value) == "HTTP 500"
    assert [made for made in letta.calls if made != "GET /v1/blocks/"] == [call] * times


# call -> an answer of a shape that nobody knows
MISSHAPEN: dict[str, tuple[Call, Any]] = {
    "GET /v1/agents/": (lambda letta: letta.find_agents(["a"]), {"agents": []}),
    "POST /v1/agents/": (lambda letta: letta.create_agent(TEMPLATE), {"agent": "agent-1"}),
    "GET /v1/agents/agent-1": (lambda letta: letta.delete_agent(Agent("agent-1")), {"blocks": "none"}),
    "GET /v1/conversations/": (lambda letta: letta.has_conversations("agent-1"), [{"id": 7}]),
    "POST /v1/conversations/": (lambda letta: letta.create_conversation("agent-1", "s", []), None),
    MESSAGES: (lambda letta: letta.read_conversation("agent-1", Conversation("conv-1")), [{"message_type": "user"}]),
    RUNS: (lambda letta: letta.read_exchanges("agent-1", Conversation("conv-1")), [{"status": "completed"}]),
    "POST /v1/conversations/conv-1/recompile": (lambda letta: letta.recompile("conv-1"), {"prompt": "You are"}),
    "GET /v1/models/": (lambda letta: letta.list_models(), ["openai/gpt-4o"]),
    "GET /v1/tools/": (lambda letta: letta.unknown_tools(["a"]), [{"name": "a"}]),
}


@pytest.mark.parametrize("call", MISSHAPEN)
async def test_an_answer_of_an_unknown_shape_is_an_error_that_tells_nothing_of_it(call: str) -> None:
    do, answer = MISSHAPEN[call]

    with pytest.raises(errors.Refused) as raised:
        await do(FakeLetta({call: answer}).upstream)
    assert str(raised.value) == "an answer of an unknown shape"


async def test_an_answer_that_is_no_json_is_an_error() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>secret</html>"))
    upstream = RestUpstream(REST, httpx.AsyncClient(transport=transport))

    with pytest.raises(errors.Refused, match="an answer of an unknown shape"):
        await upstream.find_agents(["a"])


async def test_a_closed_upstream_has_no_connections() -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=[])))
    await RestUpstream(REST, client).aclose()

    assert client.is_closed


async def test_without_a_client_of_its_own_it_takes_letta_client_s() -> None:
    upstream = RestUpstream(Letta(base_url="http://127.0.0.1:9"))

    with pytest.raises(errors.Unreachable):
        await upstream.check_health()
    await upstream.aclose()
