"""Agents: made, found, changed, deleted."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain import errors
from gateway.letta.upstream import Upstream
from tests.contract.sides import RealSide, Side
from tests.contract.table import needs
from tests.contract.talk import FIRST, MARKER, chat_of, tell, template

pytestmark = pytest.mark.anyio


async def test_it_is_healthy_and_lists_its_model(upstream: Upstream, side: Side) -> None:
    await upstream.check_health()

    assert side.model in await upstream.list_models()


async def test_to_start_it_again_does_nothing(upstream: Upstream) -> None:
    await upstream.start()
    await upstream.check_health()


async def test_an_agent_is_found_by_all_of_its_tags_and_keeps_its_metadata(upstream: Upstream, side: Side) -> None:
    shared = f"shared-{uuid.uuid4().hex}"
    one = await upstream.create_agent(template(side, tags=("gateway", shared, "one"), metadata={"a": {"b": ["ü", 1]}}))
    two = await upstream.create_agent(template(side, tags=("gateway", shared, "two")))

    assert {one.id, two.id} == {agent.id for agent in await upstream.find_agents(["gateway", shared])}
    (found,) = await upstream.find_agents([shared, "one"])
    assert (found.id, found.metadata) == (one.id, {"a": {"b": ["ü", 1]}})
    assert await upstream.find_agents([shared, "three"]) == []
    await upstream.check_agent(one.id)


async def test_agents_are_listed_page_by_page_with_their_tags_and_names(upstream: Upstream, side: Side) -> None:
    shared = f"shared-{uuid.uuid4().hex}"
    templates = [template(side, tags=("gateway", shared, each)) for each in ("one", "two", "three")]
    made = [await upstream.create_agent(each) for each in templates]
    listed = await upstream.find_agents([shared])
    rest = await upstream.find_agents([shared], listed[0].id)

    assert {agent.id for agent in listed} == {agent.id for agent in made}
    assert [agent.id for agent in rest] == [agent.id for agent in listed[1:]]
    assert await upstream.find_agents([shared], listed[-1].id) == []
    assert all({"gateway", shared} < set(agent.tags) and agent.name == template(side).name for agent in listed)


@needs("dates")
async def test_an_agent_tells_when_it_was_made(upstream: Upstream, side: Side) -> None:
    made = await upstream.create_agent(template(side))
    (found,) = await upstream.find_agents(made.tags)

    assert found.created_at is not None
    assert abs(datetime.now(UTC) - found.created_at) < timedelta(minutes=1)


async def test_a_deleted_agent_is_gone(upstream: Upstream, side: Side) -> None:
    agent = await upstream.create_agent(template(side))
    await upstream.delete_agent(agent)

    assert await upstream.find_agents(agent.tags) == []
    with pytest.raises(errors.NotFound):
        await upstream.check_agent(agent.id)


@needs("deletion")
async def test_the_conversations_of_a_deleted_agent_take_no_turn(upstream: Upstream, side: Side) -> None:
    agent, chat = await chat_of(upstream, side)
    await upstream.delete_agent(agent)

    with pytest.raises(errors.NotFound):
        await tell(upstream, agent, chat, "hello")


async def test_a_changed_template_is_kept_with_the_agent(upstream: Upstream, side: Side) -> None:
    agent = await upstream.create_agent(template(side))
    await upstream.apply_template(agent, template(side, system="You are a coach.", metadata={"changed": True}), [])

    (found,) = await upstream.find_agents(agent.tags[:2])
    assert (found.metadata or {}).get("changed") is True
    assert found.created_at == agent.created_at


@needs("model")
async def test_a_changed_template_reaches_a_living_conversation_after_a_recompile(
    upstream: Upstream, real: RealSide, mark: str
) -> None:
    agent, chat = await chat_of(upstream, real)
    await tell(upstream, agent, chat, f"old {mark}")
    changed = template(real, system="You are a coach.", blocks={"human": "He likes beer."}, metadata={"changed": True})
    await upstream.apply_template(agent, changed, [])
    await upstream.recompile(chat.id)
    await tell(upstream, agent, chat, f"new {mark}")

    (old,), (new,) = real.scripted.received(f"old {mark}"), real.scripted.received(f"new {mark}")
    for received, system in ((old, "You are a tutor."), (new, "You are a coach.")):
        assert received[0][1].startswith(system)
        assert "She likes tea." in received[0][1]
    assert [("user", f"old {mark}"), ("assistant", f"{FIRST}old {mark}"), ("user", f"new {mark}")] == real.heard(
        f"new {mark}"
    )[0]


@needs("catalogue")
async def test_a_tool_that_nobody_has_is_unknown(upstream: Upstream, side: Side) -> None:
    tool, other = side.tools

    assert await upstream.unknown_tools([tool, "no_such_tool", other]) == ["no_such_tool"]


@needs("model")
async def test_the_tools_of_an_agent_are_those_of_its_template_and_the_memory_s(
    upstream: Upstream, real: RealSide, mark: str
) -> None:
    tool, other = real.tools
    agent = await upstream.create_agent(template(real, tools=(tool,)))
    chat = await upstream.create_conversation(agent.id, MARKER, [])
    await tell(upstream, agent, chat, mark, tools=(tool,))

    (offered,) = real.scripted.offered(mark)
    assert {tool, "memory_insert", "memory_replace"} <= offered
    assert other not in offered
    assert {tool, "memory_insert"} <= await upstream.tool_names(agent.id, [tool])
