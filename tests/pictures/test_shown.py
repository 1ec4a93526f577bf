"""Pictures that are shown by address: what an agent gets, how often they are fetched, and what if they are gone."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.domain.errors import BodyTooLarge, InvalidRequest
from gateway.domain.request import Request
from gateway.pictures.data_urls import MEGABYTE
from gateway.pictures.shown import FRESH_SECONDS, KEPT, MAX_ADDRESSES, FetchFailed, Pictures, look_at
from gateway.turns.chats.path import RequestedPath, read_path
from gateway.wires.chat_completions.request import ChatMessage
from tests.asking import asking
from tests.pictures.drawn import picture
from tests.turns.virtual_time import Gate, VirtualTimeLoop, idle

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Time passes in no time."""
    return "asyncio", {"loop_factory": VirtualTimeLoop}


Json = dict[str, Any]
A, B = "https://example.org/a.png?secret", "https://example.org/b.png?secret"
ONE, OTHER = picture(), picture()
GONE = "the picture's server answered with the HTTP status 404"
ANSWER: Json = {"role": "assistant", "content": "Hello"}


class Web:
    """What is at which address; `asked` has every fetch."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {A: ONE.data, B: OTHER.data}
        self.asked: list[str] = []
        self.gate = Gate()
        self.gate.open()

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        await self.gate.pass_through()
        if url not in self.found:
            raise FetchFailed(GONE)
        return self.found[url]


def shows(*urls: str, text: str = "look", **more: Any) -> Json:
    """A user's message."""
    parts = [{"type": "image_url", "image_url": {"url": url, **more}} for url in urls]
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


def request(*messages: Json) -> Request:
    return asking(msgspec.convert(messages, list[ChatMessage]))


async def seen(pictures: Pictures, *messages: Json) -> list[list[str]]:
    """The pictures of each message of the path, in base64."""
    asked = await read(pictures, *messages)
    return [[image.data for image in message.images] for message in asked.path]


async def read(pictures: Pictures, *messages: Json) -> RequestedPath:
    return read_path(look_at(await pictures.bring(request(*messages)), max_mb=5))


async def refusal(pictures: Pictures, *messages: Json) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        await read(pictures, *messages)
    assert "secret" not in str(caught.value)
    assert "example" not in str(caught.value)
    return caught.value


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def pictures(web: Web) -> Pictures:
    return Pictures(web, max_mb=32)


# What an agent gets


async def test_an_address_is_as_good_as_the_picture_itself(pictures: Pictures) -> None:
    (fetched,) = (await read(pictures, shows(A, OTHER.url, B, detail="low"))).path
    (given,) = (await read(pictures, shows(ONE.url, OTHER.url, OTHER.url, detail="low"))).path

    assert fetched == given
    assert [image.detail for image in fetched.images] == ["low"] * 3


async def test_a_request_without_addresses_stays_as_it_is(pictures: Pictures, web: Web) -> None:
    chat = request(shows(ONE.url), ANSWER, {"role": "user", "content": A})

    assert await pictures.bring(chat) is chat
    assert web.asked == []


async def test_only_what_a_person_or_a_tool_shows_is_fetched(pictures: Pictures, web: Web) -> None:
    parts = shows(A)["content"]
    others = [{"role": role, "content": parts} for role in ("system", "assistant", "developer")]

    assert await seen(pictures, *others, shows()) == [[], []]
    assert web.asked == []


async def test_what_a_tool_shows_is_fetched_where_it_is_new(pictures: Pictures, web: Web) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}
    given = {**shows(A), "role": "tool", "tool_call_id": "c1"}
    asked = await read(pictures, shows(), called, given)

    assert [[image.data for image in one.images] for one in asked.results] == [[ONE.base64]]
    assert web.asked == [A]
    assert await seen(Pictures(web, max_mb=32), shows(), called, given, ANSWER, shows()) == [[], [], []]
    assert web.asked == [A]


async def test_what_a_tool_shows_and_cannot_be_had_is_told_of(pictures: Pictures, web: Web) -> None:
    del web.found[A]
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}
    (given,) = (await read(pictures, shows(), called, {**shows(A), "role": "tool", "tool_call_id": "c1"})).results

    assert given.text == f"look\n[Here was a picture that cannot be shown: {GONE}.]"


async def test_a_picture_is_known_by_its_bytes_whatever_its_address(pictures: Pictures, web: Web) -> None:
    web.found[B] = ONE.data
    a, b = (await read(pictures, shows(A), shows(B))).path

    assert a.images[0].digest == b.images[0].digest


# What is wrong with a new one

WRONG: dict[str, tuple[bytes | None, str]] = {
    "what cannot be fetched": (None, GONE),
    "what is no picture": (b"<html>", "no PNG, JPEG, GIF or WebP"),
    "nothing": (b"", "no PNG, JPEG, GIF or WebP"),
    "a picture that is too large": (ONE.data.ljust(5 * MEGABYTE + 1), "larger than 5 MB"),
}


@pytest.mark.parametrize(("data", "reason"), WRONG.values(), ids=WRONG)
async def test_a_new_picture_that_cannot_be_had_is_refused_by_name(
    pictures: Pictures, web: Web, data: bytes | None, reason: str
) -> None:
    web.found = {A: ONE.data} if data is None else {A: ONE.data, B: data}
    error = await refusal(pictures, shows(A), ANSWER, shows(A, B))

    param = "messages[2].content[2].image_url.url"
    assert (error.status_code, error.param) == (400, param)
    assert str(error).startswith(f"`{param}`: ")
    assert reason in str(error)


