"""What a history tells of calls and of questions to the person, where that is odd."""

import json
from typing import Any

import pytest

from tests.turns.calling import Json, assistant, request, result, user


def test_arguments_nested_deeper_than_can_be_read_are_told_as_they_are() -> None:
    deep: Any = "[" * 100_000
    called = assistant(None, c1="weather")
    called["tool_calls"][0]["function"]["arguments"] = deep
    (first,) = request(user("Hi"), called, result("c1")).asked.path

    assert json.loads(first.exchanged)["arguments"] == deep


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
