"""What is measured and what it is measured by: each a process of its own, on one core."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import httpx
from msgspec import Struct

from tests.benchmarks.machine import Place

T = TypeVar("T")
Kind = Literal["rest", "app-server", "embedded"]
KEY = "sk-bench"
MODEL = "bench"
READY_SECONDS = 90
END_SECONDS = 30
LOOK_SECONDS = 0.005
# The line of its log that says where it listens.
SERVING = re.compile(r"Serving at http://127\.0\.0\.1:(\d+)/v1")
# Settings of the machine that starts the benchmark are none of the gateway's.
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
CONFIG = """\
[server]
max_connections = 20000
max_streams = 10000
{letta}
[[agent_types]]
id = "{model}"
{handle}
[[keys]]
name = "bench"
key = "{key}"
default_user = "somebody"
"""


class Checkout(Struct, frozen=True):
    """A gateway to measure: `Checkout("ours", Path("."), Path(".venv/bin/python"))`."""

    name: str
    directory: Path
    python: Path
    more: str = ""
    """Tables that its configuration has beside those of every candidate."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`NAME=DIRECTORY` or `NAME=DIRECTORY:PYTHON`; without a Python it is that of the directory's `.venv`."""
        name, _, where = text.partition("=")
        directory, _, python = where.partition(":")
        if not name or not directory:
            raise ValueError(f"expected NAME=DIRECTORY or NAME=DIRECTORY:PYTHON, and not {text!r}")
        return cls(name, Path(directory), Path(python or f"{directory}/.venv/bin/python"))

    def version(self) -> str:
        """The version of its Python."""
        command = [str(self.python), "-c", "import platform; print(platform.python_version())"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Program:
    """A program that serves on a port: started on entering, ended on leaving."""

    def __init__(self, command: list[str], place: Place, log: Path, directory: Path | None = None) -> None:
        self.log = log
        self.port = 0
        self._command = command
        self._place = place
        self._directory = directory

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and read the port from the first line that it prints."""
        self._spawn()
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"{self._command} did not start: {self.log.read_text()[-2000:]}")
        self.port = int(line)

    def _spawn(self) -> None:
        environ = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        with self.log.open("w") as log:
            self.process = self._place.start(self._command, environ, log, self._directory)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def raw_pass(python: Path, letta_port: int, place: Place, log: Path) -> Program:
    """The yardstick, run by the Python that the gateway has."""
    return Program([str(python), str(Path(__file__).with_name("raw_pass.py")), str(letta_port)], place, log)


class Gateway(Program):
    """`letta-gateway serve` of a checkout, in front of one kind of Letta; every start is a new process."""

    def __init__(
        self, checkout: Checkout, kind: Kind, letta_port: int, place: Place, directory: Path, *more: str
    ) -> None:
        self.config = directory / f"{checkout.name}-{kind}.toml"
        self.kind = kind
        self.up_ms = 0.0
        """The time from its start to when it listens, and says so."""
        self.ready_ms = 0.0
        """The time from its start to when it says that its Letta is there, too."""
        self._state = directory / f"{checkout.name}-state"
        self.config.write_text(_configuration(kind, letta_port) + checkout.more)
        python = str(checkout.python.absolute())
        command = [python, "-m", "gateway", "serve", "--config", str(self.config), "--port", "0", *more]
        if kind == "embedded":
            command += ["--state", str(self._state)]
        super().__init__(command, place, self.config.with_suffix(".log"), checkout.directory)

    def start(self) -> None:
        """Start it, and note when it answers."""
        began = time.monotonic()
        self._spawn()
        self.port = self._until(self._serving_port)
        self.up_ms = (time.monotonic() - began) * 1000
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}") as client:
            self._until(lambda: client.get("/readyz").is_success)
        self.ready_ms = (time.monotonic() - began) * 1000

    def _serving_port(self) -> int | None:
        found = SERVING.search(self.log.read_text())
        return int(found[1]) if found else None

    def _until(self, look: Callable[[], T | None]) -> T:
        """What `look` finds, once that is something. Raises RuntimeError if the gateway ends, or takes too long."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if found := look():
                return found
            time.sleep(LOOK_SECONDS)
        raise RuntimeError(f"the gateway did not start: {self.log.read_text()[-2000:]}")


def _configuration(kind: Kind, letta_port: int) -> str:
    scheme = {"rest": "http", "app-server": "ws"}.get(kind)
    letta = f'[letta]\nbase_url = "{scheme}://127.0.0.1:{letta_port}"\napi_key = "bench"\n' if scheme else ""
    handle = 'model = "openai/gpt-4o-mini"\n' if scheme else ""
    return CONFIG.format(letta=letta, handle=handle, model=MODEL, key=KEY)


def own_checkout(python: str | None) -> Checkout:
    """The checkout that this file belongs to, run by a Python, or by the one that runs this."""
    return Checkout("ours", Path(__file__).parents[2], Path(python or sys.executable))
