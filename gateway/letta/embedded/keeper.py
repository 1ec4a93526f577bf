"""Keeps one child: `python keeper.py COMMAND…`. Imports the standard library only, so that it starts at once.

The gateway holds the other end of standard input and never writes to it. The child ends when that end is closed (so
even when the gateway is killed), on SIGTERM, and, on Linux, when the keeper itself is killed.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

GRACE_SECONDS = 3.0
# https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Run `command` for as long as it is wanted; gives its exit code as a shell would."""
    os.umask(0o077)
    signals = _signals()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_tie(os.getpid()))
    print(f"Keeping process {child.pid}", flush=True)
    while child.poll() is None:
        if _is_enough(signals):
            _end(child)
    _kill_group(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _signals() -> int:
    """A file descriptor from which the signals that matter can be read, one byte each."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer)
    return reader


def _tie(keeper: int) -> Callable[[], None]:
    """A function that the child calls before it becomes the command: it ties its life to the keeper's."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def tie() -> None:
        if prctl:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:  # It was killed before that.
            os._exit(1)

    return tie


def _is_enough(signals: int) -> bool:
    """Wait for news; gives True where they say that the child has to end."""
    ready, _, _ = select.select([sys.stdin, signals], [], [])
    if sys.stdin in ready:
        return not os.read(sys.stdin.fileno(), 4096)
    return bool({signal.SIGTERM, signal.SIGINT} & set(os.read(signals, 4096)))


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Whatever the child started in its process group ends with it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
