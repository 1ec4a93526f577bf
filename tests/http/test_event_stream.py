"""A stream whose client leaves before it has begun."""

import asyncio
from typing import Any

import pytest

from gateway.domain.look import PLAIN
from gateway.http.answers.answering import Answer, stream
from gateway.http.record import Record
from gateway.turns.runs.log import RunLog
from gateway.wires.chat_completions.encoder import ChatCompletionEncoder
from gateway.wires.narrator import Narrator
from tests.events import answer

pytestmark = pytest.mark.anyio


async def test_a_client_that_leaves_before_the_first_byte_is_sent_reads_no_more() -> None:
    unread = asyncio.Event()
    log = RunLog(unread.set)
    log.append([answer("Hello")])
    encoder = ChatCompletionEncoder(id="chatcmpl-1", created=1, model="tutor", reasoning="hidden")
    response = await stream(Answer(log.follow(), Narrator(PLAIN), encoder, Record("req_1")), 10, 10)

    async def leave() -> Any:
        return {"type": "http.disconnect"}

    async def never_sent(message: Any) -> None:
        await asyncio.Event().wait()

    scope: Any = {"type": "http", "method": "POST", "path": "/", "headers": []}
    await response(scope, leave, never_sent)

    assert unread.is_set()
