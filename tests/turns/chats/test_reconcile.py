"""Where a request goes on, as pure decisions: what is known of a chat, and what is asked, against what is done."""

import unicodedata
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Image, Message, image_of
from gateway.http.texts import TEXTS
from gateway.letta.notes import CONTINUE, GO_AHEAD
from gateway.letta.upstream import Past
from gateway.turns.chats.markers import ClientId, pictures_of
from gateway.turns.chats.path import RequestedPath
from gateway.turns.chats.reconcile import NO_IDS, Append, Branch, Decision, Ids, Start, Words, decide, follow
from gateway.wires.chat_completions.request import ChatMessage
from tests.asking import path_shown

Json = dict[str, Any]
Told = list[tuple[str, str]]
"""Role (u or a) and text of each message."""
ROLES = {"u": "user", "a": "assistant", "t": "tool", "s": "system"}


def to_messages(told: Sequence[tuple[str, str]]) -> list[Message]:
    return msgspec.convert([{"role": ROLES[role], "content": text} for role, text in told], list[Message])


def past(*told: tuple[str, ...], open: bool = True) -> Past:
    """A conversation; a user's message may have two digests more: of its answer, and of its parent."""
    messages = [
        msgspec.structs.replace(message, client_id=ClientId(ids[0], ids[1]).new() if ids else "")
        for message, (_, _, *ids) in zip(to_messages([(role, text) for role, text, *_ in told]), told, strict=True)
    ]
    return Past(messages, appendable=open)


def asks(
    known: Sequence[Past], told: Told, ids: Ids = NO_IDS, keeps_history: bool = True, unkept: Sequence[Message] = ()
) -> tuple[str, int, int, Told]:
    """What is done about messages: how, where, after how many, and what is sent."""
    messages: list[Json] = [{"role": ROLES[role], "content": text} for role, text in told]
    for before, message in pairwise(messages):
        if message["role"] == "tool":
            before["tool_calls"], message["tool_call_id"] = [{"id": "c1"}], "c1"
    asked = path_shown(msgspec.convert(messages, list[ChatMessage]))
    return in_short(decide(asked, ids, keeps_history, known, unkept, texts=TEXTS), known)


def in_short(decision: Decision, known: Sequence[Past]) -> tuple[str, int, int, Told]:
    def short(messages: list[Message]) -> Told:
        return [(message.role[0], message.content) for message in messages]

    match decision:
        case Append():
            return "append", decision.at, len(known[decision.at].messages), short(decision.news)
        case Branch():
            return "branch", decision.at, decision.kept, short(decision.news)
        case Start():
            return "start", 0, 0, short(decision.path)


def append(news: Told, at: int = 0, after: int = 0) -> tuple[str, int, int, Told]:
    return "append", at, after, news


def branch(kept: int, news: Told, at: int = 0) -> tuple[str, int, int, Told]:
    return "branch", at, kept, news


def start(path: Told) -> tuple[str, int, int, Told]:
    return "start", 0, 0, path


RED, BLUE = image_of("image/png", "cmVk"), image_of("image/png", "Ymx1ZQ==")
FILES = '<attached_files>\n<file type="image" id="1" url="1" name="red.png"/>\n</attached_files>\n\n'
CONTEXT = "Answer with <context>a page</context>\n"


def question(text: str, *images: Image, sent_as: tuple[Image, ...] = ()) -> Message:
    """A user's message; `sent_as`: of which pictures Letta has made these."""
    client_id = ClientId(pictures=pictures_of(Message("user", "", images=sent_as))).new() if sent_as else ""
    return Message("user", text, client_id, images=images)


# An earlier version read the ids of a chat otherwise
READ_BEFORE: dict[str, tuple[Told, Ids, tuple[str, int, int, Told]]] = {
    "the next message": (
        [("u", "More")],
        Ids("n2", "q2", "now", former=Ids("b2", "p2", "before")),
        ("append", 1, 2, [("u", "More")]),
    ),
    "the first message of a branch": (
        [("u", "Hello there")],
        Ids("n2", "q2", "n1", former=Ids("b2", "p2", "root")),
        ("branch", 2, 2, [("u", "Hello there")]),
    ),
    "on with an answer": (
        [("a", "Hel")],
        Ids("now", former=Ids("before")),
        ("append", 1, 2, [("u", CONTINUE)]),
    ),
    "of both readings the present": (
        [("u", "More")],
        Ids("n2", "q2", "other", former=Ids("b2", "p2", "before")),
        ("append", 0, 2, [("u", "More")]),
    ),
}


