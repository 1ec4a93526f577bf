"""Redis away, empty, full, or with another clock, while people chat: chats go on, and everything recovers by itself.

TRIO_AWAY_SECONDS says for how long; with it more is shown, and on a V1 server, too.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest

from tests.integration.probes import SHARED, Probed, probe_all, probed_settings, tries
from tests.integration.words import someone, unheard
from tests.servers.clock import Clock
from tests.servers.real_letta import RealLetta
from tests.servers.redis_server import RedisServer
from tests.servers.scripted_model import ScriptedModel
from tests.servers.trio import Threes, Trio
from tests.workers import asks

ALL = "TRIO_AWAY_SECONDS" in os.environ
AWAY_SECONDS = float(os.environ.get("TRIO_AWAY_SECONDS", "3"))
LETTAS = [asks("app_server", id="app-server"), *([asks("letta_v1", id="v1")] if ALL else [])]
CHATS = 2
EMPTIED_SECONDS = 2.5
RECOVER_SECONDS = 60.0
MEGABYTE = 2**20


class Ailing:
    """A Redis to which something happens, under gateways that are probed."""

    def __init__(self, redis: RedisServer, clock: Clock, probed: Probed) -> None:
        self.redis = redis
        self.clock = clock
        self.probed = probed


@pytest.fixture(scope="module")
def ailing(letta: RealLetta, model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ailing]:
    clock = Clock(tmp_path_factory.mktemp("clock"))
    with RedisServer(**clock.environ) as redis, Trio(Threes(redis).sharing(probed_settings(letta))) as trio:
        yield Ailing(redis, clock, Probed(trio, letta, model))


@contextmanager
def hung(ailing: Ailing) -> Iterator[None]:
    ailing.redis.hang()
    try:
        yield
    finally:
        ailing.redis.go_on()


@contextmanager
def stopped(ailing: Ailing) -> Iterator[None]:
    ailing.redis.stop()
    try:
        yield
    finally:
        ailing.redis.start()


@contextmanager
def emptied(ailing: Ailing) -> Iterator[None]:
    """Again and again, and each time it has a moment to be told everything anew."""
    done = threading.Event()

    def flush() -> None:
        with ailing.redis.client() as client:
            client.flushall()
            while not done.wait(EMPTIED_SECONDS):
                client.flushall()

    flushing = threading.Thread(target=flush)
    flushing.start()
    try:
        yield
    finally:
        done.set()
        flushing.join()


@contextmanager
def full(ailing: Ailing) -> Iterator[None]:
    with ailing.redis.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.set("filler", b"x" * MEGABYTE)
        client.config_set("maxmemory", "1mb")
        try:
            yield
        finally:
            client.config_set("maxmemory", "0")
            client.delete("filler")


def jumping(seconds: int) -> Callable[[Ailing], AbstractContextManager[None]]:
    @contextmanager
    def jumped(ailing: Ailing) -> Iterator[None]:
        ailing.clock.put(seconds)
        try:
            yield
        finally:
            ailing.clock.put(0)

    return jumped


ALONE = {"resends", "client tools' results", "limits", "budgets", "turns of one chat", "Stop", "agents made"}
# what happens -> how, and the probes that need not say then what they say otherwise
AMISS: dict[str, tuple[Callable[[Ailing], AbstractContextManager[None]], set[str]]] = {
    "hung": (hung, ALONE),
}
if ALL:
    AMISS |= {
        "stopped": (stopped, ALONE),
        "emptied": (emptied, ALONE),
        "full": (full, ALONE),
        "an hour ahead": (jumping(3600), set()),
        "an hour behind": (jumping(-3600), set()),
    }


def chatting(probed: Probed, done: threading.Event) -> tuple[int, float]:
    """One person's chat until the end: the number of its answers, and the seconds that the slowest took."""
    user, count, slowest = someone(), 0, 0.0
    while not done.is_set():
        text, began = unheard("on and on"), time.monotonic()
        answer = probed.tell(count, user, text, "here")
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            # Who cannot tell whether its turn is still its own ends it: the client asks again, as the SDKs do.
            answer = probed.tell(count, user, text, "here", **tries(1))
        slowest = max(slowest, time.monotonic() - began)
        assert answer.status_code == httpx.codes.OK, answer.text
        count += 1
        # All that was said before is known, once.
        (told,) = probed.model.said(text)
        assert [role for role, _ in told] == ["user", "assistant"] * (count - 1) + ["user"]
    return count, slowest


@pytest.mark.e2e
@pytest.mark.parametrize(("happens", "changed"), AMISS.values(), ids=AMISS)
@pytest.mark.parametrize("letta", LETTAS, indirect=True, scope="session")
def test_chats_go_on_and_everything_recovers_by_itself(
    ailing: Ailing, happens: Callable[[Ailing], AbstractContextManager[None]], changed: set[str]
) -> None:
    done = threading.Event()
    with ThreadPoolExecutor(CHATS) as people:
        try:
            chats: list[Future[tuple[int, float]]] = [
                people.submit(chatting, ailing.probed, done) for _ in range(CHATS)
            ]
            began = time.monotonic()
            with happens(ailing):
                meanwhile = probe_all(ailing.probed)
                time.sleep(max(AWAY_SECONDS - (time.monotonic() - began), 0.0))
            lasted = time.monotonic() - began
            afterwards = recovered(ailing.probed)
        finally:
            done.set()
    answers = [chat.result() for chat in chats]
    count, slowest = sum(count for count, _ in answers), max(slowest for _, slowest in answers)
    print(f"\nfor {lasted:.1f} s; chats: {count} answers, the slowest in {slowest:.1f} s")
    for name, outcome in meanwhile.items():
        print(f"  {name}: {outcome}" + (f" | afterwards: {afterwards[name]}" if afterwards[name] != outcome else ""))

    assert afterwards == SHARED
    assert {name: meanwhile[name] for name in SHARED.keys() - changed} == {
        name: SHARED[name] for name in SHARED.keys() - changed
    }
    assert not [outcome for outcome in meanwhile.values() if outcome.startswith(("failed", "0 of"))]
    ailing.probed.trio.look()


def recovered(probed: Probed) -> dict[str, str]:
    """What the probes say once they say that all is shared, or after the time for that."""
    until = time.monotonic() + RECOVER_SECONDS
    while (outcomes := probe_all(probed)) != SHARED and time.monotonic() < until:
        pass
    return outcomes
