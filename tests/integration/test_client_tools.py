"""Tools of the client's on every real Letta, with the openai SDK in front, by what the model received."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError

from gateway.settings import Chats
from gateway.turns.chats.markers import agent_tags
from tests.gateways import gateway, sdk
from tests.integration.words import unheard
from tests.programs import CALLS, Talk, called, heard, tool
from tests.servers.app_server import AppServer
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import THOUGHT, ScriptedModel
from tests.workers import also_in_threes, asks


@pytest.fixture(params=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "streamed")


@pytest.fixture
def talk(url: str, streamed: bool) -> Iterator[Talk]:
    with sdk(url) as client:
        yield Talk(client, streamed)


@pytest.fixture
def plain(url: str) -> Iterator[Talk]:
    with sdk(url) as client:
        yield Talk(client)


def test_tools_are_offered_only_where_they_may_be_called(url: str, model: ScriptedModel) -> None:
    with sdk(url) as client:
        for choice, offered in (("none", set()), ("auto", {"weather", "clock"})):
            text = unheard()
            Talk(client, tool_choice=choice).say(text)
            assert model.offered(text)[0] & {"weather", "clock"} == offered


def test_a_name_that_the_agent_has_itself_is_refused(url: str) -> None:
    with sdk(url) as client, pytest.raises(BadRequestError, match="`memory_insert`") as refused:
        Talk(client, tools=[tool("clock"), tool("memory_insert")]).say("hello")
    assert (refused.value.code, refused.value.param) == ("tool_name_taken", "tools")


# A V1 server passes on what models say as they say it; an App Server reads it first.
APP_SERVERS = [asks("app_server", id="app-server"), asks("embedded_letta", id="embedded")]
on_app_servers = pytest.mark.parametrize("letta", APP_SERVERS, indirect=True, scope="session")


@on_app_servers
def test_of_calls_with_one_id_the_client_has_what_an_app_server_keeps(talk: Talk, model: ScriptedModel) -> None:
    script = f'!same-id\n!tool weather {{"city": "Oslo"}}\n!tool weather {{"city": "Rome"}}\n{unheard()}'
    message = talk.say(script)

    assert (called(message), message.content) == ([("weather", {"city": "Oslo"})], f"<think>{THOUGHT}</think>")
    talk.give(weather="sunny")
    assert [text for role, text in heard(model, script) if role == "tool"] == ["sunny", "No result provided"]


# what the model says -> what the client has of it
ARGUMENTS = {"{not json": "{}", '{"a": 1, "a": 2}': '{"a":2}', '"text"': "text", "[1, 2]": "[1,2]"}


@on_app_servers
@pytest.mark.parametrize(("said", "told"), ARGUMENTS.items(), ids=["no JSON", "a key twice", "a text", "a list"])
def test_arguments_come_to_the_client_as_an_app_server_reads_them(plain: Talk, said: str, told: str) -> None:
    calls: Any = plain.say(f"!tool weather {said}").tool_calls

    assert [call.function.arguments for call in calls] == [told]
    assert "sunny" in (plain.give(weather="sunny").content or "")


# What becomes of calls that are not answered in time: a V1 server keeps them for as long as nothing else is said.
LATE = {
    "v1": ["user", "assistant", "tool", "tool"],
    "app-server": ["user"],
}


def await_interruption(letta: RealLetta, talk: Talk) -> None:
    """Returns when the calls of the chat are given up, where they are."""
    if isinstance(letta, AppServer):
        (agent,) = letta.agents(agent_tags("tutor", "programs", talk.more["user"]))
        (conversation,) = letta.conversations(agent)
        about: Any = {"conversation_id": conversation, "query": {"order": "desc", "limit": 10}}
        while "tool_return_message" not in str(letta.ask("conversation_messages_list", **about)["messages"]):
            time.sleep(0.02)


@also_in_threes
def test_calls_that_nobody_answers_in_time_do_not_lock_the_chat(letta: RealLetta, model: ScriptedModel) -> None:
    script, more = f"{CALLS}\n{unheard()}", unheard("and more")
    with gateway(letta, chats=Chats(tool_wait_seconds=0.1)) as url, sdk(url) as client:
        talk = Talk(client)
        talk.say(script)
        await_interruption(letta, talk)
        assert more in (talk.say(more).content or "")
    told = [role for role, text in heard(model, more) if "interrupted the active stream" not in text]
    assert told == ["user", "assistant", "tool", "tool", "user"]


@also_in_threes
def test_results_that_come_late_are_heard(letta: RealLetta, model: ScriptedModel) -> None:
    script = f"{CALLS}\n{unheard()}"
    with gateway(letta, chats=Chats(tool_wait_seconds=0.1)) as url, sdk(url) as client:
        talk = Talk(client)
        talk.say(script)
        await_interruption(letta, talk)
        talk.give(weather="sunny", clock="noon")
    told = heard(model, script)

    assert [role for role, _ in told] == LATE[letta.name]
    assert any("sunny" in text for _, text in told)


def test_results_reach_the_agent_through_another_gateway(letta: RealLetta, url: str, model: ScriptedModel) -> None:
    script = f"{CALLS}\n{unheard()}"
    with sdk(url) as client, gateway(letta) as other, sdk(other) as elsewhere:
        talk = Talk(client)
        talk.say(script)
        talk.client = elsewhere
        talk.give(weather="sunny", clock="noon")

    told = heard(model, script)
    assert ("tool", "sunny") in told if letta.name == "v1" else '"result":"sunny"' in told[0][1]


@also_in_threes
def test_results_reach_the_agent_after_a_restart_of_the_gateway(letta: RealLetta, model: ScriptedModel) -> None:
    script, more = f"{CALLS}\n{unheard()}", unheard("and more")
    with gateway(letta) as before, sdk(before) as client:
        talk = Talk(client)
        talk.say(script)
    if letta.threes:
        letta.threes.end_idle()
    with gateway(letta) as after, sdk(after) as client:
        talk.client = client
        talk.give(weather="sunny", clock="noon")
        told = heard(model, script)
        talk.say(more)

    assert ("tool", "sunny") in told if letta.name == "v1" else '"result":"sunny"' in told[0][1]
    assert heard(model, more)[-1] == ("user", more)
    assert sum(script in text for _, text in heard(model, more)) == 1
