"""What `check --users` and `--user` tell of people: counted by type, and each found from the id that requests give."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from gateway.commands.people_report import PeopleAsked, tell_people
from gateway.domain import errors
from gateway.letta.upstream import Agent, Upstream
from gateway.settings import AgentType, Key, Letta, Secret, UserSource
from gateway.turns.chats.markers import agent_name, agent_tags
from gateway.turns.people.agents import Agents
from gateway.turns.people.identity import User
from tests.gateways import settings_for
from tests.turns.memory_letta import PAGE, MemoryLetta

TUTOR, COACH = AgentType(id="tutor", model="m"), AgentType(id="coach", model="m")
OPS = AgentType(id="ops", agent="agent-of-all")
WEB = Key(name="web", key=Secret("1"), user_from=(UserSource("header:X-User"),), scope="people")
APP = Key(name="app", key=Secret("2"), scope="people", models=("tutor",))
BOT = Key(name="bot", key=Secret("3"), user_means="ignored")
ADA = agent_tags("", "people", "ada")[2]
ADAS_TUTOR = agent_name("tutor", "people", "ada")


def letta_of(*people: tuple[AgentType, str, str]) -> MemoryLetta:
    """A Letta with the agents of these people, each of a type, a scope and an id."""

    async def make() -> None:
        agents = Agents(letta, 0.0)
        for type, scope, id in people:
            await agents.get(type, User(scope, id, id))

    letta = MemoryLetta()
    asyncio.run(make())
    return letta


def told(
    capsys: pytest.CaptureFixture[str], letta: Upstream, asked: PeopleAsked, **changes: Any
) -> tuple[list[str], list[str]]:
    """The lines that are printed, and the problems."""
    settings = settings_for("http://letta", **{"types": (TUTOR, COACH, OPS), "keys": (WEB, APP, BOT), **changes})

    async def problems() -> list[str]:
        return [problem async for problem in tell_people(letta, settings, asked)]

    found = asyncio.run(problems())
    return capsys.readouterr().out.splitlines(), found


def test_people_and_agents_are_counted_by_type(capsys: pytest.CaptureFixture[str]) -> None:
    letta = letta_of((TUTOR, "people", "ada"), (TUTOR, "people", "bob"), (COACH, "people", "ada"))

    assert told(capsys, letta, PeopleAsked()) == (
        [
            "People and agents: 2 people, 3 agents",
            "  ops: everybody shares the agent agent-of-all",
            "  tutor: 2 agents of 2 people (scope people: 2)",
            "  coach: 1 agent of 1 person (scope people: 1)",
        ],
        [],
    )


def test_a_type_that_nobody_uses_is_counted_too(capsys: pytest.CaptureFixture[str]) -> None:
    letta = letta_of((TUTOR, "people", "ada"), (COACH, "people", "ada"), (AgentType(id="ops"), "people", "ada"))

    lines, _ = told(capsys, letta, PeopleAsked(), types=(TUTOR, AgentType(id="new"), OPS))
    assert lines == [
        "People and agents: 1 person, 3 agents",
        "  ops: everybody shares the agent agent-of-all",
        "  tutor: 1 agent of 1 person (scope people: 1)",
        "  new: 0 agents",
        "  ops: 1 agent of 1 person (scope people: 1), which no agent type uses any more",
        "  coach: 1 agent of 1 person (scope people: 1), which no agent type uses any more",
    ]


class Listing(MemoryLetta):
    """A Letta with these agents, which others may have changed."""

    def __init__(self, agents: list[Agent]) -> None:
        super().__init__()
        self.agents = agents

    async def find_agents(self, tags: Iterable[str], after: str = "") -> list[Agent]:
        ids = [agent.id for agent in self.agents]
        return self.agents[ids.index(after) + 1 :] if after else self.agents


# tags and name of an agent -> the line about it
CHANGED: dict[str, tuple[tuple[str, ...], str | None, str]] = {
    "another tag": (("vip", *agent_tags("tutor", "people", "ada")), "Ada's", "  tutor: 1 agent of 1 person"),
    "another tag, of a type": (
        ("coach", *agent_tags("tutor", "people", "ada")), ADAS_TUTOR, "  tutor: 1 agent of 1 person",
    ),
    "no type": (
        ("gateway", ADA), None, "  (no type told): 1 agent of 1 person, which no agent type uses any more",
    ),
    "a type of an earlier name": (
        ("vip", *agent_tags("old", "people", "ada")),
        agent_name("old", "people", "ada"),
        "  old: 1 agent of 1 person, which no agent type uses any more",
    ),
    "a type called as the gateway's own tag": (
        agent_tags("gateway", "people", "ada"),
        agent_name("gateway", "people", "ada"),
        "  gateway: 1 agent of 1 person, which no agent type uses any more",
    ),
    "no person": (("gateway", "tutor"), "tutor", "  tutor: 1 agent of 1 person"),
}  # fmt: skip


@pytest.mark.parametrize(("tags", "name", "line"), CHANGED.values(), ids=CHANGED)
def test_an_agent_is_counted_whatever_was_done_to_it(
    capsys: pytest.CaptureFixture[str], tags: tuple[str, ...], name: str | None, line: str
) -> None:
    lines, problems = told(capsys, Listing([Agent("agent-1", tags=tags, name=name)]), PeopleAsked())

    assert (line in lines, problems) == (True, [])


def test_scopes_are_counted_where_they_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    tags = agent_tags("tutor", "people", "ada")
    notes: list[Any] = [{"scope": "people"}, {"scope": "people"}, {"scope": "bots"}, {}, {"scope": 7}]
    agents = [Agent(f"agent-{i}", tags=tags, metadata={"letta_gateway": note}) for i, note in enumerate(notes)]

    lines, _ = told(capsys, Listing(agents), PeopleAsked())
    assert "  tutor: 5 agents of 1 person (scope bots: 1, scope people: 2)" in lines


def test_all_pages_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    letta = letta_of(*((TUTOR, "people", f"user-{i}") for i in range(2 * PAGE + 1)))

    lines, _ = told(capsys, letta, PeopleAsked())
    assert f"  tutor: {2 * PAGE + 1} agents of {2 * PAGE + 1} people (scope people: {2 * PAGE + 1})" in lines


def test_an_agent_that_comes_to_stand_elsewhere_meanwhile_is_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Moving(Listing):
        async def find_agents(self, tags: Iterable[str], after: str = "") -> list[Agent]:
            return self.agents[:2] if not after else self.agents

    agents = [Agent(f"agent-{i}", tags=agent_tags("tutor", "people", str(i))) for i in range(3)]

    lines, _ = told(capsys, Moving(agents), PeopleAsked())
    assert "  tutor: 3 agents of 3 people" in lines


def test_a_person_is_shown_with_the_tag_and_the_agents(capsys: pytest.CaptureFixture[str]) -> None:
    letta = letta_of((TUTOR, "people", "ada"))
    (agent,) = letta.store.agents.values()
    assert agent.agent.created_at

    lines, problems = told(capsys, letta, PeopleAsked("ada"))
    assert problems == []
    assert lines[1:] == [
        "keys web, app: scope people, id ada",
        f"  {ADA}",
        f"  tutor: {agent.agent.id}, named {ADAS_TUTOR}, made {agent.agent.created_at:%Y-%m-%d %H:%M} UTC",
        "  coach: no agent yet",
        "  ops: agent-of-all, which everybody shares",
        "key bot: scope bot, id bot, whoever its requests name",
        f"  {agent_tags('', 'bot', 'bot')[2]}",
        "  tutor: no agent yet",
        "  coach: no agent yet",
        "  ops: agent-of-all, which everybody shares",
    ]


def test_a_person_is_shown_for_one_key(capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = told(capsys, letta_of((TUTOR, "people", "ada")), PeopleAsked("ada", "app"))

    assert lines[1] == "key app: scope people, id ada"
    assert [line.split(",")[0] for line in lines[3:]] == ["  tutor: agent-1"]


def test_without_keys_a_person_is_one_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = told(capsys, letta_of((TUTOR, "default", "me")), PeopleAsked("me"), keys=())

    assert lines[1] == "key default: scope default, id me"
    assert lines[3].startswith("  tutor: agent-1, named tutor-")


def test_a_key_that_is_not_there_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    _, problems = told(capsys, letta_of(), PeopleAsked("ada", "wob"))

    assert problems == ["no key is called `wob`: there are `web`, `app`, `bot`."]


@pytest.mark.parametrize("asked", [PeopleAsked(), PeopleAsked("ada")])
def test_a_letta_that_fails_is_a_problem(capsys: pytest.CaptureFixture[str], asked: PeopleAsked) -> None:
    letta = letta_of()
    letta.fail("find_agents", errors.TimedOut("ReadTimeout"))

    assert told(capsys, letta, asked)[1] == ["Letta failed to list agents (TimedOut, ReadTimeout)."]


def test_an_id_that_was_typed_is_not_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told(capsys, letta_of((TUTOR, "people", "ada-secret")), PeopleAsked("ada-secret"))

    assert "ada-secret" not in caplog.text


def test_the_agents_name_is_the_one_in_a_line_of_the_log() -> None:
    letta = letta_of((TUTOR, "people", "ada"))
    (agent,) = letta.store.agents.values()

    assert msgspec.structs.asdict(agent.agent)["name"] == ADAS_TUTOR


def test_a_person_of_an_earlier_demo_is_looked_for_in_its_scope_too(capsys: pytest.CaptureFixture[str]) -> None:
    letta = letta_of((TUTOR, "demo", "ada"))
    embedded = msgspec.structs.replace(settings_for("http://letta", types=(TUTOR,), keys=()), letta=Letta())

    async def tell() -> list[str]:
        return [problem async for problem in tell_people(letta, embedded, PeopleAsked("ada"))]

    assert asyncio.run(tell()) == []
    lines = capsys.readouterr().out.splitlines()
    (made,) = letta.store.agents
    assert lines[1:] == [
        "key default: scope default, id ada",
        f"  {agent_tags('', 'default', 'ada')[2]}",
        "  tutor: no agent yet",
        "key default: scope demo, id ada",
        f"  {agent_tags('', 'demo', 'ada')[2]}",
        lines[-1],
    ]
    assert lines[-1].startswith(f"  tutor: {made}")
