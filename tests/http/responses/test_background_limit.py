"""The limits of responses in the background: how many a person may begin an hour, and a gateway has under way."""

import logging
import threading
from typing import Any

import pytest
from openai import InternalServerError, RateLimitError

from gateway.settings import Responses
from tests.gateways import gateway, http, sdk
from tests.servers.fake_letta import PING, STOP, USAGE, WORD, FakeLetta
from tests.workers import by_three_too

ASKED: dict[str, Any] = {"model": "tutor", "input": "Hi", "user": "ada"}
BACKGROUND = {**ASKED, "background": True}
TWO = Responses(background_per_hour=2)


@by_three_too
def test_one_more_is_refused_with_the_time_to_wait(letta: FakeLetta) -> None:
    with gateway(letta.base_url, responses=TWO) as url, sdk(url) as client:
        begun = [client.responses.create(**BACKGROUND), *client.responses.create(**BACKGROUND, stream=True)]
        with pytest.raises(RateLimitError) as caught:
            client.responses.create(**BACKGROUND)
        # What somebody waits for, and what others ask for, is another matter.
        client.responses.create(**ASKED)
        client.responses.create(**{**BACKGROUND, "user": "bob"})
    error = caught.value

    assert begun
    assert (error.status_code, error.code, error.param) == (429, "rate_limit_exceeded", "background")
    assert "You can begin 2 answers an hour in the background." in str(error)
    assert 1700 < int(error.response.headers["retry-after"]) <= 1800


@by_three_too
def test_a_request_that_is_sent_again_takes_nothing(letta: FakeLetta) -> None:
    named = {"Idempotency-Key": "one"}
    with gateway(letta.base_url, responses=TWO) as url, sdk(url) as client:
        ids = {client.responses.create(**BACKGROUND, extra_headers=named).id for _ in range(5)}
        client.responses.create(**BACKGROUND)
        again = client.responses.create(**BACKGROUND, extra_headers=named).id

    assert ids == {again}


def test_the_record_names_the_limit(letta: FakeLetta, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with gateway(letta.base_url, responses=Responses(background_per_hour=0)) as url, http(url) as client:
        assert client.post("/v1/responses", json=BACKGROUND).status_code == 429

    assert any("user.background_per_hour" in line.getMessage() for line in caplog.records)


def test_one_that_is_refused_for_what_it_says_takes_nothing(letta: FakeLetta) -> None:
    with gateway(letta.base_url, responses=TWO) as url, http(url) as client:
        for _ in range(5):
            assert client.post("/v1/responses", json={**BACKGROUND, "model": "nobody"}).status_code == 404
        assert client.post("/v1/responses", json=BACKGROUND).status_code == 200


@pytest.mark.parametrize("stream", [False, True], ids=["at once", "streamed"])
def test_one_that_nobody_waits_for_is_among_the_answers_under_way_until_its_run_is_over(
    letta: FakeLetta, stream: bool
) -> None:
    go_on = threading.Event()
    letta.coming = [[PING, WORD, go_on, STOP, USAGE]]
    with gateway(letta.base_url, max_streams=1) as url, sdk(url) as client:
        if stream:
            with client.responses.create(**BACKGROUND, stream=True) as answer:
                id = next(event.response.id for event in answer if event.type == "response.created")
        else:
            id = client.responses.create(**BACKGROUND).id
        assert letta.run_begun.wait(10)
        with pytest.raises(InternalServerError, match="as many answers under way as it takes"):
            client.responses.create(**{**ASKED, "user": "bob"})
        go_on.set()
        with client.responses.retrieve(id, stream=True) as events:
            assert [event.type for event in events][-1] == "response.completed"
        assert client.responses.create(**{**ASKED, "user": "bob"}).output_text
