"""One agent for a user of a type: however many ask at once, in however many processes, and whoever leaves meanwhile."""

import asyncio
import gc
import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain import errors
from gateway.settings import AgentType
from gateway.turns.chats.markers import agent_tags
from gateway.turns.people.agents import ALONE, Agents, KnownAgent
from gateway.turns.people.identity import User
from gateway.turns.people.template import to_template
from tests.turns.memory_letta import MemoryLetta
from tests.turns.store import Store
from tests.turns.virtual_time import VirtualTimeLoop, idle, now

pytestmark = pytest.mark.anyio

SETTLE = 0.5
TUTOR = AgentType(id="tutor", model="m/one", system="You teach.", tools=("search", "run"))
SHARED = AgentType(id="ops", agent="agent-ops")
ADA = User("school", "ada", "Ada")
TAGS = agent_tags("tutor", "school", "ada")
GIVEN = to_template(TUTOR, ADA, "m/one").metadata
GIVEN_NAME = to_template(TUTOR, ADA, "m/one").name


def agents_of(letta: MemoryLetta) -> Agents:
    return Agents(letta, SETTLE)


async def settled(agents: Agents, agent_type: AgentType = TUTOR, user: User = ADA) -> KnownAgent:
    """The agent, once it may be spoken to."""
    agent = await agents.get(agent_type, user)
    await agent.settled()
    return agent


def letta_with_agent(**more: Any) -> MemoryLetta:
    """A Letta that has Ada's tutor already; nobody has spoken to it, and it has the present template."""
    letta = MemoryLetta()
    letta.store.add_agent(TAGS, **{"metadata": GIVEN, **more})
    return letta


# One process


async def test_many_first_requests_at_once_make_one_agent() -> None:
    letta = MemoryLetta()
    agents = agents_of(letta)

    found = await asyncio.gather(*(agents.get(TUTOR, ADA) for _ in range(50)))

    assert letta.count("create_agent") == 1
    assert {id(agent) for agent in found} == {id(found[0])}


async def test_a_new_agent_is_made_from_the_template() -> None:
    letta = MemoryLetta()

    known = await agents_of(letta).get(TUTOR, ADA)

    kept = letta.store.agents[known.id]
    assert (kept.model, kept.system, kept.tools, kept.agent.tags) == ("m/one", "You teach.", ("search", "run"), TAGS)
    assert letta.count("apply_template") == 0


async def test_an_agent_is_looked_up_once() -> None:
    letta = letta_with_agent()
    agents = agents_of(letta)
    first = await agents.get(TUTOR, ADA)
    asked = len(letta.calls)

    assert await agents.get(TUTOR, ADA) is first
    assert len(letta.calls) == asked


async def test_a_forgotten_agent_is_looked_up_again() -> None:
    letta = letta_with_agent()
    agents = agents_of(letta)
    await agents.get(TUTOR, ADA)
    letta.store.agents.clear()
    agents.forget(TUTOR, ADA)

    assert (await agents.get(TUTOR, ADA)).id in letta.store.agents


OTHERS: dict[str, tuple[AgentType, User]] = {
    "another user": (TUTOR, User("school", "bob", "Ada")),
    "the same id in another scope": (TUTOR, User("work", "ada", "Ada")),
    "another type": (AgentType(id="coach", model="m/one"), ADA),
}


@pytest.mark.parametrize(("agent_type", "user"), OTHERS.values(), ids=OTHERS)
async def test_each_user_of_each_type_has_an_agent(agent_type: AgentType, user: User) -> None:
    letta = MemoryLetta()
    agents = agents_of(letta)

    ada, other = await asyncio.gather(agents.get(TUTOR, ADA), agents.get(agent_type, user))

    assert ada.id != other.id
    assert set(letta.store.agents) == {ada.id, other.id}


async def test_a_name_is_no_part_of_who_the_user_is() -> None:
    agents = agents_of(MemoryLetta())

    assert await agents.get(TUTOR, ADA) is await agents.get(TUTOR, User("school", "ada", "Lovelace", "a@b.c"))


