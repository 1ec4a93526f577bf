"""No regular expression of the project looks at a text again and again, however long it is and whatever is in it."""

import re
from typing import Any

import pytest

from tests.growth.measure import LINEAR, Work, growth, slowest
from tests.growth.patterns import Shape, Used, compiled, shapes

PATTERNS = compiled()
# Patterns that may take longer than their text is long, and why nobody waits for it.
EXCEPTIONS: dict[str, str] = {}


# Of all the texts that are made of a pattern's pieces, the one that keeps it busiest is followed up.
FOLLOWED = 1


class _Looking:
    """A pattern that is shown a shape."""

    def __init__(self, used: Used, shape: Shape) -> None:
        self._used = used
        self.shape = shape

    def __call__(self, size: int) -> Work:
        pattern: re.Pattern[Any] = self._used.pattern
        text = self.shape.text(size)
        shown = text.encode() if isinstance(pattern.pattern, bytes) else text
        if self._used.how == "search":
            return lambda: sum(1 for _ in pattern.finditer(shown))
        return lambda: getattr(pattern, self._used.how)(shown)


def _grown(used: Used) -> dict[Shape, float]:
    """How the pattern takes the shapes that keep it busiest."""
    text = used.pattern.pattern
    source = text.decode("latin-1") if isinstance(text, bytes) else text
    looking = [_Looking(used, shape) for shape in shapes(source, used.pattern.flags & ~re.UNICODE)]
    return {one.shape: growth(one) for one in slowest(looking, FOLLOWED)}


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - EXCEPTIONS.keys()))
def test_a_pattern_takes_time_as_its_text_is_long(name: str) -> None:
    grown = _grown(PATTERNS[name])

    assert {shape: ratio for shape, ratio in grown.items() if ratio >= LINEAR} == {}


def test_every_exception_is_a_pattern() -> None:
    assert EXCEPTIONS.keys() <= PATTERNS.keys()


# What a careless pattern looks like, and texts of its own pieces that show it
CARELESS = {
    "lines in two places": r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*",
    "an end that never comes": r"<chat>\n?(.*)</chat>",
    "spaces on both sides": r"what\s*\??\s*\Z",
}


@pytest.mark.parametrize("pattern", CARELESS.values(), ids=CARELESS)
def test_a_careless_pattern_is_found_out(pattern: str) -> None:
    grown = _grown(Used(re.compile(pattern, re.DOTALL), "search"))

    assert max(grown.values()) >= LINEAR
