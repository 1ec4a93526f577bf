"""Cleaning up is done to its end, whoever is cancelled meanwhile."""

import asyncio

import pytest

from gateway.letta.undisturbed import undisturbed

pytestmark = pytest.mark.anyio


async def test_it_returns_when_it_is_done() -> None:
    done: list[str] = []

    async def clean() -> None:
        await asyncio.sleep(0)
        done.append("clean")

    await undisturbed(clean())
    assert done == ["clean"]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_cancellation_waits_for_its_end(times: int) -> None:
    gate, done = asyncio.Event(), []

    async def clean() -> None:
        await gate.wait()
        done.append("clean")

    cleaning = asyncio.create_task(undisturbed(clean()))
    for _ in range(times):
        await asyncio.sleep(0)
        cleaning.cancel()
    await asyncio.sleep(0)
    assert not cleaning.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await cleaning
    assert done == ["clean"]


async def test_what_it_raises_comes_out() -> None:
    async def fail() -> None:
        raise ValueError("unclean")

    with pytest.raises(ValueError, match="unclean"):
        await undisturbed(fail())
