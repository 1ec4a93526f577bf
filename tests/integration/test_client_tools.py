"""Tools of the client's on every real Letta, with the openai SDK in front, by what the model received."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletionMessage

from gateway.settings import Chats
from gateway.turns.chats.markers import agent_tags
from tests.gateways import gateway, sdk
from tests.integration.words import someone, unheard
from tests.servers.app_server import AppServer
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import THOUGHT, ScriptedModel
from tests.workers import asks

Message = dict[str, Any]


def tool(name: str) -> Message:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "description": f"The {name}.", "parameters": parameters}}


TOOLS = [tool("weather"), tool("clock")]
CALLS = '!tool weather {"city": "Oslo"}\n!tool clock {"city": "Rome"}'


@pytest.fixture(params=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "streamed")


class Talk:
    """A chat as a program has it that calls tools: it keeps the history, and tells it whole."""

    def __init__(self, client: OpenAI, streamed: bool = False, **more: Any) -> None:
        self.client = client
        self.streamed = streamed
        self.history: list[Message] = []
        self.more = {"model": "tutor", "user": someone(), "tools": TOOLS, **more}
        self.finish = ""

    def say(self, text: str) -> ChatCompletionMessage:
        return self.send({"role": "user", "content": text})

    def send(self, *news: Message) -> ChatCompletionMessage:
        self.history += news
        message = self._ask()
        self.history.append(message.model_dump(exclude_none=True, include={"role", "content", "tool_calls"}))
        return message

    def give(self, **results: str) -> ChatCompletionMessage:
        return self.send(*self.results(**results))

    def results(self, **results: str) -> list[Message]:
        """The tool messages that answer the last calls, in the order that is given."""
        ids = {call["function"]["name"]: call["id"] for call in self.history[-1]["tool_calls"]}
        return [{"role": "tool", "tool_call_id": ids[name], "content": text} for name, text in results.items()]

    def _ask(self) -> ChatCompletionMessage:
        asked: Any = {**self.more, "messages": self.history}
        if self.streamed:
            with self.client.chat.completions.stream(**asked) as stream:
                choice = stream.get_final_completion().choices[0]
        else:
            choice = self.client.chat.completions.create(**asked).choices[0]
        self.finish = choice.finish_reason
        return choice.message


@pytest.fixture
def talk(url: str, streamed: bool) -> Iterator[Talk]:
    with sdk(url) as client:
        yield Talk(client, streamed)


@pytest.fixture
def plain(url: str) -> Iterator[Talk]:
    with sdk(url) as client:
        yield Talk(client)


def called(message: ChatCompletionMessage) -> list[tuple[str, Any]]:
    calls: Any = message.tool_calls or []
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


def heard(model: ScriptedModel, text: str) -> list[tuple[str, str]]:
    """The (role, words)s of the last request in which a person says `text`; of calls the names, by commas."""
    requests = [r for r in model.requests if any(m["role"] == "user" and text in words(m) for m in r["messages"])]
    return [(message["role"], words(message)) for message in requests[-1]["messages"][1:]]


def words(message: Message) -> str:
    """A message without an App Server's own words."""
    if message.get("tool_calls"):
        return ",".join(call["function"]["name"] for call in message["tool_calls"])
    content = message["content"]
    parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content or ()]
    own = ("have called", "interrupted the active")
    return "\n".join(p for p in parts if not p.startswith("<system-reminder>") or any(one in p for one in own))


def test_two_calls_at_once_come_to_the_client_and_their_results_to_the_agent(talk: Talk, model: ScriptedModel) -> None:
    script = f"{CALLS}\n{unheard()}"
    message = talk.say(script)

    assert talk.finish == "tool_calls"
    assert called(message) == [("weather", {"city": "Oslo"}), ("clock", {"city": "Rome"})]
    answer = talk.give(weather="sunny", clock="noon")
    assert (talk.finish, answer.tool_calls) == ("stop", None)
    assert "sunny" in (answer.content or "")
    assert heard(model, script) == [
        ("user", script),
        ("assistant", "weather,clock"),
        ("tool", "sunny"),
        ("tool", "noon"),
    ]

    more = unheard("and more")
    talk.say(more)
    assert [role for role, _ in heard(model, more)] == ["user", "assistant", "tool", "tool", "assistant", "user"]


def test_results_may_come_in_any_order(plain: Talk, model: ScriptedModel) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    plain.give(clock="noon", weather="sunny")

    assert sorted(heard(model, script)[-2:]) == [("tool", "noon"), ("tool", "sunny")]


