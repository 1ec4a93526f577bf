"""How the texts that clients tell again are read: functions of the wires and frontends, which the core is given."""

from collections.abc import Callable

from msgspec import Struct


def _as_it_is(text: str) -> str:
    return text


def _never(text: str) -> bool:
    return False


class ClientTexts(Struct, frozen=True):
    """Three readings of a text; as they stand here, for a client that adds nothing of its own to it.

    `ClientTexts(visible=lambda answer: answer.partition("</think>")[2])`
    """

    visible: Callable[[str], str] = _as_it_is
    """The part of an answer that its agent wrote, without thoughts, cards and questions."""
    asks: Callable[[str], bool] = _never
    """True for an answer that asks the person for an approval."""
    bare: Callable[[str], str] = _as_it_is
    """A question without what a frontend put before it, such as files and search results."""


PLAIN_TEXTS = ClientTexts()
