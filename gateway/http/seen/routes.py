"""`GET /metrics` and `GET /metrics/chats`: on the public address for keys that may, and on one of their own."""

from collections.abc import Callable
from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import Headers, State
from litestar.handlers import HTTPRouteHandler

from gateway.domain.errors import Forbidden, RouteNotFound
from gateway.http.middleware import is_own_host
from gateway.http.parts import Numbers, admit, parts_of
from gateway.http.seen.chats import ChatsUnderWay, to_chats
from gateway.settings import is_loopback

# Raises GatewayError for a request that may not read.
Admit = Callable[[Request[Any, Any, Any]], None]
# No cache keeps it, and a page that loads it as something else than it is gets nothing of it.
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


def metrics_routes(lets_in: Admit) -> list[HTTPRouteHandler]:
    """The routes, for those whom `lets_in` does not refuse."""

    @get("/metrics", name="metrics")
    async def show_metrics(request: Request[None, None, State]) -> Response[bytes]:
        """Show all metrics, as Prometheus reads them. Raises GatewayError."""
        lets_in(request)
        numbers, whole = _numbers(request), parts_of(request).whole
        shown = await (whole.numbers() if whole else numbers.exposed())
        return Response(shown, media_type=numbers.content_type, headers=_HEADERS)

    @get("/metrics/chats", name="chats_under_way")
    async def show_chats(request: Request[None, None, State]) -> Response[ChatsUnderWay]:
        """Show the slowest chats under way, which are no metric: a label of theirs would have no bound.

        Raises GatewayError.
        """
        lets_in(request)
        _numbers(request)
        parts = parts_of(request)
        shown = await parts.whole.chats() if parts.whole else to_chats(parts.under_way.chats)
        return Response(shown, headers=_HEADERS)

    return [show_metrics, show_chats]


@get(["/", "/{rest:path}"], name="nothing_else")
async def nothing_else() -> None:
    """Say what there is at the address for metrics. Raises RouteNotFound."""
    raise RouteNotFound("There are /metrics and /metrics/chats at this address, and nothing else.")


def admit_key(request: Request[Any, Any, Any]) -> None:
    """Admit keys with `metrics = true`, and nobody else; of a gateway without keys, this machine.

    Raises InvalidApiKey, Forbidden, AmbiguousHeader; and RouteNotFound where nothing is counted.
    """
    _numbers(request)
    _check_page(request.headers)
    if not admit(request).key.metrics:
        raise Forbidden("This key may not read metrics: it lacks `metrics = true`.", code="metrics_not_allowed")


def admit_at(host: str) -> Admit:
    """Admit whoever reaches the address `host`: on a loopback one under this machine's names only (DNS rebinding)."""

    def lets_in(request: Request[Any, Any, Any]) -> None:
        if is_loopback(host) and not is_own_host(request.headers):
            raise Forbidden("Metrics are told as localhost, 127.0.0.1 or [::1] only.", code="host_not_allowed")
        _check_page(request.headers)

    return lets_in


def _check_page(headers: Headers) -> None:
    """Refuse web pages, whatever key they have: `Origin` is theirs. Raises Forbidden."""
    if headers.getall("origin", []):
        raise Forbidden("Metrics are told to no web page.", code="origin_not_allowed")


def _numbers(request: Request[Any, Any, Any]) -> Numbers:
    numbers = parts_of(request).metrics
    if numbers is None:
        raise RouteNotFound("Nothing is counted here: that takes `[metrics] port`, or a key with `metrics = true`.")
    return numbers
