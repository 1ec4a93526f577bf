"""What a gateway imports, and when: told by Python itself, of a `serve` in a process of its own."""

import gzip
import json
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt

from tests.gateways import KEY, GatewayProcess, chat
from tests.integration.words import someone
from tests.pictures.drawn import picture
from tests.sockets import socket

# https://docs.python.org/3/using/cmdline.html#envvar-PYTHONPROFILEIMPORTTIME: a line for each module, once it is there.
IMPORTED = re.compile(r"import time: +\d+ \| +\d+ \| *(\S+)")
URL, TOKEN_HEADER = "/v1/chat/completions", "X-OpenWebUI-User-Jwt"
JWT_KEY, JWT_SECRET = "sk-signed", "0123456789abcdef0123456789abcdef"
CONFIG = """
{letta}

[images]
fetch = true

[server]
chat_page = true
state = "{state}"

[tasks]
{tasks}

[[agent_types]]
id = "tutor"
model = "{model}"

[[keys]]
name = "programs"
key = "{key}"
tool_activity = "rich"
metrics = true
origins = ["https://chat.example.org"]
limits = {{tokens_per_month = 1_000_000}}
user_limits = {{requests_per_minute = 1000, streams = 100, tokens_per_day = 1_000_000}}

[[keys]]
name = "signed"
key = "{jwt_key}"
user_from = ["jwt:{header}"]
jwt_secret = "{jwt_secret}"
"""
MODELS = ("/v1/models", "/v1/models/tutor", "/v1/models/none")
PATHS = ("/readyz", "/healthz", *MODELS, "/v1/usage?user=a", "/v1/usage?user=a&user=b", "/v1/none", "/", "/connect")
METRICS = ("/metrics", "/metrics/chats")
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
STRICT = {"name": "strict", "strict": True, "parameters": {"type": "object", "properties": {"a": {"pattern": "^a+$"}}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
# A pattern is judged in another process.
PATTERN = {"type": "object", "properties": {"city": {"type": "string", "pattern": "^[a-z]+$"}}}


class Imports:
    """The modules that a gateway imported before it was ready, and those that it has imported since."""

    def __init__(self, log: list[str]) -> None:
        (ready,) = [i for i, line in enumerate(log) if "Serving at " in line]
        (ending,) = [i for i, line in enumerate(log) if " Ending" in line]
        self.before = set(_imported(log[:ready]))
        self.since = list(_imported(log[ready:ending]))


def _imported(log: list[str]) -> Iterator[str]:
    yield from (found[1] for found in map(IMPORTED.search, log) if found)


def config_of(directory: Path, letta: str, model: str = "m/one", tasks: str = "") -> Path:
    """A configuration in which everything is switched on that a request may ask for."""
    path = directory / "gateway.toml"
    secrets = {"key": KEY, "jwt_key": JWT_KEY, "header": TOKEN_HEADER, "jwt_secret": JWT_SECRET}
    path.write_text(CONFIG.format(letta=letta, model=model, tasks=tasks, state=directory / "used", **secrets))
    return path


@contextmanager
def importing(config: Path, **environ: str) -> Iterator[GatewayProcess]:
    """A gateway that tells what it imports; when it has ended, `Imports` reads it in its log."""
    with GatewayProcess(config, PYTHONPROFILEIMPORTTIME="1", **environ) as process:
        yield process


def use(url: str) -> list[int]:
    """Ask a gateway for whatever it has, in all the ways that it knows; gives the statuses of all answers."""
    with socket(url) as connection:
        # Answered, prepared, gone on with, refused.
        user = someone()
        for frame in ({}, {"generate": False, "store": False}, {"previous_response_id": "resp_1"}, {"model": 1}):
            connection.ask(**{"user": user, **frame})
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=120) as client:
        return [response.status_code for response in _asked(client, someone())]


def _asked(client: httpx.Client, user: str) -> Iterator[httpx.Response]:
    for path in (*PATHS, *METRICS):
        yield client.get(path)
    for asset in re.findall(r'(?:src|href)="(/?[^"#:]+\.(?:js|css|svg))"', client.get("/").text):
        yield client.get(asset, headers={"accept-encoding": "gzip"})
    yield client.get("/v1/models", headers={"authorization": "Bearer wrong"})
    yield client.options(URL, headers={"origin": "https://chat.example.org", "access-control-request-method": "POST"})
    for number, body in enumerate(_bodies()):
        more = {"user": user, "metadata": {"chat_id": f"chat {number}"}}
        yield client.post(URL, json=chat(**more | body), headers={"idempotency-key": someone()})
    yield from _encoded(client, user)
    yield from _named(client, user)
    # A client that leaves.
    with client.stream("POST", URL, json=chat("!hang-after one two", user=user, stream=True)) as left:
        next(left.iter_bytes())
        yield left
    yield client.get("/healthz")


def _bodies() -> Iterator[dict[str, Any]]:
    yield {}
    for text in ("My name is Ada.", "What is my name?", "!think hm\n!say well", "!fail 500", "!cut-after one"):
        yield {**_says(text), "stream": True, "stream_options": {"include_usage": True}}
    yield from ({"reasoning_effort": "none"}, {"temperature": 0.5, "max_tokens": 50}, {"n": 2}, {"model": "none"})
    for schema in (SCHEMA, PATTERN, {"type": "none"}):
        told = {"type": "json_schema", "json_schema": {"name": "one", "schema": schema}}
        yield {**_says('!say {"city": "oslo"}'), "response_format": told}
    yield {**_says('!say {"a": 1}'), "response_format": {"type": "json_object"}}
    yield {**_says("!tool weather {}"), "tools": [WEATHER], "stream": True}
    yield {**_says('!tool strict {"a": "aa"}'), "tools": [{"type": "function", "function": STRICT}]}
    yield {"tools": [WEATHER], "tool_choice": "required"}
    for url in (picture().url, "https://127.0.0.1/a.png", "https://none.invalid/a.png", "data:image/png;base64,?"):
        parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
        yield {"messages": [{"role": "user", "content": parts}]}
    # A history that nobody knows.
    yield {"messages": [{"role": role, "content": "ü" * 9} for role in ("user", "assistant", "user")], "metadata": {}}
    yield {**_says("Name this: tea"), "model": "task"}
    yield {**_says("Name this: tea"), "model": "task", "stream": True}


def _says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _encoded(client: httpx.Client, user: str) -> Iterator[httpx.Response]:
    plain = json.dumps(chat(user=user)).encode()
    bodies = {"gzip": gzip.compress(plain), "deflate": zlib.compress(plain), "br": plain, "zstd": b""}
    for encoding, body in bodies.items():
        headers = {"content-encoding": encoding, "content-type": "application/json"}
        yield client.post(URL, content=body, headers=headers)
    for broken in (b"", b"{", b"[]", b'{"model": 1}', b"\xff"):
        yield client.post(URL, content=broken, headers={"content-type": "application/json"})
    yield client.post(URL, data={"model": "tutor"})


def _named(client: httpx.Client, user: str) -> Iterator[httpx.Response]:
    said = {"sub": user, "name": "Ada", "iss": "open-webui", "exp": int(time.time()) + 300}
    for token in (jwt.encode(said, JWT_SECRET), jwt.encode(said, JWT_SECRET[::-1]), "none", ""):
        headers = {"authorization": f"Bearer {JWT_KEY}", TOKEN_HEADER: token}
        yield client.post(URL, json=chat(), headers=headers)
    ids = {"X-Message-Id": "m2", "X-User-Message-Id": "m1", "X-Parent-Id": ""}
    for headers in (ids, {**ids, "X-Task": ""}, {"X-Task": "title_generation"}):
        yield client.post(URL, json=chat(user=user, metadata={"chat_id": "named"}, stream=True), headers=headers)
