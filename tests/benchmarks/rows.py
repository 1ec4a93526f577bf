"""The rows of the benchmark. In each round of a row all candidates take turns, the yardstick among them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from msgspec import Struct

from tests.benchmarks.bench import Bench, Measured
from tests.benchmarks.candidates import Checkout, Kind, Program
from tests.benchmarks.native import Load

DIRECT, RAW_PASS = "direct", "raw-pass"
KINDS: tuple[Kind, ...] = ("rest", "app-server")
STREAMS = Load(streams=60, content=120, thoughts=30)
REQUESTS = Load(streams=100, content=1, per_second=0)
SCALES = {"250": Load(streams=250, content=200), "300": Load(streams=300, content=200)}
CROWD = Load(streams=2000, content=60, per_second=4, ramp_ms=10_000, timeout_s=120)


class Sample(Struct, frozen=True):
    """What a candidate showed in one round of a row: `Sample("streams", "raw-pass", 0, {"cpu_us": 31.0}, 0.2)`."""

    row: str
    candidate: str
    round: int
    values: dict[str, float]
    others: float
    """The cores that were busy with something else meanwhile."""


class Plan(Struct, frozen=True):
    """What is measured, and how often."""

    checkouts: tuple[Checkout, ...]
    rounds: int
    kinds: tuple[Kind, ...] = KINDS


def named(checkout: Checkout, kind: Kind) -> str:
    """The name of a candidate: `ours rest`."""
    return f"{checkout.name} {kind}"


def streams(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """60 streams at 50 tokens a second: the cost of an event, and what is added to a token's way."""
    yield from _loads(bench, plan, {"streams": STREAMS})


def requests(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """100 answers of one token in a second, each the first turn of a chat of somebody who is known."""
    yield from _loads(bench, plan, {"requests": REQUESTS})


def scale(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """250 and 300 streams at 50 tokens a second on one core."""
    yield from _loads(bench, plan, {f"scale-{count}": load for count, load in SCALES.items()})


def crowd(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """2,000 streams at 4 tokens a second on one core."""
    yield from _loads(bench, plan, {"crowd": CROWD})


def _loads(bench: Bench, plan: Plan, loads: dict[str, Load]) -> Iterator[Sample]:
    with ExitStack() as stack:
        letta = stack.enter_context(bench.letta())
        targets = {DIRECT: letta, RAW_PASS: stack.enter_context(bench.yardstick(plan.checkouts[0].python, letta))}
        for checkout in plan.checkouts:
            for kind in plan.kinds:
                gateway = bench.gateway(checkout, kind, letta)
                targets[named(checkout, kind)] = stack.enter_context(gateway)
        people = max(load.streams for load in loads.values())
        for target in targets.values():
            warm(bench, target, letta, people)
        for round in range(plan.rounds):
            for row, load in loads.items():
                for name, target in targets.items():
                    measured = bench.measure(target, load, letta, "letta" if target is letta else "openai")
                    yield Sample(row, name, round, to_values(measured, load), measured.others)


def warm(bench: Bench, target: Program, letta: Program, people: int) -> None:
    """Have everybody known who will ask, and everything loaded that is needed."""
    if target is letta:
        return
    bench.load(target, Load(streams=people, content=1, per_second=0, ramp_ms=people * 20))
    bench.load(target, Load(streams=min(people, 60), content=20, thoughts=5))


def to_values(measured: Measured, load: Load) -> dict[str, float]:
    """The figures of a load that was read."""
    arrived = measured.arrived
    return {
        "cpu_us": measured.cpu_seconds * 1e6 / max(1, arrived.events),
        "request_ms": measured.cpu_seconds * 1e3 / load.streams,
        "p50_ms": arrived.p50_us / 1000,
        "p99_ms": arrived.p99_us / 1000,
        "max_ms": arrived.max_us / 1000,
        "first_ms": arrived.first_p50_us / 1000,
        "lost": arrived.lost,
        "events_per_second": arrived.events_per_second,
    }


ROWS: dict[str, Callable[[Bench, Plan], Iterator[Sample]]] = {
    "streams": streams,
    "requests": requests,
    "scale": scale,
    "crowd": crowd,
}
