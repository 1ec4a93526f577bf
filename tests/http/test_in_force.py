"""Settings that are replaced while requests are under way: which of them read the new ones, and which end."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from litestar.types import Receive, Scope, Send

from gateway.app import create_app
from gateway.http.in_force import InForce
from gateway.settings import Key, Secret, Settings
from tests.gateways import PROGRAMS, TUTOR, chat, http, settings_for
from tests.servers.fake_letta import ANSWER, PING, FakeLetta, Hold
from tests.servers.threads import served

URL = "/v1/chat/completions"
PAGE = "https://page.example.org"
OTHER = Key(name="other", key=Secret("sk-other"), scope="programs", origins=(PAGE,))
MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


class Gateway:
    """A gateway in a thread, whose settings can be replaced."""

    def __init__(self, url: str, settings: Settings, in_force: InForce, loops: list[asyncio.AbstractEventLoop]) -> None:
        self.url = url
        self._settings = settings
        self._in_force = in_force
        self._loops = loops

    def take_up(self, **changes: Any) -> None:
        """Replace these of its settings, and return when that is done."""

        async def replace() -> None:
            self._in_force.take_up(msgspec.structs.replace(self._settings, **changes))

        asyncio.run_coroutine_threadsafe(replace(), self._loops[0]).result(10)


@contextmanager
def replaceable(letta: FakeLetta, *keys: Key, **more: Any) -> Iterator[Gateway]:
    settings = settings_for(letta.base_url, keys=keys or (PROGRAMS, OTHER), **more)
    app, loops = create_app(settings), list[asyncio.AbstractEventLoop]()
    in_force = app.state.parts.in_force

    async def noting_its_loop(scope: Scope, receive: Receive, send: Send) -> None:
        loops.append(asyncio.get_running_loop())
        await app(scope, receive, send)

    with served(noting_its_loop) as url:
        yield Gateway(url, settings, in_force, loops)


@MODES
def test_an_answer_of_a_key_that_is_taken_away_before_its_first_word_is_a_401(letta: FakeLetta, stream: bool) -> None:
    letta.steps = [PING, Hold()]
    with (
        replaceable(letta, first_event_seconds=20) as gateway,
        http(gateway.url) as client,
        ThreadPoolExecutor() as pool,
    ):
        asked = pool.submit(client.post, URL, json=chat(stream=stream))
        assert letta.run_begun.wait(10)
        gateway.take_up(keys=(OTHER,))
        refused = asked.result(10)

    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert refused.json()["error"]["message"] == "This API key is no longer valid."


def test_a_stream_of_a_key_that_is_taken_away_ends_with_an_error_after_what_was_said(letta: FakeLetta) -> None:
    letta.steps = [*ANSWER[:-2], Hold()]
    with replaceable(letta) as gateway, http(gateway.url) as client:
        with client.stream("POST", URL, json=chat(stream=True)) as response:
            lines = response.iter_lines()
            seen = [next(lines)]
            gateway.take_up(keys=(OTHER,))
            seen += lines
        assert letta.cancelled.wait(10)

    *_, error, done = [line.removeprefix("data: ") for line in seen if line.startswith("data: ")]
    assert json.loads(error)["error"]["code"] == "invalid_api_key"
    assert done == "[DONE]"


@MODES
def test_answers_of_other_keys_go_on(letta: FakeLetta, stream: bool) -> None:
    more = threading.Event()
    letta.steps = [PING, more, *ANSWER]
    with (
        replaceable(letta, first_event_seconds=20) as gateway,
        http(gateway.url, "sk-other") as client,
        ThreadPoolExecutor() as pool,
    ):
        asked = pool.submit(client.post, URL, json=chat(stream=stream))
        assert letta.run_begun.wait(10)
        gateway.take_up(keys=(OTHER,))
        more.set()
        answer = asked.result(10)

    assert answer.status_code == 200
    assert "invalid_api_key" not in answer.text


def test_a_key_that_is_taken_away_while_its_request_is_read_opens_nothing(letta: FakeLetta) -> None:
    body = json.dumps(chat()).encode()
    with replaceable(letta) as gateway, http(gateway.url) as client:
        client.get("/v1/models")

        def slowly() -> Iterator[bytes]:
            yield body[:10]
            gateway.take_up(keys=(OTHER,))
            yield body[10:]

        # The first byte has the key looked at, or the last one has: either is before the answer.
        refused = client.post(URL, content=slowly(), headers={"content-type": "application/json"})

    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


def test_pages_of_a_key_that_is_new_may_use_it(letta: FakeLetta) -> None:
    asking = {"origin": PAGE, "access-control-request-method": "POST"}
    with replaceable(letta, PROGRAMS) as gateway, httpx.Client(base_url=gateway.url) as client:
        before = client.options(URL, headers=asking)
        gateway.take_up(keys=(PROGRAMS, OTHER))
        after = client.options(URL, headers=asking)

    assert "access-control-allow-origin" not in before.headers
    assert (after.status_code, after.headers["access-control-allow-origin"]) == (204, PAGE)


def test_a_model_that_is_taken_away_is_none(letta: FakeLetta) -> None:
    cook = msgspec.structs.replace(TUTOR, id="cook")
    with replaceable(letta) as gateway, http(gateway.url) as client:
        gateway.take_up(agent_types=(cook,))
        models = [each["id"] for each in client.get("/v1/models").json()["data"]]
        refused = client.post(URL, json=chat())

    assert models == ["cook", "task"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
