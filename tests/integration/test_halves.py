"""Characters that are cut in two, by a model or by Letta itself, on each kind of a real Letta."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import InternalServerError, OpenAI

from gateway.settings import AgentType
from gateway.turns.chats.markers import agent_tags
from tests.gateways import TUTOR, chat, gateway, http, sdk
from tests.integration.words import someone, unheard
from tests.programs import Talk, called, tool
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.workers import asks

# Every piece of what the model says is one UTF-16 unit: half of each emoji.
IN_UNITS = "!units 1"
HALF = "\ud83d"
READER = AgentType(id="reader", model="any", system="You read.", tools=("Read",))


def ask(client: OpenAI, user: str, text: str, **more: Any) -> str:
    """The answer to one message of a chat, with its thoughts before it."""
    body = chat(text, user=user, stream=True, **more)
    stream = client.chat.completions.create(**body, extra_headers={"X-Chat-Id": "here"})
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def visible(answer: str) -> str:
    return answer.rpartition("</think>")[2]


@pytest.fixture(scope="module", params=[asks("app_server", id="app-server"), asks("embedded_letta", id="embedded")])
def telling(request: pytest.FixtureRequest) -> RealLetta:
    """A Letta that tells what it was told, with its halves."""
    server: RealLetta = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="module")
def telling_url(telling: RealLetta) -> Iterator[str]:
    with gateway(telling, types=(TUTOR, READER)) as url:
        yield url


@pytest.fixture
def telling_client(telling_url: str) -> Iterator[OpenAI]:
    with sdk(telling_url) as client:
        yield client


@contextmanager
def scripted(model: ScriptedModel, script: str) -> Iterator[None]:
    """The model says what no request can ask for: a script with halves in it."""
    rule: Callable[[Any], str | None] = lambda request: None if request["messages"][-1]["role"] == "tool" else script  # noqa: E731
    model.rule = rule
    try:
        yield
    finally:
        model.rule = None


def test_an_emoji_over_two_deltas_is_one_and_stays_one_after_a_restart(
    telling: RealLetta, telling_client: OpenAI, model: ScriptedModel
) -> None:
    user, script, later = someone(), f"{unheard()}\n{IN_UNITS}\n!think 🤔 so\n!say a🦊b 🦊", unheard("later")
    answer = ask(telling_client, user, script)
    with gateway(telling) as restarted, sdk(restarted) as other:
        ask(other, user, later)

    assert answer == "<think>🤔 so</think>a🦊b 🦊"
    assert model.said_once(later) == [("user", script), ("assistant", "a🦊b 🦊"), ("user", later)]


def test_a_half_in_what_a_client_says_is_replaced_wherever_it_stands(url: str, model: ScriptedModel) -> None:
    mark, later = unheard(), unheard("later")
    body: Any = {"user": f"{someone()} {HALF}", "metadata": {"chat_id": f"chat {HALF}", f"more {HALF}": HALF}}
    history = [{"role": "user", "content": f"{mark} {HALF}", "name": "Ada"}]
    history.append({"role": "assistant", "content": answer_to(url, **body, messages=history)})
    answer_to(url, **body, messages=[*history, {"role": "user", "content": later}])
    # A client that hands out the half that it has kept.
    history[-1]["content"] = history[-1]["content"].replace("\ufffd", HALF)
    answer_to(url, **body, messages=[*history, {"role": "user", "content": later}])

    told = f"{mark} \ufffd"
    path = [("user", told), ("assistant", history[-1]["content"].replace(HALF, "\ufffd")), ("user", later)]
    assert model.said(later) == [path, path]


def answer_to(url: str, **more: Any) -> str:
    """What is visible of an answer; the request is written as JavaScript does, which the openai SDK cannot."""
    body = json.dumps({**chat(), **more})
    with http(url) as client:
        response = client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    return visible(str(response.json()["choices"][0]["message"]["content"] or ""))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_arguments_of_a_client_s_tool_come_whole(telling_client: OpenAI, streamed: bool) -> None:
    talk = Talk(telling_client, streamed, tools=[tool("weather")])
    message = talk.say(unheard(f'{IN_UNITS}\n!tool weather {{"city": "🦊"}}\n'))
    answer = talk.give(weather="sunny 🦊")

    assert called(message) == [("weather", {"city": "🦊"})]
    assert visible(answer.content or "") == "Tool said: sunny 🦊"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_half_an_emoji_in_arguments_is_replaced_and_the_turn_goes_on(url: str, streamed: bool) -> None:
    with sdk(url) as client:
        talk = Talk(client, streamed, tools=[tool("weather")])
        message = talk.say(unheard('!tool weather {"city": "a\\ud83d"}\n'))
        answer = talk.give(weather="sunny")

    assert called(message) == [("weather", {"city": "a\ufffd"})]
    assert "sunny" in (answer.content or "")


def test_a_half_in_the_result_of_a_client_s_tool_is_replaced(url: str) -> None:
    with sdk(url) as client:
        talk = Talk(client, tools=[tool("weather")])
        talk.say(unheard('!tool weather {"city": "Oslo"}\n'))
    history = [*talk.history, *talk.results(weather=f"sunny {HALF}")]

    assert answer_to(url, **talk.more, messages=history) == "Tool said: sunny \ufffd"


def test_a_v1_server_that_fails_at_half_an_emoji_fails_one_turn_and_no_chat(
    letta_v1: LettaV1, model: ScriptedModel
) -> None:
    """It puts what its model says into UTF-8, piece by piece."""
    user, later = someone(), unheard("later")
    with gateway(letta_v1) as url, sdk(url) as client:
        said = chat(f"{unheard()}\n{IN_UNITS}\n!think 🤔\n!say 🦊", user=user)
        with pytest.raises(InternalServerError, match="Letta failed to answer"):
            client.chat.completions.create(**said, extra_headers={"X-Chat-Id": "here"})
        answer = ask(client, user, later)

    assert visible(answer).endswith(later)


def test_a_half_that_stays_alone_is_replaced_and_the_chat_goes_on_after_a_restart(
    telling: RealLetta, telling_client: OpenAI, model: ScriptedModel
) -> None:
    user, first, later = someone(), unheard("first"), unheard("later")
    with scripted(model, f"!think {HALF}\n!say {HALF} and \ude00 end{HALF}"):
        answer = ask(telling_client, user, first)
    history = [{"role": "user", "content": first}, {"role": "assistant", "content": visible(answer)}]
    with gateway(telling) as restarted, sdk(restarted) as other:
        ask(other, user, "", messages=[*history, {"role": "user", "content": later}])

    assert answer == "<think>\ufffd</think>\ufffd and \ufffd end\ufffd"
    # An App Server tells the model nothing of a half; and the conversation goes on, or the answer would be told anew.
    assert model.said_once(later) == [("user", first), ("assistant", " and  end"), ("user", later)]


def test_half_an_emoji_in_the_arguments_of_the_gateway_s_own_tool_is_replaced(
    telling: RealLetta, telling_client: OpenAI
) -> None:
    user = someone()
    answer = ask(telling_client, user, '!tool memory_insert {"label": "human", "new_string": "They like \\ud83d."}')
    (agent,) = telling.agents(agent_tags("tutor", "programs", user))

    assert visible(answer) == "Tool said: Done: your memory has been changed."
    assert "They like \ufffd." in telling.memory(agent)["human"]


def test_half_an_emoji_in_the_name_of_a_tool_is_replaced(telling_client: OpenAI, model: ScriptedModel) -> None:
    with scripted(model, f"!tool a{HALF} {{}}"):
        answer = ask(telling_client, someone(), unheard("hello"))

    assert "a\ufffd is not allowed here: nothing was done." in answer
    assert visible(answer).startswith("Tool said:")


def test_what_an_app_server_cuts_in_the_middle_of_an_emoji_is_told(
    telling: RealLetta, telling_client: OpenAI, model: ScriptedModel, tmp_path: Path
) -> None:
    user, file, later = someone(), tmp_path / "foxes", unheard("later")
    # It cuts its lines after 2,000 units.
    file.write_text(f"x{'🦊' * 3000}\n")
    answer = ask(telling_client, user, f"!tool Read {json.dumps({'file_path': str(file)})}", model="reader")
    with gateway(telling, types=(READER,)) as restarted, sdk(restarted) as other:
        assert visible(ask(other, user, later, model="reader")) == f"You said: {later}"

    assert "Using Read…" in answer
    assert visible(answer).startswith("Tool said: 1\tx🦊🦊")
    assert [role for role, _ in model.said_once(later)] == ["user", "assistant", "tool", "assistant", "user"]
