"""The calls about conversations: chats that the gateway gives an id."""

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath
from msgspec import Struct

from gateway.domain.errors import AnsweredElsewhere, InvalidRequest, NotFoundHere
from gateway.domain.messages import Message
from gateway.domain.places import ConversationPlace, ResponsePlace, short_digest
from gateway.domain.request import Request as NeutralRequest
from gateway.http.asking import Asker, asker_of, find_type
from gateway.http.incoming.body import read_json
from gateway.http.parts import admit, parts_of
from gateway.http.record import record_of
from gateway.http.responses.listing import FIRST_INPUT, ItemList, ListedItem, added_items, input_items, paged
from gateway.http.responses.owners import check_owner, in_query, naming, type_at, user_of
from gateway.http.responses.rebuilt import rebuilt
from gateway.http.responses.retrieve import look_of_key
from gateway.http.texts import TEXTS
from gateway.pictures.shown import look_at
from gateway.settings import AgentType
from gateway.turns.about import Added, AddedItem
from gateway.turns.chats.markers import turn_told, user_digest
from gateway.turns.chats.path import read_said
from gateway.turns.given import Given, GivenContent, Whose
from gateway.turns.runs.resend import name_of_response
from gateway.wires.responses.conversations import (
    ConversationResource,
    DeletedConversation,
    decode_conversation,
)
from gateway.wires.responses.ids import SealedIds
from gateway.wires.responses.read import to_messages
from gateway.wires.responses.request import InputItem

Asked = Request[None, None, State]


class _Call(Struct, frozen=True):
    """A call about one conversation, by somebody who may have it."""

    asker: Asker
    place: ConversationPlace
    whose: Whose

    def say(self, items: Sequence[AddedItem]) -> list[Message]:
        return _said(self.asker, items)

    def shown(self, id: str, metadata: dict[str, str]) -> ConversationResource:
        return ConversationResource(id, self.place.made_at, metadata)

    def typed(self, model: str | None) -> AgentType | None:
        """The agent type that it names. Raises ModelNotFound, InvalidRequest."""
        if model is None:
            return None
        agent_type = find_type(self.asker.parts.settings, self.asker.key, model)
        if self.place.agent_type not in ("", short_digest(agent_type.id)):
            raise InvalidRequest("`model`: this conversation was made for another one.", "model")
        return agent_type


@post("/v1/conversations", status_code=200, name="create_conversation")
async def create_conversation(request: Asked) -> ConversationResource:
    """Give a chat an id; with items or metadata, make it, for the user and the model that it is bound to then."""
    asker = _asker(request)
    asked, items = decode_conversation(await _body(request))
    settings, key = asker.parts.settings, asker.key
    is_bound = bool(items or asked.metadata or asked.model)
    user = user_of(asker, naming(asked.users), needed=is_bound or key.default_user is not None)
    model = asked.model or next((agent_type.id for agent_type in settings.types_for(key)), "")
    agent_type = find_type(settings, key, model) if is_bound else None
    place = ConversationPlace(
        short_digest(key.user_scope),
        secrets.token_hex(8),
        user_digest(user.scope, user.id) if user else "",
        int(time.time()),
        short_digest(agent_type.id) if agent_type else "",
    )
    types = (agent_type,) if agent_type else settings.types_for(key)
    call = _Call(asker, place, Whose(place, key.user_scope, tuple(types), user))
    given = asker.parts.given
    _note(call, agent_type)
    if items:
        await given.add(call.whose, agent_type, items, call.say, asked.metadata)
    elif asked.metadata:
        await given.describe(call.whose, agent_type, asked.metadata)
    return call.shown(asker.parts.seal.conversation_id(place), asked.metadata or {})


@get("/v1/conversations/{conversation_id:str}", name="retrieve_conversation")
async def retrieve_conversation(request: Asked, conversation_id: FromPath[str]) -> ConversationResource:
    """Show a conversation."""
    call = _call(request, conversation_id, in_query(request))
    return call.shown(conversation_id, _metadata(await _found(call)))