async def test_an_agent_that_exists_is_shared_and_never_looked_for() -> None:
    letta = MemoryLetta()
    agents = agents_of(letta)

    ada = await agents.get(SHARED, ADA)
    agents.forget(SHARED, ADA)
    bob = await agents.get(SHARED, User("school", "bob", "Bob"))

    assert (ada.id, bob.id) == ("agent-ops", "agent-ops")
    assert bob is await agents.get(SHARED, ADA)
    assert letta.calls == []


@pytest.mark.parametrize("call", ["find_agents", "create_agent"])
async def test_a_failed_search_is_told_to_all_who_wait_and_the_next_tries_again(call: str) -> None:
    letta = MemoryLetta()
    letta.fail(call, errors.Unreachable("no"))
    agents = agents_of(letta)

    failed = await asyncio.gather(*(agents.get(TUTOR, ADA) for _ in range(3)), return_exceptions=True)

    assert [type(error) for error in failed] == [errors.Unreachable] * 3
    assert (await agents.get(TUTOR, ADA)).id in letta.store.agents


async def test_a_maker_that_cannot_look_round_finds_its_own_agent_next_time() -> None:
    letta = MemoryLetta()
    agents = agents_of(letta)
    creating = letta.gate("create_agent")
    failing = [asyncio.create_task(settled(agents)) for _ in range(2)]
    await creating.reached()
    letta.fail("find_agents", errors.TimedOut("no"))
    creating.open()

    assert [type(error) for error in await asyncio.gather(*failing, return_exceptions=True)] == [errors.TimedOut] * 2
    assert [(await settled(agents)).id] == letta.made


async def test_who_leaves_does_not_stop_the_search_for_others() -> None:
    letta = MemoryLetta()
    agents = agents_of(letta)
    creating = letta.gate("create_agent")
    leaving, staying = (asyncio.create_task(agents.get(TUTOR, ADA)) for _ in range(2))
    await creating.reached()
    leaving.cancel()
    creating.open()

    assert [(await staying).id] == letta.made
    assert leaving.cancelled()


async def ask_and_leave(letta: MemoryLetta, agents: Agents) -> None:
    """Ask for an agent, and leave while it is made; nothing holds the search when this returns but the search."""
    creating = letta.gate("create_agent")
    leaving = asyncio.create_task(agents.get(TUTOR, ADA))
    await creating.reached()
    leaving.cancel()
    creating.open()


async def test_a_search_that_everybody_left_leaves_no_second_agent_behind() -> None:
    letta = MemoryLetta()
    agents = agents_of(letta)
    await ask_and_leave(letta, agents)

    assert [(await agents.get(TUTOR, ADA)).id] == letta.made == list(letta.store.agents)


