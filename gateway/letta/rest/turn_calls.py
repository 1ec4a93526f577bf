"""The calls of Letta that turns are made of, and the shortest way to make them.

letta-client is the way for all else, and for these, too, where more is asked of a connection than our own client of
HTTP knows (`reason_for_letta_client`). Both ways do the same, but for the time they take.
"""

import asyncio
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from gateway import __version__
from gateway.domain import errors
from gateway.letta.error_words import from_status
from gateway.letta.rest.decoder import RunReading
from gateway.letta.rest.http_client import ConnectionLimits, HttpAnswer, HttpClient, HttpFailure
from gateway.settings import Letta
from gateway.trace_context import TRACEPARENT

CONNECT_SECONDS = 5.0
# Servers of Letta's make close idle connections after 5 s; a request sent into that moment would be lost.
KEEPALIVE_SECONDS = 4.0
DEAD_AFTER_PINGS = 3
# How long a search that failed is waited with before it is made once more; letta-client waits as long.
AGAIN_SECONDS = 0.5
# The statuses, beside those of 500 and more, after which the same may be asked again.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})


class TurnCalls(Protocol):
    """The calls of a turn: three, and a fourth where its client sends but its message. All raise UpstreamError.

    What makes something is sent once.
    """

    async def find(self, agent_id: str | None, summary: str, after: str, limit: int) -> bytes:
        """List conversations of an agent, or of all, with `summary` in theirs, the oldest first; a page, as JSON."""
        ...

    async def create(self, agent_id: str, summary: str) -> bytes:
        """Make a conversation; gives it, as JSON."""
        ...

    async def rename(self, conversation_id: str, summary: str) -> None:
        """Give a conversation another summary: what a turn has begun with, or that it has ended."""
        ...

    async def stream(self, conversation_id: str, body: dict[str, Any], reading: RunReading) -> None:
        """Send messages, and read the run's events to their end. Raises what `reading` does."""
        ...


class Moved(Exception):
    """Letta is elsewhere, and has done nothing: letta-client knows how to follow."""


class DirectCalls:
    """The calls of a turn over our own client of HTTP. Raises Moved where Letta answers with a redirect."""

    def __init__(self, settings: Letta, tls: ssl.SSLContext | None = None) -> None:
        limits = ConnectionLimits(
            connections=settings.max_connections, connect_seconds=CONNECT_SECONDS, idle_seconds=KEEPALIVE_SECONDS
        )
        headers = {"Authorization": f"Bearer {key_of(settings)}", "User-Agent": f"letta-gateway/{__version__}"}
        self._http = HttpClient(settings.address, headers, limits, tls)
        self._seconds = settings.request_seconds
        self._silence_seconds = settings.ping_seconds * DEAD_AFTER_PINGS

    async def find(self, agent_id: str | None, summary: str, after: str, limit: int) -> bytes:
        query = {"agent_id": agent_id or "", "after": after, "limit": limit, "order": "asc", "summary_search": summary}
        path = "/v1/conversations/?" + urlencode({name: value for name, value in query.items() if value})
        return await self._ask_twice("GET", path)

    async def _ask_twice(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Ask what may be asked twice with no other outcome; once more, if it fails."""
        answer: HttpAnswer | None
        try:
            answer = await self._ask(method, path, body)
        except errors.UpstreamError:
            answer = None
        if answer is None or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _PASSING:
            await asyncio.sleep(AGAIN_SECONDS)
            answer = await self._ask(method, path, body)
        return _good(answer)

    async def create(self, agent_id: str, summary: str) -> bytes:
        path = "/v1/conversations/?" + urlencode({"agent_id": agent_id})
        return _good(await self._ask("POST", path, msgspec.json.encode({"summary": summary})))

    async def rename(self, conversation_id: str, summary: str) -> None:
        path = f"/v1/conversations/{quote(conversation_id, safe='')}"
        await self._ask_twice("PATCH", path, msgspec.json.encode({"summary": summary}))

    async def _ask(self, method: str, path: str, body: bytes = b"") -> HttpAnswer:
        try:
            return await self._http.ask(
                method, path, body, seconds=self._seconds, accept="application/json", trace=TRACEPARENT.get()
            )
        except HttpFailure as failure:
            raise _to_error(failure, sending=False) from failure

    async def stream(self, conversation_id: str, body: dict[str, Any], reading: RunReading) -> None:
        path = f"/v1/conversations/{quote(conversation_id, safe='')}/messages"
        content = msgspec.json.encode({"streaming": True, **body})
        try:
            answer = await self._http.ask(
                "POST",
                path,
                content,
                seconds=self._silence_seconds,
                accept="text/event-stream",
                take=reading.feed,
                trace=TRACEPARENT.get(),
            )
        except HttpFailure as failure:
            raise _to_error(failure, sending=True) from failure
        _good(answer, sending=True)
        reading.end()

    async def aclose(self) -> None:
        await self._http.aclose()


def key_of(settings: Letta) -> str:
    """The key that Letta is shown; letta-client demands one, which a server without keys ignores."""
    return settings.api_key.reveal() if settings.api_key else "none"


def reason_for_letta_client(address: str, environment: Mapping[str, str], proxies: Mapping[str, str]) -> str:
    """The reason why the calls of a turn to Letta at `address` go through letta-client; empty where there is none.

    `proxies` are those of `urllib.request.getproxies`:
    `reason_for_letta_client("http://10.0.0.7:8283", {}, {"http": "http://proxy:3128"})` is `"a proxy is set"`.
    """
    parts = urlsplit(address)
    if parts.username is not None:
        return "its address holds credentials"
    if not (address.isascii() and address.isprintable()) or " " in address:
        return "its address is to be encoded"
    if parts.scheme == "https" and (environment.get("SSL_CERT_FILE") or environment.get("SSL_CERT_DIR")):
        return "SSL_CERT_FILE or SSL_CERT_DIR is set"
    if not (proxies.keys().isdisjoint({parts.scheme, "all"}) or _goes_past(parts.hostname or "", proxies)):
        return "a proxy is set"
    return ""


def _goes_past(host: str, proxies: Mapping[str, str]) -> bool:
    """True of a host that NO_PROXY names, by its name or by a domain; a name with a dot before it is none of a host."""
    names = [name.strip().lower() for name in proxies.get("no", "").split(",")]
    return "*" in names or any(name and (host == name or host.endswith(f".{name.lstrip('.')}")) for name in names)


def _good(answer: HttpAnswer, sending: bool = False) -> bytes:
    """The body of a good answer. Raises UpstreamError, and Moved."""
    if answer.is_redirect:
        raise Moved
    if not answer.is_good:
        raise from_status(answer.status, sending)
    return answer.body


def _to_error(failure: HttpFailure, sending: bool) -> errors.UpstreamError:
    """`sending`: a message is on its way; what breaks after the connection stood may have reached Letta."""
    if failure.silent:
        return errors.TimedOut(str(failure), taken=sending)
    return errors.BrokenStream(str(failure)) if sending and failure.stood else errors.Unreachable(str(failure))
