"""The limit of requests a minute: GCRA, the generic cell rate algorithm. Performs no I/O.

A counter is one moment: the one at which everything that was taken is paid back, for each request takes a share of the
minute. It needs no history and no timer, forgets by itself, and one script of a shared store can do it. It is the
algorithm of ATM networks (ITU-T I.371, annex A), and of redis-cell, throttled and others: https://brandur.org/rate-limiting
"""

import math

from gateway.limits.counters import Rate

MINUTE = 60.0
# The part of a request that the inexactness of a clock's numbers may come to.
INEXACT = 0.01


def take(paid_back: float, per_minute: int, now: float, count: int) -> tuple[Rate, float]:
    """Take `count` requests of a counter that is paid back at that moment; gives its state and its new moment.

    All moments are in seconds. A clock that was set back holds nobody up for longer than a minute.
    """
    share = MINUTE / per_minute
    owed = min(max(paid_back - now, 0.0), MINUTE) / share
    taken = owed + count <= per_minute + INEXACT
    if taken:
        owed = max(owed + count, 0.0)
    return rate_of(taken, owed, per_minute), now + owed * share


def rate_of(taken: bool, owed: float, per_minute: int) -> Rate:
    """The state of a counter of which so many requests are not paid back yet."""
    share = MINUTE / per_minute
    remaining = max(math.floor(per_minute - owed + INEXACT), 0)
    room_after = 0.0 if remaining else (owed + 1 - per_minute) * share
    return Rate(taken, remaining, owed * share, room_after)