async def test_a_search_that_everybody_left_fails_without_a_word() -> None:
    letta, told = MemoryLetta(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    letta.fail("create_agent", errors.Unreachable("no"))
    agents = agents_of(letta)
    await ask_and_leave(letta, agents)
    await idle()
    gc.collect()

    assert told == []
    assert (await agents.get(TUTOR, ADA)).id in letta.store.agents


# An agent that is there


async def test_an_agent_nobody_has_spoken_to_is_listed_until_twice_the_same() -> None:
    letta = letta_with_agent()
    began = now()

    assert (await agents_of(letta).get(TUTOR, ADA)).id == "agent-old"
    assert (letta.count("find_agents"), letta.count("create_agent")) == (2, 0)
    assert now() - began == pytest.approx(SETTLE * ALONE)


async def test_one_of_two_agents_nobody_has_spoken_to_is_waited_for_longer() -> None:
    letta = letta_with_agent(created=5.0)
    letta.store.add_agent(TAGS, "agent-older", 4.0, metadata=GIVEN)
    began = now()

    assert (await agents_of(letta).get(TUTOR, ADA)).id == "agent-older"
    assert letta.count("find_agents") == 2
    assert now() - began == pytest.approx(SETTLE)


async def test_a_listing_that_changed_is_made_once_more() -> None:
    letta = letta_with_agent(created=5.0)
    asyncio.get_running_loop().call_later(SETTLE * ALONE / 2, letta.store.add_agent, TAGS, "agent-older", 4.0)
    began = now()

    assert (await agents_of(letta).get(TUTOR, ADA)).id == "agent-older"
    assert letta.count("find_agents") == 3
    assert now() - began == pytest.approx(SETTLE * (ALONE + 1))


async def test_a_listing_that_takes_long_shows_too_late_that_an_agent_is_alone() -> None:
    letta = letta_with_agent()
    letta.delay = lambda call: SETTLE * ALONE * 1.1 if call == "find_agents" else 0.0

    assert (await agents_of(letta).get(TUTOR, ADA)).id == "agent-old"
    assert letta.count("find_agents") == 3


async def test_the_younger_of_two_agents_stays_if_somebody_speaks_to_it_meanwhile() -> None:
    letta = letta_with_agent(created=5.0)
    letta.store.add_agent(TAGS, "agent-older", 4.0)
    asyncio.get_running_loop().call_later(SETTLE / 2, letta.store.add_conversation, "agent-old")

    assert (await agents_of(letta).get(TUTOR, ADA)).id == "agent-old"


async def test_an_agent_that_is_deleted_meanwhile_is_made_anew() -> None:
    letta = letta_with_agent()
    asyncio.get_running_loop().call_later(SETTLE * ALONE / 2, letta.store.agents.clear)

    assert [(await agents_of(letta).get(TUTOR, ADA)).id] == letta.made


async def test_an_agent_somebody_has_spoken_to_is_used_at_once() -> None:
    letta = letta_with_agent()
    letta.store.add_conversation("agent-old")
    began = now()

    assert (await agents_of(letta).get(TUTOR, ADA)).id == "agent-old"
    assert (letta.count("find_agents"), now() - began) == (1, 0)


async def test_an_agent_that_no_listing_shows_yet_is_used_by_its_maker() -> None:
    letta = MemoryLetta()
    asyncio.get_running_loop().call_later(SETTLE * ALONE / 2, letta.store.agents.clear)

    assert [(await settled(agents_of(letta))).id] == letta.made


async def test_a_new_agent_is_told_of_while_it_settles() -> None:
    letta = MemoryLetta()
    began = now()
    agent = await agents_of(letta).get(TUTOR, ADA)
    assert ([agent.id], now() - began) == (letta.made, 0)

    await agent.settled()
    assert letta.count("find_agents") == 2
    assert now() - began == pytest.approx(SETTLE * ALONE)


# A Letta in which nobody else makes agents


async def test_an_agent_of_a_letta_of_ones_own_settles_at_once() -> None:
    letta = MemoryLetta()
    letta.owned = True
    began = now()

    assert [(await settled(agents_of(letta))).id] == letta.made
    assert (letta.calls, now() - began) == ([("find_agents", ""), ("create_agent", GIVEN_NAME)], 0)


async def test_an_agent_nobody_has_spoken_to_is_used_at_once_in_a_letta_of_ones_own() -> None:
    letta = letta_with_agent()
    letta.owned = True
    began = now()

    assert (await settled(agents_of(letta))).id == "agent-old"
    assert (letta.calls, now() - began) == ([("find_agents", "")], 0)


# Somebody whose id an earlier version read otherwise

ADEL = User("school", "Adél", "Adél", former_id="AdÃ©l")
BEFORE = agent_tags("tutor", "school", "AdÃ©l")


async def test_who_was_met_under_another_reading_of_the_id_keeps_the_agent() -> None:
    letta = MemoryLetta()
    letta.store.add_agent(BEFORE, metadata=GIVEN)
    agents = agents_of(letta)

    assert (await agents.get(TUTOR, ADEL)).id == "agent-old"
    agents.forget(TUTOR, ADEL)
    assert (await agents.get(TUTOR, ADEL)).id == "agent-old"
    assert letta.made == []


async def test_all_names_that_somebody_may_have_are_asked_for_at_the_same_time() -> None:
    letta = MemoryLetta()
    letta.owned, letta.delay = True, lambda call: 1.0 if call in ("find_agents", "create_agent") else 0.0
    began = now()
    await agents_of(letta).get(TUTOR, User("default", "Adél", "Adél", former_id="AdÃ©l", former_scope="demo"))

    assert (letta.count("find_agents"), letta.count("create_agent")) == (4, 1)
    assert now() - began == pytest.approx(2.0)


async def test_an_agent_under_the_present_reading_goes_before_one_under_the_former() -> None:
    letta = MemoryLetta()
    letta.store.add_agent(BEFORE, "agent-before", metadata=GIVEN)
    letta.store.add_agent(agent_tags("tutor", "school", "Adél"), "agent-now", 1.0, metadata=GIVEN)

    assert (await agents_of(letta).get(TUTOR, ADEL)).id == "agent-now"


async def test_who_is_met_for_the_first_time_has_an_agent_under_the_present_reading() -> None:
    letta = MemoryLetta()
    known = await agents_of(letta).get(TUTOR, ADEL)

    assert letta.store.agents[known.id].agent.tags == agent_tags("tutor", "school", "Adél")


async def test_a_changed_template_leaves_an_agent_under_its_former_reading() -> None:
    letta = MemoryLetta()
    letta.store.add_agent(BEFORE, metadata=GIVEN)
    await agents_of(letta).get(CHANGED, ADEL)

    assert letta.store.agents["agent-old"].model == "m/two"
    assert letta.store.agents["agent-old"].agent.tags == BEFORE


# Somebody whom an earlier version knew in another scope

OURS = User("default", "ada", "Ada", former_scope="demo")
THEN = agent_tags("tutor", "demo", "ada")


async def test_who_was_met_in_another_scope_keeps_the_agent() -> None:
    letta = MemoryLetta()
    letta.store.add_agent(THEN, metadata=GIVEN)
    known = await agents_of(letta).get(TUTOR, OURS)

    assert (known.id, known.former_scope, letta.made) == ("agent-old", "demo", [])


async def test_an_agent_in_the_present_scope_goes_before_one_in_the_former() -> None:
    letta = MemoryLetta()
    letta.store.add_agent(THEN, "agent-before", metadata=GIVEN)
    letta.store.add_agent(agent_tags("tutor", "default", "ada"), "agent-now", 1.0, metadata=GIVEN)
    known = await agents_of(letta).get(TUTOR, OURS)

    assert (known.id, known.former_scope) == ("agent-now", "")


def test_a_user_of_another_scope_and_another_reading_may_have_been_called_by_either() -> None:
    user = User("default", "Adél", "Adél", former_id="AdÃ©l", former_scope="demo")

    assert user.formers == [("default", "AdÃ©l"), ("demo", "Adél"), ("demo", "AdÃ©l")]


# Without a model of its own

MODELLESS = AgentType(id="tutor")


async def test_a_type_without_a_model_has_the_first_that_letta_lists_asked_for_once() -> None:
    letta = MemoryLetta()
    agents = agents_of(letta)

    known = [await agents.get(MODELLESS, User("school", id, id)) for id in ("ada", "bob")]

    assert [letta.store.agents[one.id].model for one in known] == ["m/first", "m/first"]
    assert letta.count("list_models") == 1


async def test_another_first_model_is_a_changed_template() -> None:
    letta = MemoryLetta()
    id = (await agents_of(letta).get(MODELLESS, ADA)).id
    letta.models = ["m/new", "m/first"]
    await agents_of(letta).get(MODELLESS, ADA)

    assert letta.store.agents[id].model == "m/new"


@pytest.mark.parametrize("agent_type", [TUTOR, SHARED], ids=["its own model", "an agent that exists"])
async def test_no_other_type_asks_for_the_models(agent_type: AgentType) -> None:
    letta = MemoryLetta()
    await agents_of(letta).get(agent_type, ADA)

    assert letta.count("list_models") == 0


async def test_a_letta_without_a_model_makes_no_agent_until_it_has_one() -> None:
    letta = MemoryLetta()
    letta.models = []
    agents = agents_of(letta)

    with pytest.raises(errors.Refused, match="no model"):
        await agents.get(MODELLESS, ADA)
    assert letta.count("create_agent") == 0

    letta.models = ["m/late"]
    assert letta.store.agents[(await agents.get(MODELLESS, ADA)).id].model == "m/late"


# Two processes


async def speak(letta: MemoryLetta) -> KnownAgent:
    """The agent with which a first turn begins a conversation."""
    agent = await settled(agents_of(letta))
    await letta.create_conversation(agent.id, "a chat", [])
    return agent


async def race(one: MemoryLetta, two: MemoryLetta) -> tuple[KnownAgent, KnownAgent]:
    """Both find no agent, and both make one."""
    creating = one.gate("create_agent"), two.gate("create_agent")
    both = asyncio.gather(speak(one), speak(two))
    for gate in creating:
        await gate.reached()
    for gate in creating:
        gate.open()
    first, second = await both
    return first, second


# ids and dates as made, in order -> the one that stays
RACES: dict[str, tuple[list[tuple[str, float | None]], str]] = {
    "the older of two": ([("agent-b", 1.0), ("agent-a", 2.0)], "agent-b"),
    "the older of two, made by the second": ([("agent-a", 2.0), ("agent-b", 1.0)], "agent-b"),
    "the smaller id of one instant": ([("agent-b", 1.0), ("agent-a", 1.0)], "agent-a"),
    "a date before none": ([("agent-a", None), ("agent-b", 1.0)], "agent-b"),
    "the smaller id without dates": ([("agent-b", None), ("agent-a", None)], "agent-a"),
}


@pytest.mark.parametrize(("coming", "winner"), RACES.values(), ids=RACES)
async def test_two_processes_that_make_an_agent_each_agree_on_one(
    coming: list[tuple[str, float | None]], winner: str
) -> None:
    store = Store()
    store.coming = list(coming)
    one, two = MemoryLetta(store), MemoryLetta(store)

    found = await race(one, two)

    assert [agent.id for agent in found] == [winner, winner]
    assert list(store.agents) == [winner]
    for letta in (one, two):
        assert letta.subjects("delete_agent") == [id for id in letta.made if id != winner]


# the parts of the settling time after which the older agent shows, and the younger one -> the one that stays
LATE: dict[str, tuple[float, float, str]] = {
    "waited for": (ALONE * 0.8, 0.0, "agent-1"),
    "as late as the younger one": (0.9, 0.8, "agent-1"),
    "too late: somebody has spoken to the younger one": (0.8, 0.2, "agent-2"),
}


@pytest.mark.parametrize(("older", "younger", "stays"), LATE.values(), ids=LATE)
async def test_all_agree_on_one_of_two_agents_though_the_older_one_shows_late(
    older: float, younger: float, stays: str
) -> None:
    store = Store()
    late, early = MemoryLetta(store), MemoryLetta(store)
    late.delay = lambda call: SETTLE * older if call == "commit" else 0.0
    early.delay = lambda call: SETTLE * younger if call == "commit" else 0.0

    found = await race(late, early)

    assert {agent.id for agent in found} == set(store.agents) == {stays}


async def test_a_loser_that_somebody_spoke_to_is_left_alone() -> None:
    letta = MemoryLetta()
    letta.store.coming = [("agent-loser", 2.0)]
    creating, asking = letta.gate("create_agent"), letta.gate("has_conversations")
    getting = asyncio.create_task(settled(agents_of(letta)))
    await creating.reached()
    letta.store.add_agent(TAGS, "agent-winner", 1.0, metadata=GIVEN)
    creating.open()
    await asking.reached()
    letta.store.add_conversation("agent-loser", id="conv-1")
    letta.store.add_conversation("agent-winner", id="conv-2")
    asking.open()

    assert (await getting).id == "agent-winner"
    assert set(letta.store.agents) == {"agent-winner", "agent-loser"}


# When a process begins, how long its new agent takes to show, and what its other calls take, over and over: in seconds
SOON = st.sampled_from([0.0, 0.1, 0.3])
PROCESSES = st.tuples(SOON, st.sampled_from([0.0, SETTLE * 0.9]), st.lists(SOON, min_size=1, max_size=5))


@given(st.lists(PROCESSES, min_size=2, max_size=4))
@example([(0.0, SETTLE * 0.9, [0.0]), (0.1, 0.0, [0.0])])
def test_any_interleaving_of_processes_ends_with_one_agent(processes: list[tuple[float, float, list[float]]]) -> None:
    """Where an agent shows within the settling time of its date; all else may take any time."""
    store = Store()
    lettas = [MemoryLetta(store) for _ in processes]

    async def ask(letta: MemoryLetta, begin: float, commit: float, delays: list[float]) -> set[str]:
        others = itertools.cycle(delays)
        letta.delay = lambda call: commit if call == "commit" else next(others)
        await asyncio.sleep(begin)
        agents = agents_of(letta)
        found = await asyncio.gather(settled(agents), settled(agents))
        await letta.create_conversation(found[0].id, "a chat", [])
        return {agent.id for agent in found}

    async def ask_all() -> list[set[str]]:
        return await asyncio.gather(*(ask(letta, *process) for letta, process in zip(lettas, processes, strict=True)))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        found = runner.run(ask_all())

    assert [set(store.agents)] * len(lettas) == found
    assert len(store.agents) == 1
    for letta in lettas:
        assert len(letta.made) <= 1
        assert letta.subjects("delete_agent") == [id for id in letta.made if id not in store.agents]


# A changed template

CHANGED = AgentType(id="tutor", model="m/two", system="You teach well.", tools=("run", "draw"))


async def test_a_changed_template_is_applied_once_and_memory_stays() -> None:
    store = Store()
    first = MemoryLetta(store)
    id = (await agents_of(first).get(TUTOR, ADA)).id
    store.add_conversation(id)
    store.agents[id].blocks = {"human": "Ada likes graphs."}
    letta, later = MemoryLetta(store), MemoryLetta(store)

    agents = agents_of(letta)
    for _ in range(2):
        await agents.get(CHANGED, ADA)
    await agents_of(later).get(CHANGED, ADA)

    kept = store.agents[id]
    assert (kept.model, kept.system, kept.blocks) == ("m/two", "You teach well.", {"human": "Ada likes graphs."})
    assert [one.count("apply_template") for one in (first, letta, later)] == [0, 1, 0]


# tools of the agent, metadata that tells which of them a template gave it -> tools after
TOOLS: dict[str, tuple[tuple[str, ...], dict[str, Any] | None, set[str]]] = {
    "a dropped one is taken off": (("search", "run"), GIVEN, {"run", "draw"}),
    "one of its own is kept": (("mine", "search"), GIVEN, {"mine", "run", "draw"}),
    "all are kept where nothing is told": (("mine", "search"), None, {"mine", "search", "run", "draw"}),
}


@pytest.mark.parametrize(("tools", "metadata", "after"), TOOLS.values(), ids=TOOLS)
async def test_tools_that_the_template_dropped_are_taken_off(
    tools: tuple[str, ...], metadata: dict[str, Any] | None, after: set[str]
) -> None:
    letta = letta_with_agent(tools=tools, metadata=metadata)
    await agents_of(letta).get(CHANGED, ADA)

    assert set(letta.store.agents["agent-old"].tools) == after


async def test_a_template_that_stayed_as_it_was_is_not_applied() -> None:
    letta = letta_with_agent()
    memory_changed = AgentType(id="tutor", model="m/one", system="You teach.", tools=("search", "run"), memory={})
    await agents_of(letta).get(memory_changed, ADA)

    assert letta.count("apply_template") == 0


async def test_a_template_that_could_not_be_applied_is_tried_again() -> None:
    letta = letta_with_agent()
    letta.fail("apply_template", errors.Refused("no such model"))
    agents = agents_of(letta)

    with pytest.raises(errors.Refused):
        await agents.get(CHANGED, ADA)
    await agents.get(CHANGED, ADA)

    assert letta.store.agents["agent-old"].model == "m/two"
