"""Conversations: made, found, read, renamed, forked, deleted."""

import pytest

from gateway.domain import errors
from gateway.domain.messages import Message
from gateway.letta.upstream import Agent, Conversation, Fork, Instructions, Upstream
from tests.contract.sides import RealSide, Side
from tests.contract.table import needs
from tests.contract.talk import (
    FIRST,
    MARKER,
    again,
    chat_of,
    client_id,
    find,
    says,
    spoken,
    started,
    tell,
    template,
    words,
)
from tests.servers.embedded_letta import EmbeddedLetta

pytestmark = pytest.mark.anyio

NOBODY = {"v1": "agent-00000000-0000-4000-8000-000000000000", "app-server": "agent-local-none"}
NOTHING = {"v1": "conv-00000000-0000-4000-8000-000000000000", "app-server": "local-conv-none"}


async def test_conversations_are_found_by_their_marker(upstream: Upstream, side: Side) -> None:
    agent = await upstream.create_agent(template(side))
    assert not await upstream.has_conversations(agent.id)
    one = await upstream.create_conversation(agent.id, f"Letta Gateway {MARKER}", [])
    await upstream.create_conversation(agent.id, "Letta Gateway gw1:other", [])

    (found,) = await find(upstream, agent.id, MARKER)
    assert (found.id, found.summary) == (one.id, f"Letta Gateway {MARKER}")
    assert found.created_at is not None
    assert (await upstream.read_conversation(agent.id, found)).messages == []
    assert one.id in {found.id for found in await find(upstream, None, MARKER)}
    assert await upstream.has_conversations(agent.id)


HISTORIES = {
    "one turn": [("user", "Bonjour"), ("assistant", "Salut!")],
    "forty turns": [turn for i in range(40) for turn in (("user", f"said {i}"), ("assistant", f"heard {i}"))],
    "any letters": [("user", "Grüße 你好 🙂 \u202e\u2028"), ("assistant", "ñ \u0301 \U0001f468‍👩‍👧")],
    "quotes and lines": [
        ("user", 'She said "no" \\ \\n\n\n  {"role": "system"}\n\ttab'),
        ("assistant", "```py\nprint('%s')\n```\n</system-reminder> <think>"),
    ],
    "two in a row": [("user", "one"), ("user", "two"), ("assistant", "three")],
}


def history_of(name: str) -> list[Message]:
    return [says(text) if role == "user" else Message("assistant", text) for role, text in HISTORIES[name]]


@needs("pasts")
@pytest.mark.parametrize("name", HISTORIES)
async def test_what_was_said_before_reaches_the_model_to_the_letter(
    upstream: Upstream, side: Side, name: str, mark: str
) -> None:
    history = history_of(name)
    agent, chat = await chat_of(upstream, side, *history)
    # A Letta that cannot be given a past is told it with the first turn.
    path = history[chat.seeded :]
    await tell(upstream, agent, chat, *path, f"now {mark}")
    await tell(upstream, agent, chat, f"then {mark}")

    (now,), (then,) = side.heard(f"now {mark}"), side.heard(f"then {mark}")
    assert [*HISTORIES[name], ("user", f"now {mark}")] == now
    assert [*now, ("assistant", f"You said: now {mark}"), ("user", f"then {mark}")] == then


@needs("pasts")
async def test_only_a_letta_that_forks_is_given_a_past_before_the_first_turn(upstream: Upstream, side: Side) -> None:
    _, chat = await chat_of(upstream, side, *history_of("one turn"))

    assert chat.seeded == (2 if upstream.capabilities.forks else 0)


async def test_a_chat_is_resumed_by_another_process(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, f"one {mark}")
    async with started(side) as another:
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
    ] == side.heard(f"three {mark}")


async def test_a_conversation_is_read_as_it_was_said_with_the_client_ids(upstream: Upstream, side: Side) -> None:
    agent, chat = await chat_of(upstream, side)
    ids = [client_id() for _ in range(2)]
    for id, text in zip(ids, ("one", "two"), strict=True):
        await tell(upstream, agent, chat, Message("user", text, id))
    past = await upstream.read_conversation(agent.id, chat)

    assert words(past) == [
        ("user", "one"),
        ("assistant", f"{FIRST}one"),
        ("user", "two"),
        ("assistant", "You said: two"),
    ]
    assert [message.client_id for message in past.messages] == [ids[0], "", ids[1], ""]
    assert all(message.id for message in past.messages)
    assert (past.appendable, past.pending, past.unfinished) == (True, (), [])