async def test_a_picture_that_is_asked_for_again_may_be_there_now(pictures: Pictures, web: Web) -> None:
    web.found = {}
    await refusal(pictures, shows(A))
    web.found = {A: ONE.data}

    assert await seen(pictures, shows(A)) == [[ONE.base64]]


async def test_so_many_addresses_are_fetched_and_no_more(pictures: Pictures, web: Web) -> None:
    urls = [f"https://example.org/{i}?secret" for i in range(MAX_ADDRESSES + 1)]
    web.found = dict.fromkeys(urls, ONE.data)
    error = await refusal(pictures, shows(*urls))

    assert (error.param, web.asked) == ("messages", [])
    assert await seen(pictures, shows(*urls[1:], urls[1])) == [[ONE.base64] * (MAX_ADDRESSES + 1)]


async def test_the_pictures_of_a_request_may_be_so_large_together_and_no_larger(web: Web) -> None:
    large = picture(600, 600, noise=True)
    web.found = {A: large.data, B: large.data}

    assert await seen(Pictures(web, max_mb=2), shows(A)) == [[large.base64]]
    assert isinstance(await refusal(Pictures(web, max_mb=2), shows(A), ANSWER, shows(B)), BodyTooLarge)


# How often


async def test_what_a_chat_has_shown_is_not_fetched_again(pictures: Pictures, web: Web) -> None:
    await read(pictures, shows(A))

    assert await seen(pictures, shows(A), ANSWER, shows(B, A)) == [[ONE.base64], [], [OTHER.base64, ONE.base64]]
    assert web.asked == [A, B]


async def test_after_a_while_it_is(pictures: Pictures, web: Web) -> None:
    await read(pictures, shows(A))
    await asyncio.sleep(FRESH_SECONDS - 1)
    await read(pictures, shows(A))
    assert web.asked == [A]

    web.found[A] = OTHER.data
    await asyncio.sleep(2)
    assert await seen(pictures, shows(A)) == [[OTHER.base64]]
    assert web.asked == [A, A]


async def test_all_of_a_request_are_fetched_at_once_and_each_once(pictures: Pictures, web: Web) -> None:
    web.gate = Gate()
    reading = asyncio.create_task(seen(pictures, shows(A, B, A), ANSWER, shows(A)))
    await web.gate.reached(2)
    web.gate.open()

    assert await reading == [[ONE.base64, OTHER.base64, ONE.base64], [], [ONE.base64]]
    assert sorted(web.asked) == [A, B]


async def test_who_asks_meanwhile_waits_for_the_same_fetch_and_keeps_it_if_others_leave(
    pictures: Pictures, web: Web
) -> None:
    web.gate = Gate()
    first, second = (asyncio.create_task(seen(pictures, shows(A))) for _ in range(2))
    await web.gate.reached()
    await idle()
    first.cancel()
    web.gate.open()

    assert await second == [[ONE.base64]]
    assert web.asked == [A]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_was_seen_longest_ago_is_fetched_again_where_there_is_no_room(pictures: Pictures, web: Web) -> None:
    size = 5 * MEGABYTE
    urls = [f"https://example.org/{i}" for i in range(KEPT * 3 // 4 // size + 1)]
    for url in urls:
        web.found[url] = ONE.data.ljust(size, b"x")
        await pictures.bring(request(shows(url)))
    web.asked.clear()
    for url in (urls[-1], urls[0]):
        await pictures.bring(request(shows(url)))

    assert web.asked == [urls[0]]


# What is gone


async def test_an_old_picture_that_is_gone_is_left_out(pictures: Pictures, web: Web) -> None:
    web.found = {B: OTHER.data}

    assert await seen(pictures, shows(A), ANSWER, shows(B)) == [[], [], [OTHER.base64]]


async def test_an_old_picture_that_is_gone_is_not_asked_for_with_every_message(pictures: Pictures, web: Web) -> None:
    web.found = {}
    for _ in range(3):
        await read(pictures, shows(A), ANSWER, shows())
    assert web.asked == [A]

    await asyncio.sleep(FRESH_SECONDS + 1)
    web.found = {A: ONE.data}
    assert await seen(pictures, shows(A), ANSWER, shows()) == [[ONE.base64], [], []]


async def test_an_old_picture_that_was_seen_before_it_was_gone_stays_in_its_chat(pictures: Pictures, web: Web) -> None:
    await read(pictures, shows(A))
    web.found = {}
    for _ in range(2):
        await asyncio.sleep(FRESH_SECONDS + 1)
        assert await seen(pictures, shows(A), ANSWER, shows()) == [[ONE.base64], [], []]
    assert web.asked == [A, A, A]

    assert GONE in str(await refusal(pictures, shows(A), ANSWER, shows(A)))


async def test_what_is_no_fetch_s_failure_is_told_to_all_and_kept_for_none() -> None:
    broken = Pictures(_broken, max_mb=32)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await broken.bring(request(shows(A)))


async def _broken(_: str) -> bytes:
    raise ZeroDivisionError
