"""The place of what is done now in somebody's trace: as a request says it, and as Letta is told. Performs no I/O.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

import re
from collections.abc import Sequence
from contextvars import ContextVar

TRACEPARENT_HEADER = "traceparent"
TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")
"""The value of the header for calls of Letta that are made now; empty where there is no trace."""

# A later version may have more behind it, which is not passed on.
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_LONGEST = 256


def read_traceparent(values: Sequence[str]) -> str:
    """The header `traceparent` that a request has; empty if it has none, several, or one that is not valid.

    `read_traceparent(["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])` gives it as it is.
    """
    if len(values) != 1 or len(values[0]) > _LONGEST or not (found := _FORM.fullmatch(values[0])):
        return ""
    version, trace, span, flags = found.groups()
    if version == "00" and len(values[0]) != len(f"00-{trace}-{span}-{flags}"):
        return ""
    return f"00-{trace}-{span}-{flags}"


def trace_of(traceparent: str) -> str:
    """The id of the trace, 32 hex digits."""
    return traceparent[3:35]