@pytest.mark.parametrize(("told", "ids", "done"), READ_BEFORE.values(), ids=READ_BEFORE)
def test_a_message_is_known_by_its_id_as_an_earlier_version_read_it(
    told: Told, ids: Ids, done: tuple[str, int, int, Told]
) -> None:
    known = [
        past(("u", "Hi", "other", ""), ("a", "Other")),
        past(("u", "Hi", "before", ""), ("a", "Hello")),
        past(("u", "Old", "root", ""), ("a", "Yes"), ("u", "Hi", "leaf", "root"), ("a", "No")),
    ]

    assert asks(known, told, ids, keeps_history=False) == done


# What was asked, what is asked now, and whether that is the same question.
QUESTIONS: dict[str, tuple[Message, Message, bool]] = {
    "the same picture": (question("Look", RED), question("Look", RED), True),
    "the same picture elsewhere in the text": (
        question("Look there", msgspec.structs.replace(RED, at=4)),
        question("Look\nthere", RED),
        True,
    ),
    "the same picture, which is not kept": (question("Look", RED).light, question("Look", RED), True),
    "the same picture, of which Letta has made another": (
        question("Look", BLUE, sent_as=(RED,)),
        question("Look", RED),
        True,
    ),
    "the same picture, which Letta does not list": (question("Look", sent_as=(RED,)), question("Look", RED), True),
    "another picture": (question("Look", RED), question("Look", BLUE), False),
    "a picture more": (question("Look", RED), question("Look", RED, BLUE), False),
    "the pictures in another order": (question("Look", RED, BLUE), question("Look", BLUE, RED), False),
    "no picture any more": (question("Look", RED), question("Look"), False),
    "a picture now": (question("Look"), question("Look", RED), False),
    "other words about it": (question("Look", RED), question("See", RED), False),
    "the same picture alone": (question("", RED), question("", RED), True),
    "another picture alone": (question("", RED), question("", BLUE), False),
    "a picture alone, with documents found for it": (question(CONTEXT, RED), question("", RED), True),
    "another, with documents found for it": (question(CONTEXT, RED), question("", BLUE), False),
    "a question, and with its files before": (question(FILES + "Look", RED), question("Look", RED), True),
    "another question with the same files": (question(FILES + "Look"), question(FILES + "See"), False),
    "documents alone": (question(CONTEXT), question("Answer with <context>another</context>"), False),
}


