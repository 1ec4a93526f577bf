"""Who asks, and in which chat: the identity rules. Performs no I/O."""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from gateway.domain.errors import InvalidRequest, UserRequired
from gateway.settings import Key, UserSource
from gateway.turns.chats.markers import id_digest
from gateway.turns.chats.path import Asked
from gateway.turns.chats.reconcile import Ids
from gateway.turns.people.readings import former
from gateway.wires.chat_completions.request import ChatCompletionRequest

MAX_ID_LENGTH = 512
# Longer names and emails are cut: they stand in system prompts and in memory blocks, which Letta limits.
MAX_NAME_LENGTH = 256
# https://docs.openwebui.com/reference/env-configuration#enable_forward_user_info_headers
NAME_HEADER = "x-openwebui-user-name"
EMAIL_HEADER = "x-openwebui-user-email"
# https://github.com/danny-avila/LibreChat/pull/11432
LIBRECHAT_ENCODED = "b64:"
FRONTEND_CHAT_HEADER = "x-openwebui-chat-id"
CHAT_HEADERS = (FRONTEND_CHAT_HEADER, "x-chat-id")
# https://github.com/open-webui/open-webui: the id of a chat that is not kept begins so.
TEMPORARY = "temporary:"
CHAT_METADATA = ("chat_id", "conversation_id", "thread_id", "session_id")


class User(Struct, frozen=True):
    """Who is asking. `id` counts within `scope` only; `name` and `email` may be empty."""

    scope: str
    id: str
    name: str
    email: str = ""
    former_id: str = ""
    """The id as an earlier version read it; empty where it read the same."""


class Caller(Struct, frozen=True):
    """What the identity rules make of a request: its user, and its chat if it names one."""

    user: User
    chat: str | None
    frontend: bool = False
    """Whether the chat is one of a frontend that shows it, and sends all of it every time."""
    former_chat: str = ""
    """The chat's id as an earlier version read it; empty where it read the same."""

    @property
    def temporary(self) -> bool:
        """Whether the chat ends with its window."""
        return self.frontend and (self.chat or "").startswith(TEMPORARY)


class Claims(Struct, frozen=True):
    """What a token that was verified says of its user."""

    sub: str
    name: str = ""
    email: str = ""


def identify(
    key: Key, headers: Mapping[str, str], request: ChatCompletionRequest, claims: Claims | None = None
) -> Caller:
    """`headers` has lower-case names. Raises UserRequired, or InvalidRequest for an id that is too long."""
    (chat, former_chat), frontend = _chat(headers, request), _is_frontend(headers)
    if key.user is not None:
        return Caller(User(key.user_scope, key.user, key.user), chat, frontend, former_chat)
    named = _named(key, headers, request, claims)
    if key.user_means != "person":
        user = User(key.user_scope, key.name, key.name)
        if named and key.user_means == "conversation":
            return Caller(user, named[1], former_chat=_former(*named))
        return Caller(user, chat, frontend, former_chat)
    if named is None:
        return Caller(_default_user(key), chat, frontend, former_chat)
    return Caller(_person(key, *named, headers, claims), chat, frontend, former_chat)


def read_ids(key: Key, headers: Mapping[str, str], chat: str | None, former_chat: str = "") -> Ids:
    """The message ids of a request, as digests. Raises InvalidRequest for one that is too long."""
    names = (key.message_id_header, key.user_message_id_header, key.parent_id_header)
    values = [_checked(value, name.lower()) if (value := read_header(headers, name)) else value for name in names]
    ids = _to_ids(chat, values)
    before = _to_ids(former_chat or chat, [value and (former(value) or value) for value in values])
    return ids if before == ids else msgspec.structs.replace(ids, former=before)


def _to_ids(chat: str | None, values: Iterable[str | None]) -> Ids:
    """The digests of ids; empty for an empty one, None where there is none (or a placeholder that was left in)."""
    answer, user, parent = (id_digest(chat, value) if value else value for value in values)
    return Ids(answer or None, user or None, parent)


