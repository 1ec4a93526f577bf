"""Whether a request was sent before: what of it counts."""

from typing import Any

import msgspec
import pytest

from gateway.domain.errors import InvalidRequest
from gateway.http.incoming.headers import IDEMPOTENCY_HEADER, RETRY_HEADER, read_resend
from gateway.settings import AgentType, Key
from gateway.turns.chats.reconcile import NO_IDS, Ids
from gateway.turns.people.identity import Caller, User
from gateway.turns.runs.resend import Sent, to_sent
from gateway.turns.turn import Turn
from tests.turns.turns import turn

KEY = Key(name="school")
BODY = b'{"model": "tutor"}'
IDS = Ids("answer", "question", "")


def sent(headers: dict[str, str] | None = None, key: Key = KEY, asked: Turn | None = None, body: bytes = BODY) -> Sent:
    return to_sent(key, read_resend(headers or {}), asked or turn(), body)


def of(**fields: Any) -> Turn:
    return msgspec.structs.replace(turn(), **fields)


OTHERS: dict[str, Sent] = {
    "key": sent(key=Key(name="work")),
    "user": sent(asked=of(caller=Caller(User("school", "bob", "bob"), "chat", True))),
    "scope": sent(asked=of(caller=Caller(User("work", "ada", "ada"), "chat", True))),
    "chat": sent(asked=turn(chat="other")),
    "no chat": sent(asked=turn(chat=None)),
    "model": sent(asked=turn(agent_type=AgentType(id="cook", model="m/one"))),
    "answer's id": sent(asked=of(ids=Ids("other"))),
    "question's id": sent(asked=of(ids=Ids(None, "other"))),
    "parent's id": sent(asked=of(ids=Ids(None, None, "other"))),
    "an empty parent's id": sent(asked=of(ids=Ids(None, None, ""))),
    "body": sent(body=b'{"model": "tutor" }'),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_request_of_another_is_another(other: Sent) -> None:
    assert other.request != sent().request


def test_the_same_request_is_the_same_whatever_its_marks() -> None:
    marked = sent({RETRY_HEADER: "2", IDEMPOTENCY_HEADER: "one"})

    assert marked.request == sent().request
    assert sent().request == sent().request


def test_an_idempotency_key_counts_within_key_and_user_whatever_it_is_sent_with() -> None:
    headers = {IDEMPOTENCY_HEADER: "one"}
    mine = sent(headers).idempotency_key

    assert mine
    assert sent(headers, body=b"{}", asked=turn(chat="other")).idempotency_key == mine
    assert sent(headers, key=Key(name="work")).idempotency_key != mine
    assert sent(headers, asked=turn(user="bob")).idempotency_key != mine
    assert sent({IDEMPOTENCY_HEADER: "two"}).idempotency_key != mine
    assert sent().idempotency_key == sent({IDEMPOTENCY_HEADER: ""}).idempotency_key == ""


# headers, whether the client says that it sends it again, whether its requests can be told apart
MARKS: dict[str, tuple[dict[str, str], bool, bool]] = {
    "none": ({}, False, False),
    "the first time": ({RETRY_HEADER: "0"}, False, True),
    "the second time": ({RETRY_HEADER: "1"}, True, True),
    "the tenth time": ({RETRY_HEADER: "9"}, True, True),
    "an empty count": ({RETRY_HEADER: ""}, False, True),
    "an idempotency key": ({IDEMPOTENCY_HEADER: "one"}, False, True),
    "both": ({IDEMPOTENCY_HEADER: "one", RETRY_HEADER: "1"}, True, True),
}


@pytest.mark.parametrize(("headers", "again", "apart"), MARKS.values(), ids=MARKS)
def test_a_client_may_say_that_it_sends_a_request_again(headers: dict[str, str], again: bool, apart: bool) -> None:
    marked = sent(headers)

    assert (marked.again, marked.may_come_again) == (again, apart)


@pytest.mark.parametrize(
    ("ids", "alive"), [(IDS, True), (NO_IDS, False), (Ids("answer"), False), (Ids(None, "question"), False)]
)
def test_a_request_that_names_question_and_answer_is_the_same_turn_while_that_is_under_way(
    ids: Ids, alive: bool
) -> None:
    assert sent(asked=of(ids=ids)).alive is alive


def test_an_idempotency_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent({IDEMPOTENCY_HEADER: "k" * 513})

    assert caught.value.param == IDEMPOTENCY_HEADER
    assert sent({IDEMPOTENCY_HEADER: "k" * 512}).idempotency_key
