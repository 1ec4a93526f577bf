"""The short form of the benchmark, for every change: it fails where a cost has doubled against the one on record.

It looks at the time on the core alone, as a multiple of the yardstick's: neighbours disturb that least, and can only
make it more. So the least of some rounds counts, on both sides, and where that is too much there are more rounds.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from msgspec import structs

from tests.benchmarks.bench import Bench
from tests.benchmarks.loads import REQUESTS, STREAMS, in_turns
from tests.benchmarks.plan import RAW_PASS, Plan, Sample

REFERENCE = Path(__file__).with_name("reference.toml")
LOADS = {
    "streams": structs.replace(STREAMS, content=40, thoughts=10, ramp_ms=500),
    "requests": structs.replace(REQUESTS, streams=60, ramp_ms=600),
}
MOST_ROUNDS = 9
TOO_MUCH = 2.0
Ratios = dict[str, dict[str, float]]
"""How many times the yardstick's cost there is, by row and candidate."""


def read_reference(text: str) -> Ratios:
    """The ratios on record. Raises TOMLDecodeError."""
    return tomllib.loads(text)


def write_reference(text: str, ratios: Ratios) -> str:
    """The text of the record with other ratios; its comments stay."""
    head = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    parts = [
        f"\n[{row}]\n" + "".join(f'"{one}" = {ratio:.1f}\n' for one, ratio in of.items()) for row, of in ratios.items()
    ]
    return head + "".join(parts)


def least(samples: Iterable[Sample]) -> Ratios:
    """The least cost of each candidate, as a multiple of the yardstick's least."""
    costs: Ratios = {}
    for sample in samples:
        row = costs.setdefault(sample.row, {})
        row[sample.candidate] = min(sample.values["cpu_ms"], row.get(sample.candidate, float("inf")))
    return {row: {one: cost / of[RAW_PASS] for one, cost in of.items() if one != RAW_PASS} for row, of in costs.items()}


def doubled(measured: Ratios, reference: Ratios) -> list[str]:
    """The rows and candidates that cost more than twice as much as is on record; one that is on no record is none."""
    return [
        f"{row}, {one}: {ratio:.1f} x raw-pass, on record are {reference[row][one]:.1f}"
        for row, of in measured.items()
        for one, ratio in of.items()
        if ratio > TOO_MUCH * reference.get(row, {}).get(one, float("inf"))
    ]


def measure_short(bench: Bench, plan: Plan, reference: Ratios) -> Ratios:
    """The ratios after the rounds of the plan, or after more while something has doubled."""
    samples: list[Sample] = []
    for round, of_round in enumerate(in_turns(bench, structs.replace(plan, rounds=MOST_ROUNDS), LOADS, [RAW_PASS]), 1):
        samples += of_round
        if round >= plan.rounds and not doubled(least(samples), reference):
            break
    return least(samples)
