"""Limits of keys and their users as clients meet them, and what each caller is told of its usage."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import jwt
import openai
import pytest

from gateway.app import create_app
from gateway.limits.usage_file import FILE_NAME
from gateway.settings import OPEN_KEY, Allowance, Key, Secret, Tasks, UserSource
from gateway.turns.chats.markers import user_digest
from tests.gateways import KEY, chat, gateway, http, sdk, settings_for
from tests.http.asgi import call, post
from tests.http.seen.numbers import of, until
from tests.servers.fake_letta import ANSWER, PING, THOUGHT, WORD, Cut, FakeLetta, Hold
from tests.servers.scripted_model import ScriptedModel
from tests.turns.memory_letta import MemoryLetta
from tests.workers import by_three_too

T = TypeVar("T")
URL, USAGE = "/v1/chat/completions", "/v1/usage"
# What FakeLetta tells of each answer.
TOLD = 5


def programs(user: Allowance | None = None, all: Allowance | None = None, **fields: Any) -> Key:
    limits = {"user_limits": user or Allowance(), "limits": all or Allowance()}
    return Key(**{"name": "programs", "key": Secret(KEY), **limits, **fields})


@contextmanager
def limited(letta: FakeLetta, key: Key, *others: Key, **changes: Any) -> Iterator[str]:
    with gateway(letta.base_url, keys=(key, *others), **changes) as url:
        yield url


def used(client: httpx.Client, user: str = "ada", **headers: str) -> dict[str, Any]:
    """What a user is told of today; it is counted when the run has ended, which may be a moment after its answer."""
    told = client.get(USAGE, params={"user": user}, headers=headers).raise_for_status().json()
    assert told["today"]["total_tokens"] == told["month"]["total_tokens"]
    today: dict[str, Any] = told["today"]
    return today


def eventually(look: Callable[[], T], fits: Callable[[T], bool]) -> T:
    """What is seen once it fits."""
    until = time.monotonic() + 10
    while not fits(seen := look()):
        assert time.monotonic() < until, seen
        time.sleep(0.005)
    return seen


def used_at_last(client: httpx.Client, answers: int, user: str = "ada") -> dict[str, Any]:
    """What a user is told once so many runs are counted."""
    return eventually(lambda: used(client, user), lambda told: told["answers"] >= answers)


# Refusals, as the SDK sees them


def test_the_sdk_raises_a_rate_limit_error_with_the_code_the_headers_and_a_sentence_for_people(
    letta: FakeLetta,
) -> None:
    with limited(letta, programs(Allowance(requests_per_minute=1))) as url, sdk(url) as client:
        client.chat.completions.create(**chat())
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**chat(stream=True))
    error = caught.value

    assert (error.status_code, error.code, error.type) == (429, "rate_limit_exceeded", "requests")
    assert "You can send 1 message a minute. You can go on in" in str(error)
    assert 0 < int(error.response.headers["retry-after"]) <= 60
    assert error.response.headers["x-ratelimit-limit-requests"] == "1"
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert len(letta.runs) == 1


def test_the_sdk_that_may_retry_waits_as_it_is_told_and_has_its_answer(letta: FakeLetta) -> None:
    with limited(letta, programs(Allowance(requests_per_minute=60))) as url, http(url) as plain, sdk(url) as client:
        eventually(lambda: plain.post(URL, json=chat()).status_code, lambda status: status == 429)
        answer = client.with_options(max_retries=2).chat.completions.create(**chat())

    assert answer.choices[0].message.content


def test_the_sdk_does_not_retry_when_a_budget_is_spent(letta: FakeLetta) -> None:
    with limited(letta, programs(Allowance(tokens_per_day=TOLD))) as url, sdk(url) as client:
        client.chat.completions.create(**chat())
        with http(url) as plain:
            used_at_last(plain, 1)
        with pytest.raises(openai.RateLimitError) as caught:
            client.with_options(max_retries=5).chat.completions.create(**chat())
    error = caught.value

    assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota")
    assert "Your 5 tokens for today are used up. You can go on tomorrow at 00:00 UTC." in str(error)
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.headers["x-ratelimit-remaining-tokens"] == "0"
    assert len(letta.runs) == 1


# What successes say


HEADED = {
    "x-ratelimit-limit-requests": "9",
    "x-ratelimit-remaining-requests": "8",
    "x-ratelimit-limit-tokens": "100",
    "x-ratelimit-remaining-tokens": "100",
}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_an_answer_tells_what_remains(letta: FakeLetta, streamed: bool) -> None:
    key = programs(Allowance(requests_per_minute=9, tokens_per_day=100))
    with limited(letta, key) as url, http(url) as client:
        headers = client.post(URL, json=chat(stream=streamed)).headers

    assert {name: headers[name] for name in HEADED} == HEADED
    assert headers["x-ratelimit-reset-requests"] == "7s"
    assert headers["x-ratelimit-reset-tokens"].endswith("s")


def test_without_limits_nothing_is_told(letta: FakeLetta) -> None:
    with limited(letta, programs()) as url, http(url) as client:
        headers = client.post(URL, json=chat()).headers

    assert [name for name in headers if name.startswith("x-ratelimit")] == []


def test_a_web_page_may_read_what_is_told(letta: FakeLetta) -> None:
    origin = "https://page.example"
    key = programs(Allowance(requests_per_minute=9), origins=(origin,))
    with limited(letta, key) as url, http(url) as client:
        told = client.post(URL, json=chat(), headers={"origin": origin}).headers["access-control-expose-headers"]

    assert {"retry-after", "x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens", "x-request-id"} <= {
        name.strip() for name in told.split(",")
    }


# Who pays


@by_three_too
def test_two_people_of_one_key_never_pay_for_each_other(letta: FakeLetta) -> None:
    key = programs(Allowance(requests_per_minute=1, tokens_per_day=TOLD), Allowance(tokens_per_day=3 * TOLD))
    with limited(letta, key) as url, http(url) as client:
        statuses = [client.post(URL, json=chat(user=user)).status_code for user in ("ada", "bob", "ada", "bob", "cy")]
        told = [used_at_last(client, 1, user)["total_tokens"] for user in ("ada", "bob", "cy")]
        everybody = client.post(URL, json=chat(user="dora"))

    assert statuses == [200, 200, 429, 429, 200]
    assert told == [TOLD, TOLD, TOLD]
    assert everybody.json()["error"]["message"].startswith("The 15 tokens of all who use this key are used up")


@by_three_too
def test_a_budget_is_overdrawn_once_and_then_it_is_spent(letta: FakeLetta) -> None:
    with limited(letta, programs(Allowance(tokens_per_month=TOLD + 1))) as url, http(url) as client:
        answers = [client.post(URL, json=chat()) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert "this month" in answers[2].json()["error"]["message"]


@by_three_too
def test_a_request_that_is_sent_again_is_free(letta: FakeLetta) -> None:
    key = programs(Allowance(requests_per_minute=1, streams=1, tokens_per_day=TOLD))
    named = {"idempotency-key": "order-7"}
    with limited(letta, key) as url, http(url) as client:
        answers = [client.post(URL, json=chat(), headers=named) for _ in range(3)]
        told = used_at_last(client, 1)

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert (told["answers"], told["total_tokens"]) == (1, TOLD)


@by_three_too
def test_two_that_come_at_once_under_one_name_are_paid_once(letta: FakeLetta) -> None:
    held = threading.Event()
    letta.steps = [PING, WORD, held, *ANSWER[3:]]
    body, named = chat(stream=True), {"idempotency-key": "order-7"}
    key = programs(Allowance(requests_per_minute=1, streams=1))
    with limited(letta, key) as url, http(url) as one, http(url) as two:
        with one.stream("POST", URL, json=body, headers=named) as first:
            with two.stream("POST", URL, json=body, headers=named) as second:
                held.set()
                assert (first.status_code, second.status_code) == (200, 200)
                second.read()
            first.read()
        assert used_at_last(one, 1)["answers"] == 1


@pytest.mark.parametrize("task", [{"x-task": "title_generation"}, {"x-task": "tags_generation"}])
def test_a_background_task_that_the_gateway_answers_is_free(letta: FakeLetta, task: dict[str, str]) -> None:
    key = programs(Allowance(requests_per_minute=1, streams=1, tokens_per_day=1), Allowance(tokens_per_day=1))
    with limited(letta, key) as url, http(url) as client:
        assert [client.post(URL, json=chat(), headers=task).status_code for _ in range(3)] == [200] * 3
        assert used(client)["answers"] == 0
        assert client.post(URL, json=chat()).status_code == httpx.codes.OK


def test_a_background_task_that_a_plain_model_answers_is_paid_by_all_who_use_the_key(
    letta: FakeLetta, model: ScriptedModel
) -> None:
    tasks = Tasks(answer="model", base_url=model.base_url, model="offline")
    key = programs(Allowance(requests_per_minute=1), Allowance(tokens_per_day=1))
    headers = {"x-task": "title_generation"}
    with limited(letta, key, tasks=tasks) as url, http(url) as client:
        assert client.post(URL, json=chat("!say Tea"), headers=headers).status_code == httpx.codes.OK
        refused = eventually(
            lambda: client.post(URL, json=chat("!say Tea"), headers=headers), lambda told: told.status_code == 429
        )

        assert refused.json()["error"]["code"] == "insufficient_quota"
        assert used(client)["answers"] == 0


# Answers under way


def leaves(url: str, body: dict[str, Any]) -> None:
    """A client that leaves as soon as the answer has begun."""
    with http(url) as client, client.stream("POST", URL, json=body) as response:
        next(response.iter_bytes())


def reads(url: str, body: dict[str, Any]) -> None:
    with http(url) as client:
        client.post(URL, json=body)


STREAM, WHOLE = chat(stream=True), chat()
# what Letta does, and how the client takes it
ENDS: dict[str, tuple[list[Any], Callable[[str, dict[str, Any]], None], dict[str, Any]]] = {
    "a stream that is read": (ANSWER, reads, STREAM),
    "a whole answer": (ANSWER, reads, WHOLE),
    "a stream that is left": ([PING, THOUGHT, WORD, Hold()], leaves, STREAM),
    "a stream that breaks": ([PING, THOUGHT, WORD, Cut()], reads, STREAM),
    "a whole answer that breaks": ([PING, THOUGHT, WORD, Cut()], reads, WHOLE),
    "an error before the first word": ([500, {"detail": "x"}], reads, STREAM),
    "an error in place of a whole answer": ([500, {"detail": "x"}], reads, WHOLE),
}


@pytest.mark.parametrize("how", ENDS)
def test_an_answer_under_way_is_over_however_it_ends(letta: FakeLetta, how: str) -> None:
    steps, takes, body = ENDS[how]
    letta.coming = [steps]
    with limited(letta, programs(Allowance(streams=1))) as url, http(url) as client:
        takes(url, body)
        limits = eventually(
            lambda: client.get(USAGE, params={"user": "ada"}).json()["limits"], lambda told: told[0]["remaining"] > 0
        )

        assert [(one["name"], one["limit"], one["remaining"]) for one in limits] == [("streams", 1, 1)]
        assert client.post(URL, json=chat()).status_code == httpx.codes.OK


@pytest.mark.anyio
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_answer_whose_client_has_left_before_it_began_is_over(streamed: bool) -> None:
    key = programs(Allowance(streams=1))
    app = create_app(settings_for("http://letta", keys=(key,)), MemoryLetta())
    body = {"type": "http.request", "body": json.dumps(chat(stream=streamed)).encode(), "more_body": False}
    async with app.lifespan():
        for _ in range(3):
            sent = await call(app, post(), body, {"type": "http.disconnect"})
            assert [one["status"] for one in sent if one["type"] == "http.response.start"] != [429]
        standings = await app.state.parts.gate.standings(key, user_digest("programs", "ada"))
        assert [one.remaining for one in standings] == [1]


@by_three_too
@pytest.mark.parametrize("body", [STREAM, WHOLE], ids=["streamed", "whole"])
def test_one_more_answer_than_may_be_under_way_is_refused(letta: FakeLetta, body: dict[str, Any]) -> None:
    held = threading.Event()
    letta.steps = [PING, THOUGHT, held, WORD, *ANSWER[3:]]
    with limited(letta, programs(Allowance(streams=1))) as url, http(url) as client, http(url) as other:
        asking = threading.Thread(target=lambda: client.post(URL, json=body))
        asking.start()
        assert letta.run_begun.wait(10)
        refused = other.post(URL, json=chat(metadata={"chat_id": "other"}))
        held.set()
        somebody_else = other.post(URL, json=chat(user="bob", stream=True))
        asking.join()

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.json()["error"]["message"].startswith("You can have 1 answer under way at one time.")
    assert somebody_else.status_code == httpx.codes.OK


def test_a_wrong_request_takes_nothing(letta: FakeLetta) -> None:
    key = programs(Allowance(requests_per_minute=1, streams=1))
    with limited(letta, key) as url, http(url) as client:
        for wrong in (chat(model="none"), chat(n=2), {**chat(), "messages": []}):
            assert client.post(URL, json=wrong).status_code in (400, 404)
        assert client.post(URL, json=chat()).status_code == httpx.codes.OK


def test_the_log_names_the_limit_and_nobody(letta: FakeLetta, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="gateway.access")
    with limited(letta, programs(Allowance(requests_per_minute=1))) as url, http(url) as client:
        for _ in range(2):
            client.post(URL, json=chat(user="secret-user"))
    line = next(line for line in caplog.messages if " 429 " in line)

    assert " ms rate_limit_exceeded key=programs model=tutor agent=tutor-" in line
    assert line.endswith(" limit=user.requests_per_minute")
    assert "secret" not in caplog.text


def test_whoever_watches_sees_which_limit_refused(letta: FakeLetta) -> None:
    key = programs(Allowance(requests_per_minute=1), metrics=True)
    with limited(letta, key) as url, http(url) as client:
        for _ in range(2):
            client.post(URL, json=chat())
        seen = until(url, KEY, "letta_gateway_limits_hit_total", limit="user.requests_per_minute", key="programs")

    assert of(seen, "letta_gateway_limits_hit_total") == 1


# What a run costs that does not end well


def test_a_stopped_answer_is_estimated_and_said_to_be(letta: FakeLetta) -> None:
    letta.steps = [PING, {**WORD, "content": "x" * 40}, Hold()]
    with limited(letta, programs()) as url, http(url) as client:
        leaves(url, chat("y" * 20, stream=True))
        told = used_at_last(client, 1)

    # Letta says one word more when it has been told: 45 characters.
    estimated = {"answers": 1, "input_tokens": 5, "output_tokens": 12, "total_tokens": 17, "estimated_tokens": 17}
    assert estimated.items() <= told.items()


def test_an_answer_that_failed_is_counted_as_far_as_it_came(letta: FakeLetta) -> None:
    letta.steps = [PING, {**WORD, "content": "x" * 40}, Cut()]
    with limited(letta, programs()) as url, http(url) as client:
        client.post(URL, json=chat("y" * 20))
        told = used_at_last(client, 1)

    assert (told["total_tokens"], told["estimated_tokens"]) == (15, 15)


# A restart


def test_days_and_months_survive_a_restart(letta: FakeLetta, tmp_path: Path) -> None:
    key = programs(Allowance(tokens_per_day=TOLD))
    with limited(letta, key, state=str(tmp_path / "state")) as url, http(url) as client:
        assert client.post(URL, json=chat()).status_code == httpx.codes.OK
    with limited(letta, key, state=str(tmp_path / "state")) as url, http(url) as client:
        assert client.post(URL, json=chat()).status_code == httpx.codes.TOO_MANY_REQUESTS
        assert client.post(URL, json=chat(user="bob")).status_code == httpx.codes.OK
        told = client.get(USAGE, params={"user": "ada"}).json()

    assert (told["today"]["answers"], told["today"]["total_tokens"], told["counted_since"]) == (1, TOLD, None)
    assert b"ada" not in (tmp_path / "state" / FILE_NAME).read_bytes()


def test_without_a_place_to_keep_it_it_is_said_since_when_is_counted(letta: FakeLetta) -> None:
    with limited(letta, programs()) as url, http(url) as client:
        told = client.get(USAGE, params={"user": "ada"}).json()

    assert told["today"]["start_time"] <= told["counted_since"] <= told["today"]["end_time"]


# Who is told what of whom

SECRET = "0123456789abcdef0123456789abcdef"
FRONT = Key(name="front", key=Secret("sk-front"), user_from=(UserSource("header:X-User"),))
SIGNED = Key(name="signed", key=Secret("sk-signed"), user_from=(UserSource("jwt:X-Jwt"),), jwt_secret=Secret(SECRET))
BOUND = Key(name="bound", key=Secret("sk-bound"), user="ada")
HOUSE = Key(name="house", key=Secret("sk-house"), user_means="ignored")
GUESTS = Key(name="guests", key=Secret("sk-guests"), default_user="guest")
SAFE = Key(name="safe", key=Secret("sk-safe"), user_from=(UserSource("body:safety_identifier"),))


def token(sub: str) -> str:
    return jwt.encode({"sub": sub, "iss": "open-webui", "exp": 4_000_000_000}, SECRET, "HS256")


# the key, how a chat names its user, how the usage is asked for -> the status, and the answers that are told
SEEN: dict[str, tuple[Key, dict[str, Any], dict[str, Any], int, int]] = {
    "one's own, by the body": (programs(), {"json": chat(user="ada")}, {"params": {"user": "ada"}}, 200, 1),
    "somebody else's, by the body, who is somebody else": (
        programs(),
        {"json": chat(user="ada")},
        {"params": {"user": "bob"}},
        200,
        0,
    ),
    "nobody's": (programs(), {"json": chat(user="ada")}, {}, 400, 0),
    "two people's at once": (programs(), {"json": chat()}, {"params": [("user", "ada"), ("user", "bob")]}, 400, 0),
    "a key's without its header, by a name in the query": (
        FRONT,
        {"headers": {"x-user": "ada"}},
        {"params": {"user": "ada"}},
        400,
        0,
    ),
    "one's own, by a header, whatever the query says": (
        FRONT,
        {"headers": {"x-user": "ada"}},
        {"headers": {"x-user": "ada"}, "params": {"user": "bob"}},
        200,
        1,
    ),
    "one's own, by a header, not that of the query": (
        FRONT,
        {"headers": {"x-user": "ada"}},
        {"headers": {"x-user": "bob"}, "params": {"user": "ada"}},
        200,
        0,
    ),
    "one's own, by a token": (
        SIGNED,
        {"headers": {"x-jwt": token("ada")}},
        {"headers": {"x-jwt": token("ada")}, "params": {"user": "bob"}},
        200,
        1,
    ),
    "somebody else's, by a forged token": (
        SIGNED,
        {"headers": {"x-jwt": token("ada")}},
        {"headers": {"x-jwt": token("ada")[:-4] + "AAAA"}},
        401,
        0,
    ),
    "of a key that is one person": (BOUND, {"json": chat(user="x")}, {"params": {"user": "bob"}}, 200, 1),
    "of a house": (HOUSE, {"json": chat(user="x")}, {"params": {"user": "bob"}}, 200, 1),
    "of a guest": (GUESTS, {"json": {**chat(), "user": ""}}, {}, 200, 1),
    "by the other field of the body": (
        SAFE,
        {"json": {**chat(), "safety_identifier": "ada"}},
        {"params": {"safety_identifier": "ada"}},
        200,
        1,
    ),
    "with another key": (programs(), {"json": chat()}, {"headers": {"authorization": "Bearer sk-none"}}, 401, 0),
    "without a key": (programs(), {"json": chat()}, {"headers": {"authorization": ""}}, 401, 0),
    "of the same person at another key": (
        programs(),
        {"json": chat()},
        {"headers": {"authorization": "Bearer sk-guests"}, "params": {"user": "ada"}},
        200,
        0,
    ),
}


@pytest.mark.parametrize("what", SEEN)
def test_everybody_is_told_of_himself_alone(letta: FakeLetta, what: str) -> None:
    key, asks, looks, status, answers = SEEN[what]
    others = [] if key in (GUESTS,) else [GUESTS]
    assert key.key
    with limited(letta, key, *others) as url, http(url, key.key.reveal()) as client:
        client.post(URL, **{"json": chat(), **asks}).raise_for_status()
        told = eventually(
            lambda: client.get(USAGE, **looks),
            lambda told: status != httpx.codes.OK or told.json()["today"]["answers"] >= answers,
        )

    assert told.status_code == status, told.text
    if status == httpx.codes.OK:
        assert told.json()["today"]["answers"] == answers
        assert set(told.json()) == {"object", "today", "month", "limits", "counted_since"}


def test_a_web_page_from_elsewhere_is_told_nothing(letta: FakeLetta) -> None:
    page = programs(name="page", key=Secret("sk-page"), origins=("https://page.example",))
    with limited(letta, programs(), page) as url, http(url) as client:
        listed = client.get(USAGE, params={"user": "ada"}, headers={"origin": "https://page.example"})
        unknown = client.get(USAGE, params={"user": "ada"}, headers={"origin": "https://evil.example"})
        own = client.get(
            USAGE,
            params={"user": "ada"},
            headers={"origin": "https://page.example", "authorization": "Bearer sk-page"},
        )

    assert (listed.status_code, own.status_code) == (403, 200)
    assert "access-control-allow-origin" not in unknown.headers


def test_without_keys_this_machine_is_told(letta: FakeLetta) -> None:
    with gateway(letta.base_url, keys=()) as url, httpx.Client(base_url=url) as client:
        client.post(URL, json={**chat(), "user": OPEN_KEY.default_user}).raise_for_status()
        told = eventually(lambda: client.get(USAGE), lambda told: told.json()["today"]["answers"] > 0)
        refused = client.get(USAGE, headers={"origin": "https://evil.example"})

    assert told.json()["today"]["total_tokens"] == TOLD
    assert refused.status_code == httpx.codes.FORBIDDEN


def test_the_limits_and_what_remains_of_them_are_told(letta: FakeLetta) -> None:
    key = programs(Allowance(requests_per_minute=10, streams=3, tokens_per_day=100), Allowance(tokens_per_month=1000))
    with limited(letta, key) as url, http(url) as client:
        client.post(URL, json=chat())
        used_at_last(client, 1)
        limits = client.get(USAGE, params={"user": "ada"}).json()["limits"]

    assert [(one["scope"], one["name"], one["limit"], one["remaining"]) for one in limits] == [
        ("user", "requests_per_minute", 10, 9),
        ("user", "streams", 3, 3),
        ("user", "tokens_per_day", 100, 95),
        ("key", "tokens_per_month", 1000, 995),
    ]
