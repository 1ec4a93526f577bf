"""The pulses of processes: numbers that each raises once a second, as one process sees them change, by its own clock.

The time is given to it, in seconds of any clock that goes evenly.
"""

from collections.abc import Mapping

# A process whose pulse has not changed for so long is dead, and what it held is free.
LEASE_SECONDS = 5.0
# A pulse that has changed within this time goes on now.
RECENT_SECONDS = 2.5
# The pulses of those who have gone are forgotten after so long.
GONE_SECONDS = 60.0


class Pulses:
    """The pulses of the other processes."""

    def __init__(self, now: float) -> None:
        self._began_at = now
        self._seen: dict[str, tuple[int, float]] = {}
        """Process → its number, 0 if that was never seen, and the moment at which it was seen to change."""

    def see(self, numbers: Mapping[str, int], now: float) -> list[str]:
        """Take note of their numbers; gives those who are gone for so long that they are forgotten."""
        for process, number in numbers.items():
            known = self._seen.get(process)
            if known is None or known[0] != number:
                self._seen[process] = number, now
        gone = [process for process, (_, at) in self._seen.items() if now - at > GONE_SECONDS]
        for process in gone:
            del self._seen[process]
        return gone

    def begin_anew(self, now: float) -> None:
        """None of them could raise its number until now: they have the same time for it from now on."""
        self._seen = {process: (number, now) for process, (number, _) in self._seen.items()}

    def say_gone(self, process: str, now: float) -> None:
        """A process has said that it goes."""
        self._seen[process] = 0, now - LEASE_SECONDS

    def is_alive(self, process: str, now: float) -> bool:
        """True for a process whose pulse goes on; for a while also for one never seen, which may just have begun."""
        _, at = self._seen.setdefault(process, (0, now))
        return now - at < LEASE_SECONDS

    def dead(self, now: float) -> list[str]:
        """The processes whose pulse goes on no more."""
        return [process for process in self._seen if not self.is_alive(process, now)]

    def all_go_on(self, now: float) -> bool:
        """True: the pulse of every process goes on now, but for those that have said that they go.

        One that does not may be dead, or may have lost touch with Redis and act as if it were alone. Who has just begun
        to look does not know yet.
        """
        heard = all(now - at < RECENT_SECONDS for number, at in self._seen.values() if number)
        return heard and now - self._began_at > RECENT_SECONDS
