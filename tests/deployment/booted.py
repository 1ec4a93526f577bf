"""A whole systemd as the first of processes apart: it boots a file system, and runs services as on any machine."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployment.bare_root import BareRoot, first_of

PACKAGES = "systemd systemd-sysv dbus procps curl git"
DEVICES = "null zero full random urandom tty"
BOOT_SECONDS = 60


class Booted:
    """A machine of its own, as far as services can tell; with a network that is only its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    def run(self, line: str, check: bool = True) -> str:
        """What a line of a shell says there, as root."""
        first = first_of(self._process)
        apart = ["nsenter", "--target", str(first), "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
        environ = ["env", "-i", "PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"]
        done = subprocess.run([*apart, *environ, "sh", "-ec", line], capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{line}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def await_boot(self) -> None:
        self._await("systemctl is-system-running", ("running", "degraded"))

    def await_journal(self, unit: str, words: str) -> None:
        """Return when the unit has said this."""
        self._await(f"journalctl --unit {unit} --output cat --no-pager", (words,))

    def _await(self, line: str, one_of: tuple[str, ...]) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        told = ""
        while not any(words in told for words in one_of):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"{line} never told {one_of}:\n{told}\n{self._log.read_text(errors='replace')}")
            time.sleep(0.1)
            told = self.run(line, check=False) if _children(self._process) else ""


def _children(process: "subprocess.Popen[bytes]") -> str:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()


@contextmanager
def booted(root: BareRoot, directory: Path) -> Iterator[Booted]:
    """A machine with this file system. Skips where no group of processes of its own can be had."""
    groups, name = directory / "groups", f"letta-gateway-tests-{os.getpid()}"
    groups.mkdir()
    # systemd keeps its services apart in control groups, and is given some that are nobody else's.
    at_groups = f"mount -t cgroup2 none {groups}"
    made = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f"{at_groups}; mkdir {groups}/{name}"], capture_output=True
    )
    if made.returncode:
        pytest.skip("no control group can be made here")
    at = root.root
    inside = f"""
        ip link set lo up
        mount --bind {at} {at}
        mount -t proc proc {at}/proc
        mount -t sysfs sysfs {at}/sys
        mount -t cgroup2 none {at}/sys/fs/cgroup
        mount -t tmpfs tmpfs {at}/run
        mount -t tmpfs tmpfs {at}/tmp
        mount -t tmpfs tmpfs {at}/dev
        for each in {DEVICES}; do touch {at}/dev/$each; mount --bind /dev/$each {at}/dev/$each; done
        mkdir {at}/dev/pts {at}/dev/shm
        mount -t devpts -o newinstance,ptmxmode=0666 devpts {at}/dev/pts
        ln -s pts/ptmx {at}/dev/ptmx
        ln -s /proc/self/fd {at}/dev/fd
        mkdir -p {at}/before
        cd {at}
        pivot_root . before
        umount --lazy /before
        exec env -i container=bare PATH={root.environ["PATH"]} /sbin/init --show-status=false
    """
    apart = "unshare --cgroup --pid --uts --ipc --net --mount --fork --kill-child"
    script = f"{at_groups}\necho $$ > {groups}/{name}/cgroup.procs\nexec {apart} sh -ec {shlex.quote(inside)}"
    log = directory / "boot.log"
    with log.open("wb") as told:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-ec", script], stdout=told, stderr=told)
        try:
            machine = Booted(process, log)
            machine.await_boot()
            yield machine
        finally:
            process.kill()
            process.wait()
            # Its processes end with the first of them, but not all at the same moment.
            empty = f"until find {groups}/{name} -depth -type d -exec rmdir {{}} +; do sleep 0.1; done"
            apart_again = ["unshare", "--mount", "sh", "-ec", f"{at_groups}\n{empty}"]
            subprocess.run(apart_again, check=True, timeout=BOOT_SECONDS, capture_output=True)
