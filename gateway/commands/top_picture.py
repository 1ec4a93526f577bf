"""The picture that `letta-gateway top` shows, made of two readings of the metrics. Performs no I/O."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.http.seen.chats import ChatsUnderWay

MOST_OUTCOMES = 6
MEBIBYTE = 1024 * 1024
REQUESTS, FIRST, TOKENS = (
    "letta_gateway_requests_total",
    "gen_ai_server_time_to_first_token_seconds_bucket",
    "gen_ai_client_token_usage_sum",
)
STARTED, MEMORY = "letta_gateway_start_time_seconds", "process_resident_memory_bytes"
CHAT_ROUTE = "/v1/chat/completions"
ENDS_WELL, CLIENT_WENT = "ok", "client_left"
NO_VALUE = "–"
Labels = frozenset[tuple[str, str]]


class Reading(Struct, frozen=True):
    """The metrics at one moment: `Reading(1796003196.7, {"letta_gateway_streams": {frozenset(): 3.0}}, chats)`."""

    at: float
    """The moment, in seconds since 1970."""
    series: dict[str, dict[Labels, float]]
    """The series of each metric by their labels."""
    chats: ChatsUnderWay

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series of a metric that have these labels."""
        return sum(self.by("", name, **labels).values())

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """The sums of these series, by the values of one label."""
        found: defaultdict[str, float] = defaultdict(float)
        for has, value in self.series.get(name, {}).items():
            if labels.items() <= has:
                found[dict(has).get(label, "")] += value
        return found

    def since(self, before: "Reading | None") -> "Reading":
        """The growth since an earlier reading; None: since the gateway's start. Gauges are of no use in it."""
        began = self.value(STARTED)
        if before is None or before.value(STARTED) != began:
            return Reading(self.at - began, self.series, self.chats)
        added = {
            name: {labels: value - before.series.get(name, {}).get(labels, 0.0) for labels, value in series.items()}
            for name, series in self.series.items()
        }
        return Reading(self.at - before.at, added, self.chats)


def to_reading(text: str, chats: ChatsUnderWay, at: float) -> Reading:
    """A reading of metrics in Prometheus' text format."""
    series: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series[sample.name][frozenset(sample.labels.items())] = sample.value
    return Reading(at, dict(series), chats)


def quantile(part: float, buckets: Mapping[str, float]) -> float | None:
    """The value below which a `part` of a histogram is, as Prometheus tells it; None if it is empty.

    `quantile(0.5, {"1.0": 5.0, "2.0": 10.0, "+Inf": 10.0})` is 1.0.
    """
    bounds = sorted((float(bound), count) for bound, count in buckets.items())
    total = bounds[-1][1] if bounds else 0.0
    if not total:
        return None
    below, low = 0.0, 0.0
    for bound, count in bounds:
        if count >= part * total:
            # Nothing is known of the place within the last bucket.
            return low if bound == float("inf") else low + (bound - low) * (part * total - below) / (count - below or 1)
        below, low = count, bound
    return low


def picture(address: str, now: Reading, before: Reading | None) -> RenderableType:
    """A gateway at work: what is under way, and what was since an earlier reading, or since its start."""
    added = now.since(before)
    return Group(
        _title(address, now),
        _under_way(now),
        Text(""),
        Text(f"In the last {added.at:.0f} s" if before else f"Since the start, {_lasting(added.at)} ago", "bold"),
        _by_agent_type(added),
        _other_outcomes(added),
        Text(""),
        _slowest(now.chats),
    )


def _title(address: str, now: Reading) -> Text:
    build = next((dict(labels) for labels in now.series.get("letta_gateway_build_info", {})), {})
    said = f"Letta Gateway {build.get('version', '?')}"
    at = datetime.fromtimestamp(now.at)
    return Text.assemble((said, "bold"), f"  {address}  Letta: {build.get('letta', '?')}  {at:%H:%M:%S}")


def _under_way(now: Reading) -> Text:
    answers, most = now.value("letta_gateway_answers"), now.value("letta_gateway_max_streams")
    return Text.assemble(
        (f"{now.value('letta_gateway_streams'):.0f}", "bold"),
        " streams, ",
        (f"{answers:.0f}", "bold red" if most and answers > 0.8 * most else "bold"),
        f" answers of {most:.0f}, {now.value('letta_gateway_runs'):.0f} runs, ",
        f"{now.value('letta_gateway_connections'):.0f} connections",
        # Told on Linux only.
        f", {now.value(MEMORY) / MEBIBYTE:.0f} MiB" if MEMORY in now.series else "",
    )


def _by_agent_type(added: Reading) -> Table:
    table = _table("agent type", "answers/s", "gone wrong", "first words p50", "p95", "tokens/s")
    asked = added.by("agent_type", REQUESTS, route=CHAT_ROUTE)
    well = added.by("agent_type", REQUESTS, route=CHAT_ROUTE, outcome=ENDS_WELL)
    left = added.by("agent_type", REQUESTS, route=CHAT_ROUTE, outcome=CLIENT_WENT)
    tokens = added.by("gen_ai_request_model", TOKENS)
    for name in sorted(filter(None, asked)):
        buckets = added.by("le", FIRST, gen_ai_request_model=name)
        wrong = asked[name] - well.get(name, 0.0) - left.get(name, 0.0)
        share = wrong / asked[name] if asked[name] else 0.0
        table.add_row(
            Text(name),
            _rate(asked[name], added.at),
            Text(f"{share:.0%}", "red" if share > 0.05 else ""),
            *(_seconds(quantile(part, buckets)) for part in (0.5, 0.95)),
            _rate(tokens.get(name, 0.0), added.at),
        )
    return table


def _other_outcomes(added: Reading) -> Text:
    """The outcomes of all requests but those that went well, the most frequent first."""
    outcomes = added.by("outcome", REQUESTS)
    others = sorted(((count, name) for name, count in outcomes.items() if name != ENDS_WELL and count), reverse=True)
    told = (f"{name} {count:.0f}" for count, name in others[:MOST_OUTCOMES])
    return Text("Other outcomes: " + (", ".join(told) or "none"))


def _slowest(chats: ChatsUnderWay) -> Table:
    table = _table("chat", "agent type", "for", "first words", "streamed")
    table.title = f"The slowest of {chats.total} answers under way"
    table.title_justify = "left"
    for one in chats.chats:
        row = (one.chat, one.agent_type, _lasting(one.seconds))
        table.add_row(*map(Text, row), _seconds(one.first), Text("yes" if one.streamed else "no"))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title_style="bold")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="left" if name == "agent type" else "right", no_wrap=True)
    return table


def _rate(count: float, seconds: float) -> Text:
    return Text(f"{count / seconds:.1f}" if seconds > 0 else NO_VALUE)


def _seconds(value: float | None) -> Text:
    return Text(NO_VALUE if value is None else f"{value:.2f} s")


def _lasting(seconds: float) -> str:
    """`4.2 s`, `3 min`, `2 h`"""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.0f} h"
