"""What of a request's messages an agent is sent: all of them, or what is new. Performs no I/O."""

import re

from msgspec import Struct

from gateway.letta.upstream import Message, Role
from gateway.openai_wire.defuse import restore
from gateway.openai_wire.errors import InvalidRequest
from gateway.openai_wire.request import ChatMessage, ContentPart

# OpenAI's roles, in those a Letta conversation takes. It takes no tool calls and no tool results of a
# client's history: messages that hold nothing else are left out.
ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# A block of thoughts as the translator wrote it; one that Stop cut has no end.
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


class History(Struct, frozen=True):
    """A request's messages in Letta's words, none of them empty."""

    old: list[Message]
    """What was said up to the last answer."""
    news: list[Message]
    """What came after it."""

    @property
    def path(self) -> list[Message]:
        """The whole conversation, as an agent that has heard nothing of it needs it."""
        return self.old + self.news


def to_history(messages: list[ChatMessage]) -> History:
    """Raises InvalidRequest where there is nothing to answer, or something the gateway cannot pass on."""
    last_answer = max((i for i, message in enumerate(messages) if message.role == "assistant"), default=-1)
    old = [_message(i, message, new=False) for i, message in enumerate(messages[: last_answer + 1])]
    new = [_message(i, message, new=True) for i, message in enumerate(messages) if i > last_answer]
    news = [message for message in new if message]
    if not any(message.role == "user" for message in news):
        raise InvalidRequest(
            "`messages` holds nothing to answer: expected a user message with text after the last answer.",
            "messages",
        )
    return History([message for message in old if message], news)


def _message(index: int, message: ChatMessage, new: bool) -> Message | None:
    """The message for Letta; None if it has no text of use. Only new ones are refused for what they hold."""
    role = ROLES.get(message.role)
    text = _text(message.content, f"messages[{index}].content", new and role == "user")
    if role == "assistant":
        text = restore(_THOUGHTS.sub("", text)).strip()
    return Message(role, text) if role and text.strip() else None


def _text(content: str | list[ContentPart] | None, param: str, strict: bool) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for i, part in enumerate(content):
        if strict and part.type != "text":
            at = f"{param}[{i}]"
            raise InvalidRequest(f"`{at}`: this gateway takes parts of the type `text` only.", at)
    return "\n".join(text for part in content if (text := part.text or part.refusal))
