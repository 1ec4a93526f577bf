"""What is said about a chat and added to it, as a text in a summary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.turns.about import About, Added, TooMuchAdded, from_about, to_about
from gateway.turns.chats.markers import Summary, parse_summary

ITEMS = st.one_of(st.none(), st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
ADDED = st.builds(Added, st.just("c" * 16), st.integers(0, 2**40), st.just(("d" * 16,)), st.lists(ITEMS, max_size=3))
ABOUTS = st.builds(
    About,
    st.one_of(st.none(), st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=3)),
    st.lists(ADDED, max_size=3),
    st.integers(0, 10),
)


@given(ABOUTS)
def test_it_is_read_as_it_was_written(about: About) -> None:
    assert from_about(to_about(about)) == about


@pytest.mark.parametrize("size", [7_900_000, 8_000_001, 9_000_000])
def test_it_is_read_back_or_not_written_however_small_it_packs(size: int) -> None:
    about = About(added=[Added("c" * 16, 1, (), [{"type": "reasoning", "text": "a" * size}])])
    if size < 8_000_000:
        assert from_about(to_about(about)) == about
    else:
        with pytest.raises(TooMuchAdded) as refused:
            to_about(about)
        assert (refused.value.code, refused.value.param) == ("conversation_too_large", "items")


@given(ABOUTS, st.booleans(), st.text(max_size=30))
def test_a_summary_holds_it_beside_anything_else(about: About, replaced: bool, note: str) -> None:
    whose = f"0b1c2d3e.{'5e' * 16}"
    summary = Summary("gw1:1f", replaced, note=f"[{note}]", gone="c" * 16, whose=whose, about=to_about(about))

    assert parse_summary(str(summary)) == summary


@given(st.text(max_size=60))
def test_what_cannot_be_read_says_nothing(text: str) -> None:
    assert isinstance(from_about(text), About)
    assert from_about("") == from_about("AAAA") == About()
