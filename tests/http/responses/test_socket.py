"""Responses over a WebSocket: one after the other, what a connection remembers, and how it ends."""

import json
import logging
import threading
from typing import Any

import msgspec
import pytest
from openai import APIStatusError, OpenAI
from websockets.exceptions import InvalidStatus

from gateway.app import create_app
from gateway.http.responses import socket as sockets
from gateway.settings import Allowance, Chats
from tests.gateways import KEY, PROGRAMS, TUTOR, gateway, http, sdk, settings_for
from tests.http.test_in_force import OTHER, PAGE, replaceable
from tests.http.test_outliving import until
from tests.http.test_record import lines_of
from tests.http.wire import Wire
from tests.servers.fake_letta import ANSWER, PING, STOP, THOUGHT, USAGE, WORD, FakeLetta, Hold
from tests.servers.threads import LIMITS, served
from tests.sockets import handshake, masked, refusal, socket, text_of

NOT_FOUND = (404, "previous_response_not_found", "previous_response_id")
CALL: dict[str, Any] = {"type": "function_call_output", "call_id": "call_none", "output": "No such call."}


def conversations(letta: FakeLetta) -> list[str]:
    """The conversation of each run."""
    runs = (path for method, path, _ in letta.requests if method == "POST" and path.endswith("/messages"))
    return [path.split("/")[-2] for path in runs]


# Answers


def test_its_frames_are_the_events_of_a_stream(letta: FakeLetta) -> None:
    letta.steps = [PING, THOUGHT, WORD, WORD, STOP, USAGE]
    with gateway(letta.base_url) as url, sdk(url) as client, socket(url) as connection:
        connection.send()
        frames = connection.answer()
        events = [*client.responses.create(model="tutor", input="Hi", user="ada", stream=True)]

    assert [frame["type"] for frame in frames] == [event.type for event in events]
    assert [frame["sequence_number"] for frame in frames] == [*range(len(frames))]
    assert text_of(frames[-1]["response"]) == "HelloHello"
    assert all("stream_id" not in frame for frame in frames)


