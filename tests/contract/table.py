"""Abilities that not every side can show, and why: the tests that need one are left out on that side."""

from collections.abc import Callable
from typing import TypeVar

import pytest

F = TypeVar("F", bound=Callable[..., object])

NO_MODEL = "it has no model behind it, so nobody is shown a prompt, and nobody counts tokens"
ONE_FORM = "it keeps pictures as they were sent"
ONE_FAILURE = "it is told one failure of a provider's; its own tests play the others"
IN_MEMORY = {
    "model": NO_MODEL,
    "forms": ONE_FORM,
    "providers": ONE_FAILURE,
    "catalogue": "it takes any name for that of a tool that nobody knows",
    "deletion": "it keeps the conversations of an agent that was deleted",
    "dates": "its clock is not of this world",
}
# side -> what it cannot show -> why
UNSHOWN: dict[str, dict[str, str]] = {
    "memory-v1": IN_MEMORY,
    "memory-app-server": IN_MEMORY,
    "scripted-rest": {
        "model": NO_MODEL,
        "forms": ONE_FORM,
        "providers": ONE_FAILURE,
        "dates": "it dates what it makes by its number",
    },
    "scripted-app-server": {
        "model": NO_MODEL,
        "forms": ONE_FORM,
        "providers": ONE_FAILURE,
        "pasts": "it keeps no files, so a past that was said elsewhere is told in words, and shows no pictures",
        "approvals": "it asks before no call",
        "words beside results": "it takes no words while a turn waits for results",
    },
}

# The modules whose tests are passed by three gateways that are one as well: what these agree on shows there.
IN_THREES_TOO = ("test_approvals", "test_chats", "test_client_tools")


def needs(*abilities: str) -> Callable[[F], F]:
    """Leave a test out on the sides that cannot show one of these abilities: `@needs("dates")`."""

    def marked(function: F) -> F:
        function.__dict__["needs"] = abilities
        return function

    return marked


def can_show(item: pytest.Item) -> bool:
    """False for a test that needs what its side cannot show."""
    function = getattr(item, "function", None)
    callspec = getattr(item, "callspec", None)
    kind = callspec.params.get("kind") if callspec else None
    # Other rooms have kinds of their own.
    if not isinstance(kind, str):
        return True
    if kind.endswith("_in_threes") and item.path.stem not in IN_THREES_TOO:
        return False
    unshown = UNSHOWN.get(kind, {})
    return unshown.keys().isdisjoint(getattr(function, "needs", ()))
