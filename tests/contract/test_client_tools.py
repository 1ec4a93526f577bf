"""Tools of the client's, with a gateway in front of each side and the openai SDK in front of that."""

from collections.abc import Iterator

import pytest

from tests.contract.scene import Scene
from tests.contract.table import needs
from tests.gateways import sdk
from tests.integration.words import unheard
from tests.programs import CALLS, Talk, called


@pytest.fixture(params=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "streamed")


@pytest.fixture
def talk(scene: Scene, streamed: bool) -> Iterator[Talk]:
    with sdk(scene.url) as client:
        yield Talk(client, streamed)


@pytest.fixture
def plain(scene: Scene) -> Iterator[Talk]:
    with sdk(scene.url) as client:
        yield Talk(client)


def test_two_calls_at_once_come_to_the_client_and_their_results_to_the_agent(talk: Talk, scene: Scene) -> None:
    script = f"{CALLS}\n{unheard()}"
    message = talk.say(script)

    assert talk.finish == "tool_calls"
    assert called(message) == [("weather", {"city": "Oslo"}), ("clock", {"city": "Rome"})]
    answer = talk.give(weather="sunny", clock="noon")
    assert (talk.finish, answer.tool_calls) == ("stop", None)
    assert "sunny" in (answer.content or "")
    assert scene.heard(script) == [
        ("user", script),
        ("assistant", "weather,clock"),
        ("tool", "sunny"),
        ("tool", "noon"),
    ]

    more = unheard("and more")
    talk.say(more)
    assert [role for role, _ in scene.heard(more)] == ["user", "assistant", "tool", "tool", "assistant", "user"]


def test_results_may_come_in_any_order(plain: Talk, scene: Scene) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    plain.give(clock="noon", weather="sunny")

    assert sorted(scene.heard(script)[-2:]) == [("tool", "noon"), ("tool", "sunny")]


def test_a_result_that_is_missing_is_told_to_the_agent(plain: Talk, scene: Scene) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    assert "noon" in (plain.give(clock="noon").content or "")

    assert sum(role == "tool" for role, _ in scene.heard(script)) == 2
    assert any("gave no answer" in text for _, text in scene.heard(script)[-2:])


@needs("words beside results")
def test_what_is_said_beside_results_is_heard_after_them(plain: Talk, scene: Scene) -> None:
    script, more = f"{CALLS}\n{unheard()}", unheard("and this")
    plain.say(script)
    answer = plain.send(*plain.results(weather="sunny", clock="noon"), {"role": "user", "content": more})

    assert more in (answer.content or "")
    assert scene.heard(more)[-3:] == [("tool", "sunny"), ("tool", "noon"), ("user", more)]
    assert len(scene.heard(more)) == 5


@needs("words beside results")
def test_the_agent_may_call_again_in_the_same_turn(plain: Talk, scene: Scene) -> None:
    more = f"{CALLS}\n{unheard()}"
    plain.say(f"{CALLS}\n{unheard()}")
    again = plain.send(*plain.results(weather="sunny", clock="noon"), {"role": "user", "content": more})
    assert called(again) == [("weather", {"city": "Oslo"}), ("clock", {"city": "Rome"})]

    plain.give(weather="rain", clock="midnight")
    assert scene.heard(more)[-2:] == [("tool", "rain"), ("tool", "midnight")]


@needs("words beside results")
def test_who_goes_on_without_an_answer_is_heard_and_the_agent_knows(plain: Talk, scene: Scene) -> None:
    more = unheard("never mind")
    plain.say(f"{CALLS}\n{unheard()}")
    answer = plain.say(more)

    assert more in (answer.content or "")
    assert [role for role, _ in scene.heard(more)] == ["user", "assistant", "tool", "tool", "user"]
    assert all("went on without it" in text for role, text in scene.heard(more) if role == "tool")


def test_a_question_may_be_asked_anew_while_its_calls_wait(plain: Talk, scene: Scene) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    del plain.history[-2:]
    again = plain.say(script)

    assert called(again) == [("weather", {"city": "Oslo"}), ("clock", {"city": "Rome"})]
    assert "sunny" in (plain.give(weather="sunny", clock="noon").content or "")
    assert [role for role, _ in scene.heard(script)] == ["user", "assistant", "tool", "tool"]


def test_results_that_come_again_are_history(plain: Talk, scene: Scene) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    plain.give(weather="sunny", clock="noon")
    plain.history.pop()
    plain.send()

    (asked,) = scene.heard(script)
    assert asked[0] == "user"
    assert '"result":"sunny"' in asked[1]
    assert asked[1].endswith(script)


def test_a_call_without_arguments_has_none(talk: Talk) -> None:
    assert called(talk.say("!tool clock")) == [("clock", {})]


def test_who_wants_one_call_at_a_time_gets_one(scene: Scene, streamed: bool) -> None:
    script = f"{CALLS}\n{unheard()}"
    with sdk(scene.url) as client:
        talk = Talk(client, streamed, parallel_tool_calls=False)
        assert called(talk.say(script)) == [("weather", {"city": "Oslo"})]
        talk.give(weather="sunny")

    assert ("tool", "sunny") in scene.heard(script)
