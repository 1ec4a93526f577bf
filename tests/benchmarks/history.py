"""The row of long chats that are told whole with every request: what that costs, and how long others wait for it."""

import threading
import time
from collections.abc import Iterator
from statistics import median

from tests.benchmarks import machine
from tests.benchmarks.asking import Message, ask, body_of, user
from tests.benchmarks.bench import Bench
from tests.benchmarks.candidates import Gateway, Program
from tests.benchmarks.loads import warm
from tests.benchmarks.native import Load
from tests.benchmarks.plan import Plan, Sample, named

MESSAGES = 2000
# The characters of each message: 200 kB and 2 MB altogether.
SIZES = {"200k": 100, "2m": 1000}
REQUESTS = 5
PAUSE_SECONDS = 0.5
# Streams of somebody else's; with so many tokens one comes into every moment at which the loop is taken.
OTHERS = Load(streams=5, content=400, per_second=100, ramp_ms=0, people="other")
SHORT_ANSWER = "BENCH:1:0:0:0:0:"


class Chat:
    """A chat whose every request tells all of it, as programs do that keep none."""

    def __init__(self, gateway: Gateway, name: str, characters: int) -> None:
        self._port = gateway.port
        self._name = name
        self._messages = told(MESSAGES - 1, characters)

    def body(self) -> bytes:
        """The request for the next answer."""
        number = len(self._messages)
        return body_of("bench-0", self._name, [*self._messages, user(f"{number} {SHORT_ANSWER}")])

    def ask(self, body: bytes) -> float:
        """Ask for the next answer; gives the time to its first token, in ms."""
        answer = ask(self._port, body)
        number = len(self._messages)
        self._messages += [user(f"{number} {SHORT_ANSWER}"), {"role": "assistant", "content": answer.text}]
        return answer.first_ms


def told(count: int, characters: int) -> list[Message]:
    """So many messages of so many characters; the last one is an answer."""
    roles = ("assistant", "user")
    return [
        {"role": roles[(count - number) % 2], "content": (f"{number} " + "word " * characters)[:characters]}
        for number in range(1, count + 1)
    ]


def history(bench: Bench, plan: Plan) -> Iterator[Sample]:
    """2,000 messages of 200 kB and 2 MB, sent again with every turn of a chat that is known."""
    with bench.letta() as letta:
        gateways = {named(checkout, kind): bench.gateway(checkout, kind, letta) for checkout, kind in plan.before_mocks}
        for round in range(plan.rounds):
            for name, gateway in gateways.items():
                with gateway, machine.Watch([], [letta.pid, gateway.pid]) as watch:
                    warm(bench, gateway, OTHERS.streams)
                    bench.load(gateway, OTHERS)
                    values: dict[str, float] = {}
                    for size, characters in SIZES.items():
                        chat = Chat(gateway, f"{name} {round} {size}", characters)
                        values |= {f"{value}_{size}": one for value, one in _costs(chat, gateway).items()}
                        values[f"wait_{size}"] = _wait(bench, gateway, chat)
                yield Sample("history", name, round, values, watch.others)


def _costs(chat: Chat, gateway: Program) -> dict[str, float]:
    """The time of a request on the core, and that to its first token, in ms, after the first two."""
    cpu, first = [], []
    for _ in range(REQUESTS + 2):
        body = chat.body()
        with machine.Watch([gateway.pid]) as watch:
            first.append(chat.ask(body))
        cpu.append(watch.cpu_seconds * 1000)
    return {"cpu": median(cpu[2:]), "first": median(first[2:])}


def _wait(bench: Bench, gateway: Gateway, chat: Chat) -> float:
    """What the longest wait of others for a token gets longer by, while the chat goes on, in ms."""
    alone = bench.load(gateway, OTHERS).max_us
    longest: list[float] = []
    reading = threading.Thread(target=lambda: longest.append(bench.load(gateway, OTHERS).max_us))
    reading.start()
    for _ in range(REQUESTS):
        body = chat.body()
        time.sleep(PAUSE_SECONDS)
        chat.ask(body)
    reading.join()
    return (longest[0] - alone) / 1000
