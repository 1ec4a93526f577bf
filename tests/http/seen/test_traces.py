"""The traces: which requests have a span, what it holds, whose child it is, and what an exporter that fails costs."""

import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.app import create_app
from gateway.configuration import SettingsError, load
from gateway.domain.events import CallPiece, TokensCounted
from gateway.http.record import Record
from gateway.http.seen.traces import OtelTraces
from gateway.http.seen.under_way import RequestsUnderWay
from gateway.settings import Traces
from gateway.turns.runs.account import Account
from tests.gateways import chat, http, settings_for
from tests.servers.fake_letta import PING, STOP, USAGE, WORD, FakeLetta, Step
from tests.servers.otlp import OtlpReceiver, Received, received_traces, to_tree
from tests.servers.threads import served

URL = "/v1/chat/completions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CALL = {"message_type": "tool_call_message", "step_id": "s1", "tool_call": {"name": "search", "tool_call_id": "c1"}}
RETURN = {"message_type": "tool_return_message", "step_id": "s1", "tool_call_id": "c1", "tool_return": "a secret"}
SEARCHES: list[Step] = [PING, CALL, {**RETURN, "status": "success"}, WORD, STOP, USAGE]
FAILS: list[Step] = [PING, {"message_type": "stop_reason", "stop_reason": "llm_api_error"}]


def traced(
    letta: FakeLetta, *asked: dict[str, Any], steps: list[Step] = SEARCHES, spans: int = 1
) -> tuple[OtlpReceiver, list[int]]:
    """What a receiver has after these requests, and their statuses."""
    letta.steps = steps
    with received_traces() as receiver:
        settings = settings_for(letta.base_url, first_event_seconds=20)
        settings = msgspec.structs.replace(settings, traces=Traces(endpoint=receiver.endpoint))
        with served(create_app(settings)) as url, http(url) as client:
            statuses = [client.request(**{"method": "POST", "url": URL, **one}).status_code for one in asked]
        # The gateway is gone: what it had was exported.
        assert len(receiver.spans) == spans, to_tree(receiver.spans)
    return receiver, statuses


def named(spans: list[Received], name: str) -> Received:
    (span,) = [span for span in spans if span.name == name]
    return span


@pytest.fixture(autouse=True)
def nobody_exports_on() -> Iterator[None]:
    """No thread of an exporter lives on: it would draw random numbers, and Hypothesis watches everybody's."""
    yield
    end = time.monotonic() + 20
    while exporting := [thread.name for thread in threading.enumerate() if thread.name.startswith("OtelBatch")]:
        assert time.monotonic() < end, exporting
        time.sleep(0.01)


@pytest.fixture
def letta() -> Any:
    with FakeLetta() as fake:
        yield fake


def test_a_request_that_reaches_an_agent_is_a_span_with_a_child_for_each_tool(letta: FakeLetta) -> None:
    asked = {"json": chat("a secret prompt", user="secret-user", stream=True)}
    receiver, _ = traced(letta, asked, spans=2)
    turn, tool = (named(receiver.spans, name) for name in ("invoke_agent tutor", "execute_tool search"))

    assert (turn.parent, turn.failed, tool.parent, tool.trace) == ("", False, turn.id, turn.trace)
    assert turn.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert turn.attributes["gen_ai.request.model"] == turn.attributes["gen_ai.agent.name"] == "tutor"
    assert turn.attributes["gen_ai.agent.id"] == letta.agents[0]["id"]
    assert turn.attributes["gen_ai.conversation.id"] == letta.conversations[0]["id"]
    assert turn.attributes["letta_gateway.key"] == "programs"
    assert "error.type" not in turn.attributes
    assert turn.resource["service.name"] == "letta-gateway"
    assert {name: tool.attributes[name] for name in sorted(tool.attributes)} == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.call.id": "c1",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "extension",
    }
    assert turn.began <= tool.began <= tool.ended <= turn.ended
    assert "secret" not in repr(receiver.spans)


def test_a_failure_is_told_by_its_code(letta: FakeLetta) -> None:
    receiver, statuses = traced(letta, {"json": chat()}, steps=FAILS)
    (turn,) = receiver.spans

    assert statuses == [502]
    assert (turn.failed, turn.attributes["error.type"]) == (True, "model_error")


def test_the_trace_of_a_request_goes_on_and_reaches_letta(letta: FakeLetta) -> None:
    receiver, _ = traced(letta, {"json": chat(), "headers": {"traceparent": TRACEPARENT}}, spans=2)
    turn = named(receiver.spans, "invoke_agent tutor")

    assert (turn.trace, turn.parent) == (TRACE, PARENT)
    # All that the turn has asked of Letta: agents and conversations are found, the messages are sent.
    assert len(letta.traces) > 3
    assert set(letta.traces) == {f"00-{TRACE}-{turn.id}-01"}


