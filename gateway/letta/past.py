"""The messages of a `Past`, made of the messages that any Letta lists. Performs no I/O."""

from collections.abc import Iterable
from itertools import groupby

from gateway.domain.messages import Message
from gateway.letta.notes import is_alert


def add_message(messages: list[Message], said: Message) -> None:
    """Add a message, unless it is empty, or a notice of Letta's own."""
    is_notice = said.role == "user" and not said.client_id.startswith("gw") and is_alert(said.content)
    if not is_notice and (said.content.strip() or said.images):
        messages.append(said)


def merge_answers(messages: Iterable[Message]) -> list[Message]:
    """The messages, in which all parts of an answer are one."""
    whole: list[Message] = []
    for role, group in groupby(messages, lambda message: message.role):
        said = list(group)
        if role == "user" or len(said) == 1:
            whole += said
        else:
            whole.append(Message("assistant", "\n\n".join(part.content for part in said), id=said[-1].id))
    return whole
