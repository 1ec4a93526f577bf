"""The row in which one process and two workers take turns on all cores, with everything else there, too.

It needs a Redis, as workers do.
"""

from collections.abc import Iterator
from contextlib import ExitStack

from msgspec import structs

from tests.benchmarks import machine
from tests.benchmarks.bench import Bench, Measured
from tests.benchmarks.candidates import Gateway, Program
from tests.benchmarks.loads import STREAMS, to_values, warm
from tests.benchmarks.native import Load
from tests.benchmarks.plan import Plan, Sample, named
from tests.servers.redis_server import RedisServer

# A token that comes within it is read as it comes.
HELD_MS = 20.0
FIRST, STEP, MOST = 150, 25, 1000
RAMP_MS = 10
"""The time between the beginnings of two streams."""
# name -> with a Redis, options
SIDES: dict[str, tuple[bool, tuple[str, ...]]] = {
    "1 process": (False, ()),
    "1 process, Redis": (True, ()),
    "2 workers, Redis": (True, ("--workers", "2")),
}


def workers(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """The most streams at 50 tokens a second of which 99 in 100 tokens are added less than HELD_MS to.

    Each round asks for more and more of them, all that still hold in turns.
    """
    spread = bench.on_all_cores()
    with ExitStack() as stack:
        letta = stack.enter_context(spread.letta())
        redis = stack.enter_context(RedisServer())
        with redis.client() as client:
            spread.others.favour(client.info()["process_id"])
        targets: dict[str, Gateway] = {}
        for checkout, kind in plan.before_mocks:
            for number, (side, (shares, options)) in enumerate(SIDES.items()):
                shared = f'[shared]\nurl = "{redis.url}"\nprefix = "{kind}-{number}"\n' if shares else ""
                changed = structs.replace(checkout, name=f"{checkout.name}-{number}", more=checkout.more + shared)
                gateway = spread.gateway(changed, kind, letta, *options)
                targets[f"{named(checkout, kind)}, {side}"] = stack.enter_context(gateway)
        for target in targets.values():
            warm(spread, target, MOST // 2)
        for round in range(plan.rounds):
            yield from _climb(spread, targets, letta, round)


def _asked(bench: Bench, target: Gateway, letta: Program, load: Load) -> tuple[Measured, dict[str, float]]:
    """A load, and its figures; where it is too much, that of a second try counts: a neighbour may have been loud."""
    for _ in range(2):
        measured = bench.measure(target, load, letta)
        found = to_values(measured, load)
        if found["p99_ms"] <= HELD_MS:
            break
    return measured, found


def _climb(bench: Bench, targets: dict[str, Gateway], letta: Program, round: int) -> Iterator[Sample]:
    values: dict[str, dict[str, float]] = {}
    for name, target in targets.items():
        few = bench.measure(target, STREAMS, letta)
        memory = sum(machine.rss_kib(pid) for pid in machine.family(target.pid)) / 1024
        values[name] = {"cpu_us": to_values(few, STREAMS)["cpu_us"], "held": 0.0, "all_mib": memory}
    holding = [*targets]
    for streams in range(FIRST, MOST, STEP):
        load = Load(streams=streams, content=150, ramp_ms=streams * RAMP_MS)
        for name in [*holding]:
            measured, found = _asked(bench, targets[name], letta, load)
            if found["p99_ms"] <= HELD_MS and not found["lost"]:
                values[name] |= {
                    "held": streams,
                    "held_p99_ms": found["p99_ms"],
                    "held_cpu_us": found["cpu_us"],
                    "others": measured.others,
                }
            else:
                values[name]["next_p99_ms"] = found["p99_ms"]
                holding.remove(name)
    for name, of in values.items():
        yield Sample("workers", name, round, of, of.pop("others", 0.0))
