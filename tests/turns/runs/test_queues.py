"""Turns of one chat wait for each other: in order, not too many, and not too long."""

import asyncio

import pytest

from gateway.domain.errors import QueueFull
from gateway.turns.runs.queues import ChatQueues
from tests.turns.virtual_time import idle, now

pytestmark = pytest.mark.anyio


class Turns:
    """Who has a turn, and who had one, in order."""

    def __init__(self, length: int = 8, seconds: float = 120.0) -> None:
        self.lines = ChatQueues(length, seconds)
        self.begun: list[str] = []

    def take(self, name: str, line: str = "chat", seconds: float = 1.0) -> asyncio.Task[None]:
        return asyncio.create_task(self._take(name, line, seconds))

    async def _take(self, name: str, line: str, seconds: float) -> None:
        async with self.lines.slot(line):
            self.begun.append(name)
            await asyncio.sleep(seconds)


async def test_turns_are_taken_one_after_another_in_the_order_they_came() -> None:
    turns = Turns()
    taken = [turns.take(name) for name in "abcd"]
    await asyncio.sleep(1.5)
    assert turns.begun == ["a", "b"]

    await asyncio.gather(*taken)
    assert turns.begun == ["a", "b", "c", "d"]
    assert now() == pytest.approx(4.0)


async def test_lines_do_not_wait_for_each_other() -> None:
    turns = Turns()
    await asyncio.gather(*(turns.take(name, line=name) for name in "abcd"))

    assert now() == pytest.approx(1.0)


async def test_a_full_line_takes_nobody_and_says_so_at_once() -> None:
    turns = Turns(length=2)
    waiting = [turns.take(name) for name in "abc"]
    await idle()

    with pytest.raises(QueueFull):
        await turns.take("d")
    assert now() < 0.1
    await asyncio.gather(*waiting)
    assert turns.begun == ["a", "b", "c"]


async def test_a_line_of_no_length_takes_whoever_need_not_wait() -> None:
    turns = Turns(length=0)
    await turns.take("a")
    first = turns.take("b")
    await idle()

    with pytest.raises(QueueFull):
        await turns.take("c")
    await first
    assert turns.begun == ["a", "b"]


async def test_who_waits_too_long_gives_up() -> None:
    turns = Turns(seconds=5.0)
    first, second = turns.take("a", seconds=100.0), turns.take("b")

    with pytest.raises(QueueFull):
        await second
    assert now() == pytest.approx(5.0)
    await first
    await turns.take("c")
    assert turns.begun == ["a", "c"]


async def test_a_turn_may_take_longer_than_others_wait() -> None:
    turns = Turns(seconds=5.0)
    await turns.take("a", seconds=100.0)

    assert now() == pytest.approx(100.0)


async def test_who_leaves_the_line_makes_room_in_it() -> None:
    turns = Turns(length=1)
    first, second = turns.take("a"), turns.take("b")
    await idle()
    second.cancel()
    await idle()
    third = turns.take("c")
    await asyncio.gather(first, third)

    assert turns.begun == ["a", "c"]


async def test_a_turn_that_fails_lets_the_next_begin() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError):
        async with turns.lines.slot("chat"):
            raise RuntimeError
    await turns.take("a")

    assert turns.begun == ["a"]
