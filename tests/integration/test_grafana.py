"""The dashboard and the alerts, against the metrics of a gateway that is in use, and in a real Prometheus."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways import KEY, ForkedGateway, chat
from tests.http.seen.numbers import Series, read_numbers, until
from tests.readme import ROOT
from tests.servers.prometheus import ALERTS, Prometheus, program, prometheus
from tests.test_metrics_address import address_in
from tests.test_smoke import NO_PROVIDER

DASHBOARD = json.loads((ROOT / "deploy/grafana/letta-gateway.json").read_text(encoding="utf-8"))
CONFIG = """
[letta]
upstream = "embedded"
state = "{state}"

[metrics]
port = 0

[[agent_types]]
id = "tutor"

[[keys]]
name = "programs"
key = "{key}"

[[keys]]
name = "limited"
key = "sk-limited"
limits = {{requests_per_minute = 1}}
"""
# What Grafana puts in place of its variables, where everything is chosen.
VARIABLES = {"$__rate_interval": "1m", "$agent_type": ".*", "$key": ".*"}


def queries() -> dict[str, str]:
    """Every query of the dashboard by its panel, as Grafana sends it."""
    found = {}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found[f"{panel['title']}, {target['refId']}"] = expression
    return found


QUERIES = queries()


def use(url: str) -> None:
    """Ask a gateway for all that is counted."""
    path = f"{url}/v1/chat/completions"
    with httpx.Client(headers={"authorization": f"Bearer {KEY}"}, timeout=60) as client:
        told = {"stream_options": {"include_usage": True}, "stream": True, "metadata": {"chat_id": "one"}}
        for text in ("hello", "My name is Ada.", "!fail 500"):
            client.post(path, json=chat(text, **told))
        for _ in range(2):
            client.post(path, json=chat("again"), headers={"idempotency-key": "again"})
        client.post(path, json=chat("Name this"), headers={"x-task": "title_generation"})
        client.post(path, json=chat(), headers={"authorization": "Bearer wrong"})
        for _ in range(2):
            client.post(path, json=chat("once"), headers={"authorization": "Bearer sk-limited"})
        client.get(f"{url}/readyz")
        with client.stream("POST", path, json=chat("!hang-after one two", stream=True)) as left:
            next(pieces := left.iter_bytes())
            del pieces


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A gateway that has been used: its address, and that of its metrics."""
    directory = tmp_path_factory.mktemp("grafana")
    config = directory / "gateway.toml"
    config.write_text(CONFIG.format(state=directory / "state", key=KEY))
    with ForkedGateway(config, **NO_PROVIDER) as process:
        metrics = address_in(process.log)
        use(process.base_url)
        until(metrics, None, "letta_gateway_runs_cancelled_total")
        yield process.base_url, metrics


@pytest.fixture(scope="module")
def numbers(used: tuple[str, str]) -> Series:
    return read_numbers(used[1])


