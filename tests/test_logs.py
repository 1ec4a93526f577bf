"""The lines of the log: those about one request can be put together, whoever writes them, and others name none."""

import asyncio
import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from gateway.app import create_app
from gateway.domain import errors
from gateway.http.record import REQUEST_ID
from gateway.letta.upstream import Sending
from gateway.logs import LINE_FORMAT, RequestFormatter
from tests.gateways import chat, gateway, http, settings_for
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