# Of the SDK: it enters a connection of websockets' in its own way.
@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_openai_s_sdk_reads_them(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, client.responses.connect() as connection:
        connection.response.create(model="tutor", input="Hi", user="ada")
        done = next(event for event in connection if event.type == "response.completed")
        connection.response.create(model="tutor", input="More", user="ada", previous_response_id=done.response.id)
        more = next(event for event in connection if event.type == "response.completed")
        connection.response.create(model="tutor", input="And", user="ada", previous_response_id="resp_1")
        error: Any = connection.recv()

    assert (done.response.output_text, more.response.output_text) == ("Hello", "Hello")
    assert more.response.previous_response_id == done.response.id
    assert (error.type, error.status, error.error.code) == ("error", 404, "previous_response_not_found")
    assert error.error.headers["x-request-id"].startswith("req_")
    assert letta.said == [["Hi"], ["More"]]
    assert len(set(conversations(letta))) == 1


def test_what_is_asked_ahead_is_answered_in_its_turn(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.coming = [[PING, WORD, go_on, STOP, USAGE]]
    with gateway(letta.base_url) as url, socket(url) as connection:
        connection.send("one", stream_id="a")
        connection.send("two", model="none")
        connection.send("three", stream_id="c")
        first = connection.until("response.output_text.delta")
        go_on.set()
        first += connection.answer()
        second, third = connection.answer(), connection.answer()

    assert {frame["stream_id"] for frame in first} == {"a"}
    assert [refusal(frame) for frame in second] == [(404, "model_not_found", "model")]
    assert {frame["stream_id"] for frame in third} == {"c"}
    assert letta.said == [["one"], ["three"]]


def test_a_run_that_fails_at_once_is_an_error_and_later_a_response_that_has_failed(letta: FakeLetta) -> None:
    letta.coming = [[503], [PING, WORD, {"message_type": "error_message", "error_type": "internal_error"}]]
    with gateway(letta.base_url, first_event_seconds=20) as url, socket(url) as connection:
        at_once, later, then = connection.ask(), connection.ask(), connection.ask()

    assert (at_once["type"], at_once["status"]) == ("error", 502)
    assert (later["status"], later["error"]["code"]) == ("failed", "server_error")
    assert then["status"] == "completed"


def test_what_has_no_word_yet_is_begun_all_the_same(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.steps = [PING, go_on, *ANSWER[1:]]
    with gateway(letta.base_url, first_event_seconds=0.01) as url, socket(url) as connection:
        connection.send()
        assert [connection.read()["type"] for _ in range(2)] == ["response.created", "response.in_progress"]
        go_on.set()
        assert text_of(connection.answer()[-1]["response"]) == "Hello"


def test_a_run_that_fails_before_it_has_said_anything_is_an_error_however_late(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.steps = [PING, go_on, {"message_type": "error_message", "error_type": "internal_error"}]
    with gateway(letta.base_url, first_event_seconds=0.01) as url, socket(url) as connection:
        connection.send(store=False)
        frames = connection.until("response.in_progress")
        go_on.set()
        frames = connection.answer()

    assert [refusal(frame)[0] for frame in frames] == [502]


def test_a_kept_response_is_there_on_other_connections_and_over_http(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client:
        with socket(url) as connection:
            id = connection.ask()["id"]
        with socket(url) as connection:
            more = connection.ask("More", previous_response_id=id)
        assert client.responses.retrieve(more["id"]).output_text == "Hello"
        client.responses.create(model="tutor", input="And", user="ada", previous_response_id=more["id"])

    assert letta.said == [["Hi"], ["More"], ["And"]]
    assert len(set(conversations(letta))) == 1


# Those that are not kept


def test_what_is_not_kept_is_gone_on_with_on_its_connection(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, socket(url) as connection:
        first = connection.ask("one", store=False)
        second = connection.ask("two", store=False, previous_response_id=first["id"])
        # What follows in a chat that is not kept is not kept either.
        third = connection.ask("three", previous_response_id=second["id"])
        connection.ask("four", store=False, previous_response_id=third["id"])
        connection.ask("elsewhere", store=False, previous_response_id=first["id"])
        kept = status_of(client, third["id"])

    assert [third["store"], kept] == [False, 404]
    assert letta.said[:4] == [["one"], ["two"], ["three"], ["four"]]
    assert letta.said[4][-1] == "elsewhere"
    begun = conversations(letta)
    assert len(set(begun[:4])) == 1
    assert begun[4] != begun[0]


def status_of(client: OpenAI, id: str) -> int:
    """The status of the answer to who asks for a response."""
    try:
        client.responses.retrieve(id)
    except APIStatusError as error:
        return error.status_code
    return 200


def test_what_is_not_kept_is_not_there_on_another_connection(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url:
        with socket(url) as connection:
            id = connection.ask(store=False)["id"]
        with socket(url) as connection:
            assert connection.refused("More", store=False, previous_response_id=id) == NOT_FOUND
            assert connection.ask("Anew", store=False)["status"] == "completed"

    assert letta.said == [["Hi"], ["Anew"]]


FAILING: dict[str, dict[str, Any]] = {
    "results of no call": {"input": [CALL]},
    "a model that is none": {"input": "More", "model": "none"},
    "no input": {"input": None},
}


@pytest.mark.parametrize("more", [{"store": False}, {"generate": False}], ids=["not kept", "prepared"])
def test_what_is_remembered_is_its_own_user_s(letta: FakeLetta, more: dict[str, Any]) -> None:
    with gateway(letta.base_url) as url, socket(url) as connection:
        id = connection.ask("Hi", **more)["id"]
        for users in ({"user": "bob"}, {"user": "bob", "model": "none"}, {"user": ""}):
            assert connection.ask("Mine?", previous_response_id=id, **users)["type"] == "error"
        assert connection.refused("Mine?", previous_response_id=id, user="bob") == NOT_FOUND
        assert connection.ask("More", previous_response_id=id)["status"] == "completed"

    assert [text for said in letta.said for text in said] == ["Hi", "More"]


@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_after_a_failure_what_is_not_kept_is_forgotten(letta: FakeLetta, failing: dict[str, Any]) -> None:
    with gateway(letta.base_url) as url, socket(url) as connection:
        id = connection.ask(store=False)["id"]
        failed = connection.ask(**failing, store=False, previous_response_id=id)
        assert failed["type"] == "error"
        assert connection.refused("More", store=False, previous_response_id=id) == NOT_FOUND

    assert letta.said == [["Hi"]]


def test_a_connection_remembers_the_last_ones_only(letta: FakeLetta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.responses.frames.MOST_RECALLED", 2)
    with gateway(letta.base_url) as url, socket(url) as connection:
        ids = [connection.ask(store=False, input=f"{i}")["id"] for i in range(3)]
        assert connection.refused("More", previous_response_id=ids[0]) == NOT_FOUND
        assert connection.ask("More", previous_response_id=ids[1])["status"] == "completed"


# Those that are prepared


def test_what_is_prepared_is_said_with_the_request_that_goes_on_with_it(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, socket(url) as connection:
        connection.send("one", generate=False, instructions="Be kind.", stream_id="a")
        frames = connection.answer()
        prepared = frames[-1]["response"]
        assert letta.runs == []
        assert len(letta.agents) == 1
        more = connection.ask("two", previous_response_id=prepared["id"])

    assert [frame["type"] for frame in frames] == ["response.created", "response.in_progress", "response.completed"]
    assert [frame["sequence_number"] for frame in frames] == [0, 1, 2]
    assert (prepared["status"], prepared["output"], prepared["usage"]["total_tokens"]) == ("completed", [], 0)
    assert more["previous_response_id"] == prepared["id"]
    assert letta.said == [["one", "two"]]


@pytest.mark.parametrize("store", [True, False], ids=["kept", "not kept"])
def test_it_goes_on_where_it_said_and_nothing_more_need_be_said(letta: FakeLetta, store: bool) -> None:
    with gateway(letta.base_url) as url, socket(url) as connection:
        first = connection.ask("one", store=store)
        prepared = connection.ask(
            [{"role": "user", "content": "two"}], store=store, generate=False, previous_response_id=first["id"]
        )
        again = connection.ask("three", store=store, generate=False, previous_response_id=prepared["id"])
        connection.ask([], store=store, previous_response_id=again["id"])
        connection.ask("four", store=store, previous_response_id=prepared["id"])

    assert [text for said in letta.said[:2] for text in said] == ["one", "two", "three"]
    assert [text for text in letta.said[2] if text in ("two", "three", "four")] == ["two", "four"]
    assert len(set(conversations(letta)[:2])) == 1


NOT_PREPARED: dict[str, tuple[dict[str, Any], tuple[int, str, str | None]]] = {
    "a model that is none": ({"model": "none"}, (404, "model_not_found", "model")),
    "a person that is none": ({"user": ""}, (400, "user_required", "user")),
    "another's response": ({"previous_response_id": "resp_1"}, NOT_FOUND),
    "no input that can be read": ({"input": [{"role": "nobody"}]}, (400, "invalid_request_error", "input[0].role")),
}


@pytest.mark.parametrize(("more", "refused"), NOT_PREPARED.values(), ids=NOT_PREPARED)
def test_a_request_that_could_not_be_answered_is_not_prepared(
    letta: FakeLetta, more: dict[str, Any], refused: tuple[int, str, str | None]
) -> None:
    with gateway(letta.base_url) as url, socket(url) as connection:
        assert connection.refused(**{"input": "Hi", **more}, generate=False) == refused


def test_nothing_need_be_said_to_prepare_and_another_connection_knows_nothing_of_it(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url:
        with socket(url) as connection:
            prepared = connection.ask([], generate=False)
            connection.ask("one", previous_response_id=prepared["id"])
        with socket(url) as connection:
            assert connection.refused("two", previous_response_id=prepared["id"]) == NOT_FOUND

    assert letta.said == [["one"]]


def test_what_is_prepared_is_no_larger_than_a_request(letta: FakeLetta) -> None:
    half = "x" * (600 * 1024)
    with gateway(letta.base_url, max_body_mb=1) as url, socket(url) as connection:
        ids = [connection.ask(half, generate=False)["id"] for _ in range(2)]
        assert connection.refused("more", previous_response_id=ids[0]) == NOT_FOUND
        assert connection.refused(half, previous_response_id=ids[1])[:2] == (413, "request_too_large")

    assert letta.runs == []


# Connections that are refused

SIGNED_OUT = {"authorization": ""}
# headers and path -> status and code
UPGRADES: dict[str, tuple[dict[str, Any], int, str]] = {
    "no key": ({"key": None}, 401, "invalid_api_key"),
    "a wrong key": ({"key": "wrong"}, 401, "invalid_api_key"),
    "a page that may use no key": ({"origin": "https://evil.example"}, 403, "origin_not_allowed"),
    "a page that may use another key": ({"origin": PAGE}, 403, "origin_not_allowed"),
    "no page": ({"origin": "null"}, 403, "origin_not_allowed"),
    "another address": ({"path": "/v1/chat/completions"}, 404, "unknown_url"),
    "a response": ({"path": "/v1/responses/resp_1"}, 404, "unknown_url"),
}


def refused_upgrade(url: str, **more: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as raised, socket(url, **more):
        pass
    response = raised.value.response
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["content-type"] == "application/json"
    return response.status_code, json.loads(response.body or b"")["error"]["code"]


@pytest.mark.parametrize(("more", "status", "code"), UPGRADES.values(), ids=UPGRADES)
def test_a_connection_that_may_not_be_opened_is_refused_as_a_request_is(
    letta: FakeLetta, more: dict[str, Any], status: int, code: str
) -> None:
    with gateway(letta.base_url, keys=(PROGRAMS, OTHER)) as url:
        assert refused_upgrade(url, **more) == (status, code)


OPEN: dict[str, tuple[dict[str, str], int, str]] = {
    "another host": ({"host": "gateway.example"}, 403, "host_not_allowed"),
    "another page": ({"host": "localhost", "origin": "https://evil.example"}, 403, "origin_not_allowed"),
}


@pytest.mark.parametrize(("headers", "status", "code"), OPEN.values(), ids=OPEN)
def test_without_keys_only_this_machine_opens_one(
    letta: FakeLetta, headers: dict[str, str], status: int, code: str
) -> None:
    with gateway(letta.base_url, keys=()) as url, Wire(url) as wire:
        answer = wire.send(handshake(authorization="", **headers)).answer()
        assert (answer.status, answer.json()["error"]["code"]) == (status, code)


def test_pages_that_may_use_the_key_and_this_machine_s_open_one(letta: FakeLetta) -> None:
    with gateway(letta.base_url, keys=(PROGRAMS, OTHER)) as url:
        for key, origin in (("sk-other", PAGE), (KEY, url)):
            with socket(url, key, origin=origin) as connection:
                assert connection.ask()["status"] == "completed"
    with gateway(letta.base_url, keys=()) as url, socket(url, None, origin="http://localhost:3000") as connection:
        assert connection.ask()["status"] == "completed"


NO_HANDSHAKES: dict[str, dict[str, str]] = {
    "no key of its own": {"sec_websocket_key": ""},
    "a key that is none": {"sec_websocket_key": "abc"},
    "another version": {"sec_websocket_version": "8"},
    "another protocol": {"upgrade": "h2c"},
}


@pytest.mark.parametrize("headers", NO_HANDSHAKES.values(), ids=NO_HANDSHAKES)
def test_what_is_no_handshake_is_answered_as_a_request(letta: FakeLetta, headers: dict[str, str]) -> None:
    with gateway(letta.base_url) as url, Wire(url) as wire:
        answer = wire.send(handshake(**headers)).answer()
        assert answer.refusal == (405, "invalid_request_error", "method_not_supported")


def test_a_gateway_that_is_about_to_end_opens_none(letta: FakeLetta) -> None:
    app = create_app(settings_for(letta.base_url))
    app.state.parts.door.closed = True
    with served(app) as url:
        assert refused_upgrade(url) == (503, "overloaded")


# Frames

INVALID = (400, "invalid_request_error")
FRAMES: dict[str, tuple[str | bytes, tuple[int, str, str | None]]] = {
    "nothing": ("", (*INVALID, None)),
    "no JSON": ("{", (*INVALID, None)),
    "no text": (b"\xff\xfe", (*INVALID, None)),
    "no object": ("[]", (*INVALID, None)),
    "no type": ('{"model": "tutor"}', (*INVALID, "type")),
    "another event": ('{"type": "response.steer"}', (*INVALID, "type")),
    "no model": ('{"type": "response.create"}', (*INVALID, "model")),
    "a number for a name": ('{"type": "response.create", "stream_id": 1}', (*INVALID, "stream_id")),
    "a name as long as a book": (
        json.dumps({"type": "response.create", "model": "tutor", "input": "Hi", "user": "ada", "stream_id": "a" * 257}),
        (*INVALID, "stream_id"),
    ),
    "in the background": (
        '{"type": "response.create", "background": true}',
        (400, "unsupported_parameter", "background"),
    ),
    "deep": ('{"type": "response.create", "model": ' + "[" * 100_000, (*INVALID, None)),
}


@pytest.mark.parametrize(("frame", "refused"), FRAMES.values(), ids=FRAMES)
def test_a_frame_that_is_no_request_is_an_error_and_the_connection_stays(
    letta: FakeLetta, frame: str | bytes, refused: tuple[int, str, str | None]
) -> None:
    with gateway(letta.base_url) as url, socket(url) as connection:
        connection.connection.send(frame)
        assert refusal(connection.read()) == refused
        assert connection.ask(stream=True, background=False)["status"] == "completed"


def test_a_name_of_256_characters_is_repeated_and_a_longer_one_is_not(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, socket(url) as connection:
        connection.send(stream_id="a" * 256)
        assert {frame["stream_id"] for frame in connection.answer()} == {"a" * 256}
        connection.send(stream_id="a" * 257)
        assert "stream_id" not in connection.read()


def test_a_frame_that_is_too_large_ends_the_connection(letta: FakeLetta) -> None:
    with gateway(letta.base_url, max_body_mb=1) as url, socket(url) as connection:
        connection.send("x" * (1024 * 1024))
        assert connection.closed()[0] == 1009


def test_more_than_can_wait_ends_the_connection(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.steps = [PING, WORD, go_on, STOP, USAGE]
    with gateway(letta.base_url) as url, socket(url) as connection:
        connection.send()
        connection.until("response.output_text.delta")
        for _ in range(sockets.MOST_AHEAD + 1):
            connection.connection.send("{}")
        connection.connection.ping().wait(10)
        go_on.set()
        assert connection.answer()[-1]["type"] == "response.completed"
        assert connection.closed() == (1008, "too much was asked for at once")


# Ids of others


def test_another_person_s_responses_and_conversations_are_not_there(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, sdk(url) as client, socket(url) as connection:
        kept = client.responses.create(model="tutor", input="Hi", user="ada").id
        mine = connection.ask(store=False)["id"]
        said = len(letta.runs)
        for id in (kept, mine, f"{kept[:-1]}A", "resp_1", "", "\ud83d", "x" * 5000):
            refused = connection.refused("More", user="bob", previous_response_id=id)
            assert refused in (NOT_FOUND, (*INVALID, "previous_response_id"))
        with socket(url, "sk-front", x_openwebui_user_id="ada") as other:
            assert other.refused("More", previous_response_id=kept) == NOT_FOUND

    assert len(letta.runs) == said


# Limits


def test_each_response_counts_for_the_limits_of_its_key(letta: FakeLetta) -> None:
    key = msgspec.structs.replace(PROGRAMS, user_limits=Allowance(requests_per_minute=1))
    with gateway(letta.base_url, keys=(key,)) as url, socket(url) as connection:
        prepared = connection.ask(generate=False)
        assert connection.ask("More", previous_response_id=prepared["id"])["status"] == "completed"
        connection.send("And")
        refused = connection.read()

    assert refusal(refused)[:2] == (429, "rate_limit_exceeded")
    assert "retry-after" in refused["headers"]
    assert refused["headers"]["x-ratelimit-limit-requests"] == "1"


def test_each_response_counts_among_the_answers_at_one_time(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.coming = [[PING, WORD, go_on, STOP, USAGE]]
    with gateway(letta.base_url, max_streams=1) as url, socket(url) as one, socket(url) as other, http(url) as client:
        one.send()
        one.until("response.output_text.delta")
        assert other.refused("More")[:2] == (503, "overloaded")
        assert client.post("/v1/responses", json={"model": "tutor", "input": "Hi"}).status_code == 503
        go_on.set()
        one.answer()
        assert other.ask("And")["status"] == "completed"


def test_each_response_has_a_line_in_the_log_and_so_has_the_connection(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")
    who = "key=programs model=tutor agent=tutor-*"
    with gateway(letta.base_url) as url, socket(url) as connection:
        connection.ask()
        connection.ask(model="none")
        connection.ask(generate=False)
        connection.connection.close()
        lines = lines_of(caplog, 4)

    assert lines == [
        f"WS /v1/responses 200 {who} first=*ms",
        "WS /v1/responses 404 model_not_found key=programs asked=none param=model",
        "WS /v1/responses 200 key=programs model=tutor",
        "GET /v1/responses 101 key=programs",
    ]


# Clients that leave, and that take nothing


def test_a_client_that_leaves_stops_its_answer(letta: FakeLetta) -> None:
    letta.steps = [PING, WORD, Hold()]
    with gateway(letta.base_url, chats=Chats(grace_seconds=0.1)) as url:
        with socket(url) as connection:
            connection.send()
            connection.until("response.output_text.delta")
        assert letta.cancelled.wait(10)


def test_where_the_key_says_so_an_answer_goes_on_without_its_client(letta: FakeLetta) -> None:
    go_on = threading.Event()
    letta.steps = [PING, WORD, go_on, STOP, USAGE]
    key = msgspec.structs.replace(PROGRAMS, on_disconnect="finish")
    with gateway(letta.base_url, keys=(key,), chats=Chats(grace_seconds=0.1)) as url, sdk(url) as client:
        with socket(url) as connection:
            connection.send()
            id = connection.read()["response"]["id"]
        go_on.set()
        *_, ended = client.responses.retrieve(id, stream=True)

    assert ended.type == "response.completed"
    assert not letta.cancelled.is_set()


def test_one_that_goes_on_without_its_client_counts_until_its_end(
    letta: FakeLetta, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")
    go_on = threading.Event()
    letta.coming = [[PING, WORD, go_on, STOP, USAGE]]
    key = msgspec.structs.replace(PROGRAMS, on_disconnect="finish", user_limits=Allowance(streams=1))
    with gateway(letta.base_url, keys=(key,), chats=Chats(grace_seconds=0.1)) as url, http(url) as client:

        def remaining() -> int:
            told: int = client.get("/v1/usage", params={"user": "ada"}).json()["limits"][0]["remaining"]
            return told

        with socket(url) as connection:
            connection.send()
            connection.until("response.output_text.delta")
        assert "client_left" in " ".join(lines_of(caplog, 2))
        assert remaining() == 0
        with socket(url) as connection:
            assert connection.refused("More")[:2] == (429, "rate_limit_exceeded")
        go_on.set()
        until(lambda: remaining() == 1)
        with socket(url) as connection:
            assert connection.ask("And")["status"] == "completed"


LONG = [{**WORD, "content": f"{i:05} " + "x" * 9_994} for i in range(1_000)]


def test_a_client_that_reads_late_gets_all_in_order_and_once(letta: FakeLetta) -> None:
    told = threading.Event()

    class Telling(threading.Event):
        """Told when Letta has said what comes before it."""

        def wait(self, timeout: float | None = None) -> bool:
            told.set()
            return True

    letta.steps = [PING, *LONG, Telling(), STOP, USAGE]
    with gateway(letta.base_url) as url, socket(url) as connection:
        connection.send()
        assert told.wait(30)
        frames = connection.answer()

    deltas = [frame["delta"] for frame in frames if frame["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "".join(str(one["content"]) for one in LONG)


def test_a_client_that_takes_nothing_for_the_time_is_one_that_left(letta: FakeLetta) -> None:
    letta.steps = [PING, *LONG, Hold()]
    limits = msgspec.structs.replace(LIMITS, unread_seconds=0.2)
    asked = json.dumps({"type": "response.create", "model": "tutor", "input": "Hi", "user": "ada"})
    with gateway(letta.base_url, limits=limits, chats=Chats(grace_seconds=0.1)) as url, Wire(url) as wire:
        wire.send(handshake()).until("x-request-id")
        wire.send(masked(asked))
        assert letta.cancelled.wait(30)
        assert wire.size_of_rest() < sum(len(str(one["content"])) for one in LONG)


# Ends


def test_a_key_that_is_taken_away_ends_its_connections(letta: FakeLetta) -> None:
    with replaceable(letta) as gateway, socket(gateway.url) as connection, socket(gateway.url, "sk-other") as other:
        connection.ask()
        gateway.take_up(keys=(OTHER,))
        assert refusal(connection.read())[:2] == (401, "invalid_api_key")
        assert connection.closed()[0] == 1008
        assert other.ask()["status"] == "completed"


def test_an_answer_of_a_key_that_is_taken_away_ends_with_its_connection(letta: FakeLetta) -> None:
    letta.steps = [PING, WORD, Hold()]
    with replaceable(letta, chats=Chats(grace_seconds=0.1)) as gateway, socket(gateway.url) as connection:
        connection.send()
        connection.until("response.output_text.delta")
        gateway.take_up(keys=(OTHER,))
        assert connection.answer()[-1]["response"]["status"] == "failed"
        assert connection.closed()[0] == 1008
        assert letta.cancelled.wait(10)


def test_a_model_that_is_new_is_there_on_a_connection_that_is_open(letta: FakeLetta) -> None:
    cook = msgspec.structs.replace(TUTOR, id="cook")
    with replaceable(letta) as gateway, socket(gateway.url) as connection:
        gateway.take_up(agent_types=(cook,))
        assert connection.refused()[1] == "model_not_found"
        assert connection.ask(model="cook")["status"] == "completed"


def test_a_connection_on_which_nothing_is_asked_is_closed(letta: FakeLetta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "QUIET_SECONDS", 0.05)
    with gateway(letta.base_url) as url, socket(url) as connection:
        assert connection.closed() == (1000, "nothing was asked for")


def test_no_connection_lasts_for_ever(letta: FakeLetta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "LASTING_SECONDS", 0.05)
    with gateway(letta.base_url) as url, socket(url) as connection:
        assert refusal(connection.read()) == (400, "websocket_connection_limit_reached", None)
        assert connection.closed()[0] == 1001


def test_a_client_that_answers_no_ping_is_one_that_left(letta: FakeLetta) -> None:
    limits = msgspec.structs.replace(LIMITS, unread_seconds=0.1)
    with gateway(letta.base_url, limits=limits, ping_seconds=0.1) as url, Wire(url) as wire:
        wire.send(handshake()).until("x-request-id")
        assert wire.size_of_rest() > 0
