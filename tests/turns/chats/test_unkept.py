"""What was said in a chat and is not in its conversation is noted in a summary, and found again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Message, image_of, message_of
from gateway.letta.upstream import Past
from gateway.turns.chats.unkept import NOTE_CHARACTERS, Unkept, from_note, is_kept, missing_in, to_note

HI = Message("user", "Hi", "gw1-a-b-c-d")
SHOWN = image_of("image/png", "cmVk")
# as an earlier version has written it
EARLIER: dict[str, tuple[str, list[Message]]] = {
    "nothing": ("", []),
    "a message": ('[["user","Hi","gw1-a-b-c-d",[]]]', [HI]),
    "and what was seen of its answer": (
        '[["user","Hi","gw1-a-b-c-d",[]],["assistant","Hel","",[]]]',
        [HI, Message("assistant", "Hel")],
    ),
    "a picture": (
        f'[["user","Hi","gw1-a-b-c-d",[{{"media_type":"image/png","digest":"{SHOWN.digest}","at":2,"data":"cmVk"}}]]]',
        [message_of("user", ["Hi", SHOWN], "gw1-a-b-c-d")],
    ),
}


@pytest.mark.parametrize(("note", "messages"), EARLIER.values(), ids=EARLIER)
def test_what_an_earlier_version_noted_is_found_and_noted_alike(note: str, messages: list[Message]) -> None:
    assert from_note(note) == Unkept(messages)
    assert to_note(messages) == note


TEXTS = st.text(max_size=5)
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant"]),
        TEXTS,
        TEXTS,
        images=st.sampled_from([(), (SHOWN,)]),
        name=TEXTS,
        exchanged=TEXTS,
    ),
    min_size=1,
    max_size=3,
)


@given(MESSAGES, st.booleans())
def test_what_is_noted_is_found_again(messages: list[Message], begun: bool) -> None:
    assert from_note(to_note(messages, begun)) == Unkept(messages, begun)


def test_what_is_too_long_is_noted_without_its_pictures_or_not_at_all() -> None:
    large = message_of("user", ["Hi", image_of("image/png", "A" * NOTE_CHARACTERS)], "gw1-a-b-c-d")

    assert from_note(to_note([large], begun=True)) == Unkept([large.light], begun=True)
    assert to_note([Message("user", "A" * NOTE_CHARACTERS)]) == ""


def test_a_turn_is_kept_where_its_last_message_is() -> None:
    more = Message("user", "More", "gw1-e-f-g-h")

    assert is_kept([HI, more], Past([HI, more]))
    assert not is_kept([HI, more], Past([HI]))
    assert not is_kept([], Past([HI]))


MORE, PART = Message("user", "More", "gw1-e-f-g-h"), Message("assistant", "Su")
HELLO = Message("assistant", "Hello")
# what is in a conversation, what stands in it without an end, what is noted -> what is missing
MISSING: dict[str, tuple[list[Message], list[Message], list[Message], list[Message]]] = {
    "nothing": ([HI, HELLO], [], [], []),
    "what is noted": ([HI, HELLO], [], [MORE, PART], [MORE, PART]),
    "what has no end": ([HI, HELLO], [MORE], [], [MORE]),
    "what was seen of it": ([HI, HELLO], [MORE], [MORE, PART], [MORE, PART]),
    "nothing of a turn that was kept after all": ([HI, HELLO], [], [HI], []),
    "a later turn than one that was kept after all": ([HI, HELLO], [MORE], [HI], [MORE]),
    "a later turn, which brought back what was noted": ([], [HELLO, MORE], [HI], [HELLO, MORE]),
}


@pytest.mark.parametrize(("said", "unfinished", "noted", "missing"), MISSING.values(), ids=MISSING)
def test_what_is_missing_is_told_by_the_note_and_by_the_turn_without_an_end(
    said: list[Message], unfinished: list[Message], noted: list[Message], missing: list[Message]
) -> None:
    assert missing_in(Past(said, appendable=not unfinished, unfinished=unfinished), noted) == missing
