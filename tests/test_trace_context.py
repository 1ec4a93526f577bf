"""The header `traceparent`: which ones are taken, and as what they go on."""

import pytest

from gateway.trace_context import read_traceparent, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"
# https://www.w3.org/TR/trace-context/#traceparent-header
READ: dict[str, tuple[list[str], str]] = {
    "one": ([GOOD], GOOD),
    "one that is not recorded": ([f"00-{TRACE}-{SPAN}-00"], f"00-{TRACE}-{SPAN}-00"),
    "of a later version": ([f"01-{TRACE}-{SPAN}-01"], GOOD),
    "of a later version, with more": ([f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"], GOOD),
    "none": ([], ""),
    "two": ([GOOD, GOOD], ""),
    "an empty one": ([""], ""),
    "with more": ([f"{GOOD}-more"], ""),
    "with a letter that is none": ([GOOD.replace("b", "g")], ""),
    "in capitals": ([GOOD.upper()], ""),
    "of no trace": ([f"00-{'0' * 32}-{SPAN}-01"], ""),
    "of no span": ([f"00-{TRACE}-{'0' * 16}-01"], ""),
    "of the version that is none": ([f"ff-{TRACE}-{SPAN}-01"], ""),
    "with a line end": ([f"{GOOD}\n"], ""),
    "of a later version, with a line end in it": ([f"01-{TRACE}-{SPAN}-01-a\nb"], ""),
    "too long a one": ([f"01-{TRACE}-{SPAN}-01-{'a' * 1000}"], ""),
}


@pytest.mark.parametrize(("values", "read"), READ.values(), ids=READ)
def test_a_header_is_taken_if_it_is_valid_and_alone(values: list[str], read: str) -> None:
    assert read_traceparent(values) == read


def test_the_trace_is_a_part_of_it() -> None:
    assert trace_of(GOOD) == TRACE