def test_a_result_that_is_missing_is_told_to_the_agent(plain: Talk, model: ScriptedModel) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    assert "noon" in (plain.give(clock="noon").content or "")

    assert sum(role == "tool" for role, _ in heard(model, script)) == 2
    assert any("gave no answer" in text for _, text in heard(model, script)[-2:])


def test_what_is_said_beside_results_is_heard_after_them(plain: Talk, model: ScriptedModel) -> None:
    script, more = f"{CALLS}\n{unheard()}", unheard("and this")
    plain.say(script)
    answer = plain.send(*plain.results(weather="sunny", clock="noon"), {"role": "user", "content": more})

    assert more in (answer.content or "")
    assert heard(model, more)[-3:] == [("tool", "sunny"), ("tool", "noon"), ("user", more)]
    assert len(heard(model, more)) == 5


def test_the_agent_may_call_again_in_the_same_turn(plain: Talk, model: ScriptedModel) -> None:
    more = f"{CALLS}\n{unheard()}"
    plain.say(f"{CALLS}\n{unheard()}")
    again = plain.send(*plain.results(weather="sunny", clock="noon"), {"role": "user", "content": more})
    assert called(again) == [("weather", {"city": "Oslo"}), ("clock", {"city": "Rome"})]

    plain.give(weather="rain", clock="midnight")
    assert heard(model, more)[-2:] == [("tool", "rain"), ("tool", "midnight")]


def test_who_goes_on_without_an_answer_is_heard_and_the_agent_knows(plain: Talk, model: ScriptedModel) -> None:
    more = unheard("never mind")
    plain.say(f"{CALLS}\n{unheard()}")
    answer = plain.say(more)

    assert more in (answer.content or "")
    assert [role for role, _ in heard(model, more)] == ["user", "assistant", "tool", "tool", "user"]
    assert all("went on without it" in text for role, text in heard(model, more) if role == "tool")


def test_a_question_may_be_asked_anew_while_its_calls_wait(plain: Talk, model: ScriptedModel) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    del plain.history[-2:]
    again = plain.say(script)

    assert called(again) == [("weather", {"city": "Oslo"}), ("clock", {"city": "Rome"})]
    assert "sunny" in (plain.give(weather="sunny", clock="noon").content or "")
    assert [role for role, _ in heard(model, script)] == ["user", "assistant", "tool", "tool"]


def test_results_that_come_again_are_history(plain: Talk, model: ScriptedModel) -> None:
    script = f"{CALLS}\n{unheard()}"
    plain.say(script)
    plain.give(weather="sunny", clock="noon")
    plain.history.pop()
    plain.send()

    (asked,) = heard(model, script)
    assert asked[0] == "user"
    assert '"result":"sunny"' in asked[1]
    assert asked[1].endswith(script)


def test_a_call_without_arguments_has_none(talk: Talk) -> None:
    assert called(talk.say("!tool clock")) == [("clock", {})]


def test_who_wants_one_call_at_a_time_gets_one(url: str, model: ScriptedModel, streamed: bool) -> None:
    script = f"{CALLS}\n{unheard()}"
    with sdk(url) as client:
        talk = Talk(client, streamed, parallel_tool_calls=False)
        assert called(talk.say(script)) == [("weather", {"city": "Oslo"})]
        talk.give(weather="sunny")

    assert ("tool", "sunny") in heard(model, script)


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
            pass


def test_calls_that_nobody_answers_in_time_do_not_lock_the_chat(letta: RealLetta, model: ScriptedModel) -> None:
    script, more = f"{CALLS}\n{unheard()}", unheard("and more")
    with gateway(letta, chats=Chats(tool_wait_seconds=0.1)) as url, sdk(url) as client:
        talk = Talk(client)
        talk.say(script)
        await_interruption(letta, talk)
        assert more in (talk.say(more).content or "")
    told = [role for role, text in heard(model, more) if "interrupted the active stream" not in text]
    assert told == ["user", "assistant", "tool", "tool", "user"]


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


def test_results_reach_the_agent_after_a_restart_of_the_gateway(letta: RealLetta, model: ScriptedModel) -> None:
    script, more = f"{CALLS}\n{unheard()}", unheard("and more")
    with gateway(letta) as before, sdk(before) as client:
        talk = Talk(client)
        talk.say(script)
    with gateway(letta) as after, sdk(after) as client:
        talk.client = client
        talk.give(weather="sunny", clock="noon")
        told = heard(model, script)
        talk.say(more)

    assert ("tool", "sunny") in told if letta.name == "v1" else '"result":"sunny"' in told[0][1]
    assert heard(model, more)[-1] == ("user", more)
    assert sum(script in text for _, text in heard(model, more)) == 1
