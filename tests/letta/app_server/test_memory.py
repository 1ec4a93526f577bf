"""The memory tools of agents on an App Server: which files they reach, and what becomes of a file."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.letta.app_server.memory import (
    MAX_CHARACTERS,
    MEMORY_TOOL_NAMES,
    MEMORY_TOOLS,
    Rejected,
    edit,
    is_block,
    path_of,
)

HEAD = "---\nname: Human\ndescription: about the person\n---\n"

PATHS = {"human": "human.md", "a": "a.md", "notes-2_b": "notes-2_b.md", "0": "0.md", "x" * 64: "x" * 64 + ".md"}


@pytest.mark.parametrize("label", PATHS)
def test_a_label_names_a_file_at_the_root_of_the_memory(label: str) -> None:
    assert path_of({"label": label, "new_string": "x"}) == PATHS[label]


REFUSED_LABELS: dict[str, dict[str, Any]] = {
    "git's configuration": {"label": ".git/config"},
    "git's hooks": {"label": ".git/hooks/pre-commit"},
    "git's folder": {"label": ".git"},
    "the folder above": {"label": "../x"},
    "two dots": {"label": ".."},
    "a sub-folder": {"label": "a/b"},
    "a sub-folder of Windows": {"label": "a\\b"},
    "an absolute path": {"label": "/etc/passwd"},
    "a drive": {"label": "c:x"},
    "a home": {"label": "~"},
    "NUL": {"label": "human\0"},
    "NUL and more": {"label": "human\0.git"},
    "a line end": {"label": "human\n"},
    "a line end within": {"label": "human\nx"},
    "a space": {"label": "my human"},
    "an option": {"label": "-rf"},
    "an underscore first": {"label": "_x"},
    "its extension": {"label": "human.md"},
    "upper case": {"label": "MEMORY"},
    "one letter in upper case": {"label": "Human"},
    "another alphabet": {"label": "humаn"},
    "an accent": {"label": "humän"},
    "a digit of another script": {"label": "x٣"},
    "nothing": {"label": ""},
    "too long": {"label": "x" * 65},
    "null": {"label": None},
    "a number": {"label": 7},
    "a list": {"label": ["human"]},
    "an object": {"label": {"human": 1}},
    "not given": {},
    "a path": {"path": "human.md"},
}


@pytest.mark.parametrize("arguments", REFUSED_LABELS.values(), ids=REFUSED_LABELS)
def test_no_other_label_names_a_file(arguments: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="`label` must be the name of one of your memory blocks"):
        path_of(arguments)


@given(st.text())
def test_whatever_the_label_a_path_has_no_folder_and_no_dot_before_its_end(label: str) -> None:
    try:
        path = path_of({"label": label})
    except Rejected:
        return
    assert path == f"{label}.md"
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


# text before, arguments -> text after
INSERTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "at the end": ("one\ntwo", {"new_string": "three"}, "one\ntwo\nthree"),
    "at the end by number": ("one\ntwo", {"new_string": "three", "insert_line": -1}, "one\ntwo\nthree"),
    "at the end by its line": ("one\ntwo", {"new_string": "three", "insert_line": 2}, "one\ntwo\nthree"),
    "at the beginning": ("one\ntwo", {"new_string": "zero", "insert_line": 0}, "zero\none\ntwo"),
    "in between": ("one\ntwo", {"new_string": "and", "insert_line": 1}, "one\nand\ntwo"),
    "several lines": ("one", {"new_string": "two\nthree"}, "one\ntwo\nthree"),
    "into nothing": ("", {"new_string": "one"}, "one"),
    "into nothing at the beginning": ("", {"new_string": "one", "insert_line": 0}, "one"),
    "after a last line with an end": ("one\n", {"new_string": "two"}, "one\ntwo"),
    "between empty lines": ("one\n\ntwo", {"new_string": "and", "insert_line": 2}, "one\n\nand\ntwo"),
    "nothing": ("one", {"new_string": ""}, "one\n"),
    "what looks like front matter": ("one", {"new_string": "---\nname: x\n---"}, "one\n---\nname: x\n---"),
}


@pytest.mark.parametrize("head", [HEAD, ""], ids=["with front matter", "without"])
@pytest.mark.parametrize(("before", "arguments", "after"), INSERTS.values(), ids=INSERTS)
def test_a_text_is_inserted_as_a_line(before: str, arguments: dict[str, Any], after: str, head: str) -> None:
    assert edit("memory_insert", arguments, head + before) == head + after


# text before, old, new -> text after
REPLACEMENTS: dict[str, tuple[str, str, str, str]] = {
    "a word": ("I am Ada.", "Ada", "Bob", "I am Bob."),
    "to forget": ("I am Ada.\nI like tea.", "\nI like tea.", "", "I am Ada."),
    "everything": ("one\ntwo", "one\ntwo", "three", "three"),
    "over lines": ("one\ntwo\nthree", "one\ntwo", "1\n2", "1\n2\nthree"),
    "by itself and more": ("Ada", "Ada", "Ada, Ada", "Ada, Ada"),
    "words of the front matter": ("name: Ada", "name: ", "", "Ada"),
    "what looks like a pattern": (r"a.c \1", r".c \1", r"\g<0>", r"a\g<0>"),
}


@pytest.mark.parametrize("head", [HEAD, ""], ids=["with front matter", "without"])
@pytest.mark.parametrize(("before", "old", "new", "after"), REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_a_text_that_stands_there_once_is_replaced(before: str, old: str, new: str, after: str, head: str) -> None:
    arguments = {"old_string": old, "new_string": new}

    assert edit("memory_replace", arguments, head + before) == head + after


ONE_LINE = HEAD + "I am Ada and Ada is my name."
# tool, arguments -> a part of what the agent is told
REJECTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a text that is not there": ("memory_replace", {"old_string": "Bob", "new_string": "x"}, "it does 0 times"),
    "a text that is there twice": ("memory_replace", {"old_string": "Ada", "new_string": "x"}, "it does more often"),
    "a text of the front matter": ("memory_replace", {"old_string": "Human", "new_string": "x"}, "it does 0 times"),
    "the front matter's end": ("memory_replace", {"old_string": "---", "new_string": ""}, "it does 0 times"),
    "nothing": ("memory_replace", {"old_string": "", "new_string": "x"}, "it does 0 times"),
    "no old text": ("memory_replace", {"new_string": "x"}, "`old_string` must be a text"),
    "an old text that is none": ("memory_replace", {"old_string": 1, "new_string": "x"}, "`old_string` must be a text"),
    "no new text": ("memory_replace", {"old_string": "and"}, "`new_string` must be a text"),
    "a new text that is none": ("memory_replace", {"old_string": "and", "new_string": None}, "`new_string` must be"),
    "no text to insert": ("memory_insert", {}, "`new_string` must be a text"),
    "a list to insert": ("memory_insert", {"new_string": ["x"]}, "`new_string` must be a text"),
    "a line beyond the end": ("memory_insert", {"new_string": "x", "insert_line": 2}, "0 to 1, or -1"),
    "a line before the beginning": ("memory_insert", {"new_string": "x", "insert_line": -2}, "0 to 1, or -1"),
    "a line that is a text": ("memory_insert", {"new_string": "x", "insert_line": "1"}, "`insert_line` must be"),
    "a line that is null": ("memory_insert", {"new_string": "x", "insert_line": None}, "`insert_line` must be"),
    "half a line": ("memory_insert", {"new_string": "x", "insert_line": 0.5}, "`insert_line` must be"),
    "too much": ("memory_insert", {"new_string": "x" * MAX_CHARACTERS}, f"longer than {MAX_CHARACTERS} characters"),
    "too much instead": (
        "memory_replace",
        {"old_string": "and", "new_string": "x" * MAX_CHARACTERS},
        f"longer than {MAX_CHARACTERS} characters",
    ),
}


@pytest.mark.parametrize(("tool", "arguments", "words"), REJECTED.values(), ids=REJECTED)
def test_what_cannot_be_done_is_told_to_the_agent(tool: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(Rejected) as told:
        edit(tool, arguments, ONE_LINE)

    assert words in str(told.value)


def test_a_file_may_be_as_long_as_the_app_server_takes_and_no_longer() -> None:
    room = MAX_CHARACTERS - len(HEAD)

    assert len(edit("memory_insert", {"new_string": "x" * room}, HEAD)) == MAX_CHARACTERS
    with pytest.raises(Rejected, match="shorten it first"):
        edit("memory_insert", {"new_string": "x" * (room + 1)}, HEAD)


def test_a_block_that_is_too_long_already_may_be_shortened() -> None:
    long = HEAD + "y" + "x" * MAX_CHARACTERS + "z"

    assert edit("memory_replace", {"old_string": "y" + "x" * MAX_CHARACTERS, "new_string": ""}, long) == HEAD + "z"


BLOCKS: dict[str, tuple[str, bool]] = {
    "front matter and text": (HEAD + "I am Ada.", True),
    "front matter alone": (HEAD, True),
    "nothing": ("", False),
    "text alone": ("I am Ada.", False),
    "where a link leads": ("../../providers/auth.json", False),
    "front matter without an end": ("---\nname: Human\n", False),
    "front matter later on": (f"\n{HEAD}", False),
}


@pytest.mark.parametrize(("file", "holds"), BLOCKS.values(), ids=BLOCKS)
def test_a_block_begins_with_front_matter(file: str, holds: bool) -> None:
    assert is_block(file) is holds


PIECES = ["a", "b", " ", "\n", "-", "---\n", "---", "\r\n", "\t", "ä", "🙂", "\u2028"]
TEXT = st.lists(st.sampled_from(PIECES)).map("".join)
LINE = TEXT.filter(lambda text: "---" not in text)


@given(st.lists(LINE), TEXT, TEXT, st.integers(-1, 3))
def test_front_matter_stays_byte_for_byte(fields: list[str], body: str, new: str, line: int) -> None:
    head = "---\n" + "\n".join(["name: x", *fields]) + "\n---\n"
    for tool, arguments in (
        ("memory_insert", {"new_string": new, "insert_line": line}),
        ("memory_replace", {"old_string": body[:3], "new_string": new}),
    ):
        try:
            assert edit(tool, arguments, head + body).startswith(head)
        except Rejected:
            continue


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n"), min_size=1)))
@example(["one\u2028two", "\x85", "three\r"])
def test_an_insertion_leaves_every_other_line_where_it_was(lines: list[str]) -> None:
    for at in range(len(lines) + 1):
        changed = edit("memory_insert", {"new_string": "NEW", "insert_line": at}, HEAD + "\n".join(lines))
        assert changed.removeprefix(HEAD).split("\n") == [*lines[:at], "NEW", *lines[at:]]


@given(TEXT, TEXT, TEXT, TEXT)
def test_a_replacement_leaves_what_stands_around_it(before: str, old: str, new: str, after: str) -> None:
    body = before + old + after
    file = HEAD + body
    arguments = {"old_string": old, "new_string": new}
    if old and body.find(old) == body.rfind(old):
        assert edit("memory_replace", arguments, file) == HEAD + before + new + after
    else:
        with pytest.raises(Rejected, match="exactly once"):
            edit("memory_replace", arguments, file)


def test_the_tools_declare_the_arguments_that_they_take() -> None:
    declared = {tool["name"]: tool["parameters"] for tool in MEMORY_TOOLS}

    assert set(declared) == MEMORY_TOOL_NAMES == {"memory_insert", "memory_replace"}
    for parameters in declared.values():
        assert set(parameters["required"]) <= set(parameters["properties"])
    assert "insert_line" not in declared["memory_insert"]["required"]
