"""The programs of the benchmark: a mock that speaks as Letta does, and a load that counts every token."""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.benchmarks.bench import Bench
from tests.benchmarks.candidates import Kind, Program, own_checkout
from tests.benchmarks.machine import places
from tests.benchmarks.native import Load
from tests.readme import ROOT

RUNS = ROOT / "tests" / "runs"
LOAD = Load(streams=5, content=7, thoughts=3, per_second=0, ramp_ms=0)
TOKENS = 5 * (7 + 3)
RUNTIME = {"agent_id": "agent-local-1", "conversation_id": "local-conv-1"}


@pytest.fixture(scope="module")
def native_programs(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed (Debian: apt-get install gcc libc6-dev)")
    return Bench(tmp_path_factory.mktemp("bench"), *places(nice=0))


@pytest.fixture(scope="module")
def letta(native_programs: Bench) -> Iterator[Program]:
    with native_programs.letta() as program:
        yield program


@pytest.fixture
def rest(letta: Program) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{letta.port}") as client:
        yield client


@pytest.fixture
def app_server(letta: Program) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{letta.port}/ws", proxy=None) as socket:
        yield socket


def _ask(socket: ClientConnection, type: str, **fields: Any) -> dict[str, Any]:
    socket.send(json.dumps({"type": type, "request_id": "asked", **fields}))
    return dict(json.loads(socket.recv(10)))


def _shape(value: Any) -> Any:
    """A JSON value with its names alone."""
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    return [_shape(one) for one in value[:1]] if isinstance(value, list) else None


def _shapes(messages: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The shapes that there are of each kind of message."""
    shapes: defaultdict[str, list[Any]] = defaultdict(list)
    for message in messages:
        kind = message.get("message_type") or f"{message['type']} {message.get('delta', {}).get('message_type')}"
        # Runs are names, and of messages that took none there is no list.
        loop = message.get("loop_status", {})
        if "client_message_ids_by_run_id" in loop:
            loop["client_message_ids_by_run_id"] = {"run": [*loop["client_message_ids_by_run_id"].values()][0]}
        if _shape(message) not in shapes[kind]:
            shapes[kind].append(_shape(message))
    return dict(shapes)


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")]


def test_a_stream_over_rest_has_the_messages_that_were_recorded(rest: httpx.Client) -> None:
    asked = {"messages": [{"role": "user", "content": "BENCH:2:2:0:0:0:"}]}

    said = rest.post("/v1/conversations/conv-0/messages", json=asked).text

    assert _shapes(_events(said)) == _shapes(_events((RUNS / "plain-answer.sse").read_text(encoding="utf-8")))
    assert said.endswith("data: [DONE]\n\n")


def test_a_turn_on_an_app_server_has_the_frames_that_were_recorded(app_server: ClientConnection) -> None:
    message = {"role": "user", "content": "BENCH:2:2:0:0:0:", "client_message_id": "c1"}
    recorded = (RUNS / "app-server" / "plain-answer.jsonl").read_text(encoding="utf-8")

    answer = _ask(app_server, "input", runtime=RUNTIME, payload={"kind": "create_message", "messages": [message]})
    frames = [json.loads(app_server.recv(10))]
    while frames[-1]["type"] != "turn_finished":
        frames.append(json.loads(app_server.recv(10)))

    assert (answer["accepted"], answer["disposition"]) == (True, "started")
    assert {frame["runtime"]["conversation_id"] for frame in frames} == {"local-conv-1"}
    assert _shapes(frames) == _shapes([json.loads(line) for line in recorded.splitlines()])


def test_an_agent_is_found_by_all_of_its_tags_and_by_no_other(rest: httpx.Client) -> None:
    metadata = {"letta_gateway": {"template": "a]}"}}
    made = rest.post("/v1/agents/", json={"tags": ["gateway", "a b", "gw-user:1"], "metadata": metadata}).json()

    def found(*tags: str) -> list[str]:
        return [agent["id"] for agent in rest.get("/v1/agents/", params={"tags": tags}).json()]

    assert found("gateway", "a b") == found("gw-user:1") == [made["id"]]
    assert found("gateway", "gw-user:2") == []
    assert rest.get(f"/v1/agents/{made['id']}").json()["metadata"] == metadata


def test_an_agent_on_an_app_server_has_the_tags_that_it_was_given_last(app_server: ClientConnection) -> None:
    made = _ask(app_server, "agent_create", body={"tags": ["gw-making:1"]})["agent"]
    _ask(app_server, "agent_update", agent_id=made["id"], body={"tags": ["gateway", 'gw-metadata:{"a":"b"}']})

    def found(*tags: str) -> list[str]:
        return [agent["id"] for agent in _ask(app_server, "agent_list", query={"tags": tags})["agents"]]

    assert found("gateway", 'gw-metadata:{"a":"b"}') == [made["id"]]
    assert found("gw-making:1") == []


def test_who_asks_the_mock_itself_gets_every_token(native_programs: Bench, letta: Program) -> None:
    arrived = native_programs.load(letta, LOAD, "letta")

    assert (arrived.events, arrived.lost) == (TOKENS, 0)
    assert 0 < arrived.p50_us <= arrived.p99_us <= arrived.max_us


def test_the_yardstick_loses_no_token(native_programs: Bench, letta: Program) -> None:
    with native_programs.yardstick(own_checkout(None).python, letta) as yardstick:
        arrived = native_programs.load(yardstick, LOAD)

    assert (arrived.events, arrived.lost) == (TOKENS, 0)


@pytest.mark.parametrize("kind", ["rest", "app-server"])
def test_a_gateway_before_the_mock_loses_no_token(native_programs: Bench, letta: Program, kind: Kind) -> None:
    with native_programs.gateway(own_checkout(None), kind, letta) as gateway:
        measured = native_programs.measure(gateway, LOAD, letta)

    assert (measured.arrived.events, measured.arrived.lost) == (TOKENS, 0)
    assert measured.cpu_seconds > 0


def test_a_stream_that_is_cut_short_is_lost(native_programs: Bench, letta: Program, tmp_path: Path) -> None:
    arrived = native_programs.load(letta, Load(streams=2, content=50, per_second=1, ramp_ms=0, timeout_s=1), "letta")

    assert arrived.lost == 2
