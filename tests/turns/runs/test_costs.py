"""What a run costs: all that Letta tells, of every step and every try, and an estimate of what it does not tell."""

from collections.abc import Sequence

import pytest

from gateway.domain import errors
from gateway.domain.events import TokensCounted
from gateway.domain.json_format import JsonFormat
from gateway.settings import AgentType
from gateway.turns.runs.account import Account
from gateway.turns.runs.driver import Run
from gateway.turns.runs.means import Means
from gateway.turns.runs.registry import Runs
from gateway.turns.runs.requirements import Requirement
from tests.events import answer, approval_request, error, ping, reasoning, stop, tool_call, tool_return, usage
from tests.turns.memory_letta import ANSWER, MemoryLetta, Step
from tests.turns.turns import AGAIN, FIRST, TUTOR, ended, play, read, turn
from tests.turns.virtual_time import Gate, idle

pytestmark = pytest.mark.anyio

NOTHING = TokensCounted()
DENYING = AgentType(id="tutor", model="m/one", approvals="deny")
IN_JSON = Requirement(json=JsonFormat())
TOLD = TokensCounted(11, 7, 18)
ASKS: Sequence[Step] = ([ping()], [approval_request("rm", arguments="{}")], [stop("requires_approval"), usage()])
SEARCHES = [reasoning("Hm."), tool_call("search", arguments='{"q": 1}'), tool_return()]
# What is asked is "Hi", one token, and "Hello there." is three.
PIECE = answer("Hello there.")


def counted(prompt: int, completion: int) -> TokensCounted:
    return TokensCounted(prompt, completion, prompt + completion)


# what runs do, one after the other -> what Letta has told of all of them, and what is estimated
ENDED: dict[str, tuple[Sequence[Sequence[Step]], TokensCounted, TokensCounted]] = {
    "an answer": ([ANSWER], TOLD, NOTHING),
    "steps that are each counted": (
        [[[ping()], [*SEARCHES, usage()], [answer("Found.", "step-2"), usage(20, 3), stop()]]],
        counted(31, 10),
        NOTHING,
    ),
    "a call that was denied, and what came after it": ([ASKS, ANSWER], counted(22, 14), NOTHING),
    "an answer whose usage is not told": ([[[ping()], [PIECE, stop()]]], NOTHING, counted(1, 3)),
    "steps whose usage is not told": (
        [[[ping()], [*SEARCHES, answer("Found it", "step-2"), stop()]]],
        NOTHING,
        # "Hm.", the call's arguments and the answer are 3, 8 and 8 characters.
        counted(2, 5),
    ),
    "an error of the provider's before any word": (
        [[[ping()], [stop("llm_api_error")], [error()]]],
        NOTHING,
        NOTHING,
    ),
    "an error of the provider's within the answer": (
        [[[ping()], [PIECE], [stop("error")], [error()]]],
        NOTHING,
        counted(1, 3),
    ),
    "an error of the provider's in the second step": (
        [[[ping()], [*SEARCHES, usage()], [answer("Hello th", "step-2")], [stop("error")], [error()]]],
        TOLD,
        counted(1, 2),
    ),
    "a connection that breaks": ([[[ping()], [PIECE], errors.BrokenStream("x")]], NOTHING, counted(1, 3)),
    "a Letta that is not there": ([[errors.Unreachable("x")]], NOTHING, NOTHING),
    "a run that hangs": ([[[ping()], 1000.0]], NOTHING, counted(1, 0)),
}


async def account_of(means: Means, requirement: Requirement | None = None) -> Account:
    run = Run(turn(agent_type=DENYING), means, requirement)
    run.follow()
    await ended(run)
    return run.account


@pytest.mark.parametrize(("scripts", "told", "estimated"), ENDED.values(), ids=list(ENDED))
async def test_an_account_is_what_letta_told_and_an_estimate_of_the_rest(
    letta: MemoryLetta,
    means: Means,
    scripts: Sequence[Sequence[Step]],
    told: TokensCounted,
    estimated: TokensCounted,
) -> None:
    letta.scripts = list(scripts)
    account = await account_of(means)

    assert (account.tokens, account.estimated) == (told.plus(estimated), estimated)


async def test_both_tries_of_a_requirement_are_in_the_account(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [ANSWER, [[ping()], [answer("{}")], [stop(), usage(20, 3)]]]
    account = await account_of(means, IN_JSON)

    assert (account.tokens, account.estimated) == (counted(31, 10), NOTHING)


async def test_an_answer_that_was_held_back_when_its_run_broke_is_estimated(letta: MemoryLetta, means: Means) -> None:
    letta.scripts = [[[ping()], [PIECE], errors.BrokenStream("x")]]
    account = await account_of(means, IN_JSON)

    assert account.estimated.completion == 3


async def test_a_stopped_answer_is_estimated(letta: MemoryLetta, runs: Runs) -> None:
    letta.scripts = [[[ping()], [PIECE], Gate()]]
    reader = runs.start(turn())
    await letta.said(2)
    (run,) = runs.under_way
    reader.leave()
    await ended(run)

    assert run.account.tokens == run.account.estimated == counted(1, 3)


async def test_the_chat_that_a_request_shows_is_estimated_as_what_the_model_read(
    letta: MemoryLetta, means: Means
) -> None:
    letta.scripts = [[[ping()], [PIECE, stop()]]]
    shown = turn("x" * 40, "y" * 40, "z" * 40, instructions="i" * 40)
    run = Run(shown, means)
    await read(run.follow())
    await ended(run)

    assert run.account.estimated == counted(40, 3)


async def test_the_account_is_whole_when_it_is_closed(letta: MemoryLetta, runs: Runs) -> None:
    closed: list[TokensCounted] = []
    letta.scripts = [[[ping()], [PIECE], errors.BrokenStream("x")]]
    account = runs.start(turn()).account
    assert account
    account.when_closed(lambda: closed.append(account.tokens))
    (run,) = runs.under_way
    await ended(run)
    await idle()

    assert closed == [counted(1, 3)]


async def test_a_request_that_was_never_sent_before_has_no_run(runs: Runs) -> None:
    assert not await runs.has(AGAIN)
    await play(runs, turn(agent_type=TUTOR), FIRST)

    assert await runs.has(AGAIN)
    assert not await runs.has(FIRST)
