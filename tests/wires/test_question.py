"""The question whether an agent may do something: its words, and that nothing else is taken for one."""

import json
from time import perf_counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.events import MAX_SHOWN, CallPiece, Event
from gateway.http.texts import visible
from gateway.wires.question import Questions
from tests import events as e
from tests.wires.oracle import played

INTRODUCTION = "**May I do this?** It needs your approval:"
END = "Please answer **yes** or **no** (or “no, because …”); anything else counts as a no."


def wanted(name: str | None, arguments: str | None = None, call_id: str = "call-1") -> Event:
    """A call that needs an approval, or a piece of one."""
    return e.approval_request(name, call_id, arguments=arguments)


def ask(*calls: tuple[str, str]) -> str:
    """The question about calls of these names and arguments."""
    questions = Questions()
    for i, (name, arguments) in enumerate(calls):
        questions.call(CallPiece(f"call-{i}", name, arguments))
    return questions.ask()


# Its words


def test_a_question_names_the_tool_and_shows_its_arguments() -> None:
    assert ask(("Bash", '{"command":"rm -r /tmp/x"}')) == (
        f'{INTRODUCTION}\n\n- run `Bash` with\n  ```json\n  {{\n    "command": "rm -r /tmp/x"\n  }}\n  ```\n\n{END}'
    )


def test_a_question_is_about_all_calls_of_the_step() -> None:
    question = ask(("Write", '{"a": 1}'), ("Read", "{}"))

    assert question.count(INTRODUCTION) == question.count(END) == 1
    assert [line for line in question.splitlines() if line.startswith("- ")] == [
        "- run `Write` with",
        "- run `Read` with",
    ]


def test_where_nothing_waits_nobody_is_asked() -> None:
    assert ask() == ""


def test_a_question_is_put_together_of_pieces_whichever_call_they_belong_to() -> None:
    questions = Questions()
    for name, id, arguments in (
        *(("one", "a", "{"), ("two", "b", "["), (None, "a", '"x"'), (None, "b", "7")),
        *((None, "a", ": 1}"), ("two", "b", "]")),
    ):
        questions.call(CallPiece(id, name or "", arguments))

    assert questions.ask() == ask(("one", '{"x": 1}'), ("two", "[7]"))


# arguments as they came -> as they are shown
SHOWN: dict[str, tuple[str, str]] = {
    "JSON is laid out": ('{"a":[1]}', '```json\n{\n  "a": [\n    1\n  ]\n}\n```'),
    "letters of any language stay": ('{"a":"ü\\u00fc"}', '```json\n{\n  "a": "üü"\n}\n```'),
    "nothing": ("", "```json\n\n```"),
    "what is no JSON stays as it is": ('{"a": ', '```json\n{"a": \n```'),
    "lines that are no JSON": ("rm\n-r", "```json\nrm\n-r\n```"),
    "a fence within": ("a ``` b", "````json\na ``` b\n````"),
    "a longer fence within": ("a ````` b ``` c", "``````json\na ````` b ``` c\n``````"),
    "half of a pair": ('"\\ud83d\\ud83d\\ude00"', '```json\n"\ufffd😀"\n```'),
    "half of a pair in what is no JSON": ("\ud83d", "```json\n\ufffd\n```"),
    "what is nested deeper than can be read": ("[" * 5000, f"```json\n{'[' * 5000}\n```"),
}


@pytest.mark.parametrize(("arguments", "shown"), SHOWN.values(), ids=SHOWN)
def test_arguments_are_shown_in_a_block_that_they_cannot_end(arguments: str, shown: str) -> None:
    _, _, block = ask(("x", arguments)).removesuffix(f"\n\n{END}").partition("- run `x` with\n")

    assert block == "\n".join(f"  {line}" for line in shown.split("\n"))


def test_arguments_of_megabytes_are_shortened() -> None:
    assert len(ask(("x", "y" * 5_000_000))) < MAX_SHOWN + 500


# In an answer


def test_a_question_stands_apart_from_what_the_agent_said() -> None:
    stream = played([e.answer("Let me see."), wanted("x", "{}"), e.stop("requires_approval")])

    assert stream.content == "Let me see.\n\n" + ask(("x", "{}"))
    assert stream.finish_reason == "stop"


