"""What clients receive of a recorded run in every look, and the files in which it is written down."""

import re
from pathlib import Path

import httpx

from gateway.settings import Chats
from tests.bytes.looks import agent_types, keys
from tests.bytes.runs import Run
from tests.gateways import gateway, http

URL = "/v1/chat/completions"
FOLDER = Path(__file__).parent
HEAD = "=== "
# Longer than any test: no ping comes between, and an early failure is always an HTTP status.
NEVER = 600.0
# What is never the same twice. No text of an answer looks so: within one, quotation marks have a backslash before them.
CHANGING = (
    (re.compile(r"chatcmpl-[0-9a-f]{32}"), "chatcmpl-ID"),
    (re.compile(r'"created":\d+'), '"created":0'),
    (re.compile(r'"duration":\d+'), '"duration":0'),
)
# Headers that are never the same twice, or tell of the length that such things have.
CHANGING_HEADERS = ("date", "x-request-id", "content-length")


def receive(run: Run) -> dict[str, str]:
    """By the name of each look, the response of a gateway in front of a Letta that plays `run`."""
    # As quick as can be where it waits for what does not come.
    chats = Chats(grace_seconds=0, queue_seconds=0.05)
    how = {"first_event_seconds": NEVER, "ping_seconds": NEVER, "chats": chats}
    received = {}
    types = agent_types(run.called)
    with run.played() as letta, gateway(letta, types=types, keys=keys(), **how) as url, http(url) as client:
        for number, look in enumerate(run.looks):
            answer = client.post(URL, json=look.body(run.called), headers=look.headers(number))
            received[look.name] = to_text(answer)
    return received


def to_text(answer: httpx.Response) -> str:
    """A response as it is written down: status, headers, an empty line, and the body, without what always changes."""
    headers = [f"{name}: {value}" for name, value in answer.headers.items() if name not in CHANGING_HEADERS]
    body = answer.content.decode()
    for pattern, same in CHANGING:
        body = pattern.sub(same, body)
    return "\n".join([str(answer.status_code), *sorted(headers), "", body])


def file_of(run: Run) -> Path:
    return FOLDER / f"{run.name}.txt"


def write(run: Run, received: dict[str, str]) -> None:
    """Write a run's file: each response once, below the names of the looks that give it."""
    names: dict[str, list[str]] = {}
    for name, text in received.items():
        names.setdefault(text, []).append(name)
    sections = ["".join(f"{HEAD}{name}\n" for name in of_one) + text + "\n" for text, of_one in names.items()]
    file_of(run).parent.mkdir(exist_ok=True)
    file_of(run).write_bytes("".join(sections).encode())


def read(run: Run) -> dict[str, str]:
    """The responses of a run's file, by the name of each look."""
    written: dict[str, str] = {}
    names: list[str] = []
    lines: list[str] = []
    for line in [*file_of(run).read_bytes().decode().removesuffix("\n").split("\n"), HEAD]:
        if not line.startswith(HEAD):
            lines.append(line)
            continue
        if lines:
            written |= dict.fromkeys(names, "\n".join(lines))
            names, lines = [], []
        names.append(line.removeprefix(HEAD))
    return written
