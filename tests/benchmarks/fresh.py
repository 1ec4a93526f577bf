"""The rows that need processes which have done nothing else: starting, somebody's first turn, the memory of streams."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median

from msgspec import structs

from tests.benchmarks import machine
from tests.benchmarks.asking import ask, body_of, user
from tests.benchmarks.bench import Bench
from tests.benchmarks.candidates import Gateway
from tests.benchmarks.loads import warm
from tests.benchmarks.native import Load
from tests.benchmarks.plan import Plan, Sample, named

# Memory is the same in every round, but for some percent.
MEMORY_ROUNDS = 3
NEW_PEOPLE = Load(streams=10, content=1, per_second=0, ramp_ms=3000, timeout_s=30)
NEW_PEOPLE_EMBEDDED = 4
FEW = Load(streams=20, content=20, thoughts=5, ramp_ms=500)
# One person, in many chats: nothing but streams comes to what is known before.
FIRST = Load(streams=10, content=20, thoughts=5, per_second=0, ramp_ms=5000, persons=1)
IDLE = Load(streams=300, content=2, ramp_ms=3000, hold_after=1, hold_ms=5000, persons=1)
TOKENS = 300
RUNNING = Load(streams=60, content=TOKENS + 1, hold_after=TOKENS, hold_ms=3000, persons=1)
PEOPLE = Load(streams=1000, content=1, per_second=0, ramp_ms=30_000, people="new")
CHATS = Load(streams=1000, content=1, per_second=0, ramp_ms=15_000, persons=1)
# All streams have come to where they are held so long after the last of them should have.
MARGIN_SECONDS = 0.3
LOOK_SECONDS = 0.05


def starts(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """The time from `serve` to an answer, and the memory of a gateway that has done nothing, and little."""
    with bench.letta() as letta:
        for round in range(-1, plan.rounds):
            for checkout, kind in plan.gateways:
                with machine.Watch([], [letta.pid]) as watch, bench.gateway(checkout, kind, letta) as gateway:
                    fresh = machine.rss_kib(gateway.pid)
                    if kind != "embedded":
                        bench.load(gateway, FEW)
                    used = machine.rss_kib(gateway.pid)
                    values = {
                        "up_ms": gateway.up_ms,
                        "ready_ms": gateway.ready_ms,
                        "fresh_mib": fresh / 1024,
                        "used_mib": used / 1024,
                    }
                # The first one writes compiled modules, which later ones find.
                if round >= 0:
                    yield Sample("starts", named(checkout, kind), round, values, watch.others)


def first_turns(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """The time to the first token of people who have never asked, and of people whose agents have never been spoken to.

    In front of mocks they do so to a gateway that is used already; a real embedded Letta makes its own agents.
    """
    for round in range(plan.rounds):
        for checkout, kind in plan.before_mocks:
            people = structs.replace(NEW_PEOPLE, people=f"new-{round}")
            values = {}
            with bench.letta() as letta, machine.Watch([], [letta.pid]) as watch:
                # The second gateway finds the agents that the first has made, with no conversation of theirs.
                for value in ("new_ms", "found_ms"):
                    with bench.gateway(checkout, kind, letta) as gateway:
                        warm(bench, gateway, 5)
                        values[value] = bench.load(gateway, people).first_p50_us / 1000
            yield Sample("first-turns", named(checkout, kind), round, values, watch.others)
    for checkout, kind in plan.gateways:
        if kind == "embedded":
            with bench.gateway(checkout, kind, None) as gateway:
                for process in machine.family(gateway.pid):
                    bench.others.favour(process)
                for round in range(-1, plan.rounds):
                    with machine.Watch(machine.family(gateway.pid)) as watch:
                        values = _first_turns_of_all(gateway, round)
                    # The App Server itself is slow at its first turn of all.
                    if round >= 0:
                        yield Sample("first-turns", named(checkout, kind), round, values, watch.others)


def _first_turns_of_all(gateway: Gateway, round: int) -> dict[str, float]:
    """The times to the first token of people who are new, and of the next chats of the same."""
    people = [f"new-{round}-{number}" for number in range(NEW_PEOPLE_EMBEDDED)]
    new = [ask(gateway.port, body_of(one, f"{one}-first", [user("Hello")])).first_ms for one in people]
    known = [ask(gateway.port, body_of(one, f"{one}-next", [user("Hello")])).first_ms for one in people]
    return {"new_ms": median(new), "known_ms": median(known)}


def memory(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """The memory of a stream that says nothing after its first token, and of one that has said 300."""
    for round in range(min(plan.rounds, MEMORY_ROUNDS)):
        for checkout, kind in plan.before_mocks:
            values = {}
            with bench.letta() as letta, machine.Watch([], [letta.pid]) as watch:
                for value, load in (("idle_kib", IDLE), ("running_kib", RUNNING)):
                    with bench.gateway(checkout, kind, letta) as gateway:
                        bench.load(gateway, FIRST)
                        values[value] = _held(bench, gateway, load)
            yield Sample("memory", named(checkout, kind), round, values, watch.others)


def people(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """The memory that stays of 1,000 people with a chat each, and of 1,000 chats of somebody's; measured once."""
    for checkout, kind in plan.before_mocks:
        with (
            bench.letta() as letta,
            bench.gateway(checkout, kind, letta) as gateway,
            machine.Watch([gateway.pid], [letta.pid]) as watch,
        ):
            warm(bench, gateway, PEOPLE.streams // 5)
            sizes = [machine.rss_kib(gateway.pid)]
            for load in (PEOPLE, CHATS):
                bench.load(gateway, load)
                sizes.append(machine.rss_kib(gateway.pid))
        person, chat = (after - before for before, after in pairwise(sizes))
        values = {"person_kib": person / PEOPLE.streams, "chat_kib": chat / CHATS.streams}
        yield Sample("people", named(checkout, kind), 0, values, watch.others)


def _held(bench: Bench, gateway: Gateway, load: Load) -> float:
    """The memory that each stream of a load has, in KiB, while all are held."""
    said = load.hold_after / load.per_second
    before = machine.rss_kib(gateway.pid)
    with _looking(gateway.pid) as looks:
        began = time.monotonic()
        bench.load(gateway, load)
    since = began + load.ramp_ms / 1000 + said + MARGIN_SECONDS
    until = began + said + load.hold_ms / 1000
    held = [rss for at, rss in looks if since < at < until]
    return (median(held) - before) / load.streams


@contextmanager
def _looking(pid: int) -> Iterator[list[tuple[float, float]]]:
    """Looks at the memory of a process, at its moments, while entered."""
    looks: list[tuple[float, float]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            looks.append((time.monotonic(), machine.rss_kib(pid)))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield looks
    finally:
        over.set()
        looking.join()
