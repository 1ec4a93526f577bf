"""A message with pictures, its pieces, and the parts in which Letta takes and lists it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Image, Message, image_of, message_of
from gateway.letta.parts import from_parts, to_parts

RED, BLUE = image_of("image/png", "cmVk"), image_of("image/jpeg", "Ymx1ZQ==", "low")
RED_PART = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cmVk"}}
BLUE_PART = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/jpeg", "data": "Ymx1ZQ==", "detail": "low"},
}
Part = dict[str, Any]


def text(said: str) -> Part:
    return {"type": "text", "text": said}


# pieces, the text of the message, its parts
MESSAGES: dict[str, tuple[list[str | Image], str, list[Part]]] = {
    "a text": (["Hi"], "Hi", [text("Hi")]),
    "texts are lines": (["Hi", "there"], "Hi\nthere", [text("Hi\nthere")]),
    "a blank text": ([" "], " ", [text(" ")]),
    "a text and a picture": (["Look", RED], "Look", [text("Look"), RED_PART]),
    "a picture and a text": ([RED, "Look"], "Look", [RED_PART, text("Look")]),
    "texts and pictures in turn": (
        ["this", RED, "or", "that:", BLUE, "?"],
        "this\nor\nthat:\n?",
        [text("this"), RED_PART, text("or\nthat:"), BLUE_PART, text("?")],
    ),
    "lines around a picture": (["a\n", RED, "\nb"], "a\n\n\nb", [text("a\n"), RED_PART, text("\nb")]),
    "pictures alone": ([RED, BLUE], "", [RED_PART, BLUE_PART]),
    "an empty text": (["", RED, ""], "", [RED_PART]),
    "a blank text beside a picture": ([" \n", RED], " \n", [RED_PART]),
    "a picture that is not kept": (
        ["Look", Image("image/png", "digest")],
        "Look",
        [text("Look"), text("[Here was a picture, image/png.]")],
    ),
}


@pytest.mark.parametrize(("pieces", "content", "parts"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_sent_in_its_parts(pieces: list[str | Image], content: str, parts: list[Part]) -> None:
    message = message_of("user", pieces, "gw1-a-b-c-d", "m-1")

    assert (message.content, message.client_id, message.id) == (content, "gw1-a-b-c-d", "m-1")
    assert to_parts(message) == parts


PIECES = st.lists(st.one_of(st.text(max_size=4), st.sampled_from([RED, BLUE])), max_size=8)


@given(PIECES)
def test_a_message_gives_the_pieces_that_make_it(pieces: list[str | Image]) -> None:
    message = message_of("user", pieces)

    assert message_of("user", message.pieces()) == message
    assert [piece for piece in message.pieces() if isinstance(piece, Image)] == list(message.images)


@given(PIECES)
def test_a_message_that_was_sent_is_listed_as_itself_but_for_blanks_beside_pictures(pieces: list[str | Image]) -> None:
    message = message_of("user", pieces)
    listed = message_of("user", from_parts(to_parts(message)))

    assert listed.content.split() == message.content.split()
    assert [image.digest for image in listed.images] == [image.digest for image in message.images]
    assert to_parts(listed) == to_parts(message)


# What is listed, and the message.
LISTED: dict[str, tuple[Any, Message]] = {
    "a text": ("Hi", Message("user", "Hi")),
    "a picture as a V1 server lists it": (
        [
            {"type": "text", "text": "Look", "signature": None},
            {
                "type": "image",
                "source": {
                    "type": "letta",
                    "file_id": "file-1",
                    "media_type": "image/png",
                    "data": "cmVk",
                    "detail": None,
                },
            },
        ],
        message_of("user", ["Look", RED]),
    ),
    "a picture without its data": (
        [{"type": "image", "source": {"type": "letta", "file_id": "file-1"}}],
        Message("user", "", images=(image_of("image", ""),)),
    ),
    "parts of another kind": ([{"type": "file"}, 1, text("Hi")], Message("user", "Hi")),
    "nothing": (None, Message("user", "")),
}


@pytest.mark.parametrize(("content", "message"), LISTED.values(), ids=LISTED)
def test_a_listed_message_is_read(content: Any, message: Message) -> None:
    assert message_of("user", from_parts(content)) == message


def test_a_light_message_is_known_by_its_pictures_and_does_not_hold_them() -> None:
    message = message_of("user", ["Look", image_of("image/png", "A" * 1_000_000)])
    light = message.light

    assert [(image.digest, image.at, image.data) for image in light.images] == [(message.images[0].digest, 4, "")]
    assert light.content == message.content
    assert light.weight < 1_000 < 1_000_000 < message.weight
