"""What of a request's messages an agent is sent: tables of messages against path and news."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.letta.upstream import Message
from gateway.openai_wire.defuse import Defuser
from gateway.openai_wire.errors import InvalidRequest
from gateway.openai_wire.request import ChatMessage
from gateway.turns.history import History, to_history

Json = dict[str, Any]


def read(messages: list[Json]) -> History:
    return to_history(msgspec.convert(messages, list[ChatMessage]))


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


IMAGE: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
HI, HELLO, MORE = ("user", "Hi"), ("assistant", "Hello"), ("user", "More")
CALLS = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

# (messages, path, how many at the path's end are news)
HISTORIES: dict[str, tuple[list[Json], list[tuple[str, str]], int]] = {
    "a first message": ([user("Hi")], [HI], 1),
    "a second turn": ([user("Hi"), assistant("Hello"), user("More")], [HI, HELLO, MORE], 1),
    "a system prompt before the first message": ([system("Be kind"), user("Hi")], [("system", "Be kind"), HI], 2),
    "a system prompt of an old conversation": (
        [system("Be kind"), user("Hi"), assistant("Hello"), user("More")],
        [("system", "Be kind"), HI, HELLO, MORE],
        1,
    ),
    "developer is system": (
        [{"role": "developer", "content": "Be kind"}, user("Hi")],
        [("system", "Be kind"), HI],
        2,
    ),
    "two user messages in a row": (
        [user("Hi"), assistant("Hello"), user("One"), user("Two")],
        [HI, HELLO, ("user", "One"), ("user", "Two")],
        2,
    ),
    "two user messages before the first answer": ([user("Hi"), user("More")], [HI, MORE], 2),
    "two answers in a row": (
        [user("Hi"), assistant("Hello"), assistant("Hello"), user("More")],
        [HI, HELLO, HELLO, MORE],
        1,
    ),
    "a system message after the question": (
        [user("Hi"), assistant("Hello"), user("More"), system("Briefly")],
        [HI, HELLO, MORE, ("system", "Briefly")],
        2,
    ),
    "an answer before any question": ([assistant("Hello"), user("Hi")], [HELLO, HI], 1),
    "tool messages are left out": (
        [
            user("Hi"),
            assistant(None, tool_calls=CALLS),
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
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
        [user("Hi"), {"role": "tool", "tool_call_id": "c1", "content": [IMAGE]}],
        [HI],
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
    "an answered image is passed over": (
        [user([part("Hi"), IMAGE]), assistant("Hello"), user("More")],
        [HI, HELLO, MORE],
        1,
    ),
    "an answered image alone is left out": ([user([IMAGE]), assistant("Hello"), user("More")], [HELLO, MORE], 1),
}


@pytest.mark.parametrize(("messages", "path", "news"), HISTORIES.values(), ids=HISTORIES.keys())
def test_messages_give_path_and_news(messages: list[Json], path: list[tuple[str, str]], news: int) -> None:
    history = read(messages)

    assert said(history.path) == path
    assert said(history.news) == path[len(path) - news :]


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
    "other tags": ("<b>Hello</b> <thinking>", "<b>Hello</b> <thinking>"),
}


@pytest.mark.parametrize(("shown", "word"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_sent_as_the_agent_said_it(shown: str, word: str) -> None:
    history = read([user("Hi"), assistant(shown), user("More")])

    assert said(history.path) == [HI, ("assistant", word), MORE]


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
    "the last word is the assistant's": [user("Hi"), assistant("Hello")],
    "the last word is a call": [user("Hi"), assistant(None, tool_calls=CALLS)],
    "nothing but a system prompt": [system("Be kind")],
    "nothing new but a system prompt": [user("Hi"), assistant("Hello"), system("Be kind")],
    "nothing but a tool's result": [{"role": "tool", "tool_call_id": "c1", "content": "42"}],
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
    "an image": ([user([part("Look"), IMAGE])], "messages[0].content[1]"),
    "an image alone": ([user([IMAGE])], "messages[0].content[0]"),
    "a sound": ([user([{"type": "input_audio", "input_audio": {}}])], "messages[0].content[0]"),
    "an image in a later message": (
        [user([IMAGE]), assistant("Nice"), user("And"), user([part("this"), part("?"), IMAGE])],
        "messages[3].content[2]",
    ),
    "a type with a text": ([user([{"type": "video", "text": "Hi"}])], "messages[0].content[0]"),
}


@pytest.mark.parametrize(("messages", "param"), FOREIGN_PARTS.values(), ids=FOREIGN_PARTS.keys())
def test_a_new_part_that_is_no_text_is_refused_by_name(messages: list[Json], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(messages)

    assert (caught.value.status_code, caught.value.param) == (400, param)
    assert f"`{param}`" in str(caught.value)
    assert "base64" not in str(caught.value)
