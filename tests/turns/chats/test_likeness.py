"""Texts that are the same to who reads them, and texts that are not."""

import html
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.turns.chats.likeness import readings, seen

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
ALIKE: dict[str, tuple[str, str]] = {
    "composed, and in pieces": ("Crème brûlée", "Cre\u0300me bru\u0302le\u0301e"),
    "syllables of Hangul": ("한국어", unicodedata.normalize("NFD", "한국어")),
    "marks in another order": ("a\u0323\u0301", "a\u0301\u0323"),
    "an emoji without its selector": ("I ❤️ you", "I ❤ you"),
    "a selector of ideographs": ("葛\U000e0100", "葛"),
    "ligatures and wide letters": ("ﬁne ＡＢＣ", "fine ABC"),
    "other spaces": ("one\u00a0two\u2003three", "one two\nthree"),
}
UNLIKE: dict[str, tuple[str, str]] = {
    "another accent": ("résumé", "resume"),
    "another tone": ("má", "mà"),
    "another emoji": ("😀", "😁"),
    "other letters": ("one", "two"),
}


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
def test_the_same_in_another_form_is_the_same(one: str, other: str) -> None:
    assert seen(one) == seen(other)


@pytest.mark.parametrize(("one", "other"), UNLIKE.values(), ids=UNLIKE)
def test_other_words_are_others(one: str, other: str) -> None:
    assert seen(one) != seen(other)


@given(st.text(), st.sampled_from(FORMS))
def test_a_text_is_the_same_in_every_form(text: str, form: str) -> None:
    assert seen(unicodedata.normalize(form, text)) == seen(text)  # type: ignore[arg-type]


@given(st.text(st.sampled_from("aé\u0323\u0301\u0302한🦊"), min_size=50, max_size=300), st.sampled_from(FORMS))
def test_so_is_a_long_one(text: str, form: str) -> None:
    # Of a row of more marks than any script has, nothing is promised.
    text = "\u0301\u0302".join(text.replace("\u0301", "").replace("\u0302", "").split("\u0323"))

    assert seen(unicodedata.normalize(form, text)) == seen(text)  # type: ignore[arg-type]


@given(st.text())
def test_one_of_the_readings_of_an_escaped_text_is_the_text(text: str) -> None:
    assert text in readings(html.escape(text))
    assert text in readings(text)


def test_a_number_that_is_no_escape_is_left() -> None:
    assert list(readings("&#" + "9" * 5000 + ";")) == ["&#" + "9" * 5000 + ";"]
