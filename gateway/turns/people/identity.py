"""The identity rules of keys: which user a request comes from, and from which chat. Performs no I/O."""

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest, UserRequired
from gateway.domain.named import Id, Named
from gateway.settings import Key, UserSource
from gateway.turns.chats.markers import TEMPORARY, id_digest
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import Ids

MAX_ID_LENGTH = 512
# Longer names and emails are cut: they become part of system prompts and of memory blocks, whose length Letta limits.
MAX_NAME_LENGTH = 256


class User(Struct, frozen=True):
    """The user who asks: `User("open-webui", "42", "Ada")`. `id` counts within `scope` only."""

    scope: str
    id: str
    name: str
    """May be empty, as `email`."""
    email: str = ""
    former_id: str = ""
    """The id as an earlier version read it; empty if it read the same."""
    former_scope: str = ""
    """The scope in which an earlier version kept the user; empty if there was none but `scope`."""

    @property
    def formers(self) -> list[tuple[str, str]]:
        """The scopes and ids by which earlier versions knew the user, those of the last one first."""
        scopes = [self.scope, *([self.former_scope] if self.former_scope else [])]
        ids = [self.id, *([self.former_id] if self.former_id else [])]
        return [(scope, id) for scope in scopes for id in ids][1:]


class Caller(Struct, frozen=True):
    """The user of a request, and its chat if it names one."""

    user: User
    chat: str | None
    frontend: bool = False
    """True: the chat is one of a frontend that shows it, and sends all of it every time."""
    former_chat: str = ""
    """The chat's id as an earlier version read it; empty if it read the same."""
    temporary: bool = False
    """True: the chat is temporary, and its conversations are deleted in time."""


def identify(key: Key, named: Named, former_scope: str = "") -> Caller:
    """The caller that a request names, as its key takes it. `former_scope` is that of all users of this key.

    Raises UserRequired, or InvalidRequest for a long id.
    """
    caller = _caller(key, named)
    if not former_scope:
        return caller
    user = msgspec.structs.replace(caller.user, former_scope=former_scope)
    return msgspec.structs.replace(caller, user=user)


def _caller(key: Key, named: Named) -> Caller:
    chat = _checked(named.chat) if named.chat else Id("", "")
    former = "" if named.temporary else chat.former
    temporary = named.temporary or named.shows_temporary
    where = (_chat(named, chat), named.shows_chat, former, temporary)
    if key.user is not None:
        return Caller(User(key.user_scope, key.user, key.user), *where)
    found = _first(key, named)
    if key.user_means != "person":
        user = User(key.user_scope, key.name, key.name)
        if found and key.user_means == "conversation":
            former = "" if named.temporary else found[1].former
            return Caller(user, _chat(named, found[1]), former_chat=former, temporary=named.temporary)
        return Caller(user, *where)
    return Caller(_person(key, *found, named) if found else _default_user(key, named), *where)


def _chat(named: Named, id: Id) -> str | None:
    """The name of the chat with this id; None where there is no id.

    A temporary chat and a kept one are two, though they have one id: neither is deleted, or kept, with the other.
    """
    return f"{id.value} {TEMPORARY}" if id.value and named.temporary else id.value or None


def message_ids(named: Named, caller: Caller) -> Ids:
    """The message ids of a request, as digests within its chat. Raises InvalidRequest for one that is too long."""
    answer, user, parent = (id and _checked(id) for id in (named.answer, named.question, named.parent))
    ids = _to_ids(caller.chat, answer, user, parent)
    before = _to_ids(caller.former_chat or caller.chat, *(id and _as_before(id) for id in (answer, user, parent)))
    return ids if before == ids else msgspec.structs.replace(ids, former=before)


def _to_ids(chat: str | None, answer: Id | None, user: Id | None, parent: Id | None) -> Ids:
    """The digests of ids; empty for an empty one, None if there is none (or an unfilled placeholder)."""
    return Ids(_digest(chat, answer) or None, _digest(chat, user) or None, _digest(chat, parent))


def _digest(chat: str | None, id: Id | None) -> str | None:
    if id is None:
        return None
    return id_digest(chat, id.value) if id.value else ""


def _as_before(id: Id) -> Id:
    return Id(id.former or id.value, id.place)


def keeps_history(key: Key, caller: Caller, path: RequestedPath) -> bool:
    """True if the request tells the whole chat; the key's `history` says so, or else its messages do.

    A lone message from a frontend that shows the chat is an edit of its first message; one from a program that names
    its chat is simply the next message.
    """
    if key.history:
        return key.history == "full"
    return not path.lone or caller.frontend or caller.chat is None


def _first(key: Key, named: Named) -> tuple[UserSource, Id] | None:
    """The first source of the key that is present, and the user that it names."""
    for source in key.user_from:
        if id := named.users.get((source.kind, source.name)):
            return source, _checked(id)
    return None


def _checked(id: Id) -> Id:
    if len(id.value) > MAX_ID_LENGTH:
        raise InvalidRequest(f"`{id.place}` is longer than {MAX_ID_LENGTH} characters.", id.place)
    return id


def _person(key: Key, source: UserSource, id: Id, named: Named) -> User:
    """The user of this id. A header or a token brings name and email; from a body, the id serves as the name."""
    if source.kind == "body":
        return User(key.user_scope, id.value, id.value)
    name, email = named.name[:MAX_NAME_LENGTH], named.email[:MAX_NAME_LENGTH]
    return User(key.user_scope, id.value, name or id.value, email, id.former)


def _default_user(key: Key, named: Named) -> User:
    if key.default_user is not None:
        return User(key.user_scope, key.default_user, key.default_user)
    ways = [
        f"`{source.name}` in the body" if source.kind == "body" else f"the header `{source.name}`"
        for source in key.user_from
    ]
    raise UserRequired(f"This key needs to know who is asking: send {' or '.join(ways)}.", named.user_place)