@post("/v1/conversations/{conversation_id:str}", status_code=200, name="update_conversation")
async def update_conversation(request: Asked, conversation_id: FromPath[str]) -> ConversationResource:
    """Give a conversation other metadata; one that was not used yet is made."""
    asked, _ = decode_conversation(await _body(request), "metadata")
    call = _call(request, conversation_id, asked.users)
    metadata = asked.metadata or {}
    await call.asker.parts.given.describe(call.whose, call.typed(asked.model), metadata)
    return call.shown(conversation_id, metadata)


@delete("/v1/conversations/{conversation_id:str}", status_code=200, name="delete_conversation")
async def delete_conversation(request: Asked, conversation_id: FromPath[str]) -> DeletedConversation:
    """Delete a conversation with all that was said in it; a run that is under way there ends."""
    call = _call(request, conversation_id, in_query(request))
    parts, whose = call.asker.parts, call.whose
    found = await _found(call)
    runs = [run for run in parts.runs.under_way if whose.has(run.turn)]
    for run in runs:
        run.cancel()
    names: set[str] = set()
    for one in found:
        kept = [name_of_response(turn.turn, turn.part) for turn in await parts.given.turns_of(one)]
        last = {*kept[-1:], *map(name_of_response, one.begun)}
        await _end_elsewhere(call, last)
        names |= {*kept, *last}
    await parts.given.delete(whose)
    for name in sorted(names | {name_of_response(run.turn.id, run.turn.part) for run in runs}):
        await parts.runs.forget(name)
    return DeletedConversation(conversation_id)


@get("/v1/conversations/{conversation_id:str}/items", name="list_conversation_items")
async def list_conversation_items(request: Asked, conversation_id: FromPath[str]) -> ItemList:
    """List all that was said in a conversation."""
    call = _call(request, conversation_id, in_query(request))
    return paged(request, await _items(call))


@post("/v1/conversations/{conversation_id:str}/items", status_code=200, name="create_conversation_items")
async def create_conversation_items(request: Asked, conversation_id: FromPath[str]) -> ItemList:
    """Add items to a conversation without a run: its agent is told of them with the next message."""
    asked, items = decode_conversation(await _body(request), "items")
    call = _call(request, conversation_id, asked.users)
    if not items:
        return ItemList([], "", "", has_more=False)
    written, added = await call.asker.parts.given.add(call.whose, call.typed(asked.model), items, call.say)
    _note(call, written.agent_type, written.marker)
    place = _place(call, written.agent_type, written.marker, written.owner, added.turn, "", added.made_at)
    listed = [*added_items(call.asker.parts.seal.ids_of(place), added)]
    return ItemList(listed, listed[0].id, listed[-1].id, has_more=False)


@get("/v1/conversations/{conversation_id:str}/items/{item_id:str}", name="retrieve_conversation_item")
async def retrieve_conversation_item(
    request: Asked, conversation_id: FromPath[str], item_id: FromPath[str]
) -> ListedItem:
    """Show one item of a conversation."""
    call = _call(request, conversation_id, in_query(request))
    return _one(await _items(call), item_id)


@delete("/v1/conversations/{conversation_id:str}/items/{item_id:str}", status_code=200, name="delete_conversation_item")
async def delete_conversation_item(
    request: Asked, conversation_id: FromPath[str], item_id: FromPath[str]
) -> ConversationResource:
    """Take an item out of a conversation, if its agent has not heard it; nobody can forget what was said."""
    call = _call(request, conversation_id, in_query(request))
    _one(await _items(call), item_id)
    found = call.asker.parts.seal.read_item(item_id)
    if found is None:
        raise NotFoundHere("item", "item_id")
    place, index = found
    await call.asker.parts.given.remove(call.whose, place.turn, index - FIRST_INPUT, call.say)
    return call.shown(conversation_id, _metadata(await _found(call)))


def _asker(request: Asked) -> Asker:
    return asker_of(parts_of(request), admit(request), request.headers, record_of(request.scope))


