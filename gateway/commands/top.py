"""`letta-gateway top`: a gateway at work, in the terminal. It reads `/metrics` and `/metrics/chats`."""

import sys
import time
from collections import deque
from contextlib import closing, suppress
from datetime import datetime
from urllib.parse import urlsplit

import httpx
import msgspec
from rich.console import Console
from rich.live import Live

from gateway.commands.top_picture import Reading, picture, to_reading
from gateway.http.seen.chats import ChatsUnderWay
from gateway.settings import is_loopback

# How often the numbers are read, and over how long rates are taken.
READ_SECONDS = 2.0
WINDOW_SECONDS = 60.0
READ_TIMEOUT_SECONDS = 10.0
NO_GATEWAY = "this is no gateway's answer"


class CannotRead(Exception):
    """The numbers cannot be had; the text says why, in words for the one who asks."""


class Top:
    """Reads a gateway again and again."""

    def __init__(self, url: str, key: str | None) -> None:
        """`url` is the address of the gateway's metrics, or its own; `key` is for the latter."""
        self._url = url.rstrip("/").removesuffix("/metrics").removesuffix("/v1")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # What is on this machine is not asked through a proxy.
        through = not is_loopback(urlsplit(self._url).hostname or "")
        self._client = httpx.Client(
            base_url=self._url, headers=headers, timeout=READ_TIMEOUT_SECONDS, trust_env=through
        )
        self._readings: deque[Reading] = deque(maxlen=round(WINDOW_SECONDS / READ_SECONDS) + 1)

    def _get(self, path: str) -> httpx.Response:
        try:
            answer = self._client.get(path)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CannotRead(f"{self._url} does not answer: {error}") from error
        if not answer.is_success:
            raise CannotRead(f"{self._url}{path}: {answer.status_code}: {_told(answer)}")
        return answer

    def read(self) -> None:
        """Read it once. Raises CannotRead."""
        chats, numbers = self._get("/metrics/chats").content, self._get("/metrics").text
        try:
            reading = to_reading(numbers, msgspec.json.decode(chats, type=ChatsUnderWay), time.time())
        except ValueError as error:
            raise CannotRead(f"{self._url}: {NO_GATEWAY}") from error
        self._readings.append(reading)

    def close(self) -> None:
        self._client.close()

    def show_once(self, console: Console) -> None:
        """Print one picture, of all that was since the gateway's start. Raises CannotRead."""
        self.read()
        console.print(picture(self._url, self._readings[-1], None))

    def show(self, console: Console) -> None:
        """Show it until Ctrl+C. Raises CannotRead at first; later a gateway that does not answer is waited for."""
        self.read()
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                now, before = self._readings[-1], self._readings[0]
                live.update(picture(self._url, now, before if now is not before else None), refresh=True)
                time.sleep(READ_SECONDS)
                self._read_again(live)

    def _read_again(self, live: Live) -> None:
        while True:
            try:
                self.read()
            except CannotRead as error:
                live.update(f"{datetime.now():%H:%M:%S}  {error}", refresh=True)
                time.sleep(READ_SECONDS)
            else:
                return


def _told(answer: httpx.Response) -> str:
    """The gateway's own words for a refusal, if they are."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return NO_GATEWAY


def top(url: str, key: str | None, once: bool) -> None:
    """Show a gateway at work; `once`, and where nobody sits at a terminal, one picture of it. Raises CannotRead."""
    console = Console()
    with closing(Top(url, key)) as shown:
        if once or not sys.stdout.isatty():
            shown.show_once(console)
            return
        with suppress(KeyboardInterrupt):
            shown.show(console)
