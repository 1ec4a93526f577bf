"""Gateways for tests: settings in a line, served in a thread or as a process of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
from openai import OpenAI

from gateway.app import create_app
from gateway.serving import sockets_for
from gateway.settings import (
    AgentType,
    Chats,
    Images,
    Key,
    Letta,
    Responses,
    Secret,
    Server,
    Settings,
    Tasks,
    UserSource,
)
from tests.forked import Forked, fork
from tests.servers.real_letta import RealLetta
from tests.servers.threads import LIMITS, served

KEY = "sk-test"
MODEL_HANDLE = "openai-proxy/offline"
TUTOR = AgentType(id="tutor", name="Tutor", model=MODEL_HANDLE, system="You are a patient tutor of {user_name}.")
PROGRAMS = Key(name="programs", key=Secret(KEY))
FRONTEND = Key(name="frontend", key=Secret("sk-front"), user_from=(UserSource("header:X-OpenWebUI-User-Id"),))


def settings_for(letta: str | RealLetta, *, types: tuple[AgentType, ...] = (TUTOR,), **changes: Any) -> Settings:
    """Settings of a gateway in front of `letta`, quick where waiting would show nothing.

    `changes` are those of the parts: `keys`, `chats`, `tasks`, `images`, fields of `server`, and those of `letta` as
    `letta_NAME`. In front of a real Letta agents have its model, or `model`.
    """
    chats = changes.pop("chats", Chats())
    tasks = changes.pop("tasks", Tasks())
    images = changes.pop("images", Images())
    responses = changes.pop("responses", Responses())
    keys = changes.pop("keys", (PROGRAMS, FRONTEND))
    upstream = {name.removeprefix("letta_"): changes.pop(name) for name in list(changes) if name.startswith("letta_")}
    upstream = {"settle_seconds": 0.05, **upstream}
    provider = None
    if isinstance(letta, str):
        settings = Letta(base_url=str(letta), **upstream)
    else:
        settings, provider = letta.settings(**upstream), letta.provider
        handle = changes.pop("model", letta.model)
        types = tuple(type if type.agent else msgspec.structs.replace(type, model=handle) for type in types)
    parts = {"letta": settings, "chats": chats, "tasks": tasks, "images": images, "agent_types": types, "keys": keys}
    parts["responses"] = responses
    return Settings(server=Server(**changes), provider=provider, **parts)


@contextmanager
def gateway(letta: str | RealLetta, **changes: Any) -> Iterator[str]:
    """A gateway in a thread; gives its base URL. `page_key` is for the chat page, `fetch` stands for the web.

    `limits` are those of its connections, `upstream` stands for the way to `letta`. In front of a Letta before which
    gateways come in threes (see `tests.servers.trio`), it is three processes, which know neither of these.
    """
    if threes := getattr(letta, "threes", None):
        with threes.serve(settings_for(letta, **changes)) as url:
            yield url
        return
    more = {name: changes.pop(name, None) for name in ("page_key", "fetch")}
    limits, upstream = changes.pop("limits", LIMITS), changes.pop("upstream", None)
    settings = settings_for(letta, **changes)
    upstream = upstream if isinstance(letta, str) else letta.upstream(settings)
    app = create_app(settings, upstream, **more)
    with served(app, limits, under_way=app.state.parts.under_way, **sockets_for(settings)) as url:
        yield url


@contextmanager
def sdk(url: str, key: str = KEY) -> Iterator[OpenAI]:
    """The openai SDK against a gateway; it resends nothing, so that each call is one request."""
    with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60) as client:
        yield client


@contextmanager
def http(url: str, key: str = KEY) -> Iterator[httpx.Client]:
    """A plain HTTP client with the key."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        yield client


def chat(text: str = "hello", **more: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    return {"model": "tutor", "user": "ada", "messages": [{"role": "user", "content": text}], **more}


def said(answer: str) -> dict[str, str]:
    """What an answer says, by the fields of its message, whether it came whole or streamed."""
    if answer.startswith("{"):
        message = json.loads(answer)["choices"][0]["message"]
        return {name: text for name, text in message.items() if isinstance(text, str)}
    chunks = [json.loads(line.removeprefix("data: ")) for line in answer.splitlines() if line.startswith("data: {")]
    fields: defaultdict[str, str] = defaultdict(str)
    for delta in (choice["delta"] for chunk in chunks for choice in chunk["choices"]):
        for name, text in delta.items():
            fields[name] += text
    return dict(fields)


class GatewayProcess:
    """`letta-gateway serve` as its users run it, on a free port."""

    def __init__(self, config: Path | None, *more: str, **environ: str) -> None:
        named = ["--config", str(config)] if config else []
        reader, writer = os.pipe()
        try:
            self.process = self._start(["serve", *named, "--port", "0", *more], os.environ | environ, writer)
        finally:
            os.close(writer)
        self._lines = os.fdopen(reader)
        self.log: list[str] = []
        self.base_url = ""
        self._said = threading.Condition()
        self._is_up = threading.Event()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _start(self, arguments: list[str], environ: dict[str, str], stderr: int) -> "subprocess.Popen[bytes] | Forked":
        return subprocess.Popen([sys.executable, "-m", "gateway", *arguments], env=environ, stderr=stderr)

    def __enter__(self) -> Self:
        if not self._is_up.wait(60) or not self.base_url:
            self.stop()
            raise RuntimeError("the gateway did not start:\n" + "".join(self.log))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to end, as an operator does; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._reading.join()
        return code

    def kill(self) -> None:
        """End it without giving it time for anything."""
        self.process.kill()
        self.stop()

    def wait_for(self, words: str, times: int = 1) -> list[str]:
        """The lines of its log that hold these words, once there are so many."""
        with self._said:
            assert self._said.wait_for(lambda: len(self._with(words)) >= times, 60), "".join(self.log)
            return self._with(words)

    def _with(self, words: str) -> list[str]:
        return [line for line in self.log if words in line]

    def _read(self) -> None:
        with self._lines as lines:
            for line in lines:
                with self._said:
                    self.log.append(line)
                    self._said.notify_all()
                if found := re.search(r"Serving at (http://\S+)/v1", line):
                    self.base_url = found[1]
                    self._is_up.set()
        self._is_up.set()


class ForkedGateway(GatewayProcess):
    """The same, a second sooner: forked from a process that has imported everything."""

    def _start(self, arguments: list[str], environ: dict[str, str], stderr: int) -> Forked:
        return fork(arguments, environ, stderr)
