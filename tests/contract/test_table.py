"""The table of what sides cannot show names what some test needs, and every test names what stands there."""

import inspect
from types import ModuleType

import pytest

from tests.contract import test_agents, test_chat_pictures, test_chats, test_client_tools, test_conversations, test_runs
from tests.contract.table import UNSHOWN

MODULES: list[ModuleType] = [
    test_agents,
    test_chat_pictures,
    test_chats,
    test_client_tools,
    test_conversations,
    test_runs,
]


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
