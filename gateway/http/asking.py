"""The way of a request to its run, the same for every wire, cheap checks before dear ones."""

from collections.abc import Mapping
from typing import Protocol

import msgspec
from litestar.datastructures import Headers
from msgspec import Struct

from gateway.domain.errors import ModelNotFound
from gateway.domain.look import PLAIN, Look
from gateway.domain.request import NO_TOOLS, ClientTools
from gateway.domain.request import Request as NeutralRequest
from gateway.frontends.reading import find_task, read_named, takes_items
from gateway.http.budgets.admission import let_in
from gateway.http.incoming.auth import Admitted
from gateway.http.incoming.body import let_others
from gateway.http.incoming.headers import read_headers, read_resend
from gateway.http.incoming.tokens import read_claims
from gateway.http.middleware import Door
from gateway.http.parts import Parts
from gateway.http.record import Record, shown
from gateway.http.texts import ITEM_TEXTS, TEXTS
from gateway.limits.gate import Admission
from gateway.pictures.shown import look_at, shows_addresses, without_addresses
from gateway.settings import TASK_MODEL, AgentType, Key, Settings
from gateway.trace_context import TRACEPARENT, TRACEPARENT_HEADER, read_traceparent, trace_of
from gateway.turns.chats.path import read_path
from gateway.turns.people.identity import identify, message_ids
from gateway.turns.runs.log import Reader
from gateway.turns.runs.resend import response_of, to_sent
from gateway.turns.turn import Turn, forwards_tools, to_turn


class Way(Protocol):
    """The part of the way that is not the same for every wire."""

    def place(self, turn: Turn) -> Turn:
        """The turn at its place in a chat, where its request names one. Raises GatewayError."""
        ...

    async def find(self, turn: Turn) -> Turn:
        """The turn, once it was let in and may be looked up. Raises GatewayError, UpstreamError."""
        ...

    def look(self, turn: Turn) -> Look:
        """The look of the answer."""
        ...

    def head(self, turn: Turn, look: Look) -> bytes:
        """The `RunLog.head` of its run."""
        ...


class Asker(Struct, frozen=True):
    """Whoever asks: the parts of the gateway that is asked, the key that was shown, the headers, and the record."""

    parts: Parts
    admitted: Admitted
    headers: Headers
    record: Record
    named: Mapping[str, str]
    """The headers that count, by their lower-case names."""

    @property
    def key(self) -> Key:
        return self.admitted.key


