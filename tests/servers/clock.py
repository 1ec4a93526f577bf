"""The clock of another program, put forward and back while it runs."""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("clock.c")
LONG = struct.Struct("l")


class Clock:
    """A clock for programs that are started with `environ`; its files are in `directory`. Skips without a compiler.

    The clock by which they wait for something goes on as ever.
    """

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler (Debian: apt-get install gcc libc6-dev)")
        library, file = directory / "clock.so", directory / "clock"
        file.write_bytes(LONG.pack(0))
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self.environ = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(file)}
        self._file = file

    def put(self, seconds: int) -> None:
        """Have it go ahead of the machine's by so many seconds, or behind by as many with a minus."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), LONG.size) as shared:
            LONG.pack_into(shared, 0, seconds)
