"""Many first requests of one person through two gateways, while listings of agents are late or old: one agent, always.

The times of each world are drawn by chance from its number, and so are the same in every run.
"""

import asyncio
import random
from collections.abc import Callable

import pytest

from gateway.turns.chats.markers import agent_tags
from gateway.turns.runs.registry import Runs
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import Store
from tests.turns.turns import SUMMARY, play, runs_for, turn
from tests.turns.virtual_time import VirtualTimeLoop

REQUESTS = 50
TIMES = 20
# In seconds.
LATEST = 0.4


World = Callable[[MemoryLetta, Callable[[], float]], None]
"""Gives a way to Letta its times, each of which `draw` draws."""


def late(letta: MemoryLetta, draw: Callable[[], float]) -> None:
    """Each listing takes some time before it is made, and some on its way."""
    letta.delay = lambda call: draw() if call in ("find_agents", "listed") else 0.01


def old(letta: MemoryLetta, draw: Callable[[], float]) -> None:
    """Each listing shows what was there some time before."""
    ages = {"find_agents": 0.0}

    def begin(call: str) -> float:
        if call in ages:
            ages[call] = draw()
        return 0.01

    letta.delay, letta.lag = begin, lambda agent: ages["find_agents"]


def hidden(letta: MemoryLetta, draw: Callable[[], float]) -> None:
    """Each agent shows some time after it was made, to all at the same moment."""
    hidden = letta.store.hidden
    letta.lag = lambda agent: hidden.setdefault(agent, draw())
    letta.delay = lambda call: 0.01


def slow(letta: MemoryLetta, draw: Callable[[], float]) -> None:
    """Each agent is dated at once, and shows once it is made, which takes its time."""
    letta.delay = lambda call: draw() if call == "commit" else 0.01


WORLDS: dict[str, World] = {"late": late, "old": old, "hidden": hidden, "slow": slow}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("number", range(TIMES))
def test_all_first_requests_of_a_person_reach_one_agent(world: World, number: int) -> None:
    chance = random.Random(number)
    store = Store()
    lettas = [MemoryLetta(store), MemoryLetta(store)]
    for letta in lettas:
        world(letta, lambda: chance.random() * LATEST)

    async def ask(runs: Runs, chat: str) -> None:
        await asyncio.sleep(chance.random() * LATEST)
        assert await play(runs, turn("Hi", chat=chat))

    async def ask_all() -> None:
        gateways = [runs_for(letta) for letta in lettas]
        await asyncio.gather(*(ask(gateways[i % 2], str(i)) for i in range(REQUESTS)))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(ask_all())

    assert len(store.agents) == 1
    spoken_to = {store.conversations[id].agent_id for letta in lettas for id, _ in letta.sent}
    assert spoken_to == {*store.agents}
    assert sum(len(letta.sent) for letta in lettas) == REQUESTS


def test_a_chat_is_looked_for_while_its_new_agent_settles_and_begun_after() -> None:
    letta = MemoryLetta()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(play(runs_for(letta), turn()))

    called = [name for name, _ in letta.calls if name.endswith(("agents", "agent", "conversations", "conversation"))]
    assert called == ["find_agents", "create_agent", "find_conversations", "find_agents", "create_conversation"]


def test_a_chat_goes_on_with_the_agent_that_stays() -> None:
    """Another gateway has made its agent before, and its conversation of the same chat."""
    letta = MemoryLetta()
    asked = turn()

    async def ask() -> None:
        asking = asyncio.create_task(play(runs_for(letta), asked))
        creating = letta.gate("create_agent")
        await creating.reached()
        creating.open()
        letta.store.add_agent(agent_tags("tutor", "school", "ada"), "agent-winner", -1.0)
        letta.store.add_conversation("agent-winner", SUMMARY, "conv-winner")
        await asking

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(ask())

    assert [id for id, _ in letta.sent] == ["conv-winner"]
    assert {*letta.store.agents} == {"agent-winner"}
