"""The programs of a benchmark: the gateway or its yardstick on one core, all else on the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Literal, Self

from msgspec import Struct, structs

from tests.benchmarks import machine, native
from tests.benchmarks.candidates import KEY, MODEL, Checkout, Gateway, Kind, Program, raw_pass
from tests.benchmarks.machine import Place
from tests.benchmarks.native import Arrived, Load

Api = Literal["openai", "responses", "letta"]


class Measured(Struct, frozen=True):
    """A load that was read to its end: how it came, and what it has cost."""

    arrived: Arrived
    cpu_seconds: float
    others: float


class Bench:
    """Builds and starts what a benchmark needs; its files are in `directory`.

    What is measured runs at `own`, all else at `others`. Before anything is measured the machine is given `patience`
    seconds to become quiet.
    """

    def __init__(self, directory: Path, own: Place, others: Place, patience: float = 0) -> None:
        self.own, self.others = own, others
        self._directory = directory
        self._patience = patience
        self._load = native.build("load", directory)
        self._letta = native.build("letta", directory)

    def on_all_cores(self) -> Self:
        """The same, with nothing that has a core for itself."""
        every = structs.replace(self.own, cores=f"{self.own.cores},{self.others.cores}")
        spread = copy(self)
        spread.own = spread.others = every
        return spread

    @contextmanager
    def letta(self) -> Iterator[Program]:
        """A mock of Letta that knows nobody yet."""
        with Program([str(self._letta)], self.others, self._directory / "letta.log") as program:
            yield program

    def gateway(self, checkout: Checkout, kind: Kind, letta: Program | None, *more: str) -> Gateway:
        """A gateway that is not started yet; `more` are further options of its command."""
        # A Letta of its own is its child, and not to take its core.
        everywhere = structs.replace(self.own, cores=f"{self.own.cores},{self.others.cores}")
        place = everywhere if kind == "embedded" else self.own
        return Gateway(checkout, kind, letta.port if letta else 0, place, self._directory, *more)

    def yardstick(self, python: Path, letta: Program) -> Program:
        """The yardstick, not started yet."""
        return raw_pass(python, letta.port, self.own, self._directory / "raw-pass.log")

    def load(self, target: Program, load: Load, api: Api = "openai") -> Arrived:
        """Ask for streams, and read them to their ends."""
        return native.run_load(self._load, load, target.port, api, KEY, MODEL, self.others)

    def measure(self, target: Program, load: Load, letta: Program, api: Api = "openai") -> Measured:
        """Ask for streams once the machine is quiet, and see what they cost."""
        machine.wait_for_quiet(self._patience)
        with machine.Watch(machine.family(target.pid), [letta.pid] if letta is not target else []) as watch:
            arrived = self.load(target, load, api)
        return Measured(arrived, watch.cpu_seconds, watch.others)
