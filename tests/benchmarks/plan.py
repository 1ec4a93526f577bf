"""What is measured, and what it shows."""

from msgspec import Struct

from tests.benchmarks.candidates import Checkout, Kind

DIRECT, RAW_PASS = "direct", "raw-pass"
"""The names of two candidates beside the gateways: Letta itself, and the yardstick."""


class Sample(Struct, frozen=True):
    """What a candidate showed in one round of a row: `Sample("streams", "raw-pass", 0, {"cpu_us": 31.0}, 0.2)`."""

    row: str
    candidate: str
    round: int
    values: dict[str, float]
    others: float
    """The cores that were busy with something else meanwhile."""


class Plan(Struct, frozen=True):
    """What is measured, and how often: `Plan((checkout,), rounds=5)`."""

    checkouts: tuple[Checkout, ...]
    rounds: int
    kinds: tuple[Kind, ...] = ("rest", "app-server", "embedded")

    @property
    def gateways(self) -> list[tuple[Checkout, Kind]]:
        """The gateways that are measured, each checkout in front of each kind of Letta."""
        return [(checkout, kind) for checkout in self.checkouts for kind in self.kinds]

    @property
    def before_mocks(self) -> list[tuple[Checkout, Kind]]:
        """Those of them that can have a mock behind them."""
        return [(checkout, kind) for checkout, kind in self.gateways if kind != "embedded"]


def named(checkout: Checkout, kind: Kind) -> str:
    """The name of a candidate: `ours rest`."""
    return f"{checkout.name} {kind}"
