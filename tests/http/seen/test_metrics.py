"""The metrics: what each kind of request adds to, in which labels; and that no label grows without bound."""

from typing import Any

import pytest

from gateway.domain.events import TokensCounted
from gateway.http.record import Record
from gateway.http.seen.metrics import MOST_NAMES, OTHER, PrometheusMetrics, route_of
from gateway.http.seen.under_way import RequestsUnderWay
from gateway.settings import Key, Secret
from gateway.turns.runs.account import Account
from tests.gateways import FRONTEND, KEY, PROGRAMS, chat, gateway, http
from tests.http.seen.numbers import of, read_numbers, to_series, until
from tests.servers.fake_letta import ANSWER, PING, THOUGHT, WORD, FakeLetta, Hold, Step

URL = "/v1/chat/completions"
WATCHER = Key(name="watcher", key=Secret("sk-watch"), metrics=True)
KEYS = (PROGRAMS, FRONTEND, WATCHER)
ASKED = {"key": "programs", "agent_type": "tutor", "route": URL}
TUTORS = {"gen_ai_operation_name": "invoke_agent", "gen_ai_provider_name": "letta", "gen_ai_request_model": "tutor"}
FAILED: list[Step] = [PING, {"message_type": "stop_reason", "stop_reason": "llm_api_error"}]
# what is asked, what Letta says -> the series that has one then
COUNTED: dict[str, tuple[dict[str, Any], list[Step], tuple[str, dict[str, str]]]] = {
    "an answer": (
        {"json": chat()},
        ANSWER,
        ("letta_gateway_requests_total", {**ASKED, "status": "2xx", "outcome": "ok"}),
    ),
    "the time of an answer": ({"json": chat()}, ANSWER, ("gen_ai_server_request_duration_seconds_count", TUTORS)),
    "the time to a stream's first token": (
        {"json": chat(stream=True)},
        ANSWER,
        ("gen_ai_server_time_to_first_token_seconds_count", TUTORS),
    ),
    "an agent that is made": ({"json": chat()}, ANSWER, ("letta_gateway_agents_made_total", {"agent_type": "tutor"})),
    "the wait in the queue": (
        {"json": chat(metadata={"chat_id": "c"})},
        ANSWER,
        ("letta_gateway_queue_wait_seconds_count", {"agent_type": "tutor"}),
    ),
    "a failure of the model": (
        {"json": chat()},
        FAILED,
        ("letta_gateway_upstream_errors_total", {"kind": "ModelFailed"}),
    ),
    "the outcome of a failure": (
        {"json": chat()},
        FAILED,
        ("letta_gateway_requests_total", {**ASKED, "status": "5xx", "outcome": "model_error"}),
    ),
    "the time of a failure": (
        {"json": chat()},
        FAILED,
        ("gen_ai_server_request_duration_seconds_count", {**TUTORS, "error_type": "model_error"}),
    ),
    "a task": (
        {"json": chat(), "headers": {"x-task": "title_generation"}},
        [],
        ("letta_gateway_tasks_total", {"kind": "title_generation"}),
    ),
    "a task of no known kind": (
        {"json": chat(), "headers": {"x-task": "secret"}},
        [],
        ("letta_gateway_tasks_total", {"kind": OTHER}),
    ),
    "a wrong key": (
        {"json": chat(), "headers": {"authorization": "Bearer secret"}},
        [],
        ("letta_gateway_requests_total", {"route": URL, "status": "4xx", "outcome": "invalid_api_key"}),
    ),
    "an address that holds anything": (
        {"method": "GET", "url": "/secret/runs"},
        [],
        ("letta_gateway_requests_total", {"route": OTHER, "status": "4xx", "outcome": "unknown_url"}),
    ),
}


@pytest.fixture
def letta() -> Any:
    with FakeLetta() as fake:
        yield fake


@pytest.mark.parametrize(("asked", "steps", "counted"), COUNTED.values(), ids=COUNTED)
def test_a_request_is_counted_by_what_became_of_it(
    letta: FakeLetta, asked: dict[str, Any], steps: list[Step], counted: tuple[str, dict[str, str]]
) -> None:
    letta.steps = steps
    name, labels = counted
    with gateway(letta.base_url, keys=KEYS, first_event_seconds=20) as url, http(url) as client:
        client.request(**{"method": "POST", "url": URL, **asked})

        series = until(url, "sk-watch", name, **labels)

    values = {value for _, labels in series for _, value in labels}
    assert not any("secret" in value or "ada" in value for value in values)


def test_what_is_under_way_is_shown_as_such(letta: FakeLetta) -> None:
    letta.steps = [PING, WORD, Hold()]
    asked = chat(stream=True, metadata={"chat_id": "c"})
    with (
        gateway(letta.base_url, keys=KEYS) as url,
        http(url) as client,
        client.stream("POST", URL, json=asked) as stream,
    ):
        pieces = stream.iter_bytes()
        next(pieces)
        series = read_numbers(url, "sk-watch")
        shown = client.get("/metrics/chats", headers={"authorization": "Bearer sk-watch"}).json()

    for name in ("streams", "answers", "runs"):
        assert of(series, f"letta_gateway_{name}") == 1, name
    assert of(series, "letta_gateway_max_streams") == 2000
    (one,) = shown["chats"]
    assert shown["total"] == 1
    assert (one["agent_type"], one["streamed"], len(one["chat"])) == ("tutor", True, 8)
    assert 0 < one["first"] < one["seconds"] < 60


