"""Loops of tools over a WebSocket on every Letta, by what the model received."""

import json
from typing import Any

import pytest

from tests.gateways import gateway
from tests.integration.test_responses import TOOLS
from tests.integration.words import someone, unheard
from tests.programs import CALLS
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.sockets import Frame, Socket, socket, text_of
from tests.workers import ONE_GATEWAY

pytestmark = pytest.mark.parametrize("letta", ONE_GATEWAY, indirect=True, scope="session")
kept_or_not = pytest.mark.parametrize("store", [True, False], ids=["kept", "not kept"])


def outputs(called: Frame, *results: str) -> list[Frame]:
    """The results of a response's calls."""
    calls = [item for item in called["output"] if item["type"] == "function_call"]
    assert [json.loads(call["arguments"]) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    return [
        {"type": "function_call_output", "call_id": call["call_id"], "output": result}
        for call, result in zip(calls, results, strict=True)
    ]


@kept_or_not
def test_a_loop_of_tools_goes_on_on_its_connection(letta: RealLetta, model: ScriptedModel, store: bool) -> None:
    script, sunny, more, other = f"{CALLS}\n{unheard()}", unheard("sunny"), unheard("more"), unheard("other")
    asked: dict[str, Any] = {"tools": TOOLS, "store": store, "user": someone()}
    with gateway(letta) as url, socket(url) as connection:
        called = connection.ask(script, **asked)
        answered = connection.ask(outputs(called, sunny, "noon"), **asked, previous_response_id=called["id"])
        prepared = connection.ask(more, **asked, generate=False, previous_response_id=answered["id"])
        assert model.said(more) == []
        connection.ask([], **asked, previous_response_id=prepared["id"])
        connection.ask(other, **asked, previous_response_id=answered["id"])

    assert sunny in text_of(answered)
    roles = ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert [role for role, _ in model.said_once(more)] == roles
    # Another way out of the same place: there is nothing of the first in it.
    assert more not in str(model.said_once(other))
    assert text_of(answered) in [text for _, text in model.said_once(other)]


def test_results_may_come_on_another_connection(letta: RealLetta, model: ScriptedModel) -> None:
    script, sunny, user = f"{CALLS}\n{unheard()}", unheard("sunny"), someone()

    def ask(connection: Socket, input: Any, **more: Any) -> Frame:
        return connection.ask(input, tools=TOOLS, user=user, **more)

    with gateway(letta) as url:
        with socket(url) as connection:
            called = ask(connection, script)
        with socket(url) as connection:
            answered = ask(connection, outputs(called, sunny, "noon"), previous_response_id=called["id"])

    assert sunny in text_of(answered)


@kept_or_not
def test_results_of_no_call_fail_and_what_is_not_kept_is_forgotten(
    letta: RealLetta, model: ScriptedModel, store: bool
) -> None:
    text, asked = unheard("two"), {"store": store, "user": someone()}
    with gateway(letta) as url, socket(url) as connection:
        first = connection.ask(unheard("one"), **asked)
        result = {"type": "function_call_output", "call_id": "call_none", "output": "No such call."}
        failed = connection.ask([result], **asked, previous_response_id=first["id"])
        assert (failed["status"], failed["error"]["code"]) == (404, "previous_response_not_found")
        then = connection.ask(text, **asked, previous_response_id=first["id"])

    assert then.get("type") == (None if store else "error")
    assert len(model.said(text)) == store