@pytest.mark.parametrize(("kept", "asked", "same"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_is_its_words_and_its_pictures(kept: Message, asked: Message, same: bool) -> None:
    assert follow([kept], [asked], lenient=False, words=Words(TEXTS)) == ((1, 1) if same else (0, 0))


@pytest.mark.parametrize("again", [True, False], ids=["the same picture", "another picture"])
def test_a_message_that_nobody_has_answered_comes_again_with_its_picture(again: bool) -> None:
    unkept = [question("Look", RED)]
    news = question("Look", RED if again else BLUE)
    decision = decide(RequestedPath([news]), NO_IDS, False, [], unkept)

    assert decision == Start([news] if again else [*unkept, news])


class Case(NamedTuple):
    known: list[Past]
    told: Told
    done: tuple[str, int, int, Told]
    ids: Ids = NO_IDS


U1, A1, U2, A2, U3, A3, U4 = (
    ("u", "one"),
    ("a", "One."),
    ("u", "two"),
    ("a", "Two."),
    ("u", "three"),
    ("a", "Three."),
    ("u", "four"),
)
GO_ON = ("u", CONTINUE)
UNASKED = ("u", GO_AHEAD)
SYSTEM = ("s", "Speak.")
TWO = past(U1, A1, U2, A2)
THREE = past(U1, A1, U2, A2, U3, A3)
EMPTY = past()
STUCK = past(U1, A1, open=False)

BY_HISTORY: dict[str, Case] = {
    "a first message": Case([], [U1], start([U1])),
    "a first message, where a conversation waits": Case([EMPTY], [U1], append([U1])),
    "the next turn": Case([TWO], [U1, A1, U2, A2, U3], append([U3], after=4)),
    "a chat imported with its history": Case([], [U1, A1, U2, A2, U3], start([U1, A1, U2, A2, U3])),
    "a chat cloned: nothing is known of it": Case([], [U1, A1, U2], start([U1, A1, U2])),
    "Regenerate": Case([TWO], [U1, A1, U2], branch(2, [U2])),
    "Regenerate of the first answer": Case([TWO], [U1], start([U1])),
    "Regenerate of an answer in the middle": Case([THREE], [U1, A1, U2], branch(2, [U2])),
    "Regenerate with a wish": Case([TWO], [U1, A1, U2, A2, ("u", "shorter")], append([("u", "shorter")], after=4)),
    "the turn after it, without the wish": Case(
        [past(U1, A1, U2, A2, ("u", "shorter"), ("a", "2"))],
        [U1, A1, U2, ("a", "2"), U3],
        branch(3, [("a", "2"), U3]),
    ),
    "the turn after it, with the wish": Case(
        [past(U1, A1, U2, A2, ("u", "shorter"), ("a", "2"))],
        [U1, A1, U2, A2, ("u", "shorter"), ("a", "2"), U3],
        append([U3], after=6),
    ),
    "the second turn after it, without the wish": Case(
        [past(U1, A1, U2, ("a", "2"), U3, A3), past(U1, A1, U2, A2, ("u", "shorter"), ("a", "2"))],
        [U1, A1, U2, ("a", "2"), U3, A3, U4],
        append([U4], after=6),
    ),
    "an edit of the first message": Case([THREE], [("u", "ONE")], start([("u", "ONE")])),
    "an edit of a middle message": Case([THREE], [U1, A1, ("u", "TWO")], branch(2, [("u", "TWO")])),
    "an edit of the last message": Case([THREE], [U1, A1, U2, A2, ("u", "THREE")], branch(4, [("u", "THREE")])),
    "the turn after an edit": Case(
        [past(U1, A1, ("u", "TWO"), A2), THREE], [U1, A1, ("u", "TWO"), A2, U3], append([U3], after=4)
    ),
    "the other branch": Case([past(U1, A1, ("u", "TWO"), A2), TWO], [U1, A1, U2, A2, U3], append([U3], at=1, after=4)),
    "an edit of an answer": Case([TWO], [U1, ("a", "1!"), U2, A2, U3], branch(1, [("a", "1!"), U2, A2, U3])),
    "an edit of the last answer": Case([TWO], [U1, A1, U2, ("a", "2!"), U3], branch(3, [("a", "2!"), U3])),
    "an edit that adds to an answer": Case(
        [TWO], [U1, A1, U2, ("a", "Two. Or 3."), U3], branch(3, [("a", "Two. Or 3."), U3])
    ),
    "an answer that nobody asks for, first of all": Case([], [SYSTEM], start([UNASKED])),
    "the turn after it": Case([past(UNASKED, A1)], [SYSTEM, A1, U2], append([U2], after=2)),
    "the turn after that": Case([past(UNASKED, A1, U2, A2)], [SYSTEM, A1, U2, A2, U3], append([U3], after=4)),
    "the turn after it, where another was seen": Case(
        [past(UNASKED, A1)], [SYSTEM, ("a", "1!"), U2], start([("a", "1!"), U2])
    ),
    "the turn after one that said nothing": Case([past(UNASKED)], [SYSTEM, A1, U2], start([A1, U2])),
    "the same, asked for again": Case([past(UNASKED, A1)], [SYSTEM], start([UNASKED])),
    "an answer that nobody asks for": Case([past(U1, A1)], [SYSTEM, U1, A1, SYSTEM], append([UNASKED], after=2)),
    "the turn after an answer that nobody had asked for": Case(
        [past(U1, A1, UNASKED, A2)], [SYSTEM, U1, A1, A2, U3], append([U3], after=4)
    ),
    "the same, with the two answers as one": Case(
        [past(U1, A1, UNASKED, A2)], [SYSTEM, U1, ("a", "One.Two."), U3], append([U3], after=4)
    ),
    "the turn after it, which is not on screen": Case(
        [past(U1, A1, UNASKED, A2)], [SYSTEM, U1, A1, U3], branch(2, [U3])
    ),
    "Continue": Case([past(U1, A1)], [U1, A1], append([GO_ON], after=2)),
    "Continue after other turns": Case([THREE], [U1, A1, U2, A2], branch(4, [GO_ON])),
    "the turn after Continue": Case(
        [past(U1, A1, GO_ON, ("a", "Or 1."))], [U1, ("a", "One.Or 1."), U2], append([U2], after=4)
    ),
    "the turn after Continue, which was stopped": Case(
        [past(U1, A1, GO_ON, ("a", "Or 1."))], [U1, ("a", "One.Or"), U2], append([U2], after=4)
    ),
    "the turn after Continue, which is not on screen": Case(
        [past(U1, A1, GO_ON, ("a", "Or 1."))], [U1, A1, U2], branch(2, [U2])
    ),
    "Continue again": Case([past(U1, A1, GO_ON, ("a", "Or 1."))], [U1, ("a", "One.Or 1.")], append([GO_ON], after=4)),
    "the turn after Continue twice": Case(
        [past(U1, A1, GO_ON, ("a", "Or 1.")), past(U1, A1)], [U1, ("a", "One.Or 1."), U2], append([U2], after=4)
    ),
    "an answer that Stop cut": Case([past(U1, A1)], [U1, ("a", "On"), U2], append([U2], after=2)),
    "an answer that Stop cut, of which Letta kept nothing": Case(
        [EMPTY], [U1, ("a", "On"), U2], append([U1, ("a", "On"), U2])
    ),
    "an answer that Stop cut, and no turn can be added": Case([STUCK], [U1, A1, U2], branch(2, [U2])),
    "a missing answer in the middle": Case([TWO], [U1, U2, A2, U3], append([U3], after=4)),
    "a missing answer of which Letta kept nothing": Case([past(U1, A1)], [U1, A1, U2, U3], append([U2, U3], after=2)),
    "a missing answer that Letta kept": Case([TWO], [U1, A1, U2, U3], branch(3, [U3])),
    "an answer without its thoughts": Case(
        [past(U1, ("a", "<think>Hm.</think>One."))], [U1, A1, U2], append([U2], after=2)
    ),
    "an answer with thoughts that Letta has not": Case(
        [past(U1, A1)], [U1, ("a", "<think>Hm.</think>\n\nOne."), U2], append([U2], after=2)
    ),
    "an answer with details": Case(
        [past(U1, A1)],
        [U1, ("a", '<details type="reasoning" done="true">\n> Hm.\n</details>\nOne.'), U2],
        append([U2], after=2),
    ),
    "an answer with other spaces": Case(
        [past(U1, ("a", "One.\n\nOr 1."))], [U1, ("a", " One. Or 1."), U2], append([U2], after=2)
    ),
    "an answer whose tools were expanded": Case(
        [past(U1, ("a", "Let me see.\n\nIt is 1."))],
        [U1, ("a", "Let me see."), ("t", "1"), ("a", "It is 1."), U2],
        append([U2], after=2),
    ),
    "a question in a template, and bare before": Case(
        [past(U1, A1)],
        [("u", "### Task\n<context>\nsources\n</context>\n\none"), A1, U2],
        append([U2], after=2),
    ),
    "a bare question, and in a template before": Case(
        [past(("u", "### Task\n<context>\nsources\n</context>\n\none"), A1)], [U1, A1, U2], append([U2], after=2)
    ),
    "another question in the same template": Case(
        [past(("u", "<context>\nsources\n</context>\n\none"), A1)],
        [("u", "<context>\nsources\n</context>\n\nuno"), A1, U2],
        start([("u", "<context>\nsources\n</context>\n\nuno"), A1, U2]),
    ),
    "two templates with nothing after them": Case(
        [past(("u", "<context>\none\n</context>"), A1)],
        [("u", "<context>\ntwo\n</context>"), A1, U2],
        start([("u", "<context>\ntwo\n</context>"), A1, U2]),
    ),
    "identical messages": Case([past(U1, A1, U1, A1)], [U1, A1, U1, A1, U1], append([U1], after=4)),
    "Regenerate among identical messages": Case([past(U1, A1, U1, A1)], [U1, A1, U1], branch(2, [U1])),
    "the branch that holds exactly what is on screen, before one of which that is the beginning": Case(
        [past(U1, ("a", "One. Or so.")), past(U1, A1)], [U1, A1, U2], append([U2], at=1, after=2)
    ),
    "the branch used last, of two that hold the same": Case(
        [past(U1, A1), past(U1, A1)], [U1, A1, U2], append([U2], after=2)
    ),
    "the branch that holds nothing else, of two that hold the path": Case(
        [TWO, past(U1, A1)], [U1, A1, U3], append([U3], at=1, after=2)
    ),
    "the branch that holds more": Case([past(U1, A1), TWO], [U1, A1, U2, A2, U3], append([U3], at=1, after=4)),
    "an older branch with a cut answer is another": Case(
        [past(("u", "uno"), ("a", "Uno.")), past(U1, A1)], [U1, ("a", "On"), U2], branch(1, [("a", "On"), U2], at=1)
    ),
    "a changed system text": Case([TWO], [("s", "Rhyme"), U1, A1, U2, A2, U3], append([U3], after=4)),
}


@pytest.mark.parametrize(("known", "told", "done", "ids"), BY_HISTORY.values(), ids=BY_HISTORY)
def test_without_ids_the_history_decides(
    known: list[Past], told: Told, done: tuple[str, int, int, Told], ids: Ids
) -> None:
    assert asks(known, told, ids) == done


# The conversation of a frontend that sends ids: a1 answers the first message, a2 the one that follows a1.
NAMED = past((*U1, "a1", ""), A1, (*U2, "a2", "a1"), A2)
SAME = past((*U1, "a1", ""), A1, (*U1, "a2", "a1"), A1)

BY_ID: dict[str, Case] = {
    "a first message": Case([], [U1], start([U1]), Ids("a1", "q1", "")),
    "a first message, where a conversation waits": Case([NAMED, EMPTY], [U1], append([U1], at=1), Ids("a1", "q1", "")),
    "the next turn": Case([NAMED], [U1, A1, U2, A2, U3], append([U3], after=4), Ids("a3", "q3", "a2")),
    "Regenerate": Case([NAMED], [U1, A1, U2], branch(2, [U2]), Ids("a9", "q2", "a1")),
    "Regenerate of the first answer": Case([NAMED], [U1], start([U1]), Ids("a9", "q1", "")),
    "Regenerate with a wish": Case(
        [NAMED],
        [U1, A1, U2, A2, ("u", "shorter")],
        branch(2, [U2, A2, ("u", "shorter")]),
        Ids("a9", "q2", "a1"),
    ),
    "the turn after it, without the wish": Case(
        [past((*U1, "a1", ""), A1, U2, A2, ("u", "shorter", "a9", "a1"), ("a", "2")), NAMED],
        [U1, A1, U2, ("a", "2"), U3],
        branch(3, [("a", "2"), U3]),
        Ids("a3", "q3", "a9"),
    ),
    "the turn after it, with the wish": Case(
        [past((*U1, "a1", ""), A1, U2, A2, ("u", "shorter", "a9", "a1"), ("a", "2")), NAMED],
        [U1, A1, U2, A2, ("u", "shorter"), ("a", "2"), U3],
        append([U3], after=6),
        Ids("a3", "q3", "a9"),
    ),
    "an edit of the first message": Case([NAMED], [("u", "uno")], start([("u", "uno")]), Ids("a9", "q9", "")),
    "an edit of a later message": Case([NAMED], [U1, A1, U3], branch(2, [U3]), Ids("a9", "q9", "a1")),
    "an edit that changes nothing": Case([NAMED], [U1, A1, U2], branch(2, [U2]), Ids("a9", "q9", "a1")),
    "an edit among identical messages": Case([SAME], [U1, A1, U1], branch(2, [U1]), Ids("a9", "q9", "a1")),
    "the next turn among identical messages": Case(
        [SAME], [U1, A1, U1, A1, U1], append([U1], after=4), Ids("a9", "q9", "a2")
    ),
    "the other branch": Case(
        [past((*U1, "a1", ""), A1, (*U3, "a9", "a1"), A3), NAMED],
        [U1, A1, U2, A2, U3],
        append([U3], at=1, after=4),
        Ids("a3", "q3", "a2"),
    ),
    "of branches with the same words, the one that is meant": Case(
        [past((*U1, "a8", ""), A1), past((*U1, "a9", ""), A1)],
        [U1, A1, U2],
        append([U2], at=1, after=2),
        Ids("a3", "q3", "a9"),
    ),
    "an answer edited in its place": Case(
        [NAMED], [U1, ("a", "1!"), U2, A2, U3], branch(1, [("a", "1!"), U2, A2, U3]), Ids("a3", "q3", "a2")
    ),
    "an answer edited as a copy: its id is unknown": Case(
        [NAMED], [U1, A1, U2, ("a", "2!"), U3], branch(3, [("a", "2!"), U3]), Ids("a3", "q3", "a7")
    ),
    "a turn that failed: its id is unknown": Case(
        [NAMED], [U1, A1, U2, A2, U3, U4], append([U3, U4], after=4), Ids("a4", "q4", "a3")
    ),
    "Regenerate that failed: the answer before it is gone": Case(
        [past((*U1, "a1", ""), A1)], [U1, U2], branch(1, [U2]), Ids("a3", "q3", "a2")
    ),
    "a chat cloned: its ids are unknown": Case([], [U1, A1, U2], start([U1, A1, U2]), Ids("a3", "q3", "a1")),
    "Continue": Case([NAMED], [U1, A1, U2, A2], append([GO_ON], after=4), Ids("a2", "q2", "a1")),
    "Continue of an answer in the middle": Case([NAMED], [U1, A1], branch(2, [GO_ON]), Ids("a1", "q1", "")),
    "the turn after Continue": Case(
        [past((*U1, "a1", ""), A1, (*GO_ON, "a1", ""), ("a", "Or 1."))],
        [U1, ("a", "One.Or 1."), U2],
        append([U2], after=4),
        Ids("a2", "q2", "a1"),
    ),
    "a conversation to which no turn can be added": Case(
        [past((*U1, "a1", ""), A1, open=False)], [U1, A1, U2], branch(2, [U2]), Ids("a2", "q2", "a1")
    ),
    "a question that a filter had changed": Case(
        [past(("u", "(Be kind.) one", "a1", ""), A1)],
        [U1, A1, ("u", "(Be kind.) two")],
        append([("u", "(Be kind.) two")], after=2),
        Ids("a2", "q2", "a1"),
    ),
    "questions that a filter had changed, and the last again": Case(
        [past(("u", "*", "a1", ""), A1, ("u", "**", "a2", "a1"), A2)],
        [U1, A1, ("u", "**")],
        branch(2, [("u", "**")]),
        Ids("a9", "q2", "a1"),
    ),
    "a question that a filter had changed, of which the answer was cut": Case(
        [past(("u", "*", "a1", ""), A1)], [U1, ("a", "On"), U2], append([U2], after=2), Ids("a2", "q2", "a1")
    ),
    "a question that a filter had changed, and its answer edited in its place": Case(
        [past(("u", "*", "a1", ""), A1)],
        [U1, ("a", "1!"), U2],
        start([U1, ("a", "1!"), U2]),
        Ids("a2", "q2", "a1"),
    ),
    "of conversations with the same ids, the one with the same words": Case(
        [past(("u", "*", "a1", ""), A1), past((*U1, "a1", ""), A1)],
        [U1, A1, U2],
        append([U2], at=1, after=2),
        Ids("a2", "q2", "a1"),
    ),
    "no parent: the history decides": Case([NAMED], [U1, A1, U2, A2, U3], append([U3], after=4), Ids("a3", "q3")),
}


@pytest.mark.parametrize(("known", "told", "done", "ids"), BY_ID.values(), ids=BY_ID)
def test_a_parent_decides(known: list[Past], told: Told, done: tuple[str, int, int, Told], ids: Ids) -> None:
    assert asks(known, told, ids) == done


# What is known, what was said and not kept, the one new message, ids, and what is done
NEW: dict[str, tuple[list[Past], Told, Told, Ids, tuple[str, int, int, Told]]] = {
    "the first message": ([], [], [U1], NO_IDS, start([U1])),
    "the next": ([TWO], [], [U3], NO_IDS, append([U3], after=4)),
    "the same again": ([past(U1, A1)], [], [U1], NO_IDS, append([U1], after=2)),
    "whatever else is told": ([TWO], [], [U4, ("a", "?"), U3], NO_IDS, append([U3], after=4)),
    "after one that Letta did not keep": ([past(U1, A1)], [U2], [U3], NO_IDS, append([U2, U3], after=2)),
    "after one that was stopped": (
        [past(U1, A1)],
        [U2, ("a", "Tw")],
        [U3],
        NO_IDS,
        append([U2, ("a", "Tw"), U3], after=2),
    ),
    "after a first one that Letta did not keep": ([], [U1], [U2], NO_IDS, start([U1, U2])),
    "one that Letta did not keep, again": ([past(U1, A1)], [U2], [U2], NO_IDS, append([U2], after=2)),
    "one of two that Letta did not keep, again": ([past(U1, A1)], [U2, U3], [U3], NO_IDS, append([U2, U3], after=2)),
    "one that was stopped, again": (
        [past(U1, A1)],
        [U2, ("a", "Tw")],
        [U2],
        NO_IDS,
        append([U2, ("a", "Tw"), U2], after=2),
    ),
    "where no turn can be added": ([STUCK], [U2], [U3], NO_IDS, branch(2, [U2, U3])),
    "Continue": ([past(U1, A1)], [], [A1], NO_IDS, append([GO_ON], after=2)),
    "after a parent": ([NAMED], [], [U3], Ids("a3", "q3", "a2"), append([U3], after=4)),
    "after a parent in the middle": ([NAMED], [], [U3], Ids("a3", "q3", "a1"), branch(2, [U3])),
    "after an unknown parent": ([NAMED], [], [U3], Ids("a3", "q3", "a9"), append([U3], after=4)),
    "after no parent": ([NAMED], [], [U3], Ids("a3", "q3", ""), start([U3])),
}


@pytest.mark.parametrize(("known", "unkept", "told", "ids", "done"), NEW.values(), ids=NEW)
def test_of_a_client_without_history_what_is_new_is_the_next_message(
    known: list[Past], unkept: Told, told: Told, ids: Ids, done: tuple[str, int, int, Told]
) -> None:
    assert asks(known, told, ids, keeps_history=False, unkept=to_messages(unkept)) == done


NFD, HTML = unicodedata.normalize("NFD", "Crème ❤ 한"), 'Say "1 < 2 & 3" & don\'t.'
# What is kept, the path, whether answers may differ, and how many messages of each fit
FOLLOWED: dict[str, tuple[Told, Told, bool, tuple[int, int]]] = {
    "nothing kept": ([], [U1, A1], True, (0, 0)),
    "nothing on the path": ([U1, A1], [], True, (0, 0)),
    "all": ([U1, A1, U2], [U1, A1, U2], False, (3, 3)),
    "the beginning of the path": ([U1, A1], [U1, A1, U2, A2], False, (2, 2)),
    "the beginning of what is kept": ([U1, A1, U2, A2], [U1, A1], False, (2, 2)),
    "another question": ([U1, A1, U2], [U1, A1, U3], True, (2, 2)),
    "another answer": ([U1, A1], [U1, A2], True, (1, 1)),
    "a cut answer": ([U1, A1, U2], [U1, ("a", "On"), U2], True, (3, 3)),
    "a cut answer, strictly": ([U1, A1, U2], [U1, ("a", "On"), U2], False, (1, 1)),
    "a longer answer": ([U1, A1], [U1, ("a", "One. More.")], True, (1, 1)),
    "a missing answer": ([U1, A1, U2], [U1, U2], True, (3, 2)),
    "a missing answer, strictly": ([U1, A1, U2], [U1, U2], False, (1, 1)),
    "two missing answers": ([U1, A1, U2, A2, U3], [U1, U2, U3], True, (5, 3)),
    "an answer that the agent never gave": ([U1, U2], [U1, A1, U2], True, (1, 1)),
    "an answer continued": ([U1, A1, GO_ON, A2], [U1, ("a", "One.Two.")], False, (4, 2)),
    "an answer continued twice": ([U1, A1, GO_ON, A2, GO_ON, A3], [U1, ("a", "One.Two.Three.")], False, (6, 2)),
    "an answer continued twice, shown once": ([U1, A1, GO_ON, A2, GO_ON, A3], [U1, ("a", "One.Two.")], False, (4, 2)),
    "a question after an answer continued": ([U1, A1, GO_ON, A2, U3], [U1, ("a", "One.Two."), U3], False, (5, 3)),
    "a request to go on to which nothing was said": ([U1, A1, GO_ON], [U1, A1, U2], False, (3, 2)),
    "questions in a row": ([U1, U2, A2], [U1, U2, A2], False, (3, 3)),
    "an answer in another form of Unicode": ([U1, ("a", "Crème ❤️ 한")], [U1, ("a", NFD)], False, (2, 2)),
    "an answer that was in that form": ([U1, ("a", NFD)], [U1, ("a", "Crème ❤ 한")], False, (2, 2)),
    "an answer escaped for HTML": ([U1, ("a", HTML)], [U1, ("a", escape(HTML))], False, (2, 2)),
    "an answer escaped for HTML with its thoughts": (
        [U1, ("a", HTML)],
        [U1, ("a", escape(f"<think>Is 1 < 2?</think>{HTML}"))],
        False,
        (2, 2),
    ),
    "an answer that escapes itself": ([U1, ("a", escape(HTML))], [U1, ("a", escape(HTML))], False, (2, 2)),
    "an answer escaped and in another form": ([U1, ("a", "<é>")], [U1, ("a", escape("<e\u0301>"))], False, (2, 2)),
    "a cut answer escaped for HTML": ([U1, ("a", HTML), U2], [U1, ("a", escape(HTML[:9])), U2], True, (3, 3)),
    "an answer continued and escaped": ([U1, ("a", "<"), GO_ON, ("a", ">")], [U1, ("a", "&lt;&gt;")], False, (4, 2)),
    "another answer that is escaped": ([U1, ("a", "1 < 2")], [U1, ("a", "1 &gt; 2")], True, (1, 1)),
    "a question in another form of Unicode": ([("u", "Crème ❤️ 한"), A1], [("u", NFD), A1], False, (2, 2)),
    "a question escaped for HTML": ([("u", HTML), A1], [("u", escape(HTML)), A1], False, (2, 2)),
}


@pytest.mark.parametrize(("kept", "path", "lenient", "fitting"), FOLLOWED.values(), ids=FOLLOWED)
def test_what_is_kept_may_be_the_beginning_of_a_path(
    kept: Told, path: Told, lenient: bool, fitting: tuple[int, int]
) -> None:
    assert follow(to_messages(kept), to_messages(path), lenient, words=Words(TEXTS)) == fitting


TALKS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=8).map(
    lambda texts: [("ua"[i % 2], text) for i, text in enumerate(texts)]
)


@given(st.lists(TALKS, max_size=4), TALKS, st.sampled_from(["a", "b"]))
def test_whatever_is_decided_the_path_is_told_once(talks: list[Told], path: Told, question: str) -> None:
    known = [past(*talk) for talk in talks]
    path = [*path[: len(path) // 2 * 2], ("u", question)]
    how, at, kept, news = asks(known, path)
    told = [*([] if how == "start" else [(m.role[0], m.content) for m in known[at].messages[:kept]]), *news]

    assert [text for role, text in told if role == "u"] == [text for role, text in path if role == "u"]
    assert len(told) == len(path)
    assert all(one[1].startswith(other[1]) for one, other in zip(told, path, strict=True))
