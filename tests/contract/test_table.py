"""The table of what sides cannot show names what some test needs, and every test names what stands there."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from tests.contract.table import UNSHOWN

MODULES = [import_module(f"tests.contract.{path.stem}") for path in Path(__file__).parent.glob("test_*.py")]


def test_every_ability_that_is_not_shown_is_needed_by_some_test_and_the_other_way_round() -> None:
    needed = {
        ability
        for module in MODULES
        for _, test in inspect.getmembers(module, inspect.isfunction)
        for ability in getattr(test, "needs", ())
    }

    assert needed == {ability for unshown in UNSHOWN.values() for ability in unshown}


@pytest.mark.parametrize("side", UNSHOWN)
def test_what_is_not_shown_has_a_reason(side: str) -> None:
    assert all(UNSHOWN[side].values())
