"""What a request's messages ask of an agent: tables of messages against the path, what is new, and instructions."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidRequest
from gateway.domain.messages import Message
from gateway.http.texts import visible
from gateway.letta.notes import CONTINUE, GO_AHEAD
from gateway.settings import Images
from gateway.turns.chats.path import RequestedPath
from gateway.wires.chat_completions.request import ChatMessage
from gateway.wires.chat_completions.think_tags import Defuser
from tests.asking import path_shown
from tests.pictures.drawn import picture

Json = dict[str, Any]


def read(messages: list[Json]) -> RequestedPath:
    return path_shown(msgspec.convert(messages, list[ChatMessage]))


def said(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def system(content: Any) -> Json:
    return {"role": "system", "content": content}


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def assistant(content: Any, **fields: Any) -> Json:
    return {"role": "assistant", "content": content, **fields}


def part(text: str | None) -> Json:
    return {"type": "text", "text": text}


SHOWN = picture()
IMAGE = SHOWN.part
BROKEN: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
ELSEWHERE: Json = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
SOUND: Json = {"type": "input_audio", "input_audio": {}}
HI, HELLO, MORE, WELL = ("user", "Hi"), ("assistant", "Hello"), ("user", "More"), ("assistant", "Well")
CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "42"}

# (messages, path, how many at the path's end are news)
PATHS: dict[str, tuple[list[Json], list[tuple[str, str]], int]] = {
    "a first message": ([user("Hi")], [HI], 1),
    "a second turn": ([user("Hi"), assistant("Hello"), user("More")], [HI, HELLO, MORE], 1),
    "a system prompt is no part of it": ([system("Be kind"), user("Hi")], [HI], 1),
    "a system prompt at the end": ([user("Hi"), system("Be kind")], [HI], 1),
    "a system prompt between a question and its answer": (
        [user("Hi"), system("Be kind"), assistant("Hello"), user("More")],
        [HI, HELLO, MORE],
        1,
    ),
    "two user messages in a row": (
        [user("Hi"), assistant("Hello"), user("One"), user("Two")],
        [HI, HELLO, ("user", "One"), ("user", "Two")],
        2,
    ),
    "two user messages before the first answer": ([user("Hi"), user("More")], [HI, MORE], 2),
    "two answers in a row are one": (
        [user("Hi"), assistant("Hello"), assistant("there"), user("More")],
        [HI, ("assistant", "Hello\n\nthere"), MORE],
        1,
    ),
    "an answer in parts, with tools between": (
        [
            user("Hi"),
            assistant("Let me see.", tool_calls=CALLS),
            RESULT,
            assistant("It is 42."),
            user("More"),
        ],
        [HI, ("assistant", "Let me see.\n\nIt is 42."), MORE],
        1,
    ),
    "the steps of an agent that said something after each": (
        [
            user("Hi"),
            assistant(None, tool_calls=CALLS),
            RESULT,
            assistant("Hello"),
            user("More"),
        ],
        [HI, HELLO, MORE],
        1,
    ),
    "an answer before any question": ([assistant("Hello"), user("Hi")], [HELLO, HI], 1),
    "tool messages are left out": (
        [
            user("Hi"),
            assistant(None, tool_calls=CALLS),
            RESULT,
            user("More"),
        ],
        [HI, MORE],
        1,
    ),
    "function messages are left out": (
        [user("Hi"), {"role": "function", "name": "f", "content": "42"}, assistant("Hello"), user("More")],
        [HI, HELLO, MORE],
        1,
    ),
    "a tool message of parts that are no text": (
        [user("Hi"), assistant(None, tool_calls=CALLS), {**RESULT, "content": [IMAGE]}, user("More")],
        [HI, MORE],
        1,
    ),
    "an answer that is only calls": ([user("Hi"), assistant(None, tool_calls=CALLS), user("More")], [HI, MORE], 1),
    "an answer without content": ([user("Hi"), {"role": "assistant"}, user("More")], [HI, MORE], 1),
    "an answer with calls and words": (
        [user("Hi"), assistant("Hello", tool_calls=CALLS), user("More")],
        [HI, HELLO, MORE],
        1,
    ),
    "an empty answer": ([user("Hi"), assistant(""), user("More")], [HI, MORE], 1),
    "an answer of parts": (
        [user("Hi"), assistant([part("Hel"), part("lo")]), user("More")],
        [HI, ("assistant", "Hel\nlo"), MORE],
        1,
    ),
    "an answer that refused": (
        [user("Hi"), assistant([{"type": "refusal", "refusal": "No."}]), user("More")],
        [HI, ("assistant", "No."), MORE],
        1,
    ),
    "a question of parts": ([user([part("Hi"), part("there")])], [("user", "Hi\nthere")], 1),
    "a part without words": ([user([part("Hi"), part(None), part("")])], [HI], 1),
    "a blank question before a real one": ([user(" \n"), user("Hi")], [HI], 1),
    "a question keeps its spaces": ([user("  Hi\n")], [("user", "  Hi\n")], 1),
    "a question keeps its tags": ([user("<think>Hi</think>")], [("user", "<think>Hi</think>")], 1),
    "an answered sound is passed over": (
        [user([part("Hi"), SOUND]), assistant("Hello"), user("More")],
        [HI, HELLO, MORE],
        1,
    ),
    "an answered sound alone is left out": ([user([SOUND]), assistant("Hello"), user("More")], [HELLO, MORE], 1),
    "an answered picture that nobody can have seen": (
        [user([part("Hi"), BROKEN]), assistant("Hello"), user([ELSEWHERE]), assistant("there"), user("More")],
        [HI, ("assistant", "Hello\n\nthere"), MORE],
        1,
    ),
    "a picture alone": ([user([IMAGE])], [("user", "")], 1),
    "a picture with a blank text": ([user([part(" "), IMAGE])], [("user", " ")], 1),
    "an answered picture": ([user([IMAGE]), assistant("Hello"), user("More")], [("user", ""), HELLO, MORE], 1),
}


@pytest.mark.parametrize(("messages", "path", "news"), PATHS.values(), ids=PATHS.keys())
def test_messages_give_path_and_news(messages: list[Json], path: list[tuple[str, str]], news: int) -> None:
    asked = read(messages)

    assert said(asked.path) == path
    assert said(asked.news) == path[len(path) - news :]
    assert asked.lone is (len(path) == 1)
    assert not asked.goes_on


def test_pictures_are_shown_where_they_stand() -> None:
    other = picture()
    asked = read(
        [user([part("this"), IMAGE, part("or"), part("that"), other.part]), assistant("Hm"), user([IMAGE, part("?")])]
    )

    assert [
        [piece if isinstance(piece, str) else piece.data for piece in message.pieces()] for message in asked.path
    ] == [
        ["this", SHOWN.base64, "or\nthat", other.base64],
        ["Hm"],
        [SHOWN.base64, "?"],
    ]


def test_the_limit_of_pictures_is_the_configured_one() -> None:
    large = user([picture(700, 700, noise=True).part])

    with pytest.raises(InvalidRequest, match="larger than 1 MB"):
        path_shown(msgspec.convert([large], list[ChatMessage]), Images(max_mb=1))
    assert read([large]).path[0].images


# Messages whose last is the assistant's, and the path before the request to go on
CONTINUED: dict[str, tuple[list[Json], list[tuple[str, str]]]] = {
    "a first answer": ([user("Hi"), assistant("Hello")], [HI, HELLO]),
    "a later one": ([user("Hi"), assistant("Hello"), user("More"), assistant("Well")], [HI, HELLO, MORE, WELL]),
    "with thoughts": ([user("Hi"), assistant("<think>Hm.</think>Hello")], [HI, HELLO]),
    "in parts": ([user("Hi"), assistant("Hello"), assistant("there")], [HI, ("assistant", "Hello\n\nthere")]),
    "before any question": ([assistant("Hello")], [HELLO]),
}


@pytest.mark.parametrize(("messages", "path"), CONTINUED.values(), ids=CONTINUED)
def test_an_answer_at_the_end_is_to_be_continued(messages: list[Json], path: list[tuple[str, str]]) -> None:
    asked = read(messages)

    assert asked.goes_on
    assert said(asked.path) == [*path, ("user", CONTINUE)]
    assert said(asked.news) == [("user", CONTINUE)]


# Messages whose last is no person's, and no answer to go on with, and the path before the request to speak
UNASKED: dict[str, tuple[list[Json], list[tuple[str, str]]]] = {
    "a system prompt": ([system("Greet them")], []),
    "several": ([system("Be kind"), {"role": "developer", "content": "Greet them"}], []),
    "one after an answer": ([system("Be kind"), user("Hi"), assistant("Hello"), system("Say more")], [HI, HELLO]),
    "one after an answer that nobody had asked for": ([assistant("Hello"), system("Say more")], [HELLO]),
    "the result of a call before any question": ([system("Greet them"), assistant(None, tool_calls=CALLS), RESULT], []),
    "the same without a system prompt": ([assistant(None, tool_calls=CALLS), RESULT], []),
}


@pytest.mark.parametrize(("messages", "path"), UNASKED.values(), ids=UNASKED)
def test_who_has_the_agent_speak_unasked_gets_an_answer(messages: list[Json], path: list[tuple[str, str]]) -> None:
    asked = read(messages)

    assert said(asked.path) == [*path, ("user", GO_AHEAD)]
    assert said(asked.news) == [("user", GO_AHEAD)]
    assert not asked.goes_on


def test_a_question_is_answered_though_a_system_prompt_follows_it() -> None:
    asked = read([user("Hi"), system("In one word")])

    assert (said(asked.path), asked.instructions) == ([HI], "In one word")


def test_what_came_of_calls_before_any_question_is_told_with_the_request_to_speak() -> None:
    asked = read([system("Greet them"), assistant(None, tool_calls=CALLS), RESULT])

    assert '"result":' in asked.path[-1].exchanged


# Messages whose last is an answer in which nothing is said, and the path
UNBEGUN: dict[str, tuple[list[Json], list[tuple[str, str]]]] = {
    "empty": ([user("Hi"), assistant("Hello"), user("More"), assistant("")], [HI, HELLO, MORE]),
    "nothing but thoughts": ([user("Hi"), assistant("<think>Hm.</think>")], [HI]),
}


@pytest.mark.parametrize(("messages", "path"), UNBEGUN.values(), ids=UNBEGUN)
def test_where_nothing_can_be_continued_the_question_is_answered(
    messages: list[Json], path: list[tuple[str, str]]
) -> None:
    asked = read(messages)

    assert not asked.goes_on
    assert said(asked.path) == path


# Messages and the client's instructions in them
INSTRUCTIONS: dict[str, tuple[list[Json], str]] = {
    "none": ([user("Hi")], ""),
    "a system prompt": ([system("Be kind"), user("Hi")], "Be kind"),
    "developer is system": ([{"role": "developer", "content": "Be kind"}, user("Hi")], "Be kind"),
    "several": (
        [system("Be kind"), user("Hi"), assistant("Hello"), user("More"), system("Briefly")],
        "Be kind\n\nBriefly",
    ),
    "parts": ([system([part("Be"), part("kind")]), user("Hi")], "Be\nkind"),
    "blank ones are none": ([system(" \n"), system(None), user("Hi")], ""),
    "an image in one is passed over": ([system([part("Be kind"), IMAGE]), user("Hi")], "Be kind"),
    "they keep their spaces and tags": ([system(" <think>Be kind</think> "), user("Hi")], " <think>Be kind</think> "),
}


@pytest.mark.parametrize(("messages", "instructions"), INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_system_messages_are_instructions(messages: list[Json], instructions: str) -> None:
    assert read(messages).instructions == instructions


# What the client saw of an answer, and what of it was the agent's word.
ANSWERS = {
    "thoughts first": ("<think>Hm.</think>Hello", "Hello"),
    "thoughts and lines between": ("<think>\nHm.\n\nHm.\n</think>\n\nHello", "Hello"),
    "thoughts twice": ("<think>Hm.</think>Hel<think>Oh.</think>lo", "Hello"),
    "thoughts cut by Stop": ("Hello<think>And now", "Hello"),
    "thoughts with an open tag inside": ("<think>a <think> b</think>Hello", "Hello"),
    "empty thoughts": ("<think></think>Hello", "Hello"),
    "a defused tag": ("Write <\u200bthink>, then <\u200b/think>.", "Write <think>, then </think>."),
    "a defused tag in thoughts": ("<think>a <\u200b/think> b</think>Hello", "Hello"),
    "a defused tag around words": ("<\u200bthink>Hello<\u200b/think>", "<think>Hello</think>"),
    "details of a frontend's thoughts": ('<details type="reasoning" done="true">\n> Hm.\n</details>\nHello', "Hello"),
    "details of tool calls": ('<details type="tool_calls" name="f">42</details>\nHello', "Hello"),
    "details of code that ran": ('Hello<details type="code_interpreter">1 + 1</details>', "Hello"),
    "details cut by Stop": ('Hello<details type="reasoning">\n> Hm', "Hello"),
    "details of the agent's own": ("<details><summary>More</summary>Hello</details>", None),
    "details of another type": ('<details type="note">Hello</details>', None),
    "other tags": ("<b>Hello</b> <thinking>", "<b>Hello</b> <thinking>"),
}


@pytest.mark.parametrize(("shown", "word"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_sent_as_the_agent_said_it(shown: str, word: str | None) -> None:
    """None where nothing of it is taken away."""
    asked = read([user("Hi"), assistant(shown), user("More")])

    assert said(asked.path) == [HI, ("assistant", shown if word is None else word), MORE]
    assert visible(shown) == asked.path[1].content


@pytest.mark.parametrize("shown", ["<think>Hm.</think>", "<think>Hm.", "<think>Hm.</think>\n\n"])
def test_an_answer_of_nothing_but_thoughts_is_left_out(shown: str) -> None:
    assert said(read([user("Hi"), assistant(shown), user("More")]).path) == [HI, MORE]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "think>", "/think>", "a", " b ", "\n"])).map("".join))
def test_an_answer_comes_back_as_it_was_before_it_was_shown(answer: str) -> None:
    defuser = Defuser()
    shown = "<think>Hm.</think>" + defuser.feed(answer) + defuser.flush()

    path = read([user("Hi"), assistant(shown), user("More")]).path

    assert said(path[1:-1]) == ([("assistant", answer.strip())] if answer.strip() else [])


UNANSWERABLE: dict[str, list[Json]] = {
    "the last word is a function's": [user("Hi"), {"role": "function", "name": "f", "content": "42"}],
    "nothing but a system prompt without text": [system(" \n")],
    "nothing new but a system prompt without text": [system("Be kind"), user("Hi"), assistant("Hello"), system("")],
    "a question without text after a system prompt": [system("Be kind"), user("")],
    "an empty question": [user("")],
    "a blank question": [user(" \n\t")],
    "a question of null": [user(None)],
    "a question without content": [{"role": "user"}],
    "a question of no parts": [user([])],
    "a question of empty parts": [user([part(""), part(None)])],
    "a blank question in an old chat": [user("Hi"), assistant("Hello"), user(" ")],
}


@pytest.mark.parametrize("messages", UNANSWERABLE.values(), ids=UNANSWERABLE.keys())
def test_messages_with_nothing_to_answer_are_refused(messages: list[Json]) -> None:
    with pytest.raises(InvalidRequest, match="nothing to answer") as caught:
        read(messages)

    assert (caught.value.status_code, caught.value.param) == (400, "messages")


FOREIGN_PARTS: dict[str, tuple[list[Json], str]] = {
    "a broken picture": ([user([part("Look"), IMAGE, BROKEN])], "messages[0].content[2].image_url.url"),
    "a picture elsewhere": ([user([ELSEWHERE])], "messages[0].content[0].image_url.url"),
    "a picture that is not there": ([user([{"type": "image_url"}])], "messages[0].content[0]"),
    "a sound": ([user([SOUND])], "messages[0].content[0]"),
    "a file": ([user([{"type": "file", "file": {"file_data": "AAAA"}}])], "messages[0].content[0]"),
    "a broken picture in a later message": (
        [user([BROKEN]), assistant("Nice"), user("And"), user([part("this"), part("?"), BROKEN])],
        "messages[3].content[2].image_url.url",
    ),
    "a type with a text": ([user([{"type": "video", "text": "Hi"}])], "messages[0].content[0]"),
}


@pytest.mark.parametrize(("messages", "param"), FOREIGN_PARTS.values(), ids=FOREIGN_PARTS.keys())
def test_a_new_part_that_the_agent_cannot_have_is_refused_by_name(messages: list[Json], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(messages)

    assert (caught.value.status_code, caught.value.param) == (400, param)
    assert f"`{param}`" in str(caught.value)
    assert "AAAA" not in str(caught.value)


# Calls of the client's tools

MISCALLED: dict[str, tuple[list[Json], str]] = {
    "a result of a call that nobody made": ([user("Hi"), RESULT], "messages[1].tool_call_id"),
    "a result before its call": (
        [user("Hi"), RESULT, assistant(None, tool_calls=CALLS), user("More")],
        "messages[1].tool_call_id",
    ),
    "a result without the id of its call": (
        [user("Hi"), {"role": "tool", "content": "42"}],
        "messages[1].tool_call_id",
    ),
    "calls without results": ([user("Hi"), assistant(None, tool_calls=CALLS)], "messages"),
    "calls without results, and words": ([user("Hi"), assistant("Well", tool_calls=CALLS)], "messages"),
}


@pytest.mark.parametrize(("messages", "param"), MISCALLED.values(), ids=MISCALLED)
def test_results_and_calls_without_each_other_are_refused(messages: list[Json], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(messages)
    assert refused.value.param == param


TWO = [*CALLS, {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"a": [1]}'}}]
OTHER = {"role": "tool", "tool_call_id": "c2", "content": [part("one"), part("two")]}
# messages -> the path, the results of the last answer's calls, what is said beside them
ANSWERED: dict[str, tuple[list[Json], list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]]] = {
    "a result": ([user("Hi"), assistant(None, tool_calls=CALLS), RESULT], [HI], [("c1", "42")], []),
    "two in another order": (
        [user("Hi"), assistant(None, tool_calls=TWO), OTHER, RESULT],
        [HI],
        [("c2", "one\ntwo"), ("c1", "42")],
        [],
    ),
    "one of two": ([user("Hi"), assistant("Well.", tool_calls=TWO), OTHER], [HI], [("c2", "one\ntwo")], []),
    "twice": (
        [user("Hi"), assistant(None, tool_calls=CALLS), RESULT, {**RESULT, "content": "7"}],
        [HI],
        [("c1", "7")],
        [],
    ),
    "a message beside it": (
        [user("Hi"), assistant(None, tool_calls=CALLS), RESULT, user("More")],
        [HI, MORE],
        [("c1", "42")],
        [MORE],
    ),
    "none": ([user("Hi"), assistant(None, tool_calls=CALLS), user("More")], [HI, MORE], [], [MORE]),
    "of an earlier answer": (
        [user("Hi"), assistant(None, tool_calls=CALLS), RESULT, assistant("Hello"), user("More")],
        [HI, HELLO, MORE],
        [],
        [MORE],
    ),
    "of the second round": (
        [user("Hi"), assistant(None, tool_calls=CALLS), RESULT, assistant("And", tool_calls=TWO[1:]), OTHER],
        [HI],
        [("c2", "one\ntwo")],
        [],
    ),
}


@pytest.mark.parametrize(("messages", "path", "results", "beside"), ANSWERED.values(), ids=ANSWERED)
def test_results_of_the_last_answer_s_calls_are_told_apart(
    messages: list[Json],
    path: list[tuple[str, str]],
    results: list[tuple[str, str]],
    beside: list[tuple[str, str]],
) -> None:
    asked = read(messages)

    assert said(asked.path) == path
    assert [(result.tool_call_id, result.text) for result in asked.results] == results
    assert said(asked.beside_results) == beside


# messages -> what is told beside the first question, should it be answered again
TOLD: dict[str, tuple[list[Json], list[Json]]] = {
    "a result": (
        [user("Hi"), assistant(None, tool_calls=CALLS), RESULT],
        [{"tool": "f", "arguments": {}, "result": "42"}],
    ),
    "arguments that are no JSON": (
        [user("Hi"), assistant(None, tool_calls=[{**CALLS[0], "function": {"name": "f", "arguments": "x"}}]), RESULT],
        [{"tool": "f", "arguments": "x", "result": "42"}],
    ),
    "what was said with calls that have just their results": (
        [user("Hi"), assistant("<think>Hm.</think>Well.", tool_calls=CALLS), RESULT],
        [{"you": "Well."}, {"tool": "f", "arguments": {}, "result": "42"}],
    ),
    "what was said with calls, and is an answer": (
        [user("Hi"), assistant("Well.", tool_calls=CALLS), RESULT, assistant("Hello"), user("More")],
        [{"tool": "f", "arguments": {}, "result": "42"}],
    ),
    "no result": ([user("Hi"), assistant("Well.", tool_calls=CALLS), user("More")], []),
}


@pytest.mark.parametrize(("messages", "lines"), TOLD.values(), ids=TOLD)
def test_what_tools_gave_is_told_beside_the_question_they_served(messages: list[Json], lines: list[Json]) -> None:
    first = read(messages).path[0]

    assert [json.loads(line) for line in first.exchanged.splitlines()] == lines