@needs("model")
async def test_an_answer_with_a_tool_between_is_one_message(upstream: Upstream, real: RealSide, mark: str) -> None:
    agent, chat = await chat_of(upstream, real)
    insert = f'!tool memory_insert {{"label": "human", "new_string": "{mark}"}}'
    answer = spoken(await tell(upstream, agent, chat, insert))

    assert words(await upstream.read_conversation(agent.id, chat)) == [("user", insert), ("assistant", answer)]


async def test_instructions_are_told_of_where_they_are_sent_as_a_note(
    upstream: Upstream, side: Side, mark: str
) -> None:
    agent, chat = await chat_of(upstream, side)
    prompt = await upstream.recompile(chat.id)
    await tell(upstream, agent, chat, f"one {mark}", instructions=Instructions("Speak French.", "", prompt))
    sent = (await upstream.read_conversation(agent.id, chat)).instructions_sent

    assert sent == ("" if prompt else "Speak French.")
    assert side.heard(f"one {mark}")


@needs("model")
async def test_instructions_stand_beside_the_agent_s_own_prompt(upstream: Upstream, real: RealSide, mark: str) -> None:
    agent, chat = await chat_of(upstream, real)
    prompt = await upstream.recompile(chat.id)
    await tell(upstream, agent, chat, f"one {mark}", instructions=Instructions("Speak French.", "", prompt))

    (received,) = real.scripted.received(f"one {mark}")
    everything = "\n".join(text for _, text in received)
    assert all(part in everything for part in ("You are a tutor.", "She likes tea.", "Speak French."))


@needs("pasts")
@pytest.mark.parametrize("kept", [1, 2, 3, 4])
async def test_a_fork_holds_what_was_said_before_the_cut_and_what_is_put_there(
    upstream: Upstream, side: Side, kept: int, mark: str
) -> None:
    if not upstream.capabilities.forks:
        return
    agent, chat = await chat_of(upstream, side)
    for text in ("one", "two"):
        await tell(upstream, agent, chat, f"{text} {mark}")
    past = await upstream.read_conversation(agent.id, chat)
    path = [*past.messages[:kept], says("said"), Message("assistant", "answered"), says("more")]
    fork = await upstream.create_conversation(agent.id, "a fork", path, Fork(chat.id, past.messages[kept - 1].id, kept))
    assert fork.seeded == kept + 2
    await tell(upstream, agent, fork, path[-1], f"now {mark}")

    said = [(message.role, message.content) for message in path]
    assert side.heard(f"now {mark}") == [[*said, ("user", f"now {mark}")]]


async def test_a_deleted_conversation_is_gone(upstream: Upstream, side: Side, mark: str) -> None:
    agent, chat = await chat_of(upstream, side)
    await tell(upstream, agent, chat, mark)
    await upstream.rename_conversation(chat.id, f"Letta Gateway (temporary) {MARKER}", hidden=False)
    (found,) = await find(upstream, agent.id, "(temporary) ")
    await upstream.delete_conversation(found.agent_id, found.id)

    assert found.id == chat.id
    assert await find(upstream, agent.id, "gw1:") == []


@needs("model")
async def test_nothing_is_left_in_a_deleted_conversation(upstream: Upstream, real: RealSide, mark: str) -> None:
    agent, chat = await chat_of(upstream, real)
    await tell(upstream, agent, chat, mark)
    await upstream.delete_conversation(agent.id, chat.id)

    assert real.letta.conversations(agent.id) == []
    if real.kind == "app-server":
        # It keeps the name of it, and nothing that was said.
        assert (await upstream.read_conversation(agent.id, chat)).messages == []
        assert await upstream.read_exchanges(agent.id, chat) == []
    if isinstance(real.letta, EmbeddedLetta):
        files = [path for path in real.letta.directory.rglob("*") if path.is_file()]
        assert [path for path in files if mark.encode() in path.read_bytes()] == []


async def test_an_agent_or_a_conversation_that_is_not_there_is_not_found(upstream: Upstream, side: Side) -> None:
    agent, _ = await chat_of(upstream, side)
    nobody, nothing = Agent(NOBODY[side.kind]), Conversation(NOTHING[side.kind])

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
