"""Halves of surrogate pairs in JSON: put together, or replaced, and nothing else of the JSON changed."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from gateway.domain.texts.halves import Mender, decode, decode_pieces, mend, mended, whole

# What a text may be made of: characters of every plane, halves of those that UTF-16 has two units for, traps.
UNITS = st.sampled_from(["a", "é", "😀", "\U0010ffff", "\ud83d", "\ude00", "\\", '"', "u", "ud83d", "\n", "\u0000"])
TEXTS = st.lists(st.one_of(UNITS, st.characters()), max_size=12).map("".join)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def as_utf_16_has_it(value: Any) -> Any:
    """The value with its texts as a decoder of UTF-16 reads them, which knows nothing of the gateway."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [as_utf_16_has_it(one) for one in value]
        case dict():
            return {as_utf_16_has_it(name): as_utf_16_has_it(one) for name, one in value.items()}
    return value


# JSON -> what it says
JSON: dict[str, tuple[bytes, Any]] = {
    "a pair": (rb'"\ud83d\ude00"', "😀"),
    "a pair in capitals": (rb'"\uD83D\uDE00"', "😀"),
    "a first half": (rb'"a\ud83d"', "a\ufffd"),
    "a second half": (rb'"\ude00a"', "\ufffda"),
    "two first halves": (rb'"\ud83d\ud83d"', "\ufffd\ufffd"),
    "a half before a pair": (rb'"\ud83d\ud83d\ude00"', "\ufffd😀"),
    "a half after a pair": (rb'"\ud83d\ude00\ude00"', "😀\ufffd"),
    "halves the wrong way round": (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
    "halves with something between": (rb'"\ud83d \ude00"', "\ufffd \ufffd"),
    "a half before another escape": (rb'"\ud83d\n\"\u00e9"', '\ufffd\n"é'),
    "what only looks like one": (rb'"\\ud83d"', "\\ud83d"),
    "what only looks like one before one": (rb'"\\ud83d\ude00"', "\\ud83d\ufffd"),
    "a backslash before one": (rb'"\\\ud83d"', "\\\ufffd"),
    "a half in a name": (rb'{"a\ud83d": 1}', {"a\ufffd": 1}),
    "a half in UTF-8": (b'"a\xed\xa0\xbd"', "a\ufffd"),
    "a pair whose halves are in UTF-8": (b'"\xed\xa0\xbd\xed\xb8\x80"', "😀"),
    "a pair half of which is in UTF-8": (b'"\xed\xa0\xbd\\ude00"', "😀"),
    "bytes that are no UTF-8": (b'"\xff\xc3\xa9\xf0\x9f"', "\ufffdé\ufffd"),
}


@pytest.mark.parametrize(("data", "said"), JSON.values(), ids=JSON)
def test_no_half_refuses_what_stands_beside_it(data: bytes, said: Any) -> None:
    assert decode(data, Any) == said


@given(VALUES)
def test_any_json_is_read_as_utf_16_has_it(value: Any) -> None:
    expected = as_utf_16_has_it(value)

    assert decode(json.dumps(value), Any) == expected
    assert decode(json.dumps(value).encode(), Any) == expected


@given(TEXTS)
def test_what_has_no_half_is_not_touched(text: str) -> None:
    right = as_utf_16_has_it(text)

    assert whole(text) == right
    assert whole(right) == right
    assert mend(json.dumps(right)) == json.dumps(right)
    assert mended(json.dumps(right, ensure_ascii=False).encode()) == json.dumps(right, ensure_ascii=False).encode()


@given(TEXTS, st.lists(st.integers(0, 100), max_size=6))
def test_json_is_mended_alike_wherever_it_is_cut(text: str, cuts: list[int]) -> None:
    told, mender = json.dumps(text), Mender()
    at = sorted({0, len(told), *(cut for cut in cuts if cut < len(told))})
    pieces = [mender.feed(told[start:end]) for start, end in zip(at, at[1:], strict=False)]

    assert "".join([*pieces, mender.flush()]) == mend(told)


@given(st.text(alphabet="\\ud83e0", max_size=20))
def test_what_is_no_json_is_cut_no_otherwise(text: str) -> None:
    mender = Mender()

    assert "".join([*map(mender.feed, text), mender.flush()]) == mend(text)


class Told(Struct):
    content: Any = None
    name: str = ""
    new: Any = None


def test_only_what_comes_in_pieces_keeps_its_halves() -> None:
    data = rb'{"content":[{"text":"a\ud83d","type":"\ud83d"}],"name":"b\ud83d","new":{"text":"\ud83d"}}'

    assert decode_pieces(data, Told) == Told([{"text": "a\ud83d", "type": "\ufffd"}], "b\ufffd", {"text": "\ufffd"})


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": rb"{\ud83d}",
    "JSON that is cut off": rb'{"name":"\ud83d',
    "a value of another kind": rb'{"name":["\ud83d"]}',
    "more after it": rb'{"name":"\ud83d"}{}',
}


@pytest.mark.parametrize("read", [decode, decode_pieces])
@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_otherwise_is_refused_as_before(data: bytes, read: Any) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(data, Told)