async def _body(request: Asked) -> bytes:
    return await read_json(request, parts_of(request).settings.server.max_body_mb * 1024 * 1024)


def _call(request: Asked, id: str, users: dict[str, str]) -> _Call:
    """A call about a conversation. Raises NotFoundHere where it is not theirs who ask, UserRequired."""
    asker = _asker(request)
    missing = NotFoundHere("conversation", "conversation_id")
    place = asker.parts.seal.read_conversation(id)
    if place is None:
        raise missing
    user = check_owner(asker, place.owner, place.scope, missing, naming(users))
    types = tuple(asker.parts.settings.types_for(asker.key))
    if place.agent_type:
        types = (type_at(asker, place.agent_type, missing),)
    call = _Call(asker, place, Whose(place, asker.key.user_scope, types, user))
    _note(call, types[0] if len(types) == 1 else None)
    return call


def _note(call: _Call, agent_type: AgentType | None, marker: str = "") -> None:
    """Tell the record which chat it is about."""
    record = call.asker.record
    if agent_type:
        record.agent_type = agent_type.id
    record.chat = (marker or call.whose.begins).rpartition(":")[2][:8]


async def _end_elsewhere(call: _Call, names: set[str]) -> None:
    """End those of the runs with these names that are under way, wherever they are.

    While Redis is away a conversation is deleted all the same: what is under way elsewhere fails for that.
    """
    for name in sorted(names):
        with suppress(AnsweredElsewhere):
            if reader := await call.asker.parts.runs.cancel(name):
                reader.leave()


async def _found(call: _Call) -> list[Given]:
    return await call.asker.parts.given.find(call.whose)


def _metadata(found: list[Given]) -> dict[str, str]:
    told = (one.about.metadata for one in found)
    return next((metadata for metadata in told if metadata is not None), {})


def _said(asker: Asker, items: Sequence[AddedItem]) -> list[Message]:
    """The messages that items are to an agent. Raises InvalidRequest."""
    read = [msgspec.convert(item, InputItem) for item in items]
    asked = NeutralRequest(model="", messages=to_messages(read, "items"), place="items")
    return read_said(look_at(asked, asker.parts.settings.images.max_mb).messages, TEXTS)


async def _items(call: _Call) -> list[ListedItem]:
    """All items of a conversation, the oldest first, with the ids that they had in their responses."""
    content = await call.asker.parts.given.read(call.whose, call.say)
    return [*_listed(call, content)] if content else []


def _listed(call: _Call, content: GivenContent) -> Any:
    given = content.given
    agent_type, marker, seal = given.agent_type, given.summary.marker, call.asker.parts.seal
    look = look_of_key(call.asker.key, agent_type)
    seconds: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    for i, one in enumerate(content.content):
        if isinstance(one, Added):
            place = _place(call, agent_type, marker, given.owner, one.turn, "", one.made_at)
            yield from added_items(seal.ids_of(place), one)
            continue
        if one.asked:
            seconds[one.turn] = turn_told(one.asked[-1].client_id)[1]
        # A question that was lost with its gateway is there twice; no two items have one id.
        part = short_digest(one.part, str(i)) if (one.turn, one.part) in seen else one.part
        seen.add((one.turn, one.part))
        turn = one.turn or f"{i:016x}"
        place = _place(call, agent_type, marker, given.owner, turn, part, seconds.get(one.turn, 0))
        yield from input_items(SealedIds(seal, place), one)
        yield from rebuilt(place, agent_type, look, seal, one, runs=False).output


def _place(
    call: _Call, agent_type: AgentType, marker: str, owner: str, turn: str, part: str, made_at: int
) -> ResponsePlace:
    digits, type_digest = marker.rpartition(":")[2], short_digest(agent_type.id)
    return ResponsePlace(owner, call.place.scope, type_digest, "chat", digits, turn, part, made_at)


def _one(items: Sequence[ListedItem], id: str) -> ListedItem:
    """The item with an id. Raises NotFoundHere."""
    for item in items:
        if item.id == id:
            return item
    raise NotFoundHere("item", "item_id")
