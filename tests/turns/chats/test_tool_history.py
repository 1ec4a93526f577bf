"""What a history tells of calls and of questions to the person, where that is odd."""

import json
from typing import Any

import pytest

from gateway.domain.request import GoesOn, Request, RequestMessage
from gateway.turns.chats.path import read_path
from tests.pictures.drawn import picture
from tests.turns.calling import Json, assistant, request, result, user


def test_arguments_nested_deeper_than_can_be_read_are_told_as_they_are() -> None:
    deep: Any = "[" * 100_000
    called = assistant(None, c1="weather")
    called["tool_calls"][0]["function"]["arguments"] = deep
    (first,) = request(user("Hi"), called, result("c1")).asked.path

    assert json.loads(first.exchanged)["arguments"] == deep


def test_of_calls_that_were_told_before_the_results_alone_count_and_are_told() -> None:
    messages = (RequestMessage("tool", ("12 degrees",), "input[0]", call_id="c1"),)
    told = read_path(Request("tutor", messages, goes_on=GoesOn("resp_1", "previous_response_id")))

    assert ([(one.tool_call_id, one.text) for one in told.results], told.only_results) == ([("c1", "12 degrees")], True)
    assert json.loads(told.path[0].exchanged) == {"result": "12 degrees"}


SEEN = picture()
WORD, FILE = {"type": "text", "text": "Look:"}, {"type": "file", "file": {"file_id": "x"}}
BROKEN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,!!!"}}
ELSEWHERE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
# content of a result -> its text, how many pictures it shows, and what is told of it as history
SHOWN: dict[str, tuple[Any, str, int, str]] = {
    "a text": ("sunny", "sunny", 0, "sunny"),
    "nothing": (None, "", 0, ""),
    "no parts": ([], "", 0, ""),
    "texts": ([WORD, WORD], "Look:\nLook:", 0, "Look:\nLook:"),
    "a picture": ([SEEN.part], "", 1, "[Here was a picture.]"),
    "pictures between texts": (
        [WORD, SEEN.part, WORD, SEEN.part],
        "Look:\nLook:",
        2,
        "Look:\n[Here was a picture.]\nLook:\n[Here was a picture.]",
    ),
    "a picture that is none": (
        [BROKEN],
        "[Here was a picture that cannot be shown: the picture is not valid base64.]",
        0,
        "[Here was a picture.]",
    ),
    "something else": (
        [WORD, FILE],
        "Look:\n[Here was something that is neither text nor a picture.]",
        0,
        "Look:\n[Here was something that is neither text nor a picture.]",
    ),
    "a refusal": ([{"type": "refusal", "refusal": "No."}], "No.", 0, "No."),
}


@pytest.mark.parametrize(("content", "text", "pictures", "told"), SHOWN.values(), ids=SHOWN)
def test_a_result_says_and_shows_all_that_is_in_it(content: Any, text: str, pictures: int, told: str) -> None:
    answered = [user("Hi"), assistant(None, c1="weather"), {"role": "tool", "tool_call_id": "c1", "content": content}]
    (given,) = request(*answered).asked.results
    (first, *_) = request(*answered).asked.path

    assert (given.text, len(given.images)) == (text, pictures)
    assert json.loads(first.exchanged)["result"] == told


def test_a_picture_elsewhere_is_told_of_without_its_address() -> None:
    (given,) = request(user("Hi"), assistant(None, c1="weather"), result("c1", [ELSEWHERE])).asked.results

    assert given.text.startswith("[Here was a picture that cannot be shown: this gateway fetches no pictures")
    assert "example.com" not in given.text


def test_half_a_surrogate_pair_in_arguments_is_replaced() -> None:
    called = assistant(None, c1="weather")
    called["tool_calls"][0]["function"]["arguments"] = r'{"city": "a\ud83d"}'
    (first,) = request(user("Hi"), called, result("c1")).asked.path

    assert json.loads(first.exchanged)["arguments"] == {"city": "a\ufffd"}


QUESTION = "**May I do this?** It needs your approval:\n\n- run `x` with\n  ```json\n  {}\n  ```\n\nPlease answer …"
PARTS: Json = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": QUESTION}]}
# messages -> whether the person has just been asked for an approval
WAS_ASKED: dict[str, tuple[list[Json], bool]] = {
    "nothing was said": ([user("yes")], False),
    "an answer": ([user("Hi"), assistant("Hello"), user("yes")], False),
    "a question": ([user("Hi"), assistant(QUESTION), user("yes")], True),
    "a question after an answer, in parts": ([user("Hi"), PARTS, user("yes")], True),
    "a question before the last answer": (
        [user("Hi"), assistant(QUESTION), user("no"), assistant("Hello"), user("yes")],
        False,
    ),
    "a question of the person's own": ([user("Hi"), assistant("Hello"), user(QUESTION)], False),
}


@pytest.mark.parametrize(("messages", "was_asked"), WAS_ASKED.values(), ids=WAS_ASKED)
def test_the_last_answer_tells_whether_the_person_was_asked(messages: list[Json], was_asked: bool) -> None:
    assert request(*messages).asked.was_asked is was_asked
