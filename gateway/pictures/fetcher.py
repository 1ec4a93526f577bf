"""Fetches pictures from the open internet and from nowhere else, whatever an address or a server says.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html

1. A host's name is looked up once. All of its addresses must be public, and the connection goes to one of those.
2. Redirects are followed here, not by aiohttp: each is checked like the address that a client gave.
3. A server is sent no cookies and no credentials, and no proxy of the environment stands between.
4. A server's word on the length of its answer is not believed, and no compressed answer is unpacked.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gateway import __version__
from gateway.pictures.addresses import is_public
from gateway.pictures.data_urls import MEGABYTE, SIGNATURES
from gateway.pictures.shown import FetchFailed

# The largest picture and the longest wait, redirects and everything included.
MAX_MB = 10
FETCH_SECONDS = 10.0
REDIRECTS = 4
# The most fetches at one time; more of them wait, within their FETCH_SECONDS.
AT_ONCE = 16
# https://www.rfc-editor.org/rfc/rfc9110#section-15.4: the other statuses 3xx lead to no other address.
REDIRECTING = (301, 302, 303, 307, 308)
# `image/jpg` is no type, but many servers say it.
TYPES = (*SIGNATURES, "image/jpg")
FETCH_HEADERS = {
    "User-Agent": f"letta-gateway/{__version__}",
    "Accept": ", ".join(SIGNATURES),
    "Accept-Encoding": "identity",
}


async def resolve(host: str) -> Sequence[str]:
    """The IP addresses of a host. Raises OSError or ValueError if there are none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Fetcher:
    """A `Fetch` from the open internet, of at most `max_mb` MiB; the other parameters are for tests.

    A test says which `port` it may go to, and gives stand-ins for the internet: `resolve`, `is_public` and `trust`.
    """

    def __init__(
        self,
        max_mb: int,
        *,
        seconds: float = FETCH_SECONDS,
        port: int = 443,
        resolve: Callable[[str], Awaitable[Sequence[str]]] = resolve,
        is_public: Callable[[str], bool] = is_public,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._max_mb = min(max_mb, MAX_MB)
        self._seconds = seconds
        self._port = port
        self._resolve = resolve
        self._is_public = is_public
        self._trust = trust or True
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, url: str) -> bytes:
        """The bytes at `url`, which is said to be a picture's. Raises FetchFailed."""
        try:
            async with asyncio.timeout(self._seconds), self._places:
                return await self._follow(self._parsed(url))
        except TimeoutError:
            raise FetchFailed(f"to fetch the picture took more than {self._seconds:g} s") from None

    async def _follow(self, url: URL) -> bytes:
        for _ in range(REDIRECTS + 1):
            found = await self._get(url)
            if isinstance(found, bytes):
                return found
            url = self._parsed(found, url)
        raise FetchFailed(f"the picture's address leads to others more than {REDIRECTS} times")

    async def _get(self, url: URL) -> bytes | str:
        """The bytes at a URL, or the address to which its server redirects. Raises FetchFailed."""
        addresses = await self._addresses(url.raw_host or "")
        try:
            async with self._session(addresses) as session, session.get(url, allow_redirects=False) as response:
                with _cut_off(response):
                    if response.status in REDIRECTING and "location" in response.headers:
                        return response.headers["location"]
                    return await self._read(response)
        except aiohttp.ClientConnectorCertificateError:
            raise FetchFailed("the picture's server has no valid certificate") from None
        except (aiohttp.ClientError, OSError):
            raise FetchFailed("the picture's server cannot be reached") from None

    def _parsed(self, text: str, base: URL | None = None) -> URL:
        """The URL in `text`, relative to `base` if a server there has redirected. Raises FetchFailed."""
        # A URL that can be sent as it stands is not encoded anew: a signed address may be signed letter by letter.
        as_is = text.isascii() and text.isprintable() and " " not in text
        try:
            url = URL(text, encoded=as_is)
            url = base.join(url) if base else url
            problem = self._problem(url)
        # yarl raises IndexError for `https://[]@`.
        except (ValueError, IndexError):
            problem = "the picture's address cannot be read"
        if problem:
            raise FetchFailed(problem)
        return url

    def _problem(self, url: URL) -> str | None:
        """The problem with an address, in words; None if it may be fetched. Raises ValueError for half of one."""
        if url.scheme != "https" or not url.raw_host:
            return "pictures are fetched by `https:` only"
        if url.user is not None or url.password is not None:
            return "pictures are fetched without a name and a password, and the address holds them"
        if url.port != self._port:
            return f"pictures are fetched from port {self._port} only"
        return None

    async def _addresses(self, host: str) -> Sequence[str]:
        """The IP addresses of a host. Raises FetchFailed if there are none, or if one of them is not public."""
        try:
            found = await self._resolve(host)
        # A name that no host can have raises UnicodeError, which is a ValueError.
        except (OSError, ValueError):
            raise FetchFailed("the host of the picture's address is not known") from None
        if not found or not all(self._is_public(address) for address in found):
            raise FetchFailed("the host of the picture's address is not on the public internet")
        return found

    def _session(self, addresses: Sequence[str]) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=_Checked(addresses), use_dns_cache=False, ssl=self._trust),
            headers=FETCH_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The body of a good answer. Raises FetchFailed for a status but 200, another type, or too many bytes."""
        if response.status != 200:
            raise FetchFailed(f"the picture's server answered with the HTTP status {response.status}")
        if response.content_type not in TYPES:
            raise FetchFailed("what was fetched is no picture: expected the type image/png, -jpeg, -gif or -webp")
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > self._max_mb * MEGABYTE:
                raise FetchFailed(f"the picture is larger than {self._max_mb} MB")
        return bytes(body)


class _Checked(AbstractResolver):
    """A resolver for aiohttp that gives addresses which were looked up and checked before, and looks up nothing."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [self._result(host, port, address) for address in self._addresses]

    def _result(self, host: str, port: int, address: str) -> ResolveResult:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return ResolveResult(
            hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
        )

    async def close(self) -> None:
        """Nothing is open."""


@contextmanager
def _cut_off(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Cut the connection of an answer at the end, read or not: to close it would wait for the server."""
    try:
        yield
    finally:
        if response.connection and response.connection.transport:
            response.connection.transport.abort()
