"""The people whom no key reaches any more."""

import pytest

from gateway.settings import AgentType, Key, Letta, Secret, Settings
from gateway.turns.chats.markers import agent_tags
from gateway.turns.people.agents import Agents
from gateway.turns.people.identity import User
from gateway.turns.people.scopes import find_left_out
from tests.turns.memory_letta import MemoryLetta

pytestmark = pytest.mark.anyio

TUTOR = AgentType(id="tutor", model="m/one")
REST = Letta(base_url="http://letta")


def settings(*keys: Key, letta: Letta = REST) -> Settings:
    return Settings(letta=letta, agent_types=(TUTOR,), keys=keys)


def key(name: str, scope: str | None = None) -> Key:
    return Key(name=name, key=Secret(f"sk-{name}"), scope=scope)


async def letta_of(*scopes: str) -> MemoryLetta:
    """A Letta with a person's agent in each of these scopes."""
    letta = MemoryLetta()
    for scope in scopes:
        await Agents(letta, 0.0).get(TUTOR, User(scope, "ada", "Ada"))
    return letta


# The scopes that have agents, the settings → those that no key reaches
LEFT: dict[str, tuple[list[str], Settings, dict[str, int]]] = {
    "a first key": (["default"], settings(key("frontend")), {"default": 1}),
    "a first key that takes them along": (["default"], settings(key("frontend", "default")), {}),
    "a key that was renamed": (["front", "frontend"], settings(key("frontend")), {"front": 1}),
    "an embedded Letta's key that takes the demo's people along": (
        ["demo", "default"],
        settings(key("frontend", "default"), letta=Letta()),
        {},
    ),
    "no keys": (["front"], settings(), {}),
    "nobody": ([], settings(key("frontend")), {}),
}


@pytest.mark.parametrize(("scopes", "with_keys", "left"), LEFT.values(), ids=LEFT)
async def test_scopes_without_a_key_are_found_by_what_agents_have_noted(
    scopes: list[str], with_keys: Settings, left: dict[str, int]
) -> None:
    assert await find_left_out(await letta_of(*scopes), with_keys) == left


async def test_who_named_nobody_to_an_earlier_version_is_found_though_nothing_was_noted() -> None:
    letta = MemoryLetta()
    letta.store.add_agent(agent_tags("tutor", "default", "me"), metadata={})

    assert await find_left_out(letta, settings(key("frontend"))) == {"default": 1}
    assert await find_left_out(letta, settings(key("frontend", "default"))) == {}


async def test_an_agent_without_a_noted_scope_has_its_template_all_the_same() -> None:
    letta = await letta_of("default")
    (kept,) = letta.store.agents.values()
    assert kept.agent.metadata
    del kept.agent.metadata["letta_gateway"]["scope"]
    await Agents(letta, 0.0).get(TUTOR, User("default", "ada", "Ada"))

    assert letta.count("apply_template") == 0
