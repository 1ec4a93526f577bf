"""The messages of a `Past`, made of the messages that any Letta lists. Performs no I/O."""

from collections.abc import Iterable
from itertools import groupby

from gateway.domain.messages import Message
from gateway.letta.notes import is_alert


def add_message(messages: list[Message], said: Message) -> None:
    """Add what was said, if it is anything. What Letta says itself is left out."""
    letta_s_own = said.role == "user" and not said.client_id.startswith("gw") and is_alert(said.content)
    if not letta_s_own and (said.content.strip() or said.images):
        messages.append(said)


def merge_answers(messages: Iterable[Message]) -> list[Message]:
    """All parts of an answer as one message."""
    whole: list[Message] = []
    for role, group in groupby(messages, lambda message: message.role):
        said = list(group)
        if role == "user" or len(said) == 1:
            whole += said
        else:
            whole.append(Message("assistant", "\n\n".join(part.content for part in said), id=said[-1].id))
    return whole
