"""Pictures that requests show by address: fetched over real TLS, so that Letta gets bytes and no address."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.settings import Images
from tests.gateways import chat, gateway, http
from tests.pictures.drawn import Picture, picture
from tests.servers.fake_letta import FakeLetta
from tests.servers.picture_server import PictureServer, answer, fetcher_of, leading_to

Json = dict[str, Any]
URL = "/v1/chat/completions"
FETCHING = Images(fetch=True)
ANSWER: Json = {"role": "assistant", "content": "Hello"}
PARAM = "messages[2].content[1].image_url.url"


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with PictureServer() as serving:
        yield serving


@pytest.fixture
def client(letta: FakeLetta, server: PictureServer) -> Iterator[httpx.Client]:
    with fetching(letta, server) as url, http(url) as client:
        yield client


def fetching(letta: FakeLetta, server: PictureServer) -> Any:
    """A gateway to which `server` is the internet."""
    return gateway(letta.base_url, images=FETCHING, fetch=fetcher_of(server, max_mb=5))


def shows(*urls: str, text: str = "look") -> Json:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


def asked(*messages: Json) -> Json:
    return chat(messages=list(messages), metadata={"chat_id": "here"})


def sent(letta: FakeLetta) -> list[Any]:
    """What each run's last message showed and said."""
    return [run["messages"][-1]["content"] for run in letta.runs]


def parts_of(*shown: Picture, text: str = "look") -> list[Json]:
    """A message as Letta gets it."""
    sources = [{"type": "base64", "media_type": one.media_type, "data": one.base64} for one in shown]
    return [{"type": "text", "text": text}, *({"type": "image", "source": source} for source in sources)]


@pytest.mark.parametrize("stream", [True, False])
def test_letta_gets_the_bytes_and_no_address(
    client: httpx.Client, letta: FakeLetta, server: PictureServer, stream: bool
) -> None:
    one, other = picture(), picture(600, 600, noise=True)
    server.serve("/there?secret", answer(other.data))
    urls = [server.serve("/one?secret", answer(one.data)), server.serve("/here?secret", leading_to("/there?secret"))]
    response = client.post(URL, json={**asked(shows(*urls)), "stream": stream})

    assert response.status_code == 200
    assert "Hello" in response.text
    assert sent(letta) == [parts_of(one, other)]
    assert "secret" not in str(letta.requests)


def test_a_chat_s_picture_is_fetched_and_sent_once(
    client: httpx.Client, letta: FakeLetta, server: PictureServer
) -> None:
    shown = picture()
    look = shows(server.serve("/a", answer(shown.data)))
    for messages in ([look], [look, ANSWER, shows(text="more")]):
        client.post(URL, json=asked(*messages)).raise_for_status()

    assert server.paths == ["/a"]
    assert sent(letta) == [parts_of(shown), "more"]
    assert len(letta.conversations) == 1


def test_after_a_restart_it_is_fetched_again_and_known(letta: FakeLetta, server: PictureServer) -> None:
    look = shows(server.serve("/a", answer(picture().data)))
    for messages in ([look], [look, ANSWER, shows(text="more")]):
        with fetching(letta, server) as url, http(url) as client:
            client.post(URL, json=asked(*messages)).raise_for_status()

    assert server.paths == ["/a", "/a"]
    assert sent(letta)[1] == "more"
    assert len(letta.conversations) == 1


def test_an_old_picture_that_is_gone_does_not_end_its_chat(
    client: httpx.Client, letta: FakeLetta, server: PictureServer
) -> None:
    gone = shows(server.serve("/a", answer(b"gone", status=410)))
    client.post(URL, json=asked(gone, ANSWER, shows(text="more"))).raise_for_status()

    assert "more" in str(sent(letta)[-1])
    assert "image" not in str(letta.runs)


