"""The rows in which many streams are asked for at once. All candidates take turns, the yardstick among them."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack

from msgspec import structs

from tests.benchmarks.bench import Bench, Measured
from tests.benchmarks.candidates import Program
from tests.benchmarks.native import Load
from tests.benchmarks.plan import DIRECT, RAW_PASS, Plan, Sample, named

STREAMS = Load(streams=60, content=120, thoughts=30)
REQUESTS = Load(streams=100, content=1, per_second=0)
BRIEF, LONG = Load(streams=60, content=50), Load(streams=60, content=350)
SCALE = Load(streams=250, content=200, ramp_ms=2500)
LARGER_SCALE = Load(streams=300, content=200, ramp_ms=3000)
CROWD = Load(streams=2000, content=80, per_second=4, ramp_ms=15_000, timeout_s=120, persons=200)
CROWD_ROUNDS = 2
# The time that a first turn of somebody is given while a candidate is warmed.
FIRST_TURN_MS = 20


def streams(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """60 streams at 50 tokens a second: the cost of an event, and what is added to a token's way."""
    yield from _loads(bench, plan, {"streams": STREAMS})


def requests(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """100 answers of one token in a second, each the first turn of a chat of somebody who is known."""
    yield from _loads(bench, plan, {"requests": REQUESTS})


def responses(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """The same 60 streams as chat completions and as responses: what an event of each costs."""
    with ExitStack() as stack:
        letta = stack.enter_context(bench.letta())
        gateways = {named(*one): stack.enter_context(bench.gateway(*one, letta)) for one in plan.before_mocks}
        for gateway in gateways.values():
            warm(bench, gateway, STREAMS.streams)
            bench.load(gateway, structs.replace(STREAMS, content=20, thoughts=5), "responses")
        for round in range(plan.rounds):
            for name, gateway in gateways.items():
                chat = bench.measure(gateway, STREAMS, letta)
                told = bench.measure(gateway, STREAMS, letta, "responses")
                chat_us, told_us = (to_values(one, STREAMS)["cpu_us"] for one in (chat, told))
                values = {"response_us": told_us, "x_chat": told_us / chat_us, "lost": told.arrived.lost}
                yield Sample("responses", name, round, values, told.others)


def lengths(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """60 streams of 50 tokens and of 350: the cost of an event alone, and that of a stream's beginning and end."""
    for of_round in in_turns(bench, plan, {"brief": BRIEF, "long": LONG}, [RAW_PASS]):
        samples = [*of_round]
        for brief, long in zip(samples[: len(samples) // 2], samples[len(samples) // 2 :], strict=True):
            values = to_parts(brief.values["cpu_ms"], long.values["cpu_ms"])
            yield Sample("lengths", brief.candidate, brief.round, values, (brief.others + long.others) / 2)


def to_parts(brief_ms: float, long_ms: float) -> dict[str, float]:
    """The cost of an event, and that of a stream without its events, made of those of both loads."""
    event_ms = (long_ms - brief_ms) / LONG.streams / (LONG.content - BRIEF.content)
    return {"event_us": event_ms * 1000, "stream_ms": brief_ms / BRIEF.streams - event_ms * BRIEF.content}


def scale(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """250 streams at 50 tokens a second on one core."""
    yield from _loads(bench, plan, {"scale": SCALE})


def larger_scale(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """300 streams at 50 tokens a second on one core."""
    yield from _loads(bench, plan, {"larger-scale": LARGER_SCALE})


def crowd(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """2,000 streams at 4 tokens a second on one core, twice at most: it takes long, and is a question of yes or no."""
    few = structs.replace(plan, rounds=min(plan.rounds, CROWD_ROUNDS))
    yield from _loads(bench, few, {"crowd": CROWD}, ())


def _loads(
    bench: Bench, plan: Plan, loads: dict[str, Load], beside: Collection[str] = (DIRECT, RAW_PASS)
) -> Iterator[Sample]:
    for of_round in in_turns(bench, plan, loads, beside):
        yield from of_round


def in_turns(bench: Bench, plan: Plan, loads: dict[str, Load], beside: Collection[str]) -> Iterator[Iterator[Sample]]:
    """The samples of each round, in which all gateways, and what is measured beside them, have their turns."""
    with ExitStack() as stack:
        letta = stack.enter_context(bench.letta())
        targets = {DIRECT: letta} if DIRECT in beside else {}
        if RAW_PASS in beside:
            targets[RAW_PASS] = stack.enter_context(bench.yardstick(plan.checkouts[0].python, letta))
        for checkout, kind in plan.before_mocks:
            targets[named(checkout, kind)] = stack.enter_context(bench.gateway(checkout, kind, letta))
        for target in targets.values():
            if target is not letta:
                warm(bench, target, max(load.persons or load.streams for load in loads.values()))
        for round in range(plan.rounds):
            yield _round(bench, targets, letta, loads, round)


def _round(
    bench: Bench, targets: dict[str, Program], letta: Program, loads: dict[str, Load], round: int
) -> Iterator[Sample]:
    for row, load in loads.items():
        for name, target in targets.items():
            measured = bench.measure(target, load, letta, "letta" if target is letta else "openai")
            yield Sample(row, name, round, to_values(measured, load), measured.others)


def warm(bench: Bench, target: Program, people: int) -> None:
    """Have everybody known who will ask, one after the other, and everything loaded that is needed."""
    bench.load(target, Load(streams=people, content=1, per_second=0, ramp_ms=people * FIRST_TURN_MS))
    bench.load(target, Load(streams=min(people, 60), content=20, thoughts=5))


def to_values(measured: Measured, load: Load) -> dict[str, float]:
    """The figures of a load that was read."""
    arrived = measured.arrived
    return {
        "cpu_ms": measured.cpu_seconds * 1e3,
        "cpu_us": measured.cpu_seconds * 1e6 / max(1, arrived.events),
        "request_ms": measured.cpu_seconds * 1e3 / load.streams,
        "p50_ms": arrived.p50_us / 1000,
        "p99_ms": arrived.p99_us / 1000,
        "max_ms": arrived.max_us / 1000,
        "first_ms": arrived.first_p50_us / 1000,
        "lost": arrived.lost,
        "events_per_second": arrived.events_per_second,
    }
