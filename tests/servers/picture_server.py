"""A server of pictures that speaks TLS, and does what a test tells it, down to the bytes."""

import asyncio
import ssl
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import trustme

from gateway.pictures.fetcher import Fetcher

NAME = "pictures.test"
HERE = "127.0.0.1"


class Hold:
    """Say no more, until the other side leaves."""


Step = bytes | Hold


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]


def answer(body: bytes, type: str | None = "image/png", status: int = 200, length: int | None = None) -> bytes:
    """A whole answer; `length` is what it says of itself where that is not true."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body) if length is None else length}"]
    lines += [f"content-type: {type}"] if type else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def leading_to(url: str, status: int = 302) -> bytes:
    """An answer that says where the picture is, and gives a cookie."""
    return f"HTTP/1.1 {status} There\r\nlocation: {url}\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n".encode()


class PictureServer:
    """Serves on a free port of the loopback while entered, under the name NAME, which its `trust` vouches for.

    `answers` has for each path what is done there; `asked` is what was asked, and `left` set once somebody left a Hold.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Sequence[Step]] = {}
        self.asked: list[Asked] = []
        self.names: list[str | None] = []
        """The names by which those who connected called the server."""
        self.left = threading.Event()
        self.port = 0
        authority = trustme.CA()
        self.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.trust)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(NAME).configure_cert(self._context)
        self._context.sni_callback = lambda _, name, context: self.names.append(name)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, HERE, 0, ssl=self._context))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, path: str, host: str = NAME) -> str:
        return f"https://{host}:{self.port}{path}"

    def serve(self, path: str, *steps: Step) -> str:
        """Do this for `path`; gives its URL."""
        self.answers[path] = steps
        return self.url(path)

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            self.asked.append(Asked(line.split(" ")[1], headers))
            for step in self.answers[self.asked[-1].path]:
                await self._do(step, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()

    async def _do(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(step, Hold):
            await reader.read()
            self.left.set()
        else:
            writer.write(step)
            await writer.drain()


class Names:
    """What stands for the internet's names: the addresses of NAME, which are others each time if several are given."""

    def __init__(self, *found: list[str]) -> None:
        self._found = list(found) or [[HERE]]
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host != NAME:
            raise OSError(f"{host} is not known")
        return self._found[min(len(self.asked), len(self._found)) - 1]


def fetcher_of(server: PictureServer, max_mb: int = 1, **changes: Any) -> Fetcher:
    """A fetcher to which this machine's loopback is the internet, and `server` all that there is."""
    parts = {
        "port": server.port,
        "resolve": Names(),
        "is_public": lambda a: a.startswith("127."),
        "trust": server.trust,
    }
    return Fetcher(max_mb, **{**parts, **changes})