# what else is wrong with a request -> its refusal
BEFORE_A_FETCH: dict[str, tuple[Json, int, str | None]] = {
    "a format that is none": ({"response_format": {"type": "poem"}}, 400, None),
    "an unknown model": ({"model": "gpt"}, 404, "model_not_found"),
    "nobody who asks": ({"user": None}, 400, "user_required"),
    "an id that is too long": ({"metadata": {"chat_id": "c" * 513}}, 400, None),
    "tools that are none": ({"tools": [{"type": "custom"}]}, 400, "unsupported_parameter"),
    "another picture that is none": (
        {"messages": [shows("https://pictures.test/a", "data:image/png;base64,AAAA")]}, 400, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "status", "code"), BEFORE_A_FETCH.values(), ids=BEFORE_A_FETCH)
def test_nothing_is_fetched_for_a_request_that_is_refused(
    client: httpx.Client, letta: FakeLetta, server: PictureServer, wrong: Json, status: int, code: str | None
) -> None:
    body = asked(shows(server.serve("/a", answer(picture().data))))
    response = client.post(URL, json={**body, **wrong})

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert (server.paths, letta.requests) == ([], [])


REFUSED = {
    "not there": (answer(b"", status=404), "HTTP status 404"),
    "a page": (answer(b"<html>", "text/html"), "no picture"),
    "a page that is called a picture": (answer(b"<html>"), "no PNG, JPEG, GIF or WebP"),
    "too large": (answer(picture().data.ljust(5 * 2**20 + 1)), "larger than 5 MB"),
    "elsewhere": (leading_to("https://10.0.0.1/secret"), "port"),
}


@pytest.mark.parametrize(("served", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_new_picture_that_cannot_be_had_is_an_openai_error_that_tells_no_address(
    client: httpx.Client,
    letta: FakeLetta,
    server: PictureServer,
    caplog: pytest.LogCaptureFixture,
    served: bytes,
    reason: str,
) -> None:
    url = server.serve("/secret", served)
    with caplog.at_level(logging.DEBUG):
        response = client.post(URL, json=asked(shows(url), ANSWER, shows(url)))

    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", PARAM)
    assert re.match(rf"`{re.escape(PARAM)}`: .*{reason}.*\.$", error["message"])
    assert letta.requests == []
    told = "".join(record.getMessage() for record in caplog.records)
    assert [text for text in (response.text, told) if "secret" in text or "pictures.test" in text] == []


@pytest.mark.parametrize("url", ["https://127.0.0.1/secret", "https://localhost/secret", "https://secret.invalid/"])
def test_a_gateway_as_it_is_served_fetches_nothing_of_its_own_machine(letta: FakeLetta, url: str) -> None:
    with gateway(letta.base_url, images=FETCHING) as base_url, http(base_url) as client:
        response = client.post(URL, json=asked(shows(), ANSWER, shows(url)))

    assert (response.status_code, response.json()["error"]["param"]) == (400, PARAM)
    assert re.search("not on the public internet|not known", response.text)
    assert "secret" not in response.text
    assert letta.requests == []


def test_nothing_is_fetched_where_the_operator_has_not_allowed_it(letta: FakeLetta, server: PictureServer) -> None:
    url = server.serve("/secret", answer(picture().data))
    with gateway(letta.base_url, fetch=fetcher_of(server)) as base_url, http(base_url) as client:
        response = client.post(URL, json=asked(shows(url)))

    assert response.status_code == 400
    assert "`[images] fetch = true`" in response.json()["error"]["message"]
    assert server.names == []


def test_nothing_is_fetched_for_whoever_has_no_key(letta: FakeLetta, server: PictureServer) -> None:
    url = server.serve("/secret", answer(picture().data))
    with fetching(letta, server) as base_url, http(base_url, "sk-wrong") as client:
        assert client.post(URL, json=asked(shows(url))).status_code == 401

    assert server.names == []


def test_nothing_is_fetched_for_a_background_task(client: httpx.Client, server: PictureServer) -> None:
    url = server.serve("/secret", answer(picture().data))
    client.post(URL, json=asked(shows(url)), headers={"X-Task": "title_generation"}).raise_for_status()

    assert server.names == []
