"""Time that passes in no time: a loop whose clock jumps, and gates that hold others up until they are opened."""

import asyncio
import selectors


class _SkippingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits, and nothing will ever happen"
        self.now += timeout
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next thing to do: seconds pass in no time, and always in the same order."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def now() -> float:
    return asyncio.get_running_loop().time()


async def idle() -> None:
    """Returns when everybody else has done what can be done without waiting for time to pass."""
    await asyncio.sleep(0.001)


class Gate:
    """Holds up whoever comes to it until it is opened."""

    def __init__(self) -> None:
        self._arrivals = asyncio.Semaphore(0)
        self._opened = asyncio.Event()

    async def pass_through(self) -> None:
        self._arrivals.release()
        await self._opened.wait()

    async def reached(self, times: int = 1) -> None:
        """Returns when somebody is held up, or so many are."""
        for _ in range(times):
            await self._arrivals.acquire()

    def open(self) -> None:
        self._opened.set()
