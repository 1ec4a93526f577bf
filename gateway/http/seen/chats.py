"""The answers under way, as those see them who run the gateway. Performs no I/O."""

from msgspec import Struct

from gateway.http.record import Record

# The most chats that are listed.
MOST_CHATS = 20


class ChatUnderWay(Struct, frozen=True):
    """An answer under way: `ChatUnderWay("1f0c22ab", "tutor", 12.5, 0.8)`. No field tells who asks, or what."""

    chat: str
    """The first digits of the chat's name in Letta."""
    agent_type: str
    seconds: float
    """The time since its request came."""
    first: float | None = None
    """The time to the first of its bytes; None while there are none."""
    streamed: bool = False


class ChatsUnderWay(Struct, frozen=True):
    """The answers under way, the slowest first: `ChatsUnderWay(total=250, chats=[…])`."""

    total: int
    """The number of all of them; MOST_CHATS at most are told of."""
    chats: list[ChatUnderWay]


def to_chats(records: list[Record]) -> ChatsUnderWay:
    """The slowest of the chats of these records."""
    slowest = sorted(records, key=lambda record: record.started)[:MOST_CHATS]
    return ChatsUnderWay(len(records), [_to_chat(record) for record in slowest])


def _to_chat(record: Record) -> ChatUnderWay:
    first = record.first_frame_seconds
    return ChatUnderWay(
        record.chat or "",
        record.agent_type or "",
        round(record.age, 3),
        None if first is None else round(first, 3),
        record.streamed,
    )