class Begun(Struct, frozen=True):
    """The run that answers a request, and how it is shown."""

    run: Reader
    look: Look
    turn: Turn | None = None
    """None: it is a background task, and no agent's."""
    admission: Admission | None = None
    """To be left when the answer is over."""
    door: Door | None = None
    """The way in, which counts the answers under way; None for a background task."""

    @property
    def outlives(self) -> bool:
        """True: it goes on without its client."""
        return self.turn is not None and self.turn.outlives

    @property
    def is_counted(self) -> bool:
        """True: it must be left when its answer is over."""
        return self.outlives or (self.admission is not None and self.admission.is_stream)

    @property
    def tools(self) -> ClientTools:
        return self.turn.tools if self.turn else NO_TOOLS

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer that tell of limits."""
        return self.admission.headers if self.admission else {}

    async def leave(self, had: bool = True) -> None:
        """The answer is over, or none is given after all; not `had`: its client has left before its end."""
        if self.outlives and not had:
            self.leave_at_its_end()
        elif self.admission:
            await self.admission.leave()

    def leave_at_its_end(self) -> None:
        """Nobody waits for the answer, which counts until its run is over."""
        account = self.run.account
        if account and self.door:
            self.door.count_until_over(account)
        if account and self.admission:
            self.admission.leave_with(account)


def asker_of(parts: Parts, admitted: Admitted, headers: Headers, record: Record) -> Asker:
    """Whoever asks with these headers. Raises AmbiguousHeader."""
    return Asker(parts, admitted, headers, record, read_headers(admitted.key, headers))


async def begin(asker: Asker, asked: NeutralRequest, body: bytes, way: Way) -> Begun:
    """The run that answers a request: one that it has, or a new one. Raises GatewayError, UpstreamError."""
    parts, record, key, named = asker.parts, asker.record, asker.key, asker.named
    settings = parts.settings
    record.model = asked.model if has_model(settings, key, asked.model) else None
    if task := find_task(key, named, asked):
        check_model(settings, key, asked.model)
        record.task = shown(task.kind)
        # What the gateway answers itself costs nobody anything.
        meter = await let_in(parts.gate, key, None, record) if parts.task_runs.asks_model else None
        run = parts.task_runs.start(task, asked, body)
        record.account = run.account
        if meter:
            await meter.pay_for(run.account)
        return Begun(run, PLAIN)
    if parts.pictures and shows_addresses(asked):
        # Nothing is fetched for who may not ask.
        way.place(read_turn(settings, key, named, without_addresses(asked)))
        asked = await parts.pictures.bring(asked)
    turn = way.place(read_turn(settings, key, named, asked))
    await let_others(body)
    record.agent_type, record.agent, record.chat = turn.agent_type.id, turn.agent_name, turn.digits
    await parts.schemas.check(turn.json)
    await parts.schemas.check_strict(turn.tools)
    sent = to_sent(key, read_resend(named), turn, body, asked.background)
    # A request that was sent before is free.
    again = await parts.runs.has(sent)
    admission = Admission(parts.gate)
    if not again:
        per_hour = settings.responses.background_per_hour if asked.background else None
        admission = await let_in(parts.gate, key, turn.caller.user, record, per_hour)
    _take_up_trace(parts, asker.headers, record)
    try:
        if not again:
            turn = await way.find(turn)
            sent = msgspec.structs.replace(sent, response=response_of(turn))
        look = way.look(turn)
        reader = await parts.runs.take(turn, sent, way.head(turn, look))
        record.joined, record.account = reader.joined, reader.account
        # The same request may have come at the same moment, and have begun the run.
        await admission.pay_for(reader.account)
    except BaseException:
        await admission.leave()
        raise
    return Begun(reader, look, turn, admission, parts.door)


async def prepare(asker: Asker, asked: NeutralRequest, way: Way) -> Look:
    """Check a request that is not to be answered yet as if it were, and find its agent; gives the look of its answer.

    Raises GatewayError, UpstreamError.
    """
    parts, record = asker.parts, asker.record
    record.model = asked.model if has_model(parts.settings, asker.key, asked.model) else None
    turn = way.place(read_turn(parts.settings, asker.key, asker.named, without_addresses(asked)))
    admission = await let_in(parts.gate, asker.key, turn.caller.user, record)
    try:
        await parts.runs.prepare(turn)
    finally:
        # It is as free as a request that is refused.
        await admission.pay_for(None)
    return way.look(turn)


def _take_up_trace(parts: Parts, headers: Headers, record: Record) -> None:
    """Do what follows in the trace that the request is part of, or in one of its own if there are traces."""
    given = read_traceparent(headers.getall(TRACEPARENT_HEADER, []))
    if trace := parts.traces.begin(record, given) if parts.traces else given:
        record.trace = trace_of(trace)
        TRACEPARENT.set(trace)


def read_turn(settings: Settings, key: Key, headers: Mapping[str, str], request: NeutralRequest) -> Turn:
    """The turn that a request is. Raises GatewayError, in the order of the lines."""
    texts = ITEM_TEXTS if takes_items(key, headers) else TEXTS
    path = read_path(look_at(request, settings.images.max_mb), texts)
    json = request.checked_json()
    agent_type = find_type(settings, key, request.model)
    tools = request.checked_tools() if forwards_tools(key, agent_type) else NO_TOOLS
    named = read_named(key, headers, request, read_claims(key, headers))
    caller = identify(key, named, settings.former_scope(key))
    return to_turn(key, agent_type, caller, path, message_ids(named, caller), tools, request.options, json, texts)


def has_model(settings: Settings, key: Key, model: str) -> bool:
    """True of the name of one of this key's agent types, and of the model for tasks."""
    return model == TASK_MODEL or any(agent_type.id == model for agent_type in settings.types_for(key))


def check_model(settings: Settings, key: Key, model: str) -> None:
    """Raises ModelNotFound for a name that is neither one of this key's agent types nor the model for tasks."""
    if not has_model(settings, key, model):
        raise ModelNotFound(model)


def find_type(settings: Settings, key: Key, model: str) -> AgentType:
    """Raises ModelNotFound, alike for a model that is unknown and for one that is not for this key."""
    for agent_type in settings.types_for(key):
        if agent_type.id == model:
            return agent_type
    raise ModelNotFound(model)
