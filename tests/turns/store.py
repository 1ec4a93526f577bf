"""What a Letta keeps, in memory, and what its agents are shown: the conversations of both kinds of Letta."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.events import (
    Event,
    Stop,
    Text,
)
from gateway.domain.messages import Message, PendingCall
from gateway.letta.past import Transcript
from gateway.letta.upstream import Agent, Conversation, Exchange, Fork, Past, Sending, Template, Verdict
from tests.events import joined
from tests.turns.virtual_time import now

START = datetime(2026, 1, 1, tzinfo=UTC)


class KeptAgent(Struct):
    """An agent as Letta keeps it."""

    agent: Agent
    model: str = ""
    system: str | None = None
    tools: tuple[str, ...] = ()
    blocks: dict[str, str] = {}

    @property
    def prompt(self) -> str:
        """What it is compiled to."""
        return f"You are {self.agent.id}."


class KeptConversation(Struct):
    """A conversation as Letta keeps it, with what its agent has heard in it."""

    conversation: Conversation
    agent_id: str
    heard: list[Message] = []
    notes: dict[str, str] = {}
    """By the id of the message that they came with: the instructions that the agent was told in words."""
    unfinished: int | None = None
    """Where a turn begins that has no end, and stays."""
    pending: tuple[PendingCall, ...] = ()
    hidden: bool = False
    run: "UnderWay | None" = None
    before: list[Message] = []
    """The messages that it was made with."""
    runs: list["UnderWay"] = []
    """Those of which something is kept."""

    @property
    def told(self) -> str:
        """The instructions in effect, of those told in words."""
        return self.told_in(self.heard)

    def told_in(self, messages: Sequence[Message]) -> str:
        notes = [self.notes[message.id] for message in messages if message.id in self.notes]
        return notes[-1] if notes else ""


class UnderWay:
    """A run that Letta has begun and not ended."""

    def __init__(self, kept: KeptConversation, sent: list[Message], sending: Sending) -> None:
        self.kept = kept
        self.sent = sent
        self.sending = sending
        self.began_at = now()
        self.events: list[Event] = []
        """All that it has said so far."""
        self.answer_id = ""
        self.parts: dict[str | None, str] = {}
        """What the agent has answered so far, by step."""
        self.deaf = False
        """Whether it ends before Letta looks again whether it was cancelled."""
        self.cancelled = asyncio.Event()

    @property
    def answer(self) -> str:
        """As a listing gives it: the parts are messages of their own."""
        return "\n\n".join(self.parts.values())

    def read_into(self, transcript: Transcript) -> None:
        """Tell of it as a listing does: the pieces of a text and of a call are one."""
        began_at, sending = date(self.began_at), self.sending
        if sending.results or sending.approved or sending.denied:
            exchange = transcript.begin(began_at)
            exchange.results = {result.tool_call_id: result for result in sending.results}
            exchange.decided = {id: Verdict(id, allowed=True) for id in sending.approved}
            exchange.decided |= {id: Verdict(id, False, sending.reason) for id in sending.denied}
        _read_messages(transcript, self.sent, began_at)
        exchange = transcript.present() or transcript.begin(began_at)
        exchange.events += joined(self.events)
        exchange.answer_id = self.answer_id if self.answer else exchange.answer_id

    def over(self) -> None:
        if self.kept.run is self:
            self.kept.run = None


class Received(Struct, frozen=True):
    """What the model was shown for one run."""

    conversation_id: str
    context: list[Message]
    """All that was heard before, and what was sent."""
    instructions: str
    """Those of the client that are in effect."""

    @property
    def texts(self) -> list[str]:
        return [message.content for message in self.context]


class Store:
    """What Letta keeps. `coming` are ids and dates of the agents made next; else they are numbered and dated now.

    With `forks` it is like an App Server: it cuts a conversation at a message, takes a path but no answers in a run,
    and keeps a turn without an end, which it shows to the agent. Else it is like a V1 server: a run takes answers,
    too, and of a turn that did not end well nothing is kept.
    """

    def __init__(self, forks: bool = False) -> None:
        self.forks = forks
        self.agents: dict[str, KeptAgent] = {}
        self.conversations: dict[str, KeptConversation] = {}
        self.coming: list[tuple[str, float | None]] = []
        self.hidden: dict[str, float] = {}
        """By an agent's id: for how long no listing shows it."""
        self.received: list[Received] = []
        self.takes_path = forks
        """Whether a conversation can be given a past, with its answers."""
        self._made = 0
        self._moments = 0
        self._client_ids: set[str] = set()

    def add_agent(
        self,
        tags: tuple[str, ...],
        id: str = "agent-old",
        created: float | None = 0.0,
        tools: tuple[str, ...] = (),
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.agents[id] = KeptAgent(Agent(id, date(created), tags, metadata), tools=tools)

    def add_conversation(
        self,
        agent_id: str,
        summary: str | None = None,
        id: str = "conv-old",
        created: float | None = 0.0,
        heard: Sequence[Message] = (),
    ) -> KeptConversation:
        conversation = Conversation(id, date(created), summary=summary, agent_id=agent_id)
        kept = self.conversations[id] = KeptConversation(conversation, agent_id, notes={})
        kept.heard = [self._stored(message) for message in heard]
        kept.before = [*kept.heard]
        return kept

    def new_agent(self, template: Template) -> KeptAgent:
        """An agent with its id and date, which no listing shows before it is put into `agents`."""
        id, created = self.coming.pop(0) if self.coming else (self.number("agent"), now())
        agent = Agent(id, date(created), template.tags, template.metadata, template.name)
        return KeptAgent(agent, template.model, template.system, template.tools, template.blocks)

    def new_conversation(self, agent_id: str, summary: str, path: list[Message], fork: Fork | None) -> Conversation:
        """With as much of `path` in it as this Letta can put there."""
        kept = self.add_conversation(agent_id, summary, self.number("conv"), now())
        if fork:
            self._copy(self.conversations[fork.conversation_id], kept, fork)
        if self.takes_path:
            last_answer = max((i for i, message in enumerate(path) if message.role == "assistant"), default=-1)
            kept.heard += [self._stored(message) for message in path[len(kept.heard) : last_answer + 1]]
        kept.before = [*kept.heard]
        self.touch(kept)
        return msgspec.structs.replace(kept.conversation, seeded=len(kept.heard))

    def _copy(self, base: KeptConversation, kept: KeptConversation, fork: Fork) -> None:
        assert self.forks, "this Letta cannot cut"
        ids = [message.id for message in base.heard]
        assert fork.message_id in ids, "a fork at a message that Letta has not heard of"
        begun = base.heard[: ids.index(fork.message_id) + 1]
        assert fork.kept == len(begun), "a fork with more or fewer messages than it was taken for"
        kept.heard = [self._stored(message) for message in begun]
        kept.notes = {
            new.id: base.notes[old.id] for old, new in zip(begun, kept.heard, strict=True) if old.id in base.notes
        }

    def past(self, kept: KeptConversation) -> Past:
        """What a conversation holds, as its listing tells."""
        messages = kept.heard[: kept.unfinished]
        lost = [] if kept.unfinished is None else kept.heard[kept.unfinished :]
        return Past(messages, kept.told_in(messages), kept.pending, kept.unfinished is None, lost)

    def exchanges(self, kept: KeptConversation) -> list[Exchange]:
        """The exchanges of a conversation, as its listing tells: with the run under way, where that is kept."""
        transcript = Transcript()
        _read_messages(transcript, kept.before, kept.conversation.created_at)
        for run in kept.runs:
            run.read_into(transcript)
        exchanges = transcript.exchanges()
        if kept.unfinished is not None and exchanges:
            events = [event for event in exchanges[-1].events if not isinstance(event, Stop)]
            exchanges[-1] = msgspec.structs.replace(exchanges[-1], events=events)
        return exchanges

    def begin(self, kept: KeptConversation, sending: Sending) -> UnderWay:
        """Take the messages of a run."""
        self._check_client_ids(kept, sending.messages)
        sent = [self._stored(message) for message in sending.messages]
        if self.forks:
            sent = [_remade(message) for message in sent]
            self._tell(kept, sending, sent)
            kept.unfinished = len(kept.heard) if kept.unfinished is None else kept.unfinished
            kept.heard += sent
            context, instructions = [*kept.heard], kept.told
        else:
            context, instructions = [*kept.heard, *sent], sending.instructions.text
            prompt = self.agents[kept.agent_id].prompt if instructions else ""
            assert sending.instructions.prompt == prompt, "the agent's own prompt is lost, or another's is shown"
        kept.pending = ()
        kept.run = UnderWay(kept, sent, sending)
        if self.forks:
            kept.runs.append(kept.run)
        self.received.append(Received(kept.conversation.id, context, instructions))
        return kept.run

    def _check_client_ids(self, kept: KeptConversation, messages: Iterable[Message]) -> None:
        ids = [message.client_id for message in messages if message.role == "user"]
        assert all(ids), "a message by which nobody will know the conversation again"
        assert len({*ids}) == len(ids), "a client id that comes twice"
        assert self._client_ids.isdisjoint(ids), "a client id that was used before"
        self._client_ids.update(ids)

    def _tell(self, kept: KeptConversation, sending: Sending, sent: list[Message]) -> None:
        """The instructions go with the first message of a user, in words, unless they are those told last."""
        answers = any(message.role == "assistant" for message in sent)
        assert not (answers and self.takes_path), "answers that the conversation could have been given"
        instructions = sending.instructions
        assert not instructions.prompt, "a prompt that this Letta has not told"
        if instructions.text != instructions.sent_before and sent:
            kept.notes[sent[0].id] = instructions.text

    def end(self, run: UnderWay) -> None:
        """A run has ended well."""
        kept = run.kept
        if not self.forks:
            kept.heard += run.sent
            kept.runs.append(run)
        if run.answer:
            said = Message("assistant", run.answer)
            if kept.heard and kept.heard[-1].role == "assistant":
                said = Message("assistant", f"{kept.heard.pop().content}\n\n{run.answer}")
            kept.heard.append(self._stored(said))
            run.answer_id = kept.heard[-1].id
        kept.unfinished = None
        self.touch(kept)
        run.over()

    def break_off(self, run: UnderWay) -> None:
        """Who has begun a run is gone, and this Letta does not go on without."""
        if run.answer:
            run.kept.heard.append(self._stored(Message("assistant", run.answer)))
        run.over()

    def wait_for_answers(self, run: UnderWay, calls: tuple[PendingCall, ...]) -> None:
        """A run has ended with calls that wait: what was said so far is kept."""
        if run.kept.run is run:
            self.end(run)
        run.kept.pending = calls

    def _stored(self, message: Message) -> Message:
        return msgspec.structs.replace(message, id=self.number("message"))

    def touch(self, kept: KeptConversation, **fields: Any) -> None:
        """Change a conversation, a moment after whatever was changed last."""
        self._moments += 1
        at = START + timedelta(seconds=now(), microseconds=self._moments)
        kept.conversation = msgspec.structs.replace(kept.conversation, updated_at=at, **fields)

    def number(self, kind: str) -> str:
        self._made += 1
        return f"{kind}-{self._made}"


def _read_messages(transcript: Transcript, messages: Iterable[Message], made_at: datetime | None) -> None:
    for message in messages:
        if message.role == "user":
            transcript.ask(message, made_at)
        else:
            exchange = transcript.present() or transcript.begin(made_at)
            exchange.events.append(Text(message.content))
            exchange.answer_id = message.id


def _remade(message: Message) -> Message:
    """An App Server makes pictures of its own of those that are sent."""
    images = tuple(
        msgspec.structs.replace(image, digest=f"again-{image.digest.removeprefix('again-')}")
        for image in message.images
    )
    return msgspec.structs.replace(message, images=images)


def date(seconds: float | None) -> datetime | None:
    return None if seconds is None else START + timedelta(seconds=seconds)