def keeps_history(key: Key, caller: Caller, asked: Asked) -> bool:
    """Whether a request tells the whole chat.

    A message alone is an edit of the first one where a frontend shows the chat, and simply the next one where a
    program names its chat.
    """
    if key.history:
        return key.history == "full"
    return not asked.lone or caller.frontend or caller.chat is None


def takes_items(key: Key, headers: Mapping[str, str]) -> bool:
    """Whether answers in this chat come as the items of Open WebUI's, where they are streamed.

    With no message to show an answer in, it passes the stream on as it is, to a program that calls its API.
    """
    nowhere = read_header(headers, key.message_id_header) == ""
    return key.tool_activity == "rich" and _is_frontend(headers) and not nowhere


def _is_frontend(headers: Mapping[str, str]) -> bool:
    return bool(read_header(headers, FRONTEND_CHAT_HEADER))


def _named(
    key: Key, headers: Mapping[str, str], request: ChatCompletionRequest, claims: Claims | None
) -> tuple[UserSource, str] | None:
    """The first source of the key that is present, and its value as it came."""
    for source in key.user_from:
        if value := _value(source, headers, request, claims):
            return source, _checked(value, source.name)
    return None


def _value(
    source: UserSource, headers: Mapping[str, str], request: ChatCompletionRequest, claims: Claims | None
) -> str | None:
    match source.kind:
        case "header":
            return read_header(headers, source.name)
        case "jwt":
            return claims.sub if claims else None
        case _:
            value: str | None = getattr(request, source.name)
            return value


def _former(source: UserSource, value: str) -> str:
    """A value that came in a header as an earlier version read it; empty where it read the same.

    Whoever a token names may have been met in a plain header before.
    """
    return "" if source.kind == "body" else former(value)


def _chat(headers: Mapping[str, str], request: ChatCompletionRequest) -> tuple[str | None, str]:
    """The chat's id, and as an earlier version read it, where that differs."""
    for name in CHAT_HEADERS:
        if value := read_header(headers, name):
            return _checked(value, name), former(value)
    for name in CHAT_METADATA:
        named = (request.metadata or {}).get(name)
        if named is not None and not isinstance(named, str):
            raise InvalidRequest(f"`metadata.{name}`: Expected `str`.", f"metadata.{name}")
        if named:
            return _checked(named, f"metadata.{name}"), ""
    return None, ""


def read_header(headers: Mapping[str, str], name: str) -> str | None:
    """A header's value; None, too, where a frontend left its placeholder in (LibreChat, for a field not set)."""
    value = headers.get(name.lower())
    return None if value and "{{" in value and "}}" in value else value


def _checked(value: str, param: str) -> str:
    if len(value) > MAX_ID_LENGTH:
        raise InvalidRequest(f"`{param}` is longer than {MAX_ID_LENGTH} characters.", param)
    return value


def _person(key: Key, source: UserSource, value: str, headers: Mapping[str, str], claims: Claims | None) -> User:
    """A user told by header or token brings name and email; from a body, the id serves as the name."""
    if source.kind == "body":
        return User(key.user_scope, value, value)
    name, email = _described(headers) if claims is None else (claims.name, claims.email)
    name, email = name[:MAX_NAME_LENGTH], email[:MAX_NAME_LENGTH]
    return User(key.user_scope, value, name or value, email, _former(source, value))


def _described(headers: Mapping[str, str]) -> tuple[str, str]:
    """Name and email, as plain headers tell them."""
    return _decoded(read_header(headers, NAME_HEADER) or ""), _decoded(read_header(headers, EMAIL_HEADER) or "")


def _decoded(value: str) -> str:
    """What a frontend had to encode, for a header holds little more than ASCII: in percents, or as LibreChat does."""
    if not value.startswith(LIBRECHAT_ENCODED):
        return unquote(value)
    try:
        return b64decode(value.removeprefix(LIBRECHAT_ENCODED), validate=True).decode()
    except ValueError:
        return value


def _default_user(key: Key) -> User:
    if key.default_user is not None:
        return User(key.user_scope, key.default_user, key.default_user)
    ways = [
        f"`{source.name}` in the body" if source.kind == "body" else f"the header `{source.name}`"
        for source in key.user_from
    ]
    raise UserRequired(f"This key needs to know who is asking: send {' or '.join(ways)}.", "user")
