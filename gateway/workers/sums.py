"""The metrics and the chats of several processes, as those of one. Performs no I/O.

Metrics are in Prometheus' text format, all by the same writer: a series has the same words in each.
https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import math
from collections.abc import Callable, Iterable

from msgspec import Struct

from gateway.http.seen.chats import MOST_CHATS, ChatsUnderWay

# The oldest start is the gateway's, even if that process is gone.
_OLDEST = ("process_start_time_seconds", "letta_gateway_start_time_seconds")
# The metrics that are no sums: there is one version, and Redis is there if it is for all.
_OTHERS: dict[str, Callable[[float, float], float]] = {
    **dict.fromkeys(_OLDEST, min),
    "letta_gateway_redis_up": min,
    "letta_gateway_build_info": max,
}
_GAUGE = "gauge"


class _Family(Struct):
    """A metric: the lines above its series, and the series, each with its value."""

    head: dict[str, str]
    series: dict[str, float]

    @property
    def kind(self) -> str:
        return self.head.get("TYPE", "").rpartition(" ")[2]


def summed(texts: Iterable[str], gone: Iterable[str] = ()) -> str:
    """The sums of all metrics. Of processes that have `gone`, what was counted still counts; what was there does not.

    What it gives may be among those that have gone, the next time.
    """
    families: dict[str, _Family] = {}
    for text in texts:
        _add(text, families, stays=True)
    for text in gone:
        _add(text, families, stays=False)
    lines: list[str] = []
    for family in families.values():
        if family.series:
            lines += family.head.values()
            lines += (f"{series} {_written(value)}" for series, value in family.series.items())
    return "".join(f"{line}\n" for line in lines)


def _add(text: str, families: dict[str, _Family], stays: bool) -> None:
    family, how, counts = _Family({}, {}), None, True
    # Not `splitlines`: names of the configuration's may hold what that takes for a line's end.
    for line in text.split("\n"):
        if line.startswith("# "):
            _, word, name, *_ = line.split(" ", 3)
            family = families.setdefault(name, _Family({}, {}))
            family.head.setdefault(word, line)
            how = _OTHERS.get(name)
            counts = stays or name in _OLDEST or family.kind != _GAUGE
        elif line and counts:
            series, _, written = line.rpartition(" ")
            value, before = float(written), family.series.get(series)
            if before is not None:
                value = how(before, value) if how else before + value
            family.series[series] = value


def _written(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def joined_chats(every: Iterable[ChatsUnderWay]) -> ChatsUnderWay:
    """The chats of all processes, the slowest first."""
    all_of_them = [*every]
    chats = sorted((chat for each in all_of_them for chat in each.chats), key=lambda chat: -chat.seconds)
    return ChatsUnderWay(sum(each.total for each in all_of_them), chats[:MOST_CHATS])
