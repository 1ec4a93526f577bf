"""The fetcher against a real server of TLS: what it fetches, where it does not go, and what it does not believe."""

import asyncio
import gzip
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import __version__
from gateway.pictures.addresses import is_public
from gateway.pictures.data_urls import MEGABYTE
from gateway.pictures.fetcher import AT_ONCE, REDIRECTS, Fetcher, resolve
from gateway.pictures.shown import FetchFailed
from tests.pictures.drawn import picture
from tests.servers.picture_server import HERE, NAME, Hold, Names, PictureServer, Step, answer, fetcher_of, leading_to

pytestmark = pytest.mark.anyio
PNG = picture().data
NOT_PUBLIC = "not on the public internet"
LARGE = PNG.ljust(MEGABYTE + 1, b"x")


@pytest.fixture
async def server() -> AsyncIterator[PictureServer]:
    """It ends before the test's loop does, so that connections to it are closed."""
    with PictureServer() as serving:
        yield serving


async def refusal(fetcher: Fetcher, url: str) -> str:
    """Why nothing is fetched from `url`; nothing of it is repeated."""
    with pytest.raises(FetchFailed) as caught:
        await fetcher(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


FETCHING = """
import asyncio, socket, sys
from tests.pictures.drawn import picture
from tests.servers.picture_server import PictureServer, answer, fetcher_of

async def main():
    with PictureServer() as server:
        socket.getaddrinfo("127.0.0.1", 0)  # as the gateway does of its own address
        fetch = fetcher_of(server)
        before = set(sys.modules)
        await fetch(server.serve("/a", answer(picture().data)))
        print(*set(sys.modules) - before)

asyncio.run(main())
"""


def test_a_fetch_imports_nothing() -> None:
    ran = subprocess.run([sys.executable, "-c", FETCHING], capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout == "\n"


# What is fetched


async def test_a_picture_is_fetched(server: PictureServer) -> None:
    url = server.serve("/a.png?size=1&sign=%2Fb", answer(PNG))

    assert await fetcher_of(server)(url) == PNG
    assert server.names == [NAME]


async def test_a_picture_in_chunks_is_fetched(server: PictureServer) -> None:
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (PNG[:7], PNG[7:])]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: IMAGE/PNG; charset=binary\r\ntransfer-encoding: chunked\r\n\r\n"

    assert await fetcher_of(server)(server.serve("/a", head, *chunks, b"0\r\n\r\n")) == PNG


async def test_a_picture_may_be_as_large_as_the_limit(server: PictureServer) -> None:
    assert await fetcher_of(server)(server.serve("/a", answer(LARGE[:-1]))) == LARGE[:-1]


async def test_a_server_is_told_nothing_but_what_is_wanted(server: PictureServer) -> None:
    server.serve("/there", answer(PNG))
    await fetcher_of(server)(server.serve("/here", leading_to("/there#secret")) + "#secret")

    assert [(asked.path, sorted(asked.headers)) for asked in server.asked] == [
        (path, ["accept", "accept-encoding", "host", "user-agent"]) for path in ("/here", "/there")
    ]
    assert server.asked[1].headers == {
        "accept": "image/png, image/jpeg, image/gif, image/webp",
        "accept-encoding": "identity",
        "host": f"{NAME}:{server.port}",
        "user-agent": f"letta-gateway/{__version__}",
    }


async def test_no_proxy_of_the_environment_stands_between(
    server: PictureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert await fetcher_of(server)(server.serve("/a", answer(PNG))) == PNG


async def test_of_several_addresses_one_that_answers_is_enough(server: PictureServer) -> None:
    names = Names(["127.0.0.2", HERE])

    assert await fetcher_of(server, resolve=names)(server.serve("/a", answer(PNG))) == PNG


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(server: PictureServer, status: int) -> None:
    server.serve("/there", answer(PNG))
    url = server.serve("/here", leading_to("/there", status))

    assert await fetcher_of(server)(url) == PNG


async def test_so_many_redirects_are_followed_and_no_more(server: PictureServer) -> None:
    for i in range(REDIRECTS + 1):
        server.serve(f"/{i}", leading_to(f"/{i + 1}"))
    server.serve(f"/{REDIRECTS + 1}", answer(PNG))

    assert await fetcher_of(server)(server.url("/1")) == PNG
    assert "leads to others more than 4 times" in await refusal(fetcher_of(server), server.url("/0"))


# Where it does not go: with the names and addresses of this machine's real internet, of which nothing is asked


class Refused(NamedTuple):
    url: str
    reason: str


ELSEWHERE: dict[str, Refused] = {
    "this machine": Refused("https://127.0.0.1/secret.png", NOT_PUBLIC),
    "this machine by name": Refused("https://localhost/secret.png", NOT_PUBLIC),
    "this machine by a name in full": Refused("https://LOCALHOST./secret.png", "not known|" + NOT_PUBLIC),
    "this machine in decimal": Refused("https://2130706433/secret.png", NOT_PUBLIC),
    "this machine in hex": Refused("https://0x7f000001/secret.png", NOT_PUBLIC),
    "this machine in hex with dots": Refused("https://0x7f.0.0.1/secret.png", NOT_PUBLIC),
    "this machine in octal": Refused("https://0177.0.0.1/secret.png", NOT_PUBLIC),
    "this machine in short": Refused("https://127.1/secret.png", NOT_PUBLIC),
    "this machine in wide digits": Refused("https://１２７.0.0.1/secret.png", NOT_PUBLIC),
    "this machine in percents": Refused("https://%31%32%37.0.0.1/secret.png", "not known"),
    "no address": Refused("https://0.0.0.0/secret.png", NOT_PUBLIC),
    "nought": Refused("https://0/secret.png", NOT_PUBLIC),
    "this machine by IPv6": Refused("https://[::1]/secret.png", NOT_PUBLIC),
    "this machine, mapped": Refused("https://[::ffff:127.0.0.1]/secret.png", NOT_PUBLIC),
    "this link": Refused("https://[fe80::1%25lo]/secret.png", "not known|" + NOT_PUBLIC),
    "a private network": Refused("https://10.0.0.1/secret.png", NOT_PUBLIC),
    "a cloud's description of its machine": Refused("https://169.254.169.254/secret.png", NOT_PUBLIC),
    "many at once": Refused("https://224.0.0.1/secret.png", NOT_PUBLIC),
    "a public address in decimal": Refused("https://134744072/secret.png", "cannot be reached"),
    "nobody": Refused("https://secret.invalid/secret.png", "not known"),
    "a name that cannot be one": Refused(f"https://{'secret' * 11}.org/secret.png", "not known"),
    "an empty name": Refused("https://.secret.org/secret.png", "not known"),
    "without TLS": Refused("http://8.8.8.8/secret.png", "`https:` only"),
    "a file": Refused("file:///etc/secret.png", "`https:` only"),
    "no host": Refused("https:///secret.png", "`https:` only|cannot be read"),
    "no scheme": Refused("//8.8.8.8/secret.png", "`https:` only"),
    "another port": Refused("https://8.8.8.8:8443/secret.png", "port 443 only"),
    "a port that is none": Refused("https://8.8.8.8:99999/secret.png", "cannot be read"),
    "with a name": Refused("https://secret@8.8.8.8/secret.png", "without a name and a password"),
    "with a password": Refused("https://:secret@8.8.8.8/secret.png", "without a name and a password"),
    "half an address": Refused("https://[::1/secret.png", "cannot be read"),
    "an address of nothing": Refused("https://[]@/secret.png", "cannot be read"),
}


@pytest.mark.parametrize("refused", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_what_is_not_on_the_internet_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    reason = await refusal(Fetcher(1), refused.url)

    assert any(expected in reason for expected in refused.reason.split("|"))


@pytest.mark.parametrize("private", ["10.0.0.1", "::1", "169.254.169.254"])
@pytest.mark.parametrize("first", [True, False])
async def test_a_name_with_a_private_address_beside_a_public_one_is_refused(
    server: PictureServer, private: str, first: bool
) -> None:
    names = Names([private, HERE] if first else [HERE, private])

    assert NOT_PUBLIC in await refusal(fetcher_of(server, resolve=names), server.serve("/secret", answer(PNG)))
    assert server.asked == []


async def test_a_name_without_an_address_is_refused(server: PictureServer) -> None:
    assert NOT_PUBLIC in await refusal(fetcher_of(server, resolve=Names([])), server.url("/secret"))


async def test_a_name_is_looked_up_once_so_that_it_cannot_lead_elsewhere_meanwhile(server: PictureServer) -> None:
    names = Names([HERE], ["10.0.0.1"])

    assert await fetcher_of(server, resolve=names)(server.serve("/a", answer(PNG))) == PNG
    assert names.asked == [NAME]


async def by_real_names_too(host: str) -> Sequence[str]:
    return [HERE] if host == NAME else await resolve(host)


LEADING: dict[str, Refused] = {
    "to this machine": Refused("https://[::1]:{port}/secret", NOT_PUBLIC),
    "to a private network": Refused("//10.0.0.1:{port}/secret", NOT_PUBLIC),
    "to a cloud's description of its machine": Refused("https://169.254.169.254:{port}/secret", NOT_PUBLIC),
    "to another port": Refused("https://pictures.test/secret", "only"),
    "out of TLS": Refused("http://pictures.test:{port}/secret", "`https:` only"),
    "to a file": Refused("file:///etc/secret", "`https:` only"),
    "to a data URL": Refused("data:image/png;base64,secret", "`https:` only"),
    "with a password": Refused("https://me:secret@pictures.test:{port}/secret", "without a name and a password"),
    "to nobody": Refused("https://secret.invalid:{port}/", "not known"),
    "to nonsense": Refused("https://[secret", "cannot be read"),
    "to where it came from": Refused("/a", "more than 4 times"),
    "to nowhere": Refused("", "more than 4 times"),
}


@pytest.mark.parametrize("refused", LEADING.values(), ids=LEADING)
async def test_a_redirect_is_checked_like_any_address(server: PictureServer, refused: Refused) -> None:
    url = server.serve("/a", leading_to(refused.url.format(port=server.port)))
    fetcher = fetcher_of(server, resolve=by_real_names_too, is_public=lambda a: a == HERE or is_public(a))

    assert refused.reason in await refusal(fetcher, url)
    assert set(server.paths) == {"/a"}


async def test_a_redirect_to_the_same_name_is_looked_up_anew(server: PictureServer) -> None:
    names = Names([HERE], ["10.0.0.1"])
    server.serve("/there", answer(PNG))

    assert NOT_PUBLIC in await refusal(fetcher_of(server, resolve=names), server.serve("/here", leading_to("/there")))
    assert server.paths == ["/here"]


async def test_a_server_that_nobody_vouches_for_is_refused(server: PictureServer) -> None:
    fetcher = fetcher_of(server, trust=ssl.create_default_context())

    assert "no valid certificate" in await refusal(fetcher, server.serve("/secret", answer(PNG)))
    assert server.asked == []


async def test_a_server_of_another_name_is_refused(server: PictureServer) -> None:
    async def anybody(_: str) -> list[str]:
        return [HERE]

    server.serve("/a", answer(PNG))
    url = server.url("/a", "secret.test")

    assert "no valid certificate" in await refusal(fetcher_of(server, resolve=anybody), url)
    assert (server.names, server.asked) == (["secret.test"], [])


# What it does not believe


TOO_LARGE = "larger than 1 MB"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
PACKED = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
# What the server does -> why there is no picture
ANSWERS: dict[str, tuple[Sequence[Step], str]] = {
    "a large picture": ([answer(LARGE)], TOO_LARGE),
    "one that says it is small": ([b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n", LARGE], TOO_LARGE),
    "one in chunks that has no end": ([CHUNKED, *[b"10000\r\n%b\r\n" % (b"x" * 0x10000)] * 17, Hold()], TOO_LARGE),
    "a page": ([answer(b"<html>", "text/html")], "no picture"),
    "a drawing": ([answer(b"<svg>", "image/svg+xml")], "no picture"),
    "bytes": ([answer(PNG, "application/octet-stream")], "no picture"),
    "no type": ([answer(PNG, None)], "no picture"),
    "not found": ([answer(PNG, status=404)], "the HTTP status 404"),
    "a part": ([answer(PNG, status=206)], "the HTTP status 206"),
    "nothing": ([answer(b"", status=204)], "the HTTP status 204"),
    "a redirect without a place": ([answer(PNG, status=302)], "the HTTP status 302"),
    "a choice": ([leading_to("/secret", 300)], "the HTTP status 300"),
    "the end before the picture's": ([answer(PNG, length=len(PNG) + 1)], "cannot be reached"),
    "the end of a chunk before the picture's": ([CHUNKED, b"10\r\nabc"], "cannot be reached"),
    "the end at once": ([], "cannot be reached"),
    "no HTTP": ([b"SSH-2.0-secret\r\n\r\n"], "cannot be reached"),
    "a header without an end": ([b"HTTP/1.1 200 OK\r\nsecret: " + b"x" * 100_000], "cannot be reached"),
}


@pytest.mark.parametrize(("steps", "reason"), ANSWERS.values(), ids=ANSWERS)
async def test_what_is_no_good_picture_is_refused(server: PictureServer, steps: Sequence[Step], reason: str) -> None:
    assert reason in await refusal(fetcher_of(server), server.serve("/secret", *steps))


async def test_what_is_packed_is_not_unpacked(server: PictureServer) -> None:
    packed = gzip.compress(PNG)

    assert await fetcher_of(server)(server.serve("/a", PACKED % len(packed), packed)) == packed


async def test_no_picture_is_larger_than_10_mb_whatever_is_configured(server: PictureServer) -> None:
    url = server.serve("/secret", answer(PNG.ljust(10 * MEGABYTE + 1, b"x")))

    assert "larger than 10 MB" in await refusal(fetcher_of(server, max_mb=100), url)


@pytest.mark.parametrize(
    "steps",
    [[Hold()], [answer(PNG)[:20], Hold()], [answer(PNG)[:-1], Hold()]],
    ids=["before its answer", "in its head", "in the picture"],
)
async def test_a_server_that_hangs_is_left(server: PictureServer, steps: Sequence[Step]) -> None:
    url = server.serve("/secret", *steps)

    assert "took more than 1 s" in await refusal(fetcher_of(server, seconds=1), url)
    assert server.left.wait(30)


async def test_redirects_share_the_time(server: PictureServer) -> None:
    server.serve("/there", Hold())

    url = server.serve("/secret", leading_to("/there"))
    assert "took more than 1 s" in await refusal(fetcher_of(server, seconds=1), url)
    assert server.paths == ["/secret", "/there"]


async def test_a_server_that_begins_no_tls_is_left(server: PictureServer) -> None:
    with socket.create_server((HERE, 0)) as silent:
        fetcher = fetcher_of(server, seconds=1, port=silent.getsockname()[1])

        assert "took more than 1 s" in await refusal(fetcher, f"https://{NAME}:{silent.getsockname()[1]}/")


async def test_a_name_server_that_hangs_is_left(server: PictureServer) -> None:
    async def hang(_: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    assert "took more than 0.01 s" in await refusal(fetcher_of(server, seconds=0.01, resolve=hang), server.url("/"))


async def test_so_many_are_fetched_at_once_and_more_wait(server: PictureServer) -> None:
    at_once, most, full = 0, 0, asyncio.Event()

    async def count(_: str) -> list[str]:
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        if at_once == AT_ONCE:
            full.set()
        await full.wait()
        at_once -= 1
        return []

    fetcher = fetcher_of(server, resolve=count)
    await asyncio.gather(*(refusal(fetcher, server.url("/secret")) for _ in range(2 * AT_ONCE + 1)))

    assert most == AT_ONCE


async def test_where_nobody_listens_there_is_no_picture(server: PictureServer) -> None:
    with socket.create_server((HERE, 0)) as listener:
        port = listener.getsockname()[1]

    assert "cannot be reached" in await refusal(fetcher_of(server, port=port), f"https://{NAME}:{port}/secret")


@given(st.text(st.sampled_from("htps:/@[]%.?#\\ \t\r\n\0aé1١。２:-_"), max_size=24))
@example("https://a/\r\nsecret: 1")
def test_whatever_an_address_is_it_is_fetched_or_refused(rest: str) -> None:
    """By a fetcher to which every name is an address where nobody is."""

    async def nowhere(_: str) -> list[str]:
        return ["127.0.0.1"]

    async def fetch() -> None:
        with pytest.raises(FetchFailed):
            await Fetcher(1, port=9, resolve=nowhere, is_public=lambda _: True)(f"https://{rest}")

    asyncio.run(fetch())
