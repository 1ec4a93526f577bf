"""Who sees the metrics: on both addresses, with each kind of key, without keys, and from a web page."""

import msgspec
import pytest

from gateway.app import create_app, create_metrics_app
from gateway.settings import Key, Metrics, Secret, Settings
from tests.gateways import PROGRAMS, settings_for
from tests.http.asgi import call
from tests.turns.memory_letta import MemoryLetta

PAGE = "https://chat.example.org"
WATCHER = Key(name="watcher", key=Secret("sk-watch"), metrics=True, origins=(PAGE,))
KEYS = (PROGRAMS, WATCHER)
PATHS = ("/metrics", "/metrics/chats")
PUBLIC, HERE, EVERYWHERE = "public", "127.0.0.1", "0.0.0.0"
OWN, OTHER = "127.0.0.1:9464", "gateway.example.org"
# which address, the keys that there are, the `Host`, the key shown, the web page -> status and code
SEES: dict[str, tuple[str, tuple[Key, ...], str, str, str, tuple[int, str | None]]] = {
    "public, a key for metrics": (PUBLIC, KEYS, OTHER, "sk-watch", "", (200, None)),
    "public, another key": (PUBLIC, KEYS, OTHER, "sk-test", "", (403, "metrics_not_allowed")),
    "public, a wrong key": (PUBLIC, KEYS, OTHER, "sk-none", "", (401, "invalid_api_key")),
    "public, no key": (PUBLIC, KEYS, OTHER, "", "", (401, "invalid_api_key")),
    "public, a web page with a key for metrics": (PUBLIC, KEYS, OTHER, "sk-watch", PAGE, (403, "origin_not_allowed")),
    "public, a web page without one": (PUBLIC, KEYS, OTHER, "", PAGE, (403, "origin_not_allowed")),
    "public, no key is for metrics": (PUBLIC, (PROGRAMS,), OTHER, "sk-test", "", (404, "unknown_url")),
    "public, no keys at all, this machine": (PUBLIC, (), OWN, "", "", (200, None)),
    "public, no keys at all, another name": (PUBLIC, (), OTHER, "", "", (403, "host_not_allowed")),
    "public, no keys at all, a web page": (PUBLIC, (), OWN, "", PAGE, (403, "origin_not_allowed")),
    "public, no keys at all, this machine's page": (PUBLIC, (), OWN, "", f"http://{OWN}", (403, "origin_not_allowed")),
    "own on the loopback": (HERE, KEYS, OWN, "", "", (200, None)),
    "own on the loopback, any key": (HERE, KEYS, OWN, "sk-test", "", (200, None)),
    "own on the loopback, another name": (HERE, KEYS, OTHER, "", "", (403, "host_not_allowed")),
    "own on the loopback, a web page": (HERE, KEYS, OWN, "", PAGE, (403, "origin_not_allowed")),
    "own on the loopback, this machine's page": (HERE, KEYS, OWN, "", f"http://{OWN}", (403, "origin_not_allowed")),
    "own for other machines": (EVERYWHERE, KEYS, OTHER, "", "", (200, None)),
    "own for other machines, a web page": (EVERYWHERE, KEYS, OTHER, "", PAGE, (403, "origin_not_allowed")),
}


def settings_of(address: str, keys: tuple[Key, ...]) -> Settings:
    settings = settings_for("http://letta", keys=keys)
    if address == PUBLIC:
        return settings
    return msgspec.structs.replace(settings, metrics=Metrics(host=address, port=0))


@pytest.mark.anyio
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("address", "keys", "host", "key", "page", "sees"), SEES.values(), ids=SEES)
async def test_who_sees_metrics(
    path: str, address: str, keys: tuple[Key, ...], host: str, key: str, page: str, sees: tuple[int, str | None]
) -> None:
    settings = settings_of(address, keys)
    app = create_app(settings, MemoryLetta())
    asked = app if address == PUBLIC else create_metrics_app(app, settings)
    headers = {"host": host, "authorization": f"Bearer {key}" if key else "", "origin": page}
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value],
    }
    start, body = await call(asked, scope)

    told = msgspec.json.decode(body["body"]) if start["status"] >= 400 else {"error": {"code": None}}
    assert (start["status"], told["error"]["code"]) == sees
    # Nothing that a page could read it by, but for errors of a key's own origin.
    if start["status"] == 200:
        assert dict(start["headers"])[b"cross-origin-resource-policy"] == b"same-origin"
        assert not [name for name, _ in start["headers"] if name.startswith(b"access-control")]


@pytest.mark.anyio
async def test_the_address_for_metrics_serves_nothing_else() -> None:
    settings = settings_of(HERE, KEYS)
    app = create_metrics_app(create_app(settings, MemoryLetta()), settings)
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/v1/models", "raw_path": b"/v1/models"}
    start, body = await call(app, {**scope, "headers": [(b"host", OWN.encode())]})

    assert start["status"] == 404
    assert b"There are /metrics and /metrics/chats at this address, and nothing else." in body["body"]
