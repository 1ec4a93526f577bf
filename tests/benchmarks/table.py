"""The table that a benchmark prints. Performs no I/O."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from msgspec import Struct

from tests.benchmarks.plan import DIRECT, RAW_PASS, Sample

# What the yardstick adds is never nothing, however exact the clock is.
LEAST_ADDED_MS = 0.005
Rounds = dict[int, dict[str, dict[str, float]]]
"""The values of a row, by round and by candidate."""
Figure = Callable[[dict[str, dict[str, float]], str], float | None]
"""The figure of a candidate, made of a round; None where there is none."""


class Line(Struct, frozen=True):
    """A line of the table: `Line("CPU per event", "streams", plain("cpu_us"), "{:.0f} us")`."""

    title: str
    row: str
    figure: Figure
    form: str


def plain(value: str) -> Figure:
    """The value as it was measured."""
    return lambda round, candidate: round[candidate].get(value)


def times_raw(value: str) -> Figure:
    """The value, as a multiple of the yardstick's in the same round."""

    def figure(round: dict[str, dict[str, float]], candidate: str) -> float | None:
        if candidate not in round or RAW_PASS not in round or candidate == DIRECT:
            return None
        return round[candidate][value] / round[RAW_PASS][value]

    return figure


def added(value: str) -> Figure:
    """What is added to the value of those who ask Letta itself in the same round."""

    def figure(round: dict[str, dict[str, float]], candidate: str) -> float | None:
        if candidate not in round or DIRECT not in round or candidate == DIRECT:
            return None
        return round[candidate][value] - round[DIRECT][value]

    return figure


def times_raw_added(value: str) -> Figure:
    """What is added, as a multiple of what the yardstick adds in the same round."""

    def figure(round: dict[str, dict[str, float]], candidate: str) -> float | None:
        own, raw = added(value)(round, candidate), added(value)(round, RAW_PASS)
        return None if own is None or raw is None else own / max(raw, LEAST_ADDED_MS)

    return figure


