"""The upstream over an App Server, in front of one that does what a real one does rarely, or never should."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest

from gateway.domain import errors
from gateway.domain.events import PING, Event
from gateway.domain.messages import Message
from gateway.letta.app_server import turns
from gateway.letta.app_server.frames import SEES_MARK
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.upstream import Agent, Instructions, Sending, Template
from gateway.settings import Secret
from tests import events as e
from tests.following import following
from tests.letta.app_server.upstreams import run, upstream_of
from tests.letta.words import HELLO, HI, MORE, client_note, earlier, texts
from tests.servers.fake_app_server import RUNTIME, WELL, Answer, FakeAppServer, Frame, status, word

pytestmark = pytest.mark.anyio

TEMPLATE = Template(
    model="m/one",
    tags=("gateway", "tutor", "gw-user:0123"),
    name="tutor-0123",
    system="You teach.",
    tools=("Skill",),
    blocks={"persona": "Patient.", "human": "Ada"},
    embedding=None,
    metadata={"letta_gateway": {"template": "0123", "tools": ["Skill"]}},
)


async def heard(batches: AsyncGenerator[list[Event], None]) -> list[Event]:
    """The next that is said: a ping says nothing."""
    async for batch in batches:
        if batch[0] != PING:
            return batch
    raise AssertionError("the turn is over")


def told(sent: Frame) -> list[list[str]]:
    """The text parts of each message of an input."""
    return [texts(message) for message in sent["payload"]["messages"]]


# Who it is


async def test_an_app_server_of_the_known_version_is_well(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.answers["app_server_info"] = {"success": True, "protocol_version": 1}

    await upstream.check_health()


@pytest.mark.parametrize("version", [0, 2])
async def test_an_app_server_of_another_version_is_refused_and_named(
    server: FakeAppServer, upstream: AppServerUpstream, version: int
) -> None:
    server.answers["app_server_info"] = {"success": True, "protocol_version": version}

    with pytest.raises(errors.Refused, match=f"protocol_version {version}, not 1"):
        await upstream.check_health()


# An agent's model -> what the App Server lists, first and then; whether it is shown pictures, how often it lists
SIGHTS: dict[str, tuple[str, list[list[str]], bool, int]] = {
    "another provider's": ("anthropic/claude", [[]], True, 1),
    "a compatible one's": ("openai-compatible/one", [["one"], ["one"]], False, 2),
    "one's that sees": ("openai-compatible/one", [[f"one{SEES_MARK}"]], True, 1),
    "one's that sees by now": ("openai-compatible/one", [[], [f"one{SEES_MARK}"]], True, 2),
    "one's beside another that sees": ("openai-compatible/one", [["one", f"two{SEES_MARK}"]] * 2, False, 2),
}


@pytest.mark.parametrize(("model", "listings", "sees", "times"), SIGHTS.values(), ids=SIGHTS)
async def test_a_model_of_a_compatible_provider_sees_only_if_it_is_listed_so(
    server: FakeAppServer,
    upstream: AppServerUpstream,
    model: str,
    listings: list[list[str]],
    sees: bool,
    times: int,
) -> None:
    left = list(listings)

    def listing(_: Frame) -> Frame:
        entries = [
            {"handle": f"openai-compatible/{label.removesuffix(SEES_MARK)}", "label": label} for label in left.pop(0)
        ]
        return {"success": True, "entries": entries}

    server.answers["list_models"] = listing
    server.answers["agent_retrieve"] = {"success": True, "agent": {"id": "agent-1", "model": model}}

    assert await upstream.sees("agent-1") is sees
    assert len(server.sent("list_models")) == times


async def test_it_is_found_below_ws_and_shown_the_key(server: FakeAppServer) -> None:
    server.token = "sk-let"
    upstream = upstream_of(server, base_url=server.url.removesuffix("/ws") + "/", api_key=Secret("sk-let"))
    server.answers["list_models"] = {"success": True, "entries": [{"handle": "m/one"}, {"handle": "m/two", "x": 1}]}

    assert await upstream.list_models() == ["m/one", "m/two"]
    await upstream.aclose()


async def test_the_models_are_loaded_on_every_connection_before_anything_is_asked(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await upstream.check_agent("agent-1")
    server.cut()
    await server.arrived("list_models", 2)
    await upstream.check_agent("agent-1")

    assert [frame["type"] for frame in server.received] == ["list_models", "agent_retrieve"] * 2


async def test_models_that_cannot_be_listed_stop_nobody(
    server: FakeAppServer, upstream: AppServerUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["list_models"] = {"success": False, "error": "secret"}
    with caplog.at_level(logging.WARNING):
        await upstream.check_agent("agent-1")

    assert [record.getMessage() for record in caplog.records] == [
        "the App Server cannot list its models: list_models was refused"
    ]


async def test_an_agent_is_looked_at(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await upstream.check_agent("agent-1")
    server.answers["agent_retrieve"] = {"success": False, "error": "Agent agent-2 not found"}

    with pytest.raises(errors.NotFound):
        await upstream.check_agent("agent-2")
    assert [frame["agent_id"] for frame in server.sent("agent_retrieve")] == ["agent-1", "agent-2"]


async def test_tools_that_no_app_server_has_are_named(upstream: AppServerUpstream) -> None:
    assert await upstream.unknown_tools(["Skill", "web_search", "skill"]) == ["web_search", "skill"]


# Agents


def made(body: Frame) -> Frame:
    """An agent as the App Server tells of it: without what it does not keep."""
    return {"id": "agent-1", "tags": body.get("tags", []), "name": body.get("name")}


def makes_agents(server: FakeAppServer) -> None:
    server.answers["agent_update"] = lambda sent: {"success": True, "agent": made(sent["body"])}
    server.answers["agent_create"] = lambda sent: {
        "success": True,
        "agent": made({**sent["body"], "tags": [*sent["body"]["tags"], "git-memory-enabled"]}),
    }


async def test_an_agent_keeps_its_date_and_metadata_in_its_tags(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    makes_agents(server)
    began = datetime.now(UTC)
    agent = await upstream.create_agent(TEMPLATE)
    body, tagged = (server.sent(request)[0]["body"] for request in ("agent_create", "agent_update"))
    server.answers["agent_list"] = {"success": True, "agents": [made(tagged)]}

    assert agent.created_at is not None
    assert began <= agent.created_at <= datetime.now(UTC)
    assert (agent.id, agent.metadata) == ("agent-1", TEMPLATE.metadata)
    assert {*TEMPLATE.tags, "git-memory-enabled"} <= set(agent.tags)
    assert await upstream.find_agents(TEMPLATE.tags) == [agent]
    assert server.sent("agent_list")[0]["query"] == {"tags": list(TEMPLATE.tags), "limit": 100}
    assert body["memory_blocks"] == [{"label": "persona", "value": "Patient."}, {"label": "human", "value": "Ada"}]
    assert (body["name"], body["model"], body["system"]) == ("tutor-0123", "m/one", "You teach.")


async def test_an_agent_is_found_by_others_only_once_it_is_whole_and_its_reflection_is_off(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    makes_agents(server)
    await upstream.create_agent(TEMPLATE)
    made, switched, tagged = server.sent("agent_create", "set_reflection_settings", "agent_update")

    (making,) = made["body"]["tags"]
    assert making.startswith("gw-making:")
    assert making not in tagged["body"]["tags"]
    assert (switched["runtime"]["agent_id"], switched["settings"]["trigger"]) == ("agent-1", "off")
    assert tagged["type"] == "agent_update"


NO: Frame = {"success": False, "error": "no"}


@pytest.mark.parametrize("refused", ["agent_create", "set_reflection_settings", "agent_update"])
async def test_what_is_left_of_an_agent_that_did_not_become_whole_is_taken_away(
    server: FakeAppServer, upstream: AppServerUpstream, refused: str
) -> None:
    makes_agents(server)
    server.answers[refused] = NO
    server.answers["agent_list"] = {"success": True, "agents": [made({})]}
    with pytest.raises(errors.Refused, match=refused):
        await upstream.create_agent(TEMPLATE)
    created, listed, deleted = server.sent("agent_create", "agent_list", "agent_delete")

    assert listed["query"]["tags"] == created["body"]["tags"]
    assert deleted["agent_id"] == "agent-1"


@pytest.mark.parametrize("also", ["agent_list", "agent_delete"])
async def test_what_cannot_be_taken_away_either_does_not_hide_why(
    server: FakeAppServer, upstream: AppServerUpstream, also: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["agent_list"] = {"success": True, "agents": [made({})]}
    server.answers |= {"agent_create": NO, also: NO}
    with pytest.raises(errors.Refused, match="agent_create"):
        await upstream.create_agent(TEMPLATE)

    assert "what is left of an agent stays" in caplog.text


TAGS: dict[str, list[str]] = {
    "of no gateway": ["origin:letta-code"],
    "none": [],
    "a date that is none": ["gw-created:yesterday"],
    "metadata that is none": ["gw-metadata:{"],
    "a good date and metadata that is none": ["gw-created:2026-01-01T00:00:00+00:00", "gw-metadata:"],
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
async def test_tags_that_somebody_has_changed_tell_nothing(
    server: FakeAppServer, upstream: AppServerUpstream, tags: list[str]
) -> None:
    server.answers["agent_list"] = {"success": True, "agents": [{"id": "agent-1", "tags": tags}]}
    (agent,) = await upstream.find_agents(["gateway"])

    assert (agent.id, agent.tags, agent.metadata) == ("agent-1", tuple(tags), None)


async def test_a_template_is_applied_and_takes_the_place_of_the_one_before(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    before = ("gateway", "gw-created:2026-01-01T00:00:00+00:00", 'gw-metadata:{"old":1}', "mine")
    await upstream.apply_template(Agent("agent-1", tags=before), TEMPLATE, ["Task"])
    (sent,) = server.sent("agent_update")

    assert sent["agent_id"] == "agent-1"
    *others, metadata = sent["body"].pop("tags")
    assert others == ["gateway", "gw-created:2026-01-01T00:00:00+00:00", "mine"]
    assert json.loads(metadata.removeprefix("gw-metadata:")) == TEMPLATE.metadata
    assert sent["body"] == {"model": "m/one", "system": "You teach."}


async def test_an_answer_without_what_was_asked_for_is_refused(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    with pytest.raises(errors.Refused, match="without what was asked for"):
        await upstream.create_agent(TEMPLATE)
    with pytest.raises(errors.Refused, match="without the conversation that was asked for"):
        await upstream.create_conversation("agent-1", "s", [])


# Turns


async def test_a_turn_says_what_the_agent_says(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = [word("Hel"), word("lo"), *WELL]
    events = await run(upstream, Sending([HI]), ("Skill",))
    (sent,) = server.sent("input")

    assert events == [e.answer("Hel", "run-1"), e.answer("lo", "run-1"), e.stop("end_turn")]
    assert told(sent) == [["Hi"]]
    assert sent["runtime"] == RUNTIME
    assert sent["payload"]["client_toolset"] == {"base": "none", "include": ["Skill"]}
    assert set(sent["payload"]["client_tool_allowlist"]) == {"Skill", "memory_insert", "memory_replace"}


async def test_a_turn_whose_model_says_nothing_has_begun(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = []
    async with following(upstream, "agent-1", "conv-1", Sending([HI])) as batches:
        await server.arrived("input")
        await server.send(status("SENDING_API_REQUEST") | {"runtime": RUNTIME})
        await server.send(status("WAITING_FOR_API_RESPONSE") | {"runtime": RUNTIME})

        assert await anext(batches) == [PING]


async def test_a_conversation_is_subscribed_once_for_every_connection(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    for _ in range(2):
        await run(upstream, Sending([HI]))
    server.cut()
    await server.connected(2)
    await run(upstream, Sending([HI]))

    assert [frame["type"] for frame in server.sent("runtime_start", "input")] == [
        "runtime_start",
        "input",
        "input",
        "runtime_start",
        "input",
    ]
    (tools,) = server.sent("runtime_start")[0]["external_tools"]
    assert [(tool["name"], tool["auto_background"]) for tool in tools["tools"]] == [
        ("memory_insert", False),
        ("memory_replace", False),
    ]


async def test_two_conversations_speak_at_once_and_hear_themselves(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = []
    running = [asyncio.create_task(run(upstream, Sending([HI]), conversation=name)) for name in ("conv-1", "conv-2")]
    await server.arrived("input", 2)
    for sent in server.sent("input"):
        await server.play(sent, word(f"I am {sent['runtime']['conversation_id']}"), *WELL)

    assert [e.text_in(events) for events in await asyncio.gather(*running)] == ["I am conv-1", "I am conv-2"]


async def test_a_connection_that_breaks_within_a_turn_breaks_the_turn(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [word("Hel")]
    async with following(upstream, "agent-1", "conv-1", Sending([HI])) as batches:
        assert await heard(batches) == [e.answer("Hel", "run-1")]
        server.cut()
        with pytest.raises(errors.BrokenStream) as raised:
            await heard(batches)

    assert raised.value.taken


async def test_a_turn_that_failed_tells_what_came_before(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    failed: Frame = {"type": "turn_finished", "stop_reason": "error", "error": "429: slow down"}
    server.turn = [word("Hel"), failed]
    async with following(upstream, "agent-1", "conv-1", Sending([HI])) as batches:
        assert await heard(batches) == [e.answer("Hel", "run-1")]
        with pytest.raises(errors.RateLimited):
            await heard(batches)


# what is sent -> the text parts of each message
SENT: dict[str, tuple[Sending, list[list[str]]]] = {
    "a client's text that was not told yet": (
        Sending([HI], Instructions("Be kind", sent_before="Be brief")),
        [[client_note("Be kind"), "Hi"]],
    ),
    "a client's text that was told": (Sending([HI], Instructions("Be kind", sent_before="Be kind")), [["Hi"]]),
    "a past that is in no file": (
        Sending([HI, HELLO, MORE]),
        [[earlier(("user", "Hi"), ("assistant", "Hello")), "More"]],
    ),
    "a question without an answer, and another": (Sending([HI, MORE]), [["Hi"], ["More"]]),
    "calls that wait, of which it has none": (Sending([HI], denied=("call-1",)), [["Hi"]]),
}


@pytest.mark.parametrize(("sending", "parts"), SENT.values(), ids=SENT)
async def test_a_turn_is_told_in_users_messages(
    server: FakeAppServer, upstream: AppServerUpstream, sending: Sending, parts: list[list[str]]
) -> None:
    await run(upstream, sending)

    assert [told(sent) for sent in server.sent("input")] == [parts]


async def test_a_message_is_known_by_its_client_id(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await run(upstream, Sending([Message("user", "Hi", "gw1-a-b-c-d")]))
    ((message,),) = [sent["payload"]["messages"] for sent in server.sent("input")]

    assert message["client_message_id"] == "gw1-a-b-c-d"


async def test_a_recompiled_conversation_tells_no_prompt(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    assert await upstream.recompile("conv-1") == ""
    assert [frame["conversation_id"] for frame in server.sent("conversation_recompile")] == ["conv-1"]


NOT_TAKEN: dict[str, tuple[str, Answer, type[errors.UpstreamError]]] = {
    "the conversation is gone": (
        "runtime_start",
        {"success": False, "error": "Conversation conv-1 not found"},
        errors.NotFound,
    ),
    "the conversation is refused": ("runtime_start", {"success": False, "error": "no"}, errors.Refused),
    "the message is refused": ("input", {"accepted": False, "error": "no"}, errors.Refused),
}


@pytest.mark.parametrize(("request_", "answer", "kind"), NOT_TAKEN.values(), ids=NOT_TAKEN)
async def test_a_turn_that_is_refused_is_not_taken(
    server: FakeAppServer, upstream: AppServerUpstream, request_: str, answer: Answer, kind: type[errors.UpstreamError]
) -> None:
    server.answers[request_] = answer
    with pytest.raises(errors.UpstreamError) as raised:
        await run(upstream, Sending([HI]))

    assert (type(raised.value), raised.value.taken) == (kind, False)


async def test_a_message_without_an_answer_may_have_been_taken(server: FakeAppServer) -> None:
    server.answers["input"] = None
    upstream = upstream_of(server, request_seconds=0.05)
    with pytest.raises(errors.TimedOut) as raised:
        await run(upstream, Sending([HI]))
    await upstream.aclose()

    assert raised.value.taken


async def test_a_message_on_a_connection_that_breaks_may_have_been_taken(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers["input"] = None
    running = asyncio.create_task(run(upstream, Sending([HI])))
    await server.arrived("input")
    server.cut()
    with pytest.raises(errors.BrokenStream) as raised:
        await running

    assert raised.value.taken


async def test_a_turn_that_could_not_begin_is_not_taken(server: FakeAppServer) -> None:
    server.answers["runtime_start"] = None
    upstream = upstream_of(server, request_seconds=0.05)
    with pytest.raises(errors.TimedOut) as raised:
        await run(upstream, Sending([HI]))
    await upstream.aclose()

    assert not raised.value.taken
    assert server.sent("input") == []


async def queue(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch, loop_status: str
) -> tuple[asyncio.Task[list[Event]], Frame]:
    """A turn that is queued while the loop says what it does; gives the turn, and what it sent."""
    monkeypatch.setattr(turns, "STUCK_SECONDS", 0.01)
    server.answers["input"] = {"accepted": True, "disposition": "queued"}
    server.turn = []
    running = asyncio.create_task(run(upstream, Sending([HI])))
    sent = await server.arrived("input")
    await server.send(status(loop_status) | {"runtime": RUNTIME})
    return running, sent


async def test_a_turn_may_wait_behind_one_that_works(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, sent = await queue(server, upstream, monkeypatch, "PROCESSING_API_RESPONSE")
    await asyncio.wait([running], timeout=0.05)  # several looks at the queue
    assert not running.done()

    await server.play(sent, word("Hello"), *WELL)
    assert e.text_in(await running) == "Hello"
    assert server.sent("abort_message") == []


async def test_a_turn_that_waits_behind_one_that_does_nothing_is_stuck_and_taken_back(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _ = await queue(server, upstream, monkeypatch, "WAITING_ON_INPUT")

    with pytest.raises(errors.Stuck) as raised:
        await running
    assert not raised.value.taken
    assert [frame["runtime"] for frame in server.sent("abort_message")] == [RUNTIME]


async def test_a_cancel_aborts_and_waits_for_nothing_more(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await upstream.cancel("agent-1", "conv-1")

    assert [frame["runtime"] for frame in server.sent("abort_message")] == [RUNTIME]


async def test_what_needs_an_approval_and_was_not_allowed_with_the_turn_is_denied(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [word("Hm.")]
    async with following(upstream, "agent-1", "conv-1", Sending([HI])) as batches:
        while not e.text_in(await anext(batches)):
            pass
        asked = {"subtype": "can_use_tool", "tool_name": "Bash", "tool_call_id": "call-1", "input": {"command": "true"}}
        await server.send({"type": "control_request", "request_id": "perm-1", "request": asked, **RUNTIME})
        sent = await server.arrived("input", 2)

    assert sent["runtime"] == RUNTIME
    assert sent["payload"] == {
        "kind": "approval_response",
        "request_id": "perm-1",
        "decision": {"behavior": "deny", "message": "This tool is not available."},
    }
