"""A program that has tools of its own: a chat whose history it keeps and tells whole, with the openai SDK."""

import json
from typing import Any

from openai import OpenAI
from openai.types.chat import ChatCompletionMessage

from tests.integration.words import someone
from tests.servers.scripted_model import ScriptedModel

Message = dict[str, Any]


def tool(name: str) -> Message:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "description": f"The {name}.", "parameters": parameters}}


TOOLS = [tool("weather"), tool("clock")]
CALLS = '!tool weather {"city": "Oslo"}\n!tool clock {"city": "Rome"}'


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
