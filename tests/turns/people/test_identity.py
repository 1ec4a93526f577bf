"""Who asks, and in which chat: tables of key, headers and body against user, chat or refusal."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError, InvalidRequest, UserRequired
from gateway.domain.named import Claims
from gateway.frontends.reading import read_named
from gateway.settings import OPEN_KEY, Key, Secret, UserSource
from gateway.turns.chats.markers import id_digest
from gateway.turns.chats.reconcile import NO_IDS, Ids
from gateway.turns.people.identity import Caller, User, keeps_history, message_ids
from gateway.wires.chat_completions.request import ChatCompletionRequest, ChatMessage, decode_request
from tests.asking import asking, called_by, path_shown

Headers = dict[str, str]
Body = dict[str, Any]
USER_ID, USER_NAME, USER_EMAIL = "x-openwebui-user-id", "x-openwebui-user-name", "x-openwebui-user-email"
CHAT_ID, OTHER_CHAT_ID, TEMPORARY_HEADER = "x-openwebui-chat-id", "x-chat-id", "x-temporary-chat"
LONGEST = "u" * 512


def to_key(*user_from: str, **fields: Any) -> Key:
    if user_from:
        fields["user_from"] = tuple(UserSource(source) for source in user_from)
    return Key(name="caller", **fields)


def to_request(body: Body) -> ChatCompletionRequest:
    message = {"role": "user", "content": "Hello"}
    return decode_request(msgspec.json.encode({"model": "tutor", "messages": [message], **body}))


def ask(key: Key, headers: Headers | None = None, body: Body | None = None) -> Caller:
    return called_by(key, headers or {}, to_request(body or {}))[0]


def ids_of(key: Key, headers: Headers, chat: str, former_chat: str = "") -> Ids:
    """The message ids of a request in this chat."""
    caller = Caller(named("ada"), chat, former_chat=former_chat)
    return message_ids(read_named(key, headers, asking([ChatMessage("user", "Hello")])), caller)


PROGRAM = to_key()
FRONTEND = to_key(f"header:{USER_ID}")
MIXED = to_key("header:X-User", f"header:{USER_ID}", "body:user")


class UserCase(NamedTuple):
    key: Key
    headers: Headers
    body: Body
    user: User


def named(id: str, name: str | None = None, email: str = "", scope: str = "caller") -> User:
    return User(scope, id, id if name is None else name, email)


USERS = {
    "the body's user": UserCase(PROGRAM, {}, {"user": "ada"}, named("ada")),
    "the body's safety_identifier": UserCase(PROGRAM, {}, {"safety_identifier": "ada"}, named("ada")),
    "user before safety_identifier": UserCase(PROGRAM, {}, {"safety_identifier": "bob", "user": "ada"}, named("ada")),
    "safety_identifier where user is null": UserCase(
        PROGRAM, {}, {"safety_identifier": "bob", "user": None}, named("bob")
    ),
    "safety_identifier where user is empty": UserCase(
        PROGRAM, {}, {"safety_identifier": "bob", "user": ""}, named("bob")
    ),
    "safety_identifier first": UserCase(
        to_key("body:safety_identifier", "body:user"), {}, {"safety_identifier": "bob", "user": "ada"}, named("bob")
    ),
    "only the sources of the key": UserCase(
        to_key("body:user", default_user="me"), {USER_ID: "eve"}, {"safety_identifier": "eve"}, named("me")
    ),
    "a header": UserCase(FRONTEND, {USER_ID: "ada"}, {}, named("ada")),
    "a header and not the body": UserCase(FRONTEND, {USER_ID: "ada"}, {"user": "eve"}, named("ada")),
    "the first header": UserCase(MIXED, {"x-user": "ada", USER_ID: "bob"}, {"user": "eve"}, named("ada")),
    "the second header": UserCase(MIXED, {USER_ID: "bob"}, {"user": "eve"}, named("bob")),
    "the body after the headers": UserCase(MIXED, {}, {"user": "eve"}, named("eve")),
    "an empty header is absent": UserCase(MIXED, {"x-user": "", USER_ID: "bob"}, {}, named("bob")),
    "a placeholder is absent": UserCase(MIXED, {"x-user": "{{LIBRECHAT_USER_ID}}", USER_ID: "bob"}, {}, named("bob")),
    "a placeholder within is absent": UserCase(MIXED, {"x-user": "id-{{ID}}-x", USER_ID: "bob"}, {}, named("bob")),
    "half a placeholder is a value": UserCase(MIXED, {"x-user": "{{ID", USER_ID: "bob"}, {}, named("{{ID")),
    "single braces are a value": UserCase(MIXED, {"x-user": "{ID}", USER_ID: "bob"}, {}, named("{ID}")),
    "the body may hold a placeholder": UserCase(PROGRAM, {}, {"user": "{{ID}}"}, named("{{ID}}")),
    "a blank id is an id": UserCase(PROGRAM, {}, {"user": " "}, named(" ")),
    "the longest id": UserCase(PROGRAM, {}, {"user": LONGEST}, named(LONGEST)),
    "the longest id of many bytes": UserCase(PROGRAM, {}, {"user": "😀" * 512}, named("😀" * 512)),
    "the longest header": UserCase(FRONTEND, {USER_ID: LONGEST}, {}, named(LONGEST)),
    "a header's id is not decoded": UserCase(FRONTEND, {USER_ID: "a%20b"}, {}, named("a%20b")),
    "name and email": UserCase(
        FRONTEND,
        {USER_ID: "1", USER_NAME: "Ada", USER_EMAIL: "ada@example.org"},
        {},
        named("1", "Ada", "ada@example.org"),
    ),
    "name and email are decoded": UserCase(
        FRONTEND,
        {USER_ID: "1", USER_NAME: "Ad%C3%A9l%20B+C", USER_EMAIL: "ada%40example.org"},
        {},
        named("1", "Adél B+C", "ada@example.org"),
    ),
    "LibreChat's name and email are decoded": UserCase(
        FRONTEND,
        {USER_ID: "1", USER_NAME: "b64:xJBvcsSRZQ==", USER_EMAIL: "b64:xJFAZXhhbXBsZS5vcmc="},
        {},
        named("1", "Đorđe", "đ@example.org"),
    ),
    "what only begins so is a name": UserCase(
        FRONTEND, {USER_ID: "1", USER_NAME: "b64:Ada"}, {}, named("1", "b64:Ada")
    ),
    "what is no text is a name": UserCase(FRONTEND, {USER_ID: "1", USER_NAME: "b64:/w=="}, {}, named("1", "b64:/w==")),
    "an empty name is the id": UserCase(FRONTEND, {USER_ID: "1", USER_NAME: ""}, {}, named("1")),
    "a placeholder is no name": UserCase(
        FRONTEND, {USER_ID: "1", USER_NAME: "{{LIBRECHAT_USER_NAME}}"}, {}, named("1")
    ),
    "a placeholder is no email": UserCase(
        FRONTEND, {USER_ID: "1", USER_EMAIL: "{{LIBRECHAT_USER_EMAIL}}"}, {}, named("1")
    ),
    "a long name and email are cut": UserCase(
        FRONTEND,
        {USER_ID: "1", USER_NAME: "A" * 30_000, USER_EMAIL: "e" * 30_000},
        {},
        named("1", "A" * 256, "e" * 256),
    ),
    "the longest name": UserCase(FRONTEND, {USER_ID: "1", USER_NAME: "A" * 256}, {}, named("1", "A" * 256)),
    "what is cut is what was decoded": UserCase(
        FRONTEND, {USER_ID: "1", USER_NAME: "%C3%A9" * 300}, {}, named("1", "é" * 256)
    ),
    "a body's user has no name of a header": UserCase(
        MIXED, {USER_NAME: "Ada", USER_EMAIL: "ada@example.org"}, {"user": "7"}, named("7")
    ),
    "a default user has no name of a header": UserCase(
        to_key(f"header:{USER_ID}", default_user="me"), {USER_NAME: "Ada"}, {}, named("me")
    ),
    "the default user": UserCase(to_key(default_user="me"), {}, {}, named("me")),
    "the default user last": UserCase(to_key(default_user="me"), {}, {"user": "ada"}, named("ada")),
    "without keys": UserCase(OPEN_KEY, {}, {}, named("me", scope="default")),
    "without keys, a user": UserCase(OPEN_KEY, {}, {"user": "ada"}, named("ada", scope="default")),
    "a scope": UserCase(to_key(scope="school"), {}, {"user": "ada"}, named("ada", scope="school")),
    "a scope of a default": UserCase(to_key(scope="school", default_user="me"), {}, {}, named("me", scope="school")),
    "a bound user": UserCase(to_key(user="alice"), {}, {}, named("alice")),
    "a bound user and a scope": UserCase(to_key(user="alice", scope="school"), {}, {}, named("alice", scope="school")),
    "a bound user, whatever the body says": UserCase(to_key(user="alice"), {}, {"user": "eve"}, named("alice")),
    "a bound user, however long the body's": UserCase(to_key(user="alice"), {}, {"user": "e" * 513}, named("alice")),
    "a bound user, whatever the headers say": UserCase(
        to_key(f"header:{USER_ID}", user="alice"), {USER_ID: "eve", USER_NAME: "Eve"}, {}, named("alice")
    ),
    "a bound user before what user means": UserCase(
        to_key(user="alice", user_means="ignored"), {}, {"user": "eve"}, named("alice")
    ),
    "user means a conversation": UserCase(to_key(user_means="conversation"), {}, {"user": "c1"}, named("caller")),
    "user means a conversation, absent": UserCase(to_key(user_means="conversation"), {}, {}, named("caller")),
    "user is ignored": UserCase(to_key(user_means="ignored"), {}, {"user": "x"}, named("caller")),
    "user is ignored before a default": UserCase(
        to_key(user_means="ignored", default_user="me"), {}, {}, named("caller")
    ),
    "user is ignored in a scope": UserCase(
        to_key(user_means="ignored", scope="school"), {}, {}, named("caller", scope="school")
    ),
}


@pytest.mark.parametrize(("key", "headers", "body", "user"), USERS.values(), ids=USERS.keys())
def test_key_headers_and_body_tell_the_user(key: Key, headers: Headers, body: Body, user: User) -> None:
    assert ask(key, headers, body).user == user


class ChatCase(NamedTuple):
    key: Key
    headers: Headers
    body: Body
    chat: str | None


ME = to_key(default_user="me")
HOME = to_key(user_means="conversation")
CHATS = {
    "none": ChatCase(ME, {}, {}, None),
    "Open WebUI's header": ChatCase(ME, {CHAT_ID: "c1"}, {}, "c1"),
    "the plain header": ChatCase(ME, {OTHER_CHAT_ID: "c1"}, {}, "c1"),
    "Open WebUI's header first": ChatCase(ME, {OTHER_CHAT_ID: "c2", CHAT_ID: "c1"}, {}, "c1"),
    "an empty header is absent": ChatCase(ME, {CHAT_ID: "", OTHER_CHAT_ID: "c2"}, {}, "c2"),
    "a placeholder is absent": ChatCase(ME, {CHAT_ID: "{{CHAT_ID}}", OTHER_CHAT_ID: "c2"}, {}, "c2"),
    "nothing but a placeholder": ChatCase(ME, {CHAT_ID: "{{CHAT_ID}}"}, {}, None),
    "a header is not decoded": ChatCase(ME, {CHAT_ID: "a%20b"}, {}, "a%20b"),
    "a header before metadata": ChatCase(ME, {OTHER_CHAT_ID: "c1"}, {"metadata": {"chat_id": "c2"}}, "c1"),
    "metadata.chat_id": ChatCase(ME, {}, {"metadata": {"chat_id": "c1"}}, "c1"),
    "metadata.conversation_id": ChatCase(ME, {}, {"metadata": {"conversation_id": "c1"}}, "c1"),
    "metadata.thread_id": ChatCase(ME, {}, {"metadata": {"thread_id": "c1"}}, "c1"),
    "metadata.session_id": ChatCase(ME, {}, {"metadata": {"session_id": "c1"}}, "c1"),
    "chat_id first": ChatCase(
        ME, {}, {"metadata": {"session_id": "4", "thread_id": "3", "conversation_id": "2", "chat_id": "1"}}, "1"
    ),
    "conversation_id second": ChatCase(
        ME, {}, {"metadata": {"session_id": "4", "thread_id": "3", "conversation_id": "2"}}, "2"
    ),
    "thread_id third": ChatCase(ME, {}, {"metadata": {"session_id": "4", "thread_id": "3"}}, "3"),
    "null in metadata is absent": ChatCase(ME, {}, {"metadata": {"chat_id": None, "thread_id": "3"}}, "3"),
    "an empty text in metadata is absent": ChatCase(ME, {}, {"metadata": {"chat_id": "", "thread_id": "3"}}, "3"),
    "metadata of other things": ChatCase(ME, {}, {"metadata": {"colour": 7}}, None),
    "null metadata": ChatCase(ME, {}, {"metadata": None}, None),
    "the longest": ChatCase(ME, {}, {"metadata": {"chat_id": LONGEST}}, LONGEST),
    "of a bound user": ChatCase(to_key(user="alice"), {CHAT_ID: "c1"}, {}, "c1"),
    "of a person": ChatCase(PROGRAM, {}, {"user": "ada", "metadata": {"chat_id": "c1"}}, "c1"),
    "of an ignored user": ChatCase(to_key(user_means="ignored"), {CHAT_ID: "c1"}, {"user": "x"}, "c1"),
    "no chat of an ignored user": ChatCase(to_key(user_means="ignored"), {}, {"user": "x"}, None),
    "user means a conversation": ChatCase(HOME, {}, {"user": "c1"}, "c1"),
    "user means a conversation, before a header": ChatCase(HOME, {CHAT_ID: "c2"}, {"user": "c1"}, "c1"),
    "user means a conversation, absent": ChatCase(HOME, {CHAT_ID: "c2"}, {}, "c2"),
    "user of a bound key is no conversation": ChatCase(
        to_key(user="alice", user_means="person"), {}, {"user": "c1"}, None
    ),
}


@pytest.mark.parametrize(("key", "headers", "body", "chat"), CHATS.values(), ids=CHATS.keys())
def test_key_headers_and_body_tell_the_chat(key: Key, headers: Headers, body: Body, chat: str | None) -> None:
    assert ask(key, headers, body).chat == chat


# (key, headers, body, whether the chat is one that a frontend shows, whether it ends with its window)
WINDOWS: dict[str, tuple[Key, Headers, Body, bool, bool]] = {
    "a frontend's chat": (ME, {CHAT_ID: "c1"}, {}, True, False),
    "a frontend's temporary chat": (ME, {CHAT_ID: "temporary:abc"}, {}, True, True),
    "a program's chat": (ME, {OTHER_CHAT_ID: "c1"}, {}, False, False),
    "a program's chat that looks temporary": (ME, {OTHER_CHAT_ID: "temporary:abc"}, {}, False, False),
    "a chat in metadata that looks temporary": (ME, {}, {"metadata": {"chat_id": "temporary:abc"}}, False, False),
    "a placeholder": (ME, {CHAT_ID: "{{CHAT_ID}}", OTHER_CHAT_ID: "c1"}, {}, False, False),
    "no chat": (ME, {}, {}, False, False),
    "a bound user's": (to_key(user="alice"), {CHAT_ID: "temporary:abc"}, {}, True, True),
    "a person's": (FRONTEND, {USER_ID: "ada", CHAT_ID: "temporary:abc"}, {}, True, True),
    "user means a conversation": (HOME, {CHAT_ID: "temporary:abc"}, {"user": "c1"}, False, False),
    "user means a conversation, absent": (HOME, {CHAT_ID: "temporary:abc"}, {}, True, True),
    "user is ignored": (to_key(user_means="ignored"), {CHAT_ID: "temporary:abc"}, {"user": "x"}, True, True),
    "a default user's": (ME, {CHAT_ID: "temporary:abc"}, {}, True, True),
    "a program's that is said to be temporary": (ME, {OTHER_CHAT_ID: "c1", TEMPORARY_HEADER: "true"}, {}, False, True),
    "one without an id that is said to be": (ME, {TEMPORARY_HEADER: "true"}, {}, False, True),
    "a frontend's that is said to be": (ME, {CHAT_ID: "c1", TEMPORARY_HEADER: " True "}, {}, True, True),
    "one that metadata say it of": (ME, {}, {"metadata": {"chat_id": "c1", "temporary": "true"}}, False, True),
    "one that metadata say it of in JSON": (ME, {}, {"metadata": {"temporary": True}}, False, True),
    "a user's that means a conversation": (HOME, {TEMPORARY_HEADER: "true"}, {"user": "c1"}, False, True),
    "one that is said not to be": (ME, {TEMPORARY_HEADER: "false"}, {"metadata": {"temporary": False}}, False, False),
    "one that nothing is said of": (ME, {TEMPORARY_HEADER: ""}, {"metadata": {"temporary": ""}}, False, False),
    "one that metadata say null of": (ME, {}, {"metadata": {"temporary": None}}, False, False),
    "one of a placeholder": (ME, {TEMPORARY_HEADER: "{{TEMPORARY}}"}, {}, False, False),
    "one of which two things are said": (
        ME,
        {TEMPORARY_HEADER: "false"},
        {"metadata": {"temporary": "true"}},
        False,
        True,
    ),
}


@pytest.mark.parametrize(("key", "headers", "body", "frontend", "temporary"), WINDOWS.values(), ids=WINDOWS.keys())
def test_a_chat_of_a_frontend_may_end_with_its_window(
    key: Key, headers: Headers, body: Body, frontend: bool, temporary: bool
) -> None:
    caller = ask(key, headers, body)

    assert (caller.frontend, caller.temporary) == (frontend, temporary)


# (headers, metadata, the place that is named)
UNCLEAR: dict[str, tuple[Headers, Body, str]] = {
    "a header": ({TEMPORARY_HEADER: "yes"}, {}, TEMPORARY_HEADER),
    "a string": ({}, {"temporary": "1"}, "metadata.temporary"),
    "a number": ({}, {"temporary": 1}, "metadata.temporary"),
    "an object": ({}, {"temporary": {"for": 60}}, "metadata.temporary"),
    "one beside a clear one": ({TEMPORARY_HEADER: "true"}, {"temporary": "yes"}, "metadata.temporary"),
}


@pytest.mark.parametrize(("headers", "metadata", "place"), UNCLEAR.values(), ids=UNCLEAR)
def test_a_chat_is_not_kept_by_mistake_for_one_that_is_to_be_forgotten(
    headers: Headers, metadata: Body, place: str
) -> None:
    with pytest.raises(InvalidRequest, match="`true` or `false`") as raised:
        ask(ME, headers, {"metadata": metadata})

    assert raised.value.param == place


# A key, and what its requests say of their chat
NAMED_CHATS: dict[str, tuple[Key, Headers, Body]] = {
    "a header": (ME, {OTHER_CHAT_ID: "c1"}, {}),
    "metadata": (ME, {}, {"metadata": {"chat_id": "c1"}}),
    "user means a conversation": (HOME, {}, {"user": "c1"}),
}


@pytest.mark.parametrize(("key", "headers", "body"), NAMED_CHATS.values(), ids=NAMED_CHATS)
def test_a_temporary_chat_is_another_than_a_kept_one_with_its_id(key: Key, headers: Headers, body: Body) -> None:
    kept, temporary = (ask(key, {**headers, TEMPORARY_HEADER: said}, body) for said in ("false", "true"))

    assert kept.chat == "c1"
    assert temporary.chat not in (None, "c1")


# Message ids

ANSWER_ID, QUESTION_ID, PARENT_ID = "x-message-id", "x-user-message-id", "x-parent-id"
RENAMED = to_key(message_id_header="X-Answer", user_message_id_header="X-Question", parent_id_header="X-Before")


def digest(id: str) -> str:
    return id_digest("c1", id)


# (key, headers, ids)
IDS: dict[str, tuple[Key, Headers, Ids]] = {
    "none": (ME, {}, NO_IDS),
    "all": (
        ME,
        {ANSWER_ID: "a", QUESTION_ID: "q", PARENT_ID: "p"},
        Ids(digest("a"), digest("q"), digest("p")),
    ),
    "the first message of a chat": (
        ME,
        {ANSWER_ID: "a", QUESTION_ID: "q", PARENT_ID: ""},
        Ids(digest("a"), digest("q"), ""),
    ),
    "empty, where only a parent may be": (ME, {ANSWER_ID: "", QUESTION_ID: "", PARENT_ID: ""}, Ids(None, None, "")),
    "placeholders": (
        ME,
        {ANSWER_ID: "{{MESSAGE_ID}}", QUESTION_ID: "{{USER_MESSAGE_ID}}", PARENT_ID: "{{USER_MESSAGE_PARENT_ID}}"},
        NO_IDS,
    ),
    "only a parent": (ME, {PARENT_ID: "p"}, Ids(None, None, digest("p"))),
    "names of the key's own": (
        RENAMED,
        {"x-answer": "a", "x-question": "q", "x-before": "p", ANSWER_ID: "x"},
        Ids(digest("a"), digest("q"), digest("p")),
    ),
    "names that the key has replaced": (RENAMED, {ANSWER_ID: "a", QUESTION_ID: "q", PARENT_ID: "p"}, NO_IDS),
}


@pytest.mark.parametrize(("key", "headers", "ids"), IDS.values(), ids=IDS.keys())
def test_headers_tell_where_a_message_belongs(key: Key, headers: Headers, ids: Ids) -> None:
    assert ids_of(key, headers, "c1") == ids


def test_the_same_message_id_in_two_chats_is_two_ids() -> None:
    one, other = (ids_of(ME, {ANSWER_ID: "a", PARENT_ID: "p"}, chat) for chat in ("c1", "c2"))

    assert one.answer != other.answer
    assert one.parent != other.parent


# Ids as an earlier version read them

MISREAD = "Ã©"
# (key, headers, body, the user's former id, the chat's)
FORMER: dict[str, tuple[Key, Headers, Body, str, str]] = {
    "ASCII": (FRONTEND, {USER_ID: "ada", CHAT_ID: "c1"}, {}, "", ""),
    "a header": (FRONTEND, {USER_ID: "é"}, {}, MISREAD, ""),
    "a chat's header": (FRONTEND, {USER_ID: "ada", CHAT_ID: "é"}, {}, "", MISREAD),
    "a chat's other header": (FRONTEND, {USER_ID: "é", OTHER_CHAT_ID: "é"}, {}, MISREAD, MISREAD),
    "what looks misread": (FRONTEND, {USER_ID: MISREAD, CHAT_ID: MISREAD}, {}, "", ""),
    "the body": (PROGRAM, {}, {"user": "é", "metadata": {"chat_id": "é"}}, "", ""),
    "a body's user in a header's chat": (PROGRAM, {CHAT_ID: "é"}, {"user": "é"}, "", MISREAD),
    "a default user": (ME, {CHAT_ID: "é"}, {}, "", MISREAD),
    "a bound user": (to_key(user="é"), {CHAT_ID: "é"}, {}, "", MISREAD),
    "a conversation in a header": (to_key("header:X-C", user_means="conversation"), {"x-c": "é"}, {}, "", MISREAD),
    "a conversation in the body": (HOME, {CHAT_ID: "é"}, {"user": "é"}, "", ""),
    "no conversation": (HOME, {CHAT_ID: "é"}, {}, "", MISREAD),
}


@pytest.mark.parametrize(("key", "headers", "body", "user", "chat"), FORMER.values(), ids=FORMER.keys())
def test_ids_of_headers_are_known_as_an_earlier_version_read_them(
    key: Key, headers: Headers, body: Body, user: str, chat: str
) -> None:
    caller = ask(key, headers, body)

    assert (caller.user.former_id, caller.former_chat) == (user, chat)


def test_whoever_a_token_names_may_have_been_met_in_a_header() -> None:
    key = to_key("jwt:X-Token", jwt_secret=Secret("s" * 32))
    caller, _ = called_by(key, {"x-token": "any"}, to_request({}), Claims("é", "E" * 300, "e" * 300))

    assert caller.user == User("caller", "é", "E" * 256, "e" * 256, MISREAD)


# (headers, the chat as it was read before) -> ids as they were read before; None where they are the same
FORMER_IDS: dict[str, tuple[Headers, str, Ids | None]] = {
    "ASCII": ({ANSWER_ID: "a", QUESTION_ID: "q", PARENT_ID: "p"}, "", None),
    "none": ({}, "", None),
    "none, in a chat that was read otherwise": ({}, "c0", None),
    "one of them": (
        {ANSWER_ID: "é", PARENT_ID: "p"}, "", Ids(id_digest("c1", MISREAD), None, id_digest("c1", "p")),
    ),
    "all of them": (
        {ANSWER_ID: "é", QUESTION_ID: "é", PARENT_ID: "é"},
        "",
        Ids(id_digest("c1", MISREAD), id_digest("c1", MISREAD), id_digest("c1", MISREAD)),
    ),
    "in a chat that was read otherwise": ({ANSWER_ID: "a", PARENT_ID: ""}, "c0", Ids(id_digest("c0", "a"), None, "")),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "chat", "before"), FORMER_IDS.values(), ids=FORMER_IDS.keys())
def test_message_ids_are_known_as_an_earlier_version_read_them(headers: Headers, chat: str, before: Ids | None) -> None:
    assert ids_of(ME, headers, "c1", chat).former == before


def test_a_message_id_that_was_too_long_as_it_was_read_before_is_one() -> None:
    assert ids_of(ME, {ANSWER_ID: "é" * 512}, "c1").answer == digest("é" * 512)


@pytest.mark.parametrize("name", [ANSWER_ID, QUESTION_ID, PARENT_ID])
def test_a_message_id_that_is_too_long_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ids_of(ME, {name: "m" * 513}, "c1")

    assert caught.value.param == name


# Whether a request tells the whole chat

FULL, NEW = to_key(default_user="me", history="full"), to_key(default_user="me", history="new")
LONE, LONG = ["Hi"], ["Hi", "Hello", "More"]
HISTORIES: dict[str, tuple[Key, Headers, Body, list[str], bool]] = {
    "one message of a frontend's chat is its first": (ME, {CHAT_ID: "c1"}, {}, LONE, True),
    "one message of a program's chat is the next": (ME, {OTHER_CHAT_ID: "c1"}, {}, LONE, False),
    "one message of a chat in metadata is the next": (ME, {}, {"metadata": {"chat_id": "c1"}}, LONE, False),
    "one message of a conversation that the user means is the next": (HOME, {}, {"user": "c1"}, LONE, False),
    "one message without a chat is the first": (ME, {}, {}, LONE, True),
    "several messages are the whole chat": (ME, {OTHER_CHAT_ID: "c1"}, {}, LONG, True),
    "several messages of a frontend's chat": (ME, {CHAT_ID: "c1"}, {}, LONG, True),
    "several messages without a chat": (ME, {}, {}, LONG, True),
    "a key for whole chats": (FULL, {OTHER_CHAT_ID: "c1"}, {}, LONE, True),
    "a key for new messages": (NEW, {CHAT_ID: "c1"}, {}, LONG, False),
}


@pytest.mark.parametrize(("key", "headers", "body", "said", "whole"), HISTORIES.values(), ids=HISTORIES.keys())
def test_the_key_or_else_the_chat_id_tells_what_a_message_alone_means(
    key: Key, headers: Headers, body: Body, said: list[str], whole: bool
) -> None:
    roles: list[Any] = ["user", "assistant", "user"]
    asked = path_shown([ChatMessage(role, text) for role, text in zip(roles, said, strict=False)])

    assert keeps_history(key, ask(key, headers, body), asked) is whole


class Refusal(NamedTuple):
    key: Key
    headers: Headers
    body: Body
    error: type[GatewayError]
    param: str


TOO_LONG = "u" * 513
REFUSALS = {
    "nobody named": Refusal(PROGRAM, {}, {}, UserRequired, "user"),
    "nobody named by header": Refusal(FRONTEND, {}, {"user": "eve"}, UserRequired, "user"),
    "nobody but a placeholder": Refusal(FRONTEND, {USER_ID: "{{ID}}"}, {}, UserRequired, "user"),
    "nobody but an empty header": Refusal(FRONTEND, {USER_ID: ""}, {}, UserRequired, "user"),
    "nobody but an empty user": Refusal(PROGRAM, {}, {"user": ""}, UserRequired, "user"),
    "user too long": Refusal(PROGRAM, {}, {"user": TOO_LONG}, InvalidRequest, "user"),
    "safety_identifier too long": Refusal(
        PROGRAM, {}, {"safety_identifier": TOO_LONG}, InvalidRequest, "safety_identifier"
    ),
    "too long goes before a default": Refusal(ME, {}, {"user": TOO_LONG}, InvalidRequest, "user"),
    "a header too long": Refusal(FRONTEND, {USER_ID: TOO_LONG}, {}, InvalidRequest, USER_ID),
    "a conversation too long": Refusal(HOME, {}, {"user": TOO_LONG}, InvalidRequest, "user"),
    "a chat header too long": Refusal(ME, {CHAT_ID: TOO_LONG}, {}, InvalidRequest, CHAT_ID),
    "a chat too long": Refusal(ME, {}, {"metadata": {"chat_id": TOO_LONG}}, InvalidRequest, "metadata.chat_id"),
    "a chat that is a number": Refusal(ME, {}, {"metadata": {"thread_id": 7}}, InvalidRequest, "metadata.thread_id"),
    "a chat that is a list": Refusal(ME, {}, {"metadata": {"session_id": []}}, InvalidRequest, "metadata.session_id"),
}


@pytest.mark.parametrize(("key", "headers", "body", "error", "param"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_names_the_parameter(
    key: Key, headers: Headers, body: Body, error: type[GatewayError], param: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        ask(key, headers, body)

    assert type(caught.value) is error
    assert (caught.value.status_code, caught.value.param) == (400, param)


WAYS = {
    "body": (PROGRAM, ["`user` in the body", "`safety_identifier` in the body"]),
    "header": (FRONTEND, [f"the header `{USER_ID}`"]),
    "both": (MIXED, ["the header `x-user`", f"the header `{USER_ID}`", "`user` in the body"]),
}


@pytest.mark.parametrize(("key", "ways"), WAYS.values(), ids=WAYS.keys())
def test_user_required_says_how_to_send_one(key: Key, ways: list[str]) -> None:
    with pytest.raises(UserRequired) as caught:
        ask(key)

    assert caught.value.code == "user_required"
    assert " or ".join(ways) in str(caught.value)


def test_a_refusal_does_not_repeat_the_id() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(PROGRAM, {}, {"user": "Ada Lovelace" * 50})

    assert "Ada" not in str(caught.value)


@given(st.text(min_size=1, max_size=512))
def test_any_text_of_512_characters_is_kept_as_the_id(text: str) -> None:
    assert ask(PROGRAM, {}, {"user": text}).user == named(text)


@given(st.text(min_size=1, max_size=512))
def test_any_text_of_512_characters_is_kept_as_the_chat(text: str) -> None:
    assert ask(ME, {}, {"metadata": {"chat_id": text}}).chat == text


@given(st.text(min_size=513, max_size=600))
def test_any_longer_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="longer than 512"):
        ask(PROGRAM, {}, {"user": text})
