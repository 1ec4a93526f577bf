"""How much a request may hold, so that reading it keeps nobody waiting (deploy/guide/limits.md). Performs no I/O."""

import re
from typing import Any

from gateway.domain.errors import InvalidRequest

MESSAGES = 20_000
# Of all messages together: their parts, and the calls that they tell.
PARTS = 100_000
TOOLS = 1_000
# Of a body: objects, lists, texts, numbers and names.
VALUES = 1_000_000
# Objects and lists within each other, where they are passed on.
DEPTH = 100
# A text in JSON; one that has no end goes on to the end.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def check_values(body: bytes) -> None:
    """Before anything is made of it. Raises InvalidRequest."""
    # What stands in texts is no value; most bodies have too little of it to matter. A text is one, and has two quotes.
    if len(body) < VALUES or _most(body) <= VALUES:
        return
    too_many = body.count(b'"') - body.count(b'\\"') > 2 * VALUES
    if too_many or _most(_TEXT.sub(b"", body)) > VALUES:
        raise InvalidRequest(f"The body holds more than {VALUES:,} values.", code="too_many_values")


def _most(body: bytes) -> int:
    """How many values there are at most: each comes after one of these."""
    return 1 + len(body) - len(body.translate(None, b",[{:"))


def check_depth(value: Any, param: str) -> None:
    """Raises InvalidRequest."""
    level = [value]
    for _ in range(DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return
    raise InvalidRequest(f"`{param}`: more than {DEPTH} objects and lists stand within each other.", param)


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def check_count(count: int, most: int, param: str, what: str) -> None:
    """Raises InvalidRequest."""
    if count > most:
        raise InvalidRequest(f"`{param}` holds more than {most:,} {what}.", param)
