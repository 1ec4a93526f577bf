"""Tools that need an approval, with a gateway in front of each side: what was done, and what the model received."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.contract.deeds import Deed
from tests.contract.scene import Scene
from tests.contract.table import needs
from tests.gateways import sdk
from tests.integration.words import someone, unheard
from tests.programs import Talk

QUESTION = "**May I do this?** It needs your approval:"


@pytest.fixture(scope="module")
def url(scene: Scene) -> Iterator[str]:
    with scene.another(types=(scene.side.writer,)) as base_url:
        yield base_url


@pytest.fixture
def deed(scene: Scene, tmp_path: Path) -> Deed:
    return scene.side.deed(tmp_path / unheard())


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


def roles(scene: Scene, text: str) -> list[str]:
    return [role for role, _ in scene.heard(text)][2:]


@needs("approvals")
def test_what_is_allowed_is_done_once(talk: Talk, deed: Deed, scene: Scene) -> None:
    asked = ask(talk, deed)
    assert "`memory_insert`" in asked or "`Write`" in asked
    yes = "Yes."
    talk.say(yes)
    assert deed.done

    more = unheard("and more")
    talk.say(more)
    assert roles(scene, more) == ["user", "assistant", "tool", "user", "assistant", "user"]
    assert not any(QUESTION in text for _, text in scene.heard(more))


@needs("approvals")
def test_what_is_not_allowed_is_not_done_and_the_agent_knows_why(talk: Talk, deed: Deed, scene: Scene) -> None:
    ask(talk, deed)
    reason = unheard("it is too late")
    talk.say(f"No, because {reason}")

    assert not deed.done
    assert roles(scene, reason) == ["user", "assistant", "tool", "user"]
    assert reason in scene.heard(reason)[-2][1]


@needs("approvals")
def test_anything_else_is_a_no_and_is_heard(talk: Talk, deed: Deed, scene: Scene) -> None:
    ask(talk, deed)
    other = unheard("What time is it, by the way")
    assert other in (talk.say(other).content or "")

    assert not deed.done
    assert roles(scene, other) == ["user", "assistant", "tool", "user"]


@needs("approvals")
def test_an_approval_that_is_asked_for_again_approves_nothing(talk: Talk, deed: Deed, scene: Scene) -> None:
    ask(talk, deed)
    talk.say("no")
    del talk.history[-2:]
    assert "You said: yes" in (talk.say("yes").content or "")
    assert not deed.done
    assert roles(scene, talk.history[-4]["content"]) == ["user", "user"]


@needs("approvals")
def test_nobody_is_asked_where_everybody_shares_the_agent(scene: Scene, deed: Deed) -> None:
    denying = msgspec.structs.replace(scene.side.writer, approvals="deny")
    with scene.another(types=(denying,)) as url, sdk(url) as client:
        talk = Talk(client, user=someone(), tools=[])
        deed.prepare(talk)
        answer = talk.say(deed.script).content or ""

    assert not deed.done
    assert "needs an approval, which nobody can give here." in answer
    assert QUESTION not in answer
    assert "Tool said" in answer
