"""How headers are read as text, and that nobody is taken for somebody whom an earlier version met."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.frontends.header_text import as_text, former

# bytes of a header -> as text, and as an earlier version read it where it read otherwise
READINGS: dict[str, tuple[bytes, str, str]] = {
    "ASCII": (b"ada@example.org", "ada@example.org", ""),
    "percents are left as they are": (b"a%20b", "a%20b", ""),
    "nothing": (b"", "", ""),
    "UTF-8": ("Adél".encode(), "Adél", "AdÃ©l"),
    "UTF-8 beyond latin-1": ("Đ 😀".encode(), "Đ 😀", "Ä\x90 ð\x9f\x98\x80"),
    "latin-1": (b"J\xfcrgen", "Jürgen", "JÃ¼rgen"),
    "UTF-8 cut in the middle": ("Adé".encode()[:-1], "AdÃ", "AdÃ\x83"),
    "what looks like UTF-8 that was misread": ("AdÃ©l".encode(), "AdÃ\x83Â©l", ""),
    "what looks like it twice": ("AdÃ\x83Â©l".encode(), "AdÃ\x83Â\x83Ã\x82Â©l", ""),
}


@pytest.mark.parametrize(("sent", "text", "before"), READINGS.values(), ids=READINGS)
def test_a_header_is_read_as_utf_8_and_was_read_as_latin_1(sent: bytes, text: str, before: str) -> None:
    assert as_text(sent) == text
    assert former(as_text(sent)) == before
    assert before in ("", sent.decode("latin-1"), text.encode().decode("latin-1"))


# Letters of latin-1 are what misread UTF-8 is made of.
TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0x1FF), max_size=12)


@given(TEXT)
def test_what_is_sent_in_utf_8_is_known_under_its_former_reading(text: str) -> None:
    sent = text.encode()

    assert sent.decode("latin-1") in (as_text(sent), former(as_text(sent)))


@given(TEXT, TEXT)
@example("Adél", "AdÃ©l")
@example("é", "Ã©")
@example("Ã©", "Ã\x83Â©")
def test_two_people_are_never_looked_for_under_one_name(one: str, other: str) -> None:
    assume(one != other)
    names = [{as_text(text.encode()), former(as_text(text.encode()))} - {""} for text in (one, other)]

    assert names[0].isdisjoint(names[1])


def test_half_a_surrogate_pair_of_a_token_was_never_in_a_header() -> None:
    assert former("\ud83d") == "í\xa0½"
