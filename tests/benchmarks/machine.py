"""What the machine tells of processes: the time they have used, their memory, and what others use meanwhile."""

import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from msgspec import Struct

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024
QUIET_CORES = 0.15
QUIET_LOOK_SECONDS = 0.3
HIGH_PRIORITY = -15
AUTOGROUP_SECONDS = 0.1


class Place(Struct, frozen=True):
    """The cores on which something runs, as `taskset -c` takes them, and its priority: `Place("0", -15)`."""

    cores: str
    nice: int = 0

    def start(
        self,
        command: list[str],
        environ: dict[str, str],
        errors: IO[str] | int,
        directory: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a program here; its output can be read, its errors go to `errors`."""
        process = subprocess.Popen(
            ["taskset", "-c", self.cores, *command],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        self.favour(process.pid)
        return process

    def favour(self, pid: int) -> None:
        """Give a process the priority of what runs here. Raises PermissionError."""
        if not self.nice:
            return
        os.setpriority(os.PRIO_PROCESS, pid, self.nice)
        # Linux may weigh sessions first, and priorities within each: https://man7.org/linux/man-pages/man7/sched.7.html
        group = PROC / str(pid) / "autogroup"
        while group.exists():
            try:
                group.write_text(str(self.nice))
                return
            except BlockingIOError:
                # It takes ten of them in a second, but from an administrator.
                time.sleep(AUTOGROUP_SECONDS)


def best_nice() -> int:
    """The priority that is asked for if it may be had, or none."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, HIGH_PRIORITY)
    except PermissionError:
        return 0
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return HIGH_PRIORITY


def places(nice: int) -> tuple[Place, Place]:
    """The core of what is measured, and the cores of all else."""
    first, *rest = map(str, sorted(os.sched_getaffinity(0)))
    return Place(first, nice), Place(",".join(rest) or first, nice)


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for one in found:
        for children in _read_all((PROC / str(one) / "task").glob("*/children")):
            found += map(int, children.split())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """The time that the threads of these processes have run.

    From `schedstat`, which counts nanoseconds: https://docs.kernel.org/scheduler/sched-stats.html
    """
    texts = [text for pid in pids for text in _read_all((PROC / str(pid) / "task").glob("*/schedstat"))]
    return sum(int(text.split()[0]) for text in texts) / 1e9


def rss_kib(pid: int) -> float:
    """The resident memory of one process."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_KIB


def busy_seconds() -> float:
    """The time that all cores together have been busy, since the machine started."""
    return to_busy((PROC / "stat").read_text())


def to_busy(stat: str) -> float:
    """The busy time of all cores, in seconds, as the first line of `/proc/stat` tells it."""
    _, user, nice, system, _, _, *more = stat.partition("\n")[0].split()
    # Behind `steal` come the times of guests, which `user` and `nice` hold already.
    return sum(map(int, (user, nice, system, *more[:3]))) / TICK


def wait_for_quiet(seconds: float) -> None:
    """Return once other processes use next to nothing, or after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        before, began = busy_seconds(), time.monotonic()
        time.sleep(QUIET_LOOK_SECONDS)
        if (busy_seconds() - before) / (time.monotonic() - began) < QUIET_CORES:
            return


def _read_all(paths: Iterable[Path]) -> list[str]:
    """The texts of files that may be gone before they are read."""
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return texts


class Watch:
    """What processes use while it is entered: their own time, and what is used by others than them and us."""

    def __init__(self, pids: Iterable[int], helpers: Iterable[int] = ()) -> None:
        self.cpu_seconds = 0.0
        """The time that the processes have run."""
        self.others = 0.0
        """The cores that were busy with none of them, and neither with helpers, this process, and its dead children."""
        self._pids = [*pids]
        self._helpers = [*helpers]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._before = self._look()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        now = self._look()
        cpu, ours, busy = (after - before for after, before in zip(now, self._before, strict=True))
        self.cpu_seconds = cpu
        self.others = max(0.0, (busy - cpu - ours) / (time.monotonic() - self._began))

    def _look(self) -> tuple[float, float, float]:
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return cpu_seconds(self._pids), cpu_seconds(self._helpers) + own, busy_seconds()
