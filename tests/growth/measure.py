"""How the time that something takes grows with the size of what it reads: processor time, and never in seconds."""

import gc
import time
from collections.abc import Callable, Iterable
from math import inf
from typing import TypeVar

Work = Callable[[], object]
# Work of a size, about so many characters.
Make = Callable[[int], Work]
M = TypeVar("M", bound=Make)

LEAST, MOST = 64, 1_000_000
# What takes less is no measure of anything.
SECONDS = 0.005
# Where one of many makes is to be found, a size that tells the slow ones from the others.
GLANCE = 8_192
ROUNDS = 5
# A busy machine disturbs five of them now and then.
MOST_ROUNDS = 15
# Twice as much takes twice as long, where nothing is done again and again; four times, where everything is.
LINEAR = 3.0
DOUBTFUL, CERTAIN = 2.2, 3.5
# No cache makes so much of it: what is worse than squared is not looked at further on, where it would take minutes.
PLAIN = 6.0


def growth(make: Make) -> float:
    """How much longer twice the size takes; 1 where the largest is done in no time.

    The best of five counts, of fewer where they say it plainly, and of more where five look bad.
    """
    size = _worth_measuring(make)
    if size is None:
        return 1.0
    # Where something leaves a cache of the processor's, it grows by more, once; and where little is done again and
    # again, it shows only further on.
    first = _ratio(make(size), make(2 * size))
    if first < DOUBTFUL:
        return first
    if first >= PLAIN:
        # A step, where memory comes from elsewhere from some size on, is not there between smaller sizes.
        return min(first, _ratio(make(size // 2), make(size)))
    further = _ratio(make(4 * size), make(8 * size))
    return further if first < LINEAR else min(first, further)


def _ratio(work: Work, twice: Work) -> float:
    best = best_of_twice = inf
    for done in range(1, MOST_ROUNDS + 1):
        best, best_of_twice = min(best, seconds(work)), min(best_of_twice, seconds(twice))
        ratio = best_of_twice / best
        if (done > 1 and ratio < DOUBTFUL) or (done >= ROUNDS and not DOUBTFUL <= ratio < CERTAIN):
            break
    return best_of_twice / best


def slowest(makes: Iterable[M], count: int) -> list[M]:
    """Those of many that take longest at a glance."""
    return sorted(makes, key=_glance, reverse=True)[:count]


def _glance(make: Make) -> tuple[float, float]:
    """What comes to its end at a larger size is faster, whatever it takes."""
    size = LEAST
    while (taken := seconds(make(size))) < 2 * SECONDS and size < GLANCE:
        size = min(size * 8, GLANCE)
    return -size, taken


def _worth_measuring(make: Make) -> int | None:
    """The size at which the time can be told; None where even the largest takes none to speak of."""
    size = LEAST
    while (taken := seconds(make(size))) < SECONDS:
        if size == MOST // 8:
            return None
        # Carefully, for what explodes would never end.
        size = min(size * (2 if taken > SECONDS / 64 else 8), MOST // 8)
    return size


def seconds(work: Work) -> float:
    """The processor's time for it, on this thread alone; what others do on the machine is not in it."""
    gc.collect(0)
    gc.disable()
    try:
        began = time.thread_time()
        work()
        return time.thread_time() - began
    finally:
        gc.enable()
