"""Whoever reads what a caller or a model wrote takes as long as it is long, and no longer."""

from collections.abc import Callable

import pytest

from tests.growth import measure
from tests.growth.measure import LINEAR, growth, slowest
from tests.growth.patterns import modules
from tests.growth.subjects import EXCEPTIONS, subjects
from tests.growth.table import TABLE

# Of all that a function is given, what keeps it busiest is followed up.
FOLLOWED = 1


@pytest.mark.parametrize("name", TABLE)
def test_a_function_takes_time_as_its_input_is_long(name: str) -> None:
    busiest = slowest(TABLE[name].values(), FOLLOWED)
    grown = {kind: growth(make) for kind, make in TABLE[name].items() if make in busiest}

    assert {kind: ratio for kind, ratio in grown.items() if ratio >= LINEAR} == {}


def test_every_public_function_without_io_is_looked_at_or_excepted_with_a_reason() -> None:
    assert sorted(subjects(modules())) == sorted([*TABLE, *EXCEPTIONS])


def test_work_that_grows_faster_is_found_out() -> None:
    assert growth(lambda size: lambda: sum(a == b for a in "a" * size for b in "b" * size)) >= LINEAR


def _stepped(size: int) -> float:
    return size / 1e6 * (4 if size > 8_192 else 1)


@pytest.mark.parametrize(
    ("taken", "is_linear"), [(_stepped, True), (lambda size: (size / 8_192) ** 3 / 100, False)], ids=["a step", "cubed"]
)
def test_a_step_is_told_from_growth(
    taken: Callable[[int], float], is_linear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "seconds", lambda work: work())

    assert (growth(lambda size: lambda: taken(size)) < LINEAR) is is_linear