def test_a_question_alone_begins_the_answer() -> None:
    stream = played([e.reasoning("Hm."), wanted("x"), wanted(None, "{}"), e.stop("requires_approval")])

    assert stream.content == "<think>Hm.</think>" + ask(("x", "{}"))


def test_a_run_that_does_not_wait_after_all_asks_nothing() -> None:
    assert played([wanted("x", "{}"), e.answer("Done."), e.stop()]).content == "Done."


def test_a_question_may_be_asked_with_any_arguments_whatever() -> None:
    stream = played([wanted("x", '"\\ud83d"'), e.stop("requires_approval")])

    assert '"\ufffd"' in stream.content


# Known again in a history: it is no part of what the agent said.

TRAPS = st.sampled_from(
    [
        *(
            INTRODUCTION,
            END,
            f"{INTRODUCTION}\n",
            f"\n\n{END}",
            f"{END}\n",
            "```",
            "\n",
            "\n\n",
            "  ",
            "- run `x` with\n",
        ),
        *("<think>", "</think>", '<details type="reasoning">', '<details type="tool_calls" name="x">', "</details>"),
        *("ü", "a", '"', "\\", "\r", "\u2028", "\x85", "\ud83d"),
    ]
)
# What a model may give a tool: JSON of traps, and what is none.
TRAPPED = st.lists(TRAPS, max_size=6).map("".join)
ARGUMENTS = st.one_of(TRAPPED.map(lambda text: json.dumps({"a": [text]})), TRAPPED, st.text())
CALLS = st.lists(st.tuples(st.sampled_from(["Bash", "Write"]), ARGUMENTS), min_size=1, max_size=3)
WORDS = st.sampled_from(
    ["", "Hello", "Hello\n\nthere.", "It needs your approval:", "Please answer **yes**", "- run `x`", "  "]
)


def asked_after(text: str, calls: list[tuple[str, str]], thought: str = "") -> str:
    """What a person sees of an answer that ends with a question."""
    thoughts = [e.reasoning(thought)] if thought else []
    waiting = [wanted(name, arguments, f"call-{i}") for i, (name, arguments) in enumerate(calls)]
    return played([*thoughts, e.answer(text), *waiting, e.stop("requires_approval")]).content


@given(WORDS, CALLS, st.sampled_from(["", "Hm.", INTRODUCTION + "\n"]), WORDS)
@example("Hello", [("Bash", json.dumps({"a": END}))], "", "More")
@example("Hello", [("Bash", json.dumps({"a": '<details type="reasoning">'}))], "", "More")
@example("Hello", [("Bash", f"a\n\n{END}")], "Hm.", "More")
def test_a_question_leaves_nothing_in_a_history_and_takes_nothing_along(
    before: str, calls: list[tuple[str, str]], thought: str, after: str
) -> None:
    shown = asked_after(before, calls, thought)

    assert visible(shown) == before.strip()
    assert visible(f"{shown}\n\n{after}").split() == [*before.split(), *after.split()]


LIKE_QUESTIONS = {
    "its first line": f"{INTRODUCTION}\nHello",
    "its last line": f"Hello\n{END}",
    "both, and something else between": f"{INTRODUCTION}\n\nHello\n\n{END}",
    "its first line within another": f"I ask: {INTRODUCTION} Hello\n{END}",
}


@pytest.mark.parametrize("text", LIKE_QUESTIONS.values(), ids=LIKE_QUESTIONS)
def test_what_only_looks_like_a_question_is_what_the_agent_said(text: str) -> None:
    assert visible(text) == text
    assert visible(asked_after(text, [("x", "{}")])) == text


def test_thoughts_that_hold_a_question_are_thoughts_to_their_end() -> None:
    thought = f"I should say:\n{ask(('x', '{}'))}\nand wait."

    assert visible(f"<think>{thought}</think>Hello") == "Hello"


@pytest.mark.parametrize(
    "text", [" " * 300_000, "\n" * 300_000, f"{INTRODUCTION}\n" * 10_000], ids=["spaces", "lines", "first lines"]
)
def test_a_long_answer_is_looked_through_in_no_time(text: str) -> None:
    began = perf_counter()
    visible(f"a{text}b")

    assert perf_counter() - began < 2
