"""The lines of the log: those about one request can be put together, whoever writes them, and others name none."""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.domain import errors
from gateway.domain.events import TokensCounted
from gateway.http.record import REQUEST_ID, Record
from gateway.letta.upstream import Sending
from gateway.logs import LINE_FORMAT, JsonFormatter, RequestFormatter
from tests.gateways import GatewayProcess, chat, gateway, http, settings_for
from tests.letta.app_server.parked import MINE
from tests.letta.app_server.test_memory_tools import block, call
from tests.letta.app_server.upstreams import run, upstream_of
from tests.servers.fake_app_server import FakeAppServer
from tests.servers.fake_letta import PING, FakeLetta
from tests.servers.threads import served
from tests.turns.memory_letta import MemoryLetta

CHAT = "/v1/chat/completions"


class Lines(StringIO):
    """The log as it is written."""

    def about(self, id: str) -> list[str]:
        """The lines that name a request, without their dates."""
        return [line.split(" ", 2)[2] for line in self.getvalue().splitlines() if id in line]


@pytest.fixture
def log() -> Iterator[Lines]:
    lines, root = Lines(), logging.getLogger()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(RequestFormatter(LINE_FORMAT))
    ours = logging.getLogger("gateway")
    ours.setLevel(logging.INFO)
    root.addHandler(handler)
    yield lines
    root.removeHandler(handler)
    ours.setLevel(logging.NOTSET)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_failure_is_one_line_a_warning_with_the_id_of_its_request(log: Lines, stream: bool) -> None:
    with FakeLetta() as letta, gateway(letta.base_url, first_event_seconds=20) as url, http(url) as client:
        letta.steps = [PING, {"message_type": "stop_reason", "stop_reason": "llm_api_error"}]
        ids = [client.post(CHAT, json=chat(text, stream=stream)).headers["x-request-id"] for text in ("one", "two")]

    for id in ids:
        (line,) = log.about(id)
        assert line.startswith(f"WARNING gateway.access {id} POST {CHAT} 502 ")
        assert line.endswith('why="ModelFailed: stop_reason llm_api_error"')


def test_a_bug_is_logged_with_the_id_of_its_request(log: Lines) -> None:
    letta = MemoryLetta()
    letta.fail("create_agent", RuntimeError("secret"))
    with served(create_app(settings_for("http://letta"), upstream=letta)) as url, http(url) as client:
        id = client.post(CHAT, json=chat()).headers["x-request-id"]

    bug, line = log.about(id)
    assert bug == f"ERROR gateway.http.errors {id} unexpected RuntimeError"
    assert line.startswith(f"WARNING gateway.access {id} POST {CHAT} 500 ")


def test_what_a_client_does_wrong_is_no_warning(log: Lines) -> None:
    with FakeLetta() as letta, gateway(letta.base_url) as url, http(url) as client:
        id = client.post(CHAT, json=chat(model="none")).headers["x-request-id"]

    (line,) = log.about(id)
    assert line.startswith(f"INFO gateway.access {id} POST {CHAT} 404 ")


def test_a_line_of_no_request_names_none(log: Lines) -> None:
    logging.getLogger("gateway.app").warning("started")

    assert log.getvalue().endswith(" WARNING gateway.app started\n")


@pytest.mark.anyio
async def test_what_an_app_server_sends_is_logged_for_the_request_that_it_is_about(log: Lines) -> None:
    async with FakeAppServer() as server:
        upstream = upstream_of(server)
        server.turn = []
        server.answers |= {**block(), "write_memory_file": {"success": False, "error": "ENOSPC"}}
        REQUEST_ID.set("req_first")
        await upstream.list_models()
        REQUEST_ID.set("req_second")
        running = asyncio.create_task(run(upstream, Sending([MINE])))
        await server.arrived("input")
        REQUEST_ID.set("")
        await call(server, "1")
        await server.arrived("external_tool_call_response")
        server.cut()
        with pytest.raises(errors.BrokenStream):
            await running
        await upstream.aclose()

    assert "the connection to the App Server broke" in log.getvalue()
    assert log.about("req_first") == []
    assert log.about("req_second") == [
        "WARNING gateway.letta.app_server.memory_tools req_second "
        "a memory tool failed: NoSpace: write_memory_file was refused"
    ]


# Lines as JSON


def as_json(record: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", told.pop("time"))
    return told


def logged(*args: object, text: str = "%s", name: str = "gateway.access") -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, __file__, 0, text, args, None)


def test_the_line_of_a_request_has_its_fields_by_name_and_none_that_is_not_known() -> None:
    record = Record("req_1", "POST", CHAT, key="programs", streamed=True, joined=True, status=200)
    record.seconds, record.first_frame_seconds, record.tokens = 1.5, 0.25, TokensCounted(3, 2, 5)
    record.why = 'a "quoted" word'

    assert as_json(logged(record)) == {
        "level": "WARNING",
        "logger": "gateway.access",
        "request": "req_1",
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "ms": 1500,
        "key": "programs",
        "joined": True,
        "first": 250,
        "tokens": {"prompt": 3, "completion": 2},
        "why": 'a "quoted" word',
    }


def test_any_other_line_has_its_message_and_the_request_that_it_is_about() -> None:
    line = logged("here", text="broken %s\nand twice", name="gateway.letta")
    alone = as_json(line)
    of_none = REQUEST_ID.set("req_1")
    told = as_json(line)
    REQUEST_ID.reset(of_none)

    assert alone == {"level": "WARNING", "logger": "gateway.letta", "message": "broken here\nand twice"}
    assert told == {**alone, "request": "req_1"}


def test_a_traceback_is_a_member_of_its_line() -> None:
    line = logged("here")
    try:
        raise ValueError("no")
    except ValueError:
        line.exc_info = sys.exc_info()

    assert as_json(line)["traceback"].endswith("ValueError: no")


def test_serve_writes_json_where_its_settings_say_so(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    tables = (
        '[log]\nformat = "json"',
        '[letta]\nbase_url = "http://127.0.0.1:9"',
        '[[agent_types]]\nid = "a"\nmodel = "m"',
    )
    config.write_text("\n\n".join(tables))
    with GatewayProcess(config) as process, http(process.base_url) as client:
        id = client.get("/v1/models").headers["x-request-id"]
        process.stop()
    lines = [json.loads(line) for line in process.log]

    (line,) = [line for line in lines if line.get("request") == id]
    assert (line["logger"], line["path"], line["status"]) == ("gateway.access", "/v1/models", 200)
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
