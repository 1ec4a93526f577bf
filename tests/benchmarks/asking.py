"""A client that asks a gateway for one answer after the other, and knows what it said."""

import time
from collections.abc import Iterable
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from tests.benchmarks.candidates import KEY, MODEL

ANSWER_SECONDS = 120
DATA = "data: "
Message = dict[str, str]


class Answer(Struct, frozen=True):
    """An answer: `Answer("Hello", 12.5)`."""

    text: str
    first_ms: float
    """The time from the request to its first token."""


def body_of(person: str, chat: str, messages: Iterable[Message]) -> bytes:
    """The body of a request."""
    metadata = {"chat_id": chat}
    return msgspec.json.encode(
        {"model": MODEL, "user": person, "metadata": metadata, "stream": True, "messages": [*messages]}
    )


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def ask(port: int, body: bytes) -> Answer:
    """Ask over a connection of its own. Raises httpx.HTTPStatusError, httpx.TransportError."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=ANSWER_SECONDS) as client:
        began, first, texts = time.monotonic(), 0.0, []
        with client.stream("POST", "/v1/chat/completions", content=body) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if text := said(line):
                    first = first or (time.monotonic() - began) * 1000
                    texts.append(text)
    return Answer("".join(texts), first)


def said(line: str) -> str:
    """The text of a line of an event stream; empty if it has none."""
    if not line.startswith(f"{DATA}{{"):
        return ""
    chunk: dict[str, Any] = msgspec.json.decode(line.removeprefix(DATA))
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
