"""What every request passes: its id and its line in the log; without keys, the guard of the own machine."""

import logging
import time
import uuid
from urllib.parse import urlsplit

from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.openai_wire.errors import Forbidden

# What a browser on this machine calls it; any other name may have been pointed here from outside.
OWN_NAMES = ("localhost", "127.0.0.1", "::1")

access = logging.getLogger("gateway.access")


def with_request_id(app: ASGIApp) -> ASGIApp:
    """Give every response an `x-request-id`, and log one line that carries it."""

    async def identified(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        id, started, status = f"req_{uuid.uuid4().hex}", time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableScopeHeaders.from_message(message)["x-request-id"] = id
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        finally:
            milliseconds = (time.monotonic() - started) * 1000
            # The route and not the path: a path may hold anything.
            route = scope.get("path_template") or "-"
            access.info("%s %s %s %s %.0f ms", id, scope.get("method"), route, status or "-", milliseconds)

    return identified


def own_machine_only(app: ASGIApp) -> ASGIApp:
    """Refuse what does not come from this machine: another `Host` (DNS rebinding), another `Origin` (any web page)."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        _check_local(Headers.from_scope(scope))
        await app(scope, receive, send)

    return guarded


def _check_local(headers: Headers) -> None:
    """Raises Forbidden."""
    if not is_local(f"//{headers.get('host', '')}"):
        raise Forbidden(
            "Without keys this gateway answers as localhost, 127.0.0.1 or [::1] only.",
            code="host_not_allowed",
        )
    origin = headers.get("origin")
    if origin is not None and not is_local(origin):
        raise Forbidden("Without keys this gateway answers no web page from elsewhere.", code="origin_not_allowed")


def is_local(url: str) -> bool:
    """Whether `url` names this machine as a browser on it does."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host in OWN_NAMES
