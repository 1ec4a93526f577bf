"""An application called without a server: what another server than uvicorn might pass on, and what stays in a scope."""

import asyncio
from typing import Any

from tests.gateways import KEY


async def call(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages that the application sends to a client of which it receives these, and that then stays."""
    incoming = list(received)
    sent: list[dict[str, Any]] = []

    complete = asyncio.Event()

    async def receive() -> Any:
        if incoming:
            return incoming.pop(0)
        # https://asgi.readthedocs.io/en/latest/specs/www.html#disconnect-receive-event
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            complete.set()

    common: dict[str, Any] = {"query_string": b"", "root_path": "", "client": None, "server": None, "extensions": {}}
    await app({"asgi": {"version": "3.0"}, "http_version": "1.1", **common, **scope}, receive, send)
    return sent


def post(**headers: str) -> dict[str, Any]:
    """The scope of a chat completion."""
    given = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
    return {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
