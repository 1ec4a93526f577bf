"""Shorthands for turns: who asks what of which agent, in which chat."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.domain.events import Event, Stop
from gateway.domain.messages import Message, Role
from gateway.settings import AgentType, Chats
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.known import KnownConversation
from gateway.turns.chats.markers import Summary, conversation_marker, parse_summary
from gateway.turns.chats.path import RequestedPath
from gateway.turns.people.agents import KnownAgent
from gateway.turns.people.identity import Caller, User
from gateway.turns.runs.driver import Run
from gateway.turns.runs.log import Reader
from gateway.turns.runs.means import Means, means_of
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.resend import NEW, Sent
from gateway.turns.turn import Turn
from tests.events import text_in
from tests.turns.memory_letta import MemoryLetta

SILENCE = 300.0
TUTOR = AgentType(id="tutor", model="m/one")
# A request of an SDK, and the same sent again.
FIRST = Sent(request="request", may_come_again=True)
AGAIN = Sent(request="request", may_come_again=True, again=True)


ROLES: dict[str, Role] = {"u": "user", "a": "assistant"}


def path_of(texts: Sequence[str], roles: str = "") -> list[Message]:
    """Messages of a user and answers by turns, unless `roles` tells them (u, a)."""
    roles = roles or ("ua" * len(texts))[: len(texts)]
    return [Message(ROLES[role], text) for role, text in zip(roles, texts, strict=True)]


# A chat of Ada's with the tutor, another one, and what was said in it before.
MARKER = conversation_marker("tutor", "school", "ada", "chat")
OTHER = conversation_marker("tutor", "school", "ada", "other")
SUMMARY, OTHERS_SUMMARY = f"Letta Gateway {MARKER}", f"Letta Gateway {OTHER}"
OLD = path_of(["Hi", "Hello", "More"])[:2]


def summaries(letta: MemoryLetta) -> dict[str, Summary | None]:
    """What the summary of each conversation says, by its id."""
    return {id: parse_summary(kept.conversation.summary) for id, kept in letta.store.conversations.items()}


def turn(
    *texts: str,
    chat: str | None = "chat",
    user: str = "ada",
    agent_type: AgentType = TUTOR,
    frontend: bool = True,
    instructions: str = "",
    roles: str = "",
    **fields: Any,
) -> Turn:
    temporary = frontend and (chat or "").startswith("temporary:")
    caller = Caller(User("school", user, user), chat, frontend, temporary=temporary)
    return Turn(agent_type, caller, RequestedPath(path_of(texts or ("Hi",), roles), instructions), **fields)


async def read(run: Reader) -> list[Event]:
    """All that Letta says, to the end."""
    events = []
    while (news := await told_next(run)) is not None:
        events += news
    run.leave()
    return events


async def told_next(run: Reader) -> list[Event] | None:
    """What comes next, whenever that was; None at the end. Raises what the run failed with."""
    await run.news()
    told = run.take()
    return None if told is None else [undated(event) for event in told.events]


def undated(event: Event) -> Event:
    """The event as the run heard it: the end of one has its time from the gateway."""
    return msgspec.structs.replace(event, at=0) if isinstance(event, Stop) else event


async def play(runs: Runs | Means, turn: Turn, sent: Sent = NEW) -> list[Event]:
    """A whole turn."""
    return await read(runs.start(turn, sent) if isinstance(runs, Runs) else Run(turn, runs).follow())


def in_conversations(letta: MemoryLetta) -> list[str]:
    """What was asked of conversations that are there, in order."""
    return [name for name, _ in letta.calls if name in ("run", "cancel", "recompile")]


async def ended(run: Run) -> None:
    """Returns when nothing of the run is left, however it ended."""
    await asyncio.wait([run.task])


def runs_for(letta: MemoryLetta, chats: Chats | None = None) -> Runs:
    chats = chats or Chats()
    return Runs(means_of(letta, 0.5, SILENCE, chats), chats.resend_seconds)


async def leave_after(runs: Runs, asked: Turn, batches: int, sent: Sent = FIRST) -> str:
    """A turn whose client reads so many batches and vanishes; gives what it has seen of the answer."""
    reader = runs.start(asked, sent)
    if not reader.joined:
        letta = runs.means.upstream
        assert isinstance(letta, MemoryLetta)
        await letta.said(batches)
    seen = reader.take()
    reader.leave()
    return spoken(seen.events if seen else [])


def spoken(events: Sequence[Event]) -> str:
    return text_in(events)


# Turns without a run


async def find(conversations: Conversations, agent: KnownAgent, asked: Turn) -> str:
    """The conversation of a turn in which nothing was said, after all."""
    conversation, _ = await conversations.find(agent, asked)
    conversations.release(asked, conversation)
    return conversation.id


async def say(
    letta: MemoryLetta, conversations: Conversations, agent: KnownAgent, asked: Turn, answer: str = "Hello"
) -> KnownConversation:
    """A whole turn, which ends well; with no answer it ends without."""
    conversation, sending = await conversations.find(agent, asked)
    run = letta.store.begin(letta.store.conversations[conversation.id], sending)
    run.parts["step-1"] = answer
    if answer:
        letta.store.end(run)
    else:
        run.over()
    await conversations.settle(asked, conversation, sending, answer, bool(answer))
    return conversation
