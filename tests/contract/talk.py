"""What the tests of the contract say to a side, and what they read of it."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from gateway.domain.events import Event, Failure, SignOfLife, Stop, StopReason, Text, Thought
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
from gateway.offline.script import INTRODUCTION
from tests.contract.sides import Side, Words

FIRST = f"{INTRODUCTION}You said: "
MARKER = "gw1:0123456789abcdef0123456789abcdef"


@asynccontextmanager
async def started(side: Side) -> AsyncIterator[Upstream]:
    """A way of its own to the side, as another process of the gateway has one."""
    upstream = side.upstream()
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.aclose()


def template(side: Side, **changes: object) -> Template:
    plain = Template(
        model=side.model,
        tags=("gateway", f"gw-user:{uuid.uuid4().hex}"),
        name="tutor-0123",
        system="You are a tutor.",
        tools=(),
        blocks={"human": "She likes tea."},
        embedding=None,
        metadata={"letta_gateway": {"template": "0123", "tools": []}},
    )
    return msgspec.structs.replace(plain, **changes)


def client_id() -> str:
    """One that was never used."""
    return f"gw1-a-b-c-{uuid.uuid4().hex}"


def says(text: str) -> Message:
    return Message("user", text, client_id())


async def chat_of(upstream: Upstream, side: Side, *history: Message) -> tuple[Agent, Conversation]:
    """An agent of its own, and a conversation with it."""
    agent = await upstream.create_agent(template(side))
    return agent, await upstream.create_conversation(agent.id, MARKER, list(history))


async def tell(
    upstream: Upstream,
    agent: Agent,
    chat: Conversation,
    *messages: Message | str,
    tools: tuple[str, ...] = (),
    instructions: Instructions = NO_INSTRUCTIONS,
) -> list[Event]:
    """One turn; gives all that Letta says, but signs of life."""
    said = [message if isinstance(message, Message) else says(message) for message in messages]
    return await send(upstream, agent, chat, Sending(said, instructions), tools)


async def send(
    upstream: Upstream, agent: Agent, chat: Conversation, sending: Sending, tools: tuple[str, ...] = ()
) -> list[Event]:
    events: list[Event] = []
    await upstream.run(agent.id, chat.id, sending, tools, events.extend)
    return [event for event in events if not isinstance(event, SignOfLife)]


async def told_wrongly(upstream: Upstream, agent: Agent, chat: Conversation, sending: Sending) -> None:
    """A turn that fails: an upstream raises, or tells it in an event, whose error others raise."""
    reason: Exception | None = None
    for event in await send(upstream, agent, chat, sending):
        if isinstance(event, Failure):
            raise event.error
        if isinstance(event, Stop) and event.reason is StopReason.FAILED:
            reason = event.failure
    assert reason
    raise reason


async def find(upstream: Upstream, agent_id: str | None, marker: str) -> list[Conversation]:
    """The conversations with `marker` in their summary: a search may give others, too."""
    found = await upstream.find_conversations(agent_id, marker)
    return [one for one in found if marker in (one.summary or "")]


async def again(upstream: Upstream, agent: Agent, chat: Conversation) -> Conversation:
    """The chat as the next request finds it, or a fork of what was said in it before a turn without an end."""
    (found,) = await find(upstream, agent.id, chat.summary or "")
    past = await upstream.read_conversation(agent.id, found)
    if past.appendable:
        return found
    return await upstream.create_conversation(agent.id, f"{MARKER} again", past.messages, whole(found, past))


def whole(chat: Conversation, past: Past) -> Fork:
    return Fork(chat.id, past.messages[-1].id, len(past.messages))


def words(past: Past) -> Words:
    return [(message.role, message.content) for message in past.messages]


def spoken(events: list[Event], kind: type[Text] | type[Thought] = Text) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))