@pytest.fixture(scope="module")
def asked(used: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the gateway some times, with use in between."""
    url, metrics = used
    with prometheus(tmp_path_factory.mktemp("prometheus"), metrics.removeprefix("http://")) as asked:
        asked.until('count_over_time(up{job="letta-gateway"}[1m]) >= 2')
        use(url)
        asked.until('increase(letta_gateway_requests_total{outcome="ok", route="/v1/chat/completions"}[1m]) > 0')
        yield asked


def labels_of(series: Series, name: str) -> set[str]:
    """The labels that series of a metric have, whichever of its series they are."""
    names = {name, *(f"{name}_{part}" for part in ("bucket", "sum", "count"))}
    return {label for each, labels in series if each in names for label, _ in labels}


NAMES = re.compile(r"\b(?:letta_gateway|gen_ai|process)_\w+(?![\w\"]*\s*[=!])(?=[\[{\s)/]|$)")
SELECTORS = re.compile(r"(\w+)\{([^}]*)\}")
GROUPED = re.compile(r"(?:by|on|group_left) \(([^)]*)\)")
# Of Prometheus itself.
EVERYWHERE = {"instance", "job"}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_metric_and_label_of_the_dashboard_is_there(query: str, numbers: Series) -> None:
    metrics = set(NAMES.findall(re.sub(r"\{[^}]*\}|\([\w, ]*\)(?= \()|(?:by|on|group_left) \([^)]*\)", "", query)))
    there = {name for name, _ in numbers}
    known = {label for name in metrics for label in labels_of(numbers, name)} | EVERYWHERE

    assert metrics
    assert metrics <= there
    for name, selector in SELECTORS.findall(query):
        of = labels_of(numbers, name)
        assert set(re.findall(r"(\w+)\s*(?:=|!)", selector)) <= of, name
    for group in GROUPED.findall(query):
        assert {label.strip() for label in group.split(",")} <= known


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_query_of_the_dashboard_has_an_answer(query: str, asked: Prometheus) -> None:
    assert asked.query(query)


def test_the_dashboard_chooses_its_data_source_and_finds_its_variables(asked: Prometheus) -> None:
    templates = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    sources = [panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel]

    assert DASHBOARD["uid"] == "letta-gateway"
    assert templates["datasource"]["type"] == "datasource"
    assert set(sources) == {"${datasource}"}
    for name in ("agent_type", "key"):
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", templates[name]["definition"])
        assert found
        values = {one["metric"].get(found[2]) for one in asked.query(found[1])}
        assert {"agent_type": "tutor", "key": "programs"}[name] in values


def test_prometheus_takes_the_alerts_and_none_of_them_is_about_what_it_does_not_find(
    asked: Prometheus, numbers: Series
) -> None:
    asked.until('count_over_time(up{job="letta-gateway"}[1m]) >= 4')
    rules = asked.rules()

    assert len(rules) > 5
    for rule in rules:
        assert rule["health"] == "ok", rule
        metrics = [name for name in re.findall(r"\b(?:letta_gateway|gen_ai)_\w+(?=[\[{\s)])", rule["query"])]
        there = {name for name, _ in numbers}
        assert set(metrics) - {label for label in metrics if label.startswith("gen_ai_request")} <= there, rule["name"]
        for name, selector in SELECTORS.findall(rule["query"]):
            of = labels_of(numbers, name) | EVERYWHERE
            assert set(re.findall(r"(\w+)\s*(?:=|!)", selector)) <= of, rule["name"]


CHAT = 'route="/v1/chat/completions",agent_type="tutor"'


def _slow() -> list[dict[str, str]]:
    """Streams whose first words come after 7.5 s and more."""
    name = "gen_ai_server_time_to_first_token_seconds_bucket"
    return [
        {"series": f'{name}{{le="{le}"}}', "values": f"0+{step}x60"}
        for le, step in (("7.5", 0), ("10", 5), ("+Inf", 5))
    ]


# alert -> series that it is about, and those that it is not
ABOUT: dict[str, tuple[list[dict[str, str]], list[dict[str, str]]]] = {
    "LettaGatewayDown": (
        [{"series": 'up{job="letta-gateway",instance="a"}', "values": "0x60"}],
        [{"series": 'up{job="letta-gateway",instance="a"}', "values": "1x60"}],
    ),
    "LettaGatewayNotReady": (
        [{"series": 'letta_gateway_requests_total{route="/readyz",status="5xx"}', "values": "0+6x60"}],
        [{"series": 'letta_gateway_requests_total{route="/readyz",status="2xx"}', "values": "0+6x60"}],
    ),
    "LettaGatewayUpstreamErrors": (
        [
            {"series": 'letta_gateway_upstream_errors_total{kind="Unreachable"}', "values": "0+1x60"},
            {"series": f'letta_gateway_requests_total{{{CHAT},outcome="ok"}}', "values": "0+10x60"},
        ],
        [
            {"series": 'letta_gateway_upstream_errors_total{kind="Unreachable"}', "values": "0+1x60"},
            {"series": f'letta_gateway_requests_total{{{CHAT},outcome="ok"}}', "values": "0+100x60"},
        ],
    ),
    "LettaGatewayNoAnswers": (
        [{"series": f'letta_gateway_requests_total{{{CHAT},outcome="upstream_unreachable"}}', "values": "0+1x60"}],
        [
            {"series": f'letta_gateway_requests_total{{{CHAT},outcome="upstream_unreachable"}}', "values": "0+9x60"},
            {"series": f'letta_gateway_requests_total{{{CHAT},outcome="ok"}}', "values": "0+1x60"},
        ],
    ),
    "LettaGatewaySlowFirstWords": (
        _slow(),
        [
            {"series": 'gen_ai_server_time_to_first_token_seconds_bucket{le="0.5"}', "values": "0+5x60"},
            {"series": 'gen_ai_server_time_to_first_token_seconds_bucket{le="+Inf"}', "values": "0+5x60"},
        ],
    ),
    "LettaGatewayLimitsHit": (
        [{"series": 'letta_gateway_limits_hit_total{limit="streams",key="k"}', "values": "0+5x60"}],
        [{"series": 'letta_gateway_limits_hit_total{limit="streams",key="k"}', "values": "0+1x60"}],
    ),
    "LettaGatewayNearlyFull": (
        [
            {"series": 'letta_gateway_answers{instance="a"}', "values": "90x60"},
            {"series": 'letta_gateway_max_streams{instance="a"}', "values": "100x60"},
        ],
        [
            {"series": 'letta_gateway_answers{instance="a"}', "values": "50x60"},
            {"series": 'letta_gateway_max_streams{instance="a"}', "values": "100x60"},
        ],
    ),
}


def fires(directory: Path, alert: str, series: list[dict[str, str]]) -> bool:
    """True if Prometheus' own tool has the alert fire after an hour of these series, a sample a minute."""
    query = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    expected: Any = {"expr": query, "eval_time": "1h", "exp_samples": [{"labels": "{}", "value": 1}]}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [expected]}
    file = directory / "alerts_test.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    ran = subprocess.run([program("promtool"), "test", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0 or "got: nil" in ran.stdout + ran.stderr, ran.stdout + ran.stderr
    return ran.returncode == 0


@pytest.mark.parametrize("alert", ABOUT)
def test_an_alert_fires_for_what_it_is_about_and_not_otherwise(alert: str, tmp_path: Path) -> None:
    about, not_about = ABOUT[alert]

    assert fires(tmp_path, alert, about)
    assert not fires(tmp_path, alert, not_about)


def test_every_alert_is_tried() -> None:
    assert set(re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))) == ABOUT.keys()