def test_a_trace_that_is_not_recorded_goes_on_without_a_span(letta: FakeLetta) -> None:
    asked = {"json": chat(), "headers": {"traceparent": TRACEPARENT.removesuffix("1") + "0"}}
    traced(letta, asked, spans=0)

    assert all(re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", trace) for trace in letta.traces)


def test_without_traces_of_its_own_the_gateway_passes_a_request_s_on(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")
    with served(create_app(settings_for(letta.base_url))) as url, http(url) as client:
        client.post(URL, json=chat(), headers={"traceparent": TRACEPARENT})
        client.post(URL, json=chat(), headers=[("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)])

    assert set(letta.traces) == {TRACEPARENT, ""}
    assert [f"trace={TRACE}" in line for line in caplog.messages if URL in line] == [True, False]


def test_what_reaches_no_agent_has_no_span(letta: FakeLetta) -> None:
    tasks = {"json": chat(), "headers": {"x-task": "title_generation"}}
    models = {"method": "GET", "url": "/v1/models"}
    _, statuses = traced(letta, tasks, models, {"json": chat(model="none")}, spans=0)

    assert statuses == [200, 200, 404]


def test_a_request_that_joins_its_run_has_a_span_of_its_own_that_says_so(letta: FakeLetta) -> None:
    again = {"json": chat(), "headers": {"idempotency-key": "one"}}
    receiver, _ = traced(letta, again, again, spans=3)
    turns = [span for span in receiver.spans if span.name == "invoke_agent tutor"]

    assert [span.attributes.get("letta_gateway.joined") for span in turns] == [None, True]


# Spans of a record, and of an account


async def exported(record: Record) -> dict[str, Any]:
    """The attributes of the spans of a record whose run is over, by the names of the spans."""
    exporter = InMemorySpanExporter()
    traces = OtelTraces("http://127.0.0.1:9", exporter)
    traces.begin(record, "")
    record.seconds = 2.0
    RequestsUnderWay([traces]).observe(record)
    assert record.account
    record.account.close()
    await traces.aclose()
    return {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}


@pytest.mark.anyio
async def test_the_usage_of_a_run_is_told_though_it_comes_after_the_answer() -> None:
    account = Account(tokens=TokensCounted(30, 11, 41, cached=20, reasoning=4))
    told = (await exported(Record("req_1", "POST", URL, agent_type="tutor", account=account)))["invoke_agent tutor"]

    assert {name.removeprefix("gen_ai.usage."): told[name] for name in told if "usage" in name} == {
        "input_tokens": 30,
        "output_tokens": 11,
        "cache_read.input_tokens": 20,
        "reasoning.output_tokens": 4,
    }


@pytest.mark.anyio
async def test_a_tool_of_the_client_s_and_one_that_fails_are_told_as_such() -> None:
    account = Account()
    account.called(CallPiece("c1", "weather"), clients=True)
    account.called(CallPiece("c2", "fetch"), clients=False)
    account.returned("c2", failed=True)
    told = await exported(Record("req_1", "POST", URL, agent_type="tutor", account=account))

    assert told["execute_tool weather"]["gen_ai.tool.type"] == "function"
    assert told["execute_tool fetch"]["error.type"] == "tool_error"


# An exporter that is down


def test_an_exporter_that_is_down_costs_a_line_now_and_then(letta: FakeLetta, caplog: pytest.LogCaptureFixture) -> None:
    settings = msgspec.structs.replace(settings_for(letta.base_url), traces=Traces(endpoint="http://127.0.0.1:9/v1"))
    with served(create_app(settings)) as url, http(url) as client:
        assert {client.post(URL, json=chat()).status_code for _ in range(3)} == {200}

    told = [record for record in caplog.records if "traces" in record.name]
    assert told
    assert {record.levelno for record in told} == {logging.WARNING}
    # One about the exporter, and one about the end.
    assert len(told) <= 2
    assert not logging.getLogger("opentelemetry").propagate


class Stuck(SpanExporter):
    """An exporter that never comes back."""

    def __init__(self, until: Any) -> None:
        self._until = until

    def export(self, spans: Any) -> SpanExportResult:
        self._until.wait(60)
        return SpanExportResult.SUCCESS


@pytest.mark.anyio
async def test_the_end_waits_for_the_last_spans_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.http.seen.traces.FLUSH_SECONDS", 0.05)
    let_go = threading.Event()
    traces = OtelTraces("http://127.0.0.1:9", Stuck(let_go))
    record = Record("req_1", "POST", URL, agent_type="tutor", seconds=1.0)
    traces.begin(record, "")
    traces.ended(record)
    await traces.aclose()
    let_go.set()

    assert caplog.messages == ["the last traces are lost: they could not be exported in time"]


# Settings


def test_traces_without_what_exports_them_are_refused_with_how_to_install_it(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[traces]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n')
    assert load(path, {}).traces.endpoint
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)

    with pytest.raises(SettingsError, match=r"traces.endpoint: .*pip install letta-gateway\[otel\]"):
        load(path, {})


def test_an_endpoint_that_is_no_address_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[traces]\nendpoint = "http://[::1"\n')

    with pytest.raises(SettingsError, match="traces.endpoint"):
        load(path, {})