LINES = (
    Line("CPU per event, 60 streams, x raw-pass", "streams", times_raw("cpu_us"), "{:.2f} x"),
    Line("CPU per event, 60 streams", "streams", plain("cpu_us"), "{:.0f} us"),
    Line("CPU per event of a response, 60 streams", "responses", plain("response_us"), "{:.0f} us"),
    Line("the same, x chat completions", "responses", plain("x_chat"), "{:.2f} x"),
    Line("an event alone, x raw-pass", "lengths", times_raw("event_us"), "{:.2f} x"),
    Line("an event alone, CPU", "lengths", plain("event_us"), "{:.0f} us"),
    Line("a stream without its events, CPU", "lengths", plain("stream_ms"), "{:.1f} ms"),
    Line("added per token, p50, x raw-pass", "streams", times_raw_added("p50_ms"), "{:.2f} x"),
    Line("added per token, p50", "streams", added("p50_ms"), "{:.3f} ms"),
    Line("added per token, p99, x raw-pass", "streams", times_raw_added("p99_ms"), "{:.2f} x"),
    Line("added per token, p99", "streams", added("p99_ms"), "{:.2f} ms"),
    Line("added to the first token, p50", "streams", added("first_ms"), "{:.2f} ms"),
    Line("CPU per request", "requests", plain("request_ms"), "{:.2f} ms"),
    Line("the same, x raw-pass", "requests", times_raw("request_ms"), "{:.1f} x"),
    Line("added to the first token of a request, p50", "requests", added("first_ms"), "{:.2f} ms"),
    Line("a new person's first token", "first-turns", plain("new_ms"), "{:.0f} ms"),
    Line("the same, the agent is there and was never spoken to", "first-turns", plain("found_ms"), "{:.0f} ms"),
    Line("a known person's first token in a new chat, embedded", "first-turns", plain("known_ms"), "{:.0f} ms"),
    Line("memory of an idle stream", "memory", plain("idle_kib"), "{:.0f} KiB"),
    Line("memory of a running stream, after 300 tokens", "memory", plain("running_kib"), "{:.0f} KiB"),
    Line("memory that stays of a person with a chat", "people", plain("person_kib"), "{:.1f} KiB"),
    Line("memory that stays of a further chat", "people", plain("chat_kib"), "{:.1f} KiB"),
    Line("250 streams on one core, p99", "scale", plain("p99_ms"), "{:.1f} ms"),
    Line("300 streams on one core, p99", "larger-scale", plain("p99_ms"), "{:.1f} ms"),
    Line("2,000 streams at 4 tokens/s: lost", "crowd", plain("lost"), "{:.0f}"),
    Line("2,000 streams: first token, p50", "crowd", plain("first_ms"), "{:.0f} ms"),
    Line("2,000 streams: p99", "crowd", plain("p99_ms"), "{:.0f} ms"),
    Line("2,000 messages of 200 kB resent, CPU", "history", plain("cpu_200k"), "{:.1f} ms"),
    Line("others wait longer by", "history", plain("wait_200k"), "{:.1f} ms"),
    Line("2,000 messages of 2 MB resent, CPU", "history", plain("cpu_2m"), "{:.1f} ms"),
    Line("others wait longer by", "history", plain("wait_2m"), "{:.1f} ms"),
    Line("streams held on all cores at a p99 of 20 ms", "workers", plain("held"), "{:.0f}"),
    Line("the p99 of them", "workers", plain("held_p99_ms"), "{:.1f} ms"),
    Line("the p99 of the next step", "workers", plain("next_p99_ms"), "{:.0f} ms"),
    Line("CPU per event, 60 streams, all cores", "workers", plain("cpu_us"), "{:.0f} us"),
    Line("CPU per event, streams held, all cores", "workers", plain("held_cpu_us"), "{:.0f} us"),
    Line("memory of all its processes", "workers", plain("all_mib"), "{:.0f} MiB"),
    Line("`serve` to listening", "starts", plain("up_ms"), "{:.0f} ms"),
    Line("`serve` to ready", "starts", plain("ready_ms"), "{:.0f} ms"),
    Line("memory when fresh", "starts", plain("fresh_mib"), "{:.0f} MiB"),
    Line("memory after 20 answers", "starts", plain("used_mib"), "{:.0f} MiB"),
)


def by_round(samples: Iterable[Sample], row: str) -> Rounds:
    """The values of a row's samples, by round and candidate."""
    rounds: Rounds = {}
    for sample in samples:
        if sample.row == row:
            rounds.setdefault(sample.round, {})[sample.candidate] = sample.values
    return rounds


def figures(rounds: Rounds, candidate: str, figure: Figure) -> list[float]:
    """A candidate's figures, one a round."""
    found = [figure(values, candidate) for values in rounds.values() if candidate in values]
    return [one for one in found if one is not None]


def cell(found: Sequence[float], form: str) -> str:
    """The median of figures, and the least and the greatest of them: `4.31 x (4.10..4.62)`."""
    if not found:
        return "-"
    number = form.partition("}")[0] + "}"
    spread = f" ({number}..{number})".format(min(found), max(found)) if len(found) > 1 else ""
    return form.format(median(found)) + spread


def to_table(samples: Sequence[Sample]) -> str:
    """The table of all that was measured, as Markdown."""
    candidates = list(dict.fromkeys(sample.candidate for sample in samples if sample.candidate != DIRECT))
    rows = [["measure", *candidates, "others"]]
    for line in LINES:
        rounds = by_round(samples, line.row)
        if rounds:
            cells = [cell(figures(rounds, one, line.figure), line.form) for one in candidates]
            others = [sample.others for sample in samples if sample.row == line.row]
            rows.append([line.title, *cells, cell(others, "{:.2f}")])
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
