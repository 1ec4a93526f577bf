"""Which tests are of the quick tier, which anybody runs before a commit, and which of the full one.

Quick is what needs no server of somebody else's, no browser and no environment but the project's own, and a smoke of
the whole way on the gateway's own Letta. `pytest -m "not e2e"` runs both tiers.
"""

import pytest

from tests.workers import SERVERS

QUICK = "not e2e and not full"
# Tests below these folders, those that use any of these fixtures, and those for a server are of the full tier.
FOLDERS = ("tests/browser/", "tests/clients/", "tests/deployment/", "tests/integration/")
UNCOUNTED = (
    *("tests/growth/", "tests/browser/", "tests/clients/", "tests/deployment/", "tests/integration/"),
    "tests/test_starting.py",
)
FIXTURES = {*SERVERS, "browser", "python", "node_modules", "native_programs"}


def mark_the_full_tier(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_full(item) and not item.get_closest_marker("smoke"):
            item.add_marker(pytest.mark.full)


def leave_to_themselves(items: list[pytest.Item]) -> None:
    """Properties take three times as long where each line is counted, and find no line that no other test finds.

    So do those of growth, and what they measure would be the counting. Those of pages and of other people's programs
    look at what is in front of the gateway, those of integration at what is behind it and at processes, of which each
    takes a quarter of a second more, three gateways three quarters; what they call in it others call, too.
    """
    for item in items:
        if item.nodeid.startswith(UNCOUNTED) or item.get_closest_marker("hypothesis") or _is_in_threes(item):
            item.add_marker(pytest.mark.no_cover)


def _is_in_threes(item: pytest.Item) -> bool:
    asked = getattr(item, "callspec", None)
    return asked is not None and "trio" in asked.id


def _is_full(item: pytest.Item) -> bool:
    grouped = item.get_closest_marker("xdist_group")
    asks_a_server = grouped is not None and grouped.args[0] in SERVERS
    uses_one = not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
    return item.nodeid.startswith(FOLDERS) or uses_one or asks_a_server


def choose_tier(config: pytest.Config) -> None:
    """A test that is named is run, whichever tier it is of."""
    if config.option.markexpr == QUICK and is_named(config):
        config.option.markexpr = "not e2e"


def is_named(config: pytest.Config) -> bool:
    return any(".py" in argument for argument in config.args)
