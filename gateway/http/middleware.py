"""The layers around the application: request ids and records, a limit of requests, and a guard if there are no keys."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.domain.errors import Forbidden, GatewayError, Overloaded
from gateway.http.record import REQUEST_ID, Record, keep_record, new_request_id, record_of
from gateway.http.seen.under_way import RequestsUnderWay
from gateway.http.unserved import plain, shown_path
from gateway.turns.runs.account import Account
from gateway.wires.envelope import to_json

# This machine's names, as a browser on it writes them (https://url.spec.whatwg.org/#host-serializing): any other name
# may have been pointed here from outside, and another spelling comes from no browser.
_OWN = r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[1-9][0-9]{0,4})?"
OWN_HOST = re.compile(_OWN)
OWN_ORIGIN = re.compile(f"https?://{_OWN}")
FULL = "This gateway has as many answers under way as it takes. Please try again later."
# The messages that begin an answer; the status of an upgrade is 101.
_BEGINS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
SWITCHING_PROTOCOLS = 101
# https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
POLICY_VIOLATED = 1008
ENDING = "This gateway is being shut down or restarted. Please try again in a moment."


def with_request_id(app: ASGIApp, under_way: RequestsUnderWay) -> ASGIApp:
    """`app` with an `x-request-id` on every response, and a record of every request, which carries the same id.

    The record is among those `under_way` until the request is over.
    """

    async def identified(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in (ScopeType.HTTP, ScopeType.WEBSOCKET):
            await app(scope, receive, send)
            return
        record = Record(new_request_id(), str(scope.get("method", "GET")), shown_path(scope["path"]))
        keep_record(scope, record)
        under_way.begin(record)
        of_none = REQUEST_ID.set(record.id)

        async def send_with_id(message: Message) -> None:
            if message["type"] in _BEGINS:
                status: Any = message.get("status", SWITCHING_PROTOCOLS)
                record.status = status
                headers = MutableScopeHeaders.from_message(message)
                headers["x-request-id"] = record.id
                if "content-encoding" in headers:
                    # Here, because Litestar's CORS writes `Vary` anew.
                    headers.extend_header_value("vary", "Accept-Encoding")
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        finally:
            under_way.end(record)
            REQUEST_ID.reset(of_none)

    return identified


def refuse(error: GatewayError, under_way: RequestsUnderWay | None) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an answer to bytes that never became a request; it has an id and a line in the log, too.

    Those who are told of requests are told of it as well.
    """
    record = Record(new_request_id(), status=error.status_code)
    record.fail(error)
    record.write()
    if under_way:
        under_way.observe(record)
    return _told(error, **{"connection": "close", "x-request-id": record.id})


def _told(error: GatewayError, **more: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an answer that tells of an error, for use outside of Litestar."""
    body = to_json(error)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **more, **error.headers}
    return [(name.encode(), value.encode()) for name, value in headers.items()], body


class Door:
    """The way in: it lets in at most so many answers at one time, and once it is closed, nothing of the API.

    It is no middleware of Litestar's: that would stand between an answer and its client for every event of a stream.
    """

    def __init__(self, most: int, paths: frozenset[str]) -> None:
        """`paths` are where answers are asked for; what else there is takes no time, and is not counted."""
        self.under_way = 0
        """How many answers are."""
        self._most = most
        self._paths = paths
        self._closed = False
        self._told: set[Callable[[], None]] = set()

    @property
    def closed(self) -> bool:
        """True: the gateway is about to end."""
        return self._closed

    @closed.setter
    def closed(self, closed: bool) -> None:
        self._closed = closed
        for tell in [*self._told]:
            tell()

    @property
    def staying(self) -> int:
        """How many clients are inside that may ask again: those with a WebSocket."""
        return len(self._told)

    @contextmanager
    def staying_in(self, closing: Callable[[], None]) -> Iterator[None]:
        """A client may ask again while entered; `closing` is called when the door is closed."""
        self._told.add(closing)
        try:
            yield
        finally:
            self._told.discard(closing)

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """One more answer is under way while entered. Raises Overloaded."""
        if self._closed:
            raise Overloaded(ENDING)
        if self.is_full:
            raise Overloaded(FULL)
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    def count_until_over(self, account: Account) -> None:
        """One answer more is under way until the run is over that fills this account: its client waits no longer."""
        self.under_way += 1
        account.when_closed(self._one_less)

    def _one_less(self) -> None:
        self.under_way -= 1

    @property
    def is_full(self) -> bool:
        return self.under_way >= self._most

    def guard(self, app: ASGIApp) -> ASGIApp:
        """`app` behind this door; what it does not let in is refused as Overloaded (503)."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            is_http = scope["type"] == ScopeType.HTTP
            path = plain(scope["path"]) if is_http or scope["type"] == ScopeType.WEBSOCKET else ""
            # Of a WebSocket each answer comes in by itself.
            is_asked = is_http and scope.get("method") == "POST" and path in self._paths
            if self.closed and path.startswith("/v1"):
                await send_refusal(scope, send, Overloaded(ENDING), connection="close")
            elif not is_asked:
                await app(scope, receive, send)
            elif self.is_full:
                await send_refusal(scope, send, Overloaded(FULL))
            else:
                with self.one_more():
                    await app(scope, receive, send)

        return guarded


async def send_refusal(scope: Scope, send: Send, error: GatewayError, **more: str) -> None:
    """Answer a request, or one for a WebSocket, with an error, which its record notes; outside of Litestar."""
    record_of(scope).fail(error)
    headers, body = _told(error, **more)
    is_socket = scope["type"] == ScopeType.WEBSOCKET
    if is_socket and "websocket.http.response" not in (scope.get("extensions") or {}):
        # Of a server that knows no other way: a 403.
        await send({"type": "websocket.close", "code": POLICY_VIOLATED, "reason": ""})
        return
    # https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
    prefix = "websocket." if is_socket else ""
    start: Any = {"type": f"{prefix}http.response.start", "status": error.status_code, "headers": headers}
    await send(start)
    end: Any = {"type": f"{prefix}http.response.body", "body": body, "more_body": False}
    await send(end)


def own_machine_only(app: ASGIApp) -> ASGIApp:
    """`app` for requests of this machine only; others raise Forbidden.

    Others have another `Host` (DNS rebinding) or another `Origin` (any web page).
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        check_own_machine(Headers.from_scope(scope))
        await app(scope, receive, send)

    return guarded


def check_own_machine(headers: Headers) -> None:
    """Check that a request comes from this machine. Raises Forbidden."""
    if not is_own_host(headers):
        raise Forbidden(
            "Without keys this gateway answers as localhost, 127.0.0.1 or [::1] only.",
            code="host_not_allowed",
        )
    if not is_own_origin(headers):
        raise Forbidden("Without keys this gateway answers no web page from elsewhere.", code="origin_not_allowed")


def is_own_host(headers: Headers) -> bool:
    """True if the request has one `Host`, which names this machine as a browser on it does."""
    hosts = headers.getall("host", [])
    return len(hosts) == 1 and OWN_HOST.fullmatch(hosts[0]) is not None


def is_own_origin(headers: Headers) -> bool:
    """True if the request comes from no web page (it has no `Origin`), or from one of this machine."""
    origins = headers.getall("origin", [])
    return not origins or (len(origins) == 1 and OWN_ORIGIN.fullmatch(origins[0]) is not None)
