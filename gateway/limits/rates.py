"""The limit of requests within a time: GCRA, the generic cell rate algorithm. Performs no I/O.

A counter is one moment: the one at which everything that was taken is paid back, for each request takes a share of the
time. It needs no history and no timer, forgets by itself, and one script of a shared store can do it. It is the
algorithm of ATM networks (ITU-T I.371, annex A), and of redis-cell, throttled and others: https://brandur.org/rate-limiting
"""

import math

from gateway.limits.counters import Rate

MINUTE, HOUR = 60.0, 3600.0
# The part of a request that the inexactness of a clock's numbers may come to.
INEXACT = 0.01


def take(paid_back: float, most: int, now: float, count: int, within: float = MINUTE) -> tuple[Rate, float]:
    """Take `count` requests of a counter that is paid back at that moment; gives its state and its new moment.

    `most` requests may come `within` so many seconds. All moments are in seconds. A clock that was set back holds
    nobody up for longer than that time.
    """
    share = within / most
    owed = min(max(paid_back - now, 0.0), within) / share
    taken = owed + count <= most + INEXACT
    if taken:
        owed = max(owed + count, 0.0)
    return rate_of(taken, owed, most, within), now + owed * share


def rate_of(taken: bool, owed: float, most: int, within: float = MINUTE) -> Rate:
    """The state of a counter of which so many requests are not paid back yet."""
    share = within / most
    remaining = max(math.floor(most - owed + INEXACT), 0)
    room_after = 0.0 if remaining else (owed + 1 - most) * share
    return Rate(taken, remaining, owed * share, room_after)
