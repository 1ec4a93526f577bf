"""Literal tags are defused, wherever the text is split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wires.chat_completions.think_tags import THINK_TAGS, Defuser, defuse_answer, restore

ZWSP = "\u200b"
PIECES = ("<think>", "</think>", "<", "</", "<th", "think>", "/think>", "ink>", ">", "a", "\n", "ü")
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text(st.characters(exclude_categories=["Cs"]))
)

# pieces -> what each of them gives, and the flush
DEFUSED: dict[str, tuple[list[str], list[str]]] = {
    "plain text": (["a", "b"], ["a", "b", ""]),
    "nothing": ([], [""]),
    "an empty piece": ([""], ["", ""]),
    "an opening tag": (["a<think>b"], [f"a<{ZWSP}think>b", ""]),
    "a closing tag": (["a</think>b"], [f"a<{ZWSP}/think>b", ""]),
    "two tags": (["<think></think>"], [f"<{ZWSP}think><{ZWSP}/think>", ""]),
    "a tag in two pieces": (["a<th", "ink>b"], ["a", f"<{ZWSP}think>b", ""]),
    "a tag letter by letter": (list("</think>"), [""] * 7 + [f"<{ZWSP}/think>", ""]),
    "a tag all but its end": (["a</think"], ["a", "</think"]),
    "what only began like a tag": (["a<th", "e>"], ["a", "<the>", ""]),
    "a smaller-than at the end": (["a <", " b"], ["a ", "< b", ""]),
    "two smaller-thans": (["<<", "think>"], ["<", f"<{ZWSP}think>", ""]),
    "a beginning within a beginning": (["</th<t", "hink>"], ["</th", f"<{ZWSP}think>", ""]),
    "another tag": (["<thinking><b></b>"], ["<thinking><b></b>", ""]),
    "a tag in capitals": (["<THINK>"], ["<THINK>", ""]),
    "a tag that is defused already": ([f"<{ZWSP}think>"], [f"<{ZWSP}think>", ""]),
}


@pytest.mark.parametrize(("pieces", "expected"), DEFUSED.values(), ids=DEFUSED)
def test_tags_are_defused(pieces: list[str], expected: list[str]) -> None:
    defuser = Defuser()

    assert [defuser.feed(piece) for piece in pieces] + [defuser.flush()] == expected


def test_a_flush_leaves_nothing_behind() -> None:
    defuser = Defuser()
    defuser.feed("a<th")

    assert (defuser.flush(), defuser.flush(), defuser.feed("ink>")) == ("<th", "", "ink>")


def _defused(*pieces: str) -> str:
    defuser = Defuser()
    return "".join([defuser.feed(piece) for piece in pieces]) + defuser.flush()


# an answer -> the same with tags that are text
ANSWERS = {
    "a tag in the text": ("Say <think>.", f"Say <{ZWSP}think>."),
    "thoughts before": ("<think>a</think>Say <think>.", f"<think>a</think>Say <{ZWSP}think>."),
    "thoughts of two steps before": ("<think>a</think>\n<think>b</think>c", "<think>a</think>\n<think>b</think>c"),
    "thoughts without an end": ("<think>a", f"<{ZWSP}think>a"),
    "an end alone": ("</think>a", f"<{ZWSP}/think>a"),
    "no tag": ("a < b", "a < b"),
}


@pytest.mark.parametrize(("text", "defused"), ANSWERS.values(), ids=ANSWERS)
def test_of_an_answer_that_is_told_again_no_tag_is_one_but_those_of_thoughts_before_it(text: str, defused: str) -> None:
    assert defuse_answer(text) == defused


@given(TEXTS)
def test_an_answer_that_is_told_again_can_be_restored(text: str) -> None:
    assert restore(defuse_answer(text)) == restore(text)


@given(st.lists(TEXTS))
def test_any_split_gives_the_text_that_the_whole_gives(pieces: list[str]) -> None:
    assert _defused(*pieces) == _defused("".join(pieces)) == _defused(*"".join(pieces))


@given(st.lists(TEXTS))
def test_no_piece_and_no_whole_holds_a_literal_tag(pieces: list[str]) -> None:
    assert not any(tag in _defused(*pieces) for tag in THINK_TAGS)


@given(st.lists(TEXTS))
def test_no_more_is_held_back_than_may_become_a_tag(pieces: list[str]) -> None:
    defuser = Defuser()
    for piece in pieces:
        defuser.feed(piece)
    held = defuser.flush()

    assert any(tag.startswith(held) and tag != held for tag in THINK_TAGS)


@given(TEXTS)
def test_a_defused_text_can_be_restored(text: str) -> None:
    plain = text.replace(ZWSP, "")

    assert restore(_defused(plain)) == plain
