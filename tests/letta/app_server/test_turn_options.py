"""What one turn's model is called with on an App Server: set with the turn, and gone with it, however it ends."""

import asyncio
import logging
from typing import Any

import pytest

from gateway.domain import errors
from gateway.domain.request import Options
from gateway.letta.app_server import turns
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.upstream import Sending
from tests.letta.app_server.parked import CANCELLED, MINE, NEXT, TOOLS, calling, go_on, impatient, resume, sunny, wanted
from tests.letta.app_server.upstreams import run
from tests.servers.fake_app_server import FakeAppServer, Frame, word

pytestmark = pytest.mark.anyio

SHORT = Sending([MINE], tools=TOOLS, options=Options(max_tokens=7))
SET: dict[str, Any] = {"max_tokens": 7}
RESET: dict[str, Any] = {}


def settings(server: FakeAppServer) -> list[dict[str, Any]]:
    """What conversations' models were to be called with, in order."""
    bodies = [frame["body"] for frame in server.sent("conversation_update")]
    return [body["model_settings"] for body in bodies if "model_settings" in body]


def before_the_first_input(server: FakeAppServer) -> list[str]:
    return [frame["type"] for frame in server.sent("conversation_update", "input")][:2]


async def test_a_turn_has_its_limit_and_the_next_has_none(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    await run(upstream, SHORT)
    await run(upstream, Sending([NEXT]))

    assert settings(server) == [SET, RESET]
    assert before_the_first_input(server) == ["conversation_update", "input"]


async def test_a_limit_holds_while_the_turn_waits_for_its_client(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = calling("weather")
    await run(upstream, SHORT)
    assert settings(server) == [SET]

    going_on = resume(upstream, sunny("c1"))
    await server.send(wanted("weather", "c1"))
    await server.arrived("external_tool_call_response")
    await go_on(server)
    await going_on
    assert settings(server) == [SET, RESET]


async def test_a_limit_is_gone_once_a_turn_that_waited_is_ended(server: FakeAppServer) -> None:
    upstream = impatient(server, 0.01)
    server.turn = calling("weather")
    await run(upstream, SHORT)
    await server.arrived("abort_message")
    await go_on(server, CANCELLED)
    await server.arrived("conversation_update", 2)

    assert settings(server) == [SET, RESET]
    await upstream.aclose()


FAILED: Frame = {"type": "turn_finished", "stop_reason": "error", "error": "500: no"}


async def test_a_limit_is_gone_after_a_turn_that_failed(server: FakeAppServer, upstream: AppServerUpstream) -> None:
    server.turn = [FAILED]
    with pytest.raises(errors.ModelFailed):
        await run(upstream, SHORT)

    assert settings(server) == [SET, RESET]


async def test_a_limit_is_gone_where_the_message_was_refused(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers["input"] = {"accepted": False, "error": "no"}
    with pytest.raises(errors.Refused):
        await run(upstream, SHORT)

    assert settings(server) == [SET, RESET]


async def test_a_limit_is_gone_where_the_connection_broke_while_the_turn_waited(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "ENDING_SECONDS", 0.01)
    server.turn = calling("weather")
    await run(upstream, SHORT)
    server.cut()
    await server.connected(2)
    with pytest.raises(errors.Stuck):
        await run(upstream, sunny("c1"))

    assert settings(server) == [SET, RESET]


async def test_a_limit_that_cannot_be_set_is_an_error_before_anything_is_sent(
    server: FakeAppServer, upstream: AppServerUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["conversation_update"] = {"success": False, "error": "secret"}
    with caplog.at_level(logging.WARNING), pytest.raises(errors.Refused):
        await run(upstream, SHORT)

    assert server.sent("input") == []
    assert [record.getMessage() for record in caplog.records] == [
        "a conversation's settings could not be reset: Refused: conversation_update was refused"
    ]


async def test_who_leaves_before_the_turn_has_begun_leaves_no_limit(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.answers["input"] = None
    running = asyncio.create_task(run(upstream, SHORT))
    await server.arrived("input")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert settings(server) == [SET, RESET]


async def test_who_is_cancelled_again_while_the_limit_is_taken_off_waits_for_that(
    server: FakeAppServer, upstream: AppServerUpstream
) -> None:
    server.turn = [word("Hel")]
    running = asyncio.create_task(run(upstream, SHORT))
    await server.arrived("input")
    server.answers["conversation_update"] = None
    running.cancel()
    reset = await server.arrived("conversation_update", 2)
    running.cancel()
    await asyncio.wait([running], timeout=0.05)
    assert not running.done()
    await server.reply(reset, success=True)
    with pytest.raises(asyncio.CancelledError):
        await running

    assert settings(server) == [SET, RESET]
