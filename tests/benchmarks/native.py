"""The two programs in C: a mock of Letta, and what asks for streams and reads them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from tests.benchmarks.machine import Place

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


def build(name: str, directory: Path) -> Path:
    """Compile one of the programs, `letta` or `load`, into a directory."""
    program = directory / name
    subprocess.run(["gcc", *FLAGS, "-o", program, SOURCES / f"{name}.c"], check=True)
    return program


class Load(Struct, frozen=True):
    """What is asked for: `Load(streams=60, content=120, thoughts=30)`. Each stream is a chat of its own."""

    streams: int = 1
    content: int = 100
    """The tokens of each answer."""
    thoughts: int = 0
    """The tokens of thoughts before it."""
    per_second: float = 50
    """The tokens of a stream in a second; 0: as fast as they are taken."""
    ramp_ms: int = 1000
    """The time over which the streams begin."""
    hold_ms: int = 0
    """The time for which a stream is silent."""
    hold_after: int = 0
    """The number of tokens after which it is."""
    timeout_s: int = 60
    people: str = "bench"
    """The name of those who ask: stream 7 is that of `bench-7`."""
    persons: int = 0
    """The number of those who ask; 0: one for each stream."""

    def options(self, port: int, api: str, model: str) -> list[str]:
        """The options of the program `load`."""
        told = msgspec.to_builtins(self)
        rate = round(told.pop("per_second") * 1000)
        return [
            f"{name}={value}"
            for name, value in {"port": port, "api": api, "model": model, "rate": rate, **told}.items()
        ]


class Arrived(Struct, frozen=True):
    """How the streams came: times in microseconds, a token's from where the mock wrote it to where it was read."""

    events: int
    events_per_second: float
    p50_us: float
    p99_us: float
    max_us: float
    first_p50_us: float
    """From the request to its first token."""
    first_p99_us: float
    failed: int
    unfinished: int

    @property
    def lost(self) -> int:
        """The number of streams that did not come whole."""
        return self.failed + self.unfinished


def run_load(
    program: Path,
    load: Load,
    port: int,
    api: Literal["openai", "responses", "letta"],
    key: str,
    model: str,
    place: Place,
) -> Arrived:
    """Ask for streams, and read them to their ends."""
    environ = {**os.environ, "BENCH_KEY": key}
    with place.start([str(program), *load.options(port, api, model)], environ, subprocess.PIPE) as process:
        told, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load has ended: {errors}")
    arrived = msgspec.json.decode(told, type=Arrived)
    if arrived.lost:
        print(f"lost {arrived.lost} of {load.streams}: {errors.strip()[:500]}", file=sys.stderr)
    return arrived
