"""Clients that read answers which the model holds back in their middle, for what happens to a gateway meanwhile."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from tests.gateways import chat, http, said
from tests.integration.words import someone
from tests.servers.scripted_model import Gate, ScriptedModel

# A V1 server fails where more begin at once than it has connections to its database.
AT_ONCE = 25
Read = tuple[str, str]
"""The answer as it came, and the name of the error with which its body ended; empty if that ended as it should."""


def is_whole(read: Read) -> bool:
    answer, error = read
    return not error and said(answer)["content"].endswith("one two three") and answer.rstrip().endswith("[DONE]")


def told_error(read: Read) -> str:
    """The code of the error at the end of a stream, which then ends as it should."""
    frames = [line.removeprefix("data: ") for line in read[0].splitlines() if line.startswith("data: ")]
    assert (read[1], frames[-1]) == ("", "[DONE]")
    code: str = json.loads(frames[-2])["error"]["code"]
    return code


class Held:
    """Answers under way: each client has the word `one`, and the model says no more until the gate is opened."""

    def __init__(self, gate: Gate, user: str, reading: dict[str, list[Future[Read]]]) -> None:
        self.gate = gate
        self.user = user
        """The person; the chats are called by the numbers of the clients."""
        self._reading = reading

    def read(self, key: str) -> list[Read]:
        """The answers to the clients with this key, once they have ended."""
        return [each.result(60) for each in self._reading[key]]


@contextmanager
def held(base_url: str, model: ScriptedModel, clients: dict[str, int]) -> Iterator[Held]:
    """So many clients of one person with each key, while entered."""
    user, text = someone(), f"!say one two three\n{someone()}"
    begun, beginning = threading.Semaphore(0), threading.Semaphore(AT_ONCE)
    # A V1 server takes half a second for each.
    patience = 120 + 2 * sum(clients.values())

    def has_begun() -> None:
        begun.release()
        beginning.release()

    def read(key: str, number: int) -> Read:
        lines, error = [], ""
        body = chat(text, user=user, stream=True, metadata={"chat_id": str(number)})
        try:
            with http(base_url, key) as client:
                client.timeout = httpx.Timeout(patience)
                with client.stream("POST", "/v1/chat/completions", json=body) as response:
                    for line in response.iter_lines():
                        lines.append(line)
                        if "one" in line:
                            has_begun()
        except httpx.TransportError as ended:
            error = type(ended).__name__
        has_begun()
        return "\n".join(lines), error

    # The gate is opened before the clients are waited for.
    with ThreadPoolExecutor(sum(clients.values())) as people, model.gate(text, "one") as gate:
        keys = [key for key, count in clients.items() for _ in range(count)]
        reading: dict[str, list[Future[Read]]] = {key: [] for key in clients}
        for number, key in enumerate(keys):
            assert beginning.acquire(timeout=patience)
            reading[key].append(people.submit(read, key, number))
        for _ in keys:
            assert begun.acquire(timeout=patience)
        # One that has ended already never had the word.
        ended = [each.result() for one in reading.values() for each in one if each.done()]
        assert ended == [], ended
        yield Held(gate, user, reading)
