"""The command `letta-gateway demo`: a gateway with a Letta of its own, and all that a newcomer needs to talk to it."""

import json
import os
import secrets
import socket
from pathlib import Path

from gateway.settings import OPEN_WEBUI_HEADERS, Secret, Settings

USUAL_PORT = 8000
DEMO_HOST = "127.0.0.1"


def read_key(state: Path) -> Secret:
    """The demo's key, made on first use and kept, so that frontends stay connected. Raises OSError."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = state / "demo-key"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as made:
            made.write(f"sk-demo-{secrets.token_urlsafe(24)}\n")
    return Secret(file.read_text().strip())


def free_port() -> int:
    """The usual port; if another process has it, a free one; 0 if none can be found."""
    for port in (USUAL_PORT, 0):
        try:
            with socket.create_server((DEMO_HOST, port)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    return 0


def tell_address(settings: Settings, address: str, model_line: str) -> None:
    """Print how to talk to the gateway at `address`: on its page, with curl, and from Open WebUI."""
    key, model = settings.keys[0], settings.agent_types[0].id
    assert key.key
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello! My name is Ada."}],
    }
    print(
        f"{model_line}\n"
        f"Chat with it in your browser: {address}/\n\n"
        f"address: {address}/v1\n"
        f"key: {key.key.reveal()}\n"
        f"model: {model}\n\n"
        f"Try it:\n"
        f"curl -N {address}/v1/chat/completions -H 'Authorization: Bearer {key.key.reveal()}' "
        f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'\n\n"
        f"Open WebUI, started with ENABLE_FORWARD_USER_INFO_HEADERS=true, so that it says who asks:\n"
        f"Admin Panel > Settings > Connections > OpenAI API > +, and there Advanced for the headers\n"
        f"  URL: {address}/v1\n"
        f"  Auth: Bearer {key.key.reveal()}\n"
        f"  Headers: {json.dumps(OPEN_WEBUI_HEADERS)}\n\n"
        f"{address}/connect says more. Ctrl+C ends it.",
        flush=True,
    )
