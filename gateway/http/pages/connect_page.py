"""The page at `GET /connect`, which says how to connect; it needs no key, and tells nothing that a key opens."""

import base64
import hashlib
import json
import re
import shlex
from html import escape
from pathlib import Path
from string import Template

from litestar import MediaType, Request, Response, route
from litestar.datastructures import State
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from gateway.http.parts import parts_of
from gateway.settings import OPEN_WEBUI_HEADERS, Settings

HTML = Path(__file__).with_name("connect_page.html").read_text(encoding="utf-8")
STYLE = HTML.partition("<style>")[2].partition("</style>")[0]
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONNECT_PAGE_HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # The address comes from a header of the request: one caller's must not be shown to another.
    "cache-control": "no-store",
}
# A name, an IPv4 address or an IPv6 address, and perhaps a port; anything else in `Host` is no address at all.
HOST_PATTERN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII
)

PLACEHOLDERS = "Fill in {}. "
FORWARD = '<code class="all">ENABLE_FORWARD_USER_INFO_HEADERS=true</code>'
USER_FROM = '<code class="all">user_from = ["header:X-OpenWebUI-User-Id"]</code>'
WITH_KEYS = {
    "key_needed": "Needed. Whoever runs this gateway has one for you; <code>demo</code> has printed it.",
    "auth": "Bearer, and the key",
    "models": "Those of your key: <code>GET /v1/models</code> lists them.",
    "persons": f"Start Open WebUI with {FORWARD}, so that it says who is asking, and give its key {USER_FROM} in the "
    "gateway's configuration: then every person gets an agent of their own. <code>demo</code> has done its part.",
}
WITHOUT_KEYS = {
    "key_needed": "None. Without keys this gateway answers its own machine only.",
    "auth": "None",
    "persons": "Without keys everybody in Open WebUI shares one agent. For agents of their own, start Open WebUI with "
    f"{FORWARD}, and configure a key here with {USER_FROM}.",
}


def connect_page(*paths: str) -> HTTPRouteHandler:
    """The route that shows the page at each of `paths`."""
    return route(list(paths), http_method=[HttpMethod.GET, HttpMethod.HEAD], name="page")(show_page)


async def show_page(request: Request[None, None, State]) -> Response[str]:
    """Show how to connect to this gateway, at the address by which it was asked."""
    settings = parts_of(request).settings
    page = render(settings, address_of(request.scope["scheme"], request.headers.get("host", "")))
    return Response(page, media_type=MediaType.HTML, headers=CONNECT_PAGE_HEADERS)


def address_of(scheme: str, host: str) -> str | None:
    """The gateway's address as its caller wrote it, `http://localhost:8000/v1`; None if `host` cannot be in one."""
    return f"{'https' if scheme == 'https' else 'http'}://{host}/v1" if HOST_PATTERN.fullmatch(host) else None


def render(settings: Settings, address: str | None) -> str:
    """The HTML of the page; model ids are on it only if no key is needed to see them."""
    base, key, model = address or "ADDRESS/v1", "KEY", "MODEL"
    words = dict(WITH_KEYS)
    if settings.open:
        key, model = "none-needed", settings.agent_types[0].id
        words = {**WITHOUT_KEYS, "models": ", ".join(_code(agent_type.id) for agent_type in settings.agent_types)}
    return Template(HTML).substitute(
        words,
        where=_code(address) if address else "this server's address + <code>/v1</code>",
        headers=escape(json.dumps(OPEN_WEBUI_HEADERS), quote=False),
        placeholders=_placeholders(base, key, model),
        curl=escape(_curl(base, "" if settings.open else key, model), quote=False),
        python=escape(_python(base, key, model), quote=False),
    )


def _code(text: str) -> str:
    return f'<code class="all">{escape(text)}</code>'


def _placeholders(base: str, key: str, model: str) -> str:
    """The sentence that names the placeholders that are left to fill in; empty if there are none."""
    left = [word for word in ("ADDRESS", "KEY", "MODEL") if word in (base.removesuffix("/v1"), key, model)]
    return PLACEHOLDERS.format(", ".join(f"<code>{word}</code>" for word in left)) if left else ""


def _curl(base: str, key: str, model: str) -> str:
    authorization = f"  -H 'Authorization: Bearer {key}' \\\n" if key else ""
    body = f"""{{"model": {json.dumps(model)}, "user": "ada", "stream": true,
       "messages": [{{"role": "user", "content": "Hello!"}}]}}"""
    return (
        f"curl -N {base}/chat/completions \\\n"
        f"{authorization}  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)}"
    )


def _python(base: str, key: str, model: str) -> str:
    return f"""from openai import OpenAI

client = OpenAI(
    base_url="{base}",
    api_key="{key}",
)
chunks = client.chat.completions.create(
    model={json.dumps(model)},
    user="ada",
    messages=[{{"role": "user", "content": "Hello!"}}],
    stream=True,
)
for chunk in chunks:
    print(chunk.choices[0].delta.content or "", end="", flush=True)"""
