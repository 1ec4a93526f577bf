"""Gateways that are one lose each other, and their Redis, while people read answers: on each Letta that has several.

TRIO_STREAMS says how many people there are.
"""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from gateway.settings import Chats
from tests.gateways import KEY, chat, http, settings_for
from tests.held import Read, held, is_whole, told_error
from tests.integration.words import unheard
from tests.servers.real_letta import RealLetta
from tests.servers.redis_server import RedisServer
from tests.servers.scripted_model import ScriptedModel
from tests.servers.trio import GATEWAYS, Threes, Trio
from tests.workers import asks

STREAMS = int(os.environ.get("TRIO_STREAMS", "15"))
# So many people go on at once afterwards.
AT_ONCE = 10
PATIENCE_SECONDS = 60 + 2 * STREAMS


def seen(read: Read) -> str:
    """The end of an answer, as its client saw it. Fails if it looked like one that it was not."""
    if read[1]:
        return "cut off"
    return "whole" if '"error"' not in read[0] and is_whole(read) else told_error(read)


# An embedded Letta has one gateway.
@pytest.mark.parametrize("in_time", [True, False], ids=["drained in time", "not in time"])
@pytest.mark.parametrize(
    "letta", [asks("letta_v1", id="v1"), asks("app_server", id="app-server")], indirect=True, scope="session"
)
def test_whoever_is_lost_nobody_sees_an_end_that_is_none_and_all_that_was_said_is_known_once(
    letta: RealLetta, model: ScriptedModel, in_time: bool
) -> None:
    patient: dict[str, Any] = {"first_event_seconds": PATIENCE_SECONDS, "letta_request_seconds": PATIENCE_SECONDS}
    chats = Chats(queue_seconds=PATIENCE_SECONDS)
    settings = settings_for(letta, chats=chats, drain_seconds=300 if in_time else 0.5, **patient)
    with RedisServer() as redis, Trio(Threes(redis).sharing(settings)) as trio:
        killed, drained, _ = trio.gateways
        with held(trio.url, model, {KEY: STREAMS}) as streams:
            killed.kill()
            drained.process.send_signal(signal.SIGTERM)
            drained.wait_for("Ending: nothing new is taken.")
            redis.restart()
            if not in_time:
                drained.wait_for("are ended with an error")
            streams.gate.open()
            ends = Counter(map(seen, streams.read(KEY)))
        assert drained.process.wait(60) == 0
        print(dict(ends))

        said = [unheard(f"next {number}") for number in range(STREAMS)]

        def go_on(number: int) -> httpx.Response:
            body = chat(said[number], user=streams.user, metadata={"chat_id": str(number)})
            with http(trio.url) as client:
                return client.post("/v1/chat/completions", json=body)

        with ThreadPoolExecutor(AT_ONCE) as people:
            answers = list(people.map(go_on, range(STREAMS)))

    share = STREAMS // GATEWAYS
    assert ends == ({"whole": 2 * share} if in_time else {"whole": share, "run_cancelled": share}) | {"cut off": share}
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    for text in said:
        words = [told for role, told in model.said_once(text) if role == "user" and "<system-reminder>" not in told]
        assert [one.startswith("!say one two three") for one in words] == [True, False]
        assert words[-1] == text