def test_a_run_that_is_cancelled_and_a_client_that_leaves_are_counted(letta: FakeLetta) -> None:
    letta.steps = [PING, THOUGHT, WORD, Hold()]
    with gateway(letta.base_url, keys=KEYS) as url, http(url) as client:
        with client.stream("POST", URL, json=chat(stream=True)) as stream:
            next(stream.iter_bytes())
        until(url, "sk-watch", "letta_gateway_runs_cancelled_total", agent_type="tutor")
        series = until(url, "sk-watch", "letta_gateway_requests_total", outcome="client_left", status="2xx", **ASKED)

    assert of(series, "letta_gateway_streams") == 0


def test_a_resend_that_takes_over_its_run_is_counted(letta: FakeLetta) -> None:
    again = {"idempotency-key": "one"}
    with gateway(letta.base_url, keys=KEYS) as url, http(url) as client:
        for _ in range(2):
            client.post(URL, json=chat(), headers=again)
        series = until(url, "sk-watch", "letta_gateway_resends_joined_total", agent_type="tutor")

    assert of(series, "letta_gateway_agents_made_total") == 1


# What an account tells when its run is over -> what is counted then.
def observed(record: Record) -> PrometheusMetrics:
    metrics = PrometheusMetrics("rest")
    record.seconds = record.seconds or 2.0
    RequestsUnderWay([metrics]).observe(record)
    return metrics


@pytest.mark.anyio
async def test_the_tokens_of_a_run_are_counted_once_it_is_over() -> None:
    account = Account()
    record = Record("req_1", "POST", URL, agent_type="tutor", status=200, streamed=True, account=account)
    record.first_frame_seconds, record.last_frame_seconds = 0.5, 2.5
    metrics = observed(record)
    before = to_series((await metrics.exposed()).decode())
    account.tokens = TokensCounted(30, 11, 41)
    account.close()
    after = to_series((await metrics.exposed()).decode())

    assert of(before, "gen_ai_client_token_usage_count") == 0
    assert of(after, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **TUTORS) == 30
    assert of(after, "gen_ai_client_token_usage_sum", gen_ai_token_type="output", **TUTORS) == 11
    # Two seconds for the ten after the first.
    assert of(after, "gen_ai_server_time_per_output_token_seconds_sum", **TUTORS) == pytest.approx(0.2)


@pytest.mark.anyio
async def test_the_tokens_of_a_task_that_a_model_answers_are_counted_as_its_own() -> None:
    account = Account(tokens=TokensCounted(30, 11, 41))
    metrics = observed(Record("req_1", "POST", URL, task="title_generation", status=200, account=account))
    account.close()

    labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": "task", "gen_ai_token_type": "input"}
    assert of(to_series((await metrics.exposed()).decode()), "gen_ai_client_token_usage_sum", **labels) == 30


@pytest.mark.anyio
async def test_what_is_estimated_of_a_usage_is_not_counted() -> None:
    account = Account(tokens=TokensCounted(30, 11, 41), estimated=TokensCounted(20, 10, 30))
    metrics = observed(Record("req_1", "POST", URL, agent_type="tutor", status=200, account=account))
    account.close()

    series = to_series((await metrics.exposed()).decode())
    assert of(series, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 10
    assert of(series, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 1


@pytest.mark.anyio
async def test_nothing_is_said_of_a_usage_that_letta_has_not_told() -> None:
    account = Account()
    metrics = observed(Record("req_1", "POST", URL, agent_type="tutor", status=200, account=account))
    account.close()

    assert of(to_series((await metrics.exposed()).decode()), "gen_ai_client_token_usage_count") == 0


@pytest.mark.anyio
async def test_a_limit_that_refuses_is_counted_by_its_name() -> None:
    metrics = observed(Record("req_1", "POST", URL, key="programs", limit="user.tokens_per_day", status=429))

    hit = of(to_series((await metrics.exposed()).decode()), "letta_gateway_limits_hit_total", key="programs")
    assert hit == 1


@pytest.mark.anyio
async def test_whatever_reloads_bring_a_label_has_so_many_values_at_most() -> None:
    metrics = PrometheusMetrics("rest")
    for number in range(2 * MOST_NAMES):
        record = Record(
            "req_1", "POST", URL, status=200, key=f"k{number}", agent_type=f"t{number}", outcome=f"o{number}"
        )
        metrics.ended(record)
    series = to_series((await metrics.exposed()).decode())
    labels = [dict(labels) for name, labels in series if name == "letta_gateway_requests_total"]

    for name in ("key", "agent_type", "outcome"):
        values = {each[name] for each in labels}
        assert len(values) == MOST_NAMES + 1
        assert OTHER in values
    assert of(series, "letta_gateway_requests_total", key=OTHER) == MOST_NAMES


ROUTES = {
    URL: URL,
    "/v1/models": "/v1/models",
    "/v1/models/…/…": "/v1/models/{model}",
    "/web/…": "/web",
    "/metrics/chats": "/metrics",
    "/": "/",
    "-": OTHER,
    "/v1/responses": "/v1/responses",
    "/v1/responses/…/cancel": "/v1/responses/{id}",
    "/v1/conversations/…": "/v1/conversations/{id}",
    "/v1/responsesx": OTHER,
    "/v1/modelsx": OTHER,
}


@pytest.mark.parametrize(("path", "route"), ROUTES.items(), ids=ROUTES)
def test_an_address_is_told_by_its_route(path: str, route: str) -> None:
    assert route_of(path) == route


def test_bytes_that_become_no_request_are_counted() -> None:
    with FakeLetta() as letta, gateway(letta.base_url, keys=KEYS) as url, http(url) as client:
        assert client.get("/healthz", headers={"x": "y" * 70_000}).status_code == 431

        until(url, "sk-watch", "letta_gateway_requests_total", outcome="headers_too_large", status="4xx")


def test_where_nobody_may_read_metrics_there_are_none() -> None:
    with FakeLetta() as letta, gateway(letta.base_url) as url, http(url, KEY) as client:
        answer = client.get("/metrics")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
