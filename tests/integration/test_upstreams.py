"""The `Upstream` protocol itself, against each kind of a real Letta, proven by what the model received."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateway.domain import errors
from gateway.domain.events import (
    Event,
    Failure,
    SignOfLife,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
)
from gateway.domain.messages import Message
from gateway.letta.upstream import (
    NO_INSTRUCTIONS,
    Agent,
    Conversation,
    Fork,
    Instructions,
    Past,
    Sending,
    Template,
    Upstream,
)
from tests.following import following
from tests.servers.app_server import AppServer
from tests.servers.real_letta import RealLetta, upstream_to
from tests.servers.scripted_model import INTRODUCTION, THOUGHT, ScriptedModel

pytestmark = pytest.mark.anyio

FIRST = f"{INTRODUCTION}You said: "
MARKER = "gw1:0123456789abcdef0123456789abcdef"
NOBODY = {"v1": "agent-00000000-0000-4000-8000-000000000000", "app-server": "agent-local-none"}
NOTHING = {"v1": "conv-00000000-0000-4000-8000-000000000000", "app-server": "local-conv-none"}


@pytest.fixture
async def upstream(letta: RealLetta) -> AsyncIterator[Upstream]:
    async with started(letta) as upstream:
        yield upstream


@asynccontextmanager
async def started(letta: RealLetta) -> AsyncIterator[Upstream]:
    """A way of its own to `letta`, as another process of the gateway has one."""
    upstream = upstream_to(letta)
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.aclose()


def template(letta: RealLetta, **changes: object) -> Template:
    plain = Template(
        model=letta.model,
        tags=("gateway", f"gw-user:{uuid.uuid4().hex}"),
        name="tutor-0123",
        system="You are a tutor.",
        tools=(),
        blocks={"human": "She likes tea."},
        embedding=None,
        metadata={"letta_gateway": {"template": "0123", "tools": []}},
    )
    return msgspec.structs.replace(plain, **changes)


async def chat_of(upstream: Upstream, letta: RealLetta, *history: Message) -> tuple[Agent, Conversation]:
    """An agent of its own, and a conversation with it."""
    agent = await upstream.create_agent(template(letta))
    return agent, await upstream.create_conversation(agent.id, MARKER, list(history))


async def tell(
    upstream: Upstream,
    agent: Agent,
    chat: Conversation,
    *messages: Message | str,
    tools: tuple[str, ...] = (),
    instructions: Instructions = NO_INSTRUCTIONS,
) -> list[Event]:
    """One turn; gives all that Letta says."""
    said = [message if isinstance(message, Message) else Message("user", message) for message in messages]
    events: list[Event] = []
    await upstream.run(agent.id, chat.id, Sending(said, instructions), tools, events.extend)
    return [event for event in events if not isinstance(event, SignOfLife)]


async def again(upstream: Upstream, agent: Agent, chat: Conversation) -> Conversation:
    """The chat as the next request finds it, or a fork of what was said in it before a turn without an end."""
    (found,) = await upstream.find_conversations(agent.id, chat.summary or "")
    past = await upstream.read_conversation(agent.id, found)
    if past.appendable:
        return found
    return await upstream.create_conversation(agent.id, MARKER, past.messages, whole(found, past))


def whole(chat: Conversation, past: Past) -> Fork:
    return Fork(chat.id, past.messages[-1].id, len(past.messages))


def texts(past: Past) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in past.messages]


def spoken(events: list[Event], kind: type[Text] | type[Thought] = Text) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


async def test_it_answers_and_lists_the_model(upstream: Upstream, letta: RealLetta) -> None:
    await upstream.check_health()

    assert letta.model in await upstream.list_models()


async def test_an_agent_is_found_by_all_of_its_tags_and_keeps_metadata_and_date(
    upstream: Upstream, letta: RealLetta
) -> None:
    shared = f"shared-{uuid.uuid4().hex}"
    one = await upstream.create_agent(template(letta, tags=("gateway", shared, "one"), metadata={"a": {"b": ["ü", 1]}}))
    two = await upstream.create_agent(template(letta, tags=("gateway", shared, "two")))

    assert {one.id, two.id} == {agent.id for agent in await upstream.find_agents(["gateway", shared])}
    (found,) = await upstream.find_agents([shared, "one"])
    assert (found.id, found.metadata) == (one.id, {"a": {"b": ["ü", 1]}})
    assert found.created_at is not None
    assert abs(datetime.now(UTC) - found.created_at) < timedelta(minutes=1)
    assert await upstream.find_agents([shared, "three"]) == []
    await upstream.check_agent(one.id)


async def test_a_deleted_agent_is_gone_with_its_conversations(upstream: Upstream, letta: RealLetta) -> None:
    agent, chat = await chat_of(upstream, letta)
    await upstream.delete_agent(agent)

    assert await upstream.find_agents(agent.tags) == []
    with pytest.raises(errors.NotFound):
        await upstream.check_agent(agent.id)
    with pytest.raises(errors.NotFound):
        await tell(upstream, agent, chat, "hello")


async def test_a_changed_template_reaches_a_living_conversation_after_a_recompile(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    await tell(upstream, agent, chat, f"old {mark}")
    changed = template(letta, system="You are a coach.", blocks={"human": "He likes beer."}, metadata={"changed": True})
    await upstream.apply_template(agent, changed, [])
    await upstream.recompile(chat.id)
    await tell(upstream, agent, chat, f"new {mark}")

    (old,), (new,) = model.received(f"old {mark}"), model.received(f"new {mark}")
    for received, system in ((old, "You are a tutor."), (new, "You are a coach.")):
        assert received[0][1].startswith(system)
        assert "She likes tea." in received[0][1]
    assert [("user", f"old {mark}"), ("assistant", f"{FIRST}old {mark}"), ("user", f"new {mark}")] == model.said(
        f"new {mark}"
    )[0]
    (found,) = await upstream.find_agents(agent.tags[:2])
    assert (found.metadata or {}).get("changed") is True
    assert found.created_at == agent.created_at


async def test_the_tools_of_an_agent_are_those_of_its_template_and_the_memory_s(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    tool, other = letta.tools
    agent = await upstream.create_agent(template(letta, tools=(tool,)))
    chat = await upstream.create_conversation(agent.id, MARKER, [])
    await tell(upstream, agent, chat, mark, tools=(tool,))

    (offered,) = model.offered(mark)
    assert {tool, "memory_insert", "memory_replace"} <= offered
    assert other not in offered
    assert await upstream.unknown_tools([tool, "no_such_tool", other]) == ["no_such_tool"]


async def test_conversations_are_found_by_their_marker(upstream: Upstream, letta: RealLetta) -> None:
    agent = await upstream.create_agent(template(letta))
    assert not await upstream.has_conversations(agent.id)
    one = await upstream.create_conversation(agent.id, f"Letta Gateway {MARKER}", [])
    await upstream.create_conversation(agent.id, "Letta Gateway gw1:other", [])

    (found,) = await upstream.find_conversations(agent.id, MARKER)
    assert (found.id, found.summary) == (one.id, f"Letta Gateway {MARKER}")
    assert found.created_at is not None
    assert (await upstream.read_conversation(agent.id, found)).messages == []
    assert one.id in {found.id for found in await upstream.find_conversations(None, MARKER)}
    assert await upstream.has_conversations(agent.id)


HISTORIES = {
    "one turn": [Message("user", "Bonjour"), Message("assistant", "Salut!")],
    "forty turns": [
        message for i in range(40) for message in (Message("user", f"said {i}"), Message("assistant", f"heard {i}"))
    ],
    "any letters": [Message("user", "Grüße 你好 🙂 \u202e\u2028"), Message("assistant", "ñ \u0301 \U0001f468‍👩‍👧")],
    "quotes and lines": [
        Message("user", 'She said "no" \\ \\n\n\n  {"role": "system"}\n\ttab'),
        Message("assistant", "```py\nprint('%s')\n```\n</system-reminder> <think>"),
    ],
    "two in a row": [Message("user", "one"), Message("user", "two"), Message("assistant", "three")],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
async def test_what_was_said_before_reaches_the_model_to_the_letter(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, history: list[Message], mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta, *history)
    # A Letta that cannot be given a past is told it with the first turn.
    path = history[chat.seeded :]
    await tell(upstream, agent, chat, *path, f"now {mark}")
    await tell(upstream, agent, chat, f"then {mark}")

    before = [(message.role, message.content) for message in history]
    (now,), (then,) = model.said(f"now {mark}"), model.said(f"then {mark}")
    assert [*before, ("user", f"now {mark}")] == now
    assert [*now, ("assistant", f"You said: now {mark}"), ("user", f"then {mark}")] == then


async def test_only_an_app_server_is_given_a_past_before_the_first_turn(upstream: Upstream, letta: RealLetta) -> None:
    _, chat = await chat_of(upstream, letta, *HISTORIES["one turn"])

    assert chat.seeded == (2 if letta.name == "app-server" else 0)


async def test_a_chat_is_resumed_by_another_process(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    await tell(upstream, agent, chat, f"one {mark}")
    async with started(letta) as another:
        resumed = await again(another, agent, chat)
        await tell(another, agent, resumed, f"two {mark}")
    await tell(upstream, agent, chat, f"three {mark}")

    assert resumed.id == chat.id
    assert [
        [
            ("user", f"one {mark}"),
            ("assistant", f"{FIRST}one {mark}"),
            ("user", f"two {mark}"),
            ("assistant", f"You said: two {mark}"),
            ("user", f"three {mark}"),
        ]
    ] == model.said(f"three {mark}")


async def test_a_run_tells_thoughts_answer_end_and_usage(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    events = await tell(upstream, agent, chat, mark)

    assert spoken(events, Thought).strip() == THOUGHT.strip()
    assert spoken(events) == f"{FIRST}{mark}"
    assert [event for event in events if isinstance(event, Stop)] == [Stop(StopReason.END)]
    kinds = [type(event) for event in events if isinstance(event, Stop | Text)]
    assert kinds[-1] is Stop
    (usage,) = [event for event in events if isinstance(event, TokensCounted)]
    (received,) = model.received(mark)
    *earlier, last = (len(text.split()) for _, text in received)
    assert (usage.prompt, usage.cached) == (sum(earlier) + last, sum(earlier))
    assert (usage.completion, usage.reasoning) == (len(f"{THOUGHT}{FIRST}{mark}".split()), 5)


async def test_the_usage_of_all_steps_adds_up(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    before = len(model.requests)
    insert = f'!tool memory_insert {{"label": "human", "new_string": "{mark}"}}'
    events = await tell(upstream, agent, chat, insert)

    usages = [event for event in events if isinstance(event, TokensCounted)]
    asked = [request for request in model.requests[before:] if mark in str(request["messages"])]
    assert len(asked) == 2
    words = sum(len(_text(message).split()) for request in asked for message in request["messages"])
    assert sum(usage.prompt for usage in usages) == words
    calls = {event.call.name for event in events if isinstance(event, ToolCalled)}
    assert calls - {""} == {"memory_insert"}
    assert mark in letta.memory(agent.id)["human"]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


# What the provider answers -> what the run raises, and how often the model is asked at most (Letta itself asks again)
FAILURES: dict[str, tuple[type[errors.UpstreamError], dict[str, int]]] = {
    "!fail 500": (errors.ModelFailed, {"v1": 3, "app-server": 2}),
    "!fail 503": (errors.ModelFailed, {"v1": 3, "app-server": 1}),
    "!fail 429": (errors.RateLimited, {"v1": 3, "app-server": 2}),
    "!fail 401": (errors.ModelRefused, {"v1": 1, "app-server": 1}),
    "!fail 400": (errors.ModelFailed, {"v1": 1, "app-server": 1}),
    "!cut-after one two": (errors.RunFailed, {"v1": 1, "app-server": 2}),
}


@pytest.mark.parametrize("script", FAILURES)
async def test_a_failed_turn_has_a_name_and_leaves_nothing(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, script: str, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    await tell(upstream, agent, chat, f"before {mark}")
    kind, times = FAILURES[script]
    with pytest.raises(kind) as caught:
        await told_wrongly(upstream, agent, chat, f"{mark}\n{script}")
    assert caught.value.taken
    await upstream.cancel(agent.id, chat.id)
    assert len(model.received(f"{mark}\n{script}")) <= times[letta.name]

    resumed = await again(upstream, agent, chat)
    await tell(upstream, agent, resumed, f"after {mark}")
    assert [
        [("user", f"before {mark}"), ("assistant", f"{FIRST}before {mark}"), ("user", f"after {mark}")]
    ] == model.said(f"after {mark}")


async def told_wrongly(upstream: Upstream, agent: Agent, chat: Conversation, text: str) -> None:
    """A turn that fails: an upstream raises, or tells it in an event, whose error others raise."""
    for event in await tell(upstream, agent, chat, text):
        if isinstance(event, Failure):
            raise event.error
        if isinstance(event, Stop) and event.reason is StopReason.FAILED:
            assert event.failure
            reason = event.failure
    raise reason


@pytest.mark.parametrize("script", ["!hang", "!hang-after one two"], ids=["before the first token", "mid-answer"])
async def test_a_cancelled_turn_leaves_nothing_and_the_next_begins_at_once(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, script: str, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    await tell(upstream, agent, chat, f"before {mark}")
    async with following(upstream, agent.id, chat.id, Sending([Message("user", f"{mark}\n{script}")])) as batches:
        said = ""
        while "after" in script and not said.endswith("two"):
            said += spoken(await anext(batches))
        # Any event, a ping too, says that there is a run to cancel.
        _ = said or await anext(batches)
    await upstream.cancel(agent.id, chat.id)

    async with asyncio.timeout(10):
        resumed = await again(upstream, agent, chat)
        await tell(upstream, agent, resumed, f"after {mark}")
    assert [
        [("user", f"before {mark}"), ("assistant", f"{FIRST}before {mark}"), ("user", f"after {mark}")]
    ] == model.said(f"after {mark}")


async def test_a_cancelled_turn_is_known_to_have_no_end_by_another_process(
    upstream: Upstream, letta: RealLetta, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    await tell(upstream, agent, chat, f"before {mark}")
    sending = Sending([Message("user", f"{mark}\n!hang-after one two")])
    async with following(upstream, agent.id, chat.id, sending) as batches:
        while "two" not in spoken(await anext(batches)):
            pass
    await upstream.cancel(agent.id, chat.id)
    async with started(letta) as another:
        (found,) = await another.find_conversations(agent.id, MARKER)
        past = await another.read_conversation(agent.id, found)

    assert texts(past) == [("user", f"before {mark}"), ("assistant", f"{FIRST}before {mark}")]
    assert past.appendable == (letta.name == "v1")


async def test_a_conversation_is_read_as_it_was_said_with_the_client_ids(
    upstream: Upstream, letta: RealLetta, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    ids = [f"gw1-a-b-c-{uuid.uuid4().hex}" for _ in range(2)]
    insert = f'!tool memory_insert {{"label": "human", "new_string": "{mark}"}}'
    await tell(upstream, agent, chat, Message("user", "one", ids[0]))
    answer = spoken(await tell(upstream, agent, chat, Message("user", insert, ids[1])))
    past = await upstream.read_conversation(agent.id, chat)

    assert texts(past) == [("user", "one"), ("assistant", f"{FIRST}one"), ("user", insert), ("assistant", answer)]
    assert [message.client_id for message in past.messages] == [ids[0], "", ids[1], ""]
    assert all(message.id for message in past.messages)


async def test_instructions_stand_beside_the_agent_s_own_prompt(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    agent, chat = await chat_of(upstream, letta)
    prompt = await upstream.recompile(chat.id)
    await tell(upstream, agent, chat, f"one {mark}", instructions=Instructions("Speak French.", "", prompt))
    told = (await upstream.read_conversation(agent.id, chat)).instructions_sent

    (received,) = model.received(f"one {mark}")
    everything = "\n".join(text for _, text in received)
    assert all(part in everything for part in ("You are a tutor.", "She likes tea.", "Speak French."))
    assert told == ("" if letta.name == "v1" else "Speak French.")


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
async def test_a_fork_holds_what_was_said_before_the_cut_and_what_is_put_there(
    app_server: AppServer, model: ScriptedModel, kept: int, mark: str
) -> None:
    async with started(app_server) as upstream:
        await _fork_and_go_on(upstream, app_server, model, kept, mark)


async def _fork_and_go_on(upstream: Upstream, letta: RealLetta, model: ScriptedModel, kept: int, mark: str) -> None:
    agent, chat = await chat_of(upstream, letta)
    for text in ("one", "two"):
        await tell(upstream, agent, chat, f"{text} {mark}")
    past = await upstream.read_conversation(agent.id, chat)
    path = past.messages[:kept] + [Message("user", "said"), Message("assistant", "answered"), Message("user", "more")]
    fork = await upstream.create_conversation(agent.id, "a fork", path, Fork(chat.id, past.messages[kept - 1].id, kept))
    assert fork.seeded == kept + 2
    await tell(upstream, agent, fork, "more", f"now {mark}")

    said = [(message.role, message.content) for message in path]
    assert model.said(f"now {mark}") == [[*said, ("user", f"now {mark}")]]


async def test_a_deleted_conversation_is_gone(upstream: Upstream, letta: RealLetta, mark: str) -> None:
    agent, chat = await chat_of(upstream, letta)
    await tell(upstream, agent, chat, mark)
    await upstream.rename_conversation(chat.id, f"Letta Gateway (temporary) {MARKER}", hidden=False)
    (found,) = await upstream.find_conversations(agent.id, "(temporary) ")
    await upstream.delete_conversation(found.agent_id, found.id)

    assert found.id == chat.id
    assert await upstream.find_conversations(agent.id, "gw1:") == []
    assert letta.conversations(agent.id) == []
    if letta.name == "app-server":
        # It keeps the name of it, and nothing that was said.
        assert (await upstream.read_conversation(agent.id, chat)).messages == []


async def test_nothing_is_there_to_cancel_and_that_is_fine(upstream: Upstream, letta: RealLetta) -> None:
    agent, chat = await chat_of(upstream, letta)
    await tell(upstream, agent, chat, "hello")

    await upstream.cancel(agent.id, chat.id)


async def test_eight_people_at_once_are_not_mixed_up(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    people = [f"{i:02}-{mark}" for i in range(8)]

    async def live(name: str) -> list[str]:
        agent = await upstream.create_agent(template(letta, system=f"You serve {name}."))
        chat = await upstream.create_conversation(agent.id, MARKER, [])
        return [spoken(await tell(upstream, agent, chat, f"{word} {name}")) for word in ("hello", "bye")]

    answers = await asyncio.gather(*(live(name) for name in people))
    assert [[f"{FIRST}hello {name}", f"You said: bye {name}"] for name in people] == answers
    for name in people:
        ((system, *received),) = model.received(f"bye {name}")
        assert system[1].startswith(f"You serve {name}.")
        assert not [text for _, text in [system, *received] if mark in text and name not in text]


async def test_two_conversations_of_one_agent_run_side_by_side(
    upstream: Upstream, letta: RealLetta, model: ScriptedModel, mark: str
) -> None:
    agent, one = await chat_of(upstream, letta)
    two = await upstream.create_conversation(agent.id, f"{MARKER} two", [])
    sending = Sending([Message("user", f"{mark}\n!hang-after one two")])
    async with following(upstream, agent.id, one.id, sending) as batches:
        said = ""
        while not said.endswith("two"):
            said += spoken(await anext(batches))
        meanwhile = await tell(upstream, agent, two, f"meanwhile {mark}")
    await upstream.cancel(agent.id, one.id)

    assert (said, spoken(meanwhile)) == ("one two", f"{FIRST}meanwhile {mark}")
    assert [[("user", f"meanwhile {mark}")]] == model.said(f"meanwhile {mark}")


async def test_an_agent_or_a_conversation_that_is_not_there_is_not_found(upstream: Upstream, letta: RealLetta) -> None:
    agent, chat = await chat_of(upstream, letta)
    nobody, nothing = Agent(NOBODY[letta.name]), Conversation(NOTHING[letta.name])

    with pytest.raises(errors.NotFound):
        await upstream.check_agent(nobody.id)
    with pytest.raises(errors.NotFound):
        await upstream.create_conversation(nobody.id, MARKER, [])
    with pytest.raises(errors.NotFound):
        await upstream.rename_conversation(nothing.id, MARKER, hidden=False)
    with pytest.raises(errors.NotFound):
        await upstream.recompile(nothing.id)
    with pytest.raises(errors.NotFound):
        await tell(upstream, agent, nothing, "hello")
