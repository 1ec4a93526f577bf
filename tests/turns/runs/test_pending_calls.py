"""What a request says to calls that wait: a person's yes or no, results, and what is left without an answer."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Message, PendingCall, ToolResult
from gateway.domain.request import ApprovalDecision, ClientTool, ClientTools
from gateway.letta.notes import SAID_ELSE
from gateway.settings import AgentType
from gateway.turns.runs.pending_calls import NO, YES, Answers, answers, verdict
from gateway.turns.turn import Turn
from tests.turns.turns import turn

# A person's words

YESES = [
    *("yes", "Yes", "YES!", " yes \n", "Yes.", "yes, please", "Yes, go ahead!", "**yes**", '"Yes"', "“Yes.”", "(ok)"),
    *("y", "OK", "Okay…", "sure", "Sure!!", "go ahead", "Go  ahead.", "allow", "I approve.", "please do", "of course"),
    *("ja", "Ja!", "oui", "Oui !", "«oui»", "sí", "¡Sí!", "si", "sim", "da", "Да.", "はい", "はい。", "是！"),
]
NOES = [
    *("no", "No", "NO!!", " no.\n", "n", "nope", "never", "stop", "Stop!", "cancel", "don't", "Don’t.", "do not"),
    *("no thanks", "No, thank you.", "please don't", "Please don’t!", "**no**", "‘no’"),
    *("nein", "Nein.", "non", "não", "нет", "Нет!", "いいえ", "いいえ。", "不", "不。"),
]
# words -> why not
REASONS = {
    "No, because it is late": "because it is late",
    "no. It is late.": "It is late.",
    "NO: it is late": "it is late",
    "No - it is late": "it is late",
    "No – it is late": "it is late",
    "no — it is late": "it is late",
    "No, no, never": "no, never",
    "Stop! Not that one": "Not that one",
    "Don’t; it’s late": "it's late",
    "please don't, it is late": "it is late",
    "nein, es ist spät": "es ist spät",
    "いいえ、もう遅い": "もう遅い",
    "no,\n\nit is\nlate": "it is\nlate",
    "  no, it is late": "it is late",
}
ELSES = [
    *("", "  ", "?", "What time is it?", "yes but not now", "yes, but only that one", "yes no", "no yes", "yesterday"),
    *(
        "not yes",
        "maybe",
        "say yes",
        "yes?no",
        "nothing",
        "no way",
        "No problem",
        "northern",
        "okey-dokey",
        "👍",
        "nay",
    ),
    *("I said yes", "Yes. And then what?", "yes\n\nand delete the rest", "do not allow", "go away", "allow nothing"),
]


@pytest.mark.parametrize("words", YESES)
def test_a_plain_yes_allows(words: str) -> None:
    assert verdict(words) == (True, "")


@pytest.mark.parametrize("words", NOES)
def test_a_plain_no_does_not_and_needs_no_reason(words: str) -> None:
    assert verdict(words) == (False, "")


@pytest.mark.parametrize(("words", "why"), REASONS.items(), ids=REASONS)
def test_a_no_may_say_why(words: str, why: str) -> None:
    assert verdict(words) == (False, why)


@pytest.mark.parametrize("words", ELSES)
def test_anything_else_is_a_no(words: str) -> None:
    assert verdict(words) == (False, SAID_ELSE)


def test_no_word_means_both() -> None:
    assert not YES & NO
    assert all(word == word.lower() for word in YES | NO)


@given(st.text())
def test_nothing_but_a_yes_allows(words: str) -> None:
    allowed, _ = verdict(words)

    assert not allowed or any(yes in words.lower().replace(",", " ") for yes in YES)


# Answers to calls

SEARCH, BASH = PendingCall("c1", "search"), PendingCall("c2", "Bash")
DENYING = AgentType(id="tutor", model="m/one", approvals="deny")
TOOLS = ClientTools((ClientTool("search"),))


def said(*texts: str) -> list[Message]:
    return [Message("user", text) for text in texts]


def telling(*results: str, **asked: Any) -> Turn:
    """A turn whose request tells results of the calls of these ids, and of a question."""
    told = turn("Hi")
    given = tuple(ToolResult(id, f"of {id}") for id in results)
    fields = {"called": frozenset(results), "was_asked": True, **asked}
    return msgspec.structs.replace(told, asked=msgspec.structs.replace(told.asked, results=given, **fields))


def result(id: str) -> ToolResult:
    return ToolResult(id, f"of {id}")


# the request, the calls that wait, what is said -> what they are told
ANSWERED: dict[str, tuple[Turn, list[PendingCall], list[Message], Answers]] = {
    "nothing waits": (telling(), [], said("yes"), Answers()),
    "nothing waits, and a result came": (telling("c1"), [], [], Answers()),
    "a result": (telling("c1"), [SEARCH], [], Answers((result("c1"),))),
    "results of others, too": (telling("c0", "c1"), [SEARCH], [], Answers((result("c1"),))),
    "results of others only": (telling("c0"), [SEARCH], [], Answers(denied=("c1",))),
    "one of two": (telling("c1"), [SEARCH, PendingCall("c3", "search")], [], Answers((result("c1"),), denied=("c3",))),
    "a result and a message": (telling("c1"), [SEARCH], said("More"), Answers((result("c1"),))),
    "a yes": (telling(), [BASH], said("yes"), Answers(approved=("c2",))),
    "a yes to two": (telling(), [BASH, PendingCall("c3", "Write")], said("yes"), Answers(approved=("c2", "c3"))),
    "a yes to a question that nobody has seen": (
        telling(was_asked=False),
        [BASH],
        said("yes"),
        Answers(denied=("c2",), reason=SAID_ELSE),
    ),
    "a yes of a client that does not tell what was asked": (
        msgspec.structs.replace(telling(was_asked=False), keeps_history=False),
        [BASH],
        said("yes"),
        Answers(approved=("c2",)),
    ),
    "a yes where nobody is asked": (
        msgspec.structs.replace(telling(), agent_type=DENYING, keeps_history=False),
        [BASH],
        said("yes"),
        Answers(denied=("c2",), reason=SAID_ELSE),
    ),
    "a no to a question that nobody has seen": (telling(was_asked=False), [BASH], said("no"), Answers(denied=("c2",))),
    "a no": (telling(), [BASH], said("no"), Answers(denied=("c2",))),
    "a no with a reason": (telling(), [BASH], said("no, too late"), Answers(denied=("c2",), reason="too late")),
    "something else": (telling(), [BASH], said("What?"), Answers(denied=("c2",), reason=SAID_ELSE)),
    "a yes and another message": (telling(), [BASH], said("yes", "What?"), Answers(denied=("c2",))),
    "no message at all": (telling(), [BASH], [], Answers(denied=("c2",))),
    "a result beside an approval": (telling("c1"), [SEARCH, BASH], [], Answers((result("c1"),), denied=("c2",))),
    "a yes beside a result": (telling("c1"), [SEARCH, BASH], said("yes"), Answers((result("c1"),), denied=("c2",))),
    "a yes to a call of the client's": (
        msgspec.structs.replace(telling(), tools=TOOLS),
        [SEARCH],
        said("yes"),
        Answers(denied=("c1",)),
    ),
    "a yes to a call that the client tells of": (
        telling(called=frozenset({"c1"})),
        [SEARCH],
        said("yes"),
        Answers(denied=("c1",)),
    ),
    "decisions by ids": (
        telling(decisions=(ApprovalDecision("c2", True), ApprovalDecision("c3", False, "too late"))),
        [BASH, PendingCall("c3", "Write"), PendingCall("c4", "Write")],
        [],
        Answers(approved=("c2",), denied=("c3", "c4"), reason="too late"),
    ),
    "a decision beside a result, and words": (
        telling("c1", decisions=(ApprovalDecision("c2", True),)),
        [SEARCH, BASH],
        said("no"),
        Answers((result("c1"),), approved=("c2",)),
    ),
    "a decision about a call that does not wait": (
        telling(decisions=(ApprovalDecision("c9", True),)),
        [BASH],
        said("no"),
        Answers(denied=("c2",)),
    ),
    "a yes to a call of the client's and another": (
        msgspec.structs.replace(telling(), tools=TOOLS),
        [SEARCH, BASH],
        said("yes"),
        Answers(denied=("c1", "c2")),
    ),
}


@pytest.mark.parametrize(("request_", "waiting", "news", "told"), ANSWERED.values(), ids=ANSWERED)
def test_calls_that_wait_are_answered_by_what_the_request_says(
    request_: Turn, waiting: list[PendingCall], news: list[Message], told: Answers
) -> None:
    assert answers(request_, waiting, news) == told


IDS = st.sampled_from(["c1", "c2", "c3"])


@given(st.sets(IDS), st.sets(IDS), st.sampled_from([[], said("yes"), said("no"), said("What?", "yes")]))
def test_every_call_that_waits_has_one_answer_and_no_other_has_any(
    pending: set[str], results: set[str], news: list[Message]
) -> None:
    told = answers(telling(*results), [PendingCall(id, "search") for id in pending], news)
    ids = [*(one.tool_call_id for one in told.results), *told.approved, *told.denied]

    assert sorted(ids) == sorted(pending)
    assert {one.tool_call_id for one in told.results} == pending & results
