"""Home Assistant's requests on each kind of a real Letta, under the key that its page tells to make.

https://github.com/skye-harris/hass_local_openai_llm: the whole conversation each time, with a prompt made afresh.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.turns.chats.markers import agent_tags
from tests.clients.documents import LETTA, settings_of
from tests.frontend import Said
from tests.gateways import gateway, http
from tests.integration.words import unheard
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

SECRET = "sk-home"
TOOLS = [{"type": "function", "function": {"name": "HassTurnOn", "parameters": {"type": "object", "properties": {}}}}]
# How a conversation is named: as the older integrations do, and those that were made from OpenRouter's; and today.
NAMED: dict[str, Any] = {
    "as the user": lambda conversation: {"user": conversation},
    "in the metadata": lambda conversation: {"metadata": {"session_id": conversation}},
}


@pytest.fixture(scope="module")
def client(letta: RealLetta, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    keys = settings_of("home-assistant.md", tmp_path_factory.mktemp("home"), HOME_ASSISTANT_KEY=SECRET).keys
    with gateway(letta, types=(LETTA,), keys=keys) as url, http(url, SECRET) as http_client:
        yield http_client


class Conversation:
    """One conversation as Home Assistant keeps it."""

    def __init__(self, client: httpx.Client, named: str) -> None:
        self.client = client
        self.name = NAMED[named](unheard())
        self.messages: list[dict[str, Any]] = []

    @property
    def said(self) -> list[Said]:
        return [(message["role"], message["content"]) for message in self.messages]

    def say(self, text: str, prompt: str) -> dict[str, Any]:
        """The next message, under a new prompt; gives the choice that answers it."""
        return self._send({"role": "user", "content": text}, prompt)

    def give(self, call: dict[str, Any], result: str, prompt: str) -> dict[str, Any]:
        """What came of a call."""
        return self._send({"role": "tool", "tool_call_id": call["id"], "content": result}, prompt)

    def _send(self, message: dict[str, Any], prompt: str) -> dict[str, Any]:
        self.messages.append(message)
        messages = [{"role": "system", "content": prompt}, *self.messages]
        body = {"model": LETTA.id, "messages": messages, "tools": TOOLS, **self.name}
        choice: dict[str, Any] = self.client.post("/v1/chat/completions", json=body).json()["choices"][0]
        fields = ("role", "content", "tool_calls")
        self.messages.append({name: choice["message"][name] for name in fields if name in choice["message"]})
        return choice


def conversations(letta: RealLetta) -> set[str]:
    """All that the one agent of the house has."""
    (agent,) = letta.agents(agent_tags(LETTA.id, "home", "home")) or ("",)
    return set(letta.conversations(agent)) if agent else set()


@pytest.mark.parametrize("named", NAMED)
def test_a_fresh_prompt_each_turn_neither_branches_nor_begins_a_conversation(
    client: httpx.Client, letta: RealLetta, model: ScriptedModel, named: str
) -> None:
    conversation, before = Conversation(client, named), conversations(letta)
    for time in ("19:00", "19:01", "19:02"):
        prompt, text = unheard(f"It is {time}, and the light is on."), unheard("How are you?")
        conversation.say(text, prompt)

        ((system, *said),) = model.received(text)
        heard = [(role, words.splitlines()[-1]) for role, words in said if role != "system"]
        assert heard == conversation.said[:-1]
        assert prompt in f"{system[1]}{said[-1][1]}"
    assert len(conversations(letta) - before) == 1


def test_another_conversation_is_one_more_of_the_same_agent(client: httpx.Client, letta: RealLetta) -> None:
    before = conversations(letta)
    for _ in range(2):
        Conversation(client, "as the user").say(unheard("hello"), "You are at home.")

    assert len(conversations(letta) - before) == 2


def test_the_agent_switches_the_light_on(client: httpx.Client, letta: RealLetta, model: ScriptedModel) -> None:
    conversation, before = Conversation(client, "in the metadata"), conversations(letta)
    script, thanks = f'!tool HassTurnOn {{"area": "kitchen"}}\n{unheard()}', unheard("Thank you")
    choice = conversation.say(script, "It is 19:00, and the light is off.")
    (call,) = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], call["function"]["name"]) == ("tool_calls", "HassTurnOn")
    assert json.loads(call["function"]["arguments"]) == {"area": "kitchen"}

    choice = conversation.give(call, '{"success": ["light.kitchen"]}', "It is 19:01, and the light is on.")
    assert (choice["finish_reason"], "light.kitchen" in choice["message"]["content"]) == ("stop", True)
    conversation.say(thanks, "It is 19:02, and the light is on.")

    ((_, *said),) = model.received(thanks)
    assert [role for role, _ in said if role != "system"] == ["user", "assistant", "tool", "assistant", "user"]
    assert len(conversations(letta) - before) == 1


def test_no_thoughts_come_back(client: httpx.Client) -> None:
    choice = Conversation(client, "as the user").say(unheard("hello"), "You are at home.")

    assert choice["finish_reason"] == "stop"
    assert "think" not in choice["message"]["content"]
