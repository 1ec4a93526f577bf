"""Which tests one worker runs: all that ask a real server, so that it is started once, or all of a module."""

from collections import defaultdict
from functools import cached_property
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

SERVERS = ("letta_v1", "app_server", "embedded_letta")
KEY = "workers/groups"
# The seconds that a test takes, roughly, by where it is: those that start programs take longest. Of all others: OTHERS.
SECONDS = {
    "tests/clients/": 15.0,
    "tests/integration/": 8.0,
    "tests/test_demo.py": 7.0,
    "tests/browser/": 3.0,
    "tests/turns/chats/test_chats_properties.py": 3.0,
    "tests/growth/": 1.0,
}
OTHERS = 0.2


def asks(fixture: str, *more: Any, id: str, server: str = "") -> Any:
    """A parameter of a fixture: the name of a server's own fixture, alone or first of several.

    `server` is that of the server, where `fixture` is made of it.
    """
    marks = pytest.mark.xdist_group(server or fixture)
    return pytest.param((fixture, *more) if more else fixture, id=id, marks=marks)


# The real Lettas, by what their tests are called; then those with three gateways in front of them, for whom nobody
# starts an embedded one.
ONE_GATEWAY = [asks("letta_v1", id="v1"), asks("app_server", id="app-server"), asks("embedded_letta", id="embedded")]
IN_THREES = [
    asks("v1_in_threes", id="v1-trio", server="letta_v1"),
    asks("app_server_in_threes", id="app-server-trio", server="app_server"),
]
also_in_threes = pytest.mark.parametrize("letta", [*ONE_GATEWAY, *IN_THREES], indirect=True, scope="session")
"""The mark of a test that is passed by one gateway and by three that are one, whichever of them is asked."""
by_three_too = pytest.mark.parametrize(
    "letta", ["alone", pytest.param("in threes", id="trio", marks=pytest.mark.full)], indirect=True
)
"""The same of a test of HTTP behaviour, whose Letta is a fake."""


def sort_by_group(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no worker is left alone with it at the end."""
    sizes: defaultdict[str, float] = defaultdict(float)
    for item in items:
        sizes[_group_of(item)] += _seconds_of(item.nodeid)
    items.sort(key=lambda item: (_group_of(item) not in SERVERS, -sizes[_group_of(item)]))


def tell_groups(session: pytest.Session) -> None:
    """Called in a worker that knows its tests. The scheduler has only their names, so pytest's cache tells the rest.

    https://github.com/pytest-dev/pytest-xdist/issues/1386: pytest-xdist's own way is lost with pytest 9.2.
    """
    # There is none with `-p no:cacheprovider`.
    if cache := getattr(session.config, "cache", None):
        cache.set(KEY, {item.nodeid: _group_of(item) for item in session.items})


def _group_of(item: pytest.Item) -> str:
    marked = item.get_closest_marker("xdist_group")
    asked = (marked.args[0],) if marked else getattr(item, "fixturenames", ())
    return next((server for server in SERVERS if server in asked), _module_of(item.nodeid))


def _seconds_of(nodeid: str) -> float:
    return next((seconds for place, seconds in SECONDS.items() if nodeid.startswith(place)), OTHERS)


def _module_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """A group is for one worker."""

    @cached_property
    def _groups(self) -> dict[str, str]:
        cache: pytest.Cache | None = getattr(self.config, "cache", None)
        return cache.get(KEY, {}) if cache else {}

    def _split_scope(self, nodeid: str) -> str:
        return self._groups.get(nodeid, _module_of(nodeid))
