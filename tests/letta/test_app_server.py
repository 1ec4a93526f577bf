"""The upstream over an App Server, in front of one that does what a real one does rarely, or never should."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest

from gateway.letta import app_server, errors
from gateway.letta.app_server import AppServerUpstream
from gateway.letta.events import PING, Event
from gateway.letta.transcript import CLIENT_REMINDER, EARLIER_REMINDER, FORMAT, folder_of
from gateway.letta.upstream import Agent, Conversation, Message, Template
from gateway.settings import Secret
from tests.letta.fake_app_server import WELL, Answer, FakeAppServer, Frame, status, upstream_of, word

pytestmark = pytest.mark.anyio

KIND, HI = Message("system", "Be kind"), Message("user", "Hi")
HELLO, MORE = Message("assistant", "Hello"), Message("user", "More")
RUNTIME = {"agent_id": "agent-1", "conversation_id": "conv-1"}
DEVICE: Frame = {
    "type": "update_device_status",
    "device_status": {"memory_directory": "/srv/backend/memfs/agent-1/memory"},
}
FOLDER = str(folder_of("/srv/backend", "conv-1"))
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


async def run(
    upstream: AppServerUpstream, messages: list[Message], tools: tuple[str, ...] = (), conversation: str = "conv-1"
) -> list[Event]:
    async with upstream.run("agent-1", conversation, messages, tools) as batches:
        return [event async for batch in batches for event in batch if event.message_type != PING]


async def heard(batches: AsyncGenerator[list[Event], None]) -> list[Event]:
    """The next that is said: a ping says nothing."""
    async for batch in batches:
        if batch[0].message_type != PING:
            return batch
    raise AssertionError("the turn is over")


def texts(sent: Frame) -> list[list[str]]:
    return [[part["text"] for part in message["content"]] for message in sent["payload"]["messages"]]


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
    """An agent as the App Server tells of it: with tags of its own, and without what it does not keep."""
    return {"id": "agent-1", "tags": [*body["tags"], "git-memory-enabled"], "name": body.get("name")}


async def test_an_agent_keeps_its_date_and_metadata_in_its_tags(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers["agent_create"] = lambda request: {"success": True, "agent": made(request["body"])}
    began = datetime.now(UTC)
    agent = await upstream.create_agent(TEMPLATE)
    body = server.sent("agent_create")[0]["body"]
    server.answers["agent_list"] = {"success": True, "agents": [made(body)]}

    assert agent.created_at is not None
    assert began <= agent.created_at <= datetime.now(UTC)
    assert (agent.id, agent.metadata) == ("agent-1", TEMPLATE.metadata)
    assert set(TEMPLATE.tags) <= set(agent.tags)
    assert await upstream.find_agents(TEMPLATE.tags) == [agent]
    assert server.sent("agent_list")[0]["query"] == {"tags": list(TEMPLATE.tags), "limit": 100}
    assert body["memory_blocks"] == [{"label": "persona", "value": "Patient."}, {"label": "human", "value": "Ada"}]
    assert (body["name"], body["model"], body["system"]) == ("tutor-0123", "m/one", "You teach.")


async def test_an_agent_s_reflection_is_switched_off_before_anybody_has_it(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers["agent_create"] = lambda request: {"success": True, "agent": made(request["body"])}
    await upstream.create_agent(TEMPLATE)
    (sent,) = server.sent("set_reflection_settings")

    assert (sent["runtime"]["agent_id"], sent["settings"]["trigger"]) == ("agent-1", "off")


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
    with pytest.raises(errors.Refused, match="without what was asked for"):
        await upstream.create_conversation("agent-1", "s", [])


# Turns


async def test_a_turn_says_what_the_agent_says(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = [word("Hel"), word("lo"), *WELL]
    events = await run(upstream, [KIND, HI], ("Skill",))
    (sent,) = server.sent("input")

    assert [(event.message_type, event.text or event.stop_reason) for event in events] == [
        ("assistant_message", "Hel"),
        ("assistant_message", "lo"),
        ("stop_reason", "end_turn"),
    ]
    assert texts(sent) == [[f"{CLIENT_REMINDER}Be kind\n</system-reminder>", "Hi"]]
    assert sent["runtime"] == RUNTIME
    assert sent["payload"]["client_toolset"] == {"base": "none", "include": ["Skill"]}
    assert set(sent["payload"]["client_tool_allowlist"]) == {"Skill", "memory_insert", "memory_replace"}


async def test_a_turn_whose_model_says_nothing_has_begun(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = []
    async with upstream.run("agent-1", "conv-1", [HI], ()) as batches:
        await server.send(status("SENDING_API_REQUEST") | {"runtime": RUNTIME})
        await server.send(status("WAITING_FOR_API_RESPONSE") | {"runtime": RUNTIME})

        assert [event.message_type for event in await anext(batches)] == [PING]


async def test_a_conversation_is_subscribed_once_for_every_connection(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    for _ in range(2):
        await run(upstream, [HI])
    server.cut()
    await server.connected(2)
    await run(upstream, [HI])

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
    running = [asyncio.create_task(run(upstream, [HI], conversation=name)) for name in ("conv-1", "conv-2")]
    await server.arrived("input", 2)
    for sent in server.sent("input"):
        await server.play(sent, word(f"I am {sent['runtime']['conversation_id']}"), *WELL)

    assert [events[0].text for events in await asyncio.gather(*running)] == ["I am conv-1", "I am conv-2"]


async def test_a_connection_that_breaks_within_a_turn_breaks_the_turn(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [word("Hel")]
    async with upstream.run("agent-1", "conv-1", [HI], ()) as batches:
        assert [event.text for event in await heard(batches)] == ["Hel"]
        server.cut()
        with pytest.raises(errors.BrokenStream) as raised:
            await heard(batches)

    assert raised.value.taken


async def test_a_turn_that_failed_tells_what_came_before(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    failed: Frame = {"type": "turn_finished", "stop_reason": "error", "error": "429: slow down"}
    server.turn = [word("Hel"), failed]
    async with upstream.run("agent-1", "conv-1", [HI], ()) as batches:
        assert [event.text for event in await heard(batches)] == ["Hel"]
        with pytest.raises(errors.RateLimited):
            await heard(batches)


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
        await run(upstream, [HI])

    assert (type(raised.value), raised.value.taken) == (kind, False)


async def test_a_message_without_an_answer_may_have_been_taken(server: FakeAppServer) -> None:
    server.answers["input"] = None
    upstream = upstream_of(server, request_seconds=0.05)
    with pytest.raises(errors.TimedOut) as raised:
        await run(upstream, [HI])
    await upstream.aclose()

    assert raised.value.taken


async def test_a_message_on_a_connection_that_breaks_may_have_been_taken(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers["input"] = None
    running = asyncio.create_task(run(upstream, [HI]))
    await server.arrived("input")
    server.cut()
    with pytest.raises(errors.BrokenStream) as raised:
        await running

    assert raised.value.taken


async def test_a_turn_that_could_not_begin_is_not_taken(server: FakeAppServer) -> None:
    server.answers["runtime_start"] = None
    upstream = upstream_of(server, request_seconds=0.05)
    with pytest.raises(errors.TimedOut) as raised:
        await run(upstream, [HI])
    await upstream.aclose()

    assert not raised.value.taken
    assert server.sent("input") == []


async def queue(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch, loop_status: str
) -> tuple[asyncio.Task[list[Event]], Frame]:
    """A turn that is queued while the loop says what it does; gives the turn, and what it sent."""
    monkeypatch.setattr(app_server, "STUCK_SECONDS", 0.01)
    server.answers["input"] = {"accepted": True, "disposition": "queued"}
    server.turn = []
    running = asyncio.create_task(run(upstream, [HI]))
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
    assert (await running)[0].text == "Hello"
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


async def test_what_needs_an_approval_is_denied(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await upstream.list_models()
    asked = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "true"}}
    await server.send({"type": "control_request", "request_id": "perm-1", "request": asked, **RUNTIME})
    sent = await server.arrived("input")

    assert sent["runtime"] == RUNTIME
    assert sent["payload"] == {
        "kind": "approval_response",
        "request_id": "perm-1",
        "decision": {"behavior": "deny", "message": "This tool is not available."},
    }


# Conversations


def listing(*messages: tuple[str, str, str | None]) -> Frame:
    """A listing, the newest first: id, type and client id of each message."""
    told = [{"id": id, "message_type": kind, "otid": otid} for id, kind, otid in messages]
    return {"success": True, "messages": told}


ANSWERED = listing(("ui-2", "assistant_message", None), ("ui-1", "user_message", "other"))


async def test_a_conversation_with_turns_is_resumed_as_it_is(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers["conversation_messages_list"] = ANSWERED
    found = Conversation("conv-1", summary="gw1:0123")
    resumed = await upstream.resume_conversation("agent-1", found, [HI, HELLO])

    assert (resumed.id, resumed.summary, resumed.has_turns) == ("conv-1", "gw1:0123", True)
    assert [frame["type"] for frame in server.received] == ["list_models", "conversation_messages_list"]


async def test_after_a_failed_turn_the_chat_goes_on_in_a_fork_that_shows_nothing_of_it(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [word("Hel"), {"type": "turn_finished", "stop_reason": "cancelled"}]
    await run(upstream, [HI])
    mine = server.sent("input")[0]["payload"]["messages"][0]["client_message_id"]
    server.answers["conversation_messages_list"] = listing(
        ("ui-4", "assistant_message", None),
        ("ui-3", "user_message", mine),
        ("ui-2", "assistant_message", None),
        ("ui-1", "user_message", "other"),
    )
    server.answers["conversation_fork"] = {"success": True, "conversation": {"id": "conv-2"}}
    found = Conversation("conv-1", summary="gw1:0123")
    resumed = await upstream.resume_conversation("agent-1", found, [])

    assert (resumed.id, resumed.has_turns) == ("conv-2", True)
    (fork,), (update,) = server.sent("conversation_fork"), server.sent("conversation_update")
    assert (fork["conversation_id"], fork["body"]) == ("conv-1", {"message_id": "ui-2"})
    assert (update["conversation_id"], update["body"]) == (
        "conv-1",
        {"summary": "gw1:0123 (replaced)", "hidden": True},
    )


async def test_after_a_failed_first_turn_the_chat_begins_again(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [{"type": "turn_finished", "stop_reason": "error", "error": "500: no"}]
    with pytest.raises(errors.ModelFailed):
        await run(upstream, [HI])
    server.answers["conversation_messages_list"] = listing(("ui-1", "user_message", "x"))
    server.answers["conversation_create"] = {"success": True, "conversation": {"id": "conv-2", "summary": "gw1:0123"}}
    resumed = await upstream.resume_conversation("agent-1", Conversation("conv-1", summary="gw1:0123"), [])

    assert (resumed.id, resumed.has_turns) == ("conv-2", False)
    assert server.sent("conversation_create")[0]["body"] == {"agent_id": "agent-1", "summary": "gw1:0123"}
    assert server.sent("conversation_fork") == []


async def test_after_being_stuck_the_chat_goes_on_in_a_fork(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_server, "STUCK_SECONDS", 0.01)
    server.answers["input"] = {"accepted": True, "disposition": "queued"}
    server.before["input"] = [status("WAITING_ON_INPUT") | {"runtime": RUNTIME}]
    server.turn = []
    with pytest.raises(errors.Stuck):
        await run(upstream, [HI])
    server.answers["conversation_messages_list"] = listing(
        ("ui-4", "tool_call_message", None),
        ("ui-3", "user_message", "somebody's"),
        ("ui-2", "assistant_message", None),
        ("ui-1", "user_message", "other"),
    )
    server.answers["conversation_fork"] = {"success": True, "conversation": {"id": "conv-2"}}
    await upstream.resume_conversation("agent-1", Conversation("conv-1", summary="s"), [])

    assert [frame["body"] for frame in server.sent("conversation_fork")] == [{"message_id": "ui-2"}]


async def test_after_a_turn_that_ended_well_nothing_is_replaced(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    await run(upstream, [HI])
    server.answers["conversation_messages_list"] = ANSWERED
    resumed = await upstream.resume_conversation("agent-1", Conversation("conv-1", summary="s"), [])

    assert resumed.id == "conv-1"


# The past of a chat


def keep_files(server: FakeAppServer, manifest: Frame | None, *, listed: bool = True) -> dict[str, str]:
    """Let `server` make a conversation and keep its files; gives them."""
    kept = {"id": "conv-1", "agent_id": "agent-1", "in_context_message_ids": []}
    files = {f"{FOLDER}/conversation.json": json.dumps(kept)}
    if manifest is not None:
        files[f"{FOLDER}/manifest.json"] = json.dumps(manifest)

    def read(request: Frame) -> Frame:
        found = files.get(request["path"])
        return {"success": found is not None, "content": found, "error": None if found else "secret"}

    def write(request: Frame) -> Frame:
        files[request["path"]] = request["content"]
        return {"success": True}

    server.answers |= {
        "conversation_create": {"success": True, "conversation": {"id": "conv-1", "summary": "s"}},
        "conversation_messages_list": ANSWERED if listed else listing(),
        "read_file": read,
        "write_file": write,
    }
    server.before["runtime_start"] = [DEVICE]
    return files


async def test_a_past_is_put_into_the_files_of_a_fresh_conversation(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    files = keep_files(server, FORMAT)
    conversation = await upstream.create_conversation("agent-1", "s", [HI, HELLO])
    messages = [json.loads(line) for line in files[f"{FOLDER}/messages.jsonl"].splitlines()]

    assert conversation == Conversation("conv-1", summary="s", has_turns=True)
    assert [entry["message"]["role"] for entry in messages[1:]] == ["user", "assistant"]
    assert json.loads(files[f"{FOLDER}/conversation.json"])["in_context_message_ids"] == ["ui-imp-0", "ui-imp-1"]


async def test_a_past_is_put_into_a_conversation_that_was_found_without_turns(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    files = keep_files(server, FORMAT)
    answers = iter([listing(), ANSWERED])
    server.answers["conversation_messages_list"] = lambda _: next(answers)
    resumed = await upstream.resume_conversation("agent-1", Conversation("conv-1"), [HI, HELLO])

    assert resumed.has_turns
    assert f"{FOLDER}/messages.jsonl" in files


async def test_without_a_past_nothing_is_written(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    keep_files(server, FORMAT)
    conversation = await upstream.create_conversation("agent-1", "s", [])

    assert not conversation.has_turns
    assert server.sent("read_file", "write_file", "runtime_start") == []


UNKNOWN: dict[str, Frame | None] = {
    "a later version": {**FORMAT, "schema_version": 3},
    "another format": {},
    "no manifest": None,
}


@pytest.mark.parametrize("manifest", UNKNOWN.values(), ids=UNKNOWN)
async def test_in_an_unknown_format_nothing_is_written_and_the_past_is_told_in_words(
    server: FakeAppServer, upstream: AppServerUpstream, caplog: pytest.LogCaptureFixture, manifest: Frame | None
) -> None:
    keep_files(server, manifest)
    with caplog.at_level(logging.WARNING):
        conversation = await upstream.create_conversation("agent-1", "s", [HI, HELLO])
    await run(upstream, [HI, HELLO, MORE])

    assert not conversation.has_turns
    assert server.sent("write_file") == []
    assert texts(server.sent("input")[0]) == [
        [f"{EARLIER_REMINDER}user: Hi\n\nassistant: Hello\n</system-reminder>", "More"]
    ]
    assert "a chat's past is told in words" in caplog.text


KEPT_OTHERWISE: dict[str, str] = {"nothing": "", "no JSON": "garbage", "no names": "{}", "a list": "[]"}


@pytest.mark.parametrize("kept", KEPT_OTHERWISE.values(), ids=KEPT_OTHERWISE)
async def test_a_conversation_that_is_kept_otherwise_is_left_as_it_is(
    server: FakeAppServer, upstream: AppServerUpstream, kept: str
) -> None:
    files = keep_files(server, FORMAT)
    files[f"{FOLDER}/conversation.json"] = kept
    conversation = await upstream.create_conversation("agent-1", "s", [HI, HELLO])

    assert not conversation.has_turns
    assert server.sent("write_file") == []


@pytest.mark.parametrize("directory", [None, "/srv/elsewhere"], ids=["not told", "laid out otherwise"])
async def test_without_a_place_for_the_files_the_past_is_told_in_words(
    server: FakeAppServer, upstream: AppServerUpstream, directory: str | None
) -> None:
    keep_files(server, FORMAT)
    server.before["runtime_start"] = [{**DEVICE, "device_status": {"memory_directory": directory}}]
    conversation = await upstream.create_conversation("agent-1", "s", [HI, HELLO])

    assert not conversation.has_turns
    assert server.sent("read_file", "write_file") == []


async def test_the_place_of_the_files_is_asked_for_once(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    keep_files(server, FORMAT)
    for _ in range(2):
        await upstream.create_conversation("agent-1", "s", [HI, HELLO])

    assert len(server.sent("runtime_start")) == 1


async def test_a_past_that_is_written_and_not_found_again_is_an_error(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    keep_files(server, FORMAT, listed=False)

    with pytest.raises(errors.Refused, match="not found again"):
        await upstream.create_conversation("agent-1", "s", [HI, HELLO])
