"""The chat page at `/` and its files; it talks to the gateway as any other client does."""

import mimetypes
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from litestar import MediaType, Request, Response, Router, route
from litestar.datastructures import CacheControlHeader, Headers, State
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.static_files import create_static_files_router

from gateway.http.middleware import is_own_host
from gateway.settings import Secret

# Browsers run modules of this type only, and systems differ in the type that they give `.js`.
mimetypes.add_type("text/javascript", ".js")
WEB = Path(__file__).with_name("web")
CHAT_PAGE_HEADERS = {
    # Pictures that a person shows (`blob:`), and those that stand in an answer itself (`data:`) load nothing.
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
# The headers that proxies add: a person behind a proxy may be anywhere, whatever `Host` the proxy sends.
PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def chat_page(key: Secret | None) -> list[HTTPRouteHandler | Router]:
    """The routes of the page and its files. If the page is opened on this machine, `key` is filled in; else it asks."""
    files = create_static_files_router(
        "/web", [WEB], name="web", after_request=_guarded, cache_control=CacheControlHeader(no_cache=True)
    )
    html = Template((WEB / "index.html").read_text(encoding="utf-8"))

    @route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD], name="chat_page", sync_to_thread=False)
    def show_chat_page(request: Request[None, None, State]) -> Response[str]:
        filled = key.reveal() if key and opened_here(request.headers) else ""
        headers = {**CHAT_PAGE_HEADERS, "cache-control": "no-store"}
        return Response(html.substitute(key=escape(filled)), media_type=MediaType.HTML, headers=headers)

    return [show_chat_page, files]


def opened_here(headers: Headers) -> bool:
    """True if a person on this machine opens the page by its own address, and no other web page does."""
    # https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header: `none` is an address bar or a bookmark.
    by_a_person = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    return is_own_host(headers) and by_a_person and not any(name in headers for name in PROXIED)


def _guarded(response: Response[Any]) -> Response[Any]:
    response.headers.update(CHAT_PAGE_HEADERS)
    return response
