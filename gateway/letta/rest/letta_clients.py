"""letta-client as the gateway uses it, and the errors that it and its transport raise. Alone knows letta-client.

Where letta-client's habits are left:

1. It resends a POST twice by itself. A message sent twice is stored twice, so nothing that makes something is resent.
2. It gives up reading after 60 s. A run may think for longer; its stream has the limit of three of Letta's pings.
3. It builds a pydantic object per event, at ten times the cost of the rest of its way. Bodies are decoded by msgspec.
4. It holds at most 100 connections; every run needs one.
5. It looks at each part of a body for a tenth of a millisecond and more, on the event loop. What a caller has written
   goes past that, in `extra_body`.
6. aiohttp writes a body of bytes in one go, and warns of those above 1 MB. Large ones, with pictures, go in pieces.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import aiohttp
import httpx
import letta_client.resources  # otherwise imported by its first use, while requests wait
from letta_client import AsyncLetta, DefaultAioHttpClient, omit

from gateway.domain import errors
from gateway.letta.error_words import from_status
from gateway.letta.rest.decoder import RunReading
from gateway.letta.rest.http_client import SENT_AT_ONCE
from gateway.letta.rest.turn_calls import CONNECT_SECONDS, DEAD_AFTER_PINGS, KEEPALIVE_SECONDS, key_of
from gateway.settings import Letta
from gateway.trace_context import TRACEPARENT, TRACEPARENT_HEADER

# In place of a parameter that is not sent.
LEFT_OUT = omit
# Of a connection that was not made; what fails later may have reached Letta.
NEVER_STOOD = (httpx.ConnectError, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


Transport = httpx.AsyncClient


def tls_for(address: str) -> ssl.SSLContext | None:
    """The trust that letta-client has in an address of https; None for any other."""
    return httpx.create_ssl_context() if address.startswith("https:") else None


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), SENT_AT_ONCE):
            yield bytes(self._body[start : start + SENT_AT_ONCE])


class _HttpxClient(DefaultAioHttpClient):
    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        if trace := TRACEPARENT.get():
            request.headers[TRACEPARENT_HEADER] = trace
        if len(request.content) > SENT_AT_ONCE:
            request = httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                stream=_Pieces(request.content),
                extensions=request.extensions,
            )
        return await super().send(request, **how)


class LettaClients:
    """letta-client in two ways, on the same connections; and the calls of a turn through it (`TurnCalls`)."""

    def __init__(self, settings: Letta, transport: Transport | None = None) -> None:
        limits = httpx.Limits(max_connections=settings.max_connections, keepalive_expiry=KEEPALIVE_SECONDS)
        self._httpx = transport or _HttpxClient(limits=limits, follow_redirects=True)
        self.patient = AsyncLetta(
            base_url=settings.address.rstrip("/"),
            api_key=key_of(settings),
            http_client=self._httpx,
            timeout=httpx.Timeout(settings.request_seconds, connect=CONNECT_SECONDS),
            max_retries=1,
        )
        """Sends what makes nothing once more, where it fails."""
        self.once = self.patient.with_options(max_retries=0)
        """Sends everything once."""
        silence = settings.ping_seconds * DEAD_AFTER_PINGS
        self._run_timeout = httpx.Timeout(silence, connect=CONNECT_SECONDS, pool=settings.request_seconds)

    async def find(self, agent_id: str | None, summary: str, after: str, limit: int) -> bytes:
        with letta_errors():
            response = await self.patient.conversations.with_raw_response.list(
                agent_id=agent_id or omit, summary_search=summary, order="asc", limit=limit, after=after or omit
            )
        return response.http_response.content

    async def create(self, agent_id: str, summary: str) -> bytes:
        with letta_errors():
            response = await self.once.conversations.with_raw_response.create(agent_id=agent_id, summary=summary)
        return response.http_response.content

    async def rename(self, conversation_id: str, summary: str) -> None:
        with letta_errors():
            await self.patient.conversations.with_raw_response.update(conversation_id, summary=summary)

    async def stream(self, conversation_id: str, body: dict[str, Any], reading: RunReading) -> None:
        with letta_errors(sending=True):
            async with self.once.conversations.messages.with_streaming_response.create(
                conversation_id,
                streaming=True,
                extra_headers={"Accept": "text/event-stream", "Accept-Encoding": "identity"},
                extra_body=body,
                timeout=self._run_timeout,
            ) as response:
                # Not `aiter_bytes`: nothing is compressed, and each of its layers costs every event.
                async for data in cast(httpx.AsyncByteStream, response.http_response.stream):
                    reading.feed(data)
        reading.end()

    async def aclose(self) -> None:
        await self._httpx.aclose()


@contextmanager
def letta_errors(sending: bool = False) -> Iterator[None]:
    """Turn what letta-client and its transport raise into UpstreamError.

    `sending`: a message is on its way, so that what breaks after the connection stood may have reached Letta.
    """
    try:
        yield
    except letta_client.APIStatusError as error:
        raise from_status(error.status_code, sending) from error
    except (letta_client.APIConnectionError, httpx.TransportError) as error:
        raise _from_transport(error, sending) from error


def _from_transport(error: Exception, sending: bool) -> errors.UpstreamError:
    cause = error.__cause__ if isinstance(error, letta_client.APIConnectionError) else error
    name = type(cause).__name__
    if isinstance(cause, httpx.ReadTimeout):
        return errors.TimedOut(name, taken=sending)
    # The transport says ConnectTimeout of every connection that fails; its own cause tells when.
    if isinstance(cause, httpx.ConnectTimeout) and cause.__cause__:
        cause = cause.__cause__
        name = type(cause).__name__
    never_stood = isinstance(cause, NEVER_STOOD)
    return errors.BrokenStream(name) if sending and not never_stood else errors.Unreachable(name)
