"""The command: `uv run python -m tests.benchmarks`."""

import argparse
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from tests.benchmarks import machine
from tests.benchmarks.bench import Bench
from tests.benchmarks.candidates import Checkout, own_checkout
from tests.benchmarks.plan import Plan, Sample
from tests.benchmarks.rows import DEFAULT_ROWS, ROWS
from tests.benchmarks.short import REFERENCE, doubled, measure_short, read_reference, write_reference
from tests.benchmarks.table import to_table

SHORT_ROUNDS = 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each candidate takes its turn (5)")
    parser.add_argument(
        "--rows", default=",".join(DEFAULT_ROWS), help=f"what is measured, of {','.join(ROWS)} (all but the last two)"
    )
    parser.add_argument("--python", metavar="PATH", help="the Python that runs the gateway and its yardstick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="a file that every sample is added to, a line each")
    parser.add_argument("--read", type=Path, metavar="FILE", help="measure nothing: the table of such a file's samples")
    parser.add_argument(
        "--gateway",
        action="append",
        default=[],
        type=Checkout.parse,
        metavar="NAME=DIRECTORY[:PYTHON]",
        help="another checkout to measure beside this one; its Python is that of its .venv",
    )
    parser.add_argument(
        "--settings",
        action="append",
        default=[],
        type=_more_settings,
        metavar="NAME=FILE",
        help="this checkout once more, with the tables of a TOML file in its configuration",
    )
    parser.add_argument("--alone", action="store_true", help="measure only the checkouts that --gateway names")
    parser.add_argument("--kinds", default="rest,app-server,embedded", help="the kinds of Letta (all three)")
    parser.add_argument("--short", action="store_true", help="some seconds: fail where a cost doubles (reference.toml)")
    parser.add_argument("--record", action="store_true", help="with --short: put the costs on record")
    parser.add_argument("--patience", type=float, default=5, help="seconds to wait for a quiet machine each time (5)")
    parser.add_argument("--nice", type=int, help="the priority of all that is started (-15 where that is allowed)")
    return parser


def _more_settings(text: str) -> tuple[str, str]:
    """`NAME=FILE`: the name, and what is in the file."""
    name, _, file = text.partition("=")
    if not name or not file:
        raise ValueError(f"expected NAME=FILE, and not {text!r}")
    return name, Path(file).read_text(encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _parser().parse_args(arguments)
    if asked.read:
        print(to_table(_samples(asked.read)))
        return
    unknown = set(asked.rows.split(",")) - ROWS.keys()
    if unknown:
        sys.exit(f"no such rows: {', '.join(sorted(unknown))}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    own_place, others = machine.places(machine.best_nice() if asked.nice is None else asked.nice)
    os.sched_setaffinity(0, set(map(int, others.cores.split(","))))
    own = own_checkout(asked.python)
    beside = [*asked.gateway, *(structs.replace(own, name=name, more=more) for name, more in asked.settings)]
    plan = Plan((*([] if asked.alone else [own]), *beside), asked.rounds, tuple(asked.kinds.split(",")))
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        # The least of some rounds needs no quiet machine.
        bench = Bench(Path(directory), own_place, others, 0 if asked.short else asked.patience)
        if asked.short:
            _short(bench, structs.replace(plan, rounds=SHORT_ROUNDS), asked.record)
        else:
            _measure(bench, plan, asked.rows.split(","), asked.json)


def _measure(bench: Bench, plan: Plan, rows: Sequence[str], file: Path | None) -> None:
    samples: list[Sample] = []
    for row in rows:
        for sample in ROWS[row](bench, plan):
            samples.append(sample)
            _tell(sample, file)
    pythons = ", ".join(f"{checkout.name} on Python {checkout.version()}" for checkout in plan.checkouts)
    print(f"\n{pythons}; {platform.machine()}, {os.cpu_count()} cores; medians of {plan.rounds} rounds")
    print(to_table(samples))


def _short(bench: Bench, plan: Plan, record: bool) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    reference = read_reference(text)
    measured = measure_short(bench, plan, reference)
    for row, of in measured.items():
        for candidate, ratio in of.items():
            known = reference.get(row, {}).get(candidate)
            print(f"{row}, {candidate}: {ratio:.1f} x raw-pass" + (f" (on record: {known:.1f})" if known else ""))
    if record:
        REFERENCE.write_text(write_reference(text, measured), encoding="utf-8")
    elif faults := doubled(measured, reference):
        sys.exit("These have doubled:\n" + "\n".join(faults))


def _samples(file: Path) -> list[Sample]:
    return msgspec.json.Decoder(Sample).decode_lines(file.read_bytes())


def _tell(sample: Sample, file: Path | None) -> None:
    values = " ".join(f"{name}={value:.4g}" for name, value in sample.values.items())
    print(f"{sample.row} {sample.round} {sample.candidate}: {values} others={sample.others:.2f}", file=sys.stderr)
    if file:
        with file.open("ab") as lines:
            lines.write(msgspec.json.encode(sample) + b"\n")


if __name__ == "__main__":
    main()
