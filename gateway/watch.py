"""Watches for silence: a timer that looks now and then, so that an event costs nothing."""

import asyncio
from collections.abc import Callable

# How often a silent run is looked at before it counts as hanging.
WATCH_LOOKS = 4


class Watch:
    """Calls `hanging` once `progress` has stayed the same for as long as it was started for, give or take a quarter."""

    def __init__(self, hanging: Callable[[], None]) -> None:
        self.progress = 0
        """Set from outside; any other value than before is a sign of progress."""
        self._hanging = hanging
        self._seconds = 0.0
        self._seen = self._quiet = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        """Watch from now on, for a silence of so long."""
        self.stop()
        self._seconds, self._seen, self._quiet = seconds, self.progress, 0
        self._wait()

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds / WATCH_LOOKS, self._look)

    def _look(self) -> None:
        self._quiet = self._quiet + 1 if self._seen == self.progress else 0
        self._seen = self.progress
        if self._quiet < WATCH_LOOKS:
            self._wait()
        else:
            self._hanging()
