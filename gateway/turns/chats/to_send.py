"""The messages of a turn as they are sent: with client ids, and with what was exchanged about them. Performs no I/O."""

import msgspec

from gateway.domain.messages import Message
from gateway.turns.chats.markers import ClientId, PathDigest, parse_client_id, pictures_of
from gateway.turns.chats.reconcile import Ids, questions


def with_exchanges(messages: list[Message], path: list[Message]) -> list[Message]:
    """The messages, to be sent again, with the calls that the request says were made to answer them (`exchanged`).

    The messages are the beginning of `path`, question by question.
    """
    told = iter([message.exchanged for message in path if message.role == "user"])
    asked = {*questions(messages)}
    return [msgspec.structs.replace(m, exchanged=next(told, "")) if i in asked else m for i, m in enumerate(messages)]


def identified(said: PathDigest, news: list[Message], ids: Ids, turn: tuple[str, int] = ("", 0)) -> list[Message]:
    """`news` with client ids (see `ClientId`): each holds what is known of its message, and is never used twice.

    `said` is the digest of what was said before; `news` are added to it. The last message of the user's has the `turn`
    in its id: the id of that, and the second at which it was asked for.
    """
    sent = []
    for i, message in enumerate(news):
        said.add_messages([message])
        if message.role == "user":
            named = parse_client_id(message.client_id)
            if i == len(news) - 1:
                named = ClientId(ids.answer or "", ids.parent or "")
            named = named if named.answer or named.parent else ClientId(path=str(said))
            id, made_at = turn if i == len(news) - 1 else ("", 0)
            named = msgspec.structs.replace(named, pictures=pictures_of(message), turn=id, made_at=made_at)
            message = msgspec.structs.replace(message, client_id=named.new())
        sent.append(message)
    return sent
