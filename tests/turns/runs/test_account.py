"""The account of a run: what is noted while it goes on, by whom it is closed, and how much it holds."""

import asyncio

import pytest

from gateway.domain.events import CallPiece, TokensCounted
from gateway.domain.request import ClientTool, ClientTools
from gateway.turns.runs.account import LONGEST_NAME, MOST_CALLS, Account
from gateway.turns.runs.driver import Run
from gateway.turns.runs.means import Means
from tests.events import answer, approval_request, ping, stop, tool_call, tool_return, usage
from tests.turns.memory_letta import ANSWER, MemoryLetta
from tests.turns.turns import AGAIN, FIRST, ended, read, runs_for, turn
from tests.turns.virtual_time import Gate, idle

pytestmark = pytest.mark.anyio


async def account_of(run: Run) -> Account:
    """The account of a run, once it is over."""
    await read(run.follow())
    await ended(run)
    return run.account


async def test_it_holds_the_calls_of_tools_and_if_they_failed(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [
        [
            [ping(), tool_call("search", "c1"), tool_call(None, "c1", arguments="{}")],
            [tool_return(call_id="c1")],
            [tool_call("fetch", "c2"), tool_return(call_id="c2", status="error")],
            [approval_request("weather", "c3"), stop("requires_approval")],
        ]
    ]
    asked = turn(tools=ClientTools((ClientTool("weather"),)))
    tools = (await account_of(Run(asked, means))).tools

    assert [(used.id, used.name, used.ended is not None, used.failed, used.clients) for used in tools] == [
        ("c1", "search", True, False, False),
        ("c2", "fetch", True, True, False),
        ("c3", "weather", False, False, True),
    ]


async def test_it_holds_the_wait_for_the_turns_before_it(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], 7.0, [answer("one"), stop()]]]
    first, second = Run(turn(), means), Run(turn(), means)
    accounts = await asyncio.gather(account_of(first), account_of(second))

    first_wait, second_wait = (account.queued_seconds for account in accounts)
    assert first_wait == 0
    assert second_wait is not None
    assert second_wait >= 7


async def test_only_the_run_for_which_an_agent_was_made_says_so(letta: MemoryLetta, means: Means) -> None:
    accounts = [await account_of(Run(turn(chat=chat), means)) for chat in ("one", "two")]

    assert [account.made_agent for account in accounts] == [True, False]


async def test_it_holds_the_usage_of_all_steps(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping(), usage(3, 2)], [answer("Hello"), stop(), usage(5, 7)]]]

    assert (await account_of(Run(turn(), means))).tokens == TokensCounted(8, 9, 17)


async def test_it_says_that_the_run_was_cancelled(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping(), answer("Hel")], Gate()]]
    run = Run(turn(), means)
    await letta.said()
    run.leave()
    await ended(run)

    assert run.account.cancelled


async def test_it_is_closed_with_its_run_also_where_that_never_began(letta: MemoryLetta, means: Means) -> None:
    told: list[str] = []
    for name, leaves in (("played", False), ("left", True)):
        run = Run(turn(), means)
        run.account.when_closed(lambda name=name: told.append(name))  # type: ignore[misc]
        if leaves:
            run.leave()
        else:
            await read(run.follow())
        await ended(run)
        await idle()
        assert run.account.is_closed

    assert told == ["played", "left"]


async def test_only_the_request_that_has_begun_a_run_has_its_account(letta: MemoryLetta) -> None:
    runs = runs_for(letta)
    letta.scripts = [[*ANSWER]]
    first = runs.start(turn(), FIRST)
    again = runs.start(turn(), AGAIN)
    await asyncio.gather(read(first), read(again))

    assert first.account is not None
    assert (again.joined, again.account) == (True, None)


def test_who_asks_late_is_told_at_once() -> None:
    account, told = Account(), []
    account.close()
    account.when_closed(lambda: told.append("late"))

    assert told == ["late"]


def test_it_keeps_so_many_calls_and_so_much_of_a_name_at_most() -> None:
    account = Account()
    for number in range(2 * MOST_CALLS):
        account.called(CallPiece(f"c{number}", "n" * 1000), clients=False)

    assert len(account.tools) == MOST_CALLS
    assert {len(used.name) for used in account.tools} == {LONGEST_NAME}


def test_a_piece_of_a_call_and_the_return_of_none_add_nothing() -> None:
    account = Account()
    account.called(CallPiece("c1", "search"), clients=False)
    account.called(CallPiece("c1", "", "{}"), clients=False)
    account.called(CallPiece("c1", "search"), clients=False)
    account.returned("c9", failed=True)

    assert [(used.name, used.failed) for used in account.tools] == [("search", False)]
