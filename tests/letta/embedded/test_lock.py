"""The lock of a state directory: who has it, and what others are told."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.letta.embedded import lock
from gateway.letta.embedded.lock import StateInUse, find_holder, take_lock
from tests.servers.threads import served

pytestmark = pytest.mark.anyio


async def healthy(scope: Any, receive: Any, send: Any) -> None:
    """A gateway in as far as it says that it is well."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200 if scope["path"] == "/healthz" else 404})
        await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
def address() -> Iterator[str]:
    with served(healthy) as url:
        yield url


async def test_whoever_comes_second_is_told_at_once_who_is_there(tmp_path: Path, address: str) -> None:
    mine = await take_lock(tmp_path)
    mine.tell(letta="ws://127.0.0.1:1/ws")
    mine.tell(address=address)

    with pytest.raises(StateInUse) as caught:
        await take_lock(tmp_path)
    mine.release()

    assert caught.value.letta == "ws://127.0.0.1:1/ws"
    who = f"process {os.getpid()} at {address}, which answers"
    assert str(caught.value) == f"Another gateway uses the state directory {tmp_path}: {who}"


# What the holder has told → how it is called
QUIET = {
    "one that is starting": ("", f": process {os.getpid()}, which is not up yet"),
    "one that does not answer": (
        "http://127.0.0.1:9",
        f": process {os.getpid()} at http://127.0.0.1:9, which does not answer",
    ),
}


@pytest.mark.parametrize(("where", "words"), QUIET.values(), ids=QUIET)
async def test_one_that_does_not_answer_gets_some_seconds_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, words: str
) -> None:
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.2)
    mine = await take_lock(tmp_path)
    mine.tell(address=where)

    with pytest.raises(StateInUse) as caught:
        await take_lock(tmp_path)
    mine.release()

    assert str(caught.value) == f"Another gateway uses the state directory {tmp_path}{words}"
    assert len(caplog.messages) == 1
    assert "gets 0 s to end" in caplog.messages[0]


async def test_whoever_waits_has_it_when_it_is_released(tmp_path: Path) -> None:
    mine = await take_lock(tmp_path)
    waiting = asyncio.create_task(take_lock(tmp_path))
    await asyncio.sleep(0)
    mine.release()

    (await waiting).release()


async def test_an_earlier_version_that_tells_nothing_has_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.0)
    mine = await take_lock(tmp_path)
    os.ftruncate(mine.file, 0)

    with pytest.raises(StateInUse) as caught:
        await take_lock(tmp_path)
    mine.release()

    assert (caught.value.letta, str(caught.value)) == ("", f"Another gateway uses the state directory {tmp_path}")


async def test_who_looks_for_the_holder_finds_one_that_answers(tmp_path: Path, address: str) -> None:
    assert await find_holder(tmp_path / "nowhere") is None
    mine = await take_lock(tmp_path)
    assert await find_holder(tmp_path) is None
    mine.tell(address=address)
    assert "which answers" in str(await find_holder(tmp_path))
    mine.release()
    assert await find_holder(tmp_path) is None
