"""Tools that need an approval, on every real Letta: by what was done, and what the model received."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.settings import AgentType
from tests.gateways import TUTOR, gateway, sdk
from tests.integration.words import someone, unheard
from tests.programs import Talk, heard
from tests.servers.app_server import AppServer
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

WRITER = AgentType(id="tutor", model="m/one", system="You write.", tools=("Write",))
QUESTION = "**May I do this?** It needs your approval:"


class Deed:
    """Something that an agent may do when it is allowed to."""

    def __init__(self, letta: RealLetta, directory: Path) -> None:
        self._letta = letta
        self._file = directory / unheard().strip()
        self._text = unheard("the deed")
        self._agents: list[str] = []

    @property
    def script(self) -> str:
        if self._letta.name == "v1":
            return f'!tool memory_insert {{"label": "human", "new_string": "{self._text}"}}\n{unheard()}'
        return f'!tool Write {{"file_path": "{self._file}", "content": "{self._text}"}}\n{unheard()}'

    @property
    def done(self) -> bool:
        if isinstance(self._letta, LettaV1):
            return any(self._text in str(self._letta.memory(agent)) for agent in self._agents)
        return self._file.exists()

    def prepare(self, talk: Talk) -> None:
        """Have the agent's tool need an approval."""
        before = set(self._letta.agents(["gateway"]))
        talk.say(unheard("hello"))
        self._agents = [agent for agent in self._letta.agents(["gateway"]) if agent not in before]
        if isinstance(self._letta, LettaV1):
            for agent in self._agents:
                self._letta.require_approval(agent, "memory_insert")


@pytest.fixture(scope="module")
def types(letta: RealLetta) -> tuple[AgentType, ...]:
    return (WRITER,) if isinstance(letta, AppServer) else (TUTOR,)


@pytest.fixture(scope="module")
def url(letta: RealLetta, types: tuple[AgentType, ...]) -> Iterator[str]:
    with gateway(letta, types=types) as base_url:
        yield base_url


@pytest.fixture
def deed(letta: RealLetta, tmp_path: Path) -> Deed:
    return Deed(letta, tmp_path)


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def talk(url: str, request: pytest.FixtureRequest, deed: Deed) -> Iterator[Talk]:
    with sdk(url) as client:
        talk = Talk(client, request.param, user=someone(), tools=[])
        deed.prepare(talk)
        yield talk


def ask(talk: Talk, deed: Deed) -> str:
    """Have the agent want to do it; gives the question."""
    question = talk.say(deed.script).content or ""
    assert QUESTION in question
    assert (talk.finish, deed.done) == ("stop", False)
    return question


def roles(model: ScriptedModel, text: str) -> list[str]:
    return [role for role, _ in heard(model, text)][2:]


def test_what_is_allowed_is_done_once(talk: Talk, deed: Deed, model: ScriptedModel) -> None:
    asked = ask(talk, deed)
    assert "`memory_insert`" in asked or "`Write`" in asked
    yes = "Yes."
    talk.say(yes)
    assert deed.done

    more = unheard("and more")
    talk.say(more)
    assert roles(model, more) == ["user", "assistant", "tool", "user", "assistant", "user"]
    assert not any(QUESTION in text for _, text in heard(model, more))


def test_what_is_not_allowed_is_not_done_and_the_agent_knows_why(talk: Talk, deed: Deed, model: ScriptedModel) -> None:
    ask(talk, deed)
    reason = unheard("it is too late")
    talk.say(f"No, because {reason}")

    assert not deed.done
    assert roles(model, reason) == ["user", "assistant", "tool", "user"]
    assert reason in heard(model, reason)[-2][1]


def test_anything_else_is_a_no_and_is_heard(talk: Talk, deed: Deed, model: ScriptedModel) -> None:
    ask(talk, deed)
    other = unheard("What time is it, by the way")
    assert other in (talk.say(other).content or "")

    assert not deed.done
    assert roles(model, other) == ["user", "assistant", "tool", "user"]


def test_an_approval_that_is_asked_for_again_approves_nothing(talk: Talk, deed: Deed, model: ScriptedModel) -> None:
    ask(talk, deed)
    talk.say("no")
    del talk.history[-2:]
    assert "You said: yes" in (talk.say("yes").content or "")
    assert not deed.done


def test_nobody_is_asked_where_everybody_shares_the_agent(
    letta: RealLetta, types: tuple[AgentType, ...], deed: Deed
) -> None:
    denying = tuple(AgentType(**{n: getattr(t, n) for n in t.__struct_fields__} | {"approvals": "deny"}) for t in types)
    with gateway(letta, types=denying) as url, sdk(url) as client:
        talk = Talk(client, user=someone(), tools=[])
        deed.prepare(talk)
        answer = talk.say(deed.script).content or ""

    assert not deed.done
    assert "needs an approval, which nobody can give here." in answer
    assert QUESTION not in answer
    assert "Tool said" in answer
