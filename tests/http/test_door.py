"""The way in to a gateway that is about to end: what it still answers, and what it does not."""

import httpx
import pytest

from gateway.app import create_app
from tests.gateways import KEY, chat, settings_for
from tests.servers.fake_letta import FakeLetta
from tests.servers.threads import served

ASKED = {
    "an answer": ("POST", "/v1/chat/completions"),
    "an answer by another spelling": ("POST", "//v1/chat/completions/"),
    "the models": ("GET", "/v1/models"),
    "a model": ("GET", "/v1/models/tutor"),
    "what is not served": ("POST", "/v1/embeddings"),
}


@pytest.mark.parametrize(("method", "path"), ASKED.values(), ids=ASKED)
def test_once_the_door_is_closed_nothing_of_the_api_is_answered(letta: FakeLetta, method: str, path: str) -> None:
    app = create_app(settings_for(letta.base_url))
    app.state.parts.door.closed = True
    with served(app) as url, httpx.Client(headers={"authorization": f"Bearer {KEY}"}) as client:
        refused = client.request(method, f"{url}{path}", json=chat() if method == "POST" else None)

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
    assert refused.headers["x-request-id"]
    assert letta.said == []


def test_once_the_door_is_closed_it_is_alive_and_not_ready(letta: FakeLetta) -> None:
    app = create_app(settings_for(letta.base_url))
    with served(app) as url, httpx.Client(base_url=url) as client:
        before = client.get("/readyz").status_code
        app.state.parts.door.closed = True
        statuses = [client.get(path).status_code for path in ("/healthz", "/readyz", "/connect")]

    assert (before, statuses) == (200, [200, 503, 200])
