"""Gateways forked from a process that has imported all of them: the same program, without the second for its imports.

A parent for each pytest process, which starts it with the first gateway; it ends with the pytest process at the latest,
and all its gateways with it. Run as a program, this module is the parent: `python -m tests.forked FILE`, with the file
descriptor of a socket over which it is told what to start.
"""

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from typing import NamedTuple

PARENT = ("-m", "tests.forked")
# The most that is told of a gateway to start: its arguments, and its environment.
MOST_BYTES = 1_000_000
COUNTS = "COVERAGE_PROCESS_CONFIG"


class Forked:
    """A process that was forked, as `subprocess.Popen` has one that was started."""

    def __init__(self, pid: int, ended: int) -> None:
        """`ended` is a file from which its exit code can be read once it has ended."""
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked gateway", timeout)
        return code

    def _look(self, seconds: float) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], seconds)[0]:
            # Nothing to read: the parent was killed, and so was this one.
            self.returncode = int(os.read(self._ended, 20) or -signal.SIGKILL)
            os.close(self._ended)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(arguments: list[str], environ: dict[str, str], stderr: int) -> Forked:
    """A gateway with the arguments of its command, this environment, and this file to write what it says to."""
    asking = _parent()
    reader, writer = os.pipe()
    try:
        socket.send_fds(asking, [json.dumps([arguments, environ]).encode()], [stderr, writer])
    finally:
        os.close(writer)
    return Forked(int(asking.recv(20)), reader)


@cache
def _parent() -> socket.socket:
    """The socket of this process's parent of gateways, which is not measured itself."""
    asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES)
    environ = {name: value for name, value in os.environ.items() if name != COUNTS}
    with asked:
        # It ends with this process, whose end of the socket is then closed.
        _started.append(
            subprocess.Popen(
                [sys.executable, *PARENT, str(asked.fileno())],
                env=environ,
                pass_fds=[asked.fileno()],
                stdin=subprocess.DEVNULL,
            )
        )
    return asking


_started: list["subprocess.Popen[bytes]"] = []


class _Start(NamedTuple):
    """A gateway to start."""

    arguments: list[str]
    environ: dict[str, str]
    stderr: int


def _serve_all(asked: socket.socket) -> _Start | None:
    """Start gateways, and tell of their ends. Returns twice: in each gateway, and once nobody can ask for more."""
    ended: dict[int, int] = {}
    heard, hear = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(hear)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl+C is for the tests, which then end what they have started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([asked.fileno(), heard], [], [])
        if heard in ready:
            os.read(heard, 4096)
            _tell_ended(ended)
        if asked.fileno() not in ready:
            continue
        told, files, _, _ = socket.recv_fds(asked, MOST_BYTES, 2)
        if not told:
            break
        stderr, writer = files
        if pid := os.fork():
            os.close(stderr)
            ended[pid] = writer
            asked.send(str(pid).encode())
            continue
        for file in (heard, hear, writer, *ended.values()):
            os.close(file)
        asked.close()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.default_int_handler)
        arguments, environ = json.loads(told)
        return _Start(arguments, environ, stderr)
    for pid in ended:
        os.kill(pid, signal.SIGKILL)
    return None


def _tell_ended(ended: dict[int, int]) -> None:
    while ended:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        writer = ended.pop(pid)
        os.write(writer, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(writer)


def _import_all() -> None:
    import gateway

    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _main() -> None:
    _import_all()
    start = _serve_all(socket.socket(fileno=int(sys.argv[1])))
    if start is None:
        return
    os.dup2(start.stderr, 2)
    os.close(start.stderr)
    os.environ.clear()
    os.environ.update(start.environ)
    if COUNTS in start.environ:
        import coverage

        coverage.process_startup()
    sys.argv = ["letta-gateway", *start.arguments]
    from gateway.cli import main

    main(start.arguments)


if __name__ == "__main__":
    _main()
